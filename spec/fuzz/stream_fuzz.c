/*
 * The stream record under any sequence of events. Input: direction, policy, then events. What must hold after each: a refusal is
 * final, nothing is allowed without a method of the row (less what the host's constraints take away), no method over the wrong kind
 * of connection, and a domain that is not listed gets nowhere.
 */
#include <string.h>

#include "../core/allocator.h"
#include "../core/host_fixture.h"
#include "config.h"
#include "fuzz.h"
#include "stream.h"
#include "stream_limits.h"

/* fabrikam.test under one row, litware.test under SASL alone; with or without a policy for all others, options lax or strict. */
struct world {
	struct s2sp_partner_table *table;
	struct s2sp_policy *policy;
	bool open;
};
#define WORLDS_MAX (S2SP_NEGOTIATION_ROWS * 4 + 1)
static struct world worlds[WORLDS_MAX]; /* the last one has no policy */
static unsigned world_count;

static const struct s2sp_allocator allocator = PLAIN_ALLOCATOR;
static const unsigned char seed[16] = { 7 };
static const struct s2sp_value table_value = { .kind = S2SP_VALUE_COMPOUND };

static void set_word(struct s2sp_config *config, const char *key, const char *word) {
	struct s2sp_value value = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(word) };
	CHECK(s2sp_config_set(config, s2sp_text_from(key), &value) == S2SP_STATUS_OK);
}

static void set_row(struct s2sp_config *config, const struct s2sp_negotiation_row *row) {
	struct s2sp_value dialback = { .kind = S2SP_VALUE_BOOLEAN, .boolean = row->dialback };
	set_word(config, "partner_type", "federated");
	set_word(config, "tls", s2sp_requirement_token(row->tls));
	set_word(config, "sasl", s2sp_requirement_token(row->sasl));
	CHECK(s2sp_config_set(config, S2SP_TEXT("dialback"), &dialback) == S2SP_STATUS_OK);
}

static struct s2sp_partner_table *build_table(const struct s2sp_negotiation_row *row) {
	struct s2sp_partner_table *table = NULL;
	struct s2sp_config *config = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	CHECK(config != NULL && s2sp_config_local_domain(config, S2SP_TEXT("contoso.test")) == S2SP_STATUS_OK);
	CHECK(s2sp_config_begin_list(config, S2SP_TEXT("partner_list"), &table_value) == S2SP_STATUS_OK);
	CHECK(s2sp_config_begin_partner(config, 1, &table_value, S2SP_TEXT("fabrikam.test")) == S2SP_STATUS_OK);
	set_word(config, "domain", "fabrikam.test");
	set_row(config, row);
	CHECK(s2sp_config_begin_partner(config, 2, &table_value, S2SP_TEXT("litware.test")) == S2SP_STATUS_OK);
	set_word(config, "domain", "litware.test");
	set_word(config, "partner_type", "federated");
	CHECK(s2sp_config_seal_table(config, &table) == S2SP_STATUS_OK);
	s2sp_config_free(config);
	return table;
}

static void add_world(const struct s2sp_negotiation_row *row, bool open, bool strict) {
	struct world *world = &worlds[world_count];
	const struct test_host constrained = { .starttls_required = strict, .certified = strict ? "all" : NULL };
	*world = (struct world){ .table = build_table(row), .open = open };
	struct s2sp_config *host = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	CHECK(host != NULL);
	if (open) {
		CHECK(s2sp_config_begin_default(host, &table_value) == S2SP_STATUS_OK);
		set_row(host, row);
	}
	/* The host's options may leave the row no method at all: an error, and no policy. */
	if (s2sp_config_seal_policy(host, world->table, TEST_HOST(&constrained), &world->policy) == S2SP_STATUS_OK)
		world_count++;
	else
		s2sp_partner_table_free(world->table);
	s2sp_config_free(host);
}

static void make_worlds(void) {
	for (size_t i = 0; i < S2SP_NEGOTIATION_ROWS; i++) {
		const struct s2sp_negotiation_row *row = s2sp_negotiation_row_at(i);
		for (int way = 0; way < 4 && row->verdict != S2SP_ROW_ERROR; way++)
			add_world(row, way & 1, way & 2);
	}
	worlds[world_count] = (struct world){ NULL, NULL, false };
	world_count++;
}

static const char *const names[] = { "fabrikam.test", "litware.test", "evil.test", "contoso.test", "" };
enum { FABRIKAM, LITWARE, EVIL, LOCAL, NOTHING, NAMES };

static bool reachable(const struct world *world, unsigned name) {
	return world->policy != NULL && name != LOCAL && name != NOTHING && (name != EVIL || world->open);
}

static const struct world *world_of(const struct s2sp_policy *policy) {
	for (unsigned i = 0; i < world_count; i++) {
		if (worlds[i].policy == policy)
			return &worlds[i];
	}
	return NULL;
}

