#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "authorisation.h"

/* --- the table, row by row --- */

enum column {
	TYPE,
	DIRECTION,
	STANZA,
	LOCAL,
	GROUP_CHAT,
	PRESENCE_AUTHORIZATION,
	ACCESS,
	ACCOUNT,
	LISTED,
	DIRECTED,
	REQUESTED,
	STANDING,
	BLOCKED,
	CONTACTS,
	WAITING,
	VERDICT,
	REASON,
	CHANGE,
	REPLY,
	COLUMNS
};

static const enum s2sp_need need_of_column[COLUMNS] = {
	[ACCESS] = S2SP_NEED_ACCESS,     [ACCOUNT] = S2SP_NEED_ACCOUNT,     [LISTED] = S2SP_NEED_LISTING,
	[DIRECTED] = S2SP_NEED_DIRECTED, [REQUESTED] = S2SP_NEED_REQUESTED, [STANDING] = S2SP_NEED_STANDING,
	[BLOCKED] = S2SP_NEED_BLOCKED,   [CONTACTS] = S2SP_NEED_CONTACTS,   [WAITING] = S2SP_NEED_WAITING,
};

static enum s2sp_partner_type type_named(const char *token) {
	for (int type = S2SP_PUBLIC_UNVERIFIED; type <= S2SP_FEDERATED; type++) {
		if (strcmp(token, s2sp_partner_type_token((enum s2sp_partner_type)type)) == 0)
			return (enum s2sp_partner_type)type;
	}
	fail_msg("no such partner type: %s", token);
	return S2SP_PUBLIC_UNVERIFIED;
}

static const char *reply_token(enum s2sp_reply reply) {
	switch (reply) {
	case S2SP_REPLY_NONE: return "none";
	case S2SP_REPLY_ERROR: return "error";
	case S2SP_REPLY_ERROR_IF_DIRECTED: return "error-if-directed";
	case S2SP_REPLY_UNAVAILABLE: return "unavailable";
	}
	return "?";
}

static int split(char *line, char *fields[COLUMNS]) {
	int count = 0;
	line[strcspn(line, "\r\n")] = '\0';
	for (char *field = line; field != NULL && count < COLUMNS; count++) {
		char *tab = strchr(field, '\t');
		fields[count] = field;
		if (tab != NULL)
			*tab++ = '\0';
		field = tab;
	}
	return count;
}

static struct s2sp_stanza_facts facts_of(char *fields[COLUMNS], bool group_chat, bool automatic) {
	struct s2sp_stanza_facts facts = {
		.partner_type = type_named(fields[TYPE]),
		.direction = strcmp(fields[DIRECTION], "out") == 0 ? S2SP_OUTGOING : S2SP_INCOMING,
		.kind = s2sp_stanza_kind_from_token(s2sp_text_from(fields[STANZA])),
		.local = s2sp_local_kind_from_token(s2sp_text_from(fields[LOCAL])),
		.group_chat = group_chat,
		.presence_automatic = automatic,
		.spellings = strcmp(fields[BLOCKED], "-") != 0,
	};
	assert_int_not_equal(facts.kind, S2SP_STANZA_UNKNOWN);
	assert_int_not_equal(facts.local, S2SP_LOCAL_UNKNOWN);
	for (int column = ACCESS; column <= WAITING; column++) {
		if (strcmp(fields[column], "-") == 0)
			continue;
		int value = s2sp_fact_from_token(need_of_column[column], s2sp_text_from(fields[column]));
		assert_int_not_equal(value, 0);
		s2sp_fact_set(&facts, need_of_column[column], value);
	}
	return facts;
}

static void check_row(char *fields[COLUMNS], const struct s2sp_stanza_facts *facts, int number) {
	struct s2sp_authorisation found = s2sp_authorise(facts);
	const char *verdict = found.verdict == S2SP_VERDICT_ALLOW    ? "allow"
						  : found.verdict == S2SP_VERDICT_REFUSE ? "refuse"
																 : "wait";
	const char *reason = s2sp_reason_row(found.reason)->token;
	const char *change = s2sp_reason_row(found.change)->token;
	if (strcmp(verdict, fields[VERDICT]) != 0 || strcmp(reason, fields[REASON]) != 0 || strcmp(change, fields[CHANGE]) != 0 ||
		strcmp(reply_token(found.reply), fields[REPLY]) != 0)
		fail_msg("row %d: %s %s %s, expected %s %s %s; found %s %s %s %s (%s; needs %s)", number, fields[TYPE], fields[DIRECTION],
				 fields[STANZA], fields[VERDICT], fields[REASON], fields[CHANGE], verdict, reason, change,
				 reply_token(found.reply), found.rule, s2sp_need_token(found.need));
	assert_true(found.rule != NULL && found.rule[0] != '\0');
	assert_int_equal(found.need, S2SP_NEED_NOTHING);
}

