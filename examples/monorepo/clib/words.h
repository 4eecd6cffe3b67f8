#include "text.h"

long count_words(const struct text *t);
