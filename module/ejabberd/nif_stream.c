/* The record of a stream: how it comes to be, whom it is with, and what it says. */
#include "nif.h"
#include "nif_functions.h"

/* The record takes over the policy in `term`, which stays alive as long as the record stands on it. False: the term is no policy. */
static bool adopt(ErlNifEnv *env, struct s2sp_nif_stream *stream, ERL_NIF_TERM term, const struct s2sp_policy **policy) {
	void *object;
	struct s2sp_nif_policy *before = stream->policy;
	if (!s2sp_nif_get_or_none(env, term, S2SP_NIF_POLICY, &object))
		return false;
	stream->policy = object;
	*policy = object == NULL ? NULL : stream->policy->policy;
	if (object != NULL)
		enif_keep_resource(object);
	/* Nothing of the record may refer to it any more: what it is judged by next is looked up in the new one. */
	stream->record.partner = NULL;
	stream->record.policy = *policy;
	if (before != NULL)
		enif_release_resource(before);
	return true;
}

NIF(s2sp_nif_stream_new) {
	s2sp_milliseconds now;
	const struct s2sp_policy *policy;
	bool verify_only;
	ErlNifPid self;
	(void)argc;
	bool outgoing = argv[0] == s2sp_atoms.outgoing;
	if ((!outgoing && argv[0] != s2sp_atoms.incoming) || !s2sp_nif_get_policy(env, argv[1], &policy) ||
		!s2sp_nif_milliseconds(env, argv[2], &now) || !s2sp_nif_boolean(argv[3], &verify_only) || enif_self(env, &self) == NULL)
		return enif_make_badarg(env);
	struct s2sp_nif_stream *stream = s2sp_nif_new(S2SP_NIF_STREAM);
	if (stream == NULL)
		return s2sp_nif_raise_no_memory(env);
	stream->owner = self;
	stream->bound = policy != NULL;
	s2sp_stream_begin(&stream->record, outgoing ? S2SP_OUTGOING : S2SP_INCOMING, NULL);
	adopt(env, stream, argv[1], &policy);
	s2sp_stream_clock_start(&stream->record, now);
	stream->record.verify_only = outgoing && verify_only;
	return s2sp_nif_hand_over(env, stream);
}

/*
 * The host that the stream is for has become known, and with it the policy. Once: a stream that has one keeps it until it is judged
 * anew, and one for a host without a policy is refused by the steps that follow.
 */
NIF(s2sp_nif_stream_bind) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	const struct s2sp_policy *policy;
	(void)argc;
	if (stream == NULL || !s2sp_nif_get_policy(env, argv[1], &policy))
		return enif_make_badarg(env);
	if (stream->bound || stream->record.stage != S2SP_STAGE_OPEN) {
		if (policy == stream->record.policy)
			return s2sp_atoms.allow;
		return s2sp_nif_make_decision(
			env, s2sp_stream_refuse(&stream->record, S2SP_REASON_WRONG_DOMAIN, "the stream's local host has changed"));
	}
	stream->bound = true;
	adopt(env, stream, argv[1], &policy);
	return s2sp_atoms.allow;
}

/* The same domain as before, or none before. REFUSE ends the record. */
static struct s2sp_decision same_domain(struct s2sp_nif_stream *stream, const struct s2sp_domain *domain) {
	if (stream->domain.length > 0 && !s2sp_text_equal(s2sp_domain_text(&stream->domain), s2sp_domain_text(domain)))
		return s2sp_stream_refuse(&stream->record, S2SP_REASON_WRONG_DOMAIN, "one stream carries one domain pair");
	return (struct s2sp_decision){ S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "the stream's own pair" };
}

static struct s2sp_decision standing(const struct s2sp_stream *record, struct s2sp_decision otherwise) {
	if (record->stage != S2SP_STAGE_REFUSED)
		return otherwise;
	return (struct s2sp_decision){ S2SP_VERDICT_REFUSE,
								   record->reason == S2SP_REASON_NONE ? S2SP_REASON_INTERNAL_ERROR
																	  : (enum s2sp_reason)record->reason,
								   "the stream has been refused already" };
}

static const struct s2sp_decision no_domain_yet = { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE,
													"the stream has not named its domain yet" };

