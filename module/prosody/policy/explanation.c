/*
 * simulate_stream: the functions of core/stream.h that judge real streams, called in the order in which stream_handlers.c calls them, with
 * facts that the caller supposes. Nothing is decided here.
 */
#include "explanation.h"

#include "values.h"
#include "policy_object.h"

/* Stack of simulate_stream. */
enum { ARG_POLICY = 1, ARG_FACTS, STEPS, RESULT };

struct facts {
	bool incoming;
	bool names_domain; /* as opposed to a stream header without 'from' */
	bool starttls;     /* the peer takes (inbound) or offers (outbound) TLS */
	bool starttls_required;
	bool sasl;     /* the peer uses (inbound) or offers (outbound) EXTERNAL */
	bool dialback; /* the peer sends a key (inbound) or verifies ours (outbound) */
	enum s2sp_certificate_verdict certificate;
	struct s2sp_domain domain;
};

static const char *verdict_token(enum s2sp_verdict verdict) {
	switch (verdict) {
	case S2SP_VERDICT_ALLOW: return "allow";
	case S2SP_VERDICT_WAIT: return "wait";
	case S2SP_VERDICT_REFUSE: break;
	}
	return "refuse";
}

/* Appends { step, verdict, reason, rule } to the list of steps and leaves it on the stack, for more to be said of it. */
static bool begin_step(lua_State *L, const char *name, struct s2sp_decision decision) {
	lua_createtable(L, 0, 8);
	s2sp_lua_set_string(L, "step", name);
	s2sp_lua_set_string(L, "verdict", verdict_token(decision.verdict));
	s2sp_lua_set_string(L, "reason", s2sp_reason_row(decision.reason)->token);
	s2sp_lua_push_words(L, decision.rule);
	lua_setfield(L, -2, "rule");
	lua_pushvalue(L, -1);
	lua_rawseti(L, STEPS, (lua_Integer)lua_rawlen(L, STEPS) + 1);
	return decision.verdict == S2SP_VERDICT_ALLOW;
}

static bool step(lua_State *L, const char *name, struct s2sp_decision decision) {
	bool allowed = begin_step(L, name, decision);
	lua_pop(L, 1);
	return allowed;
}

static bool step_offer(lua_State *L, struct s2sp_stream *stream, struct s2sp_offer *offer) {
	struct s2sp_decision decision = s2sp_stream_offer(stream, offer);
	bool allowed = begin_step(L, stream->tls ? "features over TLS" : "features", decision);
	s2sp_lua_set_boolean(L, "starttls", offer->starttls);
	s2sp_lua_set_boolean(L, "starttls_required", offer->starttls_required);
	s2sp_lua_set_boolean(L, "sasl", offer->sasl);
	s2sp_lua_set_boolean(L, "dialback", offer->dialback);
	lua_pop(L, 1);
	return allowed;
}

static bool step_plan(lua_State *L, struct s2sp_stream *stream, const struct facts *facts, struct s2sp_plan *plan) {
	struct s2sp_peer_features features = {
		.starttls = facts->starttls && !stream->tls,
		.starttls_required = facts->starttls_required && !stream->tls,
		.sasl_external = facts->sasl && stream->tls,
		.dialback = facts->dialback,
	};
	struct s2sp_decision decision = s2sp_stream_plan(stream, &features, plan);
	bool allowed = begin_step(L, stream->tls ? "features over TLS" : "features", decision);
	s2sp_lua_set_boolean(L, "starttls", plan->starttls);
	s2sp_lua_set_boolean(L, "sasl", plan->sasl);
	s2sp_lua_set_boolean(L, "dialback", plan->dialback);
	lua_pop(L, 1);
	return allowed;
}

static bool step_tls(lua_State *L, struct s2sp_stream *stream, const struct facts *facts) {
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream has not named its domain yet" };
	s2sp_stream_observe(stream, true, facts->certificate);
	if (facts->names_domain)
		decision = s2sp_stream_identify(stream, s2sp_domain_text(&facts->domain));
	bool allowed = begin_step(L, "TLS", decision);
	s2sp_lua_set_string(L, "certificate", s2sp_certificate_verdict_token(facts->certificate));
	lua_pop(L, 1);
	return allowed;
}