/* "-" has no influence: a fact that stays unknown is never asked for, a setting that has either value changes nothing. */
static void test_every_combination(void **state) {
	(void)state;
	FILE *file = fopen("fixtures/authorisation.tsv", "r");
	assert_non_null(file);
	char line[512], *fields[COLUMNS];
	int rows = 0;
	assert_non_null(fgets(line, sizeof(line), file));
	assert_int_equal(split(line, fields), COLUMNS);
	assert_string_equal(fields[REPLY], "reply");
	while (fgets(line, sizeof(line), file) != NULL) {
		assert_int_equal(split(line, fields), COLUMNS);
		bool group_chat = strcmp(fields[GROUP_CHAT], "allow") == 0;
		for (int automatic = 0; automatic < 2; automatic++) {
			if (strcmp(fields[PRESENCE_AUTHORIZATION], automatic ? "user" : "automatic") == 0)
				continue;
			struct s2sp_stanza_facts facts = facts_of(fields, group_chat, automatic != 0);
			check_row(fields, &facts, rows + 2);
		}
		rows++;
	}
	fclose(file);
	assert_true(rows > 2000);
}

/* --- properties, over every combination of every value, whether it applies or not --- */

typedef void check(const struct s2sp_stanza_facts *facts);

/* Facts that only a few rules ask for. */
static const struct {
	bool spellings;
	enum s2sp_answered blocked;
	enum s2sp_contacts contacts;
	enum s2sp_waiting waiting;
} rare[] = {
	{ false, S2SP_FACT_NO, S2SP_CONTACTS_FEW, S2SP_WAITING_ROOM },
	{ false, S2SP_FACT_YES, S2SP_CONTACTS_MANY, S2SP_WAITING_ROOM },
	{ false, S2SP_FACT_NO, S2SP_CONTACTS_MANY, S2SP_WAITING_FULL },
	{ true, S2SP_FACT_YES, S2SP_CONTACTS_FEW, S2SP_WAITING_ROOM },
	{ true, S2SP_FACT_NO, S2SP_CONTACTS_FEW, S2SP_WAITING_FULL },
};

static void each_rare(struct s2sp_stanza_facts facts, check *property) {
	for (size_t i = 0; i < sizeof(rare) / sizeof(rare[0]); i++) {
		facts.spellings = rare[i].spellings;
		facts.blocked = rare[i].blocked;
		facts.contacts = rare[i].contacts;
		facts.waiting = rare[i].waiting;
		property(&facts);
	}
}

static void each_lookup(struct s2sp_stanza_facts facts, check *property) {
	for (int access = 1; access < S2SP_ACCESS_COUNT; access++)
		for (int account = 1; account < S2SP_ACCOUNT_COUNT; account++)
			for (int listing = 1; listing < S2SP_LISTING_COUNT; listing++)
				for (int directed = 1; directed < S2SP_FACT_COUNT; directed++)
					for (int requested = 1; requested < S2SP_FACT_COUNT; requested++)
						for (int standing = 1; standing < S2SP_STANDING_COUNT; standing++) {
							s2sp_fact_set(&facts, S2SP_NEED_ACCESS, access);
							s2sp_fact_set(&facts, S2SP_NEED_ACCOUNT, account);
							s2sp_fact_set(&facts, S2SP_NEED_LISTING, listing);
							s2sp_fact_set(&facts, S2SP_NEED_DIRECTED, directed);
							s2sp_fact_set(&facts, S2SP_NEED_REQUESTED, requested);
							s2sp_fact_set(&facts, S2SP_NEED_STANDING, standing);
							each_rare(facts, property);
						}
}

