/* The objects that Erlang holds, and how they end. */
#include <stdatomic.h>
#include <string.h>

#include "nif_known.h"

static ErlNifResourceType *types[S2SP_NIF_TYPES];
static atomic_size_t live[S2SP_NIF_TYPES];

static const size_t sizes[S2SP_NIF_TYPES] = {
	[S2SP_NIF_TABLE] = sizeof(struct s2sp_nif_table),   [S2SP_NIF_POLICY] = sizeof(struct s2sp_nif_policy),
	[S2SP_NIF_STORE] = sizeof(struct s2sp_nif_store),   [S2SP_NIF_CRL] = sizeof(struct s2sp_nif_crl),
	[S2SP_NIF_STREAM] = sizeof(struct s2sp_nif_stream),
};

static void end_table(ErlNifEnv *env, void *object) {
	(void)env;
	s2sp_partner_table_free(((struct s2sp_nif_table *)object)->table);
	atomic_fetch_sub(&live[S2SP_NIF_TABLE], 1);
}

static void end_policy(ErlNifEnv *env, void *object) {
	struct s2sp_nif_policy *policy = object;
	(void)env;
	s2sp_policy_free(policy->policy);
	if (policy->table != NULL)
		enif_release_resource(policy->table);
	atomic_fetch_sub(&live[S2SP_NIF_POLICY], 1);
}

static void end_store(ErlNifEnv *env, void *object) {
	struct s2sp_nif_store *store = object;
	(void)env;
	s2sp_trust_store_free(store->store);
	s2sp_learned_anchors_free(store->anchors);
	s2sp_nif_known_free(store->known);
	atomic_fetch_sub(&live[S2SP_NIF_STORE], 1);
}

static void end_crl(ErlNifEnv *env, void *object) {
	(void)env;
	s2sp_crl_file_free(((struct s2sp_nif_crl *)object)->file);
	atomic_fetch_sub(&live[S2SP_NIF_CRL], 1);
}

static void end_stream(ErlNifEnv *env, void *object) {
	struct s2sp_nif_stream *stream = object;
	(void)env;
	if (stream->policy != NULL)
		enif_release_resource(stream->policy);
	atomic_fetch_sub(&live[S2SP_NIF_STREAM], 1);
}

bool s2sp_nif_open_types(ErlNifEnv *env) {
	static const struct {
		const char *name;
		ErlNifResourceDtor *end;
	} ends[S2SP_NIF_TYPES] = {
		[S2SP_NIF_TABLE] = { "table", end_table },    [S2SP_NIF_POLICY] = { "policy", end_policy },
		[S2SP_NIF_STORE] = { "store", end_store },    [S2SP_NIF_CRL] = { "crl", end_crl },
		[S2SP_NIF_STREAM] = { "stream", end_stream },
	};
	for (size_t i = 0; i < COUNT(ends); i++) {
		types[i] = enif_open_resource_type(env, NULL, ends[i].name, ends[i].end, ERL_NIF_RT_CREATE, NULL);
		if (types[i] == NULL)
			return false;
	}
	return true;
}

void *s2sp_nif_new(enum s2sp_nif_type type) {
	void *object = s2sp_nif_out_of_memory() ? NULL : enif_alloc_resource(types[type], sizes[type]);
	if (object == NULL)
		return NULL;
	memset(object, 0, sizes[type]);
	atomic_fetch_add(&live[type], 1);
	return object;
}

ERL_NIF_TERM s2sp_nif_hand_over(ErlNifEnv *env, void *object) {
	ERL_NIF_TERM term = enif_make_resource(env, object);
	enif_release_resource(object);
	return term;
}

void *s2sp_nif_get(ErlNifEnv *env, ERL_NIF_TERM term, enum s2sp_nif_type type) {
	void *object;
	return enif_get_resource(env, term, types[type], &object) ? object : NULL;
}

bool s2sp_nif_get_or_none(ErlNifEnv *env, ERL_NIF_TERM term, enum s2sp_nif_type type, void **object) {
	*object = s2sp_nif_get(env, term, type);
	return *object != NULL || term == s2sp_atoms.none;
}

bool s2sp_nif_get_policy(ErlNifEnv *env, ERL_NIF_TERM term, const struct s2sp_policy **policy) {
	void *object;
	if (!s2sp_nif_get_or_none(env, term, S2SP_NIF_POLICY, &object))
		return false;
	*policy = object == NULL ? NULL : ((struct s2sp_nif_policy *)object)->policy;
	return true;
}

struct s2sp_nif_stream *s2sp_nif_get_stream(ErlNifEnv *env, ERL_NIF_TERM term) {
	struct s2sp_nif_stream *stream = s2sp_nif_get(env, term, S2SP_NIF_STREAM);
	ErlNifPid self;
	if (stream == NULL || enif_self(env, &self) == NULL || enif_compare_pids(&self, &stream->owner) != 0)
		return NULL;
	return stream;
}

NIF(s2sp_nif_counts) {
	const ERL_NIF_TERM names[S2SP_NIF_TYPES] = { s2sp_atoms.tables, s2sp_atoms.policies, s2sp_atoms.stores, s2sp_atoms.crls,
												 s2sp_atoms.streams };
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	(void)argv;
	for (size_t i = 0; i < COUNT(names); i++)
		s2sp_nif_put(&map, names[i], enif_make_uint64(env, atomic_load(&live[i])));
	s2sp_nif_put(&map, s2sp_atoms.bytes, enif_make_uint64(env, s2sp_nif_allocated()));
	return s2sp_nif_make_map(env, &map);
}
