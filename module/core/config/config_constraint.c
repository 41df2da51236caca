/* Subtracts the host's constraints from every partner's row, and reports what that means. */
#include "config_build.h"

/* So many partners get an error of their own; the others are counted. */
#define ERRORS_TOLD 50
#define NAMES_TOLD 3

/* The partners that lose something under one constraint and keep a method. */
struct tally {
	size_t count;
	struct s2sp_text names[NAMES_TOLD];
};

struct judgement {
	struct s2sp_config *config;
	const struct s2sp_host *host;
	struct tally tallies[S2SP_CONSTRAINTS_MAX];
	size_t without_method;
	unsigned taken, kept; /* of the rows of partners: methods that any of them has lost, and that any has left */
};

static uint32_t holding(const struct judgement *judgement, struct s2sp_text domain) {
	const struct s2sp_host *host = judgement->host;
	return host->constraint_count == 0 ? 0 : host->holding(host->of, domain);
}

static const struct s2sp_constraint *held(const struct judgement *judgement, uint32_t bits, size_t index) {
	return (bits >> index & 1) != 0 ? &judgement->host->constraints[index] : NULL;
}

static unsigned forbidden(const struct judgement *judgement, uint32_t bits) {
	unsigned methods = S2SP_METHOD_NONE;
	for (size_t i = 0; i < judgement->host->constraint_count; i++) {
		const struct s2sp_constraint *constraint = held(judgement, bits, i);
		methods |= constraint == NULL ? 0 : constraint->forbids;
	}
	return methods;
}

/* Each loss under the first constraint that takes it. */
static uint32_t losses(const struct judgement *judgement, const struct s2sp_partner *partner, uint32_t bits, unsigned left) {
	unsigned lost = partner->row->methods & ~left;
	bool certified = partner->trust_anchors.length > 0 || partner->pin_count > 0;
	bool uncertified = !certified && (left & S2SP_METHOD_TLS_DIALBACK) != 0;
	uint32_t takers = 0;
	for (size_t i = 0; i < judgement->host->constraint_count; i++) {
		const struct s2sp_constraint *constraint = held(judgement, bits, i);
		if (constraint == NULL)
			continue;
		if ((constraint->forbids & lost) != 0 || (constraint->demands_certificate && uncertified))
			takers |= UINT32_C(1) << i;
		lost &= ~(unsigned)constraint->forbids;
		uncertified = uncertified && !constraint->demands_certificate;
	}
	return takers;
}

/* Writes `text` up to `slot`. Returns the rest behind the slot, NULL when `text` has no such slot. */
static const char *write_before(struct s2sp_line *line, const char *text, const char *slot) {
	const char *at = text == NULL ? NULL : strstr(text, slot);
	s2sp_line_add_text(line, at == NULL ? s2sp_text_from(text) : (struct s2sp_text){ text, (size_t)(at - text) });
	return at == NULL ? NULL : at + strlen(slot);
}

static void write_remedy(struct s2sp_line *line, const struct s2sp_constraint *constraint, struct s2sp_text domain) {
	bool all = domain.length == 0 && constraint->remedy_all != NULL;
	const char *rest = write_before(line, all ? constraint->remedy_all : constraint->remedy, "{domain}");
	if (rest == NULL)
		return;
	s2sp_line_add_quoted(line, domain);
	s2sp_line_add(line, rest);
}

/* "TLS dialback and TCP dialback" */
static void write_methods(struct s2sp_line *line, unsigned methods) {
	static const enum s2sp_method order[] = { S2SP_METHOD_SASL, S2SP_METHOD_TLS_DIALBACK, S2SP_METHOD_TCP_DIALBACK };
	size_t count = 0, written = 0;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		count += (methods & (unsigned)order[i]) != 0;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if ((methods & (unsigned)order[i]) == 0)
			continue;
		s2sp_line_add_joint(line, written++, count, " and ");
		s2sp_line_add(line, s2sp_method_text(order[i]));
	}
}

static bool rules_tls_out(const struct s2sp_constraint *constraint) {
	return (constraint->forbids & S2SP_METHODS_OVER_TLS) == S2SP_METHODS_OVER_TLS;
}

/* Those that hold and rule TLS out, or any of `methods`. Returns their number. */
static size_t blame(const struct judgement *judgement, uint32_t bits, unsigned methods, bool for_tls,
					const struct s2sp_constraint *blamed[S2SP_CONSTRAINTS_MAX]) {
	size_t count = 0;
	for (size_t i = 0; i < judgement->host->constraint_count; i++) {
		const struct s2sp_constraint *constraint = held(judgement, bits, i);
		if (constraint != NULL && (for_tls ? rules_tls_out(constraint) : (constraint->forbids & methods) != 0))
			blamed[count++] = constraint;
	}
	return count;
}

