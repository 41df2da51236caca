/*
 * Names to numbers: a flat hash with open addressing, keyed so that names chosen by strangers cannot be made to collide.
 *
 * Probing reads tags of one byte, packed so densely that a cache holds those of a million names; only a slot whose tag fits is
 * looked at, and it has the name in it. So a look-up in a table that no cache holds waits for memory once.
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

/* Gives back what was kept for growth; what cannot be given back for want of memory is kept. */
void s2sp_index_fit(struct s2sp_index *index);

/*
 * Gives every name a note, which comes with its value: what is nearly always asked next of the thing that the value stands for, so
 * that nobody has to wait for memory once more. It is 0 before. `note_of` gets each value, and `of`.
 */
void s2sp_index_note(struct s2sp_index *index, uint8_t (*note_of)(const void *of, uint32_t value), const void *of);

/* The value of `name`, S2SP_INDEX_NONE when it is not there. Allocates nothing. */
uint32_t s2sp_index_find(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name);
/* The same, and its note; 0 when it is not there. */
uint32_t s2sp_index_find_noted(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint8_t *note);

#endif
