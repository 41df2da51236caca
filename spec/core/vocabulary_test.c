/* Core's texts in the words of a host that it has never heard of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "allocator.h"
#include "feed.h"
#include "s2sp.h"

static const char *worded(const char *text, struct s2sp_line *line) {
	s2sp_line_begin(line);
	s2sp_vocabulary_write(&test_vocabulary, text, line);
	return line->bytes;
}

static void test_slots_are_filled(void **state) {
	struct s2sp_line line;
	(void)state;
	assert_string_equal(worded("nothing to fill", &line), "nothing to fill");
	assert_string_equal(worded("run \"{check}\".", &line), "run \"ejabberdctl s2s_partners_check\".");
	assert_string_equal(worded("{reload}{streams}", &line), "ejabberdctl reload_configejabberdctl s2s_partners_streams");
	assert_string_equal(worded("", &line), "");
}

static void test_settings_are_written_as_the_host_does(void **state) {
	struct s2sp_line line;
	(void)state;
	assert_string_equal(worded("set {tls = required} or {dialback = true}", &line), "set tls: required or dialback: true");
	struct s2sp_vocabulary other = test_vocabulary;
	other.words[S2SP_WORD_SETTING_IS] = " := ";
	other.words[S2SP_WORD_SETTING_QUOTE] = "'";
	s2sp_line_begin(&line);
	s2sp_vocabulary_write(&other, "set {tls = required} or {dialback = true} or {keepalive = false}", &line);
	assert_string_equal(line.bytes, "set tls := 'required' or dialback := true or keepalive := false");
}

/* A text that is wrong is shown as it is; nothing is read beyond its end. */
static void test_what_is_no_slot_stays(void **state) {
	static const char *const texts[] = { "{",      "}",     "{}",     "{unknown}", "a { b", "a } b {",
										 "{check", "{ = }", "{a = }", "{ = a}",    "}{" };
	struct s2sp_line line;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_string_equal(worded(texts[i], &line), texts[i]);
	assert_string_equal(worded("{unknown}{check}", &line), "{unknown}ejabberdctl s2s_partners_check");
}

static void test_a_long_text_is_cut(void **state) {
	char text[4 * S2SP_LINE_MAX] = "";
	struct s2sp_line line;
	(void)state;
	while (strlen(text) + sizeof("{check} ") < sizeof(text))
		strcat(text, "{check} ");
	worded(text, &line);
	assert_true(line.cut);
	assert_int_equal(line.length, S2SP_LINE_MAX);
	assert_string_equal(line.bytes + line.length - 3, "...");
}

static void test_words(void **state) {
	(void)state;
	assert_null(s2sp_vocabulary_lacks(&test_vocabulary));
	for (unsigned word = 0; word < S2SP_WORD_COUNT; word++) {
		struct s2sp_vocabulary without = test_vocabulary;
		without.words[word] = NULL;
		const char *missing = s2sp_vocabulary_lacks(&without);
		assert_non_null(missing);
		/* Its slot, and nothing else, is filled by the word. */
		char text[64] = "{";
		strcat(strcat(text, missing), "}");
		struct s2sp_line line;
		assert_string_equal(worded(text, &line), test_vocabulary.words[word]);
	}
	/* A word that is missing is missing in the text, no more. */
	struct s2sp_vocabulary none = { { NULL } };
	struct s2sp_line line;
	s2sp_line_begin(&line);
	s2sp_vocabulary_write(&none, "run {check}, set {tls = required}", &line);
	assert_string_equal(line.bytes, "run , set tlsrequired");
}

/* Every reason can be told whole, with no slot left over. */
static void test_reasons(void **state) {
	struct s2sp_line line;
	(void)state;
	for (unsigned i = 0; i < S2SP_REASON_COUNT; i++) {
		const struct s2sp_reason_row *row = s2sp_reason_row((enum s2sp_reason)i);
		worded(row->operator_text, &line);
		assert_false(line.cut);
		assert_false(s2sp_text_has_slot(line.bytes));
		assert_null(strstr(line.bytes, "rosody"));
		assert_null(strstr(line.bytes, " = "));
		/* These go to others as they are. */
		assert_false(s2sp_text_has_slot(row->peer_text));
		assert_false(s2sp_text_has_slot(row->user_text));
	}
	assert_non_null(strstr(worded(s2sp_reason_row(S2SP_REASON_CONFIG_INVALID)->operator_text, &line),
						   "Run \"ejabberdctl s2s_partners_check\""));
	assert_non_null(strstr(worded(s2sp_reason_row(S2SP_REASON_UNLISTED_DOMAIN)->operator_text, &line),
						   "and modules.mod_s2s_partners.default is \"refuse\""));
	assert_non_null(
		strstr(worded(s2sp_reason_row(S2SP_REASON_TLS_REQUIRED)->operator_text, &line), "set tls: optional with dialback: true"));
}

static void test_rules(void **state) {
	struct s2sp_line line;
	(void)state;
	struct s2sp_limits limits = { .establishment_timeout = 1 };
	struct s2sp_stream stream;
	bool keepalive;
	s2sp_stream_begin(&stream, S2SP_INCOMING, NULL);
	assert_string_equal(worded(s2sp_stream_due(&stream, &limits, 2000, &keepalive).rule, &line),
						"not established within establishment_timeout of modules.mod_s2s_partners.limits");
}

