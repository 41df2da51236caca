#include "fake_emulator.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { ATOM, SMALL, FLOATING, BINARY, TUPLE, CELL, EMPTY, MAP, RESOURCE };

struct term {
	enum kind kind;
	struct term *next; /* of the same environment; atoms: of all */
	size_t count;
	union {
		char *name;
		long small;
		double floating;
		unsigned char *bytes;
		ERL_NIF_TERM *items; /* a cell: head and tail; a map: keys, then values */
		void *object;
	};
};

struct enif_environment_t {
	struct term *terms;
};
struct enif_resource_type_t {
	struct enif_resource_type_t *next;
	ErlNifResourceDtor *end;
};
/* Before each object. */
struct resource {
	ErlNifResourceType *type;
	size_t references;
	max_align_t object[];
};

ErlNifEntry *nif_init(void);

static struct term *atoms;
static ErlNifResourceType *types;
static ErlNifEntry *entry;
static size_t blocks;
static bool raised;

static void *must(void *block) {
	if (block == NULL) {
		perror("fake emulator");
		exit(99);
	}
	return block;
}

static struct term *term_of(ERL_NIF_TERM term) {
	return (struct term *)term;
}

static struct term *new_term(ErlNifEnv *env, enum kind kind, size_t count) {
	struct term *term = must(calloc(1, sizeof(*term)));
	term->kind = kind;
	term->count = count;
	term->next = env->terms;
	env->terms = term;
	return term;
}

static ERL_NIF_TERM items_term(ErlNifEnv *env, enum kind kind, size_t count, size_t items) {
	struct term *term = new_term(env, kind, count);
	term->items = must(malloc((items + 1) * sizeof(ERL_NIF_TERM)));
	return (ERL_NIF_TERM)term;
}

/* --- environments and resources --- */

ErlNifEnv *enif_alloc_env(void) {
	return must(calloc(1, sizeof(ErlNifEnv)));
}

ErlNifEnv *fake_environment(void) {
	return enif_alloc_env();
}

static void end_term(struct term *term) {
	switch (term->kind) {
	case BINARY: free(term->bytes); break;
	case TUPLE:
	case CELL:
	case MAP: free(term->items); break;
	case RESOURCE: enif_release_resource(term->object); break;
	case ATOM: free(term->name); break;
	case SMALL:
	case FLOATING:
	case EMPTY: break;
	}
	free(term);
}

void enif_free_env(ErlNifEnv *env) {
	while (env->terms != NULL) {
		struct term *term = env->terms;
		env->terms = term->next;
		end_term(term);
	}
	free(env);
}

ErlNifResourceType *enif_open_resource_type(ErlNifEnv *env, const char *module, const char *name, ErlNifResourceDtor *end,
											ErlNifResourceFlags flags, ErlNifResourceFlags *tried) {
	ErlNifResourceType *type = must(malloc(sizeof(*type)));
	(void)env;
	(void)module;
	(void)name;
	(void)flags;
	(void)tried;
	*type = (ErlNifResourceType){ types, end };
	types = type;
	return type;
}

static struct resource *resource_of(void *object) {
	return (struct resource *)((char *)object - offsetof(struct resource, object));
}

void *enif_alloc_resource(ErlNifResourceType *type, size_t size) {
	struct resource *resource = must(malloc(offsetof(struct resource, object) + size));
	resource->type = type;
	resource->references = 1;
	blocks++;
	return resource->object;
}

void enif_keep_resource(void *object) {
	resource_of(object)->references++;
}

void enif_release_resource(void *object) {
	struct resource *resource = resource_of(object);
	if (--resource->references > 0)
		return;
	ErlNifEnv *env = enif_alloc_env();
	resource->type->end(env, object);
	enif_free_env(env);
	free(resource);
	blocks--;
}

ERL_NIF_TERM enif_make_resource(ErlNifEnv *env, void *object) {
	struct term *term = new_term(env, RESOURCE, 0);
	term->object = object;
	enif_keep_resource(object);
	return (ERL_NIF_TERM)term;
}

