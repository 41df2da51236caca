#include "arena.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The first block suits a handful of partners; the later ones grow, so that few bytes are lost at the end. */
#define FIRST_BLOCK 1024
#define LARGEST_BLOCK 65536

struct s2sp_arena_block {
	struct s2sp_arena_block *next;
	size_t size;
	size_t used;
};

static unsigned char *block_bytes(struct s2sp_arena_block *block) {
	return (unsigned char *)(block + 1);
}

void s2sp_arena_begin(struct s2sp_arena *arena, const struct s2sp_allocator *allocator) {
	*arena = (struct s2sp_arena){ .allocator = *allocator, .blocks = NULL, .next_size = FIRST_BLOCK };
}

void s2sp_arena_end(struct s2sp_arena *arena) {
	while (arena->blocks != NULL) {
		struct s2sp_arena_block *next = arena->blocks->next;
		arena->allocator.reallocate(arena->allocator.owner, arena->blocks, 0);
		arena->blocks = next;
	}
}

static struct s2sp_arena_block *add_block(struct s2sp_arena *arena, size_t size) {
	/* What is too large for a block gets one of its own, behind the current one, which goes on being filled. */
	bool own = size > arena->next_size / 4;
	size_t room = own ? size : arena->next_size;
	if (room > SIZE_MAX - sizeof(struct s2sp_arena_block))
		return NULL;
	struct s2sp_arena_block *block =
		arena->allocator.reallocate(arena->allocator.owner, NULL, sizeof(struct s2sp_arena_block) + room);
	if (block == NULL)
		return NULL;
	*block = (struct s2sp_arena_block){ .next = NULL, .size = room, .used = 0 };
	if (own && arena->blocks != NULL) {
		block->next = arena->blocks->next;
		arena->blocks->next = block;
	} else {
		block->next = arena->blocks;
		arena->blocks = block;
	}
	if (!own && arena->next_size < LARGEST_BLOCK)
		arena->next_size *= 2;
	return block;
}

static unsigned char *take(struct s2sp_arena *arena, size_t size, size_t alignment) {
	struct s2sp_arena_block *block = arena->blocks;
	size_t start = block == NULL ? 0 : (block->used + alignment - 1) / alignment * alignment;
	if (block == NULL || start > block->size || block->size - start < size) {
		block = add_block(arena, size);
		if (block == NULL)
			return NULL;
		start = 0;
	}
	block->used = start + size;
	return block_bytes(block) + start;
}

void *s2sp_arena_take(struct s2sp_arena *arena, size_t size) {
	unsigned char *bytes = take(arena, size, sizeof(void *));
	if (bytes != NULL)
		memset(bytes, 0, size);
	return bytes;
}

enum s2sp_status s2sp_arena_copy(struct s2sp_arena *arena, struct s2sp_text text, struct s2sp_text *copy) {
	if (text.length == SIZE_MAX)
		return S2SP_STATUS_NO_MEMORY;
	unsigned char *bytes = take(arena, text.length + 1, 1);
	if (bytes == NULL)
		return S2SP_STATUS_NO_MEMORY;
	if (text.length > 0)
		memcpy(bytes, text.bytes, text.length);
	bytes[text.length] = '\0';
	*copy = (struct s2sp_text){ (const char *)bytes, text.length };
	return S2SP_STATUS_OK;
}
