/*
 * Names to numbers: a flat hash with open addressing, keyed so that names chosen by strangers cannot be made to collide.
 * Holds pointers to the names, not the names.
 */
#ifndef S2SP_INDEX_H
#define S2SP_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "text.h"

#define S2SP_INDEX_NONE UINT32_MAX
#define S2SP_INDEX_NAME_MAX UINT16_MAX

/* One cache line holds four: a look-up in a table that no cache holds costs one miss here and one for the name. */
struct s2sp_index_slot {
	const char *bytes;
	uint32_t value; /* S2SP_INDEX_NONE: free */
	uint16_t length;
	uint8_t kind; /* names of different kinds never meet */
	uint8_t tag;  /* of the hash; spares most comparisons */
};

struct s2sp_index {
	struct s2sp_allocator allocator;
	struct s2sp_index_slot *slots; /* slot_count is a power of two */
	size_t count;
	size_t slot_count;
	uint64_t key[2];
};

/* An empty index; nothing is allocated yet. `allocator` and `seed` are copied. */
void s2sp_index_begin(struct s2sp_index *index, const struct s2sp_allocator *allocator, const unsigned char seed[16]);
void s2sp_index_end(struct s2sp_index *index);

/*
 * `name` must stay where it is, is at most S2SP_INDEX_NAME_MAX bytes and is not in the index yet; `value` is not
 * S2SP_INDEX_NONE. Returns OK or NO_MEMORY (more than 2^31 names count as that).
 */
enum s2sp_status s2sp_index_add(struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint32_t value);

/* The value of `name`, S2SP_INDEX_NONE when it is not there. Allocates nothing. */
uint32_t s2sp_index_find(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name);

#endif
