#include <ctype.h>

#include "words.h"

long count_words(const struct text *t)
{
	long n = 0;
	int in = 0;

	for (long i = 0; i < t->len; i++) {
		int letter = !isspace((unsigned char)t->bytes[i]);
		n += letter && !in;
		in = letter;
	}
	return n;
}
