/* What the files of this room share: the objects that Erlang holds, atoms, and how terms are read and written. */
#ifndef S2SP_NIF_H
#define S2SP_NIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certificate.h"
#include <erl_nif.h>
#include "learned.h"
#include "nif_atoms.h"
#include "s2sp.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All of them are functions of Erlang's: (environment, number of arguments, arguments) -> result. */
#define NIF(name) ERL_NIF_TERM name(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])

/*
 * The objects are resources of the emulator: memory with a count of references, freed when the last is gone. A policy keeps its
 * table, a stream its policy.
 */
struct s2sp_nif_table {
	struct s2sp_partner_table *table;
};
struct s2sp_nif_policy {
	struct s2sp_policy *policy;
	struct s2sp_nif_table *table;
};
struct s2sp_nif_store {
	struct s2sp_trust_store *store;
	struct s2sp_learned_anchors *anchors; /* those of its file, for what is learned; NULL: none */
	struct s2sp_nif_known *known;         /* what was found valid by it; NULL: nothing is remembered */
};
struct s2sp_nif_crl {
	struct s2sp_crl_file *file;
	uint64_t number; /* of no other list in the life of the library */
};
/* One record, for the process that made it: nobody else may look at it, so it needs no lock. */
struct s2sp_nif_stream {
	ErlNifPid owner;
	bool bound; /* its host is known */
	struct s2sp_stream record;
	struct s2sp_domain domain;      /* canonical; length 0: not known yet */
	struct s2sp_nif_policy *policy; /* kept; NULL: none */
};

enum s2sp_nif_type {
	S2SP_NIF_TABLE = 0,
	S2SP_NIF_POLICY,
	S2SP_NIF_STORE,
	S2SP_NIF_CRL,
	S2SP_NIF_STREAM,
	S2SP_NIF_TYPES,
};

/* nif_objects.c. At load: false when a type cannot be made. */
bool s2sp_nif_open_types(ErlNifEnv *env);
/* A new one, zeroed, with one reference that is the caller's; NULL when out of memory. */
void *s2sp_nif_new(enum s2sp_nif_type type);
/* The term for it; the caller's reference goes over to the term. */
ERL_NIF_TERM s2sp_nif_hand_over(ErlNifEnv *env, void *object);
/* The object that a term stands for, NULL when it is another thing. Good for the call. */
void *s2sp_nif_get(ErlNifEnv *env, ERL_NIF_TERM term, enum s2sp_nif_type type);
/* The same, or the atom none: *object is NULL then. False for anything else. */
bool s2sp_nif_get_or_none(ErlNifEnv *env, ERL_NIF_TERM term, enum s2sp_nif_type type, void **object);
/* The policy in a term, *policy NULL for none. False when the term is neither. */
bool s2sp_nif_get_policy(ErlNifEnv *env, ERL_NIF_TERM term, const struct s2sp_policy **policy);
/* The stream in a term if it belongs to the calling process; else NULL. */
struct s2sp_nif_stream *s2sp_nif_get_stream(ErlNifEnv *env, ERL_NIF_TERM term);
NIF(s2sp_nif_counts);

/* nif_memory.c: the emulator's allocator, counted. */
extern const struct s2sp_allocator s2sp_nif_allocator;
size_t s2sp_nif_allocated(void);
/* For what the core does not allocate. NULL when out of memory. */
void *s2sp_nif_allocate(size_t size);
void s2sp_nif_free(void *block);
/* Whether an allocation is to fail that goes past the allocator (a resource); only ever true in the tests. */
bool s2sp_nif_out_of_memory(void);
#ifdef S2SP_NIF_FAULTS
/* The allocation after `count` others fails, once; negative: none does. */
void s2sp_nif_fail_after(long count);
bool s2sp_nif_has_failed(void);
#endif

