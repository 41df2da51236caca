/*
 * Two servers that negotiate with each other, each under every row: what they settle on is the first method that both have, and the same
 * whichever of them opens the stream.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stream_fixture.h"

struct server {
	const struct s2sp_negotiation_row *row;
	struct fixture fixture;
	struct s2sp_stream stream;
	enum s2sp_certificate_verdict peer; /* what it makes of the other's certificate */
};

/* What both are known to have settled on, NONE when the stream comes to nothing. Both do what their record allows, and no more. */
static enum s2sp_method settle(struct server *from, struct server *to, bool by_sasl) {
	bool accepted = s2sp_stream_authenticated(&to->stream, by_sasl).verdict == S2SP_VERDICT_ALLOW;
	accepted = accepted && (by_sasl || s2sp_stream_dialback_answer(&from->stream, true, false).verdict == S2SP_VERDICT_ALLOW);
	if (!accepted || s2sp_stream_authenticated(&from->stream, by_sasl).verdict != S2SP_VERDICT_ALLOW)
		return S2SP_METHOD_NONE;
	assert_int_equal(s2sp_stream_established(&to->stream).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(s2sp_stream_established(&from->stream).verdict, S2SP_VERDICT_ALLOW);
	assert_int_equal(from->stream.method, to->stream.method);
	return (enum s2sp_method)to->stream.method;
}

static enum s2sp_method negotiate(struct server *from, struct server *to) {
	struct s2sp_offer offer;
	struct s2sp_plan plan;
	s2sp_stream_begin(&from->stream, S2SP_OUTGOING, from->fixture.policy);
	s2sp_stream_begin(&to->stream, S2SP_INCOMING, to->fixture.policy);
	s2sp_stream_identify(&from->stream, fabrikam);
	s2sp_stream_identify(&to->stream, fabrikam);
	for (int features = 0; features < 3; features++) {
		if (s2sp_stream_offer(&to->stream, &offer).verdict != S2SP_VERDICT_ALLOW)
			return S2SP_METHOD_NONE;
		struct s2sp_peer_features seen = { offer.starttls, offer.starttls_required, offer.sasl, offer.dialback };
		if (s2sp_stream_plan(&from->stream, &seen, &plan).verdict != S2SP_VERDICT_ALLOW)
			return S2SP_METHOD_NONE;
		if (plan.starttls) {
			assert_int_equal(s2sp_stream_starttls(&to->stream).verdict, S2SP_VERDICT_ALLOW);
			s2sp_stream_observe(&from->stream, true, from->peer);
			s2sp_stream_observe(&to->stream, true, to->peer);
			if (s2sp_stream_certificate(&from->stream).verdict != S2SP_VERDICT_ALLOW ||
				s2sp_stream_certificate(&to->stream).verdict != S2SP_VERDICT_ALLOW)
				return S2SP_METHOD_NONE;
			continue;
		}
		if (plan.sasl) {
			assert_int_equal(s2sp_stream_auth(&to->stream).verdict, S2SP_VERDICT_ALLOW);
			return settle(from, to, true);
		}
		/* A key may be sent whether or not the other offers dialback (XEP-0220 2.1.1). */
		if (!plan.dialback || s2sp_stream_dialback(&to->stream).verdict != S2SP_VERDICT_ALLOW)
			return S2SP_METHOD_NONE;
		return settle(from, to, false);
	}
	fail_msg("STARTTLS over and over");
	return S2SP_METHOD_NONE;
}

/* TLS is taken whenever both can. Then the first method that both have and their certificates allow. */
static enum s2sp_method expected(const struct server *from, const struct server *to) {
	unsigned both = may(from->row) & may(to->row);
	bool valid = from->peer == S2SP_CERTIFICATE_VALID && to->peer == S2SP_CERTIFICATE_VALID;
	if (from->row->tls == S2SP_NOT_SUPPORTED || to->row->tls == S2SP_NOT_SUPPORTED)
		return both & S2SP_METHOD_TCP_DIALBACK ? S2SP_METHOD_TCP_DIALBACK : S2SP_METHOD_NONE;
	if (valid && (both & S2SP_METHOD_SASL))
		return S2SP_METHOD_SASL;
	return both & S2SP_METHOD_TLS_DIALBACK ? S2SP_METHOD_TLS_DIALBACK : S2SP_METHOD_NONE;
}

static void test_every_row_with_every_row(void **state) {
	(void)state;
	size_t settled[S2SP_METHOD_TCP_DIALBACK + 1] = { 0 };
	for (size_t i = 0; i < (size_t)S2SP_NEGOTIATION_ROWS * S2SP_NEGOTIATION_ROWS * 4; i++) {
		struct server one = { s2sp_negotiation_row_at(i / 4 / S2SP_NEGOTIATION_ROWS), { 0 }, { 0 }, S2SP_CERTIFICATE_VALID };
		struct server other = { s2sp_negotiation_row_at(i / 4 % S2SP_NEGOTIATION_ROWS), { 0 }, { 0 }, S2SP_CERTIFICATE_VALID };
		if (may(one.row) == 0 || may(other.row) == 0)
			continue;
		if (i & 1)
			one.peer = S2SP_CERTIFICATE_UNTRUSTED;
		if (i & 2)
			other.peer = S2SP_CERTIFICATE_UNTRUSTED;
		assert_true(build(&one.fixture, one.row->tls, one.row->sasl, one.row->dialback, false, NULL));
		assert_true(build(&other.fixture, other.row->tls, other.row->sasl, other.row->dialback, false, NULL));
		enum s2sp_method there = negotiate(&one, &other), back = negotiate(&other, &one);
		assert_int_equal(there, expected(&one, &other));
		assert_int_equal(back, there); /* whichever side opens the stream */
		settled[there]++;
		drop(&one.fixture);
		drop(&other.fixture);
	}
	assert_true(settled[S2SP_METHOD_SASL] > 0 && settled[S2SP_METHOD_TLS_DIALBACK] > 0 && settled[S2SP_METHOD_TCP_DIALBACK] > 0);
	assert_true(settled[S2SP_METHOD_NONE] > 0);
}

int main(void) {
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_row_with_every_row) };
	return cmocka_run_group_tests_name("stream_pair", tests, NULL, NULL);
}
