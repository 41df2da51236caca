/* A partner under one row of the negotiation table, and streams with it. Needs cmocka.h. */
#ifndef S2SP_SPEC_STREAM_FIXTURE_H
#define S2SP_SPEC_STREAM_FIXTURE_H

#include <stdbool.h>
#include <stdlib.h>

#include "allocator.h"
#include "host_fixture.h"
#include "s2sp.h"

static const struct s2sp_allocator allocator = PLAIN_ALLOCATOR;
static const unsigned char seed[16] = { 7 };

/* One policy a row: the partner fabrikam.test under that row, and another partner beside it. */
struct fixture {
	struct s2sp_partner_table *table;
	struct s2sp_policy *policy;
};

static const struct s2sp_text fabrikam = S2SP_TEXT("fabrikam.test");
static const struct s2sp_text litware = S2SP_TEXT("litware.test");

static inline void set_text(struct s2sp_config *config, const char *key, const char *value) {
	struct s2sp_value v = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(value) };
	assert_int_equal(s2sp_config_set(config, s2sp_text_from(key), &v), S2SP_STATUS_OK);
}

static inline void add_partner(struct s2sp_config *config, size_t index, const char *domain, enum s2sp_requirement tls,
							   enum s2sp_requirement sasl, bool dialback, const char *pin) {
	struct s2sp_value yes_no = { .kind = S2SP_VALUE_BOOLEAN, .boolean = dialback };
	struct s2sp_value table = { .kind = S2SP_VALUE_COMPOUND };
	assert_int_equal(s2sp_config_begin_partner(config, index, &table, s2sp_text_from(domain)), S2SP_STATUS_OK);
	set_text(config, "domain", domain);
	set_text(config, "partner_type", "federated");
	set_text(config, "tls", s2sp_requirement_token(tls));
	set_text(config, "sasl", s2sp_requirement_token(sasl));
	assert_int_equal(s2sp_config_set(config, S2SP_TEXT("dialback"), &yes_no), S2SP_STATUS_OK);
	if (pin != NULL) {
		struct s2sp_value item = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(pin) };
		assert_int_equal(s2sp_config_set(config, S2SP_TEXT("pinned_keys"), &table), S2SP_STATUS_OK);
		assert_int_equal(s2sp_config_add(config, 1, S2SP_TEXT(""), &item), S2SP_STATUS_OK);
	}
}

static inline bool row_is_valid(enum s2sp_requirement tls, enum s2sp_requirement sasl, bool dialback) {
	return s2sp_negotiation_row(tls, sasl, dialback)->verdict != S2SP_ROW_ERROR;
}

static inline bool build(struct fixture *fixture, enum s2sp_requirement tls, enum s2sp_requirement sasl, bool dialback,
						 bool with_litware, const char *pin) {
	struct s2sp_config *config = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
	struct s2sp_value list = { .kind = S2SP_VALUE_COMPOUND };
	assert_non_null(config);
	assert_int_equal(s2sp_config_begin_list(config, S2SP_TEXT("partner_list"), &list), S2SP_STATUS_OK);
	add_partner(config, 1, "fabrikam.test", tls, sasl, dialback, pin);
	if (with_litware)
		add_partner(config, 2, "litware.test", S2SP_REQUIRED, S2SP_REQUIRED, false, NULL);
	bool ok = s2sp_config_seal_table(config, &fixture->table) == S2SP_STATUS_OK;
	if (ok) {
		struct s2sp_config *host = s2sp_config_new(&allocator, NULL, &test_vocabulary, seed);
		assert_non_null(host);
		ok = s2sp_config_seal_policy(host, fixture->table, NULL, &fixture->policy) == S2SP_STATUS_OK;
		s2sp_config_free(host);
	}
	if (!ok && row_is_valid(tls, sasl, dialback)) {
		for (size_t i = 0; i < s2sp_config_issue_count(config); i++)
			print_error("%s\n", s2sp_config_issue_at(config, i)->message);
	}
	s2sp_config_free(config);
	return ok;
}

static inline void drop(struct fixture *fixture) {
	s2sp_policy_free(fixture->policy);
	s2sp_partner_table_free(fixture->table);
	*fixture = (struct fixture){ 0 };
}

static inline struct s2sp_stream start(const struct fixture *fixture, enum s2sp_direction direction, bool tls,
									   enum s2sp_certificate_verdict certificate) {
	struct s2sp_stream stream;
	s2sp_stream_begin(&stream, direction, fixture->policy);
	s2sp_stream_observe(&stream, tls, certificate);
	s2sp_stream_identify(&stream, fabrikam);
	return stream;
}

/* What may authenticate under the settings of a row, whatever the table says. */

static inline bool may_sasl(const struct s2sp_negotiation_row *row) {
	return row->tls != S2SP_NOT_SUPPORTED && row->sasl != S2SP_NOT_SUPPORTED;
}

static inline bool may_tls_dialback(const struct s2sp_negotiation_row *row) {
	return row->dialback && row->tls != S2SP_NOT_SUPPORTED && !(row->tls == S2SP_REQUIRED && row->sasl == S2SP_REQUIRED);
}

static inline bool may_tcp_dialback(const struct s2sp_negotiation_row *row) {
	return row->dialback && row->tls != S2SP_REQUIRED && !(row->tls == S2SP_NOT_SUPPORTED && row->sasl != S2SP_NOT_SUPPORTED);
}

static inline unsigned may(const struct s2sp_negotiation_row *row) {
	return (may_sasl(row) ? S2SP_METHOD_SASL : 0) | (may_tls_dialback(row) ? S2SP_METHOD_TLS_DIALBACK : 0) |
		   (may_tcp_dialback(row) ? S2SP_METHOD_TCP_DIALBACK : 0);
}

#endif
