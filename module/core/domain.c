#include "domain.h"

#include <string.h>

#include "ascii.h"

/* What to_ascii promises to take; also bounds the work that a hostile name can cause. */
#define NAME_LENGTH_MAX 1024

static bool is_ascii(char c) {
	return ((unsigned char)c & 0x80) == 0;
}

/* U+3002, U+FF0E, U+FF61: UTS-46 would take them for dots, the wire must not. */
static bool has_foreign_dot(struct s2sp_text name) {
	static const char *const dots[] = { "\xe3\x80\x82", "\xef\xbc\x8e", "\xef\xbd\xa1" };
	for (size_t i = 0; i + 3 <= name.length; i++) {
		for (size_t d = 0; d < sizeof(dots) / sizeof(dots[0]); d++) {
			if (memcmp(name.bytes + i, dots[d], 3) == 0)
				return true;
		}
	}
	return false;
}

/* RFC 3986 3.2.2 with and without brackets and zone; the name is known to have a colon or a bracket in front. */
static bool looks_like_ipv6(struct s2sp_text name) {
	size_t colons = 0;
	for (size_t i = 0; i < name.length; i++) {
		char c = name.bytes[i];
		if (c == '%')
			break;
		if (c == ':')
			colons++;
		else if (!s2sp_ascii_is_hex(c) && c != '.' && c != '[' && c != ']')
			return false;
	}
	return colons >= 2;
}

/*
 * A last label that resolvers read as a number: "192.0.2.1", but also "127.1" and "0x7f.0x1" (WHATWG URL, "ends in a
 * number"). No top-level domain is numeric (RFC 3696 2).
 */
static bool ends_in_number(const char *bytes, size_t length) {
	size_t start = length;
	while (start > 0 && bytes[start - 1] != '.')
		start--;
	if (length - start >= 2 && bytes[start] == '0' && s2sp_ascii_fold(bytes[start + 1]) == 'x') {
		for (start += 2; start < length; start++) {
			if (!s2sp_ascii_is_hex(bytes[start]))
				return false;
		}
		return true;
	}
	for (; start < length; start++) {
		if (!s2sp_ascii_is_digit(bytes[start]))
			return false;
	}
	return true;
}

/*
 * The syntax of each label, RFC 1123 2.1. In a name that still has U-labels their bytes pass and no length is judged:
 * both show only in the A-labels.
 */
static enum s2sp_domain_fault check_labels(struct s2sp_text name, bool canonical) {
	size_t label = 0; /* bytes of the current label so far */
	enum s2sp_domain_fault fault = S2SP_DOMAIN_OK;
	for (size_t i = 0; i < name.length; i++) {
		char c = name.bytes[i];
		if (c == '.') {
			if (label == 0)
				return S2SP_DOMAIN_LABEL_EMPTY;
			if (name.bytes[i - 1] == '-')
				return S2SP_DOMAIN_CHARACTER;
			label = 0;
			continue;
		}
		if (is_ascii(c) ? !s2sp_ascii_is_ldh(c) : canonical)
			return S2SP_DOMAIN_CHARACTER;
		if (label == 0 && c == '-')
			return S2SP_DOMAIN_CHARACTER;
		if (++label > S2SP_LABEL_LENGTH_MAX && canonical)
			fault = S2SP_DOMAIN_LABEL_TOO_LONG;
	}
	if (label == 0)
		return S2SP_DOMAIN_LABEL_EMPTY;
	if (name.bytes[name.length - 1] == '-')
		return S2SP_DOMAIN_CHARACTER;
	if (fault == S2SP_DOMAIN_OK && canonical && name.length > S2SP_DOMAIN_LENGTH_MAX)
		return S2SP_DOMAIN_TOO_LONG;
	return fault;
}

static enum s2sp_domain_fault check_canonical(struct s2sp_text name) {
	enum s2sp_domain_fault fault = check_labels(name, true);
	if (fault == S2SP_DOMAIN_OK && ends_in_number(name.bytes, name.length))
		return S2SP_DOMAIN_IP_LITERAL;
	return fault;
}

/* U-labels, or a label that claims to be an A-label (RFC 5890 2.3.2.1). */
static bool needs_idna(struct s2sp_text name) {
	size_t label = 0;
	for (size_t i = 0; i < name.length; i++) {
		const char *at = name.bytes + i;
		if (!is_ascii(*at))
			return true;
		if (*at == '.') {
			label = 0;
			continue;
		}
		if (label++ == 0 && name.length - i >= 4 && s2sp_ascii_fold(at[0]) == 'x' && s2sp_ascii_fold(at[1]) == 'n' &&
			at[2] == '-' && at[3] == '-')
			return true;
	}
	return false;
}

static enum s2sp_domain_fault convert(struct s2sp_text name, s2sp_domain_to_ascii *to_ascii, struct s2sp_domain *out) {
	if (has_foreign_dot(name))
		return S2SP_DOMAIN_CHARACTER;
	enum s2sp_domain_fault fault = check_labels(name, false);
	if (fault != S2SP_DOMAIN_OK)
		return fault;
	if (to_ascii == NULL)
		return S2SP_DOMAIN_IDNA;
	fault = to_ascii(name, out);
	if (fault != S2SP_DOMAIN_OK)
		return fault;
	/* Mapping can turn harmless code points into ASCII that is not a domain ("1.2.3.U+FF14"), and callbacks are not trusted. */
	struct s2sp_text converted = { out->bytes, out->length };
	fault = check_canonical(converted);
	if (fault != S2SP_DOMAIN_OK)
		return fault;
	for (size_t i = 0; i < converted.length; i++) {
		if (converted.bytes[i] != s2sp_ascii_fold(converted.bytes[i]))
			return S2SP_DOMAIN_IDNA;
	}
	return S2SP_DOMAIN_OK;
}

