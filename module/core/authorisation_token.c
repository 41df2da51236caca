/* Stanzas and facts by their names. */
#include "authorisation.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const kind_tokens[S2SP_STANZA_COUNT] = {
	[S2SP_STANZA_UNKNOWN] = "unknown",
	[S2SP_STANZA_MESSAGE] = "message",
	[S2SP_STANZA_GROUPCHAT] = "groupchat",
	[S2SP_STANZA_MESSAGE_ERROR] = "message-error",
	[S2SP_STANZA_PRESENCE] = "presence",
	[S2SP_STANZA_JOIN] = "join",
	[S2SP_STANZA_UNAVAILABLE] = "unavailable",
	[S2SP_STANZA_PRESENCE_ERROR] = "presence-error",
	[S2SP_STANZA_PROBE] = "probe",
	[S2SP_STANZA_SUBSCRIBE] = "subscribe",
	[S2SP_STANZA_SUBSCRIBED] = "subscribed",
	[S2SP_STANZA_UNSUBSCRIBE] = "unsubscribe",
	[S2SP_STANZA_UNSUBSCRIBED] = "unsubscribed",
	[S2SP_STANZA_IQ_GET] = "iq-get",
	[S2SP_STANZA_IQ_SET] = "iq-set",
	[S2SP_STANZA_IQ_RESULT] = "iq-result",
	[S2SP_STANZA_IQ_ERROR] = "iq-error",
	[S2SP_STANZA_SERVICE] = "service",
};

static const char *const local_tokens[S2SP_LOCAL_COUNT] = {
	[S2SP_LOCAL_UNKNOWN] = "unknown",     [S2SP_LOCAL_USER] = "user", [S2SP_LOCAL_HOST] = "host",
	[S2SP_LOCAL_COMPONENT] = "component", [S2SP_LOCAL_ROOM] = "room",
};

static const char *const need_tokens[S2SP_NEED_COUNT] = {
	[S2SP_NEED_NOTHING] = "nothing",   [S2SP_NEED_ACCESS] = "access",     [S2SP_NEED_ACCOUNT] = "account",
	[S2SP_NEED_LISTING] = "listed",    [S2SP_NEED_DIRECTED] = "directed", [S2SP_NEED_REQUESTED] = "requested",
	[S2SP_NEED_STANDING] = "standing", [S2SP_NEED_BLOCKED] = "blocked",   [S2SP_NEED_CONTACTS] = "contacts",
	[S2SP_NEED_WAITING] = "waiting",
};

/* Values of the facts from 1 on; 0 is unknown. */
enum { VALUES_MAX = 5 };
static const char *const value_tokens[S2SP_NEED_COUNT][VALUES_MAX] = {
	[S2SP_NEED_ACCESS] = { "denied", "allowed" },
	[S2SP_NEED_ACCOUNT] = { "missing", "exists" },
	[S2SP_NEED_LISTING] = { "unavailable", "no", "yes" },
	[S2SP_NEED_DIRECTED] = { "no", "yes" },
	[S2SP_NEED_REQUESTED] = { "no", "yes" },
	[S2SP_NEED_STANDING] = { "unavailable", "blocked", "cancelled", "none", "authorised" },
	[S2SP_NEED_BLOCKED] = { "no", "yes" },
	[S2SP_NEED_CONTACTS] = { "few", "many" },
	[S2SP_NEED_WAITING] = { "room", "full" },
};

const char *s2sp_stanza_kind_token(enum s2sp_stanza_kind kind) {
	return kind_tokens[(unsigned)kind < S2SP_STANZA_COUNT ? kind : S2SP_STANZA_UNKNOWN];
}

const char *s2sp_local_kind_token(enum s2sp_local_kind local) {
	return local_tokens[(unsigned)local < S2SP_LOCAL_COUNT ? local : S2SP_LOCAL_UNKNOWN];
}

const char *s2sp_need_token(enum s2sp_need need) {
	return need_tokens[(unsigned)need < S2SP_NEED_COUNT ? need : S2SP_NEED_NOTHING];
}

enum s2sp_stanza_kind s2sp_stanza_kind_from_token(struct s2sp_text token) {
	for (unsigned i = 1; i < S2SP_STANZA_COUNT; i++) {
		if (s2sp_text_equal(token, s2sp_text_from(kind_tokens[i])))
			return (enum s2sp_stanza_kind)i;
	}
	return S2SP_STANZA_UNKNOWN;
}

enum s2sp_local_kind s2sp_local_kind_from_token(struct s2sp_text token) {
	for (unsigned i = 1; i < S2SP_LOCAL_COUNT; i++) {
		if (s2sp_text_equal(token, s2sp_text_from(local_tokens[i])))
			return (enum s2sp_local_kind)i;
	}
	return S2SP_LOCAL_UNKNOWN;
}

int s2sp_fact_from_token(enum s2sp_need need, struct s2sp_text token) {
	if ((unsigned)need >= S2SP_NEED_COUNT)
		return 0;
	for (int i = 0; i < VALUES_MAX && value_tokens[need][i] != NULL; i++) {
		if (s2sp_text_equal(token, s2sp_text_from(value_tokens[need][i])))
			return i + 1;
	}
	return 0;
}

