#include "refusal.h"

/*
 * What is always known of a stanza, as a set: one bit each for the partner's type, the direction, whose address it is on our side,
 * the kind of stanza, and two for the settings. A rule has the union of all it applies to, and applies when the set is within it.
 */
typedef uint64_t set;
#define BIT(first, value) (UINT64_C(1) << ((first) + (unsigned)(value)))
enum {
	TYPES = 0,
	DIRECTIONS = TYPES + S2SP_FEDERATED + 1,
	LOCALS = DIRECTIONS + S2SP_OUTGOING + 1,
	KINDS = LOCALS + S2SP_LOCAL_COUNT,
	SETTINGS = KINDS + S2SP_STANZA_COUNT
};
#define WHERE(types, directions, locals, kinds, settings) ((types) | (directions) | (locals) | (kinds) | (settings))

#define IN BIT(DIRECTIONS, S2SP_INCOMING)
#define OUT BIT(DIRECTIONS, S2SP_OUTGOING)
#define BOTH (IN | OUT)

#define FED BIT(TYPES, S2SP_FEDERATED)
#define VER BIT(TYPES, S2SP_PUBLIC_VERIFIED)
#define UNV BIT(TYPES, S2SP_PUBLIC_UNVERIFIED)
#define TRUSTED (FED | VER)
#define ANYBODY (TRUSTED | UNV)

#define USER BIT(LOCALS, S2SP_LOCAL_USER)
#define HOST BIT(LOCALS, S2SP_LOCAL_HOST)
#define COMPONENT BIT(LOCALS, S2SP_LOCAL_COMPONENT)
#define ROOM BIT(LOCALS, S2SP_LOCAL_ROOM)
#define ROSTERLESS (COMPONENT | ROOM)
#define ANYWHERE (USER | HOST | ROSTERLESS)

#define K(kind) BIT(KINDS, S2SP_STANZA_##kind)
#define ALL (BIT(KINDS, S2SP_STANZA_COUNT) - BIT(KINDS, S2SP_STANZA_UNKNOWN + 1))
#define REQUESTS (K(MESSAGE) | K(GROUPCHAT) | K(IQ_GET) | K(IQ_SET) | K(SERVICE))
#define ANSWERS (K(IQ_RESULT) | K(IQ_ERROR))
#define LOWERING (K(UNAVAILABLE) | K(UNSUBSCRIBE) | K(UNSUBSCRIBED))
#define DIRECTABLE (K(PRESENCE) | K(JOIN))
#define ANY_PRESENCE (DIRECTABLE | LOWERING | K(PRESENCE_ERROR) | K(PROBE) | K(SUBSCRIBE) | K(SUBSCRIBED))

/* group_chat and presence_authorization. */
#define GC_REFUSE BIT(SETTINGS, 0)
#define GC_ALLOW BIT(SETTINGS, 1)
#define BY_USER BIT(SETTINGS, 2)
#define AUTOMATIC BIT(SETTINGS, 3)
#define EITHER (GC_REFUSE | GC_ALLOW | BY_USER | AUTOMATIC)
#define WITH_GC(gc) ((gc) | BY_USER | AUTOMATIC)
#define WITH_PA(pa) (GC_REFUSE | GC_ALLOW | (pa))

#define ACCESS S2SP_NEED_ACCESS
#define ACCOUNT S2SP_NEED_ACCOUNT
#define LISTING S2SP_NEED_LISTING
#define DIRECTED S2SP_NEED_DIRECTED
#define REQUESTED S2SP_NEED_REQUESTED
#define STANDING S2SP_NEED_STANDING
#define ALWAYS S2SP_NEED_NOTHING, 0

#define ALLOW S2SP_REASON_NONE

/* One rule: it applies where it says and when the fact has the value. A refusal names its reason, ALLOW none. */
struct rule {
	set where;
	enum s2sp_need fact;
	int value;
	enum s2sp_reason reason;
	const char *text;
};

/* clang-format off */
/*
 * In order of precedence (P30). P and a number is a rule of docs/partner-types.md. The comment above a row, or above the group of rows it
 * is in, names the rules that the row stands for; spec/docs checks that each cited rule exists and that each rule is cited.
 */
