#include "identity.h"

#include <string.h>

#include "ascii.h"

/* RFC 6120 14.1: the service of server-to-server streams, with the dot that ends its label. */
static const struct s2sp_text service = { "_xmpp-server.", 13 };

/* What s2sp_domain_parse takes at most; a longer xmppAddr cannot be a domain. */
#define XMPP_ADDR_LENGTH_MAX 1024

/* `lower` is in lower case already. */
static bool equal_folded(struct s2sp_text name, struct s2sp_text lower) {
	if (name.length != lower.length)
		return false;
	for (size_t i = 0; i < name.length; i++) {
		if (s2sp_ascii_fold(name.bytes[i]) != lower.bytes[i])
			return false;
	}
	return true;
}

static struct s2sp_text skip(struct s2sp_text text, size_t count) {
	return (struct s2sp_text){ text.bytes + count, text.length - count };
}

/* RFC 5280 4.2.1.6 and RFC 4985 2: an IA5String in the preferred name syntax. Judges the faults that outrank all others. */
static enum s2sp_identity_finding check_ia5(struct s2sp_text name) {
	if (name.length == 0)
		return S2SP_IDENTITY_EMPTY;
	if (memchr(name.bytes, '\0', name.length < XMPP_ADDR_LENGTH_MAX ? name.length : XMPP_ADDR_LENGTH_MAX) != NULL)
		return S2SP_IDENTITY_NUL;
	/* The longest: a service label before a domain of full length. */
	if (name.length > service.length + S2SP_DOMAIN_LENGTH_MAX)
		return S2SP_IDENTITY_TOO_LONG;
	for (size_t i = 0; i < name.length; i++) {
		if ((unsigned char)name.bytes[i] > 0x7f)
			return S2SP_IDENTITY_NOT_ASCII;
	}
	if (name.bytes[name.length - 1] == '.')
		return S2SP_IDENTITY_TRAILING_DOT;
	return S2SP_IDENTITY_UNKNOWN;
}

/* The rest of the syntax of a name without its wildcard label; UNKNOWN when nothing is wrong with it. */
static enum s2sp_identity_finding check_domain(struct s2sp_text name) {
	size_t label = 0;
	if (memchr(name.bytes, '*', name.length) != NULL)
		return S2SP_IDENTITY_WILDCARD_POSITION;
	if (name.length > S2SP_DOMAIN_LENGTH_MAX)
		return S2SP_IDENTITY_TOO_LONG;
	for (size_t i = 0; i < name.length; i++) {
		if (name.bytes[i] == '.') {
			if (label == 0)
				return S2SP_IDENTITY_NOT_DOMAIN;
			label = 0;
		} else if (!s2sp_ascii_is_ldh(name.bytes[i])) {
			return S2SP_IDENTITY_NOT_DOMAIN;
		} else if (++label > S2SP_LABEL_LENGTH_MAX) {
			return S2SP_IDENTITY_TOO_LONG;
		}
	}
	return label == 0 ? S2SP_IDENTITY_NOT_DOMAIN : S2SP_IDENTITY_UNKNOWN;
}

/* RFC 9525 6.3 */
static enum s2sp_identity_finding match_dns(struct s2sp_text name, struct s2sp_text reference) {
	enum s2sp_identity_finding fault = check_ia5(name);
	if (fault != S2SP_IDENTITY_UNKNOWN)
		return fault;
	bool wildcard = name.bytes[0] == '*' && (name.length == 1 || name.bytes[1] == '.');
	if (wildcard) {
		if (name.length <= 2)
			return S2SP_IDENTITY_WILDCARD_WIDTH;
		name = skip(name, 2);
		reference = s2sp_domain_parent(reference);
	}
	fault = check_domain(name);
	if (fault != S2SP_IDENTITY_UNKNOWN)
		return fault;
	if (wildcard && memchr(name.bytes, '.', name.length) == NULL)
		return S2SP_IDENTITY_WILDCARD_WIDTH;
	return equal_folded(name, reference) ? S2SP_IDENTITY_MATCH : S2SP_IDENTITY_DIFFERENT;
}

/* RFC 4985 2, RFC 9525 6.5.1; no wildcard here, see docs/certificates.md. */
static enum s2sp_identity_finding match_srv(struct s2sp_text name, struct s2sp_text reference) {
	enum s2sp_identity_finding fault = check_ia5(name);
	if (fault != S2SP_IDENTITY_UNKNOWN)
		return fault;
	if (name.length < service.length || !equal_folded((struct s2sp_text){ name.bytes, service.length }, service))
		return S2SP_IDENTITY_SERVICE;
	name = skip(name, service.length);
	fault = check_domain(name);
	if (fault != S2SP_IDENTITY_UNKNOWN)
		return fault;
	return equal_folded(name, reference) ? S2SP_IDENTITY_MATCH : S2SP_IDENTITY_DIFFERENT;
}

