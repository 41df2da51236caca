/* The library as the emulator loads it: its functions, and what is made once. */
#include <string.h>

#include "learned.h"
#include "nif.h"
#include "nif_functions.h"

static int load(ErlNifEnv *env, void **private_data, ERL_NIF_TERM info) {
	ErlNifBinary version;
	(void)private_data;
	/* Beams of another version may mean something else by the same names. */
	if (!enif_inspect_binary(env, info, &version) || version.size != sizeof(S2SP_VERSION) - 1 ||
		memcmp(version.data, S2SP_VERSION, version.size) != 0)
		return 1;
	s2sp_nif_make_atoms(env);
	if (!s2sp_nif_open_types(env))
		return 2;
	s2sp_learned_start(); /* learned() says if it cannot */
	return 0;
}

/* A library in the place of a running one would meet objects that it has not made. A node that is to have a new one is started anew. */
static int upgrade(ErlNifEnv *env, void **private_data, void **old_private_data, ERL_NIF_TERM info) {
	(void)env;
	(void)private_data;
	(void)old_private_data;
	(void)info;
	return 1;
}

static NIF(loaded) {
	(void)env;
	(void)argc;
	(void)argv;
	return s2sp_atoms.ok;
}

static NIF(version_of) {
	(void)argc;
	(void)argv;
	return s2sp_nif_make_string(env, S2SP_VERSION);
}

#ifdef S2SP_NIF_FAULTS
/* fail_after(Count): the allocation after so many fails; -1: none. failed(): whether one has. In the tests' own library alone. */
static NIF(fail_after) {
	long count;
	(void)argc;
	if (!enif_get_long(env, argv[0], &count))
		return enif_make_badarg(env);
	s2sp_nif_fail_after(count);
	return s2sp_atoms.ok;
}

static NIF(has_failed) {
	(void)env;
	(void)argc;
	(void)argv;
	return s2sp_nif_make_boolean(s2sp_nif_has_failed());
}
#endif

enum { ORDINARY = 0, CPU = ERL_NIF_DIRTY_JOB_CPU_BOUND, IO = ERL_NIF_DIRTY_JOB_IO_BOUND };

