#include "host_options.h"

#include "idna.h"

static enum s2sp_status warn(struct s2sp_config *config, const char *code, const char *option, const char *got,
							 const char *expected) {
	return s2sp_config_issue(config, S2SP_SEVERITY_WARNING, code, s2sp_text_from(option), s2sp_text_from(got),
							 s2sp_text_from(expected));
}

enum s2sp_status s2sp_host_options_tell(const struct s2sp_host_options *options, struct s2sp_config *config) {
	const struct s2sp_limits *limits = s2sp_config_limits(config);
	enum s2sp_status status = S2SP_STATUS_OK;
	/* Where there are no streams, no option concerns any. */
	if (options->out_of_reach)
		return status;
	if (!options->require_encryption)
		status = warn(config, "encryption-not-required", "s2s_require_encryption", "false",
					  "streams without TLS are then kept out by this module alone; remove it unless a partner has no TLS");
	if (status != S2SP_STATUS_OK || limits == NULL || options->s2s_timeout == 0 ||
		options->s2s_timeout >= limits->establishment_timeout)
		return status;
	struct s2sp_line got, expected;
	s2sp_line_begin(&got);
	s2sp_line_add_number(&got, options->s2s_timeout);
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "ends streams before s2s_partners_limits.establishment_timeout = ");
	s2sp_line_add_number(&expected, limits->establishment_timeout);
	s2sp_line_add(&expected, " does; raise it, or lower that");
	return warn(config, "timeout-too-short", "s2s_timeout", got.bytes, expected.bytes);
}

/* In the order in which they are reported. Where several take a fallback from a partner, only the first is reported. */
enum {
	REQUIRE_ENCRYPTION,
	SECURE_AUTH,
	SECURE_DOMAINS,
	SECURE_AUTH_CERTIFICATE,
	SECURE_DOMAINS_CERTIFICATE,
	NO_ENCRYPTION,
	NO_TLS,
	NO_SASLAUTH,
	NO_DIALBACK,
	COUNT
};

static const struct s2sp_constraint list[COUNT] = {
	[REQUIRE_ENCRYPTION] = {
		.forbids = S2SP_METHOD_TCP_DIALBACK,
		.fact = "s2s_require_encryption = true (its default)",
		.remedy = "set s2s_require_encryption = false",
		.path = "s2s_require_encryption",
		.got = "true",
		.lost = "takes TCP dialback away from {partners}; set it to false, or tls = \"required\" for them",
	},
	[SECURE_AUTH] = {
		.forbids = S2SP_METHOD_TCP_DIALBACK,
		.fact = "s2s_secure_auth = true",
		.remedy = "add {domain} to s2s_insecure_domains",
		.remedy_all = "set s2s_secure_auth = false",
		.path = "s2s_secure_auth",
		.got = "true",
		.lost = "takes TCP dialback away from {partners}; name their domains in s2s_insecure_domains, or set tls = "
				"\"required\" for them",
	},
	[SECURE_DOMAINS] = {
		.forbids = S2SP_METHOD_TCP_DIALBACK,
		.fact = "s2s_secure_domains",
		.remedy = "remove {domain} from s2s_secure_domains",
		.path = "s2s_secure_domains",
		.lost = "takes TCP dialback away from {partners}; remove their domains from it, or set tls = \"required\" for them",
	},
	[SECURE_AUTH_CERTIFICATE] = {
		.demands_certificate = true,
		.path = "s2s_secure_auth",
		.got = "true",
		.lost = "allows TLS dialback only with a valid certificate to {partners}; name their domains in "
				"s2s_insecure_domains where dialback alone must do",
	},
	[SECURE_DOMAINS_CERTIFICATE] = {
		.demands_certificate = true,
		.path = "s2s_secure_domains",
		.lost = "allows TLS dialback only with a valid certificate to {partners}; remove their domains from it where "
				"dialback alone must do",
	},
	[NO_ENCRYPTION] = {
		.forbids = S2SP_METHODS_OVER_TLS,
		.fact = "s2s_allow_encryption = false",
		.remedy = "set s2s_allow_encryption = true",
		.path = "s2s_allow_encryption",
		.got = "false",
		.lost = "leaves only TCP dialback to {partners}; set it to true, or tls = \"not_supported\" for them",
	},
	[NO_TLS] = {
		.forbids = S2SP_METHODS_OVER_TLS,
		.fact = "the missing module \"tls\"",
		.remedy = "add \"tls\" to modules_enabled",
		.path = "modules_enabled",
		.lost = "without \"tls\", only TCP dialback is left to {partners}; add it, or set tls = \"not_supported\" for them",
	},
	[NO_SASLAUTH] = {
		.forbids = S2SP_METHOD_SASL,
		.fact = "the missing module \"saslauth\"",
		.remedy = "add \"saslauth\" to modules_enabled",
		.path = "modules_enabled",
		.lost = "without \"saslauth\", only dialback is left to {partners}; add it, or set sasl = \"not_supported\" for them",
	},
	[NO_DIALBACK] = {
		.forbids = S2SP_METHOD_TLS_DIALBACK | S2SP_METHOD_TCP_DIALBACK,
		.fact = "the missing module \"dialback\"",
		.remedy = "add \"dialback\" to modules_enabled",
		.path = "modules_enabled",
		.lost = "without \"dialback\", only SASL is left to {partners}; add it, or set dialback = false for them",
	},
};

