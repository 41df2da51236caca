/* What a policy says: routes, access, limits. */
#include "nif.h"
#include "nif_functions.h"

/* The policy of argv[0], which must be one. */
static const struct s2sp_policy *policy_of(ErlNifEnv *env, const ERL_NIF_TERM argv[]) {
	const struct s2sp_nif_policy *policy = s2sp_nif_get(env, argv[0], S2SP_NIF_POLICY);
	return policy == NULL ? NULL : policy->policy;
}

static const struct s2sp_partner *find(const struct s2sp_policy *policy, const struct s2sp_domain *domain) {
	return domain->length == 0 ? NULL : s2sp_policy_find(policy, s2sp_domain_text(domain), NULL);
}

NIF(s2sp_nif_policy_partner) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	struct s2sp_domain domain;
	(void)argc;
	if (policy == NULL || !s2sp_nif_domain(env, argv[1], &domain))
		return enif_make_badarg(env);
	const struct s2sp_partner *partner = find(policy, &domain);
	return partner == NULL ? s2sp_atoms.none : s2sp_nif_make_text(env, partner->name);
}

NIF(s2sp_nif_policy_limits) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	if (policy == NULL)
		return enif_make_badarg(env);
	const struct s2sp_limits *limits = s2sp_policy_limits(policy);
	s2sp_nif_put(&map, s2sp_atoms.connections, enif_make_uint(env, limits->connections));
	s2sp_nif_put(&map, s2sp_atoms.partner_connections, enif_make_uint(env, limits->partner_connections));
	s2sp_nif_put(&map, s2sp_atoms.establishment_timeout, enif_make_uint(env, limits->establishment_timeout));
	s2sp_nif_put(&map, s2sp_atoms.inactivity_timeout, enif_make_uint(env, limits->inactivity_timeout));
	s2sp_nif_put(&map, s2sp_atoms.keepalive_interval, enif_make_uint(env, limits->keepalive_interval));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_policy_facts) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	if (policy == NULL)
		return enif_make_badarg(env);
	s2sp_nif_put(&map, s2sp_atoms.partners, enif_make_uint64(env, s2sp_partner_table_count(s2sp_policy_table(policy))));
	s2sp_nif_put(&map, s2sp_atoms.default_, s2sp_nif_make_boolean(s2sp_policy_default(policy) != NULL));
	s2sp_nif_put(&map, s2sp_atoms.out_of_reach, s2sp_nif_make_boolean(s2sp_policy_out_of_reach(policy)));
	s2sp_nif_put(&map, s2sp_atoms.least_connections, enif_make_uint(env, s2sp_policy_least_connections(policy)));
	s2sp_nif_put(&map, s2sp_atoms.unlisted_rule, s2sp_nif_make_words(env, s2sp_policy_unlisted_rule(policy)));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_external_access) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	const struct s2sp_partner *partner = NULL;
	struct s2sp_domain domain;
	struct s2sp_text user;
	(void)argc;
	if (policy == NULL || !s2sp_nif_text(env, argv[2], &user))
		return enif_make_badarg(env);
	if (argv[1] != s2sp_atoms.none) {
		if (!s2sp_nif_domain(env, argv[1], &domain))
			return enif_make_badarg(env);
		partner = find(policy, &domain);
		if (partner == NULL)
			return s2sp_atoms.denied;
	}
	return s2sp_policy_external_access(policy, partner, user) ? s2sp_atoms.allowed : s2sp_atoms.denied;
}

NIF(s2sp_nif_route) {
	const struct s2sp_policy *policy;
	const struct s2sp_partner *partner;
	struct s2sp_domain domain;
	bool verify;
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy) || !s2sp_nif_domain(env, argv[1], &domain) ||
		!s2sp_nif_boolean(argv[2], &verify))
		return enif_make_badarg(env);
	return s2sp_nif_make_decision(env, s2sp_decide_route(policy, s2sp_domain_text(&domain), verify, &partner));
}

NIF(s2sp_nif_place) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	struct s2sp_domain domain;
	struct s2sp_counts counts;
	(void)argc;
	if (policy == NULL || !s2sp_nif_domain(env, argv[1], &domain) || !s2sp_nif_number(env, argv[2], &counts.partner) ||
		!s2sp_nif_number(env, argv[3], &counts.total))
		return enif_make_badarg(env);
	const struct s2sp_partner *partner = find(policy, &domain);
	if (partner == NULL)
		return s2sp_nif_make_decision(
			env, (struct s2sp_decision){ S2SP_VERDICT_REFUSE, S2SP_REASON_UNLISTED_DOMAIN, s2sp_policy_unlisted_rule(policy) });
	return s2sp_nif_make_decision(env, s2sp_decide_place(policy, partner, counts));
}

NIF(s2sp_nif_limits_suffice) {
	const struct s2sp_policy *policy = policy_of(env, argv);
	struct s2sp_counts counts;
	(void)argc;
	if (policy == NULL || !s2sp_nif_number(env, argv[1], &counts.partner) || !s2sp_nif_number(env, argv[2], &counts.total))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_limits_suffice(policy, counts));
}

NIF(s2sp_nif_key_question) {
	struct s2sp_questions questions;
	(void)argc;
	if (!s2sp_nif_number(env, argv[0], &questions.route) || !s2sp_nif_number(env, argv[1], &questions.partner))
		return enif_make_badarg(env);
	return s2sp_nif_make_decision(env, s2sp_decide_question(questions));
}

NIF(s2sp_nif_waiting_room) {
	const struct s2sp_policy *policy;
	struct s2sp_waiting_room room = { S2SP_WAITING_DEFAULT, S2SP_WAITING_ADDRESS_DEFAULT };
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy))
		return enif_make_badarg(env);
	if (policy != NULL)
		room = s2sp_limits_waiting_room(s2sp_policy_limits(policy));
	return enif_make_tuple2(env, enif_make_uint(env, room.total), enif_make_uint(env, room.address));
}

static bool read_room(ErlNifEnv *env, ERL_NIF_TERM term, struct s2sp_waiting_room *room) {
	const ERL_NIF_TERM *parts;
	int arity;
	return enif_get_tuple(env, term, &arity, &parts) && arity == 2 && s2sp_nif_number(env, parts[0], &room->total) &&
		   s2sp_nif_number(env, parts[1], &room->address);
}

NIF(s2sp_nif_waiting_crowded) {
	struct s2sp_waiting_room room, waiting;
	(void)argc;
	if (!read_room(env, argv[0], &room) || !read_room(env, argv[1], &waiting))
		return enif_make_badarg(env);
	switch (s2sp_waiting_crowded(room, waiting)) {
	case S2SP_CROWDED_NOT: return s2sp_atoms.no;
	case S2SP_CROWDED_ADDRESS: return s2sp_atoms.address;
	case S2SP_CROWDED_EVERYBODY: break;
	}
	return s2sp_atoms.everybody;
}

NIF(s2sp_nif_waiting_due) {
	const struct s2sp_policy *policy;
	ErlNifUInt64 waited;
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy) || !enif_get_uint64(env, argv[1], &waited))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_waiting_due(policy == NULL ? NULL : s2sp_policy_limits(policy), waited));
}
