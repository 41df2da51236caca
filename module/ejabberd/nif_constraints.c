#include "nif_constraints.h"

static uint32_t holding(const void *of, struct s2sp_text domain) {
	const struct s2sp_nif_constraints *constraints = of;
	if (domain.length == 0)
		return constraints->all | constraints->unnamed;
	uint32_t bits = constraints->all;
	for (size_t i = 0; i < constraints->host.constraint_count; i++) {
		if (s2sp_index_find(&constraints->domains, (uint8_t)i, domain) != S2SP_INDEX_NONE)
			bits |= UINT32_C(1) << i;
	}
	return bits;
}

/* constraint[key] as a text of the arena's; NULL when it is absent. */
static enum s2sp_status read_words(ErlNifEnv *env, struct s2sp_nif_constraints *constraints, ERL_NIF_TERM map, ERL_NIF_TERM key,
								   const char **words) {
	ERL_NIF_TERM term;
	struct s2sp_text text;
	*words = NULL;
	if (!s2sp_nif_field(env, map, key, &term))
		return S2SP_STATUS_OK;
	if (!s2sp_nif_text(env, term, &text))
		return S2SP_STATUS_INVALID;
	enum s2sp_status status = s2sp_arena_copy(&constraints->arena, text, &text);
	*words = text.bytes;
	return status;
}

static bool read_methods(ErlNifEnv *env, ERL_NIF_TERM map, uint8_t *methods) {
	ERL_NIF_TERM list, head;
	*methods = 0;
	if (!s2sp_nif_field(env, map, s2sp_atoms.forbids, &list))
		return true;
	while (enif_get_list_cell(env, list, &head, &list)) {
		size_t at = s2sp_nif_position(head, s2sp_atoms.method_tokens, COUNT(s2sp_atoms.method_tokens));
		if (at == COUNT(s2sp_atoms.method_tokens))
			return false;
		*methods |= (uint8_t)(S2SP_METHOD_SASL << at);
	}
	return enif_is_empty_list(env, list) != 0;
}

static enum s2sp_status read_constraint(ErlNifEnv *env, struct s2sp_nif_constraints *constraints, ERL_NIF_TERM map) {
	const size_t at = constraints->host.constraint_count;
	if (at == S2SP_CONSTRAINTS_MAX)
		return S2SP_STATUS_INVALID;
	struct s2sp_constraint *constraint = &constraints->list[at];
	const struct {
		ERL_NIF_TERM key;
		const char **words;
	} texts[] = {
		{ s2sp_atoms.fact, &constraint->fact }, { s2sp_atoms.remedy, &constraint->remedy },
		{ s2sp_atoms.path, &constraint->path }, { s2sp_atoms.remedy_all, &constraint->remedy_all },
		{ s2sp_atoms.got, &constraint->got },   { s2sp_atoms.lost, &constraint->lost },
	};
	enum s2sp_status status = S2SP_STATUS_OK;
	for (size_t i = 0; i < COUNT(texts) && status == S2SP_STATUS_OK; i++)
		status = read_words(env, constraints, map, texts[i].key, texts[i].words);
	if (status != S2SP_STATUS_OK)
		return status;
	if (!read_methods(env, map, &constraint->forbids) ||
		!s2sp_nif_boolean_field(env, map, s2sp_atoms.demands_certificate, false, &constraint->demands_certificate))
		return S2SP_STATUS_INVALID;
	/* Core shows these texts without asking whether they are there. */
	if (constraint->path == NULL || constraint->lost == NULL ||
		(constraint->forbids != 0 && (constraint->fact == NULL || constraint->remedy == NULL)))
		return S2SP_STATUS_INVALID;
	constraints->host.constraint_count = at + 1;
	return S2SP_STATUS_OK;
}

static enum s2sp_status read_constraints(ErlNifEnv *env, ERL_NIF_TERM spec, struct s2sp_nif_constraints *constraints) {
	ERL_NIF_TERM list, head;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (!s2sp_nif_field(env, spec, s2sp_atoms.constraints, &list))
		return status;
	while (status == S2SP_STATUS_OK && enif_get_list_cell(env, list, &head, &list))
		status = enif_is_map(env, head) ? read_constraint(env, constraints, head) : S2SP_STATUS_INVALID;
	return status == S2SP_STATUS_OK && !enif_is_empty_list(env, list) ? S2SP_STATUS_INVALID : status;
}

