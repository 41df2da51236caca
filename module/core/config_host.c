/*
 * The host's own options against every partner's row. Prosody's mod_s2s refuses streams without TLS under
 * s2s_require_encryption, under s2s_secure_auth unless the domain is in s2s_insecure_domains, and to what is in
 * s2s_secure_domains; the latter two also demand a valid certificate. s2s_allow_encryption = false is mod_tls off.
 */
#include "config_build.h"

/* Errors about single partners; the rest is only counted. */
#define ERRORS_TOLD 50
#define NAMES_TOLD 3

/* What an option takes away from a partner that keeps a method. */
enum loss {
	LOSS_TCP_REQUIRE_ENCRYPTION = 0,
	LOSS_TCP_SECURE_AUTH,
	LOSS_TCP_SECURE_DOMAINS,
	LOSS_CERTIFICATE_SECURE_AUTH,
	LOSS_CERTIFICATE_SECURE_DOMAINS,
	LOSS_TLS,
	LOSS_COUNT,
};

struct loss_tally {
	size_t count;
	struct s2sp_text names[NAMES_TOLD];
};

struct judgement {
	struct s2sp_config *config;
	const struct s2sp_host_options *options;
	struct s2sp_arena arena;
	struct s2sp_index secure;
	struct s2sp_index insecure;
	struct loss_tally losses[LOSS_COUNT];
	size_t without_method;
};

static enum s2sp_status read_domains(struct judgement *judgement, struct s2sp_index *index, const struct s2sp_text *domains,
									 size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct s2sp_domain parsed;
		if (s2sp_domain_parse(domains[i], judgement->config->to_ascii, &parsed) != S2SP_DOMAIN_OK)
			continue;
		struct s2sp_text name = { parsed.bytes, parsed.length };
		if (s2sp_index_find(index, 0, name) != S2SP_INDEX_NONE)
			continue;
		enum s2sp_status status = s2sp_arena_copy(&judgement->arena, name, &name);
		if (status == S2SP_STATUS_OK)
			status = s2sp_index_add(index, 0, name, 1);
		if (status != S2SP_STATUS_OK)
			return status;
	}
	return S2SP_STATUS_OK;
}

/* What holds for one domain of a partner; an empty one stands for domains that no option can name. */
struct domain_rules {
	bool require;        /* s2s_require_encryption */
	bool secure_auth;    /* s2s_secure_auth, unless exempt */
	bool secure_domains; /* named there */
	bool certificate;    /* a valid one is demanded */
};

static struct domain_rules rules_for(const struct judgement *judgement, struct s2sp_text domain) {
	const struct s2sp_host_options *options = judgement->options;
	bool insecure = s2sp_index_find(&judgement->insecure, 0, domain) != S2SP_INDEX_NONE;
	bool secure = s2sp_index_find(&judgement->secure, 0, domain) != S2SP_INDEX_NONE;
	return (struct domain_rules){
		.require = options->require_encryption,
		.secure_auth = options->secure_auth && !insecure,
		.secure_domains = secure,
		.certificate = options->secure_auth ? !insecure : secure,
	};
}

static unsigned methods_under(const struct judgement *judgement, const struct s2sp_partner *partner, struct domain_rules rules) {
	unsigned methods = partner->row->methods;
	if (!judgement->options->allow_encryption)
		methods &= ~(unsigned)S2SP_METHODS_OVER_TLS;
	if (rules.require || rules.secure_auth || rules.secure_domains)
		methods &= ~(unsigned)S2SP_METHOD_TCP_DIALBACK;
	return methods;
}

static unsigned losses_under(const struct judgement *judgement, const struct s2sp_partner *partner, struct domain_rules rules,
							 unsigned methods) {
	unsigned losses = 0;
	bool certified = partner->trust_anchors.length > 0 || partner->pin_count > 0;
	if (partner->row->methods & ~methods & S2SP_METHODS_OVER_TLS)
		losses |= 1u << LOSS_TLS;
	if (partner->row->methods & ~methods & S2SP_METHOD_TCP_DIALBACK)
		losses |= 1u << (rules.require       ? LOSS_TCP_REQUIRE_ENCRYPTION
						 : rules.secure_auth ? LOSS_TCP_SECURE_AUTH
											 : LOSS_TCP_SECURE_DOMAINS);
	if (rules.certificate && !certified && (methods & S2SP_METHOD_TLS_DIALBACK))
		losses |= 1u << (judgement->options->secure_auth ? LOSS_CERTIFICATE_SECURE_AUTH : LOSS_CERTIFICATE_SECURE_DOMAINS);
	return losses;
}

