#include "record_fields.h"

#include "host_objects.h"
#include "policy_object.h"
#include "record_certificate.h"
#include "stream_times.h"

static const char record_mark;

struct s2sp_stream *s2sp_lua_stream_test(lua_State *L, int index) {
	return s2sp_lua_marked(L, index, sizeof(struct s2sp_record), &record_mark);
}

struct s2sp_stream *s2sp_lua_stream_get(lua_State *L, int session) {
	s2sp_lua_field(L, session, S2SP_LUA_STREAM_FIELD);
	struct s2sp_stream *stream = s2sp_lua_stream_test(L, -1);
	if (stream == NULL) {
		lua_pop(L, 1);
		lua_pushnil(L);
	}
	return stream;
}

struct s2sp_stream *s2sp_lua_stream_need(lua_State *L, int session) {
	session = lua_absindex(L, session);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, session);
	if (stream != NULL)
		return stream;
	lua_pop(L, 1);
	struct s2sp_record *fresh = lua_newuserdatauv(L, sizeof *fresh, S2SP_RECORD_VALUES);
	fresh->numbers = NULL;
	fresh->remote = fresh->local = (struct s2sp_text){ NULL, 0 };
	fresh->mark = &record_mark;
	stream = &fresh->stream;
	s2sp_stream_begin(stream, s2sp_lua_field_is(L, session, "direction", "outgoing") ? S2SP_OUTGOING : S2SP_INCOMING, NULL);
	s2sp_stream_clock_start(stream, s2sp_now());
	luaL_setmetatable(L, S2SP_LUA_RECORD_METATABLE);
	lua_pushvalue(L, -1);
	lua_setfield(L, session, S2SP_LUA_STREAM_FIELD);
	return stream;
}

struct s2sp_stream *s2sp_lua_stream_copy(lua_State *L, int record) {
	static const int kept[] = { S2SP_RECORD_POLICY, S2SP_RECORD_REMOTE, S2SP_RECORD_LOCAL, S2SP_RECORD_REPORT };
	record = lua_absindex(L, record);
	struct s2sp_record *copy = lua_newuserdatauv(L, sizeof *copy, S2SP_RECORD_VALUES);
	*copy = *s2sp_record_of_const(lua_touserdata(L, record));
	copy->numbers = NULL;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		lua_getiuservalue(L, record, kept[i]);
		lua_setiuservalue(L, -2, kept[i]);
	}
	luaL_setmetatable(L, S2SP_LUA_RECORD_METATABLE);
	return &copy->stream;
}

static struct s2sp_text user_text(lua_State *L, int record, int slot) {
	lua_getiuservalue(L, record, slot);
	struct s2sp_text text = s2sp_lua_text(L, -1);
	lua_pop(L, 1);
	return text;
}

struct s2sp_text s2sp_stream_remote(const struct s2sp_stream *stream) {
	return s2sp_record_of_const(stream)->remote;
}

struct s2sp_text s2sp_stream_local(const struct s2sp_stream *stream) {
	return s2sp_record_of_const(stream)->local;
}

struct s2sp_numbers *s2sp_stream_numbers(const struct s2sp_stream *stream) {
	return s2sp_record_of_const(stream)->numbers;
}

void s2sp_lua_stream_keep_numbers(lua_State *L, int record, struct s2sp_numbers *numbers) {
	lua_setiuservalue(L, record, S2SP_RECORD_NUMBERS);
	s2sp_record_of(lua_touserdata(L, record))->numbers = numbers;
}

struct s2sp_text s2sp_lua_stream_remote(lua_State *L, int record) {
	return s2sp_stream_remote(lua_touserdata(L, record));
}

struct s2sp_text s2sp_lua_stream_local(lua_State *L, int record) {
	return s2sp_stream_local(lua_touserdata(L, record));
}

/* The record keeps a string for as long as it lives. */
static struct s2sp_text keep_text(lua_State *L, int record, int slot, struct s2sp_text text) {
	record = lua_absindex(L, record);
	lua_pushlstring(L, text.bytes, text.length);
	text.bytes = lua_tostring(L, -1);
	lua_setiuservalue(L, record, slot);
	return text;
}

struct s2sp_text s2sp_lua_stream_account(lua_State *L, int record) {
	return user_text(L, record, S2SP_RECORD_ACCOUNT);
}

void s2sp_lua_stream_set_account(lua_State *L, int record, struct s2sp_text account) {
	keep_text(L, record, S2SP_RECORD_ACCOUNT, account);
}

