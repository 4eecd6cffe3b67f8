#include "json.h"
#include "marks.h"

void json_number(FILE *out, const char *name, long value)
{
	static int some;

	fprintf(out, "%s\"%s\": %ld", some++ ? SEPARATOR : "", name, value);
}
