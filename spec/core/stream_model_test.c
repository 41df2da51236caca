/*
 * The stream record against a model of its own: every state that any events lead to, under every row, in both directions, step by
 * step. What is expected is computed from the settings, not taken from the table.
 *
 * S2SP_STRIDE: only every so many rows (1).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "stream_fixture.h"
#include "stream_limits.h"

static const char pin[] = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/* --- events --- */

enum kind {
	IDENTIFY,
	OBSERVE,
	OFFER,
	STARTTLS,
	AUTH,
	DIALBACK,
	VERIFY,
	PLAN,
	SASL_FAILED,
	ANSWER,
	AUTHENTICATED,
	ESTABLISHED,
	CERTIFICATE,
	PREMATURE,
	STANZA,
	REJUDGE
};

struct event {
	enum kind kind;
	unsigned argument;
};

/* Verdicts on a certificate of which each kind is one. */
static const enum s2sp_certificate_verdict few_verdicts[] = { S2SP_CERTIFICATE_UNKNOWN, S2SP_CERTIFICATE_VALID,
															  S2SP_CERTIFICATE_EXPIRED };
enum { VERDICTS = S2SP_CERTIFICATE_MALFORMED + 1, EVENTS_MAX = 80 };

static const char *const names[] = { "fabrikam.test", "litware.test", "evil.test", "" };
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static size_t add(struct event events[], size_t count, enum kind kind, unsigned arguments) {
	for (unsigned argument = 0; argument < arguments; argument++)
		events[count++] = (struct event){ kind, argument };
	return count;
}

static size_t all_events(struct event events[EVENTS_MAX], bool every_verdict) {
	size_t count = add(events, 0, IDENTIFY, NAMES);
	if (every_verdict)
		count = add(events, count, OBSERVE, 2 * VERDICTS);
	for (size_t i = 0; !every_verdict && i < 2 * sizeof(few_verdicts) / sizeof(few_verdicts[0]); i++)
		events[count++] = (struct event){ OBSERVE, (unsigned)few_verdicts[i / 2] * 2 + i % 2 };
	count = add(events, count, PLAN, 17); /* sixteen kinds of features, and none */
	count = add(events, count, ANSWER, 4);
	count = add(events, count, AUTHENTICATED, 2);
	count = add(events, count, STANZA, 2);
	count = add(events, count, REJUDGE, 2);
	static const enum kind others[] = {
		OFFER, STARTTLS, AUTH, DIALBACK, VERIFY, SASL_FAILED, ESTABLISHED, CERTIFICATE, PREMATURE
	};
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		count = add(events, count, others[i], 1);
	assert_true(count <= EVENTS_MAX);
	return count;
}

/* What a step gives the peer: what is allowed, offered or planned. */
struct outcome {
	struct s2sp_decision decision;
	unsigned given;
};
enum { GIVES_STARTTLS = 1, GIVES_SASL = 2, GIVES_DIALBACK = 4, GIVES_BIDI = 8, GIVES_STEP = 16 };

static struct outcome apply(struct s2sp_stream *stream, const struct fixture *fixture, struct event event) {
	struct outcome outcome = { { S2SP_VERDICT_ALLOW, S2SP_REASON_NONE, "a fact" }, 0 };
	struct s2sp_offer offer = { 0 };
	struct s2sp_plan plan = { 0 };
	unsigned argument = event.argument;
	struct s2sp_peer_features features = { argument & 1, argument & 2, argument & 4, argument & 8 };
	switch (event.kind) {
	case IDENTIFY: outcome.decision = s2sp_stream_identify(stream, s2sp_text_from(names[argument])); break;
	case OBSERVE: s2sp_stream_observe(stream, argument & 1, (enum s2sp_certificate_verdict)(argument / 2)); return outcome;
	case OFFER: outcome.decision = s2sp_stream_offer(stream, &offer); break;
	case STARTTLS: outcome.decision = s2sp_stream_starttls(stream); break;
	case AUTH: outcome.decision = s2sp_stream_auth(stream); break;
	case DIALBACK: outcome.decision = s2sp_stream_dialback(stream); break;
	case VERIFY: outcome.decision = s2sp_stream_verify(stream); break;
	case PLAN: outcome.decision = s2sp_stream_plan(stream, argument == 16 ? NULL : &features, &plan); break;
	case SASL_FAILED: outcome.decision = s2sp_stream_sasl_failed(stream); break;
	case ANSWER: outcome.decision = s2sp_stream_dialback_answer(stream, argument & 1, argument & 2); break;
	case AUTHENTICATED: outcome.decision = s2sp_stream_authenticated(stream, argument & 1); break;
	case ESTABLISHED: outcome.decision = s2sp_stream_established(stream); break;
	case CERTIFICATE: outcome.decision = s2sp_stream_certificate(stream); break;
	case PREMATURE: outcome.decision = s2sp_stream_premature(stream); break;
	case STANZA: outcome.decision = s2sp_stream_stanza(stream, argument ? NULL : fixture->policy, fabrikam); break;
	case REJUDGE: outcome.decision = s2sp_stream_rejudge(stream, argument ? NULL : fixture->policy, fabrikam); break;
	}
	if (outcome.decision.verdict == S2SP_VERDICT_ALLOW)
		outcome.given = GIVES_STEP | (offer.starttls || plan.starttls ? GIVES_STARTTLS : 0) |
						(offer.sasl || plan.sasl ? GIVES_SASL : 0) | (offer.dialback || plan.dialback ? GIVES_DIALBACK : 0) |
						(offer.bidi ? GIVES_BIDI : 0);
	return outcome;
}