static ErlNifFunc functions[] = {
	{ "loaded", 0, loaded, ORDINARY },
	{ "version", 0, version_of, ORDINARY },
	{ "counts", 0, s2sp_nif_counts, ORDINARY },
	{ "domain", 1, s2sp_nif_canonical, ORDINARY },
	{ "has_spellings", 1, s2sp_nif_has_spellings, ORDINARY },
	{ "same_domain", 2, s2sp_nif_same_domain, ORDINARY },
	{ "compile_nif", 2, s2sp_nif_compile, CPU },
	{ "compile_policy_nif", 3, s2sp_nif_compile_policy, CPU },
	{ "table_partners", 1, s2sp_nif_table_partners, CPU },
	{ "policy_find", 2, s2sp_nif_policy_find, ORDINARY },
	{ "policy_partner", 2, s2sp_nif_policy_partner, ORDINARY },
	{ "policy_partners", 1, s2sp_nif_policy_partners, CPU },
	{ "policy_default", 1, s2sp_nif_policy_default, ORDINARY },
	{ "policy_limits", 1, s2sp_nif_policy_limits, ORDINARY },
	{ "policy_facts", 1, s2sp_nif_policy_facts, ORDINARY },
	{ "external_access", 3, s2sp_nif_external_access, ORDINARY },
	{ "route", 3, s2sp_nif_route, ORDINARY },
	{ "trust_store", 1, s2sp_nif_trust_store, IO },
	{ "trust_store_facts", 1, s2sp_nif_trust_store_facts, ORDINARY },
	{ "crl_read", 1, s2sp_nif_crl_read, IO },
	{ "crl_facts", 1, s2sp_nif_crl_facts, ORDINARY },
	{ "crl_follows", 3, s2sp_nif_crl_follows, CPU },
	{ "crl_same", 2, s2sp_nif_crl_same, CPU },
	{ "crl_mentions", 2, s2sp_nif_crl_mentions, ORDINARY },
	{ "crl_begins", 2, s2sp_nif_crl_begins, ORDINARY },
	{ "judge", 1, s2sp_nif_judge, CPU },
	{ "judged", 1, s2sp_nif_judged, ORDINARY },
	{ "own_certificate", 2, s2sp_nif_own_certificate, CPU },
	{ "own_chain", 1, s2sp_nif_own_chain, CPU },
	{ "certificate_pins", 1, s2sp_nif_certificate_pins, CPU },
	{ "learned", 0, s2sp_nif_learned, ORDINARY },
	{ "stream_new", 4, s2sp_nif_stream_new, ORDINARY },
	{ "stream_bind", 2, s2sp_nif_stream_bind, ORDINARY },
	{ "stream_identify", 2, s2sp_nif_stream_identify, ORDINARY },
	{ "stream_domain", 1, s2sp_nif_stream_domain, ORDINARY },
	{ "stream_partner", 1, s2sp_nif_stream_partner, ORDINARY },
	{ "stream_observe", 3, s2sp_nif_stream_observe, ORDINARY },
	{ "stream_certificate", 1, s2sp_nif_stream_certificate, ORDINARY },
	{ "stream_offer", 1, s2sp_nif_stream_offer, ORDINARY },
	{ "stream_starttls", 1, s2sp_nif_stream_starttls, ORDINARY },
	{ "stream_auth", 1, s2sp_nif_stream_auth, ORDINARY },
	{ "stream_dialback", 1, s2sp_nif_stream_dialback, ORDINARY },
	{ "stream_verify", 1, s2sp_nif_stream_verify, ORDINARY },
	{ "stream_wrong_key", 1, s2sp_nif_stream_wrong_key, ORDINARY },
	{ "stream_premature", 1, s2sp_nif_stream_premature, ORDINARY },
	{ "stream_handshake", 3, s2sp_nif_stream_handshake, ORDINARY },
	{ "stream_plan", 2, s2sp_nif_stream_plan, ORDINARY },
	{ "stream_sasl_failed", 1, s2sp_nif_stream_sasl_failed, ORDINARY },
	{ "stream_dialback_answer", 3, s2sp_nif_stream_dialback_answer, ORDINARY },
	{ "stream_authenticated", 3, s2sp_nif_stream_authenticated, ORDINARY },
	{ "stream_established", 1, s2sp_nif_stream_established, ORDINARY },
	{ "stream_stanza", 3, s2sp_nif_stream_stanza, ORDINARY },
	{ "stream_stanza", 4, s2sp_nif_stream_stanza, ORDINARY },
	{ "stream_rejudge", 2, s2sp_nif_stream_rejudge, ORDINARY },
	{ "stream_refuse", 3, s2sp_nif_stream_refuse, ORDINARY },
	{ "stream_used", 1, s2sp_nif_stream_used, ORDINARY },
	{ "stream_view", 1, s2sp_nif_stream_view, ORDINARY },
	{ "stream_place", 1, s2sp_nif_stream_place, ORDINARY },
	{ "stream_counted", 2, s2sp_nif_stream_counted, ORDINARY },
	{ "stream_queue", 1, s2sp_nif_stream_queue, ORDINARY },
	{ "stream_queue_emptied", 1, s2sp_nif_stream_queue_emptied, ORDINARY },
	{ "stream_active", 2, s2sp_nif_stream_active, ORDINARY },
	{ "stream_keepalive_sent", 3, s2sp_nif_stream_keepalive_sent, ORDINARY },
	{ "stream_keepalive_answered", 1, s2sp_nif_stream_keepalive_answered, ORDINARY },
	{ "stream_due", 3, s2sp_nif_stream_due, ORDINARY },
	{ "place", 4, s2sp_nif_place, ORDINARY },
	{ "limits_suffice", 3, s2sp_nif_limits_suffice, ORDINARY },
	{ "key_question", 2, s2sp_nif_key_question, ORDINARY },
	{ "waiting_room", 1, s2sp_nif_waiting_room, ORDINARY },
	{ "waiting_crowded", 2, s2sp_nif_waiting_crowded, ORDINARY },
	{ "waiting_due", 2, s2sp_nif_waiting_due, ORDINARY },
	{ "stanza_kind", 2, s2sp_nif_stanza_kind, ORDINARY },
	{ "question", 4, s2sp_nif_question, ORDINARY },
	{ "fact", 3, s2sp_nif_fact, ORDINARY },
	{ "authorise", 4, s2sp_nif_authorise, ORDINARY },
	{ "passes", 4, s2sp_nif_passes, ORDINARY },
	{ "stream_passes", 5, s2sp_nif_stream_passes, ORDINARY },
	{ "is_service", 2, s2sp_nif_is_service, ORDINARY },
	{ "is_personal_event", 1, s2sp_nif_is_personal_event, ORDINARY },
	{ "reply_to", 2, s2sp_nif_reply_to, ORDINARY },
	{ "reply_to_malformed", 3, s2sp_nif_reply_to_malformed, ORDINARY },
	{ "refused_route", 4, s2sp_nif_refused_route, ORDINARY },
	{ "dialback_error", 1, s2sp_nif_dialback_error, ORDINARY },
	{ "own_way", 4, s2sp_nif_own_way, ORDINARY },
	{ "own_words", 3, s2sp_nif_own_words, ORDINARY },
	{ "is_published", 2, s2sp_nif_is_published, ORDINARY },
	{ "is_echo", 1, s2sp_nif_is_echo, ORDINARY },
	{ "answer_is_replaced", 2, s2sp_nif_answer_is_replaced, ORDINARY },
	{ "reason", 1, s2sp_nif_reason, ORDINARY },
	{ "reasons", 0, s2sp_nif_reasons, ORDINARY },
	{ "words", 1, s2sp_nif_words, ORDINARY },
	{ "vocabulary", 0, s2sp_nif_vocabulary, ORDINARY },
	{ "rows", 0, s2sp_nif_rows, ORDINARY },
	{ "explain_stream", 2, s2sp_nif_explain_stream, ORDINARY },
#ifdef S2SP_NIF_FAULTS
	{ "fail_after", 1, fail_after, ORDINARY },
	{ "has_failed", 0, has_failed, ORDINARY },
#endif
};

ERL_NIF_INIT(s2s_partners_nif, functions, load, NULL, upgrade, NULL)
