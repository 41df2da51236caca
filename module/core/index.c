#include "index.h"

#include <stdbool.h>
#include <string.h>

#define FIRST_CAPACITY 16

static uint64_t load64(const unsigned char *bytes, size_t count) {
	uint64_t value = 0;
	for (size_t i = 0; i < count; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static uint64_t rotate(uint64_t value, unsigned bits) {
	return (value << bits) | (value >> (64 - bits));
}

static void sip_round(uint64_t v[4]) {
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

/* SipHash-1-3 (Aumasson, Bernstein), which is what hash tables use of it. */
static uint32_t hash_name(const struct s2sp_index *index, uint16_t kind, struct s2sp_text name) {
	uint64_t v[4] = { 0x736f6d6570736575u ^ index->key[0], 0x646f72616e646f6du ^ index->key[1],
					  0x6c7967656e657261u ^ index->key[0], 0x7465646279746573u ^ index->key[1] ^ kind };
	const unsigned char *bytes = (const unsigned char *)name.bytes;
	size_t whole = name.length & ~(size_t)7;
	for (size_t i = 0; i < whole; i += 8) {
		uint64_t word = load64(bytes + i, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	uint64_t last = (uint64_t)name.length << 56;
	if (name.length > whole)
		last |= load64(bytes + whole, name.length - whole);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
	return (uint32_t)(hash ^ (hash >> 32));
}

void s2sp_index_begin(struct s2sp_index *index, const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	memset(index, 0, sizeof(*index));
	index->allocator = *allocator;
	index->key[0] = load64(seed, 8);
	index->key[1] = load64(seed + 8, 8);
}

void s2sp_index_end(struct s2sp_index *index) {
	if (index->entries != NULL)
		index->allocator.reallocate(index->allocator.owner, index->entries, 0);
	if (index->slots != NULL)
		index->allocator.reallocate(index->allocator.owner, index->slots, 0);
	index->entries = NULL;
	index->slots = NULL;
	index->count = index->capacity = index->slot_count = 0;
}

static void place(struct s2sp_index_slot *slots, size_t slot_count, uint32_t entry, uint32_t hash) {
	size_t at = hash & (slot_count - 1);
	while (slots[at].entry != S2SP_INDEX_NONE)
		at = (at + 1) & (slot_count - 1);
	slots[at] = (struct s2sp_index_slot){ .entry = entry, .hash = hash };
}

static enum s2sp_status grow_slots(struct s2sp_index *index, size_t slot_count) {
	struct s2sp_index_slot *slots = index->allocator.reallocate(index->allocator.owner, NULL, slot_count * sizeof(*slots));
	if (slots == NULL)
		return S2SP_STATUS_NO_MEMORY;
	for (size_t i = 0; i < slot_count; i++)
		slots[i] = (struct s2sp_index_slot){ .entry = S2SP_INDEX_NONE, .hash = 0 };
	for (size_t i = 0; i < index->slot_count; i++) {
		if (index->slots[i].entry != S2SP_INDEX_NONE)
			place(slots, slot_count, index->slots[i].entry, index->slots[i].hash);
	}
	if (index->slots != NULL)
		index->allocator.reallocate(index->allocator.owner, index->slots, 0);
	index->slots = slots;
	index->slot_count = slot_count;
	return S2SP_STATUS_OK;
}

static enum s2sp_status grow_entries(struct s2sp_index *index, size_t capacity) {
	struct s2sp_index_entry *entries =
		index->allocator.reallocate(index->allocator.owner, index->entries, capacity * sizeof(*entries));
	if (entries == NULL)
		return S2SP_STATUS_NO_MEMORY;
	index->entries = entries;
	index->capacity = capacity;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_index_add(struct s2sp_index *index, uint16_t kind, struct s2sp_text name, uint32_t value) {
	enum s2sp_status status = S2SP_STATUS_OK;
	if (name.length > S2SP_INDEX_NAME_MAX || index->count > UINT32_MAX / 2)
		return S2SP_STATUS_NO_MEMORY;
	if (index->count == index->capacity)
		status = grow_entries(index, index->capacity == 0 ? FIRST_CAPACITY : index->capacity * 2);
	/* At most two slots in three are taken, so that a miss ends soon. */
	if (status == S2SP_STATUS_OK && (index->count + 1) * 3 > index->slot_count * 2)
		status = grow_slots(index, index->slot_count == 0 ? FIRST_CAPACITY * 2 : index->slot_count * 2);
	if (status != S2SP_STATUS_OK)
		return status;
	index->entries[index->count] =
		(struct s2sp_index_entry){ .bytes = name.bytes, .value = value, .length = (uint16_t)name.length, .kind = kind };
	place(index->slots, index->slot_count, (uint32_t)index->count, hash_name(index, kind, name));
	index->count++;
	return S2SP_STATUS_OK;
}

static bool entry_is(const struct s2sp_index_entry *entry, uint16_t kind, struct s2sp_text name) {
	return entry->kind == kind && entry->length == name.length &&
		   (name.length == 0 || memcmp(entry->bytes, name.bytes, name.length) == 0);
}

uint32_t s2sp_index_find(const struct s2sp_index *index, uint16_t kind, struct s2sp_text name) {
	if (index->slot_count == 0 || name.length > S2SP_INDEX_NAME_MAX)
		return S2SP_INDEX_NONE;
	uint32_t hash = hash_name(index, kind, name);
	for (size_t at = hash & (index->slot_count - 1);; at = (at + 1) & (index->slot_count - 1)) {
		const struct s2sp_index_slot *slot = &index->slots[at];
		if (slot->entry == S2SP_INDEX_NONE)
			return S2SP_INDEX_NONE;
		if (slot->hash == hash && entry_is(&index->entries[slot->entry], kind, name))
			return index->entries[slot->entry].value;
	}
}

void s2sp_index_shrink(struct s2sp_index *index) {
	if (index->count < index->capacity && index->count > 0)
		(void)grow_entries(index, index->count); /* failing to shrink loses nothing */
}