static void check_record(const struct s2sp_stream *stream) {
	CHECK(stream->stage <= S2SP_STAGE_ESTABLISHED);
	if (stream->stage == S2SP_STAGE_REFUSED)
		CHECK(stream->reason != S2SP_REASON_NONE);
	if (stream->stage < S2SP_STAGE_IDENTIFIED)
		return;
	CHECK(stream->policy != NULL && stream->partner != NULL);
	if (stream->stage < S2SP_STAGE_AUTHENTICATED)
		return;
	CHECK((s2sp_policy_methods(stream->policy, stream->partner) & stream->method) != 0);
	CHECK((stream->partner->row->methods & stream->method) != 0);
	/* The facts may change afterwards; a new policy is what judges them again. */
	CHECK(stream->tls || stream->method == S2SP_METHOD_TCP_DIALBACK);
}

/* What every decision must be like, from any function. */
static void check_decision(struct s2sp_decision decision, const struct s2sp_stream *stream, bool was_refused) {
	CHECK(decision.rule != NULL && decision.rule[0] != '\0');
	CHECK((decision.verdict == S2SP_VERDICT_ALLOW) == (decision.reason == S2SP_REASON_NONE) ||
		  decision.verdict == S2SP_VERDICT_WAIT);
	if (was_refused)
		CHECK(decision.verdict == S2SP_VERDICT_REFUSE && stream->stage == S2SP_STAGE_REFUSED);
	if (stream->policy == NULL)
		CHECK(decision.verdict == S2SP_VERDICT_REFUSE);
}

