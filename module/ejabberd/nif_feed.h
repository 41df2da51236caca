/* From the terms that Erlang made of the administrator's YAML to the builder of core's. */
#ifndef S2SP_NIF_FEED_H
#define S2SP_NIF_FEED_H

#include "nif.h"

/*
 * A term as a value of the builder. What is of no known shape is `other`, which is never allowed. Texts are borrowed for the call
 * into the NIF.
 */
struct s2sp_value s2sp_nif_value(ErlNifEnv *env, ERL_NIF_TERM term);

/*
 * Feeds what is inside `term`, after a begin: as deep as the builder asks, which has a bound. OK, also for what is wrong and becomes an
 * issue; NO_MEMORY: the config can only be freed.
 */
enum s2sp_status s2sp_nif_feed(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term);

#endif
