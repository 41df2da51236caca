/* From what the administrator wrote to a table of partners and the policy of a host. Dirty schedulers: a long list takes its time. */
#include <string.h>

#include "idna.h"
#include "nif_constraints.h"
#include "nif_feed.h"
#include "nif_functions.h"
#include "public_suffix.h"

static struct s2sp_config *new_config(ErlNifEnv *env, ERL_NIF_TERM seed) {
	struct s2sp_text bytes;
	if (!s2sp_nif_text(env, seed, &bytes) || bytes.length != 16)
		return NULL;
	struct s2sp_config *config =
		s2sp_config_new(&s2sp_nif_allocator, s2sp_idna_to_ascii, &s2sp_ejabberd_vocabulary, (const unsigned char *)bytes.bytes);
	if (config != NULL)
		s2sp_config_public_suffixes(config, s2sp_public_suffix);
	return config;
}

static void put_string(ErlNifEnv *env, struct s2sp_nif_map *map, ERL_NIF_TERM key, const char *string) {
	s2sp_nif_put(map, key, s2sp_nif_make_string(env, string));
}

static ERL_NIF_TERM make_issue(ErlNifEnv *env, const struct s2sp_issue *issue) {
	struct s2sp_nif_map map = { 0 };
	s2sp_nif_put(&map, s2sp_atoms.severity, issue->severity == S2SP_SEVERITY_ERROR ? s2sp_atoms.error : s2sp_atoms.warning);
	put_string(env, &map, s2sp_atoms.code, issue->code);
	put_string(env, &map, s2sp_atoms.path, issue->path);
	put_string(env, &map, s2sp_atoms.got, issue->got);
	put_string(env, &map, s2sp_atoms.expected, issue->expected);
	put_string(env, &map, s2sp_atoms.nearest, issue->nearest);
	put_string(env, &map, s2sp_atoms.message, issue->message);
	return s2sp_nif_make_map(env, &map);
}

static ERL_NIF_TERM make_issue_at(ErlNifEnv *env, const void *of, size_t index) {
	return make_issue(env, s2sp_config_issue_at(of, index));
}

/* Without memory nothing can be said about the configuration but this. */
static ERL_NIF_TERM no_memory(ErlNifEnv *env) {
	static const struct s2sp_issue issue = {
		S2SP_SEVERITY_ERROR,
		"no-memory",
		"",
		"",
		"there is not enough memory to check the configuration; free some and try again",
		"",
		"there is not enough memory to check the configuration; free some and try again",
	};
	return enif_make_tuple2(env, s2sp_atoms.error, enif_make_list1(env, make_issue(env, &issue)));
}

/* What came of it, and the issues; frees the config. The reference to `object` goes over to the term, or ends. */
static ERL_NIF_TERM give_back(ErlNifEnv *env, struct s2sp_config *config, enum s2sp_status status, void *object) {
	if (status == S2SP_STATUS_NO_MEMORY || config == NULL) {
		s2sp_config_free(config);
		if (object != NULL)
			enif_release_resource(object);
		return no_memory(env);
	}
	ERL_NIF_TERM issues = s2sp_nif_make_list(env, s2sp_config_issue_count(config), make_issue_at, config);
	s2sp_config_free(config);
	if (status == S2SP_STATUS_OK)
		return enif_make_tuple3(env, s2sp_atoms.ok, s2sp_nif_hand_over(env, object), issues);
	enif_release_resource(object);
	return enif_make_tuple2(env, s2sp_atoms.error, issues);
}

/* {Severity, Code, Path, Got, Expected} */
static enum s2sp_status feed_issue(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term) {
	const ERL_NIF_TERM *parts;
	struct s2sp_text texts[4] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
	char code[48];
	int arity;
	if (!enif_get_tuple(env, term, &arity, &parts) || arity != 5)
		return S2SP_STATUS_INVALID;
	for (size_t i = 0; i < COUNT(texts); i++) {
		if (!s2sp_nif_text(env, parts[i + 1], &texts[i]))
			return S2SP_STATUS_INVALID;
	}
	if (texts[0].length == 0 || texts[0].length >= sizeof(code))
		return S2SP_STATUS_INVALID;
	memcpy(code, texts[0].bytes, texts[0].length);
	code[texts[0].length] = '\0';
	return s2sp_config_issue(config, parts[0] == s2sp_atoms.warning ? S2SP_SEVERITY_WARNING : S2SP_SEVERITY_ERROR, code, texts[1],
							 texts[2], texts[3]);
}

static enum s2sp_status feed_local(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term) {
	struct s2sp_text domain;
	return s2sp_nif_text(env, term, &domain) ? s2sp_config_local_domain(config, domain) : S2SP_STATUS_INVALID;
}

/* {Place, Value} */
static enum s2sp_status feed_list(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term) {
	const ERL_NIF_TERM *parts;
	struct s2sp_text place;
	int arity;
	if (!enif_get_tuple(env, term, &arity, &parts) || arity != 2 || !s2sp_nif_text(env, parts[0], &place))
		return S2SP_STATUS_INVALID;
	struct s2sp_value value = s2sp_nif_value(env, parts[1]);
	enum s2sp_status status = s2sp_config_begin_list(config, place, &value);
	return status == S2SP_STATUS_OK ? s2sp_nif_feed(env, config, parts[1]) : status;
}

