/* The keys of a partner and of the policy for unlisted domains. */
#include "config_build.h"

static const char *const keys[S2SP_PARTNER_KEY_COUNT + 1] = {
	[S2SP_PARTNER_KEY_DOMAIN] = "domain",
	[S2SP_PARTNER_KEY_ADDITIONAL_DOMAINS] = "additional_domains",
	[S2SP_PARTNER_KEY_DESCRIPTION] = "description",
	[S2SP_PARTNER_KEY_PARTNER_TYPE] = "partner_type",
	[S2SP_PARTNER_KEY_TLS] = "tls",
	[S2SP_PARTNER_KEY_SASL] = "sasl",
	[S2SP_PARTNER_KEY_DIALBACK] = "dialback",
	[S2SP_PARTNER_KEY_TRUST_ANCHORS] = "trust_anchors",
	[S2SP_PARTNER_KEY_PINNED_KEYS] = "pinned_keys",
	[S2SP_PARTNER_KEY_CRLS] = "crls",
	[S2SP_PARTNER_KEY_REVOCATION] = "revocation",
	[S2SP_PARTNER_KEY_CONNECTION_LIMIT] = "connection_limit",
	[S2SP_PARTNER_KEY_KEEPALIVE] = "keepalive",
	[S2SP_PARTNER_KEY_PROXY] = "proxy",
	[S2SP_PARTNER_KEY_PRESENCE_AUTHORIZATION] = "presence_authorization",
	[S2SP_PARTNER_KEY_GROUP_CHAT] = "group_chat",
	[S2SP_PARTNER_KEY_PERSONAL_EVENTS] = "personal_events",
	[S2SP_PARTNER_KEY_EXTERNAL_ACCESS] = "external_access",
	[S2SP_PARTNER_KEY_COUNT] = NULL,
};

static enum s2sp_partner_key key_named(struct s2sp_text name) {
	size_t key = 0;
	while (key < S2SP_PARTNER_KEY_COUNT && !s2sp_text_equal(name, s2sp_text_from(keys[key])))
		key++;
	return (enum s2sp_partner_key)key;
}

bool s2sp_config_is_partner_key(struct s2sp_text key) {
	return key_named(key) != S2SP_PARTNER_KEY_COUNT;
}

static enum s2sp_status set_partner_type(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	static const char *const words[] = { "federated", "public_verified", "public_unverified", NULL };
	static const enum s2sp_partner_type types[] = { S2SP_FEDERATED, S2SP_PUBLIC_VERIFIED, S2SP_PUBLIC_UNVERIFIED };
	size_t word;
	enum s2sp_status status = s2sp_config_word(config, value, words, &word, taken);
	if (*taken)
		config->draft.partner.type = (uint8_t)types[word];
	return status;
}

static enum s2sp_status set_requirement(struct s2sp_config *config, const struct s2sp_value *value,
										enum s2sp_requirement *requirement, bool *taken) {
	static const char *const words[] = { "required", "optional", "not_supported", NULL };
	static const enum s2sp_requirement requirements[] = { S2SP_REQUIRED, S2SP_OPTIONAL, S2SP_NOT_SUPPORTED };
	size_t word;
	enum s2sp_status status = s2sp_config_word(config, value, words, &word, taken);
	if (*taken)
		*requirement = requirements[word];
	return status;
}

/* One of two words; the first one means true. */
static enum s2sp_status set_choice(struct s2sp_config *config, const struct s2sp_value *value, const char *const *words,
								   bool *choice, bool *taken) {
	size_t word;
	enum s2sp_status status = s2sp_config_word(config, value, words, &word, taken);
	if (*taken)
		*choice = word == 0;
	return status;
}

/* Lines of text that a terminal shows as they are. */
static bool is_clean(struct s2sp_text text) {
	while (text.length > 0) {
		size_t length = s2sp_utf8_character(text);
		if (length == 0 || (text.bytes[0] != '\n' && !s2sp_utf8_printable(text, length)))
			return false;
		text.bytes += length;
		text.length -= length;
	}
	return true;
}

static enum s2sp_status set_description(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	enum s2sp_status status = s2sp_config_string(config, value, "text", taken);
	if (!*taken)
		return status;
	*taken = is_clean(value->string);
	if (!*taken)
		return s2sp_config_refuse(config, "bad-text", value,
								  "must be UTF-8 without control or invisible characters, other than line feeds between lines");
	return s2sp_arena_copy(s2sp_config_arena(config), value->string, &config->draft.partner.description);
}

static enum s2sp_status set_trust_anchors(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	enum s2sp_status status = s2sp_config_string(config, value, "the path of a PEM file", taken);
	if (!*taken)
		return status;
	*taken = value->string.length > 0 && memchr(value->string.bytes, '\0', value->string.length) == NULL;
	if (!*taken)
		return s2sp_config_refuse(config, "bad-path", value, "must be the path of a PEM file");
	return s2sp_arena_copy(s2sp_config_arena(config), value->string, &config->draft.partner.trust_anchors);
}

