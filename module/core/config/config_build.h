/* The private parts of the configuration builder. Only config*.c include this file. */
#ifndef S2SP_CONFIG_BUILD_H
#define S2SP_CONFIG_BUILD_H

#include "config.h"
#include "line.h"
#include "nearest.h"
#include "sealed.h"

#define S2SP_COUNT_MAX 1000000000u
#define S2SP_PROXY_PORT 5269 /* RFC 6120 14.7 */

enum s2sp_section {
	S2SP_SECTION_NONE = 0,
	S2SP_SECTION_LIST,
	S2SP_SECTION_PARTNER,
	S2SP_SECTION_DEFAULT,
	S2SP_SECTION_LIMITS,
	S2SP_SECTION_ACCESS,
};

/* The keys of a partner, in the order in which messages list them. */
enum s2sp_partner_key {
	S2SP_PARTNER_KEY_DOMAIN = 0,
	S2SP_PARTNER_KEY_ADDITIONAL_DOMAINS,
	S2SP_PARTNER_KEY_DESCRIPTION, /* from here on also keys of the default policy */
	S2SP_PARTNER_KEY_PARTNER_TYPE,
	S2SP_PARTNER_KEY_TLS,
	S2SP_PARTNER_KEY_SASL,
	S2SP_PARTNER_KEY_DIALBACK,
	S2SP_PARTNER_KEY_TRUST_ANCHORS,
	S2SP_PARTNER_KEY_PINNED_KEYS,
	S2SP_PARTNER_KEY_CRLS,
	S2SP_PARTNER_KEY_REVOCATION,
	S2SP_PARTNER_KEY_CONNECTION_LIMIT,
	S2SP_PARTNER_KEY_KEEPALIVE,
	S2SP_PARTNER_KEY_PROXY,
	S2SP_PARTNER_KEY_PRESENCE_AUTHORIZATION,
	S2SP_PARTNER_KEY_GROUP_CHAT,
	S2SP_PARTNER_KEY_PERSONAL_EVENTS,
	S2SP_PARTNER_KEY_EXTERNAL_ACCESS,
	S2SP_PARTNER_KEY_COUNT,
};

/* The list or map that is being fed. */
enum s2sp_open {
	S2SP_OPEN_NOTHING = 0,
	S2SP_OPEN_ADDITIONAL_DOMAINS,
	S2SP_OPEN_PINNED_KEYS,
	S2SP_OPEN_CRLS,
	S2SP_OPEN_USERS,
};

/* The partner (or default policy) that is being fed. Its strings are in the arena of the table (or policy) already. */
struct s2sp_draft {
	struct s2sp_partner partner;
	struct s2sp_partner_addenda addenda;
	enum s2sp_requirement tls;
	enum s2sp_requirement sasl;
	bool dialback;
	uint32_t given;  /* bits by enum s2sp_partner_key */
	uint32_t faulty; /* of those, the ones that were refused */
	/* Reused from partner to partner. */
	struct s2sp_text *additional;
	size_t additional_capacity;
	struct s2sp_pin *pins;
	size_t pin_capacity;
	struct s2sp_text *crls;
	size_t crl_count, crl_capacity;
};

struct s2sp_config {
	struct s2sp_allocator allocator;
	s2sp_domain_to_ascii *to_ascii;
	s2sp_domain_is_public *is_public; /* NULL: not known */
	const struct s2sp_vocabulary *vocabulary;
	struct s2sp_issues issues;
	struct s2sp_partner_table *table;
	struct s2sp_policy *policy;
	enum s2sp_section section;
	enum s2sp_contents follows;
	enum s2sp_open open;
	size_t open_items;               /* of the open list or map, refused ones included */
	struct s2sp_text place;          /* of the list, escaped, in the table's arena */
	bool not_a_list_told;            /* one partner stands where the list must be, and that has been said */
	struct s2sp_line path;           /* of what was begun */
	struct s2sp_access_list *access; /* whose keys are being set: the host's, or that of the entry */
	bool nested;                     /* the latter */
	size_t outer;                    /* length of the path of the entry then */
	unsigned char seed[16];
	/* What is being set or added; borrowed, valid during the call. */
	struct s2sp_text key;
	size_t item;
	struct s2sp_text item_name;
	bool stray; /* item_name is a key that has no place there */
	struct s2sp_draft draft;
};