typedef enum s2sp_status feed_function(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term);

/* spec[key], a list, item by item. INVALID: our own Erlang has handed in something else. */
static enum s2sp_status feed_all(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM spec, ERL_NIF_TERM key,
								 feed_function *feed) {
	ERL_NIF_TERM list, head;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (!s2sp_nif_field(env, spec, key, &list))
		return status;
	while (status == S2SP_STATUS_OK && enif_get_list_cell(env, list, &head, &list))
		status = feed(env, config, head);
	if (status == S2SP_STATUS_OK && !enif_is_empty_list(env, list))
		return S2SP_STATUS_INVALID;
	return status;
}

static ERL_NIF_TERM not_ours(ErlNifEnv *env, struct s2sp_config *config, void *object) {
	s2sp_config_free(config);
	enif_release_resource(object);
	return enif_make_badarg(env);
}

NIF(s2sp_nif_compile) {
	(void)argc;
	struct s2sp_config *config = new_config(env, argv[1]);
	struct s2sp_nif_table *table = s2sp_nif_new(S2SP_NIF_TABLE);
	if (config == NULL || table == NULL)
		return give_back(env, config, S2SP_STATUS_NO_MEMORY, table);
	enum s2sp_status status = feed_all(env, config, argv[0], s2sp_atoms.locals, feed_local);
	if (status == S2SP_STATUS_OK)
		status = feed_all(env, config, argv[0], s2sp_atoms.issues, feed_issue);
	if (status == S2SP_STATUS_OK)
		status = feed_all(env, config, argv[0], s2sp_atoms.lists, feed_list);
	if (status == S2SP_STATUS_INVALID)
		return not_ours(env, config, table);
	if (status == S2SP_STATUS_OK)
		status = s2sp_config_seal_table(config, &table->table);
	return give_back(env, config, status, table);
}

typedef enum s2sp_status begin_function(struct s2sp_config *config, const struct s2sp_value *value);

static enum s2sp_status feed_section(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM spec, ERL_NIF_TERM key,
									 begin_function *begin) {
	ERL_NIF_TERM term;
	if (!s2sp_nif_field(env, spec, key, &term))
		term = s2sp_atoms.absent;
	struct s2sp_value value = s2sp_nif_value(env, term);
	enum s2sp_status status = begin(config, &value);
	return status == S2SP_STATUS_OK ? s2sp_nif_feed(env, config, term) : status;
}

static enum s2sp_status feed_policy(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM spec) {
	enum s2sp_status status = feed_all(env, config, spec, s2sp_atoms.issues, feed_issue);
	if (status == S2SP_STATUS_OK)
		status = feed_section(env, config, spec, s2sp_atoms.default_, s2sp_config_begin_default);
	if (status == S2SP_STATUS_OK)
		status = feed_section(env, config, spec, s2sp_atoms.limits, s2sp_config_begin_limits);
	if (status == S2SP_STATUS_OK)
		status = feed_section(env, config, spec, s2sp_atoms.external_access, s2sp_config_begin_external_access);
	return status;
}

/* A table without partners, for the issues of a policy whose own table could not be made. */
static struct s2sp_nif_table *empty_table(struct s2sp_config *config, enum s2sp_status *status) {
	struct s2sp_nif_table *table = s2sp_nif_new(S2SP_NIF_TABLE);
	*status = table == NULL ? S2SP_STATUS_NO_MEMORY : s2sp_config_seal_table(config, &table->table);
	return table;
}

NIF(s2sp_nif_compile_policy) {
	void *given;
	struct s2sp_nif_constraints constraints;
	(void)argc;
	if (!s2sp_nif_get_or_none(env, argv[0], S2SP_NIF_TABLE, &given) || !enif_is_map(env, argv[1]))
		return enif_make_badarg(env);
	struct s2sp_config *config = new_config(env, argv[2]);
	struct s2sp_nif_policy *policy = s2sp_nif_new(S2SP_NIF_POLICY);
	if (config == NULL || policy == NULL)
		return give_back(env, config, S2SP_STATUS_NO_MEMORY, policy);
	policy->table = given;
	if (given != NULL)
		enif_keep_resource(given);
	enum s2sp_status status = s2sp_nif_constraints_begin(env, argv[1], &constraints);
	if (status == S2SP_STATUS_OK)
		status = feed_policy(env, config, argv[1]);
	if (status == S2SP_STATUS_INVALID) {
		s2sp_nif_constraints_end(&constraints);
		return not_ours(env, config, policy);
	}
	if (status == S2SP_STATUS_OK && given == NULL)
		policy->table = empty_table(config, &status);
	if (status == S2SP_STATUS_OK)
		status = s2sp_config_seal_policy(config, policy->table->table, &constraints.host, &policy->policy);
	s2sp_nif_constraints_end(&constraints);
	if (status == S2SP_STATUS_OK && given == NULL)
		status = S2SP_STATUS_INVALID; /* nobody is to run with it */
	return give_back(env, config, status, policy);
}
