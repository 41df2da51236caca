/* The policy of one host: a shared partner table, the policy for unlisted domains, limits, access of local users. */
#ifndef S2SP_POLICY_H
#define S2SP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "partner.h"

struct s2sp_limits {
	uint32_t connections;
	uint32_t partner_connections;
	uint32_t establishment_timeout; /* seconds */
	uint32_t inactivity_timeout;    /* seconds */
	uint32_t keepalive_interval;    /* seconds */
};

struct s2sp_policy;

/* NULL is allowed. */
void s2sp_policy_free(struct s2sp_policy *policy);

const struct s2sp_partner_table *s2sp_policy_table(const struct s2sp_policy *policy);
/* The policy for unlisted domains, NULL when they are refused. */
const struct s2sp_partner *s2sp_policy_default(const struct s2sp_policy *policy);
const struct s2sp_limits *s2sp_policy_limits(const struct s2sp_policy *policy);

/* The smallest limit of streams that any partner of this policy has, its own or partner_connections. */
uint32_t s2sp_policy_least_connections(const struct s2sp_policy *policy);

/*
 * The partner for a canonical domain: listed, else the default policy, else NULL (refuse). A domain the server serves itself
 * is nobody's. With the default policy `match` is S2SP_MATCH_NONE. A host that is out of reach has no partners.
 */
const struct s2sp_partner *s2sp_policy_find(const struct s2sp_policy *policy, struct s2sp_text domain, enum s2sp_match *match);

/* Whether the host takes part in no stream. */
bool s2sp_policy_out_of_reach(const struct s2sp_policy *policy);

/* Why a domain is nobody's under this policy, in words for the operator. Static. */
const char *s2sp_policy_unlisted_rule(const struct s2sp_policy *policy);

/*
 * s2sp_policy_find, and in *methods what s2sp_policy_methods says of the partner (S2SP_METHOD_NONE without one). In a table that no
 * cache holds this costs one cache miss; the two functions one after the other cost two.
 */
const struct s2sp_partner *s2sp_policy_find_methods(const struct s2sp_policy *policy, struct s2sp_text domain, unsigned *methods);

/*
 * The methods that may authenticate a stream with `partner` on this host: the row's, less what the host's constraints take away
 * for every domain of the partner. Never more than the row's. A partner that is not of this policy gets none.
 */
unsigned s2sp_policy_methods(const struct s2sp_policy *policy, const struct s2sp_partner *partner);

/*
 * How much the revocation of certificates counts for `partner`: what was written; where nothing was, IF_KNOWN if there are lists that
 * count for it (its own or, unless it has trust anchors of its own, the host's), else OFF. Never UNSET.
 */
enum s2sp_revocation s2sp_policy_revocation(const struct s2sp_policy *policy, const struct s2sp_partner *partner);

/*
 * Whether the host's lists count for `partner`: not where it has trust anchors of its own, since those lists are of the authorities
 * that the host trusts.
 */
bool s2sp_policy_host_crls(const struct s2sp_policy *policy, const struct s2sp_partner *partner);

/*
 * Whether a local user may exchange stanzas with `partner` (NULL: with any at all): where the host's access allows it and the partner's
 * own, if it has one, too. `user` is the prepared localpart.
 */
bool s2sp_policy_external_access(const struct s2sp_policy *policy, const struct s2sp_partner *partner, struct s2sp_text user);

/* Of a partner that narrows the access of local users (`narrowed`): what holds for users it does not name, and how many it names. */
bool s2sp_partner_access_default(const struct s2sp_partner *partner);
size_t s2sp_partner_access_users(const struct s2sp_partner *partner);

#endif