int enif_get_resource(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifResourceType *type, void **object) {
	(void)env;
	if (term_of(term)->kind != RESOURCE || resource_of(term_of(term)->object)->type != type)
		return 0;
	*object = term_of(term)->object;
	return 1;
}

void *enif_realloc(void *block, size_t size) {
	blocks += block == NULL;
	return must(realloc(block, size));
}

void enif_free(void *block) {
	blocks -= block != NULL;
	free(block);
}

ErlNifPid *enif_self(ErlNifEnv *env, ErlNifPid *pid) {
	(void)env;
	pid->pid = 1;
	return pid;
}

/* Of what is compared here, processes, there is one. */
int enif_compare(ERL_NIF_TERM one, ERL_NIF_TERM other) {
	return (one > other) - (one < other);
}

/* --- making --- */

ERL_NIF_TERM enif_make_badarg(ErlNifEnv *env) {
	raised = true;
	return enif_make_atom(env, "badarg");
}

ERL_NIF_TERM enif_raise_exception(ErlNifEnv *env, ERL_NIF_TERM reason) {
	(void)env;
	raised = true;
	return reason;
}

ERL_NIF_TERM enif_make_atom(ErlNifEnv *env, const char *name) {
	(void)env;
	struct term *atom = atoms;
	while (atom != NULL && strcmp(atom->name, name) != 0)
		atom = atom->next;
	if (atom == NULL) {
		atom = must(calloc(1, sizeof(*atom)));
		*atom = (struct term){ .kind = ATOM, .next = atoms, .name = must(malloc(strlen(name) + 1)) };
		strcpy(atom->name, name);
		atoms = atom;
	}
	return (ERL_NIF_TERM)atom;
}

ERL_NIF_TERM enif_make_long(ErlNifEnv *env, long value) {
	struct term *term = new_term(env, SMALL, 0);
	term->small = value;
	return (ERL_NIF_TERM)term;
}

ERL_NIF_TERM enif_make_ulong(ErlNifEnv *env, unsigned long value) {
	return enif_make_long(env, (long)value);
}

ERL_NIF_TERM enif_make_uint(ErlNifEnv *env, unsigned value) {
	return enif_make_long(env, (long)value);
}

unsigned char *enif_make_new_binary(ErlNifEnv *env, size_t size, ERL_NIF_TERM *made) {
	struct term *term = new_term(env, BINARY, size);
	term->bytes = must(malloc(size > 0 ? size : 1));
	*made = (ERL_NIF_TERM)term;
	return term->bytes;
}

static ERL_NIF_TERM empty_list(ErlNifEnv *env) {
	return (ERL_NIF_TERM)new_term(env, EMPTY, 0);
}

ERL_NIF_TERM enif_make_list_cell(ErlNifEnv *env, ERL_NIF_TERM head, ERL_NIF_TERM tail) {
	ERL_NIF_TERM cell = items_term(env, CELL, 2, 2);
	term_of(cell)->items[0] = head;
	term_of(cell)->items[1] = tail;
	return cell;
}

ERL_NIF_TERM enif_make_list_from_array(ErlNifEnv *env, const ERL_NIF_TERM items[], unsigned count) {
	ERL_NIF_TERM list = empty_list(env);
	while (count > 0)
		list = enif_make_list_cell(env, items[--count], list);
	return list;
}

ERL_NIF_TERM enif_make_list(ErlNifEnv *env, unsigned count, ...) {
	ERL_NIF_TERM items[16];
	va_list list;
	va_start(list, count);
	for (unsigned i = 0; i < count && i < 16; i++)
		items[i] = va_arg(list, ERL_NIF_TERM);
	va_end(list);
	return enif_make_list_from_array(env, items, count);
}

ERL_NIF_TERM enif_make_tuple(ErlNifEnv *env, unsigned count, ...) {
	ERL_NIF_TERM tuple = items_term(env, TUPLE, count, count);
	va_list list;
	va_start(list, count);
	for (unsigned i = 0; i < count; i++)
		term_of(tuple)->items[i] = va_arg(list, ERL_NIF_TERM);
	va_end(list);
	return tuple;
}

