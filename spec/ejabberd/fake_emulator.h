/*
 * As much of an emulator as the library of the module needs, for Valgrind: an emulator proper has memory of its own kinds, which Valgrind
 * takes for errors. Here each term is a block of its own that ends with its environment, and a binary has not a byte more than it says,
 * so that what is read past its end, after its time or before it was written is found.
 */
#ifndef S2SP_FAKE_EMULATOR_H
#define S2SP_FAKE_EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <erl_nif.h>

/* Loads the library; ends the program when that fails. */
void fake_load(const char *version);
/* What the library opened ends. */
void fake_unload(void);

/* An environment as a call has one; the terms of it end with enif_free_env. Resources end with the last that refers to them. */
ErlNifEnv *fake_environment(void);

/* Calls a function of the library's by its name. The arguments end with ERL_NIF_TERM 0. */
ERL_NIF_TERM fake_call(ErlNifEnv *env, const char *name, ...);
/* Whether the last call has raised, badarg or anything else. */
bool fake_raised(void);

ERL_NIF_TERM fake_text(ErlNifEnv *env, const char *text);
ERL_NIF_TERM fake_bytes(ErlNifEnv *env, const void *bytes, size_t size);
/* Pairs of an atom's name and a term, ending with NULL. */
ERL_NIF_TERM fake_map(ErlNifEnv *env, ...);
/* The texts of a pair and of what is in a term. */
ERL_NIF_TERM fake_field(ErlNifEnv *env, ERL_NIF_TERM map, const char *name);
ERL_NIF_TERM fake_element(ERL_NIF_TERM tuple, int number);
bool fake_is(ERL_NIF_TERM term, const char *atom);

/* Blocks and resources that the library holds. */
size_t fake_blocks(void);

#endif
