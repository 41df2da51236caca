/* What a partner sends to a local address. */
#include "question.h"

#include "counters.h"

static const char *reply_token(enum s2sp_reply reply) {
	switch (reply) {
	case S2SP_REPLY_ERROR: return "error";
	case S2SP_REPLY_UNAVAILABLE: return "unavailable";
	case S2SP_REPLY_NONE:
	case S2SP_REPLY_ERROR_IF_DIRECTED: break;
	}
	return "none";
}

int s2sp_lua_authorise_in(lua_State *L, int origin, int stanza, const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	struct s2sp_lua_question question;
	int pushed;
	luaL_checkstack(L, 24, NULL);
	if (!s2sp_lua_question_begin(L, &question, S2SP_INCOMING, policy, partner, ARG_GUARD, ARG_HOST, stanza)) {
		/* Core's own answer to a type that does not exist depends on whether the user does. */
		pushed = s2sp_act(L, true, "answer_malformed");
		lua_pushvalue(L, origin);
		lua_pushvalue(L, stanza);
		return pushed + 2;
	}
	struct s2sp_authorisation decision = s2sp_lua_authorise(L, &question);
	if (decision.verdict == S2SP_VERDICT_ALLOW) {
		if (decision.change != S2SP_REASON_SUBSCRIPTION_AUTHORISED) {
			s2sp_lua_count(L, ARG_GUARD, ARG_HOST, policy, partner, S2SP_INCOMING, S2SP_REASON_NONE);
			return 0;
		}
		pushed = s2sp_act(L, true, "authorise_subscription");
		lua_pushvalue(L, stanza);
		return pushed + 1;
	}
	pushed = s2sp_act_refusal(L, true, "refuse_stanza", origin, decision.reason);
	s2sp_lua_push_words(L, decision.rule);
	lua_pushvalue(L, stanza);
	lua_pushstring(L, reply_token(decision.reply));
	return pushed + 3;
}
