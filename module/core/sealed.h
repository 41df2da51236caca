/* The private parts of the sealed table and policy. Only config*.c, partner.c and policy.c include this file. */
#ifndef S2SP_SEALED_H
#define S2SP_SEALED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "index.h"
#include "partner.h"
#include "policy.h"

/* Kinds of names in the index of domains. */
enum {
	S2SP_NAME_EXACT = 0,
	S2SP_NAME_WILDCARD = 1, /* the name is what follows "*." */
};

/* The value of a domain the server serves itself; partners are counted below it. */
#define S2SP_PARTNER_LOCAL (UINT32_MAX - 1)

struct s2sp_partner_table {
	struct s2sp_allocator allocator;
	struct s2sp_arena arena; /* every string and array that partners point to */
	struct s2sp_partner *partners;
	size_t count;
	size_t capacity;
	struct s2sp_index domains;
	struct s2sp_access_list *accesses;                             /* of the partners that have one */
	uint64_t wildcard_lengths[(S2SP_DOMAIN_LENGTH_MAX + 64) / 64]; /* a bit for each length that a name of kind wildcard has */
};

/* Which local users may exchange stanzas with others: of a host, or of one partner. It lives in the arena of what owns it. */
struct s2sp_access_list {
	bool allowed;            /* users that are not named */
	struct s2sp_index users; /* value 1: allow, 0: deny */
	struct s2sp_access_list *next;
};

struct s2sp_listing {
	const struct s2sp_partner *partner; /* NULL: not listed */
	bool local;                         /* the server serves the domain itself */
	uint8_t methods;                    /* of the partner's row: set of enum s2sp_method */
};

struct s2sp_policy {
	struct s2sp_allocator allocator;
	struct s2sp_arena arena; /* what the default policy and the users point to */
	const struct s2sp_partner_table *table;
	struct s2sp_partner default_partner;
	bool has_default;
	bool out_of_reach;
	bool crls; /* the host has revocation lists for the authorities that it trusts */
	uint8_t default_methods;
	uint8_t methods_left; /* of every partner's row, while methods is NULL */
	uint8_t *methods; /* by index of the partner, where the host's constraints do not take the same from all of them; else NULL */
	struct s2sp_limits limits;
	uint32_t least_connections;     /* the smallest limit that any partner has, its own or the general one */
	struct s2sp_access_list access; /* of the host; next: of the default policy */
};

/* Empty ones. NULL when out of memory. */
struct s2sp_partner_table *s2sp_partner_table_new(const struct s2sp_allocator *allocator, const unsigned char seed[16]);
struct s2sp_policy *s2sp_policy_new(const struct s2sp_allocator *allocator, const unsigned char seed[16]);

/* Room for one more partner, zeroed, at the end. OK or NO_MEMORY. */
enum s2sp_status s2sp_partner_table_append(struct s2sp_partner_table *table, const struct s2sp_partner *partner);
/* Room for so many partners and domains in all; a hint, nothing is lost when it fails. */
void s2sp_partner_table_reserve(struct s2sp_partner_table *table, size_t partners, size_t domains);
/* Begins an access that allows everybody; ends the users of all that `access` leads to, not the memory they stand in. */
void s2sp_access_begin(struct s2sp_access_list *access, const struct s2sp_allocator *allocator, const unsigned char seed[16]);
void s2sp_access_end(struct s2sp_access_list *access);
/* There is a name of kind wildcard of that length. */
void s2sp_partner_table_note_wildcard(struct s2sp_partner_table *table, size_t length);
/* As s2sp_partner_table_find. The answer has what is known of the domain without a read of the partner. */
struct s2sp_listing s2sp_partner_table_look_up(const struct s2sp_partner_table *table, struct s2sp_text domain,
											   enum s2sp_match *match);
/*
 * Returns the memory that was kept for growth. Stores the methods of each partner's row next to its domains. From here on partners
 * do not move or change.
 */
void s2sp_partner_table_seal(struct s2sp_partner_table *table);

#endif
