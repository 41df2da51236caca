/* Where chains may end, and what has been revoked: files, read on dirty schedulers. */
#include <stdatomic.h>
#include <string.h>

#include "nif_functions.h"
#include "nif_known.h"

enum { MESSAGE_SIZE = 4096, PATH_SIZE = 4096 };
/* Chains that a store remembers as valid: the host's, which judges most partners; one partner's own. */
enum { KNOWN_OF_HOST = 512, KNOWN_OF_PARTNER = 16 };

/* spec[key], a path, in `room`; *path NULL when it is absent. False: no path at all. */
static bool read_path(ErlNifEnv *env, ERL_NIF_TERM spec, ERL_NIF_TERM key, char room[PATH_SIZE], const char **path) {
	ERL_NIF_TERM term;
	struct s2sp_text text;
	*path = NULL;
	if (!s2sp_nif_field(env, spec, key, &term))
		return true;
	if (!s2sp_nif_text(env, term, &text) || text.length == 0 || text.length >= PATH_SIZE ||
		memchr(text.bytes, '\0', text.length) != NULL)
		return false;
	memcpy(room, text.bytes, text.length);
	room[text.length] = '\0';
	*path = room;
	return true;
}

static ERL_NIF_TERM failed(ErlNifEnv *env, enum s2sp_status status, const char *message) {
	return enif_make_tuple2(env, s2sp_atoms.error,
							s2sp_nif_make_string(env, status == S2SP_STATUS_NO_MEMORY ? "not enough memory" : message));
}

/* {ok, Object, Warnings}, or {error, Message} and the object ends. */
static ERL_NIF_TERM outcome(ErlNifEnv *env, enum s2sp_status status, void *object, const char *message) {
	if (status == S2SP_STATUS_OK)
		return enif_make_tuple3(env, s2sp_atoms.ok, s2sp_nif_hand_over(env, object), s2sp_nif_make_lines(env, message));
	enif_release_resource(object);
	return failed(env, status, message);
}

NIF(s2sp_nif_trust_store) {
	char anchors[PATH_SIZE], file[PATH_SIZE], path[PATH_SIZE], message[MESSAGE_SIZE] = "";
	struct s2sp_trust_source source;
	ERL_NIF_TERM term;
	ErlNifSInt64 now;
	(void)argc;
	if (!enif_is_map(env, argv[0]) || !read_path(env, argv[0], s2sp_atoms.anchors, anchors, &source.anchors) ||
		!read_path(env, argv[0], s2sp_atoms.file, file, &source.file) ||
		!read_path(env, argv[0], s2sp_atoms.path, path, &source.path) ||
		(source.anchors != NULL && (source.file != NULL || source.path != NULL)) ||
		!s2sp_nif_field(env, argv[0], s2sp_atoms.now, &term) || !enif_get_int64(env, term, &now))
		return enif_make_badarg(env);
	source.now = now;
	struct s2sp_nif_store *store = s2sp_nif_new(S2SP_NIF_STORE);
	if (store == NULL)
		return failed(env, S2SP_STATUS_NO_MEMORY, "");
	enum s2sp_status status = s2sp_trust_store_new(&source, &store->store, message, sizeof(message));
	const char *bundle = source.anchors != NULL ? source.anchors : source.file;
	if (status == S2SP_STATUS_OK && bundle != NULL)
		store->anchors = s2sp_learned_anchors_new(bundle);
	if (status == S2SP_STATUS_OK)
		store->known = s2sp_nif_known_new(source.anchors != NULL ? KNOWN_OF_PARTNER : KNOWN_OF_HOST);
	return outcome(env, status, store, message);
}

