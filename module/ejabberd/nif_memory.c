/* The emulator's allocator for the core, with a count of what is out, and in the tests with allocations that fail. */
#include <stdatomic.h>

#include "nif.h"

static atomic_size_t allocated;

/* The size stands before each block. */
union header {
	size_t size;
	max_align_t alignment;
};

#ifdef S2SP_NIF_FAULTS
/* How many allocations still succeed before one fails; negative: none fails. */
static atomic_long left = -1;
static atomic_bool failed;

void s2sp_nif_fail_after(long count) {
	atomic_store(&failed, false);
	atomic_store(&left, count);
}

bool s2sp_nif_out_of_memory(void) {
	if (atomic_load(&left) < 0 || atomic_fetch_sub(&left, 1) != 0)
		return false;
	atomic_store(&failed, true);
	return true;
}

bool s2sp_nif_has_failed(void) {
	return atomic_load(&failed);
}
#else
bool s2sp_nif_out_of_memory(void) {
	return false;
}
#endif

static void *reallocate(void *owner, void *block, size_t size) {
	union header *header = block == NULL ? NULL : (union header *)block - 1;
	size_t before = header == NULL ? 0 : header->size;
	(void)owner;
	if (size == 0) {
		if (header != NULL)
			enif_free(header);
		atomic_fetch_sub(&allocated, before);
		return NULL;
	}
	if (size > SIZE_MAX - sizeof(*header) || s2sp_nif_out_of_memory())
		return NULL;
	union header *fresh = enif_realloc(header, size + sizeof(*header));
	if (fresh == NULL)
		return NULL;
	fresh->size = size;
	atomic_fetch_add(&allocated, size - before);
	return fresh + 1;
}

const struct s2sp_allocator s2sp_nif_allocator = { reallocate, NULL };

size_t s2sp_nif_allocated(void) {
	return atomic_load(&allocated);
}

void *s2sp_nif_allocate(size_t size) {
	return reallocate(NULL, NULL, size);
}

void s2sp_nif_free(void *block) {
	reallocate(NULL, block, 0);
}