int enif_make_map_from_arrays(ErlNifEnv *env, ERL_NIF_TERM keys[], ERL_NIF_TERM values[], size_t count, ERL_NIF_TERM *map) {
	*map = items_term(env, MAP, count, 2 * count);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (keys[j] == keys[i])
				return 0;
		}
		term_of(*map)->items[i] = keys[i];
		term_of(*map)->items[count + i] = values[i];
	}
	return 1;
}

int enif_make_reverse_list(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM *list) {
	ERL_NIF_TERM head;
	*list = empty_list(env);
	while (enif_get_list_cell(env, term, &head, &term))
		*list = enif_make_list_cell(env, head, *list);
	return 1;
}

ERL_NIF_TERM enif_make_copy(ErlNifEnv *env, ERL_NIF_TERM source) {
	const struct term *from = term_of(source);
	ERL_NIF_TERM copy = source;
	size_t items = from->kind == MAP ? 2 * from->count : from->count;
	switch (from->kind) {
	case ATOM: break;
	case SMALL: copy = enif_make_long(env, from->small); break;
	case FLOATING:
	case EMPTY: copy = (ERL_NIF_TERM)new_term(env, from->kind, 0); break;
	case BINARY: memcpy(enif_make_new_binary(env, from->count, &copy), from->bytes, from->count); break;
	case RESOURCE: copy = enif_make_resource(env, from->object); break;
	case TUPLE:
	case CELL:
	case MAP:
		copy = items_term(env, from->kind, from->count, items);
		for (size_t i = 0; i < items; i++)
			term_of(copy)->items[i] = enif_make_copy(env, from->items[i]);
		break;
	}
	return copy;
}

/* --- reading --- */

int enif_is_atom(ErlNifEnv *env, ERL_NIF_TERM term) {
	(void)env;
	return term_of(term)->kind == ATOM;
}

int enif_is_binary(ErlNifEnv *env, ERL_NIF_TERM term) {
	(void)env;
	return term_of(term)->kind == BINARY;
}

int enif_is_map(ErlNifEnv *env, ERL_NIF_TERM term) {
	(void)env;
	return term_of(term)->kind == MAP;
}

int enif_is_number(ErlNifEnv *env, ERL_NIF_TERM term) {
	(void)env;
	return term_of(term)->kind == SMALL || term_of(term)->kind == FLOATING;
}

int enif_is_empty_list(ErlNifEnv *env, ERL_NIF_TERM term) {
	(void)env;
	return term_of(term)->kind == EMPTY;
}

int enif_get_list_cell(ErlNifEnv *env, ERL_NIF_TERM term, ERL_NIF_TERM *head, ERL_NIF_TERM *tail) {
	(void)env;
	if (term_of(term)->kind != CELL)
		return 0;
	ERL_NIF_TERM rest = term_of(term)->items[1];
	*head = term_of(term)->items[0];
	*tail = rest;
	return 1;
}

int enif_get_list_length(ErlNifEnv *env, ERL_NIF_TERM term, unsigned *length) {
	ERL_NIF_TERM head;
	for (*length = 0; enif_get_list_cell(env, term, &head, &term); ++*length)
		continue;
	return term_of(term)->kind == EMPTY;
}

int enif_get_tuple(ErlNifEnv *env, ERL_NIF_TERM term, int *arity, const ERL_NIF_TERM **items) {
	(void)env;
	if (term_of(term)->kind != TUPLE)
		return 0;
	*arity = (int)term_of(term)->count;
	*items = term_of(term)->items;
	return 1;
}

int enif_inspect_binary(ErlNifEnv *env, ERL_NIF_TERM term, ErlNifBinary *binary) {
	(void)env;
	if (term_of(term)->kind != BINARY)
		return 0;
	binary->size = term_of(term)->count;
	binary->data = term_of(term)->bytes;
	return 1;
}

int enif_get_long(ErlNifEnv *env, ERL_NIF_TERM term, long *value) {
	(void)env;
	*value = term_of(term)->small;
	return term_of(term)->kind == SMALL;
}

int enif_get_ulong(ErlNifEnv *env, ERL_NIF_TERM term, unsigned long *value) {
	long number;
	if (!enif_get_long(env, term, &number) || number < 0)
		return 0;
	*value = (unsigned long)number;
	return 1;
}

