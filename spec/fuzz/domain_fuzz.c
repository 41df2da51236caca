/*
 * Domains. Input: a length, the first name, the second name. Properties: what is accepted is canonical (a fixed point, within the
 * limits, of the characters a domain has), the same for any case and with a trailing dot, and nothing that holds NUL.
 */
#include <string.h>

#include "fuzz.h"
#include "idna.h"

static struct s2sp_text text_of(const struct s2sp_domain *domain) {
	return (struct s2sp_text){ domain->bytes, domain->length };
}

static void check_canonical(const struct s2sp_domain *domain) {
	size_t label = 0, labels = 1;
	CHECK(domain->length > 0 && domain->length <= S2SP_DOMAIN_LENGTH_MAX);
	CHECK(strlen(domain->bytes) == domain->length);
	for (size_t i = 0; i < domain->length; i++) {
		char c = domain->bytes[i];
		if (c == '.') {
			CHECK(label > 0 && domain->bytes[i - 1] != '-');
			label = 0;
			labels++;
			continue;
		}
		CHECK((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && label > 0));
		CHECK(++label <= S2SP_LABEL_LENGTH_MAX);
	}
	CHECK(label > 0 && domain->bytes[domain->length - 1] != '-');
	CHECK(s2sp_domain_labels(domain) == labels);
	struct s2sp_domain again;
	CHECK(s2sp_domain_parse(text_of(domain), s2sp_idna_to_ascii, &again) == S2SP_DOMAIN_OK);
	CHECK(s2sp_text_equal(text_of(domain), text_of(&again)));
}

static void check_variants(struct s2sp_text name, const struct s2sp_domain *domain) {
	char changed[1200];
	struct s2sp_domain again;
	if (name.length + 1 > sizeof(changed))
		return;
	for (size_t i = 0; i < name.length; i++) {
		char c = name.bytes[i];
		changed[i] = c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
	}
	CHECK(s2sp_domain_parse((struct s2sp_text){ changed, name.length }, s2sp_idna_to_ascii, &again) == S2SP_DOMAIN_OK);
	CHECK(s2sp_text_equal(text_of(domain), text_of(&again)));
	memcpy(changed, name.bytes, name.length);
	changed[name.length] = '.';
	if (name.bytes[name.length - 1] != '.' && name.length < 1024) {
		CHECK(s2sp_domain_parse((struct s2sp_text){ changed, name.length + 1 }, s2sp_idna_to_ascii, &again) == S2SP_DOMAIN_OK);
		CHECK(s2sp_text_equal(text_of(domain), text_of(&again)));
	}
}

static bool parse(struct s2sp_text name, struct s2sp_domain *domain) {
	enum s2sp_domain_fault fault = s2sp_domain_parse(name, s2sp_idna_to_ascii, domain);
	CHECK(fault != S2SP_DOMAIN_FAULT_UNKNOWN);
	CHECK(s2sp_domain_fault_text(fault) != NULL);
	if (fault != S2SP_DOMAIN_OK) {
		CHECK(domain->length == 0);
		return false;
	}
	CHECK(memchr(name.bytes, '\0', name.length) == NULL);
	check_canonical(domain);
	check_variants(name, domain);
	struct s2sp_text parent = s2sp_domain_parent(text_of(domain));
	CHECK(parent.length < domain->length);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct choices choices = { data, size };
	struct s2sp_text one = choose_text(&choices);
	struct s2sp_text other = { (const char *)choices.data, choices.size };
	struct s2sp_domain first, second;
	parse(one, &first);
	parse(other, &second);
	return 0;
}
