/* Answers in a user's name: which of them stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "spoken_answer.h"

#define PUBSUB "http://jabber.org/protocol/pubsub"

static enum s2sp_own_words own_words(enum s2sp_stanza_kind kind, const char *xmlns, const char *name) {
	return s2sp_own_words(kind, s2sp_text_from(xmlns), s2sp_text_from(name));
}

static void test_whose_words(void **state) {
	(void)state;
	static const struct {
		const char *xmlns, *name;
		enum s2sp_own_words own;
	} rows[] = {
		{ NULL, NULL, S2SP_OWN_WORDS_NONE },
		{ "urn:xmpp:time", "time", S2SP_OWN_WORDS_NONE },
		{ "jabber:iq:time", "query", S2SP_OWN_WORDS_NONE },
		{ PUBSUB "#owner", "pubsub", S2SP_OWN_WORDS_NONE },
		{ PUBSUB, "pubsub", S2SP_OWN_WORDS_PUBLISHED },
		{ PUBSUB "#event", "event", S2SP_OWN_WORDS_ANY },
		{ "vcard-temp", "vCard", S2SP_OWN_WORDS_ANY },
		{ "http://jabber.org/protocol/disco#info", "query", S2SP_OWN_WORDS_ANY },
		{ NULL, "query", S2SP_OWN_WORDS_ANY },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(own_words(S2SP_STANZA_IQ_RESULT, rows[i].xmlns, rows[i].name), rows[i].own);
		assert_int_equal(own_words(S2SP_STANZA_IQ_ERROR, rows[i].xmlns, rows[i].name), S2SP_OWN_WORDS_NONE);
	}
}

static void test_what_is_published(void **state) {
	(void)state;
	for (int children = 0; children < 2; children++) {
		assert_true(s2sp_is_published(S2SP_TEXT("subscription"), children != 0));
		assert_int_equal(s2sp_is_published(S2SP_TEXT("items"), children != 0), children != 0);
		assert_int_equal(s2sp_is_published(S2SP_TEXT("subscriptions"), children != 0), children != 0);
		assert_int_equal(s2sp_is_published(S2SP_TEXT("affiliations"), children != 0), children != 0);
		assert_false(s2sp_is_published(S2SP_TEXT("configure"), children != 0));
	}
}

static void test_echoes(void **state) {
	(void)state;
	assert_true(s2sp_is_echo(S2SP_TEXT("xmlns")));
	assert_true(s2sp_is_echo(S2SP_TEXT("node")));
	assert_false(s2sp_is_echo(S2SP_TEXT("name")));
	assert_false(s2sp_is_echo(S2SP_TEXT("")));
}

static void test_what_is_replaced(void **state) {
	(void)state;
	for (int sees = S2SP_FACT_UNKNOWN; sees < S2SP_FACT_COUNT; sees++)
		assert_int_equal(s2sp_answer_is_replaced(true, (enum s2sp_answered)sees), S2SP_REPLACED_NO);
	assert_int_equal(s2sp_answer_is_replaced(false, S2SP_FACT_UNKNOWN), S2SP_REPLACED_NOT_KNOWN);
	assert_int_equal(s2sp_answer_is_replaced(false, S2SP_FACT_YES), S2SP_REPLACED_NO);
	assert_int_equal(s2sp_answer_is_replaced(false, S2SP_FACT_NO), S2SP_REPLACED_YES);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whose_words),
		cmocka_unit_test(test_what_is_published),
		cmocka_unit_test(test_echoes),
		cmocka_unit_test(test_what_is_replaced),
	};
	return cmocka_run_group_tests_name("spoken_answer", tests, NULL, NULL);
}