static void each(check *property) {
	struct s2sp_stanza_facts facts = { .kind = S2SP_STANZA_UNKNOWN };
	for (int type = 0; type <= S2SP_FEDERATED; type++)
		for (int direction = 0; direction < 2; direction++)
			for (int kind = 1; kind < S2SP_STANZA_COUNT; kind++)
				for (int local = 1; local < S2SP_LOCAL_COUNT; local++)
					for (int settings = 0; settings < 4; settings++) {
						facts.partner_type = (enum s2sp_partner_type)type;
						facts.direction = (enum s2sp_direction)direction;
						facts.kind = (enum s2sp_stanza_kind)kind;
						facts.local = (enum s2sp_local_kind)local;
						facts.group_chat = settings & 1;
						facts.presence_automatic = (settings & 2) != 0;
						each_lookup(facts, property);
					}
}

static bool allows(const struct s2sp_stanza_facts *facts) {
	return s2sp_authorise(facts).verdict == S2SP_VERDICT_ALLOW;
}

static void is_total(const struct s2sp_stanza_facts *facts) {
	struct s2sp_authorisation found = s2sp_authorise(facts);
	assert_true(found.verdict == S2SP_VERDICT_ALLOW || found.verdict == S2SP_VERDICT_REFUSE);
	assert_int_equal(found.need, S2SP_NEED_NOTHING);
	assert_true(found.rule[0] != '\0');
	if (found.verdict == S2SP_VERDICT_ALLOW) {
		assert_int_equal(found.reason, S2SP_REASON_NONE);
		assert_int_equal(found.reply, S2SP_REPLY_NONE);
		return;
	}
	assert_int_equal(found.change, S2SP_REASON_NONE);
	assert_true(found.reason >= S2SP_REASON_EXTERNAL_ACCESS_DENIED && found.reason <= S2SP_REASON_GROUP_CHAT_REFUSED);
}

static void test_every_stanza_gets_a_verdict_and_every_refusal_a_reason(void **state) {
	(void)state;
	each(is_total);
}

/* A higher type never loses what a lower one has, all else being equal but what is that type's own (automatic authorisation). */
static void grows_with_trust(const struct s2sp_stanza_facts *facts) {
	if (facts->partner_type == S2SP_FEDERATED)
		return;
	bool subscription = facts->kind == S2SP_STANZA_SUBSCRIBE && facts->direction == S2SP_INCOMING;
	if (subscription && facts->partner_type == S2SP_PUBLIC_UNVERIFIED)
		return;
	struct s2sp_stanza_facts higher = *facts;
	higher.partner_type = (enum s2sp_partner_type)(facts->partner_type + 1);
	if (allows(facts))
		assert_true(allows(&higher));
}

static void test_trust_is_monotonic(void **state) {
	(void)state;
	each(grows_with_trust);
}

/* Listing, existence, access and group_chat = allow never take anything away. */
static void grows_with_facts(const struct s2sp_stanza_facts *facts) {
	if (!allows(facts))
		return;
	struct s2sp_stanza_facts more = *facts;
	more.listing = S2SP_LISTING_YES;
	assert_true(allows(&more));
	more.access = S2SP_ACCESS_ALLOWED;
	more.account = S2SP_ACCOUNT_EXISTS;
	assert_true(allows(&more));
	more.directed = S2SP_FACT_YES;
	assert_true(allows(&more));
	more.requested = S2SP_FACT_YES;
	assert_true(allows(&more));
	more.group_chat = true;
	assert_true(allows(&more));
}

static void test_facts_are_monotonic(void **state) {
	(void)state;
	each(grows_with_facts);
}

