/* Names of domains, and what their texts are good for. */
#include "idna.h"
#include "nif.h"
#include "nif_functions.h"

NIF(s2sp_nif_canonical) {
	struct s2sp_text name;
	struct s2sp_domain domain;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &name))
		return enif_make_badarg(env);
	enum s2sp_domain_fault fault = s2sp_domain_parse(name, s2sp_idna_to_ascii, &domain);
	if (fault == S2SP_DOMAIN_OK)
		return enif_make_tuple2(env, s2sp_atoms.ok, s2sp_nif_make_text(env, s2sp_domain_text(&domain)));
	return enif_make_tuple2(env, s2sp_atoms.error, s2sp_nif_make_string(env, s2sp_domain_fault_text(fault)));
}

NIF(s2sp_nif_has_spellings) {
	struct s2sp_text name;
	(void)argc;
	if (!s2sp_nif_text(env, argv[0], &name))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(s2sp_domain_has_spellings(name));
}

NIF(s2sp_nif_same_domain) {
	struct s2sp_domain one, other;
	(void)argc;
	if (!s2sp_nif_domain(env, argv[0], &one) || !s2sp_nif_domain(env, argv[1], &other))
		return enif_make_badarg(env);
	return s2sp_nif_make_boolean(one.length > 0 && s2sp_text_equal(s2sp_domain_text(&one), s2sp_domain_text(&other)));
}
