/* Checks a partner as a whole: missing keys, the row of the negotiation table, contradictions. */
#include "config_build.h"

struct s2sp_arena *s2sp_config_arena(struct s2sp_config *config) {
	return config->section == S2SP_SECTION_DEFAULT || config->section == S2SP_SECTION_ACCESS ? &config->policy->arena
																							 : &config->table->arena;
}

void s2sp_config_draft_begin(struct s2sp_config *config) {
	struct s2sp_draft *draft = &config->draft;
	memset(&draft->partner, 0, sizeof(draft->partner));
	memset(&draft->addenda, 0, sizeof(draft->addenda));
	draft->tls = S2SP_REQUIRED;
	draft->sasl = S2SP_REQUIRED;
	draft->dialback = false;
	draft->given = draft->faulty = 0;
	draft->crl_count = 0;
}

static bool given(const struct s2sp_draft *draft, enum s2sp_partner_key key) {
	return (draft->given & 1u << key) != 0;
}

/* Written and accepted. */
static bool has(const struct s2sp_draft *draft, enum s2sp_partner_key key) {
	return (draft->given & ~draft->faulty & 1u << key) != 0;
}

static enum s2sp_status check_required(struct s2sp_config *config) {
	struct s2sp_draft *draft = &config->draft;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (config->section == S2SP_SECTION_PARTNER && !given(draft, S2SP_PARTNER_KEY_DOMAIN))
		status = s2sp_config_report(config, &(struct s2sp_finding){
												.code = "missing-key",
												.key = "domain",
												.expected = "missing; every partner needs its primary domain",
											});
	if (status == S2SP_STATUS_OK && !given(draft, S2SP_PARTNER_KEY_PARTNER_TYPE))
		status = s2sp_config_report(
			config, &(struct s2sp_finding){
						.code = "missing-key",
						.key = "partner_type",
						.expected = "missing; must be \"federated\", \"public_verified\" or \"public_unverified\"",
					});
	return status;
}

/* Chooses the key that an issue about the row names. Returns the remedy. */
static const char *row_remedy(const struct s2sp_negotiation_row *row, const char **key) {
	*key = "tls";
	if (row->verdict == S2SP_ROW_WARNING) {
		if (row->tls == S2SP_REQUIRED) {
			*key = "dialback";
			return "; remove it, or set {sasl = optional}";
		}
		return row->dialback ? "; set {tls = required} to rule that out"
							 : "; set {tls = required}, or {dialback = true} to let them in";
	}
	if (row->sasl != S2SP_NOT_SUPPORTED)
		return "; set {tls = required}, or {sasl = not_supported} and {dialback = true}";
	*key = "sasl";
	return row->tls == S2SP_NOT_SUPPORTED ? "; set {dialback = true}, or both tls and sasl to \"required\""
										  : "; set {sasl = required} or {dialback = true}";
}

static enum s2sp_status check_row(struct s2sp_config *config) {
	struct s2sp_draft *draft = &config->draft;
	const uint32_t settings = 1u << S2SP_PARTNER_KEY_TLS | 1u << S2SP_PARTNER_KEY_SASL | 1u << S2SP_PARTNER_KEY_DIALBACK;
	const struct s2sp_negotiation_row *row = s2sp_negotiation_row(draft->tls, draft->sasl, draft->dialback);
	const char *key;
	draft->partner.row = row;
	/* A setting that was refused stands at its default here: nothing follows from that. */
	if (row->verdict == S2SP_ROW_OK || (draft->faulty & settings) != 0)
		return S2SP_STATUS_OK;
	struct s2sp_line expected;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, row->text);
	s2sp_vocabulary_write(config->vocabulary, row_remedy(row, &key), &expected);
	enum s2sp_requirement requirement = key[0] == 't' ? row->tls : row->sasl;
	struct s2sp_value value = { .kind = S2SP_VALUE_STRING, .string = s2sp_text_from(s2sp_requirement_token(requirement)) };
	if (key[0] == 'd')
		value = (struct s2sp_value){ .kind = S2SP_VALUE_BOOLEAN, .boolean = true };
	return s2sp_config_report(config,
							  &(struct s2sp_finding){
								  .severity = row->verdict == S2SP_ROW_ERROR ? S2SP_SEVERITY_ERROR : S2SP_SEVERITY_WARNING,
								  .code = row->verdict == S2SP_ROW_ERROR ? "impossible-negotiation" : "dubious-negotiation",
								  .key = key,
								  .value = &value,
								  .told = &expected,
							  });
}