/* Every kind of finding that has words of the host in it. */
static void test_issues(void **state) {
	(void)state;
	struct counting counting = { 0 };
	struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&counting);
	struct s2sp_config *config = s2sp_config_new(&allocator, test_to_ascii, &test_vocabulary, test_seed);
	struct s2sp_value word = string_value("x"), table = table_value(), number = number_value(1);
	s2sp_config_begin_list(config, TEXT("FILE"), &word);
	begin_list(config);
	s2sp_config_stray(config, TEXT("domain"), &word);
	s2sp_config_begin_partner(config, 1, &word, TEXT(""));
	partner(config, 2, "a.example");
	set_word(config, "additional_domains", "b.example");
	set_word(config, "pinned_keys", "x");
	set(config, "additional_domains", table);
	s2sp_config_stray(config, TEXT("odd key"), &word);
	s2sp_config_end(config);
	set(config, "1", table);
	set(config, "2", number);
	set_word(config, "tls", "not_supported");
	s2sp_config_end(config);
	s2sp_config_begin_default(config, &number);
	s2sp_config_begin_default(config, &table);
	set_word(config, "domain", "a.example");
	set_word(config, "partner_type", "federated");
	s2sp_config_begin_limits(config, &word);
	s2sp_config_begin_external_access(config, &word);
	s2sp_config_begin_external_access(config, &table);
	set_word(config, "users", "x");
	set(config, "users", table);
	s2sp_config_stray(config, TEXT("1"), &word);
	static const char *const expected[] = {
		"FILE: got \"x\" (a string); must be a list of partners: [{domain: ..., ...}]",
		"partner_list.domain: got \"x\"; one partner stands where a list of partners must be; put a dash in front of it",
		"partner_list[1]: got \"x\" (a string); a partner must be a mapping: {domain: ..., partner_type: ...}",
		"partner_list[2] (\"a.example\").additional_domains: got \"b.example\" (a string); must be a list of domains: "
		"[corp.fabrikam.com, \"*.it.fabrikam.com\"]",
		"partner_list[2] (\"a.example\").pinned_keys: got \"x\" (a string); must be a list of pins: [\"sha256//BASE64=\"]",
		"partner_list[2] (\"a.example\").additional_domains[\"odd key\"]: got \"x\"; a list has no keys; write its items one "
		"after "
		"the "
		"other: [first, second]",
		"partner_list[2] (\"a.example\")[1]: got a mapping; unknown key; a list stands where a key must be: remove one dash",
		"partner_list[2] (\"a.example\")[2]: got 1; unknown key; every value needs its key in front: key: value",
		"partner_list[2] (\"a.example\").tls: got \"not_supported\"; SASL requires TLS; set tls: required, or sasl: "
		"not_supported "
		"and "
		"dialback: true",
		"modules.mod_s2s_partners.default: got 1 (a number); must be \"refuse\" or a mapping of settings for unlisted domains",
		"modules.mod_s2s_partners.default.domain: got \"a.example\"; the policy for unlisted domains names none; remove the key, "
		"or "
		"list the domain in modules.mod_s2s_partners.partners",
		"modules.mod_s2s_partners.limits: got \"x\" (a string); must be a mapping of limits: {connections: 1000, ...}",
		"modules.mod_s2s_partners.external_access: got \"x\" (a string); must be a mapping: {default: allow, users: {name: "
		"deny}}",
		"modules.mod_s2s_partners.external_access.users: got \"x\" (a string); must be a mapping of user names: {name: deny}",
		"modules.mod_s2s_partners.external_access.users[1]: got \"x\"; every user is a key with \"allow\" or \"deny\": "
		"users: {name: deny}",
	};
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		const struct s2sp_issue *issue = s2sp_config_issue_at(config, i);
		assert_non_null(issue);
		assert_string_equal(issue->message, expected[i]);
	}
	assert_int_equal(s2sp_config_issue_count(config), sizeof(expected) / sizeof(expected[0]));
	s2sp_config_free(config);
	assert_int_equal(counting.blocks, 0);
}

/* What an administrator wrote is shown as it was written, whatever it looks like. */
static void test_slots_of_others_are_not_filled(void **state) {
	(void)state;
	struct counting counting = { 0 };
	struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&counting);
	struct s2sp_config *config = s2sp_config_new(&allocator, test_to_ascii, &test_vocabulary, test_seed);
	begin_list(config);
	begin_partner(config, 1, "{check}");
	set_word(config, "domain", "{check}");
	set_word(config, "partner_type", "{tls = required}");
	set_word(config, "{mapping}", "x");
	for (size_t i = 0; i < s2sp_config_issue_count(config); i++)
		assert_null(strstr(s2sp_config_issue_at(config, i)->message, "ejabberdctl"));
	assert_non_null(strstr(s2sp_config_issue_at(config, 0)->message, "got \"{check}\""));
	assert_non_null(strstr(s2sp_config_issue_at(config, 1)->message, "got \"{tls = required}\""));
	assert_non_null(strstr(s2sp_config_issue_at(config, 2)->message, "[\"{mapping}\"]"));
	s2sp_config_free(config);
	assert_int_equal(counting.blocks, 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots_are_filled),
		cmocka_unit_test(test_settings_are_written_as_the_host_does),
		cmocka_unit_test(test_what_is_no_slot_stays),
		cmocka_unit_test(test_a_long_text_is_cut),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_issues),
		cmocka_unit_test(test_slots_of_others_are_not_filled),
	};
	return cmocka_run_group_tests_name("vocabulary", tests, NULL, NULL);
}
