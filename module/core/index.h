/*
 * Names to numbers: a flat hash with open addressing, keyed so that names chosen by strangers cannot be made to collide.
 *
 * A probe reads tags of one byte. The cache holds the tags of a million names. Only a slot whose tag fits is read, and the name
 * stands in the slot. So a look-up in a table that no cache holds misses the cache once.
 *
 * A sorted array with binary search would be half the code. It was measured in its place with spec/bench/core_bench, both in one
 * go (SipHash and tags, then the array; x86-64, two shared cores). The array misses both bounds of docs/performance.md, 150 ns at
 * 10 000 domains and four times the time of 10 at 1 000 000; it saves 21 bytes a domain, which are within the bound.
 *
 *   stanza decision at 10 domains           73 ns     95 ns
 *   at 10 000                               79 ns    230 ns
 *   at 1 000 000                           274 ns   1885 ns
 *   bytes a domain at 10 000               193       172
 *   compiling 100 000 partners              86 ms    137 ms
 */
#ifndef S2SP_INDEX_H
#define S2SP_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "text.h"

#define S2SP_INDEX_NONE UINT32_MAX
#define S2SP_INDEX_NAME_MAX UINT16_MAX

#define S2SP_INDEX_INLINE 32 /* longer names are few */

struct s2sp_index_slot {
	union {
		char here[S2SP_INDEX_INLINE];
		const char *elsewhere; /* when length is over S2SP_INDEX_INLINE */
	} name;
	uint32_t value;
	uint16_t length;
	uint8_t kind; /* names of different kinds never meet */
	uint8_t note; /* see s2sp_index_note */
};

struct s2sp_index {
	struct s2sp_allocator allocator;
	struct s2sp_index_slot *slots;
	uint8_t *tags; /* of the slots, behind them in one block; 0: the slot is free */
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

/* Room for `count` names in all, so that they need not be moved while they come. A hint: nothing is lost when it fails. */
void s2sp_index_reserve(struct s2sp_index *index, size_t count);

/* Returns the memory that was kept for growth, if there is much of it. When that fails the index stays as it is. */
void s2sp_index_fit(struct s2sp_index *index);

/*
 * Stores one byte of caller data next to each value, so that the usual next question costs no second cache miss. The byte is 0
 * before. `note_of` is called with `of` and each value, and returns the byte.
 */
void s2sp_index_note(struct s2sp_index *index, uint8_t (*note_of)(const void *of, uint32_t value), const void *of);

/* The value of `name`, S2SP_INDEX_NONE when it is not there. Allocates nothing. */
uint32_t s2sp_index_find(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name);
/* The same, and in *note the byte stored next to it; 0 when the name is not there. */
uint32_t s2sp_index_find_noted(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint8_t *note);

#endif
