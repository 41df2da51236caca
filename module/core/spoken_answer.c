#include "spoken_answer.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The first row that fits. An empty name or namespace fits any. */
static const struct {
	struct s2sp_text xmlns, name;
	enum s2sp_own_words own;
} payloads[] = {
	/* XEP-0202: the name alone, as hosts answer it in more than one namespace */
	{ { NULL, 0 }, S2SP_TEXT("time"), S2SP_OWN_WORDS_NONE },
	/* XEP-0090 */
	{ S2SP_TEXT("jabber:iq:time"), { NULL, 0 }, S2SP_OWN_WORDS_NONE },
	/* XEP-0060 8: an owner's answers are for the owner */
	{ S2SP_TEXT("http://jabber.org/protocol/pubsub#owner"), { NULL, 0 }, S2SP_OWN_WORDS_NONE },
	/* a personal eventing service describes its own ways to anybody */
	{ S2SP_TEXT("http://jabber.org/protocol/pubsub"), { NULL, 0 }, S2SP_OWN_WORDS_PUBLISHED },
};

enum s2sp_own_words s2sp_own_words(enum s2sp_stanza_kind kind, struct s2sp_text xmlns, struct s2sp_text name) {
	if (kind != S2SP_STANZA_IQ_RESULT || name.length == 0)
		return S2SP_OWN_WORDS_NONE;
	for (size_t i = 0; i < COUNT(payloads); i++) {
		if ((payloads[i].xmlns.length == 0 || s2sp_text_equal(payloads[i].xmlns, xmlns)) &&
			(payloads[i].name.length == 0 || s2sp_text_equal(payloads[i].name, name)))
			return payloads[i].own;
	}
	return S2SP_OWN_WORDS_ANY;
}

bool s2sp_is_published(struct s2sp_text name, bool has_children) {
	if (s2sp_text_equal(name, S2SP_TEXT("subscription")))
		return true;
	return has_children && (s2sp_text_equal(name, S2SP_TEXT("items")) || s2sp_text_equal(name, S2SP_TEXT("subscriptions")) ||
							s2sp_text_equal(name, S2SP_TEXT("affiliations")));
}

bool s2sp_is_echo(struct s2sp_text attribute) {
	return s2sp_text_equal(attribute, S2SP_TEXT("xmlns")) || s2sp_text_equal(attribute, S2SP_TEXT("node"));
}

enum s2sp_replaced s2sp_answer_is_replaced(bool says_something, enum s2sp_answered sees) {
	if (says_something || sees == S2SP_FACT_YES)
		return S2SP_REPLACED_NO;
	return sees == S2SP_FACT_UNKNOWN ? S2SP_REPLACED_NOT_KNOWN : S2SP_REPLACED_YES;
}
