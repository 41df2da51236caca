/* The steps of a handshake, as the host is about to take them. */
#include "nif.h"
#include "nif_functions.h"

typedef struct s2sp_decision step_function(struct s2sp_stream *stream);

static ERL_NIF_TERM step(ErlNifEnv *env, ERL_NIF_TERM term, step_function *function) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, term);
	return stream == NULL ? enif_make_badarg(env) : s2sp_nif_make_decision(env, function(&stream->record));
}

#define STEP(name, function)                                                                                                     \
	NIF(name) {                                                                                                                  \
		(void)argc;                                                                                                              \
		return step(env, argv[0], function);                                                                                     \
	}

STEP(s2sp_nif_stream_certificate, s2sp_stream_certificate)
STEP(s2sp_nif_stream_starttls, s2sp_stream_starttls)
STEP(s2sp_nif_stream_auth, s2sp_stream_auth)
STEP(s2sp_nif_stream_dialback, s2sp_stream_dialback)
STEP(s2sp_nif_stream_verify, s2sp_stream_verify)
STEP(s2sp_nif_stream_wrong_key, s2sp_stream_wrong_key)
STEP(s2sp_nif_stream_premature, s2sp_stream_premature)
STEP(s2sp_nif_stream_sasl_failed, s2sp_stream_sasl_failed)
STEP(s2sp_nif_stream_established, s2sp_stream_established)
STEP(s2sp_nif_stream_queue, s2sp_stream_queue)

/* A word of an offer or plan, and whether it is in it. */
struct flag {
	ERL_NIF_TERM word;
	bool set;
};

static ERL_NIF_TERM make_flags(ErlNifEnv *env, const struct flag flags[], size_t count) {
	ERL_NIF_TERM list = enif_make_list(env, 0);
	for (size_t i = count; i > 0; i--) {
		if (flags[i - 1].set)
			list = enif_make_list_cell(env, flags[i - 1].word, list);
	}
	return list;
}

NIF(s2sp_nif_stream_offer) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct s2sp_offer offer;
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	struct s2sp_decision decision = s2sp_stream_offer(&stream->record, &offer);
	const bool allowed = decision.verdict == S2SP_VERDICT_ALLOW;
	const struct flag flags[] = {
		{ s2sp_atoms.starttls, allowed && offer.starttls }, { s2sp_atoms.starttls_required, allowed && offer.starttls_required },
		{ s2sp_atoms.sasl, allowed && offer.sasl },         { s2sp_atoms.dialback, allowed && offer.dialback },
		{ s2sp_atoms.bidi, allowed && offer.bidi },
	};
	return enif_make_tuple2(env, s2sp_nif_make_decision(env, decision), make_flags(env, flags, COUNT(flags)));
}

/* The words of a list as bits; false when it is none, or has another word. */
static bool read_features(ErlNifEnv *env, ERL_NIF_TERM list, struct s2sp_peer_features *features) {
	ERL_NIF_TERM head;
	while (enif_get_list_cell(env, list, &head, &list)) {
		if (head == s2sp_atoms.starttls)
			features->starttls = true;
		else if (head == s2sp_atoms.starttls_required)
			features->starttls_required = true;
		else if (head == s2sp_atoms.sasl_external)
			features->sasl_external = true;
		else if (head == s2sp_atoms.dialback)
			features->dialback = true;
		else
			return false;
	}
	return enif_is_empty_list(env, list) != 0;
}

NIF(s2sp_nif_stream_plan) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct s2sp_peer_features features = { .starttls = false };
	struct s2sp_plan plan;
	(void)argc;
	bool none = argv[1] == s2sp_atoms.none;
	if (stream == NULL || (!none && !read_features(env, argv[1], &features)))
		return enif_make_badarg(env);
	struct s2sp_decision decision = s2sp_stream_plan(&stream->record, none ? NULL : &features, &plan);
	const bool allowed = decision.verdict == S2SP_VERDICT_ALLOW;
	const struct flag flags[] = {
		{ s2sp_atoms.starttls, allowed && plan.starttls },
		{ s2sp_atoms.sasl, allowed && plan.sasl },
		{ s2sp_atoms.dialback, allowed && plan.dialback },
	};
	return enif_make_tuple2(env, s2sp_nif_make_decision(env, decision), make_flags(env, flags, COUNT(flags)));
}

NIF(s2sp_nif_stream_dialback_answer) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	bool key_sent, sasl_pending;
	(void)argc;
	if (stream == NULL || !s2sp_nif_boolean(argv[1], &key_sent) || !s2sp_nif_boolean(argv[2], &sasl_pending))
		return enif_make_badarg(env);
	return s2sp_nif_make_decision(env, s2sp_stream_dialback_answer(&stream->record, key_sent, sasl_pending));
}
