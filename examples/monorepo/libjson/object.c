#include "json.h"

void json_begin(FILE *out)
{
	fputs("{", out);
}

void json_end(FILE *out)
{
	fputs("}\n", out);
}
