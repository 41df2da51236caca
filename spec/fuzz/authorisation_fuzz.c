/*
 * Authorisation. Input: one byte a fact, then names and types of stanzas and payloads. Every fact is looked up when asked for and only then;
 * the end must be a verdict, the same as with all facts known from the start, and none that a rule
 * of docs/partner-types.md (P1 to P31) excludes in so many words. Facts out of range refuse.
 */
#include "authorisation.h"
#include "fuzz.h"

static const int counts[S2SP_NEED_COUNT] = {
	[S2SP_NEED_ACCESS] = S2SP_ACCESS_COUNT,   [S2SP_NEED_ACCOUNT] = S2SP_ACCOUNT_COUNT,
	[S2SP_NEED_LISTING] = S2SP_LISTING_COUNT, [S2SP_NEED_DIRECTED] = S2SP_FACT_COUNT,
	[S2SP_NEED_REQUESTED] = S2SP_FACT_COUNT,  [S2SP_NEED_STANDING] = S2SP_STANDING_COUNT,
	[S2SP_NEED_BLOCKED] = S2SP_FACT_COUNT,    [S2SP_NEED_CONTACTS] = S2SP_CONTACTS_COUNT,
	[S2SP_NEED_WAITING] = S2SP_WAITING_COUNT,
};

static void check_properties(const struct s2sp_stanza_facts *facts, const struct s2sp_authorisation *found) {
	bool in = facts->direction == S2SP_INCOMING, user = facts->local == S2SP_LOCAL_USER;
	CHECK(found->verdict != S2SP_VERDICT_WAIT && found->need == S2SP_NEED_NOTHING);
	CHECK(found->rule != NULL && found->rule[0] != '\0');
	if (found->verdict == S2SP_VERDICT_REFUSE) {
		CHECK(found->reason != S2SP_REASON_NONE && found->change == S2SP_REASON_NONE);
		return;
	}
	CHECK(found->verdict == S2SP_VERDICT_ALLOW && found->reason == S2SP_REASON_NONE && found->reply == S2SP_REPLY_NONE);
	CHECK(facts->kind != S2SP_STANZA_UNKNOWN && facts->local != S2SP_LOCAL_UNKNOWN);
	CHECK(facts->group_chat || facts->kind != S2SP_STANZA_GROUPCHAT);
	if (user) {
		CHECK(facts->access == S2SP_ACCESS_ALLOWED);
		CHECK(!in || facts->account == S2SP_ACCOUNT_EXISTS);
		CHECK(!in || !facts->spellings || facts->blocked == S2SP_FACT_NO);
	}
	bool talk = facts->kind == S2SP_STANZA_MESSAGE || facts->kind == S2SP_STANZA_IQ_GET || facts->kind == S2SP_STANZA_IQ_SET;
	if (user && talk && facts->partner_type == S2SP_PUBLIC_UNVERIFIED)
		CHECK(facts->listing == S2SP_LISTING_YES || (facts->group_chat && facts->directed == S2SP_FACT_YES) ||
			  facts->requested == S2SP_FACT_YES);
	if (found->change == S2SP_REASON_SUBSCRIPTION_AUTHORISED)
		CHECK(in && user && facts->presence_automatic && facts->kind == S2SP_STANZA_SUBSCRIBE &&
			  facts->standing != S2SP_STANDING_BLOCKED && facts->standing != S2SP_STANDING_CANCELLED &&
			  facts->standing != S2SP_STANDING_UNAVAILABLE && facts->contacts == S2SP_CONTACTS_FEW);
	else if (found->change != S2SP_REASON_NONE)
		CHECK(found->change == S2SP_REASON_STATUS_NOTE_REMOVED && facts->partner_type != S2SP_FEDERATED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct choices choices = { data, size };
	struct s2sp_stanza_facts facts = {
		.partner_type = (enum s2sp_partner_type)choose(&choices, 3),
		.direction = (enum s2sp_direction)choose(&choices, 2),
		.kind = (enum s2sp_stanza_kind)choose(&choices, S2SP_STANZA_COUNT),
		.local = (enum s2sp_local_kind)choose(&choices, S2SP_LOCAL_COUNT),
		.group_chat = choose(&choices, 2),
		.presence_automatic = choose(&choices, 2),
		.spellings = choose(&choices, 2),
		.personal_events = choose(&choices, 2),
	};
	struct s2sp_stanza_facts known = facts, asked = facts;
	int values[S2SP_NEED_COUNT] = { 0 };
	for (int need = 1; need < S2SP_NEED_COUNT; need++) {
		/* One more than there are: left out. */
		values[need] = 1 + (int)choose(&choices, (unsigned)counts[need] - 1);
		s2sp_fact_set(&known, (enum s2sp_need)need, values[need]);
		struct s2sp_stanza_facts same = known;
		s2sp_fact_set(&same, (enum s2sp_need)need, counts[need] + (int)choose(&choices, 256));
		CHECK(same.access == known.access && same.standing == known.standing && same.listing == known.listing);
	}
	struct s2sp_authorisation found = s2sp_authorise(&asked);
	for (int step = 0; found.verdict == S2SP_VERDICT_WAIT; step++) {
		CHECK(step < S2SP_NEED_COUNT && found.need > S2SP_NEED_NOTHING && found.need < S2SP_NEED_COUNT);
		s2sp_fact_set(&asked, found.need, values[found.need]);
		struct s2sp_authorisation next = s2sp_authorise(&asked);
		CHECK(next.verdict != S2SP_VERDICT_WAIT || next.need != found.need);
		found = next;
	}
	struct s2sp_authorisation whole = s2sp_authorise(&known);
	CHECK(whole.verdict == found.verdict && whole.reason == found.reason && whole.change == found.change &&
		  whole.reply == found.reply && whole.rule == found.rule);
	check_properties(&known, &found);

	struct s2sp_stanza_facts nonsense = known;
	unsigned wrong = choose(&choices, 4);
	int by = 1 + (int)choose(&choices, 255);
	if (wrong == 0)
		nonsense.kind = (enum s2sp_stanza_kind)(S2SP_STANZA_COUNT - 1 + by);
	else if (wrong == 1)
		nonsense.listing = (enum s2sp_listing)(S2SP_LISTING_COUNT - 1 + by);
	else if (wrong == 2)
		nonsense.partner_type = (enum s2sp_partner_type)(S2SP_FEDERATED + by);
	else
		nonsense.local = (enum s2sp_local_kind)(S2SP_LOCAL_COUNT - 1 + by);
	CHECK(s2sp_authorise(&nonsense).verdict == S2SP_VERDICT_REFUSE);

	struct s2sp_text name = choose_text(&choices), type = choose_text(&choices);
	enum s2sp_stanza_kind kind = s2sp_stanza_kind_of(name, type);
	CHECK(kind < S2SP_STANZA_COUNT && kind != S2SP_STANZA_JOIN && kind != S2SP_STANZA_SERVICE);
	CHECK(s2sp_text_equal(name, S2SP_TEXT("message")) || s2sp_text_equal(name, S2SP_TEXT("presence")) ||
		  s2sp_text_equal(name, S2SP_TEXT("iq")) || kind == S2SP_STANZA_UNKNOWN);
	s2sp_is_service(name, type);
	for (int need = 0; need < S2SP_NEED_COUNT; need++)
		CHECK(s2sp_fact_from_token((enum s2sp_need)need, name) < (counts[need] ? counts[need] : 1));
	CHECK(s2sp_stanza_kind_from_token(name) < S2SP_STANZA_COUNT && s2sp_local_kind_from_token(name) < S2SP_LOCAL_COUNT);
	return 0;
}
