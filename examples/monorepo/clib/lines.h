#include "text.h"

long count_lines(const struct text *t);