/* One issue about the current key, or about `key`. */
struct s2sp_finding {
	enum s2sp_severity severity;
	const char *code;
	const char *key;                /* NULL: what is being set */
	const struct s2sp_value *value; /* NULL: nothing was written */
	bool typed;                     /* the type is what is wrong with it */
	const char *expected;           /* static, with slots of the vocabulary */
	const struct s2sp_line *told;   /* or a complete text, without slots */
	const char *nearest;            /* NULL: none */
};
/* OK or NO_MEMORY, as everything below. */
enum s2sp_status s2sp_config_report(struct s2sp_config *config, const struct s2sp_finding *finding);
/* An error about the current key. The second takes a text that is complete. */
enum s2sp_status s2sp_config_refuse(struct s2sp_config *config, const char *code, const struct s2sp_value *value,
									const char *expected);
enum s2sp_status s2sp_config_refuse_told(struct s2sp_config *config, const char *code, const struct s2sp_value *value,
										 const struct s2sp_line *told);

/*
 * Values of one type; what is refused has become an issue, and *taken is false. Integers are 1 to S2SP_COUNT_MAX;
 * `words` ends in NULL and *word is an index into it.
 */
enum s2sp_status s2sp_config_word(struct s2sp_config *config, const struct s2sp_value *value, const char *const *words,
								  size_t *word, bool *taken);
enum s2sp_status s2sp_config_boolean(struct s2sp_config *config, const struct s2sp_value *value, bool *boolean, bool *taken);
enum s2sp_status s2sp_config_integer(struct s2sp_config *config, const struct s2sp_value *value, uint32_t *number, bool *taken);
/* `what` completes "must be ...". */
enum s2sp_status s2sp_config_string(struct s2sp_config *config, const struct s2sp_value *value, const char *what, bool *taken);
enum s2sp_status s2sp_config_unknown_key(struct s2sp_config *config, const struct s2sp_value *value, const char *const *keys);

/* How a path goes on: `[3]`, and ` ("fabrikam.com")` behind the place of a partner. */
void s2sp_config_path_index(struct s2sp_line *path, size_t index);
void s2sp_config_path_name(struct s2sp_line *path, struct s2sp_text name);
/* Where a partner stands: its place, and `[3]` in a list. */
void s2sp_config_path_partner(struct s2sp_line *path, const struct s2sp_partner *partner);

/* Ends the open list or map. An empty list is an issue. */
enum s2sp_status s2sp_config_close_list(struct s2sp_config *config);

/* The table or policy that owns what the draft points to. */
struct s2sp_arena *s2sp_config_arena(struct s2sp_config *config);

/* The sections' keys. */
enum s2sp_status s2sp_config_set_partner(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_set_limit(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_set_access(struct s2sp_config *config, const struct s2sp_value *value);
/* The access of an entry: its keys follow, up to the end. */
enum s2sp_status s2sp_config_open_access(struct s2sp_config *config, const struct s2sp_value *value, bool *taken);
void s2sp_config_close_access(struct s2sp_config *config);
/* Items of the open list or map. */
enum s2sp_status s2sp_config_add_domain(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_add_pin(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_add_crl(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_add_user(struct s2sp_config *config, const struct s2sp_value *value);

enum s2sp_status s2sp_config_set_domain(struct s2sp_config *config, const struct s2sp_value *value, bool *taken);
enum s2sp_status s2sp_config_set_proxy(struct s2sp_config *config, const struct s2sp_value *value, bool *taken);

bool s2sp_config_is_partner_key(struct s2sp_text key);

/* Opens and closes the draft. Closing checks the partner as a whole. */
void s2sp_config_draft_begin(struct s2sp_config *config);
enum s2sp_status s2sp_config_draft_finish(struct s2sp_config *config);

/* The default limits; the check of the two limits of connections against each other. */
void s2sp_config_limits_begin(struct s2sp_limits *limits);
enum s2sp_status s2sp_config_limits_finish(struct s2sp_config *config);
/* The smallest limit that any partner of the policy has, its own or the general one. */
uint32_t s2sp_config_least_connections(const struct s2sp_policy *policy);

/* Subtracts the constraints of `host` (NULL: none) from every row, and fills in the methods of the policy. */
enum s2sp_status s2sp_config_constrain(struct s2sp_config *config, const struct s2sp_host *host);

#endif