static void denied_is_as_missing(const struct s2sp_stanza_facts *facts) {
	if (facts->local != S2SP_LOCAL_USER || facts->direction != S2SP_INCOMING)
		return;
	struct s2sp_stanza_facts denied = *facts, missing = *facts;
	denied.access = S2SP_ACCESS_DENIED;
	missing.access = S2SP_ACCESS_ALLOWED;
	missing.account = S2SP_ACCOUNT_MISSING;
	struct s2sp_authorisation one = s2sp_authorise(&denied), other = s2sp_authorise(&missing);
	assert_int_equal(one.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(other.verdict, S2SP_VERDICT_REFUSE);
	assert_int_equal(one.reply, other.reply);
	/* and so is every other refusal */
	struct s2sp_authorisation any = s2sp_authorise(facts);
	if (any.verdict == S2SP_VERDICT_REFUSE)
		assert_int_equal(any.reply, other.reply);
}

static void test_refusals_look_alike(void **state) {
	(void)state;
	each(denied_is_as_missing);
}

/* "no groupchat messages, no use of hosts without rosters, either direction"; one-to-one rules of listing hold either way. */
static void both_directions_alike(const struct s2sp_stanza_facts *facts) {
	bool rosterless = facts->local == S2SP_LOCAL_COMPONENT || facts->local == S2SP_LOCAL_ROOM;
	struct s2sp_stanza_facts view = *facts;
	view.access = S2SP_ACCESS_ALLOWED;
	view.account = S2SP_ACCOUNT_EXISTS;
	view.requested = S2SP_FACT_NO;
	view.standing = S2SP_STANDING_AUTHORISED;
	struct s2sp_stanza_facts back = view;
	back.direction = view.direction == S2SP_INCOMING ? S2SP_OUTGOING : S2SP_INCOMING;
	if (view.kind == S2SP_STANZA_GROUPCHAT || view.kind == S2SP_STANZA_MESSAGE)
		assert_int_equal(allows(&view), allows(&back));
	if ((view.kind == S2SP_STANZA_IQ_GET || view.kind == S2SP_STANZA_IQ_SET) && view.local != S2SP_LOCAL_HOST)
		assert_int_equal(allows(&view), allows(&back));
	if (rosterless && !view.group_chat && view.kind == S2SP_STANZA_PRESENCE)
		assert_true(!allows(&view) && !allows(&back));
}

static void test_directions_are_symmetric(void **state) {
	(void)state;
	each(both_directions_alike);
}

/* The trusted types' traffic asks for no roster; what lowers the contact's view, and adding, ask for none either. */
static void test_what_is_asked_for(void **state) {
	(void)state;
	struct s2sp_stanza_facts facts = { .local = S2SP_LOCAL_USER, .group_chat = true, .presence_automatic = true };
	for (int kind = 1; kind < S2SP_STANZA_COUNT; kind++) {
		for (int direction = 0; direction < 2; direction++) {
			facts.partner_type = S2SP_FEDERATED;
			facts.direction = (enum s2sp_direction)direction;
			facts.kind = (enum s2sp_stanza_kind)kind;
			facts.access = S2SP_ACCESS_UNKNOWN;
			facts.account = S2SP_ACCOUNT_UNKNOWN;
			assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_ACCESS);
			facts.access = S2SP_ACCESS_ALLOWED;
			if (direction == S2SP_INCOMING) {
				assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_ACCOUNT);
				facts.account = S2SP_ACCOUNT_EXISTS;
			}
			bool subscription = kind == S2SP_STANZA_SUBSCRIBE && direction == S2SP_INCOMING;
			assert_int_equal(s2sp_authorise(&facts).need, subscription ? S2SP_NEED_STANDING : S2SP_NEED_NOTHING);
		}
	}
	facts = (struct s2sp_stanza_facts){ .partner_type = S2SP_PUBLIC_UNVERIFIED,
										.direction = S2SP_OUTGOING,
										.local = S2SP_LOCAL_USER,
										.kind = S2SP_STANZA_SUBSCRIBE,
										.access = S2SP_ACCESS_ALLOWED };
	assert_true(allows(&facts));
	facts.kind = S2SP_STANZA_UNAVAILABLE;
	assert_true(allows(&facts));
	facts.kind = S2SP_STANZA_MESSAGE;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_LISTING);
	facts.group_chat = true;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_DIRECTED);
}

/* Where an address can be written in one way only, the host's own block list is enough; nor is a stranger's stanza worth a look. */
static void test_when_blocks_are_asked_for(void **state) {
	(void)state;
	struct s2sp_stanza_facts facts = { .partner_type = S2SP_FEDERATED,
									   .kind = S2SP_STANZA_MESSAGE,
									   .local = S2SP_LOCAL_USER,
									   .access = S2SP_ACCESS_ALLOWED,
									   .account = S2SP_ACCOUNT_EXISTS };
	assert_true(allows(&facts));
	facts.spellings = true;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_BLOCKED);
	facts.direction = S2SP_OUTGOING;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_BLOCKED);
	facts.kind = S2SP_STANZA_UNAVAILABLE;
	assert_true(allows(&facts));
	facts = (struct s2sp_stanza_facts){ .partner_type = S2SP_PUBLIC_UNVERIFIED,
										.kind = S2SP_STANZA_MESSAGE,
										.local = S2SP_LOCAL_USER,
										.access = S2SP_ACCESS_ALLOWED,
										.account = S2SP_ACCOUNT_EXISTS,
										.spellings = true,
										.listing = S2SP_LISTING_NO };
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_NOT_LISTED);
}

