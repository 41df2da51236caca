/* Texts and tables of core's, in the words of ejabberd. */
#include <string.h>

#include "nif.h"
#include "nif_functions.h"

NIF(s2sp_nif_reason) {
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	size_t at = s2sp_nif_position(argv[0], s2sp_atoms.reasons, COUNT(s2sp_atoms.reasons));
	const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)at);
	s2sp_nif_put(&map, s2sp_atoms.token, s2sp_nif_make_string(env, row->token));
	s2sp_nif_put(&map, s2sp_atoms.grade, s2sp_atoms.grades[row->grade]);
	s2sp_nif_put(&map, s2sp_atoms.stream_condition, s2sp_nif_make_string(env, row->stream_condition));
	s2sp_nif_put(&map, s2sp_atoms.stanza_type, s2sp_nif_make_string(env, row->stanza_type));
	s2sp_nif_put(&map, s2sp_atoms.stanza_condition, s2sp_nif_make_string(env, row->stanza_condition));
	s2sp_nif_put(&map, s2sp_atoms.operator, s2sp_nif_make_words(env, row->operator_text));
	s2sp_nif_put(&map, s2sp_atoms.peer, s2sp_nif_make_string(env, row->peer_text));
	s2sp_nif_put(&map, s2sp_atoms.user, s2sp_nif_make_string(env, row->user_text));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_reasons) {
	(void)argc;
	(void)argv;
	return enif_make_list_from_array(env, s2sp_atoms.reasons + 1, S2SP_REASON_COUNT - 1);
}

NIF(s2sp_nif_words) {
	struct s2sp_text text;
	char room[S2SP_LINE_MAX + 1];
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &text) || text.length >= sizeof(room))
		return enif_make_badarg(env);
	memcpy(room, text.bytes, text.length);
	room[text.length] = '\0';
	return s2sp_nif_make_words(env, room);
}

NIF(s2sp_nif_vocabulary) {
	const char *lacks = s2sp_vocabulary_lacks(&s2sp_ejabberd_vocabulary);
	(void)argc;
	(void)argv;
	return lacks == NULL ? s2sp_atoms.complete : s2sp_nif_make_string(env, lacks);
}

static ERL_NIF_TERM make_row(ErlNifEnv *env, const void *of, size_t index) {
	const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(index);
	struct s2sp_nif_map map = { 0 };
	(void)of;
	s2sp_nif_put(&map, s2sp_atoms.tls, s2sp_atoms.requirements[row->tls]);
	s2sp_nif_put(&map, s2sp_atoms.sasl, s2sp_atoms.requirements[row->sasl]);
	s2sp_nif_put(&map, s2sp_atoms.dialback, s2sp_nif_make_boolean(row->dialback));
	s2sp_nif_put(&map, s2sp_atoms.methods, s2sp_nif_make_methods(env, row->methods));
	s2sp_nif_put(&map, s2sp_atoms.verdict, s2sp_atoms.row_verdicts[row->verdict]);
	s2sp_nif_put(&map, s2sp_atoms.text, s2sp_nif_make_words(env, row->text));
	return s2sp_nif_make_map(env, &map);
}

NIF(s2sp_nif_rows) {
	(void)argc;
	(void)argv;
	return s2sp_nif_make_list(env, S2SP_NEGOTIATION_ROWS, make_row, NULL);
}