/* Announces a list; its items come through s2sp_config_add. */
static enum s2sp_status open_list(struct s2sp_config *config, const struct s2sp_value *value, enum s2sp_open open,
								  const char *expected, bool *taken) {
	*taken = value->kind == S2SP_VALUE_COMPOUND;
	if (!*taken) {
		return s2sp_config_report(
			config, &(struct s2sp_finding){ .code = "wrong-type", .value = value, .typed = true, .expected = expected });
	}
	config->open = open;
	config->open_items = 0;
	config->follows = S2SP_CONTENTS_LIST;
	return S2SP_STATUS_OK;
}

/* One path is a list of one. */
static enum s2sp_status set_crls(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	if (value->kind != S2SP_VALUE_STRING)
		return open_list(config, value, S2SP_OPEN_CRLS, "must be a list of files or patterns: {sample.crls}", taken);
	enum s2sp_status status = s2sp_config_add_crl(config, value);
	*taken = config->draft.crl_count > 0;
	return status;
}

static enum s2sp_status set_revocation(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	static const char *const words[] = { "off", "if_known", "required", NULL };
	static const enum s2sp_revocation modes[] = { S2SP_REVOCATION_OFF, S2SP_REVOCATION_IF_KNOWN, S2SP_REVOCATION_REQUIRED };
	size_t word;
	enum s2sp_status status = s2sp_config_word(config, value, words, &word, taken);
	if (*taken)
		config->draft.partner.revocation = (uint8_t)modes[word];
	return status;
}

static enum s2sp_status set_key(struct s2sp_config *config, enum s2sp_partner_key key, const struct s2sp_value *value,
								bool *taken) {
	static const char *const automatic_or_user[] = { "automatic", "user", NULL };
	static const char *const allow_or_refuse[] = { "allow", "refuse", NULL };
	struct s2sp_draft *draft = &config->draft;
	switch (key) {
	case S2SP_PARTNER_KEY_DOMAIN: return s2sp_config_set_domain(config, value, taken);
	case S2SP_PARTNER_KEY_DESCRIPTION: return set_description(config, value, taken);
	case S2SP_PARTNER_KEY_ADDITIONAL_DOMAINS:
		return open_list(config, value, S2SP_OPEN_ADDITIONAL_DOMAINS, "must be a list of domains: {sample.domains}", taken);
	case S2SP_PARTNER_KEY_PARTNER_TYPE: return set_partner_type(config, value, taken);
	case S2SP_PARTNER_KEY_TLS: return set_requirement(config, value, &draft->tls, taken);
	case S2SP_PARTNER_KEY_SASL: return set_requirement(config, value, &draft->sasl, taken);
	case S2SP_PARTNER_KEY_DIALBACK: return s2sp_config_boolean(config, value, &draft->dialback, taken);
	case S2SP_PARTNER_KEY_TRUST_ANCHORS: return set_trust_anchors(config, value, taken);
	case S2SP_PARTNER_KEY_PINNED_KEYS:
		return open_list(config, value, S2SP_OPEN_PINNED_KEYS, "must be a list of pins: {sample.pins}", taken);
	case S2SP_PARTNER_KEY_CRLS: return set_crls(config, value, taken);
	case S2SP_PARTNER_KEY_REVOCATION: return set_revocation(config, value, taken);
	case S2SP_PARTNER_KEY_CONNECTION_LIMIT: return s2sp_config_integer(config, value, &draft->partner.connection_limit, taken);
	case S2SP_PARTNER_KEY_KEEPALIVE: return s2sp_config_boolean(config, value, &draft->partner.keepalive, taken);
	case S2SP_PARTNER_KEY_PROXY: return s2sp_config_set_proxy(config, value, taken);
	case S2SP_PARTNER_KEY_PRESENCE_AUTHORIZATION:
		return set_choice(config, value, automatic_or_user, &draft->partner.presence_automatic, taken);
	case S2SP_PARTNER_KEY_GROUP_CHAT: return set_choice(config, value, allow_or_refuse, &draft->partner.group_chat, taken);
	case S2SP_PARTNER_KEY_PERSONAL_EVENTS:
		return set_choice(config, value, allow_or_refuse, &draft->partner.personal_events, taken);
	case S2SP_PARTNER_KEY_EXTERNAL_ACCESS: return s2sp_config_open_access(config, value, taken);
	case S2SP_PARTNER_KEY_COUNT: break;
	}
	*taken = false;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_set_partner(struct s2sp_config *config, const struct s2sp_value *value) {
	enum s2sp_partner_key key = key_named(config->key);
	bool of_default = config->section == S2SP_SECTION_DEFAULT;
	if (key == S2SP_PARTNER_KEY_COUNT)
		return s2sp_config_unknown_key(config, value, of_default ? keys + S2SP_PARTNER_KEY_DESCRIPTION : keys);
	if (of_default && (key == S2SP_PARTNER_KEY_DOMAIN || key == S2SP_PARTNER_KEY_ADDITIONAL_DOMAINS))
		return s2sp_config_refuse(config, "domain-in-default", value,
								  "the policy for unlisted domains names none; remove the key, or list the domain in "
								  "{option.partners}");
	bool taken = false;
	enum s2sp_status status = set_key(config, key, value, &taken);
	config->draft.given |= 1u << key;
	if (!taken)
		config->draft.faulty |= 1u << key;
	return status;
}
