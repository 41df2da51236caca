/* Memory that is taken piece by piece and given back as a whole: the strings and small arrays of a sealed table. */
#ifndef S2SP_ARENA_H
#define S2SP_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"
#include "text.h"

struct s2sp_arena_block;

struct s2sp_arena {
	struct s2sp_allocator allocator;
	struct s2sp_arena_block *blocks;
	size_t next_size;
};

/* An empty arena; nothing is allocated yet. `allocator` is copied. */
void s2sp_arena_begin(struct s2sp_arena *arena, const struct s2sp_allocator *allocator);
/* Gives everything back. The arena may be ended twice. */
void s2sp_arena_end(struct s2sp_arena *arena);

/* `size` zeroed bytes, aligned for pointers, owned by the arena; NULL when out of memory. */
void *s2sp_arena_take(struct s2sp_arena *arena, size_t size);

/* A NUL-terminated copy of `text`, owned by the arena. Returns OK or NO_MEMORY. */
enum s2sp_status s2sp_arena_copy(struct s2sp_arena *arena, struct s2sp_text text, struct s2sp_text *copy);

#endif