/* The roster is counted only when a contact is about to be authorised, and what waits only when there will be one more. */
static void test_when_there_is_counting(void **state) {
	(void)state;
	struct s2sp_stanza_facts facts = { .partner_type = S2SP_FEDERATED,
									   .kind = S2SP_STANZA_SUBSCRIBE,
									   .local = S2SP_LOCAL_USER,
									   .access = S2SP_ACCESS_ALLOWED,
									   .account = S2SP_ACCOUNT_EXISTS,
									   .presence_automatic = true };
	facts.standing = S2SP_STANDING_AUTHORISED;
	assert_true(allows(&facts));
	facts.standing = S2SP_STANDING_CANCELLED;
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_CANCELLED_BY_USER);
	facts.standing = S2SP_STANDING_NONE;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_CONTACTS);
	facts.contacts = S2SP_CONTACTS_FEW;
	assert_int_equal(s2sp_authorise(&facts).change, S2SP_REASON_SUBSCRIPTION_AUTHORISED);
	facts.contacts = S2SP_CONTACTS_MANY;
	assert_int_equal(s2sp_authorise(&facts).need, S2SP_NEED_WAITING);
	facts.waiting = S2SP_WAITING_ROOM;
	assert_true(allows(&facts));
	assert_int_equal(s2sp_authorise(&facts).change, S2SP_REASON_NONE);
	facts.waiting = S2SP_WAITING_FULL;
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_NOT_LISTED);
	facts.presence_automatic = false;
	facts.contacts = S2SP_CONTACTS_UNKNOWN;
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_NOT_LISTED);
}

static void test_nonsense_is_refused(void **state) {
	(void)state;
	struct s2sp_stanza_facts facts = { .kind = S2SP_STANZA_UNKNOWN };
	assert_int_equal(s2sp_authorise(&facts).verdict, S2SP_VERDICT_REFUSE);
	facts =
		(struct s2sp_stanza_facts){ .partner_type = S2SP_FEDERATED, .kind = S2SP_STANZA_MESSAGE, .local = S2SP_LOCAL_UNKNOWN };
	assert_int_equal(s2sp_authorise(&facts).verdict, S2SP_VERDICT_REFUSE);
	facts.local = S2SP_LOCAL_HOST;
	assert_true(allows(&facts));
	facts.kind = S2SP_STANZA_COUNT;
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_INTERNAL_ERROR);
	facts.kind = S2SP_STANZA_MESSAGE;
	facts.listing = S2SP_LISTING_COUNT;
	assert_int_equal(s2sp_authorise(&facts).reason, S2SP_REASON_INTERNAL_ERROR);
}