/* What nearly every name is: letters, digits, inner hyphens, nothing that IDNA or a rule about numbers has a say in. False: look closer. */
static bool parse_plain(struct s2sp_text name, struct s2sp_domain *out) {
	size_t label = 0; /* where the current one starts */
	bool letter = false;
	if (name.length > S2SP_DOMAIN_LENGTH_MAX)
		return false;
	for (size_t i = 0; i < name.length; i++) {
		char c = s2sp_ascii_fold(name.bytes[i]);
		out->bytes[i] = c;
		if (c >= 'a' && c <= 'z') {
			letter = true;
		} else if (c == '.') {
			if (i == label || i - label > S2SP_LABEL_LENGTH_MAX || out->bytes[i - 1] == '-')
				return false;
			label = i + 1;
			letter = false;
		} else if (c == '-') {
			/* "xn--", and every other label of that form */
			if (i == label || i - label == 3)
				return false;
		} else if (!s2sp_ascii_is_digit(c)) {
			return false;
		}
	}
	out->length = (unsigned char)name.length;
	size_t last = name.length - label;
	/* A number may be written "0x7f". */
	return last > 0 && last <= S2SP_LABEL_LENGTH_MAX && letter && name.bytes[label] != '0' && name.bytes[name.length - 1] != '-';
}

static enum s2sp_domain_fault parse(struct s2sp_text name, s2sp_domain_to_ascii *to_ascii, struct s2sp_domain *out) {
	if (name.length > 0 && name.bytes[name.length - 1] == '.')
		name.length--;
	if (name.length == 0)
		return S2SP_DOMAIN_EMPTY;
	if (parse_plain(name, out))
		return S2SP_DOMAIN_OK;
	if (name.length > NAME_LENGTH_MAX)
		return S2SP_DOMAIN_TOO_LONG;
	if (name.bytes[0] == '[' || memchr(name.bytes, ':', name.length) != NULL)
		return looks_like_ipv6(name) ? S2SP_DOMAIN_IP_LITERAL : S2SP_DOMAIN_CHARACTER;
	if (needs_idna(name))
		return convert(name, to_ascii, out);

	enum s2sp_domain_fault fault = check_canonical(name);
	if (fault != S2SP_DOMAIN_OK)
		return fault;
	for (size_t i = 0; i < name.length; i++)
		out->bytes[i] = s2sp_ascii_fold(name.bytes[i]);
	out->length = (unsigned char)name.length;
	return S2SP_DOMAIN_OK;
}

enum s2sp_domain_fault s2sp_domain_parse(struct s2sp_text name, s2sp_domain_to_ascii *to_ascii, struct s2sp_domain *out) {
	memset(out, 0, sizeof(*out));
	enum s2sp_domain_fault fault = parse(name, to_ascii, out);
	if (fault == S2SP_DOMAIN_OK)
		out->bytes[out->length] = '\0';
	else
		memset(out, 0, sizeof(*out));
	return fault;
}

size_t s2sp_domain_labels(const struct s2sp_domain *domain) {
	size_t labels = domain->length > 0;
	for (size_t i = 0; i < domain->length; i++)
		labels += domain->bytes[i] == '.';
	return labels;
}

struct s2sp_text s2sp_domain_parent(struct s2sp_text domain) {
	const char *dot = domain.length == 0 ? NULL : memchr(domain.bytes, '.', domain.length);
	if (dot == NULL)
		return (struct s2sp_text){ domain.bytes, 0 };
	size_t skipped = (size_t)(dot - domain.bytes) + 1;
	return (struct s2sp_text){ dot + 1, domain.length - skipped };
}

const char *s2sp_domain_fault_text(enum s2sp_domain_fault fault) {
	switch (fault) {
	case S2SP_DOMAIN_OK: return "is a domain";
	case S2SP_DOMAIN_EMPTY: return "is empty";
	case S2SP_DOMAIN_LABEL_EMPTY: return "has an empty label (two dots in a row, or a dot in front)";
	case S2SP_DOMAIN_LABEL_TOO_LONG: return "has a label longer than 63 bytes";
	case S2SP_DOMAIN_TOO_LONG: return "is longer than 253 bytes";
	case S2SP_DOMAIN_CHARACTER:
		return "has a character that no domain can have (only letters, digits, dots, and hyphens inside a label)";
	case S2SP_DOMAIN_IP_LITERAL: return "is an IP address, not a domain";
	case S2SP_DOMAIN_IDNA: return "is not a valid internationalised domain name (IDNA2008, UTS-46)";
	case S2SP_DOMAIN_FAULT_UNKNOWN: break;
	}
	return "is not a domain";
}

bool s2sp_domain_has_spellings(struct s2sp_text name) {
	for (size_t i = 0, label = 0; i < name.length; i++) {
		if ((unsigned char)name.bytes[i] > 0x7f)
			return true;
		if (name.bytes[i] == '.')
			label = i + 1;
		if (i == label + 3 && (name.bytes[label] | 0x20) == 'x' && (name.bytes[label + 1] | 0x20) == 'n' &&
			name.bytes[label + 2] == '-' && name.bytes[i] == '-')
			return true;
	}
	return name.length > 0 && name.bytes[name.length - 1] == '.';
}
