/* What the fuzzers share: a check that cannot be compiled out, and choices taken from the input. */
#ifndef S2SP_SPEC_FUZZ_H
#define S2SP_SPEC_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                                         \
	do {                                                                                                                         \
		if (!(condition)) {                                                                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                      \
			abort();                                                                                                             \
		}                                                                                                                        \
	} while (0)

/* The input, read from the front. What is read past its end is 0 and empty. */
struct choices {
	const uint8_t *data;
	size_t size;
};

static inline unsigned choose(struct choices *choices, unsigned limit) {
	if (choices->size == 0)
		return 0;
	choices->size--;
	return *choices->data++ % limit;
}

/* A length in one byte, then so many bytes. */
static inline struct s2sp_text choose_text(struct choices *choices) {
	size_t length = choose(choices, 256);
	if (length > choices->size)
		length = choices->size;
	struct s2sp_text text = { (const char *)choices->data, length };
	choices->data += length;
	choices->size -= length;
	return text;
}

#endif