/* Anchors and pins demand a certificate, which only TLS shows. */
static enum s2sp_status check_certificates(struct s2sp_config *config, enum s2sp_partner_key key, const char *name) {
	struct s2sp_draft *draft = &config->draft;
	if (!has(draft, key) || (draft->faulty & 1u << S2SP_PARTNER_KEY_TLS) != 0)
		return S2SP_STATUS_OK;
	if (draft->tls == S2SP_NOT_SUPPORTED)
		return s2sp_config_report(config, &(struct s2sp_finding){
											  .code = "certificate-without-tls",
											  .key = name,
											  .expected = "no certificate is ever seen with {tls = not_supported}; "
														  "remove it, or set {tls = required}",
										  });
	if ((draft->partner.row->methods & S2SP_METHOD_TCP_DIALBACK) == 0)
		return S2SP_STATUS_OK;
	return s2sp_config_report(config, &(struct s2sp_finding){
										  .severity = S2SP_SEVERITY_WARNING,
										  .code = "certificate-not-always",
										  .key = name,
										  .expected = "TCP dialback remains possible and shows no certificate; "
													  "set {tls = required} to rule that out",
									  });
}

static enum s2sp_status check_revocation(struct s2sp_config *config) {
	static const struct s2sp_value off = { .kind = S2SP_VALUE_STRING, .string = { "off", 3 } };
	static const struct s2sp_value required = { .kind = S2SP_VALUE_STRING, .string = { "required", 8 } };
	struct s2sp_draft *draft = &config->draft;
	bool lists = has(draft, S2SP_PARTNER_KEY_CRLS), demanded = draft->partner.revocation == S2SP_REVOCATION_REQUIRED;
	if (lists && draft->partner.revocation == S2SP_REVOCATION_OFF)
		return s2sp_config_report(config,
								  &(struct s2sp_finding){
									  .severity = S2SP_SEVERITY_WARNING,
									  .code = "unused-crls",
									  .key = "revocation",
									  .value = &off,
									  .expected = "nobody looks at crls then; remove one of the two, or set \"if_known\" or "
												  "\"required\"",
								  });
	if ((draft->faulty & 1u << S2SP_PARTNER_KEY_TLS) != 0 || draft->tls != S2SP_NOT_SUPPORTED || (!lists && !demanded))
		return S2SP_STATUS_OK;
	return s2sp_config_report(config, &(struct s2sp_finding){
										  .code = "certificate-without-tls",
										  .key = demanded ? "revocation" : "crls",
										  .value = demanded ? &required : NULL,
										  .expected = "no certificate is ever seen with {tls = not_supported}; "
													  "remove it, or set {tls = required}",
									  });
}

/* What follows from the partner type where nothing was written (and one thing that must not be written). */
static enum s2sp_status check_type(struct s2sp_config *config) {
	static const struct s2sp_value allow = { .kind = S2SP_VALUE_STRING, .string = { "allow", 5 } };
	static const struct s2sp_value automatic = { .kind = S2SP_VALUE_STRING, .string = { "automatic", 9 } };
	struct s2sp_draft *draft = &config->draft;
	if (!has(draft, S2SP_PARTNER_KEY_PARTNER_TYPE))
		return S2SP_STATUS_OK;
	bool unverified = draft->partner.type == S2SP_PUBLIC_UNVERIFIED;
	if (!given(draft, S2SP_PARTNER_KEY_PRESENCE_AUTHORIZATION))
		draft->partner.presence_automatic = !unverified;
	if (!given(draft, S2SP_PARTNER_KEY_GROUP_CHAT))
		draft->partner.group_chat = !unverified;
	if (!given(draft, S2SP_PARTNER_KEY_PERSONAL_EVENTS))
		draft->partner.personal_events = draft->partner.type == S2SP_FEDERATED;
	enum s2sp_status status = S2SP_STATUS_OK;
	if (unverified && draft->partner.personal_events)
		status = s2sp_config_report(
			config,
			&(struct s2sp_finding){
				.severity = S2SP_SEVERITY_WARNING,
				.code = "events-unverified",
				.key = "personal_events",
				.value = &allow,
				.expected = "shows what users publish of mood, activity and place to users nobody vouches for; remove it unless "
							"that is meant",
			});
	if (status != S2SP_STATUS_OK || !unverified || !draft->partner.presence_automatic)
		return status;
	return s2sp_config_report(
		config, &(struct s2sp_finding){
					.code = "automatic-unverified",
					.key = "presence_authorization",
					.value = &automatic,
					.expected = "must be \"user\" with partner_type \"public_unverified\", whose users nobody vouches for",
				});
}

