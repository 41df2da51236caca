#include "nif_atoms.h"

#include "certificate_own.h"
#include "nif.h"

struct s2sp_nif_atoms s2sp_atoms;

/* All words that any fact has as values; which of them a fact has, core says. */
static const char *const value_words[] = { "denied",     "allowed", "missing", "exists",    "unavailable",
										   "no",         "yes",     "blocked", "cancelled", "none",
										   "authorised", "few",     "many",    "room",      "full" };
static ERL_NIF_TERM value_atoms[COUNT(value_words)];
static int fact_values[S2SP_NEED_COUNT][COUNT(value_words)];

static void make_words(ErlNifEnv *env) {
	static const char *const words[] = {
#define S2SP_NIF_NAME(word) #word,
		S2SP_NIF_WORDS(S2SP_NIF_NAME)
#undef S2SP_NIF_NAME
	};
	ERL_NIF_TERM *const atoms[] = {
#define S2SP_NIF_PLACE(word) &s2sp_atoms.word,
		S2SP_NIF_WORDS(S2SP_NIF_PLACE)
#undef S2SP_NIF_PLACE
	};
	for (size_t i = 0; i < COUNT(words); i++)
		*atoms[i] = enif_make_atom(env, words[i]);
	/* Words of C's. */
	s2sp_atoms.default_ = enif_make_atom(env, "default");
	s2sp_atoms.true_ = enif_make_atom(env, "true");
	s2sp_atoms.false_ = enif_make_atom(env, "false");
}

static void make_tokens(ErlNifEnv *env) {
	static const char *const stages[] = { "refused", "open", "identified", "authenticated", "established" };
	static const char *const row_verdicts[] = { "error", "warning", "ok" };
	static const char *const grades[] = { "refusal", "change", "none" };
	static const enum s2sp_method methods[] = { S2SP_METHOD_SASL, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_TCP_DIALBACK };
	static const char *const replies[] = { "none", "error", "error_if_directed", "unavailable" };
	static const char *const answers[] = { "unknown", "no", "yes" };
#define MAKE(atoms, token)                                                                                                       \
	for (unsigned i = 0; i < COUNT(s2sp_atoms.atoms); i++)                                                                       \
	s2sp_atoms.atoms[i] = enif_make_atom(env, token)
	MAKE(reasons, s2sp_reason_row((enum s2sp_reason)i)->token);
	MAKE(verdicts, s2sp_certificate_verdict_token((enum s2sp_certificate_verdict)i));
	MAKE(kinds, s2sp_stanza_kind_token((enum s2sp_stanza_kind)i));
	MAKE(local_kinds, s2sp_local_kind_token((enum s2sp_local_kind)i));
	MAKE(needs, s2sp_need_token((enum s2sp_need)i));
	MAKE(requirements, s2sp_requirement_token((enum s2sp_requirement)i));
	MAKE(partner_types, s2sp_partner_type_token((enum s2sp_partner_type)i));
	MAKE(revocations, s2sp_revocation_token((enum s2sp_revocation)i));
	MAKE(matches, s2sp_match_token((enum s2sp_match)i));
	MAKE(method_tokens, s2sp_method_token(methods[i]));
	MAKE(identifier_types, s2sp_identifier_type_token((enum s2sp_identifier_type)i));
	MAKE(findings_of_identity, s2sp_identity_finding_token((enum s2sp_identity_finding)i));
	MAKE(stages, stages[i]);
	MAKE(row_verdicts, row_verdicts[i]);
	MAKE(grades, grades[i]);
	MAKE(own_faults, s2sp_own_fault_token(i < S2SP_OWN_FAULTS ? (enum s2sp_own_fault)i : S2SP_OWN_OTHER));
	MAKE(answers, answers[i]);
	MAKE(replies, replies[i]);
#undef MAKE
}

void s2sp_nif_make_atoms(ErlNifEnv *env) {
	make_words(env);
	make_tokens(env);
	for (size_t i = 0; i < COUNT(value_words); i++) {
		value_atoms[i] = enif_make_atom(env, value_words[i]);
		for (unsigned need = 0; need < S2SP_NEED_COUNT; need++)
			fact_values[need][i] = s2sp_fact_from_token((enum s2sp_need)need, s2sp_text_from(value_words[i]));
	}
}

int s2sp_nif_fact_value(enum s2sp_need need, ERL_NIF_TERM atom) {
	size_t at = s2sp_nif_position(atom, value_atoms, COUNT(value_atoms));
	return (unsigned)need < S2SP_NEED_COUNT && at < COUNT(value_atoms) ? fact_values[need][at] : 0;
}

ERL_NIF_TERM s2sp_nif_method_atom(enum s2sp_method method) {
	switch (method) {
	case S2SP_METHOD_SASL: return s2sp_atoms.method_tokens[0];
	case S2SP_METHOD_TLS_DIALBACK: return s2sp_atoms.method_tokens[1];
	case S2SP_METHOD_TCP_DIALBACK: return s2sp_atoms.method_tokens[2];
	case S2SP_METHOD_NONE: break;
	}
	return s2sp_atoms.none;
}