/* The policy that `host` has now becomes the record's; NULL (refuse everything) when it has none. */
static const struct s2sp_policy *adopt_policy(lua_State *L, int record, int guard, struct s2sp_text host) {
	const struct s2sp_policy *policy = NULL;
	/* What owns them keeps the policy before, and an idle stream might never ask for others. */
	lua_pushnil(L);
	s2sp_lua_stream_keep_numbers(L, record, NULL);
	s2sp_lua_field(L, guard, "policies");
	if (lua_istable(L, -1) && host.length > 0) {
		lua_pushlstring(L, host.bytes, host.length);
		lua_rawget(L, -2);
		policy = s2sp_lua_test_policy(L, -1);
		if (policy == NULL) {
			lua_pop(L, 1);
			lua_pushnil(L);
		}
		lua_setiuservalue(L, record, S2SP_RECORD_POLICY);
	}
	lua_pop(L, 1);
	return policy;
}

/* What the connection says now. The certificate is judged once, as soon as the domain is known. */
static void observe(lua_State *L, int session, int record, int guard, struct s2sp_stream *stream) {
	bool tls = stream->tls || s2sp_lua_connection_tls(L, session, record, guard);
	enum s2sp_certificate_verdict verdict = (enum s2sp_certificate_verdict)stream->certificate;
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	if (tls && stream->policy != NULL && remote.length > 0 && stream->stage < S2SP_STAGE_AUTHENTICATED) {
		if (verdict == S2SP_CERTIFICATE_UNKNOWN) {
			const struct s2sp_partner *partner = s2sp_policy_find(stream->policy, remote, NULL);
			if (partner != NULL)
				verdict = s2sp_record_judge(L, session, record, guard, partner);
		}
		s2sp_record_tell_host(L, session, guard, verdict);
	}
	s2sp_stream_observe(stream, tls, verdict);
}

struct s2sp_decision s2sp_lua_stream_name(lua_State *L, int session, int record, int guard, struct s2sp_text name) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	struct s2sp_domain domain;
	s2sp_lua_domain(name, &domain);
	if (remote.length > 0 && !s2sp_text_equal(remote, s2sp_domain_text(&domain)))
		return s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair");
	if (remote.length == 0 && domain.length > 0) {
		s2sp_record_of(stream)->remote = keep_text(L, record, S2SP_RECORD_REMOTE, s2sp_domain_text(&domain));
		observe(L, session, record, guard, stream);
	}
	return s2sp_stream_identify(stream, s2sp_domain_text(&domain));
}

/* The local host, once known, never changes; with it comes the policy. */
static bool bind_local(lua_State *L, int session, int record, int guard, struct s2sp_stream *stream) {
	struct s2sp_text now = s2sp_lua_text_field(L, session, stream->direction == S2SP_INCOMING ? "to_host" : "from_host");
	struct s2sp_text local = s2sp_lua_stream_local(L, record);
	if (local.length > 0)
		return s2sp_text_equal(local, now);
	if (now.length == 0)
		return true;
	s2sp_record_of(stream)->local = keep_text(L, record, S2SP_RECORD_LOCAL, now);
	stream->policy = adopt_policy(L, record, guard, now);
	return true;
}

struct s2sp_decision s2sp_lua_stream_refresh(lua_State *L, int session, int record, int guard) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	session = lua_absindex(L, session);
	record = lua_absindex(L, record);
	if (!bind_local(L, session, record, guard, stream))
		return s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "the stream's local host has changed");
	observe(L, session, record, guard, stream);
	struct s2sp_text name = s2sp_lua_text_field(L, session, stream->direction == S2SP_INCOMING ? "from_host" : "to_host");
	if (name.length > 0) {
		/* As the peer wrote it, before core prepared it; only where a header named the domain, and only to name the record. */
		struct s2sp_text written = s2sp_lua_text_field(L, session, "s2s_partners_written");
		if (written.length > 0 && stream->direction == S2SP_INCOMING && s2sp_lua_stream_remote(L, record).length == 0) {
			struct s2sp_decision decision = s2sp_lua_stream_name(L, session, record, guard, written);
			if (decision.verdict != S2SP_VERDICT_ALLOW)
				return decision;
		}
		return s2sp_lua_stream_name(L, session, record, guard, name);
	}
	if (stream->stage == S2SP_STAGE_REFUSED)
		return s2sp_stream_refuse(stream, (enum s2sp_reason)stream->reason, "the stream has been refused already");
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream has not named its domain yet" };
}

