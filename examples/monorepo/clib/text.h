#ifndef TEXT_H
#define TEXT_H

struct text {
	char *bytes;
	long len;
};

#endif