/* What forbids TCP dialback and how to allow it; the same options in the same order, both times. */
static void explain_tcp(struct s2sp_line *line, struct domain_rules rules, struct s2sp_text domain) {
	const char *separator = "";
	s2sp_line_add(line, "leaves only TCP dialback, which ");
	if (rules.require) {
		s2sp_line_add(line, "s2s_require_encryption = true (its default)");
		separator = " and ";
	}
	if (rules.secure_auth || rules.secure_domains) {
		s2sp_line_add(line, separator);
		s2sp_line_add(line, rules.secure_domains ? "s2s_secure_domains" : "s2s_secure_auth = true");
	}
	s2sp_line_add(line, rules.require && (rules.secure_auth || rules.secure_domains) ? " forbid; " : " forbids; ");
	separator = "";
	if (rules.require) {
		s2sp_line_add(line, "set s2s_require_encryption = false");
		separator = " and ";
	}
	if (rules.secure_domains) {
		s2sp_line_add(line, separator);
		s2sp_line_add(line, "remove ");
		s2sp_line_add_quoted(line, domain);
		s2sp_line_add(line, " from s2s_secure_domains");
		separator = " and ";
	}
	if (rules.secure_auth && domain.length > 0) {
		s2sp_line_add(line, separator);
		s2sp_line_add(line, "add ");
		s2sp_line_add_quoted(line, domain);
		s2sp_line_add(line, " to s2s_insecure_domains");
	} else if (rules.secure_auth) {
		s2sp_line_add(line, separator);
		s2sp_line_add(line, "set s2s_secure_auth = false");
	}
}

static bool is_default(const struct judgement *judgement, const struct s2sp_partner *partner) {
	return partner == &judgement->config->policy->default_partner;
}

static enum s2sp_status refuse_partner(struct judgement *judgement, const struct s2sp_partner *partner, struct domain_rules rules,
									   struct s2sp_text domain) {
	struct s2sp_config *config = judgement->config;
	struct s2sp_line expected;
	if (judgement->without_method++ >= ERRORS_TOLD)
		return S2SP_STATUS_OK;
	s2sp_line_begin(&config->path);
	s2sp_line_add_text(&config->path, partner->place);
	if (!is_default(judgement, partner)) {
		s2sp_line_add(&config->path, " (");
		s2sp_line_add_quoted(&config->path, partner->name);
		s2sp_line_add(&config->path, ")");
	}
	s2sp_line_begin(&expected);
	if (partner->row->methods & S2SP_METHODS_OVER_TLS) {
		s2sp_line_add(&expected, "needs TLS, which s2s_allow_encryption = false switches off; "
								 "set s2s_allow_encryption = true");
	} else {
		explain_tcp(&expected, rules, domain);
		if (judgement->options->allow_encryption)
			s2sp_line_add(&expected, ", or tls = \"required\" here");
	}
	struct s2sp_value value = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(s2sp_requirement_token(partner->row->tls)) };
	return s2sp_config_report(
		config, &(struct s2sp_finding){ .code = "no-method-left", .key = "tls", .value = &value, .expected = expected.bytes });
}

static void tally(struct judgement *judgement, const struct s2sp_partner *partner, unsigned losses) {
	for (size_t i = 0; i < LOSS_COUNT; i++) {
		struct loss_tally *loss = &judgement->losses[i];
		if (!(losses & 1u << i))
			continue;
		if (loss->count < NAMES_TOLD)
			loss->names[loss->count] = is_default(judgement, partner) ? S2SP_TEXT(S2SP_OPTION_DEFAULT) : partner->name;
		loss->count++;
	}
}

/* *methods is what is left for at least one of the partner's domains; each must be left something. */
static enum s2sp_status judge_partner(struct judgement *judgement, const struct s2sp_partner *partner, uint8_t *methods) {
	unsigned left = 0, losses = 0;
	for (size_t i = 0; i <= partner->additional_count; i++) {
		struct s2sp_text domain = i == 0 ? partner->name : partner->additional[i - 1];
		if (is_default(judgement, partner) || domain.bytes[0] == '*')
			domain = (struct s2sp_text){ NULL, 0 };
		struct domain_rules rules = rules_for(judgement, domain);
		unsigned under = methods_under(judgement, partner, rules);
		if (under == S2SP_METHOD_NONE)
			return refuse_partner(judgement, partner, rules, domain);
		losses |= losses_under(judgement, partner, rules, under);
		left |= under;
	}
	*methods = (uint8_t)left;
	tally(judgement, partner, losses);
	return S2SP_STATUS_OK;
}