NIF(s2sp_nif_trust_store_facts) {
	const struct s2sp_nif_store *store = s2sp_nif_get(env, argv[0], S2SP_NIF_STORE);
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	if (store == NULL)
		return enif_make_badarg(env);
	s2sp_nif_put(&map, s2sp_atoms.count, enif_make_uint64(env, s2sp_trust_store_count(store->store)));
	s2sp_nif_put(&map, s2sp_atoms.not_after, enif_make_int64(env, s2sp_trust_store_not_after(store->store)));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_crl_read) {
	static atomic_uint_fast64_t numbers;
	char path[PATH_SIZE], message[MESSAGE_SIZE] = "";
	struct s2sp_text text;
	struct s2sp_crl_reader *reader = NULL;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &text) || text.length == 0 || text.length >= sizeof(path) ||
		memchr(text.bytes, '\0', text.length) != NULL)
		return enif_make_badarg(env);
	memcpy(path, text.bytes, text.length);
	path[text.length] = '\0';
	struct s2sp_nif_crl *crl = s2sp_nif_new(S2SP_NIF_CRL);
	if (crl == NULL)
		return failed(env, S2SP_STATUS_NO_MEMORY, "");
	crl->number = atomic_fetch_add(&numbers, 1) + 1;
	enum s2sp_status status = s2sp_crl_reader_new(path, &reader, message, sizeof(message));
	while (status == S2SP_STATUS_OK && crl->file == NULL)
		status = s2sp_crl_reader_step(reader, &crl->file, message, sizeof(message));
	s2sp_crl_reader_free(reader);
	return outcome(env, status, crl, message);
}

NIF(s2sp_nif_crl_facts) {
	const struct s2sp_nif_crl *crl = s2sp_nif_get(env, argv[0], S2SP_NIF_CRL);
	struct s2sp_nif_map map = { 0 };
	int64_t this_update, next_update;
	(void)argc;
	if (crl == NULL)
		return enif_make_badarg(env);
	s2sp_nif_put(&map, s2sp_atoms.lists, enif_make_uint64(env, s2sp_crl_file_lists(crl->file)));
	s2sp_nif_put(&map, s2sp_atoms.entries, enif_make_uint64(env, s2sp_crl_file_entries(crl->file)));
	s2sp_nif_put(&map, s2sp_atoms.size, enif_make_uint64(env, s2sp_crl_file_size(crl->file)));
	if (s2sp_crl_file_next_update(crl->file, &this_update, &next_update)) {
		s2sp_nif_put(&map, s2sp_atoms.this_update, enif_make_int64(env, this_update));
		s2sp_nif_put(&map, s2sp_atoms.next_update, enif_make_int64(env, next_update));
	}
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_crl_follows) {
	const struct s2sp_nif_crl *next = s2sp_nif_get(env, argv[0], S2SP_NIF_CRL);
	const struct s2sp_nif_crl *before = s2sp_nif_get(env, argv[1], S2SP_NIF_CRL);
	char message[MESSAGE_SIZE] = "";
	ErlNifSInt64 now;
	int64_t again = 0;
	(void)argc;
	if (next == NULL || before == NULL || !enif_get_int64(env, argv[2], &now))
		return enif_make_badarg(env);
	enum s2sp_status status = s2sp_crl_file_follows(next->file, before->file, now, message, sizeof(message), &again);
	if (status == S2SP_STATUS_OK)
		return s2sp_atoms.ok;
	return enif_make_tuple3(env, s2sp_atoms.error,
							s2sp_nif_make_string(env, status == S2SP_STATUS_NO_MEMORY ? "not enough memory" : message),
							enif_make_int64(env, again));
}

NIF(s2sp_nif_crl_same) {
	const struct s2sp_nif_crl *one = s2sp_nif_get(env, argv[0], S2SP_NIF_CRL);
	const struct s2sp_nif_crl *other = s2sp_nif_get(env, argv[1], S2SP_NIF_CRL);
	(void)argc;
	if (one == NULL || other == NULL)
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_crl_file_same(one->file, other->file));
}

NIF(s2sp_nif_crl_mentions) {
	const struct s2sp_nif_crl *crl = s2sp_nif_get(env, argv[0], S2SP_NIF_CRL);
	struct s2sp_text links;
	(void)argc;
	if (crl == NULL || !s2sp_nif_text(env, argv[1], &links))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_crl_file_mentions(crl->file, links));
}

NIF(s2sp_nif_crl_begins) {
	const struct s2sp_nif_crl *crl = s2sp_nif_get(env, argv[0], S2SP_NIF_CRL);
	ErlNifSInt64 now;
	(void)argc;
	if (crl == NULL || !enif_get_int64(env, argv[1], &now))
		return enif_make_badarg(env);
	return enif_make_int64(env, s2sp_crl_file_begins(crl->file, now));
}
