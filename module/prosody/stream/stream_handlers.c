/* Stream events: what is offered, which commands are taken, what authenticates. */
#include "stream_handlers.h"

#include "host_objects.h"
#include "places.h"
#include "stream_times.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Before every handler of Prosody's own modules. */
enum { FIRST = 1000 };

bool s2sp_hook_concerns_stream(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "origin");
	bool stream = s2sp_lua_is_s2s(L, -1);
	lua_pop(L, 1);
	return stream;
}

bool s2sp_hook_is_incoming(lua_State *L, int session) {
	return s2sp_lua_field_is(L, session, "direction", "incoming");
}

struct s2sp_stream *s2sp_hook_begin(lua_State *L, const char *field, struct s2sp_hooked *at, struct s2sp_decision *decision) {
	s2sp_lua_field(L, ARG_EVENT, field);
	at->session = lua_gettop(L);
	struct s2sp_stream *stream = s2sp_lua_stream_get(L, at->session);
	at->record = lua_gettop(L);
	if (stream == NULL) {
		*decision = s2sp_no_record;
		return NULL;
	}
	*decision = s2sp_lua_stream_refresh(L, at->session, at->record, ARG_GUARD);
	if (decision->verdict == S2SP_VERDICT_ALLOW)
		*decision = s2sp_lua_place_hold(L, ARG_GUARD, at->record);
	return decision->verdict == S2SP_VERDICT_ALLOW ? stream : NULL;
}

/* s2s-created: accepted, or connected. */
static int on_created(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "session");
	int session = lua_gettop(L);
	s2sp_lua_stream_need(L, session);
	if (!s2sp_hook_is_incoming(L, session))
		return 0;
	lua_pushnil(L);
	s2sp_push_action(L, "watch_header");
	lua_pushvalue(L, session);
	return 3;
}

/*
 * Our answer to the header of a stream before XMPP 1.0 has gone out: no features follow, so that this is the only moment to
 * judge the domain before the peer says more. Not an event of core's; the guard fires it.
 */
static int on_header(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	if (s2sp_hook_begin(L, "session", &at, &decision) != NULL)
		return 0;
	return s2sp_act_refuse(L, true, at.session, decision, NULL);
}

/*
 * s2sout-created: the record exists before anything is looked up, a partner without TLS gets no TLS context, and one behind a
 * proxy is not asked DNS for.
 */
static int on_outgoing_created(lua_State *L) {
	s2sp_lua_field(L, ARG_EVENT, "session");
	struct s2sp_stream *created = s2sp_lua_stream_need(L, -1);
	if (s2sp_lua_field(L, ARG_GUARD, "opened_for_key") == LUA_TFUNCTION) {
		s2sp_lua_field(L, ARG_EVENT, "session");
		lua_call(L, 1, 1);
		created->verify_only = lua_toboolean(L, -1);
	}
	lua_settop(L, ARG_COUNT);
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "session", &at, &decision);
	/* Not to be refused here: the session cannot be closed before it has a connection. The record refuses what follows. Where nothing is enforced it is told
	 * here, since what follows knows no more than that it was refused. */
	if (decision.verdict == S2SP_VERDICT_REFUSE && s2sp_lua_observing(L, ARG_GUARD))
		return s2sp_act_refuse(L, false, at.session, decision, NULL);
	const struct s2sp_partner *partner = stream == NULL ? NULL : stream->partner; /* none either if it does not say where to */
	if (partner == NULL || !(s2sp_policy_methods(stream->policy, partner) & S2SP_METHODS_OVER_TLS)) {
		lua_pushboolean(L, false);
		s2sp_host_set(L, ARG_GUARD, at.session, "ssl_ctx");
	}
	if (partner == NULL || partner->addenda->proxy_host.length == 0)
		return 0;
	struct s2sp_text host = partner->addenda->proxy_host;
	lua_pushnil(L); /* other handlers go on */
	s2sp_push_action(L, "connect_through");
	lua_pushvalue(L, at.session);
	lua_pushlstring(L, host.bytes, host.length);
	lua_pushinteger(L, partner->proxy_port);
	return 5;
}

