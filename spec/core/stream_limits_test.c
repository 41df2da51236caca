#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "allocator.h"
#include "host_fixture.h"
#include "s2sp.h"

static const struct s2sp_allocator allocator = PLAIN_ALLOCATOR;
static const unsigned char seed[16] = { 3 };

struct fixture {
	struct s2sp_partner_table *table;
	struct s2sp_policy *policy;
	const struct s2sp_partner *sasl;     /* SASL only, connection_limit 2, keepalive */
	const struct s2sp_partner *dialback; /* TLS dialback only, the general limit */
};

static void set(struct s2sp_config *config, const char *key, struct s2sp_value value) {
	assert_int_equal(s2sp_config_set(config, s2sp_text_from(key), &value), S2SP_STATUS_OK);
}

static struct s2sp_value text(const char *value) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(value) };
}

static struct s2sp_value yes(void) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_BOOLEAN, .boolean = true };
}

static struct s2sp_value number(int value) {
	return (struct s2sp_value){ .kind = S2SP_VALUE_NUMBER, .number = value };
}

static void begin_partner(struct s2sp_config *config, size_t index, const char *domain) {
	struct s2sp_value table = { .kind = S2SP_VALUE_COMPOUND };
	assert_int_equal(s2sp_config_begin_partner(config, index, &table, s2sp_text_from(domain)), S2SP_STATUS_OK);
	set(config, "domain", text(domain));
	set(config, "partner_type", text("federated"));
}

static int setup(void **state) {
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct s2sp_value table = { .kind = S2SP_VALUE_COMPOUND };
	struct s2sp_config *config = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	assert_non_null(fixture);
	assert_non_null(config);
	assert_int_equal(s2sp_config_begin_list(config, S2SP_TEXT("partner_list"), &table), S2SP_STATUS_OK);
	begin_partner(config, 1, "fabrikam.test");
	set(config, "connection_limit", number(2));
	set(config, "keepalive", yes());
	begin_partner(config, 2, "litware.test");
	set(config, "sasl", text("not_supported"));
	set(config, "dialback", yes());
	assert_int_equal(s2sp_config_seal_table(config, &fixture->table), S2SP_STATUS_OK);
	s2sp_config_free(config);
	config = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	assert_int_equal(s2sp_config_seal_policy(config, fixture->table, NULL, &fixture->policy), S2SP_STATUS_OK);
	s2sp_config_free(config);
	fixture->sasl = s2sp_policy_find(fixture->policy, S2SP_TEXT("fabrikam.test"), NULL);
	fixture->dialback = s2sp_policy_find(fixture->policy, S2SP_TEXT("litware.test"), NULL);
	assert_non_null(fixture->sasl);
	assert_non_null(fixture->dialback);
	*state = fixture;
	return 0;
}

static int teardown(void **state) {
	struct fixture *fixture = *state;
	s2sp_policy_free(fixture->policy);
	s2sp_partner_table_free(fixture->table);
	free(fixture);
	return 0;
}

static struct s2sp_stream stream_of(const struct fixture *fixture, enum s2sp_direction direction, const char *domain) {
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, direction, fixture->policy);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_NONE);
	assert_int_equal(s2sp_stream_identify(&stream, s2sp_text_from(domain)).verdict, S2SP_VERDICT_ALLOW);
	return stream;
}

static void a_name_takes_no_place(void **state) {
	struct s2sp_stream stream = stream_of(*state, S2SP_INCOMING, "fabrikam.test");
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_ASKS);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_UNTRUSTED);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_ASKS);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_TAKES);
	s2sp_stream_refuse(&stream, S2SP_REASON_INTERNAL_ERROR, "");
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_NONE);
}

static void verifying_takes_no_place(void **state) {
	struct s2sp_stream stream = stream_of(*state, S2SP_INCOMING, "litware.test");
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	assert_int_equal(s2sp_stream_verify(&stream).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_NONE);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_TAKES);

	stream = stream_of(*state, S2SP_OUTGOING, "litware.test");
	stream.verify_only = true;
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_NONE);
	stream.verify_only = false;
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_TAKES);
}

static void a_key_asks_and_its_verification_takes(void **state) {
	struct s2sp_stream stream = stream_of(*state, S2SP_INCOMING, "litware.test");
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_UNTRUSTED);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_NONE);
	assert_int_equal(s2sp_stream_dialback(&stream).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_ASKS);
	assert_int_equal(s2sp_stream_authenticated(&stream, false).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_place(&stream), S2SP_PLACE_TAKES);
}

