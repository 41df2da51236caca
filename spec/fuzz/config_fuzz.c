/*
 * The configuration builder, fed with anything in any order. Input: a script of calls with values; each allocation may fail.
 * What must hold: nothing is sealed with an error in it, what is sealed is well formed and can be searched, every issue is complete,
 * and all memory comes back.
 */
#include <math.h>
#include <string.h>

#include "../core/allocator.h"
#include "../core/host_fixture.h"
#include "config.h"
#include "fuzz.h"
#include "idna.h"
#include "sealed.h"

static const unsigned char seed[16] = { 7 };

/* So that something valid comes about now and then. */
static const char *const words[] = {
	"domain",
	"description",
	"additional_domains",
	"partner_type",
	"tls",
	"sasl",
	"dialback",
	"trust_anchors",
	"pinned_keys",
	"connection_limit",
	"keepalive",
	"proxy",
	"presence_authorization",
	"group_chat",
	"connections",
	"partner_connections",
	"establishment_timeout",
	"inactivity_timeout",
	"keepalive_interval",
	"default",
	"users",
	"federated",
	"public_verified",
	"public_unverified",
	"required",
	"optional",
	"not_supported",
	"automatic",
	"user",
	"allow",
	"refuse",
	"deny",
	"fabrikam.com",
	"*.fabrikam.com",
	"corp.fabrikam.com",
	"*.com",
	"contoso.com",
	"b\xc3\xbc"
	"cher.example",
	"192.0.2.1",
	"xmpp.fabrikam.com:5269",
	"[2001:db8::1]:5269",
	"certs/ca.pem",
	"sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	"partner_list",
	"{check}",
	"{tls = required}",
	"intern",
	"external_access",
	"personal_events",
};
#define WORDS (sizeof(words) / sizeof(words[0]))

static struct s2sp_text text(struct choices *choices) {
	unsigned word = choose(choices, 256);
	return word < 200 ? s2sp_text_from(words[word % WORDS]) : choose_text(choices);
}

static struct s2sp_value value(struct choices *choices) {
	static const double numbers[] = { 0, 1, -1, 20, 0.5, 65535, 4294967296.0, 1e300 };
	struct s2sp_value value = { .kind = S2SP_VALUE_OTHER, .string = S2SP_TEXT("a function") };
	unsigned kind = choose(choices, 12);
	if (kind >= 6) {
		value.kind = S2SP_VALUE_STRING;
		value.string = text(choices);
	} else if (kind == 4) {
		value.kind = S2SP_VALUE_NUMBER;
		unsigned number = choose(choices, 10);
		value.number = number < 8 ? numbers[number] : number == 8 ? (double)NAN : (double)INFINITY;
	} else if (kind == 3) {
		value.kind = S2SP_VALUE_BOOLEAN;
		value.boolean = choose(choices, 2);
	} else if (kind == 1) {
		value.kind = S2SP_VALUE_ABSENT;
	} else if (kind != 0) {
		value.kind = S2SP_VALUE_COMPOUND;
	}
	return value;
}

/* A partner in order, or nearly: the scripts reach further from there. */
static enum s2sp_status whole_partner(struct choices *choices, struct s2sp_config *config, size_t index) {
	static const char *const keys[] = { "domain", "partner_type", "tls", "sasl" };
	static const char *const types[] = { "federated", "public_verified", "public_unverified" };
	static const char *const requirements[] = { "required", "optional", "not_supported" };
	const char *values[] = { words[32 + choose(choices, 6)], types[choose(choices, 3)], requirements[choose(choices, 3)],
							 requirements[choose(choices, 3)] };
	struct s2sp_value table = { .kind = S2SP_VALUE_COMPOUND }, dialback = { .kind = S2SP_VALUE_BOOLEAN, .boolean = true };
	enum s2sp_status status = s2sp_config_begin_partner(config, index, &table, s2sp_text_from(values[0]));
	for (size_t i = 0; i < 4 && status == S2SP_STATUS_OK; i++) {
		struct s2sp_value word = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(values[i]) };
		status = s2sp_config_set(config, s2sp_text_from(keys[i]), &word);
	}
	return status == S2SP_STATUS_OK ? s2sp_config_set(config, S2SP_TEXT("dialback"), &dialback) : status;
}

static enum s2sp_status call(struct choices *choices, struct s2sp_config *config) {
	unsigned function = choose(choices, 16);
	struct s2sp_text name = text(choices);
	struct s2sp_value given = value(choices);
	size_t index = choose(choices, 8);
	switch (function) {
	case 0: return s2sp_config_local_domain(config, name);
	case 1: return s2sp_config_begin_list(config, name, &given);
	case 2: return s2sp_config_begin_partner(config, index, &given, name);
	case 3: return s2sp_config_begin_default(config, &given);
	case 4: return s2sp_config_begin_limits(config, &given);
	case 5: return s2sp_config_begin_external_access(config, &given);
	case 6:
	case 7:
	case 8: return s2sp_config_set(config, name, &given);
	case 9:
	case 10: return s2sp_config_add(config, index, name, &given);
	case 11: return s2sp_config_end(config);
	case 12: return s2sp_config_stray(config, name, &given);
	case 13: return s2sp_config_gap(config, index, index + choose(choices, 8));
	case 14: return s2sp_config_issue(config, S2SP_SEVERITY_WARNING, "file", name, given.string, name);
	}
	return whole_partner(choices, config, index);
}

