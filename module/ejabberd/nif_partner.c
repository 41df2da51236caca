/* A partner's settings as a map, for the configuration, the console and the process that opens a stream. */
#include "nif.h"
#include "nif_functions.h"

static ERL_NIF_TERM make_additional(ErlNifEnv *env, const void *of, size_t index) {
	return s2sp_nif_make_text(env, ((const struct s2sp_partner *)of)->additional[index]);
}

static ERL_NIF_TERM make_pin(ErlNifEnv *env, const void *of, size_t index) {
	char text[S2SP_PIN_TEXT];
	s2sp_pin_text(&((const struct s2sp_partner *)of)->pins[index], text);
	return s2sp_nif_make_string(env, text);
}

static ERL_NIF_TERM make_crl(ErlNifEnv *env, const void *of, size_t index) {
	return s2sp_nif_make_text(env, ((const struct s2sp_partner *)of)->addenda->crls[index]);
}

static ERL_NIF_TERM make_text_or_none(ErlNifEnv *env, struct s2sp_text text) {
	return text.length == 0 ? s2sp_atoms.none : s2sp_nif_make_text(env, text);
}

static ERL_NIF_TERM make_proxy(ErlNifEnv *env, const struct s2sp_partner *partner) {
	struct s2sp_text host = partner->addenda->proxy_host;
	if (host.length == 0)
		return s2sp_atoms.none;
	return enif_make_tuple2(env, s2sp_nif_make_text(env, host), enif_make_uint(env, partner->proxy_port));
}

static ERL_NIF_TERM make_access(ErlNifEnv *env, const struct s2sp_partner *partner) {
	if (!partner->narrowed)
		return s2sp_atoms.none;
	return enif_make_tuple2(env, s2sp_partner_access_default(partner) ? s2sp_atoms.allow : s2sp_atoms.deny,
							enif_make_uint64(env, s2sp_partner_access_users(partner)));
}

/* The settings that were written, as opposed to defaults. */
static ERL_NIF_TERM make_given(ErlNifEnv *env, const struct s2sp_partner *partner) {
	const struct {
		ERL_NIF_TERM name;
		enum s2sp_partner_setting setting;
	} settings[] = {
		{ s2sp_atoms.tls, S2SP_GIVEN_TLS },
		{ s2sp_atoms.sasl, S2SP_GIVEN_SASL },
		{ s2sp_atoms.dialback, S2SP_GIVEN_DIALBACK },
		{ s2sp_atoms.connection_limit, S2SP_GIVEN_CONNECTION_LIMIT },
		{ s2sp_atoms.keepalive, S2SP_GIVEN_KEEPALIVE },
		{ s2sp_atoms.presence_authorization, S2SP_GIVEN_PRESENCE_AUTHORIZATION },
		{ s2sp_atoms.group_chat, S2SP_GIVEN_GROUP_CHAT },
		{ s2sp_atoms.revocation, S2SP_GIVEN_REVOCATION },
		{ s2sp_atoms.external_access, S2SP_GIVEN_EXTERNAL_ACCESS },
		{ s2sp_atoms.personal_events, S2SP_GIVEN_PERSONAL_EVENTS },
	};
	ERL_NIF_TERM list = enif_make_list(env, 0);
	for (size_t i = COUNT(settings); i > 0; i--) {
		if (partner->given & (unsigned)settings[i - 1].setting)
			list = enif_make_list_cell(env, settings[i - 1].name, list);
	}
	return list;
}

/* Where it stands: its place, and "[3]" in a list. */
static ERL_NIF_TERM make_place(ErlNifEnv *env, const struct s2sp_partner *partner) {
	struct s2sp_line line;
	s2sp_line_begin(&line);
	s2sp_line_add_text(&line, partner->place);
	if (partner->entry > 0) {
		s2sp_line_add(&line, "[");
		s2sp_line_add_number(&line, partner->entry);
		s2sp_line_add(&line, "]");
	}
	return s2sp_nif_make_text(env, s2sp_line_text(&line));
}

/* What a table knows of it, before any host's constraints. */
static void put_own(ErlNifEnv *env, struct s2sp_nif_map *map, const struct s2sp_partner *partner) {
	s2sp_nif_put(map, s2sp_atoms.name, s2sp_nif_make_text(env, partner->name));
	s2sp_nif_put(map, s2sp_atoms.place, make_place(env, partner));
	s2sp_nif_put(map, s2sp_atoms.dialback, s2sp_nif_make_boolean(partner->row->dialback));
	s2sp_nif_put(map, s2sp_atoms.row_methods, s2sp_nif_make_methods(env, partner->row->methods));
	s2sp_nif_put(map, s2sp_atoms.additional_domains,
				 s2sp_nif_make_list(env, partner->additional_count, make_additional, partner));
	s2sp_nif_put(map, s2sp_atoms.trust_anchors, make_text_or_none(env, partner->trust_anchors));
	s2sp_nif_put(map, s2sp_atoms.crls, s2sp_nif_make_list(env, partner->addenda->crl_count, make_crl, partner));
}