static void counts_against_limits(void **state) {
	const struct fixture *fixture = *state;
	static const struct {
		bool dialback;
		struct s2sp_counts counts;
		enum s2sp_verdict verdict;
	} rows[] = {
		{ false, { 0, 0 }, S2SP_VERDICT_ALLOW },     { false, { 1, 999 }, S2SP_VERDICT_ALLOW },
		{ false, { 2, 2 }, S2SP_VERDICT_REFUSE },    { false, { UINT32_MAX, UINT32_MAX }, S2SP_VERDICT_REFUSE },
		{ false, { 0, 1000 }, S2SP_VERDICT_REFUSE }, { true, { 19, 19 }, S2SP_VERDICT_ALLOW },
		{ true, { 20, 20 }, S2SP_VERDICT_REFUSE },   { true, { 0, 1000 }, S2SP_VERDICT_REFUSE },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const struct s2sp_partner *partner = rows[i].dialback ? fixture->dialback : fixture->sasl;
		struct s2sp_decision decision = s2sp_decide_place(fixture->policy, partner, rows[i].counts);
		assert_int_equal(decision.verdict, rows[i].verdict);
		assert_int_equal(decision.reason,
						 decision.verdict == S2SP_VERDICT_ALLOW ? S2SP_REASON_NONE : S2SP_REASON_CONNECTION_LIMIT);
	}
}

static void strangers_leave_room_for_partners(void **state) {
	const struct fixture *fixture = *state;
	struct s2sp_value table = { .kind = S2SP_VALUE_COMPOUND };
	struct s2sp_policy *policy;
	struct s2sp_config *config = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	assert_int_equal(s2sp_config_begin_default(config, &table), S2SP_STATUS_OK);
	set(config, "partner_type", text("public_verified"));
	assert_int_equal(s2sp_config_seal_policy(config, fixture->table, NULL, &policy), S2SP_STATUS_OK);
	s2sp_config_free(config);
	const struct s2sp_partner *stranger = s2sp_policy_find(policy, S2SP_TEXT("stranger.test"), NULL);
	const struct s2sp_partner *listed = s2sp_policy_find(policy, S2SP_TEXT("litware.test"), NULL);
	assert_ptr_equal(stranger, s2sp_policy_default(policy));
	assert_int_equal(s2sp_decide_place(policy, stranger, (struct s2sp_counts){ 0, 749 }).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_decide_place(policy, stranger, (struct s2sp_counts){ 0, 750 }).reason, S2SP_REASON_CONNECTION_LIMIT);
	assert_int_equal(s2sp_decide_place(policy, listed, (struct s2sp_counts){ 0, 999 }).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_decide_place(policy, listed, (struct s2sp_counts){ 0, 1000 }).reason, S2SP_REASON_CONNECTION_LIMIT);
	s2sp_policy_free(policy);
}

static void crowds(void **state) {
	(void)state;
	struct s2sp_waiting_room room = { 100, 10 };
	assert_int_equal(s2sp_waiting_crowded(room, (struct s2sp_waiting_room){ 100, 10 }), S2SP_CROWDED_NOT);
	assert_int_equal(s2sp_waiting_crowded(room, (struct s2sp_waiting_room){ 50, 11 }), S2SP_CROWDED_ADDRESS);
	assert_int_equal(s2sp_waiting_crowded(room, (struct s2sp_waiting_room){ 101, 10 }), S2SP_CROWDED_EVERYBODY);
	assert_int_equal(s2sp_waiting_crowded(room, (struct s2sp_waiting_room){ 101, 11 }), S2SP_CROWDED_ADDRESS);
	struct s2sp_limits limits = { .establishment_timeout = 5 };
	assert_false(s2sp_waiting_due(&limits, 4999));
	assert_true(s2sp_waiting_due(&limits, 5000));
	assert_false(s2sp_waiting_due(NULL, 59999));
	assert_true(s2sp_waiting_due(NULL, 60000));
}

static void waiting_room(void **state) {
	(void)state;
	struct s2sp_waiting_room room = s2sp_limits_waiting_room(&(struct s2sp_limits){ .connections = 1000 });
	assert_int_equal(room.total, 1000);
	assert_int_equal(room.address, 100);
	room = s2sp_limits_waiting_room(&(struct s2sp_limits){ .connections = 1 });
	assert_int_equal(room.total, S2SP_WAITING_MIN);
	assert_int_equal(room.address, S2SP_WAITING_ADDRESS_MIN);
}

static const struct s2sp_limits limits = { 1000, 20, 10, 100, 30 };

static enum s2sp_reason due_at(const struct s2sp_stream *stream, s2sp_milliseconds now, bool *keepalive) {
	struct s2sp_decision decision = s2sp_stream_due(stream, &limits, now, keepalive);
	assert_int_equal(decision.verdict, decision.reason == S2SP_REASON_NONE ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
	return decision.reason;
}

static void time_to_establish(void **state) {
	bool keepalive;
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, S2SP_INCOMING, NULL);
	s2sp_stream_clock_start(&stream, 5000);
	assert_int_equal(due_at(&stream, 14999, &keepalive), S2SP_REASON_NONE);
	assert_int_equal(due_at(&stream, 15000, &keepalive), S2SP_REASON_ESTABLISHMENT_TIMEOUT);
	assert_int_equal(due_at(&stream, 4000, &keepalive), S2SP_REASON_NONE); /* a clock that has gone back */
	stream = stream_of(*state, S2SP_OUTGOING, "fabrikam.test");
	assert_int_equal(due_at(&stream, 10000, &keepalive), S2SP_REASON_ESTABLISHMENT_TIMEOUT);
	assert_false(keepalive);
}

