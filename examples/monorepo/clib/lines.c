#include "lines.h"

long count_lines(const struct text *t)
{
	long n = 0;

	for (long i = 0; i < t->len; i++)
		n += t->bytes[i] == '\n';
	return n + (t->len > 0 && t->bytes[t->len - 1] != '\n');
}
