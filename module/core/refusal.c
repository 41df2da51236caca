#include "refusal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum s2sp_reply s2sp_reply_to_malformed(struct s2sp_text name, struct s2sp_text type, bool has_id) {
	bool request = s2sp_text_equal(name, S2SP_TEXT("iq")) && has_id && !s2sp_text_equal(type, S2SP_TEXT("result")) &&
				   !s2sp_text_equal(type, S2SP_TEXT("error"));
	return request ? S2SP_REPLY_ERROR : S2SP_REPLY_NONE;
}

/* Presence that is refused for one of these cannot be expected to have passed before. Limits and the like come and go. */
static const enum s2sp_reason lasting[] = {
	S2SP_REASON_UNLISTED_DOMAIN,
	S2SP_REASON_NOT_LISTED,
	S2SP_REASON_ROSTER_UNAVAILABLE,
	S2SP_REASON_EXTERNAL_ACCESS_DENIED,
};

static bool is_lasting(enum s2sp_reason reason) {
	for (size_t i = 0; i < COUNT(lasting); i++) {
		if (lasting[i] == reason)
			return true;
	}
	return false;
}

struct s2sp_refused_route s2sp_refused_route(const struct s2sp_refused_stanza *stanza) {
	struct s2sp_refused_route refused = { .reply = s2sp_reply_to(S2SP_OUTGOING, stanza->kind) };
	bool available = stanza->kind == S2SP_STANZA_PRESENCE || stanza->kind == S2SP_STANZA_JOIN;
	bool may_forget = available && is_lasting(stanza->reason);
	if ((may_forget || refused.reply == S2SP_REPLY_ERROR_IF_DIRECTED) && stanza->noted == S2SP_FACT_UNKNOWN)
		return (struct s2sp_refused_route){ .need = S2SP_REFUSED_NEED_NOTED };
	if (refused.reply == S2SP_REPLY_ERROR_IF_DIRECTED)
		refused.reply = stanza->noted == S2SP_FACT_YES ? S2SP_REPLY_ERROR : S2SP_REPLY_NONE;
	if (may_forget && stanza->noted == S2SP_FACT_YES) {
		if (stanza->passed == S2SP_FACT_UNKNOWN)
			return (struct s2sp_refused_route){ .need = S2SP_REFUSED_NEED_PASSED };
		refused.forget = stanza->passed == S2SP_FACT_NO;
	}
	return refused;
}

struct s2sp_stanza_error s2sp_dialback_error(enum s2sp_reason reason) {
	if (reason == S2SP_REASON_CONNECTION_LIMIT)
		return (struct s2sp_stanza_error){ "wait", "resource-constraint" };
	return (struct s2sp_stanza_error){ "cancel", "not-acceptable" };
}

struct s2sp_decision s2sp_decide_own_way(struct s2sp_own_addresses addresses) {
	/* What is no name must not come back here, and what is no address of ours must not make for a stream of its own. */
	if (!addresses.known || !addresses.from_ours || addresses.to_ours || addresses.same)
		return (struct s2sp_decision){ S2SP_VERDICT_REFUSE, S2SP_REASON_WRONG_DOMAIN, "routed by other addresses than its own" };
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "routed by its own addresses" };
}