/*
 * s2s-check-certificate. First, before core's own judgement: no more is said to a domain that is refused anyway, and the
 * refusal is ours, with our verdict, where core's s2s_secure_auth would refuse as well. And again behind it (509), before
 * core's policy (-1), which is to see our verdict.
 */
static int on_certificate(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "session", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_certificate(stream);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_act_refuse(L, false, at.session, decision, NULL);
}

static int refuse_features(lua_State *L, int session, struct s2sp_decision decision) {
	int pushed = s2sp_act_close(L, true, "close_offering", session, decision, NULL);
	s2sp_lua_field(L, ARG_EVENT, "features");
	return pushed + 1;
}

/* s2s-stream-features, first: refuse at once, and keep core from preparing TLS where there is to be none. */
static int on_features_first(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_offer offer;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_offer(stream, &offer);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return refuse_features(L, at.session, decision);
	if (stream->stage < S2SP_STAGE_AUTHENTICATED && !offer.starttls) {
		lua_pushboolean(L, false);
		s2sp_host_set(L, ARG_GUARD, at.session, "ssl_ctx");
	}
	return 0;
}

/* Core goes on, with no more in event[field] than `offer` has. */
static int trim_features(lua_State *L, const char *field, struct s2sp_offer offer) {
	lua_pushnil(L);
	s2sp_push_action(L, "trim_features");
	s2sp_lua_field(L, ARG_EVENT, field);
	lua_createtable(L, 0, 5);
	s2sp_lua_set_boolean(L, "starttls", offer.starttls);
	s2sp_lua_set_boolean(L, "starttls_required", offer.starttls_required);
	s2sp_lua_set_boolean(L, "sasl", offer.sasl);
	s2sp_lua_set_boolean(L, "dialback", offer.dialback);
	s2sp_lua_set_boolean(L, "bidi", offer.bidi);
	return 4;
}

/* s2s-stream-features, last: what core's modules put in is cut down to what the entry allows. */
static int on_features_last(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_offer offer;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_offer(stream, &offer);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return refuse_features(L, at.session, decision);
	if (!offer.sasl && stream->stage < S2SP_STAGE_AUTHENTICATED) {
		/* Core would go on accepting an <auth/> that it has once prepared for. */
		lua_pushnil(L);
		s2sp_host_set(L, ARG_GUARD, at.session, "external_auth");
	}
	return trim_features(L, "features", offer);
}

/* <starttls/> */
static int on_starttls(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	if (!s2sp_hook_concerns_stream(L))
		return 0; /* a client's */
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_starttls(stream);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_act_close(L, true, "close_starttls", at.session, decision, NULL);
}

/* <auth/> */
static int on_auth(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	if (!s2sp_hook_concerns_stream(L))
		return 0;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_auth(stream);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_lua_place_hold(L, ARG_GUARD, at.record);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_act_close(L, true, "close_sasl", at.session, decision, NULL);
}

/* <failure/> to our <auth/> */
static int on_sasl_failure(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	if (!s2sp_hook_concerns_stream(L))
		return 0;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_sasl_failed(stream);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_act_refuse(L, true, at.session, decision, "not-authorized");
}