static const struct rule rules[] = {
	/* P28 */
	{ WHERE(ANYBODY, BOTH, USER, ALL, EITHER), ACCESS, S2SP_ACCESS_DENIED, S2SP_REASON_EXTERNAL_ACCESS_DENIED,
		"the local user has no external access" },
	/* P27, P12 */
	{ WHERE(ANYBODY, IN, USER, ALL, EITHER), ACCOUNT, S2SP_ACCOUNT_MISSING, S2SP_REASON_NO_SUCH_USER,
		"there is no such local user" },

	/* P11 */
	{ WHERE(ANYBODY, OUT, ANYWHERE, LOWERING, EITHER), ALWAYS, ALLOW,
		"presence that lowers what the contact sees always goes out" },
	/* P10 */
	{ WHERE(ANYBODY, OUT, USER, K(SUBSCRIBE), EITHER), ALWAYS, ALLOW,
		"adding a contact is always possible" },
	/* P18 incoming, P20 outgoing; the third row is the answer of P18 */
	{ WHERE(ANYBODY, IN, HOST | COMPONENT, K(SERVICE), EITHER), ALWAYS, ALLOW,
		"any partner may ask a bare domain for disco, ping, version and time" },
	{ WHERE(ANYBODY, OUT, ANYWHERE, K(SERVICE), EITHER), ALWAYS, ALLOW,
		"a partner's bare domain may be asked for disco, ping, version and time" },
	{ WHERE(ANYBODY, OUT, HOST | COMPONENT, ANSWERS, EITHER), ALWAYS, ALLOW,
		"a bare domain answers what it was asked" },
	/* P21: the other senders of answers are within P1 and P14 */
	{ WHERE(UNV, IN, ANYWHERE, ANSWERS, EITHER), REQUESTED, S2SP_FACT_YES, ALLOW,
		"the answer to a request for disco, ping, version or time" },
	{ WHERE(TRUSTED, IN, ROSTERLESS, ANSWERS, WITH_GC(GC_REFUSE)), REQUESTED, S2SP_FACT_YES, ALLOW,
		"the answer to a request for disco, ping, version or time" },

	/* P15, P16: a room is nobody's contact, so the roster is not asked */
	{ WHERE(ANYBODY, OUT, USER, K(GROUPCHAT) | K(JOIN), WITH_GC(GC_REFUSE)), ALWAYS, S2SP_REASON_GROUP_CHAT_REFUSED,
		"group chat is refused: no groupchat message and no room join" },

	/* P16 */
	{ WHERE(UNV, OUT, USER, DIRECTABLE, WITH_GC(GC_ALLOW)), ALWAYS, ALLOW,
		"with group chat allowed, directed presence may always be sent" },
	/* P17: before the roster, which need not be readable then */
	{ WHERE(UNV, BOTH, USER, ALL, WITH_GC(GC_ALLOW)), DIRECTED, S2SP_FACT_YES, ALLOW,
		"the user has sent the contact directed presence" },
	/* P7 */
	{ WHERE(UNV, BOTH, USER, ALL, EITHER), LISTING, S2SP_LISTING_UNAVAILABLE, S2SP_REASON_ROSTER_UNAVAILABLE,
		"the partner is public_unverified and the local user's roster cannot be read" },
	/* P1, P2, P3, P4 for a partner that is not trusted; P6 says what listed is */
	{ WHERE(UNV, BOTH, USER, ALL, EITHER), LISTING, S2SP_LISTING_NO, S2SP_REASON_NOT_LISTED,
		"the partner is public_unverified and the contact is not in the local user's roster" },
	/* P19 */
	{ WHERE(UNV, BOTH, HOST, ALL, EITHER), ALWAYS, S2SP_REASON_NOT_LISTED,
		"the partner is public_unverified: with our bare domain it exchanges disco, ping, version and time only" },

	/* P15 */
	{ WHERE(ANYBODY, IN, USER | HOST, K(GROUPCHAT), WITH_GC(GC_REFUSE)), ALWAYS, S2SP_REASON_GROUP_CHAT_REFUSED,
		"group chat is refused: no groupchat message" },
	{ WHERE(ANYBODY, OUT, HOST, K(GROUPCHAT) | K(JOIN), WITH_GC(GC_REFUSE)), ALWAYS, S2SP_REASON_GROUP_CHAT_REFUSED,
		"group chat is refused: no groupchat message and no room join" },
	{ WHERE(ANYBODY, BOTH, ROSTERLESS, ALL, WITH_GC(GC_REFUSE)), ALWAYS, S2SP_REASON_GROUP_CHAT_REFUSED,
		"group chat is refused: no use of rooms and components" },

	/* P25, P27, P26, a row each */
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), EITHER), STANDING, S2SP_STANDING_BLOCKED, S2SP_REASON_BLOCKED_BY_USER,
		"the local user has blocked the contact" },
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), WITH_PA(AUTOMATIC)), STANDING, S2SP_STANDING_UNAVAILABLE, S2SP_REASON_ROSTER_UNAVAILABLE,
		"nothing is authorised for a user whose roster or block list cannot be read" },
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), WITH_PA(AUTOMATIC)), STANDING, S2SP_STANDING_CANCELLED, S2SP_REASON_CANCELLED_BY_USER,
		"the local user has cancelled the contact's subscription, and has not added the contact since" },

	/* P1, P2, P3, P4 for a trusted partner and for a listed contact; P14 */
	{ WHERE(TRUSTED, BOTH, ANYWHERE, ALL, EITHER), ALWAYS, ALLOW,
		"the partner is trusted with its users' identity" },
	{ WHERE(UNV, BOTH, USER, ALL, EITHER), ALWAYS, ALLOW,
		"the contact is in the local user's roster" },
	{ WHERE(UNV, BOTH, ROSTERLESS, ALL, WITH_GC(GC_ALLOW)), ALWAYS, ALLOW,
		"group chat is allowed" },
};

