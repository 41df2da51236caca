/* Domains, pins and lists of a partner: parsed, told apart, refused when they are known already. */
#include "config_build.h"

#define ITEMS_FIRST 4

static enum s2sp_status refuse_fault(struct s2sp_config *config, const struct s2sp_value *value, enum s2sp_domain_fault fault) {
	struct s2sp_line expected;
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "this ");
	s2sp_line_add(&expected, s2sp_domain_fault_text(fault));
	s2sp_line_add(&expected, "; must be a domain such as \"fabrikam.com\"");
	return s2sp_config_refuse_told(config, "bad-domain", value, &expected);
}

static enum s2sp_status refuse_duplicate(struct s2sp_config *config, const struct s2sp_value *value, struct s2sp_text canonical,
										 uint32_t owner) {
	struct s2sp_line expected;
	const struct s2sp_partner *first = owner == config->table->count ? &config->draft.partner : &config->table->partners[owner];
	s2sp_line_begin(&expected);
	s2sp_line_add(&expected, "listed already");
	if (!s2sp_text_equal(value->string, canonical)) {
		s2sp_line_add(&expected, " (as ");
		s2sp_line_add_quoted(&expected, canonical);
		s2sp_line_add(&expected, ")");
	}
	s2sp_line_add(&expected, " in ");
	s2sp_config_path_partner(&expected, first);
	if (s2sp_text_equal(first->name, canonical)) {
		s2sp_line_add(&expected, ".domain");
	} else {
		s2sp_config_path_name(&expected, first->name);
		s2sp_line_add(&expected, ".additional_domains");
	}
	s2sp_line_add(&expected, "; a domain may stand only once in the whole list, remove one of the two");
	return s2sp_config_refuse_told(config, "duplicate-domain", value, &expected);
}

/* Enters a domain of the draft, which gets the next number. Copies `name` into the arena. */
static enum s2sp_status enter(struct s2sp_config *config, const struct s2sp_value *value, struct s2sp_text name,
							  struct s2sp_text *kept, bool *taken) {
	bool wildcard = name.bytes[0] == '*';
	struct s2sp_partner_table *table = config->table;
	struct s2sp_text key = wildcard ? (struct s2sp_text){ name.bytes + 2, name.length - 2 } : name;
	uint16_t kind = wildcard ? S2SP_NAME_WILDCARD : S2SP_NAME_EXACT;
	uint32_t owner = s2sp_index_find(&table->domains, kind, key);
	*taken = false;
	if (owner == S2SP_PARTNER_LOCAL)
		return s2sp_config_refuse(config, "local-domain", value,
								  "this server serves the domain itself, so it cannot be a partner's; remove it");
	if (owner != S2SP_INDEX_NONE)
		return refuse_duplicate(config, value, name, owner);
	enum s2sp_status status = s2sp_arena_copy(&table->arena, name, kept);
	if (status != S2SP_STATUS_OK)
		return status;
	key = wildcard ? (struct s2sp_text){ kept->bytes + 2, kept->length - 2 } : *kept;
	status = s2sp_index_add(&table->domains, kind, key, (uint32_t)table->count);
	if (wildcard)
		s2sp_partner_table_note_wildcard(table, key.length);
	*taken = status == S2SP_STATUS_OK;
	return status;
}

enum s2sp_status s2sp_config_set_domain(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	struct s2sp_domain domain;
	enum s2sp_status status = s2sp_config_string(config, value, "a domain such as \"fabrikam.com\"", taken);
	if (!*taken)
		return status;
	*taken = false;
	if (value->string.length > 0 && value->string.bytes[0] == '*')
		return s2sp_config_refuse(config, "wildcard-not-here", value,
								  "a wildcard may stand in additional_domains only; must be a domain such as "
								  "\"fabrikam.com\"");
	enum s2sp_domain_fault fault = s2sp_domain_parse(value->string, config->to_ascii, &domain);
	if (fault != S2SP_DOMAIN_OK)
		return refuse_fault(config, value, fault);
	return enter(config, value, (struct s2sp_text){ domain.bytes, domain.length }, &config->draft.partner.name, taken);
}

/* Doubles an array. NULL when out of memory; the old block is then unchanged. */
static void *grow(struct s2sp_config *config, void *block, size_t *capacity, size_t size) {
	size_t wanted = *capacity == 0 ? ITEMS_FIRST : *capacity * 2;
	void *grown = config->allocator.reallocate(config->allocator.owner, block, wanted * size);
	if (grown != NULL)
		*capacity = wanted;
	return grown;
}