NIF(s2sp_nif_stream_identify) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct s2sp_text name;
	struct s2sp_domain domain;
	(void)argc;
	if (stream == NULL || !s2sp_nif_text(env, argv[1], &name) || !s2sp_nif_domain(env, argv[1], &domain))
		return enif_make_badarg(env);
	struct s2sp_decision decision = standing(&stream->record, no_domain_yet);
	if (decision.verdict != S2SP_VERDICT_ALLOW || name.length == 0)
		return s2sp_nif_make_decision(env, decision);
	decision = same_domain(stream, &domain);
	if (decision.verdict == S2SP_VERDICT_ALLOW) {
		stream->domain = domain;
		decision = s2sp_stream_identify(&stream->record, s2sp_domain_text(&domain));
	}
	return s2sp_nif_make_decision(env, decision);
}

NIF(s2sp_nif_stream_domain) {
	const struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	return stream == NULL ? enif_make_badarg(env) : s2sp_nif_make_text(env, s2sp_domain_text(&stream->domain));
}

static ERL_NIF_TERM make_partner_name(ErlNifEnv *env, const struct s2sp_stream *record) {
	return record->partner == NULL ? s2sp_atoms.none : s2sp_nif_make_text(env, record->partner->name);
}

NIF(s2sp_nif_stream_partner) {
	const struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	return stream == NULL ? enif_make_badarg(env) : make_partner_name(env, &stream->record);
}

static bool read_verdict(ERL_NIF_TERM term, enum s2sp_certificate_verdict *verdict) {
	size_t at = s2sp_nif_position(term, s2sp_atoms.verdicts, COUNT(s2sp_atoms.verdicts));
	if (at == COUNT(s2sp_atoms.verdicts))
		return false;
	*verdict = (enum s2sp_certificate_verdict)at;
	return true;
}

NIF(s2sp_nif_stream_observe) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	enum s2sp_certificate_verdict verdict;
	bool tls;
	(void)argc;
	if (stream == NULL || !s2sp_nif_boolean(argv[1], &tls) || !read_verdict(argv[2], &verdict))
		return enif_make_badarg(env);
	s2sp_stream_observe(&stream->record, tls, verdict);
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_authenticated) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct s2sp_domain domain;
	(void)argc;
	bool by_sasl = argv[1] == s2sp_atoms.sasl;
	if (stream == NULL || (!by_sasl && argv[1] != s2sp_atoms.dialback) || !s2sp_nif_domain(env, argv[2], &domain))
		return enif_make_badarg(env);
	struct s2sp_decision decision = standing(&stream->record, no_domain_yet);
	if (decision.verdict == S2SP_VERDICT_ALLOW &&
		(domain.length == 0 || !s2sp_text_equal(s2sp_domain_text(&domain), s2sp_domain_text(&stream->domain))))
		decision =
			s2sp_stream_refuse(&stream->record, S2SP_REASON_WRONG_DOMAIN, "authentication of a domain that is not the stream's");
	if (decision.verdict == S2SP_VERDICT_ALLOW)
		decision = s2sp_stream_authenticated(&stream->record, by_sasl);
	return s2sp_nif_make_decision(env, decision);
}

static struct s2sp_decision other_domain(struct s2sp_stream *record) {
	struct s2sp_decision decision = standing(record, no_domain_yet);
	if (decision.verdict != S2SP_VERDICT_ALLOW)
		return decision;
	return s2sp_stream_refuse(record, S2SP_REASON_WRONG_DOMAIN, "a stanza of a domain that is not the stream's");
}

/*
 * stream_stanza(Stream, Policy, Domain[, Verdict]). Every stanza comes here: the usual spelling is compared before anything is parsed.
 * Verdict: the stanza is for another of our hosts than the stream's, which may trust others.
 */
