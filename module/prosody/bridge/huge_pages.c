#define _DEFAULT_SOURCE
#include "huge_pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define WORTH_IT ((size_t)4 << 20)

void s2sp_prefer_huge_pages(void *block, size_t size) {
#ifdef MADV_HUGEPAGE
	long page = sysconf(_SC_PAGESIZE);
	if (block == NULL || size < WORTH_IT || page <= 0)
		return;
	/* Only whole pages of it can be asked for. */
	size_t skipped = (size_t)page - (uintptr_t)block % (size_t)page;
	(void)madvise((char *)block + skipped, (size - skipped) / (size_t)page * (size_t)page, MADV_HUGEPAGE);
#else
	(void)block;
	(void)size;
#endif
}