/* --- states: all that a decision can depend on, in 24 bits --- */

enum { STATE_BITS = 24 };

static uint32_t state_of(const struct s2sp_stream *stream) {
	unsigned partner = stream->partner == NULL ? 0 : s2sp_text_equal(stream->partner->name, fabrikam) ? 1 : 2;
	return stream->stage | (uint32_t)stream->tls << 3 | (uint32_t)stream->certificate << 4 | (uint32_t)stream->method << 8 |
		   (uint32_t)stream->sasl_offered << 11 | (uint32_t)stream->dialback_offered << 12 | (uint32_t)stream->key_asked << 13 |
		   (uint32_t)stream->asked << 14 | partner << 15 | (uint32_t)stream->reason << 17 |
		   (uint32_t)(stream->policy == NULL) << 22;
}

/* States (or pairs of them) that have been met and wait for their turn. */
struct search {
	uint64_t *keys; /* open addressing; a key is never 0 */
	struct s2sp_stream (*streams)[2];
	size_t size, met;
};

static struct search begin_search(size_t size) {
	struct search search = { calloc(2 * size, sizeof(uint64_t)), calloc(size, sizeof(struct s2sp_stream[2])), size, 0 };
	assert_non_null(search.keys);
	assert_non_null(search.streams);
	return search;
}

static void end_search(struct search *search) {
	free(search->keys);
	free(search->streams);
}

static void meet(struct search *search, const struct s2sp_stream *one, const struct s2sp_stream *other) {
	uint64_t key = state_of(one) | (uint64_t)(other == NULL ? 0 : state_of(other)) << STATE_BITS | (uint64_t)1 << 63;
	size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) % (2 * search->size);
	for (; search->keys[at] != 0; at = (at + 1) % (2 * search->size)) {
		if (search->keys[at] == key)
			return;
	}
	search->keys[at] = key;
	assert_true(search->met < search->size);
	search->streams[search->met][0] = *one;
	if (other != NULL)
		search->streams[search->met][1] = *other;
	search->met++;
}

/* --- one stream --- */

static bool reached[S2SP_REASON_COUNT];

/* Those of docs/reasons.md that refuse streams; those of stanzas must never come out here. */
static bool is_stream_reason(enum s2sp_reason reason) {
	return reason > S2SP_REASON_NONE && reason <= S2SP_REASON_NO_METHOD_LEFT;
}

