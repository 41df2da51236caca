#include "learned.h"

#include "nif.h"
#include "nif_functions.h"

const char *s2sp_learned_start(void) {
	return "not built";
}

struct s2sp_learned_hints *s2sp_learned_take(const struct s2sp_trust_store *store, struct s2sp_text *chain, size_t count,
											 size_t capacity, size_t *added, int64_t now) {
	(void)store;
	(void)chain;
	(void)count;
	(void)capacity;
	(void)now;
	*added = 0;
	return NULL;
}

void s2sp_learned_give_back(struct s2sp_learned_hints *hints) {
	(void)hints;
}

NIF(s2sp_nif_learned) {
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	(void)argv;
	s2sp_nif_put(&map, s2sp_atoms.status, s2sp_nif_make_string(env, s2sp_learned_start()));
	return s2sp_nif_make_map(env, &map);
}
