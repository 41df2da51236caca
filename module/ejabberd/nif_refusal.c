/* What follows from a refusal, and which of the answers that the host gives for users may go. */
#include "nif.h"
#include "nif_functions.h"

static bool read_kind(ERL_NIF_TERM term, enum s2sp_stanza_kind *kind) {
	size_t at = s2sp_nif_position(term, s2sp_atoms.kinds, COUNT(s2sp_atoms.kinds));
	*kind = at < COUNT(s2sp_atoms.kinds) ? (enum s2sp_stanza_kind)at : S2SP_STANZA_UNKNOWN;
	return at < COUNT(s2sp_atoms.kinds);
}

static bool read_reason(ERL_NIF_TERM term, enum s2sp_reason *reason) {
	size_t at = s2sp_nif_position(term, s2sp_atoms.reasons, COUNT(s2sp_atoms.reasons));
	*reason = at < COUNT(s2sp_atoms.reasons) ? (enum s2sp_reason)at : S2SP_REASON_INTERNAL_ERROR;
	return at < COUNT(s2sp_atoms.reasons);
}

static bool read_answer(ERL_NIF_TERM term, enum s2sp_answered *answer) {
	size_t at = s2sp_nif_position(term, s2sp_atoms.answers, COUNT(s2sp_atoms.answers));
	*answer = at < COUNT(s2sp_atoms.answers) ? (enum s2sp_answered)at : S2SP_FACT_UNKNOWN;
	return at < COUNT(s2sp_atoms.answers);
}

NIF(s2sp_nif_reply_to) {
	enum s2sp_stanza_kind kind;
	(void)argc;
	bool outgoing = argv[0] == s2sp_atoms.outgoing;
	if ((!outgoing && argv[0] != s2sp_atoms.incoming) || !read_kind(argv[1], &kind))
		return enif_make_badarg(env);
	return s2sp_atoms.replies[s2sp_reply_to(outgoing ? S2SP_OUTGOING : S2SP_INCOMING, kind)];
}

NIF(s2sp_nif_reply_to_malformed) {
	struct s2sp_text name, type;
	bool has_id;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &name) || !s2sp_nif_text(env, argv[1], &type) || !s2sp_nif_boolean(argv[2], &has_id))
		return enif_make_badarg(env);
	return s2sp_atoms.replies[s2sp_reply_to_malformed(name, type, has_id)];
}

NIF(s2sp_nif_refused_route) {
	struct s2sp_refused_stanza stanza;
	(void)argc;
	if (!read_kind(argv[0], &stanza.kind) || !read_reason(argv[1], &stanza.reason) || !read_answer(argv[2], &stanza.noted) ||
		!read_answer(argv[3], &stanza.passed))
		return enif_make_badarg(env);
	struct s2sp_refused_route route = s2sp_refused_route(&stanza);
	switch (route.need) {
	case S2SP_REFUSED_NEED_NOTED: return s2sp_atoms.noted;
	case S2SP_REFUSED_NEED_PASSED: return s2sp_atoms.passed;
	case S2SP_REFUSED_NEED_NOTHING: break;
	}
	return enif_make_tuple2(env, s2sp_atoms.replies[route.reply], s2sp_nif_make_boolean(route.forget));
}

NIF(s2sp_nif_dialback_error) {
	enum s2sp_reason reason;
	(void)argc;
	read_reason(argv[0], &reason);
	struct s2sp_stanza_error error = s2sp_dialback_error(reason);
	return enif_make_tuple2(env, s2sp_nif_make_string(env, error.type), s2sp_nif_make_string(env, error.condition));
}

NIF(s2sp_nif_own_way) {
	struct s2sp_own_addresses own;
	(void)argc;
	if (!s2sp_nif_boolean(argv[0], &own.known) || !s2sp_nif_boolean(argv[1], &own.from_ours) ||
		!s2sp_nif_boolean(argv[2], &own.to_ours) || !s2sp_nif_boolean(argv[3], &own.same))
		return enif_make_badarg(env);
	return s2sp_nif_make_decision(env, s2sp_decide_own_way(own));
}

NIF(s2sp_nif_own_words) {
	enum s2sp_stanza_kind kind;
	struct s2sp_text xmlns, name;
	(void)argc;
	if (!read_kind(argv[0], &kind) || !s2sp_nif_text(env, argv[1], &xmlns) || !s2sp_nif_text(env, argv[2], &name))
		return enif_make_badarg(env);
	switch (s2sp_own_words(kind, xmlns, name)) {
	case S2SP_OWN_WORDS_NONE: return s2sp_atoms.none;
	case S2SP_OWN_WORDS_PUBLISHED: return s2sp_atoms.published;
	case S2SP_OWN_WORDS_ANY: break;
	}
	return s2sp_atoms.any;
}

NIF(s2sp_nif_is_published) {
	struct s2sp_text name;
	bool children;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &name) || !s2sp_nif_boolean(argv[1], &children))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_is_published(name, children));
}

NIF(s2sp_nif_is_echo) {
	struct s2sp_text attribute;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &attribute))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_is_echo(attribute));
}

NIF(s2sp_nif_answer_is_replaced) {
	bool says;
	enum s2sp_answered sees;
	(void)argc;
	if (!s2sp_nif_boolean(argv[0], &says) || !read_answer(argv[1], &sees))
		return enif_make_badarg(env);
	switch (s2sp_answer_is_replaced(says, sees)) {
	case S2SP_REPLACED_NO: return s2sp_atoms.no;
	case S2SP_REPLACED_NOT_KNOWN: return s2sp_atoms.not_known;
	case S2SP_REPLACED_YES: break;
	}
	return s2sp_atoms.yes;
}
