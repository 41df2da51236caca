/* Partners and the sealed, read-only table that finds them by domain. */
#ifndef S2SP_PARTNER_H
#define S2SP_PARTNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain.h"
#include "negotiation.h"
#include "pin.h"
#include "status.h"
#include "text.h"

enum s2sp_partner_type {
	S2SP_PUBLIC_UNVERIFIED = 0, /* zero trusts least */
	S2SP_PUBLIC_VERIFIED,
	S2SP_FEDERATED,
};

/* What certificate revocation lists (CRLs, RFC 5280 5) decide about a partner's certificate. */
enum s2sp_revocation {
	S2SP_REVOCATION_UNSET = 0, /* not written: follows from whether there are lists, see s2sp_policy_revocation */
	S2SP_REVOCATION_OFF,
	S2SP_REVOCATION_IF_KNOWN, /* what a current list says counts; where none does, the certificate goes on */
	S2SP_REVOCATION_REQUIRED, /* and where none does, the certificate is refused */
};

/* Bits of s2sp_partner.given: settings the administrator wrote, as opposed to defaults. */
enum s2sp_partner_setting {
	S2SP_GIVEN_TLS = 1,
	S2SP_GIVEN_SASL = 2,
	S2SP_GIVEN_DIALBACK = 4,
	S2SP_GIVEN_CONNECTION_LIMIT = 8,
	S2SP_GIVEN_KEEPALIVE = 16,
	S2SP_GIVEN_PRESENCE_AUTHORIZATION = 32,
	S2SP_GIVEN_GROUP_CHAT = 64,
	S2SP_GIVEN_REVOCATION = 128,
	S2SP_GIVEN_EXTERNAL_ACCESS = 256,
	S2SP_GIVEN_PERSONAL_EVENTS = 512,
};

struct s2sp_access_list;

/* Settings that few partners have. A partner without any of them needs one pointer for all. */
struct s2sp_partner_addenda {
	struct s2sp_text proxy_host;  /* canonical domain or IP literal; empty: ask DNS */
	const struct s2sp_text *crls; /* paths and patterns of files of revocation lists, as written */
	size_t crl_count;
	const struct s2sp_access_list *access; /* narrows the access that the host gives its users; NULL: it does not */
};

/* Sealed: everything is owned by the table it was found in (or by the policy, for the default policy). */
struct s2sp_partner {
	/* What streams and stanzas are judged by, side by side. */
	const struct s2sp_negotiation_row *row;
	struct s2sp_text trust_anchors; /* path as written; empty: the host's own trust store */
	uint32_t index;                 /* position in the table, stable for its lifetime; of no meaning in a default policy */
	uint32_t pin_count;
	uint32_t connection_limit; /* 0: the general partner_connections limit */
	uint16_t proxy_port;
	uint8_t type; /* enum s2sp_partner_type */
	bool keepalive;
	uint16_t given; /* set of enum s2sp_partner_setting */
	bool presence_automatic;
	bool group_chat;
	uint8_t revocation;   /* enum s2sp_revocation, as written */
	bool narrowed;        /* addenda->access is there */
	bool personal_events; /* personal_events = "allow" */
	uint32_t additional_count;
	uint32_t entry; /* 1-based in the list `place`; 0: it stands in no list */
	const struct s2sp_pin *pins;
	struct s2sp_text name;        /* canonical primary domain; "unlisted" for the default policy */
	struct s2sp_text description; /* as written; may be empty */
	struct s2sp_text place;       /* where it was written: the option or file, which all of a list share; ends with NUL */
	const struct s2sp_partner_addenda *addenda; /* never NULL */
	const struct s2sp_text *additional;         /* canonical, wildcards as "*.fabrikam.com", in the order written */
};

struct s2sp_partner_table;

/* Frees the table and every partner in it. NULL is allowed. */
void s2sp_partner_table_free(struct s2sp_partner_table *table);

size_t s2sp_partner_table_count(const struct s2sp_partner_table *table);
/* NULL past the end. */
const struct s2sp_partner *s2sp_partner_table_at(const struct s2sp_partner_table *table, size_t index);

/* How a domain was found. */
enum s2sp_match { S2SP_MATCH_NONE = 0, S2SP_MATCH_PRIMARY, S2SP_MATCH_ADDITIONAL, S2SP_MATCH_WILDCARD };

/*
 * The partner a canonical domain belongs to: an exact entry first, then the longest wildcard ("*.a.b" covers any depth
 * below a.b, never a.b itself). NULL when not listed, and for every domain the server serves itself, also under a
 * wildcard. `match` may be NULL. Allocates nothing; the hash is keyed.
 */
const struct s2sp_partner *s2sp_partner_table_find(const struct s2sp_partner_table *table, struct s2sp_text domain,
												   enum s2sp_match *match);

/* "federated", "public_verified", "public_unverified". Static. */
const char *s2sp_partner_type_token(enum s2sp_partner_type type);
/* "off", "if_known", "required"; "unset". Static. */
const char *s2sp_revocation_token(enum s2sp_revocation revocation);
/* "none", "primary", "additional", "wildcard". Static. */
const char *s2sp_match_token(enum s2sp_match match);

#endif
