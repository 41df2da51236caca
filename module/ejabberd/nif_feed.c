#include "nif_feed.h"

#include <stdio.h>

/* What stands in a list or mapping; `pairs` are {Key, Value}. */
struct inside {
	bool mapping;
	ERL_NIF_TERM list;
};

/* {list, List} or {mapping, Pairs}; false for anything else, and for lists that do not end as lists do. */
static bool open_term(ErlNifEnv *env, ERL_NIF_TERM term, struct inside *inside) {
	const ERL_NIF_TERM *parts;
	int arity;
	unsigned length;
	if (!enif_get_tuple(env, term, &arity, &parts) || arity != 2 || !enif_get_list_length(env, parts[1], &length))
		return false;
	inside->mapping = parts[0] == s2sp_atoms.mapping;
	inside->list = parts[1];
	return inside->mapping || parts[0] == s2sp_atoms.list;
}

static struct s2sp_value named(ErlNifEnv *env, enum s2sp_value_kind kind, ERL_NIF_TERM words, struct s2sp_text otherwise) {
	struct s2sp_value value = { .kind = kind, .string = otherwise };
	s2sp_nif_text(env, words, &value.string);
	return value;
}

struct s2sp_value s2sp_nif_value(ErlNifEnv *env, ERL_NIF_TERM term) {
	struct s2sp_value value = { .kind = S2SP_VALUE_OTHER, .string = S2SP_TEXT("something unknown") };
	const ERL_NIF_TERM *parts;
	struct inside inside;
	int arity;
	ErlNifSInt64 whole;
	if (term == s2sp_atoms.absent)
		return (struct s2sp_value){ .kind = S2SP_VALUE_ABSENT, .string = S2SP_TEXT("nothing") };
	if (s2sp_nif_boolean(term, &value.boolean)) {
		value.kind = S2SP_VALUE_BOOLEAN;
	} else if (s2sp_nif_text(env, term, &value.string)) {
		value.kind = S2SP_VALUE_STRING;
	} else if (enif_get_double(env, term, &value.number)) {
		value.kind = S2SP_VALUE_NUMBER;
	} else if (enif_get_int64(env, term, &whole)) {
		value.kind = S2SP_VALUE_NUMBER;
		value.number = (double)whole;
	} else if (enif_is_number(env, term)) {
		value.string = S2SP_TEXT("a number out of all bounds");
	} else if (open_term(env, term, &inside)) {
		value.kind = S2SP_VALUE_COMPOUND;
		value.string = inside.mapping ? S2SP_TEXT("a mapping") : S2SP_TEXT("a list");
	} else if (enif_get_tuple(env, term, &arity, &parts) && arity == 2 && parts[0] == s2sp_atoms.absent) {
		value = named(env, S2SP_VALUE_ABSENT, parts[1], S2SP_TEXT("nothing"));
	} else if (enif_get_tuple(env, term, &arity, &parts) && arity == 2 && parts[0] == s2sp_atoms.other) {
		value = named(env, S2SP_VALUE_OTHER, parts[1], value.string);
	}
	return value;
}

/* One item: its number in a list, its key and value in a mapping. A key that is no text prints as nothing. */
struct item {
	size_t number;
	struct s2sp_text key;
	ERL_NIF_TERM term;
	struct s2sp_value value;
	char digits[24];
};

static bool next(ErlNifEnv *env, struct inside *inside, struct item *item) {
	ERL_NIF_TERM head;
	const ERL_NIF_TERM *pair;
	int arity;
	if (!enif_get_list_cell(env, inside->list, &head, &inside->list))
		return false;
	item->number++;
	item->term = head;
	item->key = (struct s2sp_text){ NULL, 0 };
	if (inside->mapping) {
		if (enif_get_tuple(env, head, &arity, &pair) && arity == 2 && s2sp_nif_text(env, pair[0], &item->key))
			item->term = pair[1];
		else
			item->term = s2sp_atoms.undefined; /* no pair: `other` */
	} else {
		int length = snprintf(item->digits, sizeof(item->digits), "%zu", item->number);
		item->key = (struct s2sp_text){ item->digits, (size_t)length };
	}
	item->value = s2sp_nif_value(env, item->term);
	return true;
}

/* Whether a pair before this one has the same key. Mappings of an administrator are short, and long ones are maps of users. */
static bool is_repeated(ErlNifEnv *env, struct inside inside, const struct item *item) {
	struct item before = { .number = 0 };
	while (inside.mapping && next(env, &inside, &before) && before.number < item->number) {
		if (s2sp_text_equal(before.key, item->key))
			return true;
	}
	return false;
}

