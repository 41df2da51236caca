#include "index.h"

#include <stdbool.h>
#include <string.h>

#define FIRST_SLOTS 32

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
static uint64_t hash_name(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name) {
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
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void s2sp_index_begin(struct s2sp_index *index, const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	memset(index, 0, sizeof(*index));
	index->allocator = *allocator;
	index->key[0] = load64(seed, 8);
	index->key[1] = load64(seed + 8, 8);
}

void s2sp_index_end(struct s2sp_index *index) {
	if (index->slots != NULL)
		index->allocator.reallocate(index->allocator.owner, index->slots, 0);
	index->slots = NULL;
	index->count = index->slot_count = 0;
}

/* The low bits of a hash say where, the highest eight are its tag. */
static uint8_t tag_of(uint64_t hash) {
	return (uint8_t)(hash >> 56);
}

static void place(struct s2sp_index_slot *slots, size_t slot_count, struct s2sp_index_slot name, uint64_t hash) {
	size_t at = hash & (slot_count - 1);
	while (slots[at].value != S2SP_INDEX_NONE)
		at = (at + 1) & (slot_count - 1);
	slots[at] = name;
}

static enum s2sp_status grow(struct s2sp_index *index, size_t slot_count) {
	struct s2sp_index_slot *slots = index->allocator.reallocate(index->allocator.owner, NULL, slot_count * sizeof(*slots));
	if (slots == NULL)
		return S2SP_STATUS_NO_MEMORY;
	for (size_t i = 0; i < slot_count; i++)
		slots[i] = (struct s2sp_index_slot){ .value = S2SP_INDEX_NONE };
	for (size_t i = 0; i < index->slot_count; i++) {
		struct s2sp_index_slot name = index->slots[i];
		if (name.value != S2SP_INDEX_NONE)
			place(slots, slot_count, name, hash_name(index, name.kind, (struct s2sp_text){ name.bytes, name.length }));
	}
	if (index->slots != NULL)
		index->allocator.reallocate(index->allocator.owner, index->slots, 0);
	index->slots = slots;
	index->slot_count = slot_count;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_index_add(struct s2sp_index *index, uint8_t kind, struct s2sp_text name, uint32_t value) {
	if (name.length > S2SP_INDEX_NAME_MAX || index->count > UINT32_MAX / 2)
		return S2SP_STATUS_NO_MEMORY;
	/* At most two slots in three are taken, so that a miss ends soon. */
	if ((index->count + 1) * 3 > index->slot_count * 2 &&
		grow(index, index->slot_count == 0 ? FIRST_SLOTS : index->slot_count * 2) != S2SP_STATUS_OK)
		return S2SP_STATUS_NO_MEMORY;
	uint64_t hash = hash_name(index, kind, name);
	struct s2sp_index_slot slot = {
		.bytes = name.bytes, .value = value, .length = (uint16_t)name.length, .kind = kind, .tag = tag_of(hash)
	};
	place(index->slots, index->slot_count, slot, hash);
	index->count++;
	return S2SP_STATUS_OK;
}

static bool slot_is(const struct s2sp_index_slot *slot, uint8_t kind, struct s2sp_text name) {
	return slot->kind == kind && slot->length == name.length &&
		   (name.length == 0 || memcmp(slot->bytes, name.bytes, name.length) == 0);
}

uint32_t s2sp_index_find(const struct s2sp_index *index, uint8_t kind, struct s2sp_text name) {
	if (index->slot_count == 0 || name.length > S2SP_INDEX_NAME_MAX)
		return S2SP_INDEX_NONE;
	uint64_t hash = hash_name(index, kind, name);
	for (size_t at = hash & (index->slot_count - 1);; at = (at + 1) & (index->slot_count - 1)) {
		const struct s2sp_index_slot *slot = &index->slots[at];
		if (slot->value == S2SP_INDEX_NONE)
			return S2SP_INDEX_NONE;
		if (slot->tag == tag_of(hash) && slot_is(slot, kind, name))
			return slot->value;
	}
}
