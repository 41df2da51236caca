/* Checks the type of a single value, shows values, and writes the issue about a wrong one. */
#include "ascii.h"
#include "config_build.h"

/* A word that needs no quotes behind a dot. */
static bool is_word(struct s2sp_text key) {
	for (size_t i = 0; i < key.length; i++) {
		char c = key.bytes[i];
		if (!s2sp_ascii_is_letter(c) && c != '_' && (i == 0 || !s2sp_ascii_is_digit(c)))
			return false;
	}
	return key.length > 0 && key.length <= S2SP_QUOTED_MAX;
}

static bool is_digits(struct s2sp_text key) {
	for (size_t i = 0; i < key.length; i++) {
		if (!s2sp_ascii_is_digit(key.bytes[i]))
			return false;
	}
	return key.length > 0 && key.length <= 20;
}

void s2sp_config_path_index(struct s2sp_line *path, size_t index) {
	s2sp_line_add(path, "[");
	s2sp_line_add_number(path, index);
	s2sp_line_add(path, "]");
}

void s2sp_config_path_partner(struct s2sp_line *path, const struct s2sp_partner *partner) {
	s2sp_line_add_text(path, partner->place);
	if (partner->entry > 0)
		s2sp_config_path_index(path, partner->entry);
}

void s2sp_config_path_name(struct s2sp_line *path, struct s2sp_text name) {
	s2sp_line_add(path, " (");
	s2sp_line_add_quoted(path, name);
	s2sp_line_add(path, ")");
}

static void add_quoted_key(struct s2sp_line *path, struct s2sp_text key) {
	s2sp_line_add(path, "[");
	s2sp_line_add_quoted(path, key);
	s2sp_line_add(path, "]");
}

/* Appends `.key`, `["odd key"]` or `[1]`. */
static void add_path_key(struct s2sp_line *path, struct s2sp_text key) {
	if (is_word(key)) {
		s2sp_line_add(path, ".");
		s2sp_line_add_text(path, key);
		return;
	}
	if (!is_digits(key)) {
		add_quoted_key(path, key);
		return;
	}
	s2sp_line_add(path, "[");
	s2sp_line_add_text(path, key);
	s2sp_line_add(path, "]");
}

static void show_path(const struct s2sp_config *config, const char *key, struct s2sp_line *path) {
	*path = config->path;
	if (key != NULL || config->key.length > 0)
		add_path_key(path, key != NULL ? s2sp_text_from(key) : config->key);
	if (key != NULL)
		return;
	if (config->item > 0) {
		s2sp_config_path_index(path, config->item);
	} else if (config->stray) {
		add_path_key(path, config->item_name);
	} else if (config->item_name.bytes != NULL) {
		add_quoted_key(path, config->item_name);
	}
}

static void show_value(struct s2sp_line *line, const struct s2sp_value *value, bool typed) {
	const char *type = "";
	switch (value->kind) {
	case S2SP_VALUE_OTHER:
	case S2SP_VALUE_ABSENT:
	case S2SP_VALUE_COMPOUND: s2sp_line_add_escaped(line, value->string, S2SP_QUOTED_MAX); break;
	case S2SP_VALUE_BOOLEAN:
		s2sp_line_add(line, value->boolean ? "true" : "false");
		type = " (a boolean)";
		break;
	case S2SP_VALUE_NUMBER:
		s2sp_line_add_double(line, value->number);
		type = " (a number)";
		break;
	case S2SP_VALUE_STRING:
		s2sp_line_add_quoted(line, value->string);
		type = " (a string)";
		break;
	}
	if (typed)
		s2sp_line_add(line, type);
}

enum s2sp_status s2sp_config_report(struct s2sp_config *config, const struct s2sp_finding *finding) {
	struct s2sp_line path, got, expected;
	show_path(config, finding->key, &path);
	s2sp_line_begin(&got);
	if (finding->value != NULL)
		show_value(&got, finding->value, finding->typed);
	s2sp_line_begin(&expected);
	if (finding->expected != NULL)
		s2sp_vocabulary_write(config->vocabulary, finding->expected, &expected);
	struct s2sp_issue_parts parts = {
		.severity = finding->severity,
		.code = finding->code,
		.path = s2sp_line_text(&path),
		.got = s2sp_line_text(&got),
		.expected = s2sp_line_text(finding->told != NULL ? finding->told : &expected),
		.nearest = finding->nearest,
	};
	return s2sp_issues_add(&config->issues, &parts);
}

enum s2sp_status s2sp_config_refuse(struct s2sp_config *config, const char *code, const struct s2sp_value *value,
									const char *expected) {
	return s2sp_config_report(config, &(struct s2sp_finding){ .code = code, .value = value, .expected = expected });
}

