/* wordcount counts the words and lines of its standard input, as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include <json.h>

#include "lines.h"
#include "words.h"

int main(void)
{
	struct text t = {0};
	long room = 1 << 16, n;

	t.bytes = malloc(room);
	while (t.bytes && (n = fread(t.bytes + t.len, 1, room - t.len, stdin)) > 0)
		if ((t.len += n) == room)
			t.bytes = realloc(t.bytes, room *= 2);
	if (!t.bytes || ferror(stdin))
		return 1;
	json_begin(stdout);
	json_number(stdout, "words", count_words(&t));
	json_number(stdout, "lines", count_lines(&t));
	json_end(stdout);
	return 0;
}