/* RFC 6120 13.7.1.4: a JID; only a bare domain names a server. */
static enum s2sp_identity_finding match_xmpp_addr(struct s2sp_text name, struct s2sp_text reference,
												  s2sp_domain_to_ascii *to_ascii) {
	if (name.length == 0)
		return S2SP_IDENTITY_EMPTY;
	if (name.length > XMPP_ADDR_LENGTH_MAX)
		return S2SP_IDENTITY_TOO_LONG;
	if (memchr(name.bytes, '\0', name.length) != NULL)
		return S2SP_IDENTITY_NUL;
	if (memchr(name.bytes, '@', name.length) != NULL || memchr(name.bytes, '/', name.length) != NULL)
		return S2SP_IDENTITY_NOT_BARE;
	if (memchr(name.bytes, '*', name.length) != NULL)
		return S2SP_IDENTITY_WILDCARD_POSITION;
	if (name.bytes[name.length - 1] == '.')
		return S2SP_IDENTITY_TRAILING_DOT;

	struct s2sp_domain domain;
	switch (s2sp_domain_parse(name, to_ascii, &domain)) {
	case S2SP_DOMAIN_OK: break;
	case S2SP_DOMAIN_LABEL_TOO_LONG:
	case S2SP_DOMAIN_TOO_LONG: return S2SP_IDENTITY_TOO_LONG;
	case S2SP_DOMAIN_FAULT_UNKNOWN:
	case S2SP_DOMAIN_EMPTY:
	case S2SP_DOMAIN_LABEL_EMPTY:
	case S2SP_DOMAIN_CHARACTER:
	case S2SP_DOMAIN_IP_LITERAL:
	case S2SP_DOMAIN_IDNA: return S2SP_IDENTITY_NOT_DOMAIN;
	}
	struct s2sp_text canonical = { domain.bytes, domain.length };
	return s2sp_text_equal(canonical, reference) ? S2SP_IDENTITY_MATCH : S2SP_IDENTITY_DIFFERENT;
}

enum s2sp_identity_finding s2sp_identity_match(struct s2sp_identifier presented, struct s2sp_text reference,
											   s2sp_domain_to_ascii *to_ascii) {
	switch (presented.type) {
	case S2SP_IDENTIFIER_DNS: return match_dns(presented.value, reference);
	case S2SP_IDENTIFIER_SRV: return match_srv(presented.value, reference);
	case S2SP_IDENTIFIER_XMPP_ADDR: return match_xmpp_addr(presented.value, reference, to_ascii);
	case S2SP_IDENTIFIER_OTHER: break;
	}
	return S2SP_IDENTITY_TYPE;
}

const char *s2sp_identifier_type_token(enum s2sp_identifier_type type) {
	switch (type) {
	case S2SP_IDENTIFIER_DNS: return "dns";
	case S2SP_IDENTIFIER_SRV: return "srv";
	case S2SP_IDENTIFIER_XMPP_ADDR: return "xmpp-addr";
	case S2SP_IDENTIFIER_OTHER: break;
	}
	return "other";
}

const char *s2sp_identity_finding_token(enum s2sp_identity_finding finding) {
	switch (finding) {
	case S2SP_IDENTITY_MATCH: return "match";
	case S2SP_IDENTITY_DIFFERENT: return "different";
	case S2SP_IDENTITY_TYPE: return "type";
	case S2SP_IDENTITY_EMPTY: return "empty";
	case S2SP_IDENTITY_TOO_LONG: return "too-long";
	case S2SP_IDENTITY_NUL: return "nul";
	case S2SP_IDENTITY_NOT_ASCII: return "not-ascii";
	case S2SP_IDENTITY_TRAILING_DOT: return "trailing-dot";
	case S2SP_IDENTITY_WILDCARD_POSITION: return "wildcard-position";
	case S2SP_IDENTITY_WILDCARD_WIDTH: return "wildcard-width";
	case S2SP_IDENTITY_SERVICE: return "service";
	case S2SP_IDENTITY_NOT_BARE: return "not-bare";
	case S2SP_IDENTITY_NOT_DOMAIN: return "not-domain";
	case S2SP_IDENTITY_UNKNOWN: break;
	}
	return "unknown";
}