enum s2sp_status s2sp_config_refuse_told(struct s2sp_config *config, const char *code, const struct s2sp_value *value,
										 const struct s2sp_line *told) {
	return s2sp_config_report(config, &(struct s2sp_finding){ .code = code, .value = value, .told = told });
}

static enum s2sp_status refuse_type(struct s2sp_config *config, const struct s2sp_value *value, const char *expected) {
	return s2sp_config_report(
		config, &(struct s2sp_finding){ .code = "wrong-type", .value = value, .typed = true, .expected = expected });
}

static enum s2sp_status refuse_type_told(struct s2sp_config *config, const struct s2sp_value *value,
										 const struct s2sp_line *told) {
	return s2sp_config_report(config,
							  &(struct s2sp_finding){ .code = "wrong-type", .value = value, .typed = true, .told = told });
}

static size_t count_words(const char *const *words) {
	size_t count = 0;
	while (words[count] != NULL)
		count++;
	return count;
}

enum s2sp_status s2sp_config_word(struct s2sp_config *config, const struct s2sp_value *value, const char *const *words,
								  size_t *word, bool *taken) {
	*taken = false;
	for (size_t i = 0; value->kind == S2SP_VALUE_STRING && words[i] != NULL; i++) {
		if (!s2sp_text_equal(value->string, s2sp_text_from(words[i])))
			continue;
		*word = i;
		*taken = true;
		return S2SP_STATUS_OK;
	}
	struct s2sp_line expected;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "must be ");
	for (size_t i = 0, count = count_words(words); i < count; i++) {
		s2sp_line_add_joint(&expected, i, count, " or ");
		s2sp_line_add_quoted(&expected, s2sp_text_from(words[i]));
	}
	if (value->kind != S2SP_VALUE_STRING)
		return refuse_type_told(config, value, &expected);
	return s2sp_config_report(config, &(struct s2sp_finding){
										  .code = "unknown-value",
										  .value = value,
										  .told = &expected,
										  .nearest = s2sp_nearest(value->string, words),
									  });
}

enum s2sp_status s2sp_config_boolean(struct s2sp_config *config, const struct s2sp_value *value, bool *boolean, bool *taken) {
	*taken = value->kind == S2SP_VALUE_BOOLEAN;
	if (!*taken)
		return refuse_type(config, value,
						   value->kind == S2SP_VALUE_STRING ? "must be true or false, without quotes" : "must be true or false");
	*boolean = value->boolean;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_integer(struct s2sp_config *config, const struct s2sp_value *value, uint32_t *number, bool *taken) {
	static const char range[] = "must be a whole number from 1 to 1000000000";
	*taken = false;
	if (value->kind == S2SP_VALUE_STRING)
		return refuse_type(config, value, "must be a whole number from 1 to 1000000000, without quotes");
	if (value->kind != S2SP_VALUE_NUMBER)
		return refuse_type(config, value, range);
	/* Also false for NaN; the cast is defined only inside of the range. */
	if (!(value->number >= 1 && value->number <= S2SP_COUNT_MAX) || (double)(uint32_t)value->number != value->number)
		return s2sp_config_refuse(config, "out-of-range", value, range);
	*number = (uint32_t)value->number;
	*taken = true;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_string(struct s2sp_config *config, const struct s2sp_value *value, const char *what, bool *taken) {
	struct s2sp_line expected;
	*taken = value->kind == S2SP_VALUE_STRING;
	if (*taken)
		return S2SP_STATUS_OK;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "must be ");
	s2sp_line_add(&expected, what);
	return refuse_type_told(config, value, &expected);
}

enum s2sp_status s2sp_config_unknown_key(struct s2sp_config *config, const struct s2sp_value *value, const char *const *keys) {
	struct s2sp_line expected;
	const char *nearest = s2sp_nearest(config->key, keys);
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "unknown key");
	if (is_digits(config->key)) {
		s2sp_vocabulary_write(config->vocabulary,
							  value->kind == S2SP_VALUE_COMPOUND ? "; {too_deep}"
																 : "; every value needs its key in front: key{is}value",
							  &expected);
	} else if (nearest == NULL) {
		s2sp_line_add(&expected, "; the keys are ");
		for (size_t i = 0, count = count_words(keys); i < count; i++) {
			s2sp_line_add_joint(&expected, i, count, " and ");
			s2sp_line_add(&expected, keys[i]);
		}
	}
	return s2sp_config_report(
		config, &(struct s2sp_finding){ .code = "unknown-key", .value = value, .told = &expected, .nearest = nearest });
}