/*
 * What a rule has allowed is asked again: these refuse it when the fact has the value, even if a rule has allowed it. `unless`: not where
 * STANDING has that value; 0: whatever it is. `spellings`: only of contacts whose address can be written in several ways. `unchanged`:
 * only of what is not changed.
 */
static const struct {
	set where;
	bool spellings, unchanged;
	enum s2sp_standing unless;
	enum s2sp_need fact;
	int value;
	enum s2sp_reason reason;
	const char *text;
} vetoes[] = {
	/* P8: the host itself refuses for the one spelling that it compares. P11 for what is excepted */
	{ WHERE(ANYBODY, IN, USER, ALL, EITHER), true, false, 0, S2SP_NEED_BLOCKED, S2SP_FACT_YES, S2SP_REASON_BLOCKED_BY_USER,
		"the local user has blocked the contact, whose address can be written in several ways" },
	{ WHERE(ANYBODY, OUT, USER, ALL & ~LOWERING, EITHER), true, false, 0, S2SP_NEED_BLOCKED, S2SP_FACT_YES, S2SP_REASON_BLOCKED_BY_USER,
		"the local user has blocked the contact, whose address can be written in several ways" },
	/* P24: the request of an authorised contact is answered, so it does not wait */
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), EITHER), false, true, S2SP_STANDING_AUTHORISED, S2SP_NEED_WAITING, S2SP_WAITING_FULL, S2SP_REASON_NOT_LISTED,
		"no more of the partner's requests can wait for the user: only contacts in the roster may ask" },
	{ WHERE(UNV, IN, USER, K(SUBSCRIBE), EITHER), false, true, 0, S2SP_NEED_WAITING, S2SP_WAITING_FULL, S2SP_REASON_NOT_LISTED,
		"no more of the partner's requests can wait for the user, or this one is too large" },
};

/* What is changed in a stanza that may pass: each fact has its value. NOTHING: whatever it is. */
static const struct {
	set where;
	struct {
		enum s2sp_need fact;
		int value;
	} facts[2];
	enum s2sp_reason change;
} changes[] = {
	/* P5, P29 */
	{ WHERE(VER | UNV, OUT, ANYWHERE, (ANY_PRESENCE & ~K(SUBSCRIBE)) | K(IQ_RESULT), EITHER), { { ALWAYS }, { ALWAYS } },
		S2SP_REASON_STATUS_NOTE_REMOVED },
	/* P22, P23 */
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), WITH_PA(AUTOMATIC)), { { STANDING, S2SP_STANDING_NONE }, { S2SP_NEED_CONTACTS, S2SP_CONTACTS_FEW } },
		S2SP_REASON_SUBSCRIPTION_AUTHORISED },
};

