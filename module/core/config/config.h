/*
 * The configuration builder and validator. An adapter feeds it what the administrator wrote, value by value, in any shape. The
 * builder reports every issue, not just the first. It seals a table and a policy only when there is no error.
 */
#ifndef S2SP_CONFIG_H
#define S2SP_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "domain.h"
#include "host.h"
#include "issue.h"
#include "partner.h"
#include "policy.h"
#include "status.h"
#include "text.h"
#include "vocabulary.h"

/* A value as the adapter found it. */
enum s2sp_value_kind {
	S2SP_VALUE_OTHER = 0, /* never allowed; `string` names it: "a function" */
	S2SP_VALUE_ABSENT,    /* `string` names it */
	S2SP_VALUE_BOOLEAN,
	S2SP_VALUE_NUMBER,
	S2SP_VALUE_STRING,
	S2SP_VALUE_COMPOUND, /* a list or mapping, `string` names it; its contents follow, if s2sp_config_follows says so */
};

/* Strings are borrowed for the call. */
struct s2sp_value {
	enum s2sp_value_kind kind;
	bool boolean;
	double number;
	struct s2sp_text string;
};

struct s2sp_config;

/*
 * NULL when out of memory. `allocator` is copied, its owner and `to_ascii` must outlive the config and what it seals.
 * `vocabulary` must outlive them too. `seed` keys the hashes (16 random bytes, copied).
 */
struct s2sp_config *s2sp_config_new(const struct s2sp_allocator *allocator, s2sp_domain_to_ascii *to_ascii,
									const struct s2sp_vocabulary *vocabulary, const unsigned char seed[16]);
/* To be told before the partners, or never: then nobody is warned of a wildcard over such a domain. */
void s2sp_config_public_suffixes(struct s2sp_config *config, s2sp_domain_is_public *is_public);
/* NULL is allowed. Sealed tables and policies live on. */
void s2sp_config_free(struct s2sp_config *config);

/*
 * The functions that take a value return OK, also for a wrong one, which becomes an issue. After NO_MEMORY the config can only be
 * freed. FAILED: the table or policy that the value belongs to has been sealed already.
 */

/* A domain this server serves itself. Call it before the partners. A name that is no domain is ignored. */
enum s2sp_status s2sp_config_local_domain(struct s2sp_config *config, struct s2sp_text domain);

/*
 * Starts a list of partners. `place` is how the administrator knows it: the name of an option or a file.
 * A `value` that is not compound becomes an issue.
 */
enum s2sp_status s2sp_config_begin_list(struct s2sp_config *config, struct s2sp_text place, const struct s2sp_value *value);
/*
 * Starts the entry at the 1-based `index` of that list. `name` is its domain as written, empty when there is none; only issues
 * show it.
 */
enum s2sp_status s2sp_config_begin_partner(struct s2sp_config *config, size_t index, const struct s2sp_value *value,
										   struct s2sp_text name);

/*
 * What partners have been fed is about one part in `times` of all that will be: room is made for so many, which else would be moved again and again. A hint.
 */
void s2sp_config_expect(struct s2sp_config *config, double times);

/* The policy for unlisted domains ("refuse" or a mapping), the limits, the access of local users. ABSENT: their defaults hold. */
enum s2sp_status s2sp_config_begin_default(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_begin_limits(struct s2sp_config *config, const struct s2sp_value *value);
enum s2sp_status s2sp_config_begin_external_access(struct s2sp_config *config, const struct s2sp_value *value);

/* What the adapter feeds next, after a begin or set. */
enum s2sp_contents {
	S2SP_CONTENTS_NONE = 0,
	S2SP_CONTENTS_KEYS,     /* s2sp_config_set for each key, then s2sp_config_end */
	S2SP_CONTENTS_PARTNERS, /* s2sp_config_begin_partner for each index, s2sp_config_stray, s2sp_config_gap */
	S2SP_CONTENTS_LIST,     /* s2sp_config_add for each index, s2sp_config_stray, s2sp_config_gap, then s2sp_config_end */
	S2SP_CONTENTS_MAP,      /* s2sp_config_add for each string key, s2sp_config_stray for others, then s2sp_config_end */
};
enum s2sp_contents s2sp_config_follows(const struct s2sp_config *config);

/* One key of what was begun, in any order. A key that is not a string is given as it prints ("1", "true"). */
enum s2sp_status s2sp_config_set(struct s2sp_config *config, struct s2sp_text key, const struct s2sp_value *value);
/* One item of the list (by its 1-based index) or map (by its name) that was set last. */
enum s2sp_status s2sp_config_add(struct s2sp_config *config, size_t index, struct s2sp_text name, const struct s2sp_value *value);
/* Ends the list, map or nested keys of a key, the innermost first; when none is open, ends the partner. */
enum s2sp_status s2sp_config_end(struct s2sp_config *config);
/* A key that has no place in the open list or map. */
enum s2sp_status s2sp_config_stray(struct s2sp_config *config, struct s2sp_text key, const struct s2sp_value *value);
/* The open list has entries beyond `last`, but none at `first` to `last`. */
enum s2sp_status s2sp_config_gap(struct s2sp_config *config, size_t first, size_t last);

/*
 * An issue that only the adapter can find: a file that does not load, an option of the host. Texts are copied, unprintable bytes
 * escaped. Issues keep the order of the calls.
 */
enum s2sp_status s2sp_config_issue(struct s2sp_config *config, enum s2sp_severity severity, const char *code,
								   struct s2sp_text path, struct s2sp_text got, struct s2sp_text expected);

/*
 * Hands the table to the caller; *table is NULL unless OK. INVALID: there is at least one error so far. Either way the config
 * takes no more partners (FAILED). It can still seal a policy and show its issues.
 */
enum s2sp_status s2sp_config_seal_table(struct s2sp_config *config, struct s2sp_partner_table **table);

/*
 * The policy of a host over a sealed table: default policy, limits and external access as told to this config, each partner's row
 * less what the constraints of `host` take away (NULL: it has none).
 * The policy refers to `table`, which must outlive it. *policy is NULL unless OK; otherwise as s2sp_config_seal_table,
 * and in any order with it.
 */
enum s2sp_status s2sp_config_seal_policy(struct s2sp_config *config, const struct s2sp_partner_table *table,
										 const struct s2sp_host *host, struct s2sp_policy **policy);

/* The limits so far, with defaults, so that the adapter can compare them with limits of the host. NULL after sealing. */
const struct s2sp_limits *s2sp_config_limits(const struct s2sp_config *config);

/* Issues in the order of what was fed; at most S2SP_ISSUES_KEPT of each severity and one that counts the rest. */
size_t s2sp_config_issue_count(const struct s2sp_config *config);
/* NULL past the end. Valid until the config is freed. */
const struct s2sp_issue *s2sp_config_issue_at(const struct s2sp_config *config, size_t index);

#endif