/* The peer's features on an outgoing stream: cut down to what may be taken up. */
static int on_peer_features(lua_State *L) {
	if (!s2sp_hook_concerns_stream(L))
		return 0;
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_plan plan;
	struct s2sp_peer_features features;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream == NULL)
		return s2sp_act_refuse(L, true, at.session, decision, NULL);
	int top = lua_gettop(L);
	s2sp_lua_field(L, ARG_GUARD, "read_features");
	s2sp_lua_field(L, ARG_EVENT, "stanza");
	lua_call(L, 1, 4);
	features.starttls = lua_toboolean(L, top + 1);
	features.starttls_required = lua_toboolean(L, top + 2);
	features.sasl_external = lua_toboolean(L, top + 3);
	features.dialback = lua_toboolean(L, top + 4);
	lua_settop(L, top);
	decision = s2sp_stream_plan(stream, &features, &plan);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_act_refuse(L, true, at.session, decision, NULL);
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED)
		return 0;
	return trim_features(L, "stanza",
						 (struct s2sp_offer){ .starttls = plan.starttls,
											  .starttls_required = features.starttls_required,
											  .sasl = plan.sasl,
											  .dialback = true,
											  .bidi = !plan.starttls });
}

/*
 * The same event again, after STARTTLS (500) and SASL (150) had their turn and before dialback (100): reached when neither
 * took the stream up, for example because there is no TLS context.
 */
static int on_peer_features_left(lua_State *L) {
	if (!s2sp_hook_concerns_stream(L))
		return 0;
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream == NULL)
		return s2sp_act_refuse(L, true, at.session, decision, NULL);
	if (stream->stage >= S2SP_STAGE_AUTHENTICATED || stream->dialback_offered)
		return 0;
	decision = stream->tls ? s2sp_stream_refuse(stream, S2SP_REASON_SASL_REQUIRED, "SASL EXTERNAL was not taken up by the host")
						   : s2sp_stream_refuse(stream, S2SP_REASON_TLS_REQUIRED,
												"the host could not start TLS: see its certificate messages");
	return s2sp_act_refuse(L, true, at.session, decision, NULL);
}

/* A peer without features (before XMPP 1.0). */
static int on_legacy(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_plan plan;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "origin", &at, &decision);
	if (stream != NULL)
		decision = s2sp_stream_plan(stream, NULL, &plan);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		return 0;
	return s2sp_act_refuse(L, true, at.session, decision, NULL);
}

/* Whether what core says is authenticated is the stream's own pair, by a mechanism that partners have. REFUSE ends the record. */
static struct s2sp_decision authenticated_pair(lua_State *L, int record, bool *by_sasl) {
	struct s2sp_stream *stream = lua_touserdata(L, record);
	struct s2sp_domain domain;
	s2sp_lua_domain(s2sp_lua_text_field(L, ARG_EVENT, "host"), &domain);
	struct s2sp_text mechanism = s2sp_lua_text_field(L, ARG_EVENT, "mechanism");
	*by_sasl = s2sp_text_equal(mechanism, S2SP_TEXT("EXTERNAL"));
	if (!s2sp_text_equal(s2sp_lua_stream_remote(L, record), s2sp_domain_text(&domain)))
		return s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "authentication of a domain that is not the stream's");
	if (!s2sp_text_equal(s2sp_lua_stream_local(L, record), s2sp_lua_text(L, ARG_HOST)))
		return s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "authentication towards a host that is not the stream's");
	if (!*by_sasl && !s2sp_text_equal(mechanism, S2SP_TEXT("dialback")))
		return s2sp_stream_refuse(stream, S2SP_REASON_NO_METHOD_LEFT, "authentication by a mechanism that is no partner method");
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream's own pair" };
}

/* Refused, and while nothing is enforced core goes on: the record notes by what, if it can be a partner's method. */
static int refuse_authenticated(lua_State *L, struct s2sp_hooked at, struct s2sp_decision decision) {
	bool by_sasl;
	struct s2sp_stream *stream = s2sp_lua_stream_test(L, at.record);
	if (stream != NULL && s2sp_lua_observing(L, ARG_GUARD) &&
		authenticated_pair(L, at.record, &by_sasl).verdict == S2SP_VERDICT_ALLOW)
		s2sp_stream_let_through(stream, by_sasl);
	return s2sp_act_refuse(L, false, at.session, decision, NULL);
}