/* Authenticated and audited. */
static bool step_authenticated(lua_State *L, struct s2sp_stream *stream, bool by_sasl) {
	return step(L, "authenticated", s2sp_stream_authenticated(stream, by_sasl)) &&
		   step(L, "established", s2sp_stream_established(stream));
}

/* The peer neither authenticates nor sends a key: whatever it sends next is judged. */
static bool step_nothing(lua_State *L, struct s2sp_stream *stream) {
	return step(L, "stanza without authentication", s2sp_stream_premature(stream));
}

static bool run_incoming(lua_State *L, struct s2sp_stream *stream, const struct facts *facts) {
	struct s2sp_offer offer;
	if (facts->names_domain && !step(L, "domain", s2sp_stream_identify(stream, s2sp_domain_text(&facts->domain))))
		return false;
	if (!step_offer(L, stream, &offer))
		return false;
	if (facts->starttls && offer.starttls) {
		if (!step(L, "STARTTLS", s2sp_stream_starttls(stream)) || !step_tls(L, stream, facts) || !step_offer(L, stream, &offer))
			return false;
	} else if (facts->starttls_required) {
		/* A peer that sends the command although it was not offered. */
		return step(L, "STARTTLS", s2sp_stream_starttls(stream)) && step_nothing(L, stream);
	}
	if (facts->sasl && (offer.sasl || (!facts->dialback && stream->tls)))
		return step(L, "SASL EXTERNAL", s2sp_stream_auth(stream)) && step_authenticated(L, stream, true);
	if (facts->dialback)
		return step(L, "dialback", s2sp_stream_dialback(stream)) && step_authenticated(L, stream, false);
	return step_nothing(L, stream);
}

static bool run_outgoing(lua_State *L, struct s2sp_stream *stream, const struct facts *facts) {
	struct s2sp_plan plan;
	const struct s2sp_partner *partner;
	struct s2sp_text domain = s2sp_domain_text(&facts->domain);
	if (!step(L, "route", s2sp_decide_route(stream->policy, domain, false, &partner)) ||
		!step(L, "domain", s2sp_stream_identify(stream, domain)) || !step_plan(L, stream, facts, &plan))
		return false;
	if (plan.starttls && (!step_tls(L, stream, facts) || !step_plan(L, stream, facts, &plan)))
		return false;
	if (plan.sasl)
		return step_authenticated(L, stream, true);
	if (!facts->dialback)
		return step(L, "dialback",
					s2sp_stream_refuse(stream, S2SP_REASON_NO_METHOD_LEFT, "the other server does not verify our key"));
	return step(L, "dialback", s2sp_stream_dialback_answer(stream, plan.dialback, false)) && step_authenticated(L, stream, false);
}

/* facts[name], `absent` when it is nil. */
static bool fact(lua_State *L, const char *name, bool absent) {
	lua_getfield(L, ARG_FACTS, name);
	bool value = lua_isnil(L, -1) ? absent : lua_toboolean(L, -1);
	lua_pop(L, 1);
	return value;
}

static enum s2sp_certificate_verdict certificate_fact(lua_State *L) {
	enum s2sp_certificate_verdict verdict = S2SP_CERTIFICATE_VALID;
	struct s2sp_text token = s2sp_lua_text_field(L, ARG_FACTS, "certificate");
	if (token.length == 0)
		return verdict;
	for (verdict = S2SP_CERTIFICATE_VALID; verdict <= S2SP_CERTIFICATE_MALFORMED; verdict++) {
		if (s2sp_text_equal(token, s2sp_text_from(s2sp_certificate_verdict_token(verdict))))
			return verdict;
	}
	return S2SP_CERTIFICATE_UNKNOWN;
}