NIF(s2sp_nif_stream_stanza) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	const struct s2sp_policy *policy;
	struct s2sp_text name;
	struct s2sp_domain domain;
	enum s2sp_certificate_verdict verdict = S2SP_CERTIFICATE_UNKNOWN;
	if (stream == NULL || !s2sp_nif_get_policy(env, argv[1], &policy) || !s2sp_nif_text(env, argv[2], &name) ||
		(argc == 4 && !read_verdict(argv[3], &verdict)))
		return enif_make_badarg(env);
	struct s2sp_text own = s2sp_domain_text(&stream->domain);
	if (own.length == 0 ||
		(!s2sp_text_equal(name, own) && (!s2sp_nif_parse(name, &domain) || !s2sp_text_equal(s2sp_domain_text(&domain), own))))
		return s2sp_nif_make_decision(env, other_domain(&stream->record));
	if (argc == 3)
		return s2sp_nif_make_decision(env, s2sp_stream_stanza(&stream->record, policy, own));
	struct s2sp_stream view = stream->record;
	view.policy = NULL;
	view.certificate = (uint8_t)(view.tls ? verdict : S2SP_CERTIFICATE_UNKNOWN);
	return s2sp_nif_make_decision(env, s2sp_stream_stanza(&view, policy, own));
}

NIF(s2sp_nif_stream_rejudge) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	const struct s2sp_policy *policy;
	(void)argc;
	if (stream == NULL || !s2sp_nif_get_policy(env, argv[1], &policy))
		return enif_make_badarg(env);
	if (!stream->bound && stream->record.stage == S2SP_STAGE_OPEN)
		return s2sp_atoms.allow; /* it has not named its host yet, and will get that one's policy */
	adopt(env, stream, argv[1], &policy);
	return s2sp_nif_make_decision(env, s2sp_stream_rejudge(&stream->record, policy, s2sp_domain_text(&stream->domain)));
}

NIF(s2sp_nif_stream_refuse) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	size_t reason = s2sp_nif_position(argv[1], s2sp_atoms.reasons, COUNT(s2sp_atoms.reasons));
	if (stream == NULL || reason == COUNT(s2sp_atoms.reasons) || reason == S2SP_REASON_NONE || !enif_is_binary(env, argv[2]))
		return enif_make_badarg(env);
	if (stream->record.stage == S2SP_STAGE_REFUSED)
		return s2sp_nif_make_decision(env, standing(&stream->record, no_domain_yet));
	s2sp_stream_refuse(&stream->record, (enum s2sp_reason)reason, "");
	return enif_make_tuple3(env, s2sp_atoms.refuse, argv[1], argv[2]);
}

NIF(s2sp_nif_stream_used) {
	struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	stream->record.verify_only = false;
	return s2sp_atoms.ok;
}

NIF(s2sp_nif_stream_view) {
	const struct s2sp_nif_stream *stream = s2sp_nif_get_stream(env, argv[0]);
	struct s2sp_nif_map map = { 0 };
	(void)argc;
	if (stream == NULL)
		return enif_make_badarg(env);
	const struct s2sp_stream *record = &stream->record;
	bool refused = record->stage == S2SP_STAGE_REFUSED;
	s2sp_nif_put(&map, s2sp_atoms.direction, record->direction == S2SP_OUTGOING ? s2sp_atoms.outgoing : s2sp_atoms.incoming);
	s2sp_nif_put(&map, s2sp_atoms.stage, s2sp_atoms.stages[record->stage]);
	s2sp_nif_put(&map, s2sp_atoms.method, s2sp_nif_method_atom((enum s2sp_method)record->method));
	s2sp_nif_put(&map, s2sp_atoms.certificate, s2sp_atoms.verdicts[record->certificate]);
	s2sp_nif_put(&map, s2sp_atoms.tls, s2sp_nif_make_boolean(record->tls));
	s2sp_nif_put(&map, s2sp_atoms.domain, s2sp_nif_make_text(env, s2sp_domain_text(&stream->domain)));
	s2sp_nif_put(&map, s2sp_atoms.partner, make_partner_name(env, record));
	s2sp_nif_put(&map, s2sp_atoms.reason, refused ? s2sp_atoms.reasons[record->reason] : s2sp_atoms.none);
	s2sp_nif_put(&map, s2sp_atoms.counted, s2sp_nif_make_boolean(record->counted));
	s2sp_nif_put(&map, s2sp_atoms.verify_only, s2sp_nif_make_boolean(record->verify_only));
	s2sp_nif_put(&map, s2sp_atoms.queued, enif_make_uint(env, record->queued));
	return s2sp_nif_make_map(env, &map);
}