/* nif_terms.c: reading. False when the term is another thing. Texts are borrowed for the call. */
bool s2sp_nif_text(ErlNifEnv *env, ERL_NIF_TERM term, struct s2sp_text *text);
bool s2sp_nif_boolean(ERL_NIF_TERM term, bool *boolean);
/* The position of an atom among `count` of them; `count` when it is none. */
size_t s2sp_nif_position(ERL_NIF_TERM atom, const ERL_NIF_TERM atoms[], size_t count);
/* A number that does not go below zero; what is above UINT32_MAX counts as that. */
bool s2sp_nif_number(ErlNifEnv *env, ERL_NIF_TERM term, uint32_t *number);
/* Milliseconds of a clock that may be negative, as a number that keeps their order and distance. */
bool s2sp_nif_milliseconds(ErlNifEnv *env, ERL_NIF_TERM term, s2sp_milliseconds *milliseconds);
/* map[key], which must be an atom of ours; false when there is none. */
bool s2sp_nif_field(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, ERL_NIF_TERM *value);
/* The same for a boolean; `otherwise` when it is absent. False when it is another thing. */
bool s2sp_nif_boolean_field(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, bool otherwise, bool *boolean);
/* The canonical form of a name; length 0 and false when it is no domain. */
bool s2sp_nif_parse(struct s2sp_text name, struct s2sp_domain *domain);
/* The same of a term; length 0 when the text is no domain. False when the term is no text. */
bool s2sp_nif_domain(ErlNifEnv *env, ERL_NIF_TERM term, struct s2sp_domain *domain);

static inline struct s2sp_text s2sp_domain_text(const struct s2sp_domain *domain) {
	return (struct s2sp_text){ domain->bytes, domain->length };
}

/* Writing. */
ERL_NIF_TERM s2sp_nif_make_text(ErlNifEnv *env, struct s2sp_text text);
ERL_NIF_TERM s2sp_nif_make_string(ErlNifEnv *env, const char *string);
/* A text of core's with its slots filled. */
ERL_NIF_TERM s2sp_nif_make_words(ErlNifEnv *env, const char *text);
ERL_NIF_TERM s2sp_nif_make_boolean(bool boolean);
ERL_NIF_TERM s2sp_nif_make_decision(ErlNifEnv *env, struct s2sp_decision decision);
/* The lines of a text that ends each with a line feed, or has none at its end. */
ERL_NIF_TERM s2sp_nif_make_lines(ErlNifEnv *env, const char *text);
/* The methods of a set, in order of preference. */
ERL_NIF_TERM s2sp_nif_make_methods(ErlNifEnv *env, unsigned methods);
ERL_NIF_TERM s2sp_nif_raise_no_memory(ErlNifEnv *env);

/* A map as it is written: pairs on the stack, then the map in one go. */
#define S2SP_NIF_PAIRS 32
struct s2sp_nif_map {
	size_t count;
	ERL_NIF_TERM keys[S2SP_NIF_PAIRS];
	ERL_NIF_TERM values[S2SP_NIF_PAIRS];
};
static inline void s2sp_nif_put(struct s2sp_nif_map *map, ERL_NIF_TERM key, ERL_NIF_TERM value) {
	if (map->count == S2SP_NIF_PAIRS)
		return; /* a test counts them */
	map->keys[map->count] = key;
	map->values[map->count++] = value;
}
ERL_NIF_TERM s2sp_nif_make_map(ErlNifEnv *env, struct s2sp_nif_map *map);

/* A list of anything countable, last item first, so that nothing has to be kept meanwhile. */
typedef ERL_NIF_TERM s2sp_nif_item(ErlNifEnv *env, const void *of, size_t index);
ERL_NIF_TERM s2sp_nif_make_list(ErlNifEnv *env, size_t count, s2sp_nif_item *item, const void *of);

/* ejabberd_vocabulary.c */
extern const struct s2sp_vocabulary s2sp_ejabberd_vocabulary;

#endif