/* A name that is no domain can be nobody's, so nothing holds for it. */
static enum s2sp_status hold_for(ErlNifEnv *env, struct s2sp_nif_constraints *constraints, uint8_t number, ERL_NIF_TERM term) {
	struct s2sp_text name;
	struct s2sp_domain domain;
	if (!s2sp_nif_text(env, term, &name) || !s2sp_nif_domain(env, term, &domain))
		return S2SP_STATUS_INVALID;
	if (name.length == 0)
		constraints->unnamed |= UINT32_C(1) << number;
	if (domain.length == 0 || s2sp_index_find(&constraints->domains, number, s2sp_domain_text(&domain)) != S2SP_INDEX_NONE)
		return S2SP_STATUS_OK;
	enum s2sp_status status = s2sp_arena_copy(&constraints->arena, s2sp_domain_text(&domain), &name);
	return status == S2SP_STATUS_OK ? s2sp_index_add(&constraints->domains, number, name, 1) : status;
}

/* {Number, all | [Domain]} */
static enum s2sp_status read_held(ErlNifEnv *env, struct s2sp_nif_constraints *constraints, ERL_NIF_TERM term) {
	const ERL_NIF_TERM *parts;
	ERL_NIF_TERM list, head;
	int arity;
	uint32_t number;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (!enif_get_tuple(env, term, &arity, &parts) || arity != 2 || !s2sp_nif_number(env, parts[0], &number) || number == 0 ||
		number > constraints->host.constraint_count)
		return S2SP_STATUS_INVALID;
	if (parts[1] == s2sp_atoms.all) {
		constraints->all |= UINT32_C(1) << (number - 1);
		return status;
	}
	list = parts[1];
	while (status == S2SP_STATUS_OK && enif_get_list_cell(env, list, &head, &list))
		status = hold_for(env, constraints, (uint8_t)(number - 1), head);
	return status == S2SP_STATUS_OK && !enif_is_empty_list(env, list) ? S2SP_STATUS_INVALID : status;
}

static enum s2sp_status read_holding(ErlNifEnv *env, ERL_NIF_TERM spec, struct s2sp_nif_constraints *constraints) {
	ERL_NIF_TERM list, head;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (!s2sp_nif_field(env, spec, s2sp_atoms.holding, &list))
		return status;
	while (status == S2SP_STATUS_OK && enif_get_list_cell(env, list, &head, &list))
		status = read_held(env, constraints, head);
	return status == S2SP_STATUS_OK && !enif_is_empty_list(env, list) ? S2SP_STATUS_INVALID : status;
}

enum s2sp_status s2sp_nif_constraints_begin(ErlNifEnv *env, ERL_NIF_TERM spec, struct s2sp_nif_constraints *constraints) {
	static const unsigned char unkeyed[16] = { 0 }; /* the administrator's own names */
	*constraints = (struct s2sp_nif_constraints){ .all = 0 };
	constraints->host.constraints = constraints->list;
	constraints->host.holding = holding;
	constraints->host.of = constraints;
	s2sp_arena_begin(&constraints->arena, &s2sp_nif_allocator);
	s2sp_index_begin(&constraints->domains, &s2sp_nif_allocator, unkeyed);
	if (!s2sp_nif_boolean_field(env, spec, s2sp_atoms.crls, false, &constraints->host.crls) ||
		!s2sp_nif_boolean_field(env, spec, s2sp_atoms.out_of_reach, false, &constraints->host.out_of_reach))
		return S2SP_STATUS_INVALID;
	enum s2sp_status status = read_constraints(env, spec, constraints);
	return status == S2SP_STATUS_OK ? read_holding(env, spec, constraints) : status;
}

void s2sp_nif_constraints_end(struct s2sp_nif_constraints *constraints) {
	s2sp_index_end(&constraints->domains);
	s2sp_arena_end(&constraints->arena);
}