static void inactivity_and_keepalives(void **state) {
	bool keepalive;
	struct s2sp_stream stream = stream_of(*state, S2SP_OUTGOING, "fabrikam.test");
	stream.stage = S2SP_STAGE_ESTABLISHED;
	s2sp_stream_clock_start(&stream, 0);
	assert_int_equal(due_at(&stream, 29999, &keepalive), S2SP_REASON_NONE);
	assert_false(keepalive);
	assert_int_equal(due_at(&stream, 30000, &keepalive), S2SP_REASON_NONE);
	assert_true(keepalive);
	s2sp_stream_keepalive_sent(&stream, 30000, true);
	assert_int_equal(due_at(&stream, 39999, &keepalive), S2SP_REASON_NONE);
	assert_false(keepalive);
	assert_int_equal(due_at(&stream, 40000, &keepalive), S2SP_REASON_INACTIVITY_TIMEOUT);
	s2sp_stream_keepalive_answered(&stream);
	assert_int_equal(due_at(&stream, 40000, &keepalive), S2SP_REASON_NONE);
	assert_false(keepalive);
	assert_int_equal(due_at(&stream, 60000, &keepalive), S2SP_REASON_NONE);
	assert_true(keepalive);
	s2sp_stream_keepalive_sent(&stream, 60000, false);
	assert_int_equal(due_at(&stream, 90000, &keepalive), S2SP_REASON_NONE);
	assert_true(keepalive);
	/* Keepalives are no activity, stanzas are. */
	assert_int_equal(due_at(&stream, 100000, &keepalive), S2SP_REASON_INACTIVITY_TIMEOUT);
	s2sp_stream_active(&stream, 99000);
	assert_int_equal(due_at(&stream, 100000, &keepalive), S2SP_REASON_NONE);

	stream = stream_of(*state, S2SP_OUTGOING, "litware.test");
	stream.stage = S2SP_STAGE_ESTABLISHED;
	assert_int_equal(due_at(&stream, 99999, &keepalive), S2SP_REASON_NONE);
	assert_false(keepalive);
}

static void what_may_wait(void **state) {
	(void)state;
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, S2SP_OUTGOING, NULL);
	for (int i = 0; i < S2SP_QUEUE_MAX; i++)
		assert_int_equal(s2sp_stream_queue(&stream).verdict, S2SP_VERDICT_ALLOW);
	for (int i = 0; i < 70000; i++)
		assert_int_equal(s2sp_stream_queue(&stream).reason, S2SP_REASON_CONNECTION_LIMIT);
	assert_int_equal(stream.stage, S2SP_STAGE_OPEN);
	stream.queued = 0;
	assert_int_equal(s2sp_stream_queue(&stream).verdict, S2SP_VERDICT_ALLOW);
}

static void questions(void **state) {
	(void)state;
	static const struct {
		struct s2sp_questions asked;
		bool allowed;
	} rows[] = {
		{ { 0, 0 }, true },
		{ { S2SP_QUESTIONS_ROUTE_MAX - 1, S2SP_QUESTIONS_PARTNER_MAX - 1 }, true },
		{ { S2SP_QUESTIONS_ROUTE_MAX, 0 }, false },
		{ { 0, S2SP_QUESTIONS_PARTNER_MAX }, false },
		{ { UINT32_MAX, UINT32_MAX }, false },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct s2sp_decision decision = s2sp_decide_question(rows[i].asked);
		assert_int_equal(decision.verdict, rows[i].allowed ? S2SP_VERDICT_ALLOW : S2SP_VERDICT_REFUSE);
		assert_int_equal(decision.reason, rows[i].allowed ? S2SP_REASON_NONE : S2SP_REASON_CONNECTION_LIMIT);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_name_takes_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(verifying_takes_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_asks_and_its_verification_takes, setup, teardown),
		cmocka_unit_test_setup_teardown(counts_against_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(strangers_leave_room_for_partners, setup, teardown),
		cmocka_unit_test(waiting_room),
		cmocka_unit_test(crowds),
		cmocka_unit_test(what_may_wait),
		cmocka_unit_test(questions),
		cmocka_unit_test_setup_teardown(time_to_establish, setup, teardown),
		cmocka_unit_test_setup_teardown(inactivity_and_keepalives, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
