/* What a partner sends to a local address. */
#include "question.h"

#include "counters.h"
#include "refused_stanza.h"

int s2sp_lua_authorise_in(lua_State *L, int origin, int stanza, const struct s2sp_policy *policy,
						  const struct s2sp_partner *partner) {
	struct s2sp_lua_question question;
	int pushed;
	luaL_checkstack(L, 24, NULL);
	if (!s2sp_lua_question_begin(L, &question, S2SP_INCOMING, policy, partner, ARG_GUARD, ARG_HOST, stanza)) {
		/* Core's own answer to a type that does not exist depends on whether the user does. */
		pushed = s2sp_act(L, true, "answer_malformed");
		lua_pushvalue(L, origin);
		lua_pushvalue(L, stanza);
		lua_pushstring(L, s2sp_reply_token(s2sp_reply_to_malformed(question.name, question.type, question.id.bytes != NULL)));
		return pushed + 3;
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
	return s2sp_lua_refuse_stanza(L, origin, stanza, (struct s2sp_decision){ decision.verdict, decision.reason, decision.rule },
								  decision.reply);
}
