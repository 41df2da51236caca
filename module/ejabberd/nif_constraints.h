/* What ejabberd's own options take from partners: Erlang has found out which of them hold for whom; core subtracts. */
#ifndef S2SP_NIF_CONSTRAINTS_H
#define S2SP_NIF_CONSTRAINTS_H

#include "arena.h"
#include "index.h"
#include "nif.h"

struct s2sp_nif_constraints {
	struct s2sp_host host; /* refers to the rest */
	struct s2sp_arena arena;
	struct s2sp_index domains; /* of kind N those that constraint N holds for */
	uint32_t all;              /* bits of those that hold for all domains */
	uint32_t unnamed;          /* and for wildcards and unlisted domains */
	struct s2sp_constraint list[S2SP_CONSTRAINTS_MAX];
};

/*
 * Reads constraints, holding, crls and out_of_reach of `spec`. To be ended whatever it returns: OK, NO_MEMORY, or INVALID when our own
 * Erlang has handed in another thing.
 */
enum s2sp_status s2sp_nif_constraints_begin(ErlNifEnv *env, ERL_NIF_TERM spec, struct s2sp_nif_constraints *constraints);
void s2sp_nif_constraints_end(struct s2sp_nif_constraints *constraints);

#endif
