/* Allocators for tests: one that counts what is alive and fails when told to, and malloc as it is. */
#ifndef S2SP_SPEC_ALLOCATOR_H
#define S2SP_SPEC_ALLOCATOR_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "status.h"

struct counting {
	size_t blocks;    /* alive */
	size_t bytes;     /* alive */
	size_t calls;     /* allocations asked for so far */
	size_t fail_from; /* the first call that fails, and all after it; 0: none */
	size_t fail_only; /* the one call that fails; 0: none */
};

static inline void *counting_reallocate(void *owner, void *block, size_t size) {
	struct counting *counting = owner;
	/* 16 bytes in front hold the size and keep the alignment. */
	unsigned char *old = block == NULL ? NULL : (unsigned char *)block - 16;
	size_t old_size = old == NULL ? 0 : *(size_t *)(void *)old;
	if (size == 0) {
		if (old != NULL) {
			counting->blocks--;
			counting->bytes -= old_size;
		}
		free(old);
		return NULL;
	}
	counting->calls++;
	if ((counting->fail_from != 0 && counting->calls >= counting->fail_from) || counting->calls == counting->fail_only)
		return NULL;
	unsigned char *fresh = realloc(old, size + 16);
	if (fresh == NULL)
		return NULL;
	*(size_t *)(void *)fresh = size;
	counting->blocks += old == NULL;
	counting->bytes += size - old_size;
	return fresh + 16;
}

#define COUNTING_ALLOCATOR(counting) ((struct s2sp_allocator){ counting_reallocate, (counting) })

static inline void *plain_reallocate(void *owner, void *block, size_t size) {
	(void)owner;
	if (size == 0) {
		free(block);
		return NULL;
	}
	return realloc(block, size);
}

#define PLAIN_ALLOCATOR                                                                                                          \
	{ plain_reallocate, NULL }

#endif