/* Names the constraints that leave nothing, each with its remedy. */
static void explain(const struct judgement *judgement, const struct s2sp_partner *partner, uint32_t bits, struct s2sp_text domain,
					struct s2sp_line *line) {
	const struct s2sp_constraint *blamed[S2SP_CONSTRAINTS_MAX];
	unsigned methods = partner->row->methods;
	size_t count = blame(judgement, bits, methods, true, blamed);
	bool tls_off = count > 0;
	/* An entry that wants TLS needs it allowed; what rules out its fallback does not matter then. */
	bool needs_tls = tls_off && (methods & S2SP_METHODS_OVER_TLS) != 0;
	if (!needs_tls)
		count = blame(judgement, bits, methods, false, blamed);
	s2sp_line_add(line, needs_tls ? "needs TLS" : "leaves only ");
	if (!needs_tls)
		write_methods(line, methods);
	s2sp_line_add(line, ", which ");
	for (size_t i = 0; i < count; i++) {
		s2sp_line_add_joint(line, i, count, " and ");
		s2sp_line_add(line, blamed[i]->fact);
	}
	s2sp_line_add(line, needs_tls ? count == 1 ? " switches off; " : " switch off; " : count == 1 ? " forbids; " : " forbid; ");
	for (size_t i = 0; i < count; i++) {
		s2sp_line_add_joint(line, i, count, " and ");
		write_remedy(line, blamed[i], domain);
	}
	/* Not where TLS dialback is ruled out as well. */
	if (!tls_off && methods == S2SP_METHOD_TCP_DIALBACK && (forbidden(judgement, bits) & S2SP_METHOD_TLS_DIALBACK) == 0)
		s2sp_vocabulary_write(judgement->config->vocabulary, ", or {tls = required} here", line);
}

static bool is_default(const struct judgement *judgement, const struct s2sp_partner *partner) {
	return partner == &judgement->config->policy->default_partner;
}

static void begin_path(struct judgement *judgement, const struct s2sp_partner *partner) {
	struct s2sp_line *path = &judgement->config->path;
	s2sp_line_begin(path);
	s2sp_config_path_partner(path, partner);
	if (!is_default(judgement, partner))
		s2sp_config_path_name(path, partner->name);
}

/* Without TLS nothing but DNS and the network says who a partner is: too little for one whose word is taken for its users'. */
static enum s2sp_status warn_of_tcp(struct judgement *judgement, const struct s2sp_partner *partner) {
	const char *type = s2sp_partner_type_token((enum s2sp_partner_type)partner->type);
	struct s2sp_value value = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(type) };
	begin_path(judgement, partner);
	return s2sp_config_report(
		judgement->config,
		&(struct s2sp_finding){
			.severity = S2SP_SEVERITY_WARNING,
			.code = "trusted-without-tls",
			.key = "partner_type",
			.value = &value,
			.expected = "is trusted, and TCP dialback is among its methods: anybody who can change its DNS or the "
						"network between can pass for it; set {tls = required}, or {partner_type = public_unverified}",
		});
}

static enum s2sp_status refuse_partner(struct judgement *judgement, const struct s2sp_partner *partner, uint32_t bits,
									   struct s2sp_text domain) {
	struct s2sp_config *config = judgement->config;
	struct s2sp_line expected;
	if (judgement->without_method++ >= ERRORS_TOLD)
		return S2SP_STATUS_OK;
	begin_path(judgement, partner);
	s2sp_line_begin(&expected);
	explain(judgement, partner, bits, domain, &expected);
	struct s2sp_value value = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(s2sp_requirement_token(partner->row->tls)) };
	return s2sp_config_report(
		config, &(struct s2sp_finding){ .code = "no-method-left", .key = "tls", .value = &value, .told = &expected });
}

static void tally(struct judgement *judgement, const struct s2sp_partner *partner, uint32_t takers) {
	for (size_t i = 0; i < judgement->host->constraint_count; i++) {
		struct tally *loss = &judgement->tallies[i];
		if (held(judgement, takers, i) == NULL)
			continue;
		if (loss->count < NAMES_TOLD)
			loss->names[loss->count] = is_default(judgement, partner) ? partner->place : partner->name;
		loss->count++;
	}
}