static enum s2sp_status add_text(struct s2sp_config *config, const struct s2sp_value *value, struct s2sp_text name) {
	struct s2sp_draft *draft = &config->draft;
	bool taken;
	if (draft->partner.additional_count == draft->additional_capacity) {
		void *grown = grow(config, draft->additional, &draft->additional_capacity, sizeof(*draft->additional));
		if (grown == NULL)
			return S2SP_STATUS_NO_MEMORY;
		draft->additional = grown;
	}
	enum s2sp_status status = enter(config, value, name, &draft->additional[draft->partner.additional_count], &taken);
	if (taken)
		draft->partner.additional_count++;
	return status;
}

enum s2sp_status s2sp_config_add_domain(struct s2sp_config *config, const struct s2sp_value *value) {
	static const char two_labels[] = "a wildcard must be \"*.\" and a domain of two labels or more, such as \"*.fabrikam.com\"";
	struct s2sp_domain domain;
	bool taken;
	enum s2sp_status status = s2sp_config_string(config, value, "a domain such as \"corp.fabrikam.com\"", &taken);
	if (!taken)
		return status;
	struct s2sp_text name = value->string;
	bool wildcard = name.length > 0 && name.bytes[0] == '*';
	if (wildcard && (name.length < 3 || name.bytes[1] != '.'))
		return s2sp_config_refuse(config, "bad-wildcard", value, two_labels);
	if (wildcard)
		name = (struct s2sp_text){ name.bytes + 2, name.length - 2 };
	enum s2sp_domain_fault fault = s2sp_domain_parse(name, config->to_ascii, &domain);
	if (fault != S2SP_DOMAIN_OK)
		return refuse_fault(config, value, fault);
	if (!wildcard)
		return add_text(config, value, (struct s2sp_text){ domain.bytes, domain.length });
	if (s2sp_domain_labels(&domain) < 2)
		return s2sp_config_refuse(config, "bad-wildcard", value, two_labels);
	if (config->is_public != NULL && config->is_public((struct s2sp_text){ domain.bytes, domain.length })) {
		status = s2sp_config_report(
			config, &(struct s2sp_finding){
						.severity = S2SP_SEVERITY_WARNING,
						.code = "public-suffix",
						.value = value,
						.expected = "is over a public suffix, so anybody who gets a domain there is this partner; "
									"name the partner's own domains",
					});
		if (status != S2SP_STATUS_OK)
			return status;
	}
	char bytes[S2SP_DOMAIN_LENGTH_MAX + 2] = "*.";
	memcpy(bytes + 2, domain.bytes, domain.length);
	return add_text(config, value, (struct s2sp_text){ bytes, domain.length + 2u });
}

enum s2sp_status s2sp_config_add_pin(struct s2sp_config *config, const struct s2sp_value *value) {
	struct s2sp_draft *draft = &config->draft;
	struct s2sp_pin pin;
	bool taken;
	enum s2sp_status status = s2sp_config_string(config, value, "a pin such as \"sha256//BASE64=\"", &taken);
	if (!taken)
		return status;
	if (!s2sp_pin_from_text(value->string, &pin))
		return s2sp_config_refuse(config, "bad-pin", value,
								  "must be \"sha256//\" and the base64 of 32 bytes (44 characters, the last one \"=\")");
	for (size_t i = 0; i < draft->partner.pin_count; i++) {
		if (memcmp(&draft->pins[i], &pin, sizeof(pin)) == 0)
			return s2sp_config_report(config, &(struct s2sp_finding){
												  .severity = S2SP_SEVERITY_WARNING,
												  .code = "duplicate-pin",
												  .value = value,
												  .expected = "this pin stands in the list already; remove one of the two",
											  });
	}
	if (draft->partner.pin_count == draft->pin_capacity) {
		void *grown = grow(config, draft->pins, &draft->pin_capacity, sizeof(*draft->pins));
		if (grown == NULL)
			return S2SP_STATUS_NO_MEMORY;
		draft->pins = grown;
	}
	draft->pins[draft->partner.pin_count++] = pin;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_config_add_crl(struct s2sp_config *config, const struct s2sp_value *value) {
	static const char what[] = "the path of a file of revocation lists, or a pattern such as \"crls/*.crl\"";
	struct s2sp_draft *draft = &config->draft;
	bool taken;
	enum s2sp_status status = s2sp_config_string(config, value, what, &taken);
	if (!taken)
		return status;
	if (value->string.length == 0 || memchr(value->string.bytes, '\0', value->string.length) != NULL)
		return s2sp_config_refuse(config, "bad-path", value,
								  "must be the path of a file of revocation lists, or a pattern such as \"crls/*.crl\"");
	if (draft->crl_count == draft->crl_capacity) {
		void *grown = grow(config, draft->crls, &draft->crl_capacity, sizeof(*draft->crls));
		if (grown == NULL)
			return S2SP_STATUS_NO_MEMORY;
		draft->crls = grown;
	}
	status = s2sp_arena_copy(s2sp_config_arena(config), value->string, &draft->crls[draft->crl_count]);
	if (status == S2SP_STATUS_OK)
		draft->crl_count++;
	return status;
}