static bool has_error(const struct s2sp_config *config) {
	bool error = false;
	for (size_t i = 0; i < s2sp_config_issue_count(config); i++)
		error = error || s2sp_config_issue_at(config, i)->severity == S2SP_SEVERITY_ERROR;
	return error;
}

static void check_issues(const struct s2sp_config *config) {
	for (size_t i = 0; i < s2sp_config_issue_count(config); i++) {
		const struct s2sp_issue *issue = s2sp_config_issue_at(config, i);
		CHECK(issue != NULL && issue->code[0] != '\0' && issue->message[0] != '\0');
		CHECK(strpbrk(issue->message, "\n\r\033") == NULL);
	}
	CHECK(s2sp_config_issue_at(config, s2sp_config_issue_count(config)) == NULL);
}

static void check_partner(const struct s2sp_partner_table *table, const struct s2sp_partner *partner) {
	CHECK(partner->name.length > 0 && partner->row != NULL && partner->row->verdict != S2SP_ROW_ERROR);
	CHECK(partner->row->methods != 0 && partner->type <= S2SP_FEDERATED);
	CHECK(!partner->presence_automatic || partner->type != S2SP_PUBLIC_UNVERIFIED);
	if (table == NULL)
		return;
	enum s2sp_match match;
	CHECK(s2sp_partner_table_find(table, partner->name, &match) == partner && match == S2SP_MATCH_PRIMARY);
	CHECK(!s2sp_partner_table_look_up(table, partner->name, NULL).local);
}

static void check_table(const struct s2sp_partner_table *table, struct s2sp_text name) {
	for (size_t i = 0; i < s2sp_partner_table_count(table); i++)
		check_partner(table, s2sp_partner_table_at(table, i));
	CHECK(s2sp_partner_table_at(table, s2sp_partner_table_count(table)) == NULL);
	const struct s2sp_partner *found = s2sp_partner_table_find(table, name, NULL);
	CHECK(found == NULL || !s2sp_partner_table_look_up(table, name, NULL).local);
}

static void check_policy(const struct s2sp_policy *policy, struct s2sp_text name) {
	enum s2sp_match match;
	const struct s2sp_partner *found = s2sp_policy_find(policy, name, &match);
	CHECK(found == NULL || match != S2SP_MATCH_NONE || found == s2sp_policy_default(policy));
	if (found != NULL)
		CHECK((s2sp_policy_methods(policy, found) & ~found->row->methods) == 0);
	if (s2sp_policy_default(policy) != NULL)
		check_partner(NULL, s2sp_policy_default(policy));
	const struct s2sp_limits *limits = s2sp_policy_limits(policy);
	CHECK(limits->connections > 0 && limits->partner_connections > 0 && limits->establishment_timeout > 0);
	s2sp_policy_external_access(policy, found, name);
}

/* The policy over `table`, by the same config or by one of its own. */
static void seal_policy(struct choices *choices, struct s2sp_config *config, const struct s2sp_partner_table *table) {
	unsigned bits = choose(choices, 256);
	struct s2sp_text name = text(choices);
	const struct test_host constrained = { .starttls_required = bits & 1,
										   .no_tls = bits & 2,
										   .no_dialback = bits & 4,
										   .denied = bits & 8 ? words[32 + bits / 16 % 5] : NULL,
										   .certified = bits & 128 ? "all" : NULL };
	struct s2sp_policy *policy = NULL;
	bool had_error = has_error(config);
	enum s2sp_status status = s2sp_config_seal_policy(config, table, bits == 0 ? NULL : TEST_HOST(&constrained), &policy);
	CHECK((status == S2SP_STATUS_OK) == (policy != NULL));
	CHECK(!had_error || policy == NULL);
	if (policy != NULL) {
		CHECK(!has_error(config));
		check_policy(policy, name);
	}
	if (status != S2SP_STATUS_NO_MEMORY)
		check_issues(config);
	s2sp_policy_free(policy);
}

static void build(struct choices *choices, struct s2sp_config *config) {
	enum s2sp_status status = S2SP_STATUS_OK;
	for (unsigned calls = 1 + choose(choices, 64); calls > 0 && status != S2SP_STATUS_NO_MEMORY; calls--) {
		s2sp_config_follows(config);
		status = call(choices, config);
	}
	if (status == S2SP_STATUS_NO_MEMORY)
		return;
	struct s2sp_partner_table *table = NULL;
	bool had_error = has_error(config);
	status = s2sp_config_seal_table(config, &table);
	CHECK((status == S2SP_STATUS_OK) == (table != NULL));
	CHECK(!had_error || table == NULL);
	if (status != S2SP_STATUS_NO_MEMORY)
		check_issues(config);
	if (table != NULL) {
		CHECK(!has_error(config));
		check_table(table, text(choices));
		seal_policy(choices, config, table);
	}
	s2sp_partner_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct choices choices = { data, size };
	struct counting counting = { 0 };
	/* Half of them run out of memory some time. */
	unsigned fail = choose(&choices, 4), at = choose(&choices, 256);
	if (fail == 1)
		counting.fail_only = at + 1;
	else if (fail == 2)
		counting.fail_from = at + 1;
	struct s2sp_allocator allocator = COUNTING_ALLOCATOR(&counting);
	struct s2sp_config *config = s2sp_config_new(&allocator, s2sp_idna_to_ascii, &test_vocabulary, seed);
	if (config != NULL)
		build(&choices, config);
	s2sp_config_free(config);
	CHECK(counting.blocks == 0 && counting.bytes == 0);
	return 0;
}