int enif_get_double(ErlNifEnv *env, ERL_NIF_TERM term, double *value) {
	(void)env;
	*value = term_of(term)->floating;
	return term_of(term)->kind == FLOATING;
}

int enif_get_atom(ErlNifEnv *env, ERL_NIF_TERM term, char *room, unsigned size, ErlNifCharEncoding encoding) {
	(void)env;
	(void)encoding;
	if (term_of(term)->kind != ATOM || strlen(term_of(term)->name) >= size)
		return 0;
	strcpy(room, term_of(term)->name);
	return (int)strlen(room) + 1;
}

int enif_get_map_value(ErlNifEnv *env, ERL_NIF_TERM map, ERL_NIF_TERM key, ERL_NIF_TERM *value) {
	(void)env;
	const struct term *term = term_of(map);
	for (size_t i = 0; term->kind == MAP && i < term->count; i++) {
		if (term->items[i] == key) {
			*value = term->items[term->count + i];
			return 1;
		}
	}
	return 0;
}

/* --- what the tests call --- */

void fake_load(const char *version) {
	void *data = NULL;
	ErlNifEnv *env = fake_environment();
	entry = nif_init();
	if (entry->load(env, &data, fake_text(env, version)) != 0) {
		fprintf(stderr, "the library does not load\n");
		exit(99);
	}
	enif_free_env(env);
}

void fake_unload(void) {
	while (types != NULL) {
		ErlNifResourceType *type = types;
		types = type->next;
		free(type);
	}
	while (atoms != NULL) {
		struct term *atom = atoms;
		atoms = atom->next;
		end_term(atom);
	}
}

ERL_NIF_TERM fake_call(ErlNifEnv *env, const char *name, ...) {
	ERL_NIF_TERM arguments[8], argument;
	int count = 0;
	va_list list;
	va_start(list, name);
	while ((argument = va_arg(list, ERL_NIF_TERM)) != 0)
		arguments[count++] = argument;
	va_end(list);
	raised = false;
	for (int i = 0; i < entry->num_of_funcs; i++) {
		if (strcmp(entry->funcs[i].name, name) == 0 && (int)entry->funcs[i].arity == count)
			return entry->funcs[i].fptr(env, count, arguments);
	}
	fprintf(stderr, "no function %s/%d\n", name, count);
	exit(99);
}

bool fake_raised(void) {
	return raised;
}

ERL_NIF_TERM fake_bytes(ErlNifEnv *env, const void *bytes, size_t size) {
	ERL_NIF_TERM term;
	memcpy(enif_make_new_binary(env, size, &term), bytes, size);
	return term;
}

ERL_NIF_TERM fake_text(ErlNifEnv *env, const char *text) {
	return fake_bytes(env, text, strlen(text));
}

ERL_NIF_TERM fake_map(ErlNifEnv *env, ...) {
	ERL_NIF_TERM keys[16], values[16], map;
	size_t count = 0;
	const char *name;
	va_list list;
	va_start(list, env);
	while ((name = va_arg(list, const char *)) != NULL) {
		keys[count] = enif_make_atom(env, name);
		values[count++] = va_arg(list, ERL_NIF_TERM);
	}
	va_end(list);
	enif_make_map_from_arrays(env, keys, values, count, &map);
	return map;
}

ERL_NIF_TERM fake_field(ErlNifEnv *env, ERL_NIF_TERM map, const char *name) {
	ERL_NIF_TERM value = 0;
	enif_get_map_value(env, map, enif_make_atom(env, name), &value);
	return value;
}

ERL_NIF_TERM fake_element(ERL_NIF_TERM tuple, int number) {
	return term_of(tuple)->kind == TUPLE && (size_t)number <= term_of(tuple)->count ? term_of(tuple)->items[number - 1] : 0;
}

bool fake_is(ERL_NIF_TERM term, const char *atom) {
	return term != 0 && term_of(term)->kind == ATOM && strcmp(term_of(term)->name, atom) == 0;
}

size_t fake_blocks(void) {
	return blocks;
}
