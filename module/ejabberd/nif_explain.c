/*
 * explain_stream: the functions of core/stream.h that judge real streams, called in the order in which streams call them, with facts that
 * the caller supposes. Nothing is decided here.
 */
#include "nif.h"
#include "nif_functions.h"

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

/* The steps so far, the last first, and the last verdict. */
struct run {
	ErlNifEnv *env;
	struct s2sp_stream stream;
	struct facts facts;
	struct s2sp_nif_map step; /* being written */
	ERL_NIF_TERM steps;
	struct s2sp_decision last;
};

static ERL_NIF_TERM verdict_atom(enum s2sp_verdict verdict) {
	switch (verdict) {
	case S2SP_VERDICT_ALLOW: return s2sp_atoms.allow;
	case S2SP_VERDICT_WAIT: return s2sp_atoms.wait;
	case S2SP_VERDICT_REFUSE: break;
	}
	return s2sp_atoms.refuse;
}

static void begin_step(struct run *run, const char *name, struct s2sp_decision decision) {
	run->last = decision;
	run->step.count = 0;
	s2sp_nif_put(&run->step, s2sp_atoms.step, s2sp_nif_make_string(run->env, name));
	s2sp_nif_put(&run->step, s2sp_atoms.verdict, verdict_atom(decision.verdict));
	s2sp_nif_put(&run->step, s2sp_atoms.reason, s2sp_atoms.reasons[decision.reason]);
	s2sp_nif_put(&run->step, s2sp_atoms.rule, s2sp_nif_make_words(run->env, decision.rule));
}

static bool end_step(struct run *run) {
	run->steps = enif_make_list_cell(run->env, s2sp_nif_make_map(run->env, &run->step), run->steps);
	return run->last.verdict == S2SP_VERDICT_ALLOW;
}

static bool step(struct run *run, const char *name, struct s2sp_decision decision) {
	begin_step(run, name, decision);
	return end_step(run);
}

static ERL_NIF_TERM make_offered(ErlNifEnv *env, bool starttls, bool required, bool sasl, bool dialback) {
	ERL_NIF_TERM list = enif_make_list(env, 0);
	if (dialback)
		list = enif_make_list_cell(env, s2sp_atoms.dialback, list);
	if (sasl)
		list = enif_make_list_cell(env, s2sp_atoms.sasl, list);
	if (required)
		list = enif_make_list_cell(env, s2sp_atoms.starttls_required, list);
	return starttls ? enif_make_list_cell(env, s2sp_atoms.starttls, list) : list;
}

static const char *features_of(const struct s2sp_stream *stream) {
	return stream->tls ? "features over TLS" : "features";
}

static bool step_offer(struct run *run, struct s2sp_offer *offer) {
	struct s2sp_decision decision = s2sp_stream_offer(&run->stream, offer);
	begin_step(run, features_of(&run->stream), decision);
	s2sp_nif_put(&run->step, s2sp_atoms.offered,
				 make_offered(run->env, offer->starttls, offer->starttls_required, offer->sasl, offer->dialback));
	return end_step(run);
}

static bool step_plan(struct run *run, struct s2sp_plan *plan) {
	const struct facts *facts = &run->facts;
	const bool tls = run->stream.tls;
	struct s2sp_peer_features features = {
		.starttls = facts->starttls && !tls,
		.starttls_required = facts->starttls_required && !tls,
		.sasl_external = facts->sasl && tls,
		.dialback = facts->dialback,
	};
	struct s2sp_decision decision = s2sp_stream_plan(&run->stream, &features, plan);
	begin_step(run, features_of(&run->stream), decision);
	s2sp_nif_put(&run->step, s2sp_atoms.offered, make_offered(run->env, plan->starttls, false, plan->sasl, plan->dialback));
	return end_step(run);
}

static bool step_tls(struct run *run) {
	struct s2sp_decision decision = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream has not named its domain yet" };
	s2sp_stream_observe(&run->stream, true, run->facts.certificate);
	if (run->facts.names_domain)
		decision = s2sp_stream_identify(&run->stream, s2sp_domain_text(&run->facts.domain));
	begin_step(run, "TLS", decision);
	s2sp_nif_put(&run->step, s2sp_atoms.certificate, s2sp_atoms.verdicts[run->facts.certificate]);
	return end_step(run);
}

/* Authenticated and audited. */
static bool step_authenticated(struct run *run, bool by_sasl) {
	return step(run, "authenticated", s2sp_stream_authenticated(&run->stream, by_sasl)) &&
		   step(run, "established", s2sp_stream_established(&run->stream));
}

/* The peer neither authenticates nor sends a key: whatever it sends next is judged. */
static bool step_nothing(struct run *run) {
	return step(run, "stanza without authentication", s2sp_stream_premature(&run->stream));
}