static void step(struct choices *choices, struct s2sp_stream *stream, unsigned *name) {
	bool was_refused = stream->stage == S2SP_STAGE_REFUSED;
	bool decided = true;
	struct s2sp_decision decision = { .rule = "" };
	struct s2sp_offer offer;
	struct s2sp_plan plan;
	unsigned event = choose(choices, 21), argument = choose(choices, 256);
	struct s2sp_peer_features features = { argument & 1, argument & 2, argument & 4, argument & 8 };
	const struct s2sp_partner *partner = NULL;
	switch (event) {
	case 0:
		decision = s2sp_stream_identify(stream, s2sp_text_from(names[argument % NAMES]));
		if (decision.verdict == S2SP_VERDICT_ALLOW) {
			CHECK(stream->policy != NULL && reachable(world_of(stream->policy), argument % NAMES));
			*name = argument % NAMES;
		}
		break;
	case 1:
		s2sp_stream_observe(stream, argument & 1, (enum s2sp_certificate_verdict)(argument / 2 % 9));
		decided = false;
		break;
	case 2:
		decision = s2sp_stream_offer(stream, &offer);
		if (decision.verdict == S2SP_VERDICT_ALLOW && stream->partner != NULL) {
			unsigned methods = s2sp_policy_methods(stream->policy, stream->partner);
			CHECK(!offer.sasl || (stream->tls && stream->certificate == S2SP_CERTIFICATE_VALID && (methods & S2SP_METHOD_SASL)));
			CHECK(!offer.dialback || (methods & (stream->tls ? S2SP_METHOD_TLS_DIALBACK : S2SP_METHOD_TCP_DIALBACK)));
			CHECK(!offer.starttls || (!stream->tls && stream->partner->row->tls != S2SP_NOT_SUPPORTED));
		} else if (decision.verdict == S2SP_VERDICT_ALLOW) {
			CHECK(!offer.sasl && !offer.dialback); /* STARTTLS only */
		}
		break;
	case 3: decision = s2sp_stream_starttls(stream); break;
	case 4: decision = s2sp_stream_auth(stream); break;
	case 5: decision = s2sp_stream_dialback(stream); break;
	case 6: decision = s2sp_stream_verify(stream); break;
	case 7:
		decision = s2sp_stream_plan(stream, argument & 16 ? &features : NULL, &plan);
		if (decision.verdict == S2SP_VERDICT_ALLOW) {
			unsigned methods = s2sp_policy_methods(stream->policy, stream->partner);
			CHECK(!plan.sasl || (stream->tls && stream->certificate == S2SP_CERTIFICATE_VALID && (methods & S2SP_METHOD_SASL)));
			CHECK(!plan.dialback || (methods & (stream->tls ? S2SP_METHOD_TLS_DIALBACK : S2SP_METHOD_TCP_DIALBACK)));
		}
		break;
	case 8: decision = s2sp_stream_sasl_failed(stream); break;
	case 9: decision = s2sp_stream_dialback_answer(stream, argument & 1, argument & 2); break;
	case 10:
		decision = s2sp_stream_authenticated(stream, argument & 1);
		if (decision.verdict == S2SP_VERDICT_ALLOW) {
			CHECK(stream->stage == S2SP_STAGE_AUTHENTICATED && stream->tls == (stream->method != S2SP_METHOD_TCP_DIALBACK));
			CHECK((stream->method == S2SP_METHOD_SASL) == (argument & 1));
			CHECK(stream->method != S2SP_METHOD_SASL || stream->certificate == S2SP_CERTIFICATE_VALID);
		}
		break;
	case 11:
		decision = s2sp_stream_established(stream);
		CHECK(decision.verdict != S2SP_VERDICT_ALLOW || stream->stage == S2SP_STAGE_ESTABLISHED);
		break;
	case 12: decision = s2sp_stream_certificate(stream); break;
	case 13:
		decision = s2sp_stream_premature(stream);
		CHECK(decision.verdict == S2SP_VERDICT_REFUSE);
		break;
	case 14: {
		const struct world *other = &worlds[argument % world_count];
		decision = s2sp_stream_stanza(stream, other->policy, s2sp_text_from(names[*name]));
		if (decision.verdict == S2SP_VERDICT_ALLOW) {
			CHECK(stream->stage == S2SP_STAGE_ESTABLISHED && reachable(other, *name));
			const struct s2sp_partner *there = s2sp_policy_find(other->policy, s2sp_text_from(names[*name]), NULL);
			CHECK(there != NULL && (s2sp_policy_methods(other->policy, there) & stream->method) != 0);
		}
		break;
	}
	case 15: {
		const struct world *other = &worlds[argument % world_count];
		decision = s2sp_stream_rejudge(stream, other->policy, s2sp_text_from(names[*name]));
		CHECK(was_refused || stream->policy == other->policy);
		if (decision.verdict == S2SP_VERDICT_ALLOW && stream->stage >= S2SP_STAGE_AUTHENTICATED)
			CHECK(stream->method != S2SP_METHOD_SASL || stream->certificate == S2SP_CERTIFICATE_VALID);
		break;
	}
	case 16: {
		const struct world *other = &worlds[argument % world_count];
		unsigned whom = argument / world_count % NAMES;
		decided = false;
		decision = s2sp_decide_route(other->policy, s2sp_text_from(names[whom]), argument & 128, &partner);
		CHECK(decision.verdict != S2SP_VERDICT_ALLOW || (partner != NULL && reachable(other, whom)));
		break;
	}
	case 17:
		if (argument > 8) { /* or most sequences would end here */
			decided = false;
			s2sp_stream_place(stream);
			break;
		}
		decision = s2sp_stream_refuse(stream, S2SP_REASON_INTERNAL_ERROR, "by the fuzzer");
		CHECK(decision.verdict == S2SP_VERDICT_REFUSE && stream->stage == S2SP_STAGE_REFUSED);
		break;
	case 18:
		decision = s2sp_stream_misplaced(stream, s2sp_handshake_row_at(argument)); /* NULL past the end */
		CHECK(decision.verdict == S2SP_VERDICT_REFUSE && stream->stage == S2SP_STAGE_REFUSED);
		break;
	case 19: {
		const struct s2sp_handshake_row *row = s2sp_handshake_row_at(argument % 16);
		size_t size = (size_t)argument * 16;
		struct s2sp_handshake_shape shape = { .from = { names[0], size },
											  .to = { names[0], size },
											  .id = { names[0], size },
											  .attributes = size,
											  .text = size,
											  .children = argument / 2,
											  .elements = argument };
		enum s2sp_handshake_fault fault = s2sp_handshake_check(row, &shape);
		CHECK(fault != S2SP_HANDSHAKE_FITS || (size <= S2SP_HANDSHAKE_ID_MAX && argument / 2 <= S2SP_HANDSHAKE_CHILDREN_MAX));
		decision = s2sp_stream_misshapen(stream, row, fault);
		CHECK(decision.verdict != S2SP_VERDICT_ALLOW);
		CHECK(decision.verdict != S2SP_VERDICT_WAIT ||
			  (stream->direction == S2SP_INCOMING && fault == S2SP_HANDSHAKE_FAULT_CONTENT));
		CHECK(stream->faults <= S2SP_STREAM_FAULTS_MAX);
		break;
	}
	case 20:
		if (was_refused || stream->policy == NULL ||
			stream->stage < S2SP_STAGE_IDENTIFIED) { /* asked behind s2sp_stream_verify */
			decided = false;
			break;
		}
		decision = s2sp_stream_wrong_key(stream);
		CHECK(stream->faults <= S2SP_STREAM_FAULTS_MAX && stream->wrong_keys <= S2SP_STREAM_WRONG_KEYS_TOLD);
		break;
	}
	if (decided)
		check_decision(decision, stream, was_refused);
	if (was_refused)
		CHECK(stream->stage == S2SP_STAGE_REFUSED);
	check_record(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct choices choices = { data, size };
	struct s2sp_stream stream;
	unsigned name = NOTHING;
	if (world_count == 0)
		make_worlds();
	enum s2sp_direction direction = choose(&choices, 2) ? S2SP_OUTGOING : S2SP_INCOMING;
	s2sp_stream_begin(&stream, direction, worlds[choose(&choices, world_count)].policy);
	check_record(&stream);
	for (int steps = 0; steps < 200 && choices.size > 0; steps++)
		step(&choices, &stream, &name);
	return 0;
}