void s2sp_fact_set(struct s2sp_stanza_facts *facts, enum s2sp_need need, int value) {
	if (value < 0)
		return;
	unsigned known = (unsigned)value;
	switch (need) {
	case S2SP_NEED_ACCESS:
		if (known < S2SP_ACCESS_COUNT)
			facts->access = (enum s2sp_access)known;
		break;
	case S2SP_NEED_ACCOUNT:
		if (known < S2SP_ACCOUNT_COUNT)
			facts->account = (enum s2sp_account)known;
		break;
	case S2SP_NEED_LISTING:
		if (known < S2SP_LISTING_COUNT)
			facts->listing = (enum s2sp_listing)known;
		break;
	case S2SP_NEED_DIRECTED:
		if (known < S2SP_FACT_COUNT)
			facts->directed = (enum s2sp_answered)known;
		break;
	case S2SP_NEED_REQUESTED:
		if (known < S2SP_FACT_COUNT)
			facts->requested = (enum s2sp_answered)known;
		break;
	case S2SP_NEED_STANDING:
		if (known < S2SP_STANDING_COUNT)
			facts->standing = (enum s2sp_standing)known;
		break;
	case S2SP_NEED_BLOCKED:
		if (known < S2SP_FACT_COUNT)
			facts->blocked = (enum s2sp_answered)known;
		break;
	case S2SP_NEED_CONTACTS:
		if (known < S2SP_CONTACTS_COUNT)
			facts->contacts = (enum s2sp_contacts)known;
		break;
	case S2SP_NEED_WAITING:
		if (known < S2SP_WAITING_COUNT)
			facts->waiting = (enum s2sp_waiting)known;
		break;
	case S2SP_NEED_NOTHING:
	case S2SP_NEED_COUNT: break;
	}
}

/* RFC 6121 5.2.2: a type of message that is not understood is "normal". */
static enum s2sp_stanza_kind message_kind(struct s2sp_text type) {
	if (s2sp_text_equal(type, S2SP_TEXT("groupchat")))
		return S2SP_STANZA_GROUPCHAT;
	if (s2sp_text_equal(type, S2SP_TEXT("error")))
		return S2SP_STANZA_MESSAGE_ERROR;
	return S2SP_STANZA_MESSAGE;
}

static enum s2sp_stanza_kind typed_kind(struct s2sp_text type, const char *const types[], const enum s2sp_stanza_kind kinds[],
										size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (s2sp_text_equal(type, s2sp_text_from(types[i])))
			return kinds[i];
	}
	return S2SP_STANZA_UNKNOWN;
}

enum s2sp_stanza_kind s2sp_stanza_kind_of(struct s2sp_text name, struct s2sp_text type) {
	static const char *const presence_types[] = { "",          "unavailable", "error",       "probe",
												  "subscribe", "subscribed",  "unsubscribe", "unsubscribed" };
	static const enum s2sp_stanza_kind presence_kinds[] = {
		S2SP_STANZA_PRESENCE,  S2SP_STANZA_UNAVAILABLE, S2SP_STANZA_PRESENCE_ERROR, S2SP_STANZA_PROBE,
		S2SP_STANZA_SUBSCRIBE, S2SP_STANZA_SUBSCRIBED,  S2SP_STANZA_UNSUBSCRIBE,    S2SP_STANZA_UNSUBSCRIBED,
	};
	static const char *const iq_types[] = { "get", "set", "result", "error" };
	static const enum s2sp_stanza_kind iq_kinds[] = { S2SP_STANZA_IQ_GET, S2SP_STANZA_IQ_SET, S2SP_STANZA_IQ_RESULT,
													  S2SP_STANZA_IQ_ERROR };
	if (s2sp_text_equal(name, S2SP_TEXT("message")))
		return message_kind(type);
	if (s2sp_text_equal(name, S2SP_TEXT("presence")))
		return typed_kind(type, presence_types, presence_kinds, COUNT(presence_types));
	if (s2sp_text_equal(name, S2SP_TEXT("iq")))
		return typed_kind(type, iq_types, iq_kinds, COUNT(iq_types));
	return S2SP_STANZA_UNKNOWN;
}

static bool begins_with(struct s2sp_text text, struct s2sp_text start) {
	return text.length > start.length && memcmp(text.bytes, start.bytes, start.length) == 0;
}

bool s2sp_is_personal_event(struct s2sp_text node) {
	static const char *const others[] = {
		"urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata",         "http://jabber.org/protocol/nick",
		"urn:xmpp:vcard4",      "urn:ietf:params:xml:ns:vcard-4.0", "urn:xmpp:openpgp:0",
	};
	static const char *const families[] = { "eu.siacs.conversations.axolotl.", "urn:xmpp:omemo:", "urn:xmpp:openpgp:0:" };
	for (size_t i = 0; i < COUNT(others); i++) {
		if (s2sp_text_equal(node, s2sp_text_from(others[i])))
			return false;
	}
	for (size_t i = 0; i < COUNT(families); i++) {
		if (begins_with(node, s2sp_text_from(families[i])))
			return false;
	}
	return true;
}

bool s2sp_is_service(struct s2sp_text xmlns, struct s2sp_text name) {
	/* XEP-0030, XEP-0199, XEP-0092, XEP-0202 */
	static const char *const services[][2] = {
		{ "http://jabber.org/protocol/disco#info", "query" },
		{ "http://jabber.org/protocol/disco#items", "query" },
		{ "urn:xmpp:ping", "ping" },
		{ "jabber:iq:version", "query" },
		{ "urn:xmpp:time", "time" },
	};
	for (size_t i = 0; i < COUNT(services); i++) {
		if (s2sp_text_equal(xmlns, s2sp_text_from(services[i][0])) && s2sp_text_equal(name, s2sp_text_from(services[i][1])))
			return true;
	}
	return false;
}
