#include "vocabulary.h"

static const char *const slots[S2SP_WORD_COUNT] = {
	[S2SP_WORD_OPTION_PARTNERS] = "option.partners",
	[S2SP_WORD_OPTION_DEFAULT] = "option.default",
	[S2SP_WORD_OPTION_LIMITS] = "option.limits",
	[S2SP_WORD_OPTION_EXTERNAL_ACCESS] = "option.external_access",
	[S2SP_WORD_CHECK] = "check",
	[S2SP_WORD_RELOAD] = "reload",
	[S2SP_WORD_STREAMS] = "streams",
	[S2SP_WORD_SHOW] = "show",
	[S2SP_WORD_TEST] = "test",
	[S2SP_WORD_HOST_CONSTRAINTS] = "host.constraints",
	[S2SP_WORD_HOST_ACCESS] = "host.access",
	[S2SP_WORD_HOST_REINSTALL] = "host.reinstall",
	[S2SP_WORD_SETTING_IS] = "is",
	[S2SP_WORD_SETTING_QUOTE] = "quote",
	[S2SP_WORD_MAPPING] = "mapping",
	[S2SP_WORD_SAMPLE_PARTNERS] = "sample.partners",
	[S2SP_WORD_SAMPLE_PARTNER] = "sample.partner",
	[S2SP_WORD_SAMPLE_DOMAINS] = "sample.domains",
	[S2SP_WORD_SAMPLE_PINS] = "sample.pins",
	[S2SP_WORD_SAMPLE_CRLS] = "sample.crls",
	[S2SP_WORD_SAMPLE_LIST] = "sample.list",
	[S2SP_WORD_SAMPLE_LIMITS] = "sample.limits",
	[S2SP_WORD_SAMPLE_ACCESS] = "sample.access",
	[S2SP_WORD_SAMPLE_USERS] = "sample.users",
	[S2SP_WORD_TOO_DEEP] = "too_deep",
	[S2SP_WORD_NOT_A_LIST] = "not_a_list",
};

bool s2sp_text_has_slot(const char *text) {
	return strchr(text, '{') != NULL;
}

static bool write_word(const struct s2sp_vocabulary *vocabulary, struct s2sp_text slot, struct s2sp_line *line) {
	for (size_t i = 0; i < S2SP_WORD_COUNT; i++) {
		if (!s2sp_text_equal(slot, s2sp_text_from(slots[i])))
			continue;
		s2sp_line_add(line, vocabulary->words[i]);
		return true;
	}
	return false;
}

/* KEY = VALUE; true and false are no words, so nothing quotes them. */
static bool write_setting(const struct s2sp_vocabulary *vocabulary, struct s2sp_text slot, struct s2sp_line *line) {
	static const char is[] = " = ";
	const size_t length = sizeof(is) - 1;
	for (size_t i = 1; i + length < slot.length; i++) {
		if (memcmp(slot.bytes + i, is, length) != 0)
			continue;
		struct s2sp_text value = { slot.bytes + i + length, slot.length - i - length };
		bool word = !s2sp_text_equal(value, S2SP_TEXT("true")) && !s2sp_text_equal(value, S2SP_TEXT("false"));
		const char *quote = word ? vocabulary->words[S2SP_WORD_SETTING_QUOTE] : "";
		s2sp_line_add_text(line, (struct s2sp_text){ slot.bytes, i });
		s2sp_line_add(line, vocabulary->words[S2SP_WORD_SETTING_IS]);
		s2sp_line_add(line, quote);
		s2sp_line_add_text(line, value);
		s2sp_line_add(line, quote);
		return true;
	}
	return false;
}

void s2sp_vocabulary_write(const struct s2sp_vocabulary *vocabulary, const char *text, struct s2sp_line *line) {
	const char *open, *close;
	for (; (open = strchr(text, '{')) != NULL && (close = strchr(open, '}')) != NULL; text = close + 1) {
		struct s2sp_text slot = { open + 1, (size_t)(close - open) - 1 };
		s2sp_line_add_text(line, (struct s2sp_text){ text, (size_t)(open - text) });
		if (!write_word(vocabulary, slot, line) && !write_setting(vocabulary, slot, line))
			s2sp_line_add_text(line, (struct s2sp_text){ open, slot.length + 2 });
	}
	s2sp_line_add(line, text);
}

const char *s2sp_vocabulary_lacks(const struct s2sp_vocabulary *vocabulary) {
	for (size_t i = 0; i < S2SP_WORD_COUNT; i++) {
		if (vocabulary->words[i] == NULL)
			return slots[i];
	}
	return NULL;
}