static uint16_t given_bits(const struct s2sp_draft *draft) {
	static const struct {
		enum s2sp_partner_key key;
		enum s2sp_partner_setting setting;
	} settings[] = {
		{ S2SP_PARTNER_KEY_TLS, S2SP_GIVEN_TLS },
		{ S2SP_PARTNER_KEY_SASL, S2SP_GIVEN_SASL },
		{ S2SP_PARTNER_KEY_DIALBACK, S2SP_GIVEN_DIALBACK },
		{ S2SP_PARTNER_KEY_CONNECTION_LIMIT, S2SP_GIVEN_CONNECTION_LIMIT },
		{ S2SP_PARTNER_KEY_KEEPALIVE, S2SP_GIVEN_KEEPALIVE },
		{ S2SP_PARTNER_KEY_PRESENCE_AUTHORIZATION, S2SP_GIVEN_PRESENCE_AUTHORIZATION },
		{ S2SP_PARTNER_KEY_GROUP_CHAT, S2SP_GIVEN_GROUP_CHAT },
		{ S2SP_PARTNER_KEY_REVOCATION, S2SP_GIVEN_REVOCATION },
		{ S2SP_PARTNER_KEY_PERSONAL_EVENTS, S2SP_GIVEN_PERSONAL_EVENTS },
		{ S2SP_PARTNER_KEY_EXTERNAL_ACCESS, S2SP_GIVEN_EXTERNAL_ACCESS },
	};
	unsigned bits = 0;
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		bits |= given(draft, settings[i].key) ? (unsigned)settings[i].setting : 0;
	return (uint16_t)bits;
}

static enum s2sp_status keep_addenda(struct s2sp_draft *draft, struct s2sp_arena *arena) {
	static const struct s2sp_partner_addenda none = { { NULL, 0 }, NULL, 0, NULL };
	draft->partner.addenda = &none;
	if (draft->crl_count > 0) {
		size_t size = draft->crl_count * sizeof(*draft->crls);
		struct s2sp_text *crls = s2sp_arena_take(arena, size);
		if (crls == NULL)
			return S2SP_STATUS_NO_MEMORY;
		memcpy(crls, draft->crls, size);
		draft->addenda.crls = crls;
		draft->addenda.crl_count = draft->crl_count;
	}
	if (draft->crl_count == 0 && draft->addenda.proxy_host.length == 0 && draft->addenda.access == NULL)
		return S2SP_STATUS_OK;
	struct s2sp_partner_addenda *addenda = s2sp_arena_take(arena, sizeof(*addenda));
	if (addenda == NULL)
		return S2SP_STATUS_NO_MEMORY;
	*addenda = draft->addenda;
	draft->partner.addenda = addenda;
	return S2SP_STATUS_OK;
}

/* Moves the lists of the draft to where its strings are. */
static enum s2sp_status keep_lists(struct s2sp_config *config) {
	struct s2sp_draft *draft = &config->draft;
	struct s2sp_partner *partner = &draft->partner;
	struct s2sp_arena *arena = s2sp_config_arena(config);
	if (partner->additional_count > 0) {
		size_t size = partner->additional_count * sizeof(*draft->additional);
		struct s2sp_text *additional = s2sp_arena_take(arena, size);
		if (additional == NULL)
			return S2SP_STATUS_NO_MEMORY;
		memcpy(additional, draft->additional, size);
		partner->additional = additional;
	}
	if (partner->pin_count > 0) {
		size_t size = partner->pin_count * sizeof(*draft->pins);
		struct s2sp_pin *pins = s2sp_arena_take(arena, size);
		if (pins == NULL)
			return S2SP_STATUS_NO_MEMORY;
		memcpy(pins, draft->pins, size);
		partner->pins = pins;
	}
	return keep_addenda(draft, arena);
}

enum s2sp_status s2sp_config_draft_finish(struct s2sp_config *config) {
	enum s2sp_status status = check_required(config);
	if (status == S2SP_STATUS_OK)
		status = check_row(config);
	if (status == S2SP_STATUS_OK)
		status = check_certificates(config, S2SP_PARTNER_KEY_TRUST_ANCHORS, "trust_anchors");
	if (status == S2SP_STATUS_OK)
		status = check_certificates(config, S2SP_PARTNER_KEY_PINNED_KEYS, "pinned_keys");
	if (status == S2SP_STATUS_OK)
		status = check_revocation(config);
	if (status == S2SP_STATUS_OK)
		status = check_type(config);
	if (status == S2SP_STATUS_OK)
		status = keep_lists(config);
	if (status != S2SP_STATUS_OK)
		return status;
	config->draft.partner.given = given_bits(&config->draft);
	if (config->section == S2SP_SECTION_PARTNER)
		return s2sp_partner_table_append(config->table, &config->draft.partner);
	config->policy->default_partner = config->draft.partner;
	config->policy->has_default = true;
	return S2SP_STATUS_OK;
}
