/* Reading and writing terms. */
#include <string.h>

#include "idna.h"
#include "nif.h"

bool s2sp_nif_text(ErlNifEnv *env, ERL_NIF_TERM term, struct s2sp_text *text) {
	ErlNifBinary binary;
	if (!enif_inspect_binary(env, term, &binary))
		return false;
	*text = (struct s2sp_text){ (const char *)binary.data, binary.size };
	return true;
}

bool s2sp_nif_boolean(ERL_NIF_TERM term, bool *boolean) {
	*boolean = term == s2sp_atoms.true_;
	return *boolean || term == s2sp_atoms.false_;
}

size_t s2sp_nif_position(ERL_NIF_TERM atom, const ERL_NIF_TERM atoms[], size_t count) {
	size_t at = 0;
	while (at < count && atoms[at] != atom)
		at++;
	return at;
}

bool s2sp_nif_number(ErlNifEnv *env, ERL_NIF_TERM term, uint32_t *number) {
	ErlNifUInt64 value;
	if (!enif_get_uint64(env, term, &value))
		return false;
	*number = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
	return true;
}

bool s2sp_nif_milliseconds(ErlNifEnv *env, ERL_NIF_TERM term, s2sp_milliseconds *milliseconds) {
	ErlNifSInt64 value;
	if (!enif_get_int64(env, term, &value))
		return false;
	*milliseconds = (s2sp_milliseconds)value ^ (s2sp_milliseconds)1 << 63;
	return true;
}

bool s2sp_nif_field(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, ERL_NIF_TERM *value) {
	return enif_get_map_value(env, map, key, value) != 0;
}

bool s2sp_nif_boolean_field(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, bool otherwise, bool *boolean) {
	ERL_NIF_TERM value;
	*boolean = otherwise;
	return !s2sp_nif_field(env, map, key, &value) || s2sp_nif_boolean(value, boolean);
}

bool s2sp_nif_parse(struct s2sp_text name, struct s2sp_domain *domain) {
	if (name.length > 0 && s2sp_domain_parse(name, s2sp_idna_to_ascii, domain) == S2SP_DOMAIN_OK)
		return true;
	domain->length = 0;
	return false;
}

bool s2sp_nif_domain(ErlNifEnv *env, ERL_NIF_TERM term, struct s2sp_domain *domain) {
	struct s2sp_text name;
	if (!s2sp_nif_text(env, term, &name))
		return false;
	s2sp_nif_parse(name, domain);
	return true;
}

ERL_NIF_TERM s2sp_nif_make_text(ErlNifEnv *env, struct s2sp_text text) {
	ERL_NIF_TERM term;
	unsigned char *bytes = enif_make_new_binary(env, text.length, &term);
	if (text.length > 0)
		memcpy(bytes, text.bytes, text.length);
	return term;
}

ERL_NIF_TERM s2sp_nif_make_string(ErlNifEnv *env, const char *string) {
	return s2sp_nif_make_text(env, s2sp_text_from(string));
}

ERL_NIF_TERM s2sp_nif_make_words(ErlNifEnv *env, const char *text) {
	struct s2sp_line line;
	if (!s2sp_text_has_slot(text))
		return s2sp_nif_make_string(env, text);
	s2sp_line_begin(&line);
	s2sp_vocabulary_write(&s2sp_ejabberd_vocabulary, text, &line);
	return s2sp_nif_make_text(env, s2sp_line_text(&line));
}

ERL_NIF_TERM s2sp_nif_make_boolean(bool boolean) {
	return boolean ? s2sp_atoms.true_ : s2sp_atoms.false_;
}

ERL_NIF_TERM s2sp_nif_make_decision(ErlNifEnv *env, struct s2sp_decision decision) {
	ERL_NIF_TERM verdict = s2sp_atoms.refuse;
	switch (decision.verdict) {
	case S2SP_VERDICT_ALLOW: return s2sp_atoms.allow; /* what passes needs no words */
	case S2SP_VERDICT_WAIT: verdict = s2sp_atoms.wait; break;
	case S2SP_VERDICT_REFUSE: break;
	}
	return enif_make_tuple3(env, verdict, s2sp_atoms.reasons[decision.reason], s2sp_nif_make_words(env, decision.rule));
}

ERL_NIF_TERM s2sp_nif_make_lines(ErlNifEnv *env, const char *text) {
	ERL_NIF_TERM lines = enif_make_list(env, 0), reversed;
	while (*text != '\0') {
		size_t length = strcspn(text, "\n");
		if (length > 0)
			lines = enif_make_list_cell(env, s2sp_nif_make_text(env, (struct s2sp_text){ text, length }), lines);
		text += length + (text[length] == '\n');
	}
	return enif_make_reverse_list(env, lines, &reversed) ? reversed : lines;
}

ERL_NIF_TERM s2sp_nif_make_methods(ErlNifEnv *env, unsigned methods) {
	static const unsigned bits[] = { S2SP_METHOD_TCP_DIALBACK, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_SASL };
	ERL_NIF_TERM list = enif_make_list(env, 0);
	for (size_t i = 0; i < COUNT(bits); i++) {
		if (methods & bits[i])
			list = enif_make_list_cell(env, s2sp_nif_method_atom((enum s2sp_method)bits[i]), list);
	}
	return list;
}

ERL_NIF_TERM s2sp_nif_raise_no_memory(ErlNifEnv *env) {
	return enif_raise_exception(env, s2sp_atoms.no_memory);
}

ERL_NIF_TERM s2sp_nif_make_map(ErlNifEnv *env, struct s2sp_nif_map *map) {
	ERL_NIF_TERM term;
	if (!enif_make_map_from_arrays(env, map->keys, map->values, map->count, &term))
		return enif_make_badarg(env); /* a key twice: an error of ours, seen by the first test */
	return term;
}

ERL_NIF_TERM s2sp_nif_make_list(ErlNifEnv *env, size_t count, s2sp_nif_item *item, const void *of) {
	ERL_NIF_TERM list = enif_make_list(env, 0);
	for (size_t i = count; i > 0; i--)
		list = enif_make_list_cell(env, item(env, of, i - 1), list);
	return list;
}
