/* Certificates of our own, and pins of others': for the check and the console. */
#include "certificate_own.h"
#include "idna.h"
#include "nif.h"
#include "nif_functions.h"

static void put_string(ErlNifEnv *env, struct s2sp_nif_map *map, ERL_NIF_TERM key, const char *string) {
	s2sp_nif_put(map, key, s2sp_nif_make_string(env, string));
}

NIF(s2sp_nif_own_certificate) {
	struct s2sp_text der;
	struct s2sp_domain domain;
	struct s2sp_own_certificate own;
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &der) || !s2sp_nif_domain(env, argv[1], &domain))
		return enif_make_badarg(env);
	if (s2sp_own_certificate_read(der, s2sp_domain_text(&domain), s2sp_idna_to_ascii, &own) != S2SP_STATUS_OK)
		return s2sp_atoms.error;
	s2sp_nif_put(&map, s2sp_atoms.names_domain, s2sp_nif_make_boolean(own.names_domain));
	s2sp_nif_put(&map, s2sp_atoms.key_strong, s2sp_nif_make_boolean(own.key_strong));
	s2sp_nif_put(&map, s2sp_atoms.self_signed, s2sp_nif_make_boolean(own.self_signed));
	put_string(env, &map, s2sp_atoms.key_type, own.key_type);
	s2sp_nif_put(&map, s2sp_atoms.key_bits, enif_make_uint(env, own.key_bits));
	s2sp_nif_put(&map, s2sp_atoms.not_before, enif_make_int64(env, own.not_before));
	s2sp_nif_put(&map, s2sp_atoms.not_after, enif_make_int64(env, own.not_after));
	put_string(env, &map, s2sp_atoms.subject, own.subject);
	put_string(env, &map, s2sp_atoms.issuer, own.issuer);
	put_string(env, &map, s2sp_atoms.names, own.names);
	return enif_make_tuple2(env, s2sp_atoms.ok, s2sp_nif_make_map(env, &map));
}

static ERL_NIF_TERM make_finding(ErlNifEnv *env, const void *of, size_t index) {
	const struct s2sp_own_finding *finding = &((const struct s2sp_own_chain *)of)->findings[index];
	struct s2sp_nif_map map = { 0 };
	s2sp_nif_put(&map, s2sp_atoms.fault, s2sp_atoms.own_faults[finding->fault]);
	s2sp_nif_put(&map, s2sp_atoms.certificate, enif_make_uint64(env, finding->certificate));
	put_string(env, &map, s2sp_atoms.subject, finding->subject);
	put_string(env, &map, s2sp_atoms.issuer, finding->issuer);
	s2sp_nif_put(&map, s2sp_atoms.not_before, enif_make_int64(env, finding->not_before));
	s2sp_nif_put(&map, s2sp_atoms.not_after, enif_make_int64(env, finding->not_after));
	put_string(env, &map, s2sp_atoms.source, finding->source);
	return s2sp_nif_make_map(env, &map);
}

/* A file of ours has no bound of its own; so many are read. */
enum { OWN_CHAIN_MAX = 100, PINS_MAX = 100 };

/* What a judgement of ours works on; too large for a stack. */
struct own_bench {
	struct s2sp_own_chain own;
	struct s2sp_text chain[OWN_CHAIN_MAX];
};

static ERL_NIF_TERM judge_own(ErlNifEnv *env, ERL_NIF_TERM spec, struct own_bench *bench) {
	ERL_NIF_TERM list, term, head;
	struct s2sp_domain domain;
	struct s2sp_nif_map map = { 0 };
	ErlNifSInt64 now;
	size_t count = 0;
	const struct s2sp_nif_store *store;
	if (!s2sp_nif_field(env, spec, s2sp_atoms.store, &term) || (store = s2sp_nif_get(env, term, S2SP_NIF_STORE)) == NULL ||
		!s2sp_nif_field(env, spec, s2sp_atoms.domain, &term) || !s2sp_nif_domain(env, term, &domain) ||
		!s2sp_nif_field(env, spec, s2sp_atoms.now, &term) || !enif_get_int64(env, term, &now) ||
		!s2sp_nif_field(env, spec, s2sp_atoms.chain, &list))
		return enif_make_badarg(env);
	while (enif_get_list_cell(env, list, &head, &list)) {
		if (count == OWN_CHAIN_MAX || !s2sp_nif_text(env, head, &bench->chain[count++]))
			return enif_make_badarg(env);
	}
	s2sp_learned_pause(true);
	enum s2sp_status status =
		s2sp_own_chain_judge(bench->chain, count, store->store, s2sp_domain_text(&domain), s2sp_idna_to_ascii, now, &bench->own);
	s2sp_learned_pause(false);
	if (status != S2SP_STATUS_OK)
		return s2sp_atoms.error;
	s2sp_nif_put(&map, s2sp_atoms.verdict, s2sp_atoms.verdicts[bench->own.verdict]);
	s2sp_nif_put(&map, s2sp_atoms.cause, s2sp_nif_make_words(env, bench->own.cause));
	s2sp_nif_put(&map, s2sp_atoms.findings, s2sp_nif_make_list(env, bench->own.finding_count, make_finding, &bench->own));
	return enif_make_tuple2(env, s2sp_atoms.ok, s2sp_nif_make_map(env, &map));
}

NIF(s2sp_nif_own_chain) {
	(void)argc;
	if (!enif_is_map(env, argv[0]))
		return enif_make_badarg(env);
	struct own_bench *bench = s2sp_nif_allocate(sizeof(*bench));
	if (bench == NULL)
		return s2sp_atoms.error;
	ERL_NIF_TERM result = judge_own(env, argv[0], bench);
	s2sp_nif_free(bench);
	return result;
}

static ERL_NIF_TERM make_pinned(ErlNifEnv *env, const void *of, size_t index) {
	const struct s2sp_pinned *pinned = (const struct s2sp_pinned *)of + index;
	struct s2sp_nif_map map = { 0 };
	char text[S2SP_PIN_TEXT];
	s2sp_pin_text(&pinned->pin, text);
	put_string(env, &map, s2sp_atoms.pin, text);
	s2sp_nif_put(&map, s2sp_atoms.authority, s2sp_nif_make_boolean(pinned->authority));
	s2sp_nif_put(&map, s2sp_atoms.not_after, enif_make_int64(env, pinned->not_after));
	put_string(env, &map, s2sp_atoms.subject, pinned->subject);
	put_string(env, &map, s2sp_atoms.issuer, pinned->issuer);
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_certificate_pins) {
	struct s2sp_text text;
	size_t count = 0;
	ERL_NIF_TERM result = s2sp_atoms.error;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &text))
		return enif_make_badarg(env);
	struct s2sp_pinned *pinned = s2sp_nif_allocate(PINS_MAX * sizeof(*pinned));
	if (pinned != NULL && s2sp_certificate_pins(text, pinned, PINS_MAX, &count) == S2SP_STATUS_OK)
		result = enif_make_tuple2(env, s2sp_atoms.ok, s2sp_nif_make_list(env, count, make_pinned, pinned));
	s2sp_nif_free(pinned);
	return result;
}
