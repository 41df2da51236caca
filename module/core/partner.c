#include "partner.h"

#include "sealed.h"

#define FIRST_CAPACITY 8

struct s2sp_partner_table *s2sp_partner_table_new(const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	struct s2sp_partner_table *table = allocator->reallocate(allocator->owner, NULL, sizeof(*table));
	if (table == NULL)
		return NULL;
	memset(table, 0, sizeof(*table));
	table->allocator = *allocator;
	s2sp_arena_begin(&table->arena, allocator);
	s2sp_index_begin(&table->domains, allocator, seed);
	return table;
}

void s2sp_access_begin(struct s2sp_access_list *access, const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	access->allowed = true;
	access->next = NULL;
	s2sp_index_begin(&access->users, allocator, seed);
}

void s2sp_access_end(struct s2sp_access_list *access) {
	for (; access != NULL; access = access->next)
		s2sp_index_end(&access->users);
}

void s2sp_partner_table_free(struct s2sp_partner_table *table) {
	if (table == NULL)
		return;
	struct s2sp_allocator allocator = table->allocator;
	s2sp_index_end(&table->domains);
	s2sp_access_end(table->accesses);
	s2sp_arena_end(&table->arena);
	if (table->partners != NULL)
		allocator.reallocate(allocator.owner, table->partners, 0);
	allocator.reallocate(allocator.owner, table, 0);
}

static enum s2sp_status resize(struct s2sp_partner_table *table, size_t capacity) {
	struct s2sp_partner *partners =
		table->allocator.reallocate(table->allocator.owner, table->partners, capacity * sizeof(*partners));
	if (partners == NULL)
		return S2SP_STATUS_NO_MEMORY;
	table->partners = partners;
	table->capacity = capacity;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_partner_table_append(struct s2sp_partner_table *table, const struct s2sp_partner *partner) {
	if (table->count >= S2SP_PARTNER_LOCAL)
		return S2SP_STATUS_NO_MEMORY;
	if (table->count == table->capacity &&
		resize(table, table->capacity == 0 ? FIRST_CAPACITY : table->capacity * 2) != S2SP_STATUS_OK)
		return S2SP_STATUS_NO_MEMORY;
	table->partners[table->count] = *partner;
	table->partners[table->count].index = (uint32_t)table->count;
	table->count++;
	return S2SP_STATUS_OK;
}

void s2sp_partner_table_reserve(struct s2sp_partner_table *table, size_t partners, size_t domains) {
	if (partners > table->capacity && partners < S2SP_PARTNER_LOCAL)
		(void)resize(table, partners);
	s2sp_index_reserve(&table->domains, domains);
}

static uint8_t row_methods(const void *of, uint32_t value) {
	const struct s2sp_partner_table *table = of;
	return value < table->count ? (uint8_t)table->partners[value].row->methods : S2SP_METHOD_NONE;
}

void s2sp_partner_table_seal(struct s2sp_partner_table *table) {
	if (table->count > 0 && table->count < table->capacity)
		(void)resize(table, table->count); /* failing to shrink loses nothing */
	s2sp_index_fit(&table->domains);
	s2sp_index_note(&table->domains, row_methods, table);
}

size_t s2sp_partner_table_count(const struct s2sp_partner_table *table) {
	return table->count;
}

const struct s2sp_partner *s2sp_partner_table_at(const struct s2sp_partner_table *table, size_t index) {
	return index < table->count ? &table->partners[index] : NULL;
}

void s2sp_partner_table_note_wildcard(struct s2sp_partner_table *table, size_t length) {
	table->wildcard_lengths[length / 64] |= UINT64_C(1) << length % 64;
}

/* Spares nearly all look-ups of parents: the wildcards of a table have few lengths. */
static bool has_wildcard(const struct s2sp_partner_table *table, size_t length) {
	return (table->wildcard_lengths[length / 64] >> length % 64 & 1) != 0;
}

static uint32_t find_wildcard(const struct s2sp_partner_table *table, struct s2sp_text domain, uint8_t *methods) {
	struct s2sp_text parent = s2sp_domain_parent(domain);
	for (; parent.length > 0; parent = s2sp_domain_parent(parent)) {
		uint32_t value = S2SP_INDEX_NONE;
		if (has_wildcard(table, parent.length))
			value = s2sp_index_find_noted(&table->domains, S2SP_NAME_WILDCARD, parent, methods);
		if (value != S2SP_INDEX_NONE)
			return value;
	}
	return S2SP_INDEX_NONE;
}

struct s2sp_listing s2sp_partner_table_look_up(const struct s2sp_partner_table *table, struct s2sp_text domain,
											   enum s2sp_match *match) {
	struct s2sp_listing listing = { NULL, false, S2SP_METHOD_NONE };
	enum s2sp_match how = S2SP_MATCH_ADDITIONAL;
	uint32_t value = S2SP_INDEX_NONE;
	if (domain.length > 0 && domain.length <= S2SP_DOMAIN_LENGTH_MAX) {
		value = s2sp_index_find_noted(&table->domains, S2SP_NAME_EXACT, domain, &listing.methods);
		if (value == S2SP_INDEX_NONE) {
			value = find_wildcard(table, domain, &listing.methods);
			how = S2SP_MATCH_WILDCARD;
		}
	}
	listing.local = value == S2SP_PARTNER_LOCAL;
	listing.partner = value < table->count ? &table->partners[value] : NULL;
	if (match == NULL)
		return listing; /* the partner is not read: in a large table that would cost one more cache miss */
	if (listing.partner != NULL && how == S2SP_MATCH_ADDITIONAL && s2sp_text_equal(listing.partner->name, domain))
		how = S2SP_MATCH_PRIMARY;
	*match = listing.partner == NULL ? S2SP_MATCH_NONE : how;
	return listing;
}

const struct s2sp_partner *s2sp_partner_table_find(const struct s2sp_partner_table *table, struct s2sp_text domain,
												   enum s2sp_match *match) {
	return s2sp_partner_table_look_up(table, domain, match).partner;
}

const char *s2sp_partner_type_token(enum s2sp_partner_type type) {
	switch (type) {
	case S2SP_PUBLIC_UNVERIFIED: return "public_unverified";
	case S2SP_PUBLIC_VERIFIED: return "public_verified";
	case S2SP_FEDERATED: return "federated";
	}
	return "public_unverified";
}

const char *s2sp_match_token(enum s2sp_match match) {
	switch (match) {
	case S2SP_MATCH_NONE: return "none";
	case S2SP_MATCH_PRIMARY: return "primary";
	case S2SP_MATCH_ADDITIONAL: return "additional";
	case S2SP_MATCH_WILDCARD: return "wildcard";
	}
	return "none";
}

const char *s2sp_revocation_token(enum s2sp_revocation revocation) {
	switch (revocation) {
	case S2SP_REVOCATION_UNSET: return "unset";
	case S2SP_REVOCATION_OFF: return "off";
	case S2SP_REVOCATION_IF_KNOWN: return "if_known";
	case S2SP_REVOCATION_REQUIRED: return "required";
	}
	return "unset";
}
