#include "index.h"

#include <stdbool.h>
#include <string.h>

#define FIRST_SLOTS 16
#define EACH_BYTE UINT64_C(0x0101010101010101)
#define GROUP 8 /* tags that are looked at together; no index has fewer slots */

/* Little-endian on every machine. Compilers make one load of it. */
static uint64_t load64(const unsigned char *bytes) {
	return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 | (uint64_t)bytes[3] << 24 |
		   (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 | (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

/* The last length % 8 bytes of a name, the lowest first. */
static uint64_t load_rest(const unsigned char *bytes, size_t length) {
	size_t rest = length % 8;
	uint64_t value = 0;
	if (rest > 0 && length > 8)
		return load64(bytes + length - 8) >> 8 * (8 - rest);
	for (size_t i = 0; i < rest; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	return value;
}

static uint64_t rotate(uint64_t value, unsigned bits) {
	return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(uint64_t v[4]) {
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 (Aumasson, Bernstein), the variant for hash tables. */
static uint64_t hash_name(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name) {
	uint64_t v[4] = { 0x736f6d6570736575u ^ index->key[0], 0x646f72616e646f6du ^ index->key[1],
					  0x6c7967656e657261u ^ index->key[0], 0x7465646279746573u ^ index->key[1] ^ kind };
	const unsigned char *bytes = (const unsigned char *)name.bytes;
	size_t whole = name.length & ~(size_t)7;
	for (size_t i = 0; i < whole; i += 8) {
		uint64_t word = load64(bytes + i);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	uint64_t last = (uint64_t)name.length << 56 | load_rest(bytes, name.length);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void s2sp_index_begin(struct s2sp_index *index, const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	memset(index, 0, sizeof(*index));
	index->allocator = *allocator;
	index->key[0] = load64(seed);
	index->key[1] = load64(seed + 8);
}

void s2sp_index_end(struct s2sp_index *index) {
	if (index->slots != NULL)
		index->allocator.reallocate(index->allocator.owner, index->slots, 0);
	index->slots = NULL;
	index->tags = NULL;
	index->count = index->slot_count = 0;
}

/* The low half of a hash gives the first slot. Its seven highest bits are the tag of a slot in use. */
static size_t first_slot(uint64_t hash, size_t slot_count) {
	return (size_t)((hash & UINT32_MAX) * slot_count >> 32);
}

static size_t wrap(const struct s2sp_index *index, size_t at) {
	return at >= index->slot_count ? at - index->slot_count : at;
}

static uint8_t tag_of(uint64_t hash) {
	return (uint8_t)(hash >> 57 | 0x80);
}

static const char *slot_name(const struct s2sp_index_slot *slot) {
	return slot->length <= S2SP_INDEX_INLINE ? slot->name.here : slot->name.elsewhere;
}

/* The first tags are repeated behind the last, so that a group may begin anywhere. */
static void set_tag(struct s2sp_index *index, size_t at, uint8_t tag) {
	index->tags[at] = tag;
	if (at < GROUP - 1)
		index->tags[index->slot_count + at] = tag;
}

static void place(struct s2sp_index *index, const struct s2sp_index_slot *slot, uint64_t hash) {
	size_t at = first_slot(hash, index->slot_count);
	while (index->tags[at] != 0)
		at = wrap(index, at + 1);
	set_tag(index, at, tag_of(hash));
	index->slots[at] = *slot;
}

/* Moves everything to `slot_count` slots, which are enough. */
static enum s2sp_status resize(struct s2sp_index *index, size_t slot_count) {
	struct s2sp_index old = *index;
	void *block = old.allocator.reallocate(old.allocator.owner, NULL, slot_count * (sizeof(*index->slots) + 1) + GROUP - 1);
	if (block == NULL)
		return S2SP_STATUS_NO_MEMORY;
	index->slots = block;
	index->tags = (uint8_t *)(index->slots + slot_count);
	index->slot_count = slot_count;
	memset(index->tags, 0, slot_count + GROUP - 1);
	for (size_t i = 0; i < old.slot_count; i++) {
		const struct s2sp_index_slot *slot = &old.slots[i];
		if (old.tags[i] != 0)
			place(index, slot, hash_name(index, slot->kind, (struct s2sp_text){ slot_name(slot), slot->length }));
	}
	s2sp_index_end(&old);
	return S2SP_STATUS_OK;
}

/* At most two slots in three are taken, so that a miss ends soon. */
static size_t slots_for(size_t count) {
	size_t slots = count + count / 2 + 1;
	return slots < GROUP ? GROUP : slots;
}

enum s2sp_status s2sp_index_add(struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint32_t value) {
	if (name.length > S2SP_INDEX_NAME_MAX || index->count > UINT32_MAX / 2)
		return S2SP_STATUS_NO_MEMORY;
	if (slots_for(index->count + 1) > index->slot_count &&
		resize(index, index->slot_count == 0 ? FIRST_SLOTS : index->slot_count * 2) != S2SP_STATUS_OK)
		return S2SP_STATUS_NO_MEMORY;
	struct s2sp_index_slot slot = { .value = value, .length = (uint16_t)name.length, .kind = kind };
	if (name.length > S2SP_INDEX_INLINE)
		slot.name.elsewhere = name.bytes;
	else if (name.length > 0)
		memcpy(slot.name.here, name.bytes, name.length);
	place(index, &slot, hash_name(index, kind, name));
	index->count++;
	return S2SP_STATUS_OK;
}

void s2sp_index_reserve(struct s2sp_index *index, size_t count) {
	if (count <= UINT32_MAX / 2 && slots_for(count) > index->slot_count)
		(void)resize(index, slots_for(count));
}

/* All names are moved for it, and for a moment both are there: not for one slot in thirty-two. */
void s2sp_index_fit(struct s2sp_index *index) {
	size_t slots = slots_for(index->count);
	if (index->count > 0 && slots < index->slot_count && index->slot_count - slots > slots / 32)
		(void)resize(index, slots_for(index->count)); /* failing to shrink loses nothing */
}

void s2sp_index_note(struct s2sp_index *index, uint8_t (*note_of)(const void *of, uint32_t value), const void *of) {
	for (size_t i = 0; i < index->slot_count; i++) {
		if (index->tags[i] != 0)
			index->slots[i].note = note_of(of, index->slots[i].value);
	}
}

static bool slot_is(const struct s2sp_index_slot *slot, uint8_t kind, struct s2sp_text name) {
	return slot->kind == kind && slot->length == name.length &&
		   (name.length == 0 || memcmp(slot_name(slot), name.bytes, name.length) == 0);
}

uint32_t s2sp_index_find(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name) {
	uint8_t unused;
	return s2sp_index_find_noted(index, kind, name, &unused);
}

uint32_t s2sp_index_find_noted(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint8_t *note) {
	*note = 0;
	if (index->slot_count == 0 || name.length > S2SP_INDEX_NAME_MAX)
		return S2SP_INDEX_NONE;
	uint64_t hash = hash_name(index, kind, name);
	size_t at = first_slot(hash, index->slot_count);
	/* Most names stand in the first slots, which come while the tags are waited for. */
	__builtin_prefetch(&index->slots[at]);
	__builtin_prefetch((const char *)&index->slots[at] + 64);
	for (;; at = wrap(index, at + GROUP)) {
		uint64_t tags = load64(index->tags + at);
		uint64_t others = tags ^ EACH_BYTE * tag_of(hash);
		/* Nonzero bytes keep their highest bit, but for one above a zero now and then, which costs a comparison. */
		for (uint64_t equal = (others - EACH_BYTE) & ~others & EACH_BYTE * 0x80; equal != 0; equal &= equal - 1) {
			const struct s2sp_index_slot *slot = &index->slots[wrap(index, at + (size_t)__builtin_ctzll(equal) / 8)];
			if (!slot_is(slot, kind, name))
				continue;
			*note = slot->note;
			return slot->value;
		}
		if ((tags & EACH_BYTE * 0x80) != EACH_BYTE * 0x80)
			return S2SP_INDEX_NONE; /* one of them is free: it would stand there */
	}
}