static bool run_incoming(struct run *run) {
	struct s2sp_offer offer;
	struct s2sp_stream *stream = &run->stream;
	const struct facts *facts = &run->facts;
	if (facts->names_domain && !step(run, "domain", s2sp_stream_identify(stream, s2sp_domain_text(&facts->domain))))
		return false;
	if (!step_offer(run, &offer))
		return false;
	if (facts->starttls && offer.starttls) {
		if (!step(run, "STARTTLS", s2sp_stream_starttls(stream)) || !step_tls(run) || !step_offer(run, &offer))
			return false;
	} else if (facts->starttls_required) {
		/* A peer that sends the command although it was not offered. */
		return step(run, "STARTTLS", s2sp_stream_starttls(stream)) && step_nothing(run);
	}
	if (facts->sasl && (offer.sasl || (!facts->dialback && stream->tls)))
		return step(run, "SASL EXTERNAL", s2sp_stream_auth(stream)) && step_authenticated(run, true);
	if (facts->dialback)
		return step(run, "dialback", s2sp_stream_dialback(stream)) && step_authenticated(run, false);
	return step_nothing(run);
}

static bool run_outgoing(struct run *run) {
	struct s2sp_plan plan;
	const struct s2sp_partner *partner;
	struct s2sp_stream *stream = &run->stream;
	struct s2sp_text domain = s2sp_domain_text(&run->facts.domain);
	if (!step(run, "route", s2sp_decide_route(stream->policy, domain, false, &partner)) ||
		!step(run, "domain", s2sp_stream_identify(stream, domain)) || !step_plan(run, &plan))
		return false;
	if (plan.starttls && (!step_tls(run) || !step_plan(run, &plan)))
		return false;
	if (plan.sasl)
		return step_authenticated(run, true);
	if (!run->facts.dialback)
		return step(run, "dialback",
					s2sp_stream_refuse(stream, S2SP_REASON_NO_METHOD_LEFT, "the other server does not verify our key"));
	return step(run, "dialback", s2sp_stream_dialback_answer(stream, plan.dialback, false)) && step_authenticated(run, false);
}

static bool read_facts(ErlNifEnv *env, ERL_NIF_TERM map, struct facts *facts) {
	ERL_NIF_TERM term;
	bool anonymous;
	if (!s2sp_nif_field(env, map, s2sp_atoms.direction, &term))
		return false;
	facts->incoming = term != s2sp_atoms.outgoing;
	facts->certificate = S2SP_CERTIFICATE_VALID;
	if (s2sp_nif_field(env, map, s2sp_atoms.certificate, &term)) {
		size_t at = s2sp_nif_position(term, s2sp_atoms.verdicts, COUNT(s2sp_atoms.verdicts));
		facts->certificate = at < COUNT(s2sp_atoms.verdicts) ? (enum s2sp_certificate_verdict)at : S2SP_CERTIFICATE_UNKNOWN;
	}
	if (!s2sp_nif_field(env, map, s2sp_atoms.domain, &term) || !s2sp_nif_domain(env, term, &facts->domain) ||
		!s2sp_nif_boolean_field(env, map, s2sp_atoms.anonymous, false, &anonymous))
		return false;
	facts->names_domain = !anonymous;
	return s2sp_nif_boolean_field(env, map, s2sp_atoms.starttls, true, &facts->starttls) &&
		   s2sp_nif_boolean_field(env, map, s2sp_atoms.starttls_required, false, &facts->starttls_required) &&
		   s2sp_nif_boolean_field(env, map, s2sp_atoms.sasl, true, &facts->sasl) &&
		   s2sp_nif_boolean_field(env, map, s2sp_atoms.dialback, true, &facts->dialback);
}

NIF(s2sp_nif_explain_stream) {
	struct run run = { .env = env, .steps = enif_make_list(env, 0) };
	const struct s2sp_policy *policy;
	struct s2sp_nif_map map = { 0 };
	ERL_NIF_TERM steps;
	(void)argc;
	if (!s2sp_nif_get_policy(env, argv[0], &policy) || !enif_is_map(env, argv[1]) || !read_facts(env, argv[1], &run.facts))
		return enif_make_badarg(env);
	s2sp_stream_begin(&run.stream, run.facts.incoming ? S2SP_INCOMING : S2SP_OUTGOING, policy);
	if (run.facts.incoming)
		run_incoming(&run);
	else
		run_outgoing(&run);
	if (!enif_make_reverse_list(env, run.steps, &steps))
		return enif_make_badarg(env);
	s2sp_nif_put(&map, s2sp_atoms.verdict, verdict_atom(run.last.verdict));
	s2sp_nif_put(&map, s2sp_atoms.reason, s2sp_atoms.reasons[run.last.reason]);
	s2sp_nif_put(&map, s2sp_atoms.method, s2sp_nif_method_atom((enum s2sp_method)run.stream.method));
	s2sp_nif_put(&map, s2sp_atoms.tls, s2sp_nif_make_boolean(run.stream.tls));
	s2sp_nif_put(&map, s2sp_atoms.steps, steps);
	return s2sp_nif_make_map(env, &map);
}