/* Every domain of the partner must keep a method. *methods is the union of what its domains keep. */
static enum s2sp_status judge_partner(struct judgement *judgement, const struct s2sp_partner *partner, uint8_t *methods) {
	unsigned all = 0;
	uint32_t takers = 0;
	for (size_t i = 0; i <= partner->additional_count; i++) {
		struct s2sp_text domain = i == 0 ? partner->name : partner->additional[i - 1];
		if (is_default(judgement, partner) || domain.bytes[0] == '*')
			domain = (struct s2sp_text){ NULL, 0 };
		uint32_t bits = holding(judgement, domain);
		unsigned left = partner->row->methods & ~forbidden(judgement, bits);
		if (left == S2SP_METHOD_NONE)
			return refuse_partner(judgement, partner, bits, domain);
		takers |= losses(judgement, partner, bits, left);
		all |= left;
	}
	*methods = (uint8_t)all;
	tally(judgement, partner, takers);
	bool trusted = partner->type != S2SP_PUBLIC_UNVERIFIED;
	return trusted && (all & S2SP_METHOD_TCP_DIALBACK) != 0 ? warn_of_tcp(judgement, partner) : S2SP_STATUS_OK;
}

/*
 * Nearly always the constraints take the same from every partner: nobody has left what anybody has lost. One mask then replaces the array.
 */
static void share_methods(const struct judgement *judgement, struct s2sp_policy *policy) {
	if ((judgement->taken & judgement->kept) != 0)
		return;
	if (policy->methods != NULL)
		policy->allocator.reallocate(policy->allocator.owner, policy->methods, 0);
	policy->methods = NULL;
	policy->methods_left = (uint8_t)~judgement->taken;
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
	for (size_t i = 0; i < count && status == S2SP_STATUS_OK; i++) {
		const struct s2sp_partner *partner = s2sp_partner_table_at(policy->table, i);
		status = judge_partner(judgement, partner, &policy->methods[i]);
		judgement->taken |= partner->row->methods & ~(unsigned)policy->methods[i];
		judgement->kept |= policy->methods[i];
	}
	/* A default policy that has errors may lack a row that stands for anything. */
	if (status == S2SP_STATUS_OK && policy->has_default && policy->default_partner.row->verdict != S2SP_ROW_ERROR)
		status = judge_partner(judgement, &policy->default_partner, &policy->default_methods);
	if (status == S2SP_STATUS_OK)
		share_methods(judgement, policy);
	return status;
}

static void write_partners(struct s2sp_line *line, const struct tally *loss) {
	s2sp_line_add_number(line, loss->count);
	s2sp_line_add(line, loss->count == 1 ? " partner (" : " partners (");
	for (size_t i = 0; i < loss->count && i < NAMES_TOLD; i++) {
		s2sp_line_add_joint(line, i, loss->count, ", ");
		s2sp_line_add_quoted(line, loss->names[i]);
	}
	s2sp_line_add(line, loss->count > NAMES_TOLD ? ", ...)" : ")");
}

static enum s2sp_status tell_losses(struct judgement *judgement) {
	enum s2sp_status status = S2SP_STATUS_OK;
	for (size_t i = 0; i < judgement->host->constraint_count && status == S2SP_STATUS_OK; i++) {
		const struct s2sp_constraint *constraint = &judgement->host->constraints[i];
		struct s2sp_line lost;
		if (judgement->tallies[i].count == 0)
			continue;
		s2sp_line_begin(&lost);
		const char *rest = write_before(&lost, constraint->lost, "{partners}");
		if (rest != NULL) {
			write_partners(&lost, &judgement->tallies[i]);
			s2sp_line_add(&lost, rest);
		}
		status = s2sp_config_issue(judgement->config, S2SP_SEVERITY_WARNING, "fallback-lost", s2sp_text_from(constraint->path),
								   s2sp_text_from(constraint->got), s2sp_line_text(&lost));
	}
	return status;
}

static enum s2sp_status tell_rest(struct judgement *judgement) {
	struct s2sp_config *config = judgement->config;
	struct s2sp_line expected;
	if (judgement->without_method <= ERRORS_TOLD)
		return S2SP_STATUS_OK;
	s2sp_line_begin(&config->path);
	s2sp_line_add(&config->path, config->vocabulary->words[S2SP_WORD_OPTION_PARTNERS]);
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "and ");
	s2sp_line_add_number(&expected, judgement->without_method - ERRORS_TOLD);
	s2sp_line_add(&expected, " more without a method for reasons like these");
	return s2sp_config_report(config, &(struct s2sp_finding){ .code = "no-method-left", .told = &expected });
}

enum s2sp_status s2sp_config_constrain(struct s2sp_config *config, const struct s2sp_host *host) {
	static const struct s2sp_host unconstrained = { .constraint_count = 0 };
	struct judgement judgement = { .config = config, .host = host == NULL ? &unconstrained : host };
	if (judgement.host->constraint_count > S2SP_CONSTRAINTS_MAX)
		return S2SP_STATUS_FAILED;
	enum s2sp_status status = judge_partners(&judgement);
	if (status == S2SP_STATUS_OK)
		status = tell_rest(&judgement);
	if (status == S2SP_STATUS_OK)
		status = tell_losses(&judgement);
	return status;
}
