/* Short ways to write a configuration in a test. */
#ifndef S2SP_SPEC_FEED_H
#define S2SP_SPEC_FEED_H

#include <stdbool.h>

#include "config.h"
#include "host_fixture.h"

#define TEXT(string) s2sp_text_from(string)

static const unsigned char test_seed[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static inline struct s2sp_value string_value(const char *string) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(string) };
}

static inline struct s2sp_value number_value(double number) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_NUMBER, .number = number };
}

static inline struct s2sp_value boolean_value(bool boolean) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_BOOLEAN, .boolean = boolean };
}

static inline struct s2sp_value table_value(void) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_COMPOUND, .string = S2SP_TEXT("a mapping") };
}

static inline bool has_error(const struct s2sp_config *config) {
	for (size_t i = 0; i < s2sp_config_issue_count(config); i++) {
		if (s2sp_config_issue_at(config, i)->severity == S2SP_SEVERITY_ERROR)
			return true;
	}
	return false;
}

static inline enum s2sp_status begin_list(struct s2sp_config *config) {
	struct s2sp_value table = table_value();
	return s2sp_config_begin_list(config, TEXT("partner_list"), &table);
}

static inline enum s2sp_status set(struct s2sp_config *config, const char *key, struct s2sp_value value) {
	return s2sp_config_set(config, TEXT(key), &value);
}

static inline enum s2sp_status set_word(struct s2sp_config *config, const char *key, const char *word) {
	return set(config, key, string_value(word));
}

static inline enum s2sp_status add(struct s2sp_config *config, size_t index, const char *item) {
	struct s2sp_value value = string_value(item);
	return s2sp_config_add(config, index, (struct s2sp_text){ NULL, 0 }, &value);
}

static inline enum s2sp_status add_user(struct s2sp_config *config, const char *name, const char *access) {
	struct s2sp_value value = string_value(access);
	return s2sp_config_add(config, 0, TEXT(name), &value);
}

static inline enum s2sp_status begin_partner(struct s2sp_config *config, size_t index, const char *domain) {
	struct s2sp_value table = table_value();
	return s2sp_config_begin_partner(config, index, &table, TEXT(domain));
}

/* A federated partner without anything else. */
static inline enum s2sp_status partner(struct s2sp_config *config, size_t index, const char *domain) {
	enum s2sp_status status = begin_partner(config, index, domain);
	if (status == S2SP_STATUS_OK)
		status = set_word(config, "domain", domain);
	if (status == S2SP_STATUS_OK)
		status = set_word(config, "partner_type", "federated");
	return status;
}

/* Stands in for libidn2 where the core is tested alone: knows one name. */
static inline enum s2sp_domain_fault test_to_ascii(struct s2sp_text name, struct s2sp_domain *out) {
	static const char ascii[] = "xn--bcher-kva.example";
	if (!s2sp_text_equal(name, S2SP_TEXT("b\xc3\xbc"
										 "cher.example")) &&
		!s2sp_text_equal(name, S2SP_TEXT("xn--bcher-kva.example")))
		return S2SP_DOMAIN_IDNA;
	memcpy(out->bytes, ascii, sizeof(ascii));
	out->length = sizeof(ascii) - 1;
	return S2SP_DOMAIN_OK;
}

#endif