static void test_kinds_by_name_and_type(void **state) {
	(void)state;
	static const struct {
		const char *name, *type;
		enum s2sp_stanza_kind kind;
	} cases[] = {
		{ "message", "", S2SP_STANZA_MESSAGE },
		{ "message", "chat", S2SP_STANZA_MESSAGE },
		{ "message", "headline", S2SP_STANZA_MESSAGE },
		{ "message", "normal", S2SP_STANZA_MESSAGE },
		{ "message", "nonsense", S2SP_STANZA_MESSAGE },
		{ "message", "groupchat", S2SP_STANZA_GROUPCHAT },
		{ "message", "error", S2SP_STANZA_MESSAGE_ERROR },
		{ "presence", "", S2SP_STANZA_PRESENCE },
		{ "presence", "probe", S2SP_STANZA_PROBE },
		{ "presence", "unsubscribed", S2SP_STANZA_UNSUBSCRIBED },
		{ "presence", "available", S2SP_STANZA_UNKNOWN },
		{ "iq", "get", S2SP_STANZA_IQ_GET },
		{ "iq", "", S2SP_STANZA_UNKNOWN },
		{ "iq", "nonsense", S2SP_STANZA_UNKNOWN },
		{ "db:verify", "", S2SP_STANZA_UNKNOWN },
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(s2sp_stanza_kind_of(s2sp_text_from(cases[i].name), s2sp_text_from(cases[i].type)), cases[i].kind);
	assert_true(s2sp_is_service(S2SP_TEXT("urn:xmpp:ping"), S2SP_TEXT("ping")));
	assert_false(s2sp_is_service(S2SP_TEXT("urn:xmpp:ping"), S2SP_TEXT("query")));
	assert_false(s2sp_is_service(S2SP_TEXT("jabber:iq:last"), S2SP_TEXT("query")));
}

/* Personal events are notes: they go where they may, and only what leaves a user carries any. */
static void test_personal_events(void **state) {
	(void)state;
	for (int type = S2SP_PUBLIC_UNVERIFIED; type <= S2SP_FEDERATED; type++) {
		for (int kind = 1; kind < S2SP_STANZA_COUNT; kind++) {
			for (int local = 1; local < S2SP_LOCAL_COUNT; local++) {
				for (int bits = 0; bits < 4; bits++) {
					struct s2sp_stanza_facts facts = {
						.partner_type = (enum s2sp_partner_type)type,
						.kind = (enum s2sp_stanza_kind)kind,
						.local = (enum s2sp_local_kind)local,
						.direction = bits & 1 ? S2SP_OUTGOING : S2SP_INCOMING,
						.personal_events = (bits & 2) != 0,
						.group_chat = true,
						.access = S2SP_ACCESS_ALLOWED,
						.account = S2SP_ACCOUNT_EXISTS,
						.listing = S2SP_LISTING_YES,
						.directed = S2SP_FACT_YES,
						.requested = S2SP_FACT_YES,
						.standing = S2SP_STANDING_AUTHORISED,
						.blocked = S2SP_FACT_NO,
						.contacts = S2SP_CONTACTS_FEW,
						.waiting = S2SP_WAITING_ROOM,
					};
					bool carries = (kind == S2SP_STANZA_MESSAGE || kind == S2SP_STANZA_GROUPCHAT ||
									kind == S2SP_STANZA_MESSAGE_ERROR || kind == S2SP_STANZA_IQ_RESULT) &&
								   local == S2SP_LOCAL_USER && (bits & 1) != 0;
					struct s2sp_authorisation decision = s2sp_authorise(&facts);
					assert_int_equal(decision.personal_events,
									 decision.verdict == S2SP_VERDICT_ALLOW && (!carries || facts.personal_events));
				}
			}
		}
	}
	static const struct {
		const char *node;
		bool personal;
	} nodes[] = {
		{ "http://jabber.org/protocol/mood", true },
		{ "http://jabber.org/protocol/geoloc", true },
		{ "http://jabber.org/protocol/tune", true },
		{ "http://jabber.org/protocol/activity", true },
		{ "urn:lab:other", true },
		{ "", true },
		{ "urn:xmpp:avatar:data", false },
		{ "urn:xmpp:avatar:metadata", false },
		{ "urn:xmpp:avatar:data/", true },
		{ "URN:XMPP:AVATAR:DATA", true },
		{ "http://jabber.org/protocol/nick", false },
		{ "http://jabber.org/protocol/nick#", true },
		{ "urn:xmpp:vcard4", false },
		{ "urn:xmpp:omemo:2:devices", false },
		{ "urn:xmpp:omemo:", true },
		{ "urn:xmpp:omemo", true },
		{ "eu.siacs.conversations.axolotl.devicelist", false },
		{ "urn:xmpp:openpgp:0", false },
		{ "urn:xmpp:openpgp:0:public-keys", false },
		{ "urn:xmpp:openpgp", true },
	};
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		assert_int_equal(s2sp_is_personal_event(s2sp_text_from(nodes[i].node)), nodes[i].personal);
	assert_true(s2sp_is_personal_event((struct s2sp_text){ NULL, 0 }));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_combination),
		cmocka_unit_test(test_every_stanza_gets_a_verdict_and_every_refusal_a_reason),
		cmocka_unit_test(test_trust_is_monotonic),
		cmocka_unit_test(test_facts_are_monotonic),
		cmocka_unit_test(test_refusals_look_alike),
		cmocka_unit_test(test_directions_are_symmetric),
		cmocka_unit_test(test_what_is_asked_for),
		cmocka_unit_test(test_when_blocks_are_asked_for),
		cmocka_unit_test(test_when_there_is_counting),
		cmocka_unit_test(test_nonsense_is_refused),
		cmocka_unit_test(test_kinds_by_name_and_type),
		cmocka_unit_test(test_personal_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