/*
 * simulate_stream(policy, facts) -> { verdict, reason, method, tls, steps = { { step, verdict, reason, rule, ... }... } }
 * `policy` may be nil: a host without one. facts: direction ("in", "out"), domain, anonymous (a header without 'from'),
 * starttls, sasl, dialback (what the peer can do, true when absent), starttls_required, certificate (its verdict, valid when absent).
 */
static int simulate_stream(lua_State *L) {
	struct facts facts;
	struct s2sp_stream stream;
	const struct s2sp_policy *policy = lua_isnoneornil(L, ARG_POLICY) ? NULL : s2sp_lua_check_policy(L, ARG_POLICY);
	luaL_checktype(L, ARG_FACTS, LUA_TTABLE);
	lua_settop(L, ARG_FACTS);
	s2sp_lua_domain(s2sp_lua_text_field(L, ARG_FACTS, "domain"), &facts.domain);
	facts.incoming = !s2sp_lua_field_is(L, ARG_FACTS, "direction", "out");
	facts.names_domain = !fact(L, "anonymous", false);
	facts.starttls = fact(L, "starttls", true);
	facts.starttls_required = fact(L, "starttls_required", false);
	facts.sasl = fact(L, "sasl", true);
	facts.dialback = fact(L, "dialback", true);
	facts.certificate = certificate_fact(L);
	lua_newtable(L); /* STEPS */
	s2sp_stream_begin(&stream, facts.incoming ? S2SP_INCOMING : S2SP_OUTGOING, policy);
	if (facts.incoming)
		run_incoming(L, &stream, &facts);
	else
		run_outgoing(L, &stream, &facts);

	lua_createtable(L, 0, 5); /* RESULT */
	lua_rawgeti(L, STEPS, (lua_Integer)lua_rawlen(L, STEPS));
	lua_getfield(L, -1, "verdict");
	lua_setfield(L, RESULT, "verdict");
	lua_getfield(L, -1, "reason");
	lua_setfield(L, RESULT, "reason");
	lua_pop(L, 1);
	s2sp_lua_set_string(L, "method", s2sp_method_token((enum s2sp_method)stream.method));
	s2sp_lua_set_boolean(L, "tls", stream.tls);
	lua_pushvalue(L, STEPS);
	lua_setfield(L, RESULT, "steps");
	return 1;
}

static const char *row_verdict(enum s2sp_row_verdict verdict) {
	switch (verdict) {
	case S2SP_ROW_OK: return "ok";
	case S2SP_ROW_WARNING: return "warning";
	case S2SP_ROW_ERROR: break;
	}
	return "error";
}

/* negotiation_rows() -> { { tls, sasl, dialback, methods = { token... }, verdict, text }... }, all 18 in their order */
static int negotiation_rows(lua_State *L) {
	static const enum s2sp_method methods[] = { S2SP_METHOD_SASL, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_TCP_DIALBACK };
	const struct s2sp_negotiation_row *row;
	lua_createtable(L, S2SP_NEGOTIATION_ROWS, 0);
	for (size_t i = 0; (row = s2sp_negotiation_row_at(i)) != NULL; i++) {
		lua_createtable(L, 0, 6);
		s2sp_lua_set_string(L, "tls", s2sp_requirement_token(row->tls));
		s2sp_lua_set_string(L, "sasl", s2sp_requirement_token(row->sasl));
		s2sp_lua_set_boolean(L, "dialback", row->dialback);
		s2sp_lua_set_string(L, "verdict", row_verdict(row->verdict));
		s2sp_lua_set_string(L, "text", row->text);
		lua_newtable(L);
		for (size_t method = 0; method < sizeof(methods) / sizeof(methods[0]); method++) {
			if (!(row->methods & (unsigned)methods[method]))
				continue;
			lua_pushstring(L, s2sp_method_token(methods[method]));
			lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
		}
		lua_setfield(L, -2, "methods");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

int s2sp_lua_open_explain(lua_State *L) {
	static const luaL_Reg functions[] = {
		{ "simulate_stream", simulate_stream },
		{ "negotiation_rows", negotiation_rows },
		{ NULL, NULL },
	};
	luaL_newlib(L, functions);
	return 1;
}