/* Nearly always the options take the same from every partner: what is left is then the row's, under one mask for all. */
static void fold_methods(struct s2sp_policy *policy) {
	const struct s2sp_partner *partners = policy->table->partners;
	size_t count = policy->table->count;
	unsigned taken = 0;
	for (size_t i = 0; i < count; i++)
		taken |= partners[i].row->methods & ~(unsigned)policy->methods[i];
	for (size_t i = 0; i < count; i++) {
		if (policy->methods[i] != (partners[i].row->methods & ~taken))
			return;
	}
	if (policy->methods != NULL)
		policy->allocator.reallocate(policy->allocator.owner, policy->methods, 0);
	policy->methods = NULL;
	policy->methods_left = (uint8_t)~taken;
}

static enum s2sp_status judge_partners(struct judgement *judgement) {
	struct s2sp_policy *policy = judgement->config->policy;
	size_t count = s2sp_partner_table_count(policy->table);
	enum s2sp_status status = S2SP_STATUS_OK;
	if (count > 0) {
		policy->methods = policy->allocator.reallocate(policy->allocator.owner, NULL, count);
		if (policy->methods == NULL)
			return S2SP_STATUS_NO_MEMORY;
		memset(policy->methods, 0, count);
	}
	for (size_t i = 0; i < count && status == S2SP_STATUS_OK; i++)
		status = judge_partner(judgement, s2sp_partner_table_at(policy->table, i), &policy->methods[i]);
	/* A default policy that has errors may lack a row that stands for anything. */
	if (status == S2SP_STATUS_OK && policy->has_default && policy->default_partner.row->verdict != S2SP_ROW_ERROR)
		status = judge_partner(judgement, &policy->default_partner, &policy->default_methods);
	if (status == S2SP_STATUS_OK)
		fold_methods(policy);
	return status;
}

static uint32_t least_connections(const struct s2sp_policy *policy) {
	uint32_t least = policy->limits.partner_connections;
	for (size_t i = 0; i < policy->table->count; i++) {
		uint32_t own = policy->table->partners[i].connection_limit;
		if (own > 0 && own < least)
			least = own;
	}
	uint32_t of_default = policy->has_default ? policy->default_partner.connection_limit : 0;
	return of_default > 0 && of_default < least ? of_default : least;
}

struct loss_text {
	const char *option;
	bool value; /* of the option, where it is a boolean */
	const char *before;
	const char *after;
};

static const struct loss_text loss_texts[LOSS_COUNT] = {
	[LOSS_TCP_REQUIRE_ENCRYPTION] = { "s2s_require_encryption", true, "takes TCP dialback away from ",
									  "; set it to false, or tls = \"required\" for them" },
	[LOSS_TCP_SECURE_AUTH] = { "s2s_secure_auth", true, "takes TCP dialback away from ",
							   "; name their domains in s2s_insecure_domains, or set tls = \"required\" for them" },
	[LOSS_TCP_SECURE_DOMAINS] = { "s2s_secure_domains", false, "takes TCP dialback away from ",
								  "; remove their domains from it, or set tls = \"required\" for them" },
	[LOSS_CERTIFICATE_SECURE_AUTH] = { "s2s_secure_auth", true, "allows TLS dialback only with a valid certificate to ",
									   "; name their domains in s2s_insecure_domains where dialback alone must do" },
	[LOSS_CERTIFICATE_SECURE_DOMAINS] = { "s2s_secure_domains", false, "allows TLS dialback only with a valid certificate to ",
										  "; remove their domains from it where dialback alone must do" },
	[LOSS_TLS] = { "s2s_allow_encryption", false, "leaves only TCP dialback to ",
				   "; set it to true, or tls = \"not_supported\" for them" },
};

static void add_names(struct s2sp_line *line, const struct loss_tally *loss) {
	s2sp_line_add_number(line, loss->count);
	s2sp_line_add(line, loss->count == 1 ? " partner (" : " partners (");
	for (size_t i = 0; i < loss->count && i < NAMES_TOLD; i++) {
		s2sp_line_add(line, i == 0 ? "" : ", ");
		s2sp_line_add_quoted(line, loss->names[i]);
	}
	s2sp_line_add(line, loss->count > NAMES_TOLD ? ", ...)" : ")");
}