static void check_step(const struct s2sp_stream *before, const struct s2sp_stream *after, struct outcome outcome,
					   struct event event, const struct s2sp_negotiation_row *row) {
	assert_non_null(outcome.decision.rule);
	assert_true(outcome.decision.rule[0] != '\0' || before->policy == NULL || outcome.decision.verdict == S2SP_VERDICT_ALLOW);
	if (outcome.decision.verdict == S2SP_VERDICT_REFUSE) {
		assert_true(is_stream_reason(outcome.decision.reason));
		reached[outcome.decision.reason] = true;
	} else if (outcome.decision.verdict == S2SP_VERDICT_ALLOW) {
		assert_int_equal(outcome.decision.reason, S2SP_REASON_NONE);
	}
	if (before->stage == S2SP_STAGE_REFUSED) {
		assert_int_equal(after->stage, S2SP_STAGE_REFUSED);
		assert_true(outcome.decision.verdict == S2SP_VERDICT_REFUSE || event.kind == OBSERVE);
	}
	if (after->stage == S2SP_STAGE_REFUSED)
		assert_true(is_stream_reason((enum s2sp_reason)after->reason));
	if (after->stage > before->stage && after->stage == S2SP_STAGE_AUTHENTICATED) {
		assert_int_equal(event.kind, AUTHENTICATED);
		assert_true(after->method != S2SP_METHOD_SASL || after->certificate == S2SP_CERTIFICATE_VALID);
	}
	if (after->stage == S2SP_STAGE_ESTABLISHED && before->stage != after->stage)
		assert_true(event.kind == ESTABLISHED && before->stage == S2SP_STAGE_AUTHENTICATED);
	if (after->stage >= S2SP_STAGE_AUTHENTICATED && s2sp_text_equal(after->partner->name, fabrikam)) {
		assert_true((may(row) & after->method) != 0);
		assert_true(after->tls || after->method == S2SP_METHOD_TCP_DIALBACK);
	}
}

/* Everything that events can lead to. Returns the methods by which a stream with fabrikam.test can be established. */
static unsigned explore(const struct s2sp_negotiation_row *row, const struct fixture *fixture, enum s2sp_direction direction) {
	struct search search = begin_search(60000);
	struct event events[EVENTS_MAX];
	size_t count = all_events(events, true);
	struct s2sp_stream stream;
	unsigned methods = 0;
	s2sp_stream_begin(&stream, direction, fixture->policy);
	meet(&search, &stream, NULL);
	for (size_t next = 0; next < search.met; next++) {
		for (size_t i = 0; i < count; i++) {
			stream = search.streams[next][0];
			struct outcome outcome = apply(&stream, fixture, events[i]);
			check_step(&search.streams[next][0], &stream, outcome, events[i], row);
			if (stream.stage == S2SP_STAGE_ESTABLISHED && s2sp_text_equal(stream.partner->name, fabrikam))
				methods |= stream.method;
			meet(&search, &stream, NULL);
		}
	}
	end_search(&search);
	return methods;
}

static size_t stride(void) {
	const char *text = getenv("S2SP_STRIDE");
	return text == NULL || atoi(text) < 1 ? 1 : (size_t)atoi(text);
}

static void test_every_state(void **state) {
	(void)state;
	for (size_t i = 0; i < S2SP_NEGOTIATION_ROWS; i += stride()) {
		const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(i);
		for (int pinned = 0; pinned < 2; pinned++) {
			struct fixture fixture = { 0 };
			bool built =
				build(&fixture, row->tls, row->sasl, row->dialback, true, pinned && row->tls != S2SP_NOT_SUPPORTED ? pin : NULL);
			assert_int_equal(built, may(row) != 0);
			if (!built) {
				drop(&fixture);
				continue;
			}
			/* Whichever side opens the stream: the same methods, and no other. */
			assert_int_equal(explore(row, &fixture, S2SP_INCOMING), may(row));
			assert_int_equal(explore(row, &fixture, S2SP_OUTGOING), may(row));
			drop(&fixture);
		}
	}
}

/* --- two streams in step, one under a stricter row --- */

/* Whether `strict` is `lax` with one setting (or more) stricter: TLS or SASL required instead of optional, no dialback. */
static bool is_stricter(const struct s2sp_negotiation_row *strict, const struct s2sp_negotiation_row *lax) {
	bool tls = strict->tls == lax->tls || (strict->tls == S2SP_REQUIRED && lax->tls == S2SP_OPTIONAL);
	bool sasl = strict->sasl == lax->sasl || (strict->sasl == S2SP_REQUIRED && lax->sasl == S2SP_OPTIONAL);
	return strict != lax && tls && sasl && (!strict->dialback || lax->dialback);
}

static void check_pair(const struct s2sp_stream *strict, const struct s2sp_stream *lax, struct outcome of_strict,
					   struct outcome of_lax, struct event event) {
	if (of_strict.given & ~of_lax.given)
		fail_msg("event %d (%u) gives %#x under the stricter row and %#x otherwise", (int)event.kind, event.argument,
				 of_strict.given, of_lax.given);
	assert_true(strict->stage <= lax->stage);
	if (strict->stage >= S2SP_STAGE_AUTHENTICATED)
		assert_int_equal(strict->method, lax->method);
}

