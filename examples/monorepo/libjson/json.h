#ifndef JSON_H
#define JSON_H

#include <stdio.h>

/* An object of numbers: begin, number for each field, end. */
void json_begin(FILE *out);
void json_number(FILE *out, const char *name, long value);
void json_end(FILE *out);

#endif
