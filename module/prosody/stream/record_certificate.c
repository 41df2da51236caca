#include "record_certificate.h"

#include <time.h>

#include "peer_certificate.h"
#include "crl_sets.h"
#include "host_objects.h"

/* Pushes the store that judges this partner's certificates: its own anchors, or what `host` trusts. NULL: none. */
static struct s2sp_trust_store *push_store(lua_State *L, int guard, struct s2sp_text host, const struct s2sp_partner *partner) {
	struct s2sp_text key = partner->trust_anchors;
	const char *kind = "anchors";
	if (key.length == 0) {
		key = host;
		kind = "hosts";
	}
	s2sp_lua_field(L, guard, "trust");
	s2sp_lua_field(L, -1, kind);
	lua_remove(L, -2);
	if (!lua_istable(L, -1) || key.length == 0) {
		lua_pop(L, 1);
		lua_pushnil(L);
		return NULL;
	}
	lua_pushlstring(L, key.bytes, key.length);
	lua_rawget(L, -2);
	lua_remove(L, -2);
	return s2sp_lua_test_trust_store(L, -1);
}

/* The verdict of `host` on what the peer presented. The report for the operator is on top, or nil. */
static enum s2sp_certificate_verdict push_report(lua_State *L, int session, int record, int guard, struct s2sp_text host,
												 const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	int top = lua_gettop(L);
	enum s2sp_certificate_verdict verdict = S2SP_CERTIFICATE_UNKNOWN;
	struct s2sp_lua_peer peer = {
		.domain = s2sp_lua_stream_remote(L, record),
		.pins = partner->pins,
		.pin_count = partner->pin_count,
		.revocation = s2sp_policy_revocation(policy, partner),
		.now = time(NULL),
	};
	struct s2sp_trust_store *store = push_store(L, guard, host, partner);
	bool complete = s2sp_lua_push_crls(L, guard, host, policy, partner, &peer.crls);
	s2sp_lua_push_peer_chain(L, session, true);
	if (store != NULL && complete && lua_istable(L, -1))
		verdict = s2sp_lua_judge_peer_known(L, top + 1, top + 3, &peer);
	else
		lua_pushnil(L);
	lua_replace(L, top + 1);
	lua_settop(L, top + 1);
	return verdict;
}

/* The same; the report of the stream's own host stays with the record. */
static enum s2sp_certificate_verdict judge_for(lua_State *L, int session, int record, int guard, struct s2sp_text host,
											   const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	enum s2sp_certificate_verdict verdict = push_report(L, session, record, guard, host, policy, partner);
	if (!lua_isnil(L, -1) && s2sp_text_equal(host, s2sp_lua_stream_local(L, record)))
		lua_setiuservalue(L, record, S2SP_RECORD_REPORT);
	else
		lua_pop(L, 1);
	return verdict;
}

enum s2sp_certificate_verdict s2sp_record_judge(lua_State *L, int session, int record, int guard,
												const struct s2sp_partner *partner) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	return judge_for(L, session, record, guard, s2sp_lua_stream_local(L, record), stream->policy, partner);
}

void s2sp_record_tell_host(lua_State *L, int session, int guard, enum s2sp_certificate_verdict verdict) {
	bool named = verdict == S2SP_CERTIFICATE_IDENTITY_MISMATCH;
	bool valid = verdict == S2SP_CERTIFICATE_VALID;
	lua_pushstring(L, valid || named ? "valid" : "invalid");
	s2sp_host_set(L, guard, session, "cert_chain_status");
	lua_pushstring(L, valid ? "valid" : "invalid");
	s2sp_host_set(L, guard, session, "cert_identity_status");
}

enum s2sp_certificate_verdict s2sp_record_verdict_of(lua_State *L, int session, int record, int guard, struct s2sp_text host,
													 const struct s2sp_policy *policy, const struct s2sp_partner *partner) {
	int top = lua_gettop(L);
	if (lua_getiuservalue(L, record, S2SP_RECORD_VERDICTS) != LUA_TTABLE) {
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_setiuservalue(L, record, S2SP_RECORD_VERDICTS);
		lua_replace(L, top + 1);
	}
	lua_pushlstring(L, host.bytes, host.length);
	if (lua_rawget(L, top + 1) != LUA_TNUMBER) {
		lua_pushlstring(L, host.bytes, host.length);
		lua_pushinteger(L, (lua_Integer)judge_for(L, session, record, guard, host, policy, partner));
		lua_pushvalue(L, -1);
		lua_replace(L, top + 2);
		lua_rawset(L, top + 1);
	}
	enum s2sp_certificate_verdict verdict = (enum s2sp_certificate_verdict)lua_tointeger(L, top + 2);
	lua_settop(L, top);
	return verdict;
}

bool s2sp_record_demands_certificate(const struct s2sp_partner *partner) {
	return partner->pin_count > 0 || partner->trust_anchors.length > 0;
}

/* Whether a list in force mentions a certificate of the chain that was judged: then its verdict is another one now. */
static bool is_mentioned(lua_State *L, int record, int guard, struct s2sp_text host, const struct s2sp_policy *policy,
						 const struct s2sp_partner *partner) {
	int top = lua_gettop(L);
	const struct s2sp_lua_crls *crls;
	bool mentioned = !s2sp_lua_push_crls(L, guard, host, policy, partner, &crls);
	lua_getiuservalue(L, record, S2SP_RECORD_REPORT);
	mentioned = mentioned || s2sp_lua_crls_mention(L, top + 2, crls);
	lua_settop(L, top);
	return mentioned;
}

bool s2sp_lua_stream_new_crls(lua_State *L, int record, const struct s2sp_lua_crls *crls) {
	int top = lua_gettop(L);
	lua_pushnil(L);
	lua_setiuservalue(L, record, S2SP_RECORD_VERDICTS);
	lua_getiuservalue(L, record, S2SP_RECORD_REPORT);
	bool mentioned = s2sp_lua_crls_mention(L, top + 1, crls);
	lua_settop(L, top);
	return mentioned;
}

bool s2sp_record_needs_judgement(lua_State *L, int record, int guard, bool demanded, const struct s2sp_policy *policy,
								 const struct s2sp_partner *partner) {
	const struct s2sp_stream *stream = lua_touserdata(L, record);
	return partner != NULL && stream->tls &&
		   (demanded || s2sp_record_demands_certificate(partner) ||
			s2sp_policy_revocation(policy, partner) == S2SP_REVOCATION_REQUIRED ||
			is_mentioned(L, record, guard, s2sp_lua_stream_local(L, record), policy, partner));
}