static enum s2sp_status feed_inside(ErlNifEnv *env, struct s2sp_config *config, struct inside inside);

static enum s2sp_status feed_key(ErlNifEnv *env, struct s2sp_config *config, struct item *item, bool repeated) {
	struct inside inside;
	if (repeated)
		item->value = (struct s2sp_value){ .kind = S2SP_VALUE_OTHER,
										   .string = S2SP_TEXT("the key a second time (a mapping has each key once)") };
	enum s2sp_status status = s2sp_config_set(config, item->key, &item->value);
	if (status != S2SP_STATUS_OK || s2sp_config_follows(config) == S2SP_CONTENTS_NONE)
		return status;
	if (open_term(env, item->term, &inside))
		status = feed_inside(env, config, inside);
	return status == S2SP_STATUS_OK ? s2sp_config_end(config) : status;
}

/* More keys than this a mapping with settings has not, so that looking for repeated ones stays cheap. */
enum { KEYS_COMPARED = 100 };

/* The domain before all others: they refer to it. */
static enum s2sp_status feed_keys(ErlNifEnv *env, struct s2sp_config *config, struct inside all) {
	for (int turn = 0; turn < 2; turn++) {
		struct inside inside = all;
		struct item item = { .number = 0 };
		while (next(env, &inside, &item)) {
			bool domain = all.mapping && s2sp_text_equal(item.key, S2SP_TEXT("domain"));
			if (domain != (turn == 0))
				continue;
			bool repeated = item.number > KEYS_COMPARED || is_repeated(env, all, &item);
			enum s2sp_status status = feed_key(env, config, &item, repeated);
			if (status != S2SP_STATUS_OK)
				return status;
		}
	}
	return S2SP_STATUS_OK;
}

/* The domain of an entry as written, for its issues; empty when there is none. */
static struct s2sp_text name_of(ErlNifEnv *env, struct inside inside) {
	struct item item = { .number = 0 };
	while (inside.mapping && item.number < KEYS_COMPARED && next(env, &inside, &item)) {
		if (s2sp_text_equal(item.key, S2SP_TEXT("domain")) && item.value.kind == S2SP_VALUE_STRING)
			return item.value.string;
	}
	return (struct s2sp_text){ NULL, 0 };
}

static enum s2sp_status feed_partner(ErlNifEnv *env, struct s2sp_config *config, const struct item *item) {
	struct inside inside = { false, enif_make_list(env, 0) };
	bool opened = open_term(env, item->term, &inside);
	struct s2sp_text name = opened ? name_of(env, inside) : (struct s2sp_text){ NULL, 0 };
	enum s2sp_status status = s2sp_config_begin_partner(config, item->number, &item->value, name);
	if (status != S2SP_STATUS_OK || s2sp_config_follows(config) != S2SP_CONTENTS_KEYS)
		return status;
	status = feed_keys(env, config, inside);
	return status == S2SP_STATUS_OK ? s2sp_config_end(config) : status;
}

static enum s2sp_status feed_item(ErlNifEnv *env, struct s2sp_config *config, enum s2sp_contents contents, bool mapping,
								  const struct item *item) {
	if (mapping != (contents == S2SP_CONTENTS_MAP))
		return s2sp_config_stray(config, item->key, &item->value);
	if (contents == S2SP_CONTENTS_PARTNERS)
		return feed_partner(env, config, item);
	if (contents == S2SP_CONTENTS_MAP)
		return s2sp_config_add(config, 0, item->key, &item->value);
	return s2sp_config_add(config, item->number, (struct s2sp_text){ NULL, 0 }, &item->value);
}

static enum s2sp_status feed_inside(ErlNifEnv *env, struct s2sp_config *config, struct inside inside) {
	enum s2sp_contents contents = s2sp_config_follows(config);
	if (contents == S2SP_CONTENTS_KEYS)
		return feed_keys(env, config, inside);
	enum s2sp_status status = S2SP_STATUS_OK;
	struct item item = { .number = 0 };
	while (status == S2SP_STATUS_OK && next(env, &inside, &item))
		status = feed_item(env, config, contents, inside.mapping, &item);
	return status;
}

enum s2sp_status s2sp_nif_feed(ErlNifEnv *env, struct s2sp_config *config, ERL_NIF_TERM term) {
	struct inside inside;
	if (s2sp_config_follows(config) == S2SP_CONTENTS_NONE || !open_term(env, term, &inside))
		return S2SP_STATUS_OK;
	return feed_inside(env, config, inside);
}