/* A warning about an option of the host. */
static enum s2sp_status warn(struct s2sp_config *config, const char *code, const char *option, const struct s2sp_value *value,
							 const char *expected) {
	s2sp_line_begin(&config->path);
	s2sp_line_add(&config->path, option);
	return s2sp_config_report(
		config, &(struct s2sp_finding){ .severity = S2SP_SEVERITY_WARNING, .code = code, .value = value, .expected = expected });
}

static enum s2sp_status tell_losses(struct judgement *judgement) {
	struct s2sp_config *config = judgement->config;
	enum s2sp_status status = S2SP_STATUS_OK;
	struct s2sp_line expected;
	for (size_t i = 0; i < LOSS_COUNT && status == S2SP_STATUS_OK; i++) {
		const struct loss_text *text = &loss_texts[i];
		const struct s2sp_value value = { .kind = S2SP_VALUE_BOOLEAN, .boolean = text->value };
		if (judgement->losses[i].count == 0)
			continue;
		s2sp_line_begin(&expected);
		s2sp_line_add(&expected, text->before);
		add_names(&expected, &judgement->losses[i]);
		s2sp_line_add(&expected, text->after);
		bool is_list = i == LOSS_TCP_SECURE_DOMAINS || i == LOSS_CERTIFICATE_SECURE_DOMAINS;
		status = warn(config, "fallback-lost", text->option, is_list ? NULL : &value, expected.bytes);
	}
	return status;
}

static enum s2sp_status tell_rest(struct judgement *judgement) {
	struct s2sp_config *config = judgement->config;
	struct s2sp_line expected;
	if (judgement->without_method <= ERRORS_TOLD)
		return S2SP_STATUS_OK;
	s2sp_line_begin(&config->path);
	s2sp_line_add(&config->path, "s2s_partners");
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "and ");
	s2sp_line_add_number(&expected, judgement->without_method - ERRORS_TOLD);
	s2sp_line_add(&expected, " more without a method for reasons like these");
	return s2sp_config_refuse(config, "no-method-left", NULL, expected.bytes);
}

static enum s2sp_status judge_options(struct judgement *judgement) {
	static const struct s2sp_value off = { .kind = S2SP_VALUE_BOOLEAN, .boolean = false };
	struct s2sp_config *config = judgement->config;
	uint32_t timeout = judgement->options->s2s_timeout;
	uint32_t needed = config->policy->limits.establishment_timeout;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (!judgement->options->require_encryption)
		status = warn(config, "encryption-not-required", "s2s_require_encryption", &off,
					  "streams without TLS are then kept out by this module alone; remove it unless a partner has no TLS");
	if (status != S2SP_STATUS_OK || timeout == 0 || timeout >= needed)
		return status;
	struct s2sp_value value = { .kind = S2SP_VALUE_NUMBER, .number = timeout };
	struct s2sp_line expected;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "ends streams before s2s_partners_limits.establishment_timeout = ");
	s2sp_line_add_number(&expected, needed);
	s2sp_line_add(&expected, " does; raise it, or lower that");
	return warn(config, "timeout-too-short", "s2s_timeout", &value, expected.bytes);
}

enum s2sp_status s2sp_config_judge_host(struct s2sp_config *config, const struct s2sp_host_options *options) {
	static const unsigned char unkeyed[16] = { 0 }; /* the administrator's own names */
	struct judgement judgement = { .config = config, .options = options };
	s2sp_arena_begin(&judgement.arena, &config->allocator);
	s2sp_index_begin(&judgement.secure, &config->allocator, unkeyed);
	s2sp_index_begin(&judgement.insecure, &config->allocator, unkeyed);
	enum s2sp_status status = read_domains(&judgement, &judgement.secure, options->secure_domains, options->secure_domain_count);
	if (status == S2SP_STATUS_OK)
		status = read_domains(&judgement, &judgement.insecure, options->insecure_domains, options->insecure_domain_count);
	if (status == S2SP_STATUS_OK)
		status = judge_options(&judgement);
	if (status == S2SP_STATUS_OK)
		status = judge_partners(&judgement);
	if (status == S2SP_STATUS_OK)
		status = tell_rest(&judgement);
	if (status == S2SP_STATUS_OK)
		status = tell_losses(&judgement);
	config->policy->least_connections = least_connections(config->policy);
	s2sp_index_end(&judgement.insecure);
	s2sp_index_end(&judgement.secure);
	s2sp_arena_end(&judgement.arena);
	return status;
}