/* The policy that `host` has in guard.policies, which keeps it; NULL when there is none. */
static const struct s2sp_policy *policy_of(lua_State *L, int guard, struct s2sp_text host) {
	int top = lua_gettop(L);
	const struct s2sp_policy *policy = NULL;
	s2sp_lua_field(L, guard, "policies");
	if (lua_istable(L, -1) && host.length > 0) {
		lua_pushlstring(L, host.bytes, host.length);
		lua_rawget(L, -2);
		policy = s2sp_lua_test_policy(L, -1);
	}
	lua_settop(L, top);
	return policy;
}

struct s2sp_decision s2sp_lua_stream_stanza(lua_State *L, int session, int record, int guard, struct s2sp_text host) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	const struct s2sp_policy *policy = policy_of(L, guard, host);
	if (s2sp_text_equal(host, s2sp_lua_stream_local(L, record)))
		return s2sp_stream_stanza(stream, policy, remote);
	const struct s2sp_partner *partner = policy == NULL || remote.length == 0 ? NULL : s2sp_policy_find(policy, remote, NULL);
	struct s2sp_stream view = *stream;
	view.policy = NULL; /* hosts may share a policy and differ in what they trust */
	view.certificate = S2SP_CERTIFICATE_UNKNOWN;
	if (partner != NULL && stream->tls)
		view.certificate = (uint8_t)s2sp_record_verdict_of(L, session, record, guard, host, policy, partner);
	return s2sp_stream_stanza(&view, policy, remote);
}

bool s2sp_lua_other_domain_authenticated(lua_State *L, int session, struct s2sp_text remote) {
	int top = lua_gettop(L);
	bool other = false;
	if (s2sp_lua_field(L, session, "hosts") == LUA_TTABLE) {
		for (lua_pushnil(L); lua_next(L, top + 1) != 0 && !other; lua_pop(L, 1)) {
			struct s2sp_domain domain;
			s2sp_lua_domain(s2sp_lua_text(L, -2), &domain);
			s2sp_lua_field(L, -1, "authed");
			other = lua_toboolean(L, -1) && !s2sp_text_equal(remote, s2sp_domain_text(&domain));
			lua_pop(L, 1);
		}
	}
	lua_settop(L, top);
	return other;
}

static const struct s2sp_decision no_host_yet = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream has not named its host yet" };

/*
 * Whether a stream that was refused while nothing was enforced, and that core has established all the same, is to be judged once more
 * from its beginning: the list of partners may have been written since. The record is refused for good where core has authenticated more than one domain.
 */
static bool returns(lua_State *L, int session, int record, struct s2sp_stream *stream) {
	if (!s2sp_stream_may_return(stream))
		return false;
	if (s2sp_lua_other_domain_authenticated(L, session, s2sp_lua_stream_remote(L, record))) {
		s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair");
		return false;
	}
	struct s2sp_text type = s2sp_lua_text_field(L, session, "type");
	return s2sp_text_equal(type, S2SP_TEXT("s2sin")) || s2sp_text_equal(type, S2SP_TEXT("s2sout"));
}

struct s2sp_decision s2sp_lua_stream_rejudge(lua_State *L, int session, int record, int guard) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_text local = s2sp_lua_stream_local(L, record);
	if (local.length == 0)
		return no_host_yet;
	bool again = returns(L, session, record, stream);
	bool demanded = stream->partner != NULL && s2sp_record_demands_certificate(stream->partner);
	struct s2sp_text remote = s2sp_lua_stream_remote(L, record);
	/* The old policy may be gone with this; nothing of it is looked at below. */
	stream->partner = NULL;
	stream->policy = adopt_policy(L, record, guard, local);
	lua_pushnil(L);
	lua_setiuservalue(L, record, S2SP_RECORD_VERDICTS);
	const struct s2sp_partner *partner =
		stream->policy == NULL || remote.length == 0 ? NULL : s2sp_policy_find(stream->policy, remote, NULL);
	if (s2sp_record_needs_judgement(L, record, guard, demanded || again, stream->policy, partner))
		s2sp_stream_observe(stream, true, s2sp_record_judge(L, session, record, guard, partner));
	struct s2sp_decision decision =
		again ? s2sp_stream_replay(stream, stream->policy, remote) : s2sp_stream_rejudge(stream, stream->policy, remote);
	/* What is refused from now on comes back only if nothing is enforced then. */
	s2sp_stream_keep_method(stream, s2sp_lua_observing(L, guard));
	return decision;
}