/* P31: whatever carries what a user publishes, if the partner may not have it. */
static const set event_carriers = WHERE(ANYBODY, OUT, USER, K(MESSAGE) | K(GROUPCHAT) | K(MESSAGE_ERROR) | K(IQ_RESULT), EITHER);

/* What the sender of a refused stanza hears, for any reason. */
static const struct {
	set where;
	enum s2sp_reply reply;
} replies[] = {
	/* P9 outgoing, P12 incoming; what has no row is dropped */
	{ WHERE(ANYBODY, BOTH, ANYWHERE, REQUESTS, EITHER), S2SP_REPLY_ERROR },
	{ WHERE(ANYBODY, OUT, ANYWHERE, K(SUBSCRIBE) | K(JOIN), EITHER), S2SP_REPLY_ERROR },
	{ WHERE(ANYBODY, OUT, ANYWHERE, K(PRESENCE), EITHER), S2SP_REPLY_ERROR_IF_DIRECTED },
	/* P13; RFC 6121 3.1.3 */
	{ WHERE(TRUSTED, IN, USER, K(SUBSCRIBE), EITHER), S2SP_REPLY_UNAVAILABLE },
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int fact_value(const struct s2sp_stanza_facts *facts, enum s2sp_need need) {
	switch (need) {
	case S2SP_NEED_ACCESS: return (int)facts->access;
	case S2SP_NEED_ACCOUNT: return (int)facts->account;
	case S2SP_NEED_LISTING: return (int)facts->listing;
	case S2SP_NEED_DIRECTED: return (int)facts->directed;
	case S2SP_NEED_REQUESTED: return (int)facts->requested;
	case S2SP_NEED_STANDING: return (int)facts->standing;
	case S2SP_NEED_BLOCKED: return (int)facts->blocked;
	case S2SP_NEED_CONTACTS: return (int)facts->contacts;
	case S2SP_NEED_WAITING: return (int)facts->waiting;
	case S2SP_NEED_NOTHING:
	case S2SP_NEED_COUNT: break;
	}
	return 0;
}

static bool in_range(const struct s2sp_stanza_facts *facts) {
	return (unsigned)facts->partner_type <= S2SP_FEDERATED && (unsigned)facts->direction <= S2SP_OUTGOING &&
		   (unsigned)facts->kind < S2SP_STANZA_COUNT && (unsigned)facts->local < S2SP_LOCAL_COUNT &&
		   (unsigned)facts->access < S2SP_ACCESS_COUNT && (unsigned)facts->account < S2SP_ACCOUNT_COUNT &&
		   (unsigned)facts->listing < S2SP_LISTING_COUNT && (unsigned)facts->directed < S2SP_FACT_COUNT &&
		   (unsigned)facts->requested < S2SP_FACT_COUNT && (unsigned)facts->standing < S2SP_STANDING_COUNT &&
		   (unsigned)facts->blocked < S2SP_FACT_COUNT && (unsigned)facts->contacts < S2SP_CONTACTS_COUNT &&
		   (unsigned)facts->waiting < S2SP_WAITING_COUNT;
}

static struct s2sp_authorisation waiting(enum s2sp_need need) {
	return (struct s2sp_authorisation){ .verdict = S2SP_VERDICT_WAIT, .need = need, .rule = "a fact has to be looked up" };
}

static set known_of(const struct s2sp_stanza_facts *facts) {
	return BIT(TYPES, facts->partner_type) | BIT(DIRECTIONS, facts->direction) | BIT(LOCALS, facts->local) |
		   BIT(KINDS, facts->kind) | (facts->group_chat ? GC_ALLOW : GC_REFUSE) |
		   (facts->presence_automatic ? AUTOMATIC : BY_USER);
}

static bool within(set known, set where) {
	return (known & ~where) == 0;
}

static enum s2sp_reply reply_for(set known) {
	for (size_t i = 0; i < COUNT(replies); i++) {
		if (within(known, replies[i].where))
			return replies[i].reply;
	}
	return S2SP_REPLY_NONE;
}

enum s2sp_reply s2sp_reply_to(enum s2sp_direction direction, enum s2sp_stanza_kind kind) {
	if ((unsigned)direction > S2SP_OUTGOING || (unsigned)kind >= S2SP_STANZA_COUNT)
		return S2SP_REPLY_NONE;
	return reply_for(UNV | USER | BIT(DIRECTIONS, direction) | BIT(KINDS, kind));
}

static struct s2sp_authorisation refused(set known, enum s2sp_reason reason, const char *rule) {
	return (
		struct s2sp_authorisation){ .verdict = S2SP_VERDICT_REFUSE, .reason = reason, .rule = rule, .reply = reply_for(known) };
}

enum answer { NO, YES, NOT_KNOWN };

static enum answer fact_is(const struct s2sp_stanza_facts *facts, enum s2sp_need need, int wanted) {
	int value = fact_value(facts, need);
	if (need != S2SP_NEED_NOTHING && value == 0)
		return NOT_KNOWN;
	return value == wanted ? YES : NO;
}

/* The change with this number; true when it is made or, with `need` set, when that has to be known first. */
static bool is_changed(const struct s2sp_stanza_facts *facts, set known, size_t number, enum s2sp_need *need) {
	if (!within(known, changes[number].where))
		return false;
	for (size_t i = 0; i < COUNT(changes[number].facts); i++) {
		switch (fact_is(facts, changes[number].facts[i].fact, changes[number].facts[i].value)) {
		case YES: break;
		case NO: return false;
		case NOT_KNOWN: *need = changes[number].facts[i].fact; return true;
		}
	}
	return true;
}

/* The same for a veto. */
static bool is_vetoed(const struct s2sp_stanza_facts *facts, set known, size_t number, enum s2sp_need *need) {
	if (!within(known, vetoes[number].where) || (vetoes[number].spellings && !facts->spellings))
		return false;
	if (vetoes[number].unless != S2SP_STANDING_UNKNOWN) {
		switch (fact_is(facts, STANDING, (int)vetoes[number].unless)) {
		case YES: return false;
		case NO: break;
		case NOT_KNOWN: *need = STANDING; return true;
		}
	}
	switch (fact_is(facts, vetoes[number].fact, vetoes[number].value)) {
	case YES: return true;
	case NO: return false;
	case NOT_KNOWN: break;
	}
	*need = vetoes[number].fact;
	return true;
}

static struct s2sp_authorisation allowed(const struct s2sp_stanza_facts *facts, set known, const char *rule) {
	enum s2sp_need need = S2SP_NEED_NOTHING;
	struct s2sp_authorisation decision = { .verdict = S2SP_VERDICT_ALLOW, .rule = rule };
	decision.personal_events = facts->personal_events || !within(known, event_carriers);
	for (size_t i = 0; i < COUNT(changes) && decision.change == S2SP_REASON_NONE; i++) {
		if (is_changed(facts, known, i, &need)) {
			if (need != S2SP_NEED_NOTHING)
				return waiting(need);
			decision.change = changes[i].change;
		}
	}
	for (size_t i = 0; i < COUNT(vetoes); i++) {
		if (vetoes[i].unchanged && decision.change != S2SP_REASON_NONE)
			continue;
		if (is_vetoed(facts, known, i, &need))
			return need != S2SP_NEED_NOTHING ? waiting(need) : refused(known, vetoes[i].reason, vetoes[i].text);
	}
	return decision;
}

struct s2sp_authorisation s2sp_authorise(const struct s2sp_stanza_facts *facts) {
	if (!in_range(facts))
		return (struct s2sp_authorisation){ .verdict = S2SP_VERDICT_REFUSE,
											.reason = S2SP_REASON_INTERNAL_ERROR,
											.rule = "a fact is out of range" };
	set known = known_of(facts);
	for (size_t i = 0; i < COUNT(rules); i++) {
		const struct rule *rule = &rules[i];
		if (!within(known, rule->where))
			continue;
		if (rule->fact != S2SP_NEED_NOTHING) {
			int value = fact_value(facts, rule->fact);
			if (value == 0)
				return waiting(rule->fact);
			if (value != rule->value)
				continue;
		}
		return rule->reason == ALLOW ? allowed(facts, known, rule->text) : refused(known, rule->reason, rule->text);
	}
	return refused(known, S2SP_REASON_INTERNAL_ERROR, "no rule covers such a stanza");
}
