/*
 * A host of no existing kind: its words, as ejabberd would have them in YAML, and its own constraints. What core says
 * has to be right in them as well.
 */
#ifndef S2SP_SPEC_HOST_FIXTURE_H
#define S2SP_SPEC_HOST_FIXTURE_H

#include "host.h"
#include "negotiation.h"
#include "vocabulary.h"

static const struct s2sp_vocabulary test_vocabulary = { {
	[S2SP_WORD_OPTION_PARTNERS] = "modules.mod_s2s_partners.partners",
	[S2SP_WORD_OPTION_DEFAULT] = "modules.mod_s2s_partners.default",
	[S2SP_WORD_OPTION_LIMITS] = "modules.mod_s2s_partners.limits",
	[S2SP_WORD_OPTION_EXTERNAL_ACCESS] = "modules.mod_s2s_partners.external_access",
	[S2SP_WORD_CHECK] = "ejabberdctl s2s_partners_check",
	[S2SP_WORD_RELOAD] = "ejabberdctl reload_config",
	[S2SP_WORD_STREAMS] = "ejabberdctl s2s_partners_streams",
	[S2SP_WORD_SHOW] = "ejabberdctl s2s_partners_show DOMAIN",
	[S2SP_WORD_TEST] = "ejabberdctl s2s_partners_test LOCAL REMOTE",
	[S2SP_WORD_HOST_CONSTRAINTS] = "ejabberd's own s2s_access, s2s_use_starttls and mod_s2s_dialback",
	[S2SP_WORD_HOST_ACCESS] = "modules.mod_s2s_partners.external_access",
	[S2SP_WORD_HOST_REINSTALL] = "reinstall the package for this version of ejabberd",
	[S2SP_WORD_SETTING_IS] = ": ",
	[S2SP_WORD_SETTING_QUOTE] = "",
	[S2SP_WORD_MAPPING] = "a mapping",
	[S2SP_WORD_SAMPLE_PARTNERS] = "[{domain: ..., ...}]",
	[S2SP_WORD_SAMPLE_PARTNER] = "{domain: ..., partner_type: ...}",
	[S2SP_WORD_SAMPLE_DOMAINS] = "[corp.fabrikam.com, \"*.it.fabrikam.com\"]",
	[S2SP_WORD_SAMPLE_PINS] = "[\"sha256//BASE64=\"]",
	[S2SP_WORD_SAMPLE_CRLS] = "[\"crls/fabrikam-*.crl\"]",
	[S2SP_WORD_SAMPLE_LIST] = "[first, second]",
	[S2SP_WORD_SAMPLE_LIMITS] = "{connections: 1000, ...}",
	[S2SP_WORD_SAMPLE_ACCESS] = "{default: allow, users: {name: deny}}",
	[S2SP_WORD_SAMPLE_USERS] = "{name: deny}",
	[S2SP_WORD_TOO_DEEP] = "a list stands where a key must be: remove one dash",
	[S2SP_WORD_NOT_A_LIST] = "put a dash in front of it",
} };

/* Which of the constraints hold; the last two for one domain, or "all". */
struct test_host {
	bool starttls_required;
	bool no_dialback;
	bool no_tls;
	const char *denied;
	const char *certified;
};

enum { TEST_STARTTLS_REQUIRED, TEST_DENIED, TEST_NO_DIALBACK, TEST_CERTIFIED, TEST_NO_TLS, TEST_CONSTRAINTS };

static const struct s2sp_constraint test_constraints[TEST_CONSTRAINTS] = {
	[TEST_STARTTLS_REQUIRED] = {
		.forbids = S2SP_METHOD_TCP_DIALBACK,
		.fact = "s2s_use_starttls: required",
		.remedy = "set s2s_use_starttls: optional",
		.path = "s2s_use_starttls",
		.got = "required",
		.lost = "takes TCP dialback away from {partners}; set it to optional",
	},
	[TEST_DENIED] = {
		.forbids = S2SP_METHOD_TCP_DIALBACK,
		.fact = "s2s_access",
		.remedy = "allow {domain} in s2s_access",
		.remedy_all = "allow all in s2s_access",
		.path = "s2s_access",
		.lost = "takes TCP dialback away from {partners}; allow their domains",
	},
	[TEST_NO_DIALBACK] = {
		.forbids = S2SP_METHODS_DIALBACK,
		.fact = "the lack of mod_s2s_dialback",
		.remedy = "add mod_s2s_dialback to modules",
		.path = "modules",
		.lost = "has no mod_s2s_dialback, so dialback is gone for {partners}",
	},
	[TEST_CERTIFIED] = {
		.demands_certificate = true,
		.path = "s2s_verify",
		.got = "true",
		.lost = "demands a certificate of {partners}",
	},
	[TEST_NO_TLS] = {
		.forbids = S2SP_METHODS_OVER_TLS,
		.fact = "s2s_use_starttls: false",
		.remedy = "set s2s_use_starttls: optional",
		.path = "s2s_use_starttls",
		.got = "false",
		.lost = "leaves only TCP dialback to {partners}",
	},
};

static inline bool test_covers(const char *name, struct s2sp_text domain) {
	return name != NULL &&
		   (s2sp_text_equal(s2sp_text_from(name), S2SP_TEXT("all")) || s2sp_text_equal(s2sp_text_from(name), domain));
}

static inline uint32_t test_holding(const void *of, struct s2sp_text domain) {
	const struct test_host *host = of;
	return (uint32_t)host->starttls_required << TEST_STARTTLS_REQUIRED |
		   (uint32_t)test_covers(host->denied, domain) << TEST_DENIED | (uint32_t)host->no_dialback << TEST_NO_DIALBACK |
		   (uint32_t)test_covers(host->certified, domain) << TEST_CERTIFIED | (uint32_t)host->no_tls << TEST_NO_TLS;
}

#define TEST_HOST(host) (&(const struct s2sp_host){ test_constraints, TEST_CONSTRAINTS, test_holding, (host), false, false })

#endif
