#define _POSIX_C_SOURCE 200809L

#include "partner_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_SIZE_MAX = 64 << 20, FIELDS_MAX = 16, DIGITS_MAX = 9 };

struct reader {
	const char *at, *end;
};

/* One key of an entry. */
struct field {
	struct s2sp_text key;
	struct s2sp_value value;
	const char *items; /* of a list, behind its brace */
};

static bool is_letter(char byte) {
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_digit(char byte) {
	return byte >= '0' && byte <= '9';
}

static bool is_space(char byte) {
	return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* White space and comments. A comment of several lines stays where it is, which nothing takes. */
static void skip(struct reader *reader) {
	while (reader->at < reader->end) {
		if (is_space(*reader->at)) {
			reader->at++;
		} else if (reader->end - reader->at >= 2 && reader->at[0] == '-' && reader->at[1] == '-' &&
				   !(reader->end - reader->at > 2 && reader->at[2] == '[')) {
			while (reader->at < reader->end && *reader->at != '\n' && *reader->at != '\r')
				reader->at++;
		} else {
			return;
		}
	}
}

static bool take(struct reader *reader, char byte) {
	skip(reader);
	if (reader->at == reader->end || *reader->at != byte)
		return false;
	reader->at++;
	return true;
}

/* A separator, which may be left out before the closing brace. */
static bool take_separator(struct reader *reader) {
	return take(reader, ',') || take(reader, ';') || (reader->at < reader->end && *reader->at == '}');
}

static struct s2sp_text take_word(struct reader *reader) {
	skip(reader);
	const char *first = reader->at;
	if (first == reader->end || !is_letter(*first))
		return (struct s2sp_text){ NULL, 0 };
	while (reader->at < reader->end && (is_letter(*reader->at) || is_digit(*reader->at)))
		reader->at++;
	return (struct s2sp_text){ first, (size_t)(reader->at - first) };
}

/* One of Lua's own words, which is no name. */
static bool is_reserved(struct s2sp_text word) {
	static const char *const words[] = { "and",      "break",  "do",   "else", "elseif", "end",  "false", "for",
										 "function", "goto",   "if",   "in",   "local",  "nil",  "not",   "or",
										 "repeat",   "return", "then", "true", "until",  "while" };
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (s2sp_text_equal(word, s2sp_text_from(words[i])))
			return true;
	}
	return false;
}

static bool take_string(struct reader *reader, struct s2sp_value *value) {
	skip(reader);
	if (reader->at == reader->end || (*reader->at != '"' && *reader->at != '\''))
		return false;
	const char quote = *reader->at++, *first = reader->at;
	for (; reader->at < reader->end && *reader->at != quote; reader->at++) {
		if (*reader->at == '\\' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\0')
			return false;
	}
	if (reader->at == reader->end)
		return false;
	*value = (struct s2sp_value){ .kind = S2SP_VALUE_STRING, .string = { first, (size_t)(reader->at++ - first) } };
	return true;
}

/* Whole numbers alone; what Lua would read on behind them is none. */
static bool take_number(struct reader *reader, struct s2sp_value *value) {
	const char *first = reader->at;
	double number = 0;
	for (; reader->at < reader->end && is_digit(*reader->at); reader->at++)
		number = number * 10 + (*reader->at - '0');
	*value = (struct s2sp_value){ .kind = S2SP_VALUE_NUMBER, .number = number };
	return reader->at - first <= DIGITS_MAX && !(reader->at < reader->end && (is_letter(*reader->at) || *reader->at == '.'));
}

static bool take_boolean(struct reader *reader, struct s2sp_value *value) {
	struct s2sp_text word = take_word(reader);
	*value = (struct s2sp_value){ .kind = S2SP_VALUE_BOOLEAN, .boolean = s2sp_text_equal(word, S2SP_TEXT("true")) };
	return value->boolean || s2sp_text_equal(word, S2SP_TEXT("false"));
}

static bool takes_list(struct s2sp_text key) {
	return s2sp_text_equal(key, S2SP_TEXT("additional_domains")) || s2sp_text_equal(key, S2SP_TEXT("pinned_keys")) ||
		   s2sp_text_equal(key, S2SP_TEXT("crls"));
}

/* Behind the opening brace, up to behind the closing one. */
static bool take_items(struct reader *reader) {
	struct s2sp_value item;
	while (!take(reader, '}')) {
		if (!take_string(reader, &item) || !take_separator(reader))
			return false;
	}
	return true;
}

static bool take_value(struct reader *reader, struct field *field) {
	field->items = NULL;
	skip(reader);
	if (reader->at == reader->end)
		return false;
	if (*reader->at == '{') {
		field->items = ++reader->at;
		field->value = (struct s2sp_value){ .kind = S2SP_VALUE_COMPOUND, .string = S2SP_TEXT("a table") };
		return takes_list(field->key) && take_items(reader);
	}
	if (is_digit(*reader->at))
		return take_number(reader, &field->value);
	return is_letter(*reader->at) ? take_boolean(reader, &field->value) : take_string(reader, &field->value);
}

/* The domain before all others, which refer to it; these by their bytes. As policy_feed.c has them. */
static bool comes_before(struct s2sp_text one, struct s2sp_text other) {
	const bool first = s2sp_text_equal(one, S2SP_TEXT("domain"));
	if (first != s2sp_text_equal(other, S2SP_TEXT("domain")))
		return first;
	size_t common = one.length < other.length ? one.length : other.length;
	int order = memcmp(one.bytes, other.bytes, common);
	return order != 0 ? order < 0 : one.length < other.length;
}

/* An entry, its fields in the order in which they are fed. A key that is there twice counts once for Lua, and is left to it. */
static bool take_entry(struct reader *reader, struct field fields[FIELDS_MAX], size_t *count) {
	*count = 0;
	if (!take(reader, '{'))
		return false;
	while (!take(reader, '}')) {
		struct field field = { .key = take_word(reader) };
		if (*count == FIELDS_MAX || field.key.length == 0 || is_reserved(field.key) || !take(reader, '=') ||
			!take_value(reader, &field) || !take_separator(reader))
			return false;
		size_t place = *count;
		for (; place > 0 && comes_before(field.key, fields[place - 1].key); place--)
			fields[place] = fields[place - 1];
		if (place > 0 && s2sp_text_equal(field.key, fields[place - 1].key))
			return false;
		fields[place] = field;
		++*count;
	}
	return true;
}

static bool take_beginning(struct reader *reader) {
	if (reader->end - reader->at >= 3 && memcmp(reader->at, "\xEF\xBB\xBF", 3) == 0)
		reader->at += 3;
	return s2sp_text_equal(take_word(reader), S2SP_TEXT("return")) && take(reader, '{');
}

static struct reader read_text(struct s2sp_text text) {
	return (struct reader){ text.bytes, text.bytes + text.length };
}

static bool is_plain(struct s2sp_text text) {
	struct reader reader = read_text(text);
	struct field fields[FIELDS_MAX];
	size_t count;
	if (text.length == 0 || !take_beginning(&reader))
		return false;
	while (!take(&reader, '}')) {
		if (!take_entry(&reader, fields, &count) || !take_separator(&reader))
			return false;
	}
	(void)take(&reader, ';');
	skip(&reader);
	return reader.at == reader.end;
}

/* The items that take_items has seen. */
static enum s2sp_status feed_items(struct s2sp_config *config, const struct field *field, const char *end) {
	struct reader reader = { field->items, end };
	enum s2sp_status status = S2SP_STATUS_OK;
	for (size_t i = 1; status == S2SP_STATUS_OK && !take(&reader, '}'); i++) {
		struct s2sp_value value;
		if (!take_string(&reader, &value) || !take_separator(&reader))
			return S2SP_STATUS_FAILED;
		status = s2sp_config_add(config, i, (struct s2sp_text){ NULL, 0 }, &value);
	}
	return status;
}

static enum s2sp_status feed_field(struct s2sp_config *config, const struct field *field, const char *end) {
	enum s2sp_status status = s2sp_config_set(config, field->key, &field->value);
	if (status != S2SP_STATUS_OK || s2sp_config_follows(config) == S2SP_CONTENTS_NONE)
		return status;
	status = field->items == NULL ? S2SP_STATUS_FAILED : feed_items(config, field, end);
	return status == S2SP_STATUS_OK ? s2sp_config_end(config) : status;
}

static enum s2sp_status feed_entry(struct s2sp_config *config, size_t index, const struct field *fields, size_t count,
								   const char *end) {
	const struct s2sp_value value = { .kind = S2SP_VALUE_COMPOUND, .string = S2SP_TEXT("a table") };
	struct s2sp_text name = { NULL, 0 };
	if (count > 0 && s2sp_text_equal(fields[0].key, S2SP_TEXT("domain")) && fields[0].value.kind == S2SP_VALUE_STRING)
		name = fields[0].value.string;
	enum s2sp_status status = s2sp_config_begin_partner(config, index, &value, name);
	if (status != S2SP_STATUS_OK || s2sp_config_follows(config) != S2SP_CONTENTS_KEYS)
		return status;
	for (size_t i = 0; i < count && status == S2SP_STATUS_OK; i++)
		status = feed_field(config, &fields[i], end);
	return status == S2SP_STATUS_OK ? s2sp_config_end(config) : status;
}

/* A plain text, after s2sp_config_begin_list. */
static enum s2sp_status feed_text(struct s2sp_config *config, struct s2sp_text text, const atomic_bool *cancelled) {
	struct reader reader = read_text(text);
	struct field fields[FIELDS_MAX];
	size_t count;
	if (!take_beginning(&reader))
		return S2SP_STATUS_FAILED;
	for (size_t index = 1; !take(&reader, '}'); index++) {
		if ((cancelled != NULL && atomic_load_explicit(cancelled, memory_order_relaxed)) ||
			!take_entry(&reader, fields, &count) || !take_separator(&reader))
			return S2SP_STATUS_FAILED;
		enum s2sp_status status = feed_entry(config, index, fields, count, reader.end);
		if (status != S2SP_STATUS_OK)
			return status;
	}
	return S2SP_STATUS_OK;
}

/* --- files --- */

/* All of it, to be freed; NULL when there is nothing that can be read. */
static char *read_all(int file, size_t size) {
	char *bytes = malloc(size);
	size_t have = 0;
	ssize_t got = 1;
	while (bytes != NULL && have < size && (got = read(file, bytes + have, size - have)) > 0)
		have += (size_t)got;
	if (bytes != NULL && have == size)
		return bytes;
	free(bytes);
	return NULL;
}

/* What has become a pipe must not keep anybody waiting. */
static char *read_file(const char *path, size_t *size) {
	struct stat found;
	char *bytes = NULL;
	int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (file < 0)
		return NULL;
	if (fstat(file, &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0 && found.st_size <= FILE_SIZE_MAX) {
		*size = (size_t)found.st_size;
		bytes = read_all(file, *size);
	}
	close(file);
	return bytes;
}

enum s2sp_status s2sp_partner_file_feed(struct s2sp_config *config, struct s2sp_text place, const char *path,
										const atomic_bool *cancelled) {
	const struct s2sp_value list = { .kind = S2SP_VALUE_COMPOUND, .string = S2SP_TEXT("a table") };
	struct s2sp_text text = { NULL, 0 };
	char *bytes = read_file(path, &text.length);
	text.bytes = bytes;
	enum s2sp_status status = S2SP_STATUS_INVALID;
	if (bytes != NULL && is_plain(text)) {
		status = s2sp_config_begin_list(config, place, &list);
		if (status == S2SP_STATUS_OK)
			status = feed_text(config, text, cancelled);
	}
	free(bytes);
	return status;
}