static uint32_t holding(const void *of, struct s2sp_text domain) {
	const struct s2sp_host_rules *rules = of;
	const struct s2sp_host_options *options = rules->options;
	bool secure_auth = options->secure_auth && s2sp_index_find(&rules->insecure, 0, domain) == S2SP_INDEX_NONE;
	bool secure_domain = s2sp_index_find(&rules->secure, 0, domain) != S2SP_INDEX_NONE;
	return (uint32_t)options->require_encryption << REQUIRE_ENCRYPTION | (uint32_t)secure_auth << SECURE_AUTH |
		   (uint32_t)secure_domain << SECURE_DOMAINS | (uint32_t)secure_auth << SECURE_AUTH_CERTIFICATE |
		   (uint32_t)(secure_domain && !options->secure_auth) << SECURE_DOMAINS_CERTIFICATE |
		   (uint32_t)!options->allow_encryption << NO_ENCRYPTION | (uint32_t)options->without_tls << NO_TLS |
		   (uint32_t)options->without_saslauth << NO_SASLAUTH | (uint32_t)options->without_dialback << NO_DIALBACK;
}

static enum s2sp_status read_domains(struct s2sp_host_rules *rules, struct s2sp_index *index, const struct s2sp_text *domains,
									 size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct s2sp_domain parsed;
		if (s2sp_domain_parse(domains[i], s2sp_idna_to_ascii, &parsed) != S2SP_DOMAIN_OK)
			continue;
		struct s2sp_text name = { parsed.bytes, parsed.length };
		if (s2sp_index_find(index, 0, name) != S2SP_INDEX_NONE)
			continue;
		enum s2sp_status status = s2sp_arena_copy(&rules->arena, name, &name);
		if (status == S2SP_STATUS_OK)
			status = s2sp_index_add(index, 0, name, 1);
		if (status != S2SP_STATUS_OK)
			return status;
	}
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_host_rules_begin(struct s2sp_host_rules *rules, const struct s2sp_allocator *allocator,
									   const struct s2sp_host_options *options) {
	static const unsigned char unkeyed[16] = { 0 }; /* the administrator's own names */
	rules->options = options;
	rules->host = (struct s2sp_host){ list, COUNT, holding, rules, options->out_of_reach, options->crls };
	s2sp_arena_begin(&rules->arena, allocator);
	s2sp_index_begin(&rules->secure, allocator, unkeyed);
	s2sp_index_begin(&rules->insecure, allocator, unkeyed);
	enum s2sp_status status = read_domains(rules, &rules->secure, options->secure_domains, options->secure_domain_count);
	if (status == S2SP_STATUS_OK)
		status = read_domains(rules, &rules->insecure, options->insecure_domains, options->insecure_domain_count);
	return status;
}

void s2sp_host_rules_end(struct s2sp_host_rules *rules) {
	s2sp_index_end(&rules->insecure);
	s2sp_index_end(&rules->secure);
	s2sp_arena_end(&rules->arena);
}