static void explore_pair(const struct fixture *strict, const struct fixture *lax, enum s2sp_direction direction) {
	struct search search = begin_search(200000);
	struct event events[EVENTS_MAX];
	size_t count = all_events(events, false);
	struct s2sp_stream one, other;
	s2sp_stream_begin(&one, direction, strict->policy);
	s2sp_stream_begin(&other, direction, lax->policy);
	meet(&search, &one, &other);
	for (size_t next = 0; next < search.met; next++) {
		for (size_t i = 0; i < count; i++) {
			one = search.streams[next][0];
			other = search.streams[next][1];
			struct outcome of_strict = apply(&one, strict, events[i]), of_lax = apply(&other, lax, events[i]);
			check_pair(&one, &other, of_strict, of_lax, events[i]);
			meet(&search, &one, &other);
		}
	}
	end_search(&search);
}

static void test_stricter_is_never_more(void **state) {
	(void)state;
	size_t pairs = 0;
	for (size_t i = 0; i < (size_t)S2SP_NEGOTIATION_ROWS * S2SP_NEGOTIATION_ROWS; i++) {
		const struct s2sp_negotiation_row *strict = s2sp_negotiation_row_at(i / S2SP_NEGOTIATION_ROWS);
		const struct s2sp_negotiation_row *lax = s2sp_negotiation_row_at(i % S2SP_NEGOTIATION_ROWS);
		if (!is_stricter(strict, lax) || may(strict) == 0 || may(lax) == 0 || pairs++ % stride() != 0)
			continue;
		struct fixture one = { 0 }, other = { 0 };
		const char *pins = pairs % 2 == 0 && strict->tls != S2SP_NOT_SUPPORTED ? pin : NULL;
		assert_true(build(&one, strict->tls, strict->sasl, strict->dialback, true, pins));
		assert_true(build(&other, lax->tls, lax->sasl, lax->dialback, true, pins));
		explore_pair(&one, &other, S2SP_INCOMING);
		explore_pair(&one, &other, S2SP_OUTGOING);
		drop(&one);
		drop(&other);
	}
	assert_int_equal(pairs, 20);
}

/* --- reasons --- */

/* Those that come from counts and clocks, which the record does not have. */
static void reach_limits(const struct fixture *fixture) {
	const struct s2sp_partner *partner;
	struct s2sp_stream stream = start(fixture, S2SP_INCOMING, true, S2SP_CERTIFICATE_VALID);
	const struct s2sp_limits *limits = s2sp_policy_limits(fixture->policy);
	bool keepalive;
	assert_int_equal(s2sp_decide_route(fixture->policy, fabrikam, false, &partner).verdict, S2SP_VERDICT_ALLOW);
	struct s2sp_counts full = { UINT32_MAX, UINT32_MAX };
	reached[s2sp_decide_place(fixture->policy, partner, full).reason] = true;
	s2sp_stream_clock_start(&stream, 0);
	reached[s2sp_stream_due(&stream, limits, UINT32_MAX, &keepalive).reason] = true;
	s2sp_stream_authenticated(&stream, true);
	s2sp_stream_established(&stream);
	reached[s2sp_stream_due(&stream, limits, UINT32_MAX, &keepalive).reason] = true;
}

/* After test_every_state: there is no reason that nothing leads to. */
static void test_every_reason_is_reached(void **state) {
	(void)state;
	struct fixture fixture = { 0 };
	assert_true(build(&fixture, S2SP_REQUIRED, S2SP_REQUIRED, false, true, NULL));
	reach_limits(&fixture);
	drop(&fixture);
	for (int reason = S2SP_REASON_NONE + 1; stride() == 1 && reason < S2SP_REASON_COUNT; reason++) {
		if (is_stream_reason((enum s2sp_reason)reason) != reached[reason])
			fail_msg("%s is %sreached", s2sp_reason_row((enum s2sp_reason)reason)->token, reached[reason] ? "" : "not ");
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_state),
		cmocka_unit_test(test_stricter_is_never_more),
		cmocka_unit_test(test_every_reason_is_reached),
	};
	return cmocka_run_group_tests_name("stream_model", tests, NULL, NULL);
}