static void put_words(ErlNifEnv *env, struct s2sp_nif_map *map, const struct s2sp_partner *partner) {
	s2sp_nif_put(map, s2sp_atoms.description, s2sp_nif_make_text(env, partner->description));
	s2sp_nif_put(map, s2sp_atoms.type, s2sp_atoms.partner_types[partner->type]);
	s2sp_nif_put(map, s2sp_atoms.tls, s2sp_atoms.requirements[partner->row->tls]);
	s2sp_nif_put(map, s2sp_atoms.sasl, s2sp_atoms.requirements[partner->row->sasl]);
	s2sp_nif_put(map, s2sp_atoms.keepalive, s2sp_nif_make_boolean(partner->keepalive));
	s2sp_nif_put(map, s2sp_atoms.presence_authorization, partner->presence_automatic ? s2sp_atoms.automatic : s2sp_atoms.user);
	s2sp_nif_put(map, s2sp_atoms.group_chat, partner->group_chat ? s2sp_atoms.allow : s2sp_atoms.refuse);
	s2sp_nif_put(map, s2sp_atoms.personal_events, partner->personal_events ? s2sp_atoms.allow : s2sp_atoms.refuse);
}

static ERL_NIF_TERM make_partner(ErlNifEnv *env, const struct s2sp_policy *policy, const struct s2sp_partner *partner,
								 enum s2sp_match match) {
	struct s2sp_nif_map map = { 0 };
	uint32_t limit = partner->connection_limit;
	put_own(env, &map, partner);
	put_words(env, &map, partner);
	s2sp_nif_put(&map, s2sp_atoms.methods, s2sp_nif_make_methods(env, s2sp_policy_methods(policy, partner)));
	s2sp_nif_put(&map, s2sp_atoms.match,
				 partner == s2sp_policy_default(policy) ? s2sp_atoms.default_ : s2sp_atoms.matches[match]);
	s2sp_nif_put(&map, s2sp_atoms.pins, s2sp_nif_make_list(env, partner->pin_count, make_pin, partner));
	s2sp_nif_put(&map, s2sp_atoms.revocation, s2sp_atoms.revocations[s2sp_policy_revocation(policy, partner)]);
	s2sp_nif_put(&map, s2sp_atoms.host_crls, s2sp_nif_make_boolean(s2sp_policy_host_crls(policy, partner)));
	s2sp_nif_put(&map, s2sp_atoms.connection_limit,
				 enif_make_uint(env, limit > 0 ? limit : s2sp_policy_limits(policy)->partner_connections));
	s2sp_nif_put(&map, s2sp_atoms.proxy, make_proxy(env, partner));
	s2sp_nif_put(&map, s2sp_atoms.external_access, make_access(env, partner));
	s2sp_nif_put(&map, s2sp_atoms.given, make_given(env, partner));
	return s2sp_nif_make_map(env, &map);
}

static ERL_NIF_TERM make_table_partner(ErlNifEnv *env, const void *of, size_t index) {
	const struct s2sp_partner *partner = s2sp_partner_table_at(of, index);
	struct s2sp_nif_map map = { 0 };
	put_own(env, &map, partner);
	s2sp_nif_put(&map, s2sp_atoms.connection_limit, enif_make_uint(env, partner->connection_limit));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_table_partners) {
	const struct s2sp_nif_table *table = s2sp_nif_get(env, argv[0], S2SP_NIF_TABLE);
	(void)argc;
	if (table == NULL)
		return enif_make_badarg(env);
	return s2sp_nif_make_list(env, s2sp_partner_table_count(table->table), make_table_partner, table->table);
}

NIF(s2sp_nif_policy_find) {
	const struct s2sp_nif_policy *policy = s2sp_nif_get(env, argv[0], S2SP_NIF_POLICY);
	struct s2sp_domain domain;
	enum s2sp_match match = S2SP_MATCH_NONE;
	(void)argc;
	if (policy == NULL || !s2sp_nif_domain(env, argv[1], &domain))
		return enif_make_badarg(env);
	const struct s2sp_partner *partner =
		domain.length == 0 ? NULL : s2sp_policy_find(policy->policy, s2sp_domain_text(&domain), &match);
	return partner == NULL ? s2sp_atoms.none : make_partner(env, policy->policy, partner, match);
}

static ERL_NIF_TERM make_policy_partner(ErlNifEnv *env, const void *of, size_t index) {
	return make_partner(env, of, s2sp_partner_table_at(s2sp_policy_table(of), index), S2SP_MATCH_PRIMARY);
}

NIF(s2sp_nif_policy_partners) {
	const struct s2sp_nif_policy *policy = s2sp_nif_get(env, argv[0], S2SP_NIF_POLICY);
	(void)argc;
	if (policy == NULL)
		return enif_make_badarg(env);
	return s2sp_nif_make_list(env, s2sp_partner_table_count(s2sp_policy_table(policy->policy)), make_policy_partner,
							  policy->policy);
}

NIF(s2sp_nif_policy_default) {
	const struct s2sp_nif_policy *policy = s2sp_nif_get(env, argv[0], S2SP_NIF_POLICY);
	(void)argc;
	if (policy == NULL)
		return enif_make_badarg(env);
	const struct s2sp_partner *partner = s2sp_policy_default(policy->policy);
	return partner == NULL ? s2sp_atoms.none : make_partner(env, policy->policy, partner, S2SP_MATCH_NONE);
}
