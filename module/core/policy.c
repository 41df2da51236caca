#include "policy.h"

#include "sealed.h"

struct s2sp_policy *s2sp_policy_new(const struct s2sp_allocator *allocator, const unsigned char seed[16]) {
	struct s2sp_policy *policy = allocator->reallocate(allocator->owner, NULL, sizeof(*policy));
	if (policy == NULL)
		return NULL;
	memset(policy, 0, sizeof(*policy));
	policy->allocator = *allocator;
	s2sp_arena_begin(&policy->arena, allocator);
	s2sp_access_begin(&policy->access, allocator, seed);
	return policy;
}

void s2sp_policy_free(struct s2sp_policy *policy) {
	if (policy == NULL)
		return;
	struct s2sp_allocator allocator = policy->allocator;
	s2sp_access_end(&policy->access);
	s2sp_arena_end(&policy->arena);
	if (policy->methods != NULL)
		allocator.reallocate(allocator.owner, policy->methods, 0);
	allocator.reallocate(allocator.owner, policy, 0);
}

const struct s2sp_partner_table *s2sp_policy_table(const struct s2sp_policy *policy) {
	return policy->table;
}

const struct s2sp_partner *s2sp_policy_default(const struct s2sp_policy *policy) {
	return policy->has_default ? &policy->default_partner : NULL;
}

const struct s2sp_limits *s2sp_policy_limits(const struct s2sp_policy *policy) {
	return &policy->limits;
}

uint32_t s2sp_policy_least_connections(const struct s2sp_policy *policy) {
	return policy->least_connections;
}

static const struct s2sp_partner *find(const struct s2sp_policy *policy, struct s2sp_text domain, enum s2sp_match *match,
									   struct s2sp_listing *listing) {
	*listing = (struct s2sp_listing){ .partner = NULL };
	if (policy->out_of_reach)
		return NULL;
	*listing = s2sp_partner_table_look_up(policy->table, domain, match);
	return listing->partner != NULL || domain.length == 0 || listing->local ? listing->partner : s2sp_policy_default(policy);
}

const struct s2sp_partner *s2sp_policy_find(const struct s2sp_policy *policy, struct s2sp_text domain, enum s2sp_match *match) {
	struct s2sp_listing listing;
	return find(policy, domain, match, &listing);
}

bool s2sp_policy_out_of_reach(const struct s2sp_policy *policy) {
	return policy->out_of_reach;
}

const char *s2sp_policy_unlisted_rule(const struct s2sp_policy *policy) {
	return policy->out_of_reach ? "the host takes part in no stream: it is out of reach for every partner"
								: "no entry covers the domain and {option.default} is \"refuse\"";
}

const struct s2sp_partner *s2sp_policy_find_methods(const struct s2sp_policy *policy, struct s2sp_text domain,
													unsigned *methods) {
	struct s2sp_listing listing;
	const struct s2sp_partner *partner = find(policy, domain, NULL, &listing);
	/* The partner itself is not read: that would cost a second cache miss. */
	*methods = listing.partner != NULL && policy->methods == NULL ? listing.methods & policy->methods_left
			   : partner != NULL                                  ? s2sp_policy_methods(policy, partner)
																  : S2SP_METHOD_NONE;
	return partner;
}

unsigned s2sp_policy_methods(const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	if (partner == &policy->default_partner)
		return policy->default_methods;
	/* By where it lies, not by its index: it may be of another policy. */
	uintptr_t offset = (uintptr_t)partner - (uintptr_t)policy->table->partners;
	size_t index = offset / sizeof(*partner);
	if (index >= policy->table->count || offset % sizeof(*partner) != 0)
		return S2SP_METHOD_NONE;
	return policy->methods == NULL ? partner->row->methods & policy->methods_left : policy->methods[index];
}

static bool allows(const struct s2sp_access_list *access, struct s2sp_text user) {
	uint32_t named = s2sp_index_find(&access->users, 0, user);
	return named == S2SP_INDEX_NONE ? access->allowed : named == 1;
}

bool s2sp_policy_external_access(const struct s2sp_policy *policy, const struct s2sp_partner *partner, struct s2sp_text user) {
	return allows(&policy->access, user) && (partner == NULL || !partner->narrowed || allows(partner->addenda->access, user));
}

bool s2sp_partner_access_default(const struct s2sp_partner *partner) {
	return !partner->narrowed || partner->addenda->access->allowed;
}

size_t s2sp_partner_access_users(const struct s2sp_partner *partner) {
	return partner->narrowed ? partner->addenda->access->users.count : 0;
}

bool s2sp_policy_host_crls(const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	return policy->crls && partner->trust_anchors.length == 0;
}

enum s2sp_revocation s2sp_policy_revocation(const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	if (partner->revocation != S2SP_REVOCATION_UNSET)
		return (enum s2sp_revocation)partner->revocation;
	bool lists = partner->addenda->crl_count > 0 || s2sp_policy_host_crls(policy, partner);
	return lists ? S2SP_REVOCATION_IF_KNOWN : S2SP_REVOCATION_OFF;
}
