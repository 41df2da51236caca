/* Did the call work? Never mixed with a reason, which says why a verdict was given. */
#ifndef S2SP_STATUS_H
#define S2SP_STATUS_H

#include <stddef.h>

enum s2sp_status {
	S2SP_STATUS_FAILED = 0, /* zero is the safe value */
	S2SP_STATUS_OK,
	S2SP_STATUS_NO_MEMORY,
	S2SP_STATUS_INVALID, /* the input was refused; the issues say why */
};

/*
 * The host's allocator. The core keeps no memory of its own and calls nothing else.
 * size 0 frees; failure returns NULL and leaves the old block as it was (as realloc does).
 */
struct s2sp_allocator {
	void *(*reallocate)(void *owner, void *block, size_t size);
	void *owner;
};

#endif