/* s2s-authenticated: the one place where a stream becomes authenticated in the record. */
static int on_authenticated(lua_State *L) {
	struct s2sp_hooked at;
	bool by_sasl;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "session", &at, &decision);
	if (stream == NULL)
		return refuse_authenticated(L, at, decision);
	decision = authenticated_pair(L, at.record, &by_sasl);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_stream_authenticated(stream, by_sasl);
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_lua_place_hold(L, ARG_GUARD, at.record);
	if (decision.verdict == S2SP_VERDICT_REFUSE)
		return refuse_authenticated(L, at, decision);
	return 0;
}

/* s2sin-established, s2sout-established: the audit, sure to run whatever host the handshake was addressed to. */
static int on_established(lua_State *L) {
	struct s2sp_hooked at;
	struct s2sp_decision decision;
	struct s2sp_stream *stream = s2sp_hook_begin(L, "session", &at, &decision);
	/* Core says so again for each <stream:features/> of an authenticated peer. */
	bool again = stream != NULL && stream->stage == S2SP_STAGE_ESTABLISHED;
	if (stream != NULL) {
		if (s2sp_lua_other_domain_authenticated(L, at.session, s2sp_lua_stream_remote(L, at.record)))
			decision = s2sp_stream_refuse(stream, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair");
		else
			decision = s2sp_stream_established(stream);
	}
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return s2sp_act_refuse(L, true, at.session, decision, NULL);
	s2sp_stream_active(stream, s2sp_now());
	if (again)
		return 0;
	lua_pushnil(L); /* core goes on */
	s2sp_push_action(L, "established");
	lua_pushvalue(L, at.session);
	return 3;
}

static const struct s2sp_handler global_handlers[] = {
	{ "s2s-created", on_created, FIRST, true, NULL },
	{ "s2s-partners-header", on_header, FIRST, true, NULL },
	{ "s2s-check-certificate", on_certificate, FIRST, false, NULL },
	{ "s2s-check-certificate", on_certificate, 0, false, NULL },
	{ "s2sin-established", on_established, FIRST, true, NULL },
	{ "s2sout-established", on_established, FIRST, true, NULL },
};

static const struct s2sp_handler host_handlers[] = {
	{ "s2sout-created", on_outgoing_created, FIRST, true, NULL },
	{ "s2s-stream-features", on_features_first, FIRST, true, NULL },
	{ "s2s-stream-features", on_features_last, -FIRST, true, NULL },
	{ "stanza/urn:ietf:params:xml:ns:xmpp-tls:starttls", on_starttls, FIRST, true, NULL },
	{ "stanza/urn:ietf:params:xml:ns:xmpp-sasl:auth", on_auth, FIRST, true, NULL },
	{ "stanza/urn:ietf:params:xml:ns:xmpp-sasl:failure", on_sasl_failure, 300, true, NULL },
	{ "stanza/jabber:server:dialback:result", s2sp_hook_dialback_result, FIRST, true, NULL },
	{ "stanza/jabber:server:dialback:verify", s2sp_hook_dialback_verify, FIRST, true, NULL },
	{ "stanza/http://etherx.jabber.org/streams:features", on_peer_features, FIRST, true, NULL },
	{ "stanza/http://etherx.jabber.org/streams:features", on_peer_features_left, 120, true, NULL },
	{ "s2sout-authenticate-legacy", on_legacy, FIRST, true, NULL },
	{ "s2s-authenticated", on_authenticated, FIRST, false, NULL },
};

void s2sp_global_handlers_install(lua_State *L, int guard, int context) {
	s2sp_handlers_install(L, global_handlers, COUNT(global_handlers), guard, context, 0);
}

void s2sp_stream_handlers_install(lua_State *L, int guard, int context, int host) {
	s2sp_handlers_install(L, host_handlers, COUNT(host_handlers), guard, context, host);
}
