/* proxy = "host", "host:port" or "[IPv6]:port": where to connect instead of asking DNS. */
#include "ascii.h"
#include "config_build.h"

/* Four decimal numbers without leading zeros (RFC 3986 3.2.2, IPv4address). */
static bool is_ipv4(struct s2sp_text text) {
	size_t at = 0;
	for (int part = 0; part < 4; part++) {
		unsigned number = 0;
		size_t start = at;
		if (part > 0 && (at >= text.length || text.bytes[at++] != '.'))
			return false;
		start = at;
		while (at < text.length && s2sp_ascii_is_digit(text.bytes[at]) && at - start < 3)
			number = number * 10 + (unsigned)(text.bytes[at++] - '0');
		if (at == start || number > 255 || (text.bytes[start] == '0' && at - start > 1))
			return false;
	}
	return at == text.length;
}

/* RFC 4291 2.2: eight groups, or fewer with one "::"; the last two may be an IPv4 address. No zone. */
static bool is_ipv6(struct s2sp_text text) {
	size_t groups = 0, at = 0;
	bool squeezed = false;
	if (text.length >= 2 && text.bytes[0] == ':' && text.bytes[1] == ':') {
		squeezed = true;
		at = 2;
	}
	while (at < text.length) {
		size_t start = at;
		while (at < text.length && s2sp_ascii_is_hex(text.bytes[at]))
			at++;
		if (at < text.length && text.bytes[at] == '.') {
			groups += 2;
			if (!is_ipv4((struct s2sp_text){ text.bytes + start, text.length - start }))
				return false;
			break;
		}
		if (at == start || at - start > 4)
			return false;
		groups++;
		if (at == text.length)
			break;
		if (text.bytes[at++] != ':' || at == text.length)
			return false;
		if (text.bytes[at] == ':') {
			if (squeezed)
				return false;
			squeezed = true;
			at++;
		}
	}
	return squeezed ? groups <= 7 : groups == 8;
}

static bool parse_port(struct s2sp_text text, uint16_t *port) {
	uint32_t number = 0;
	if (text.length == 0 || text.length > 5)
		return false;
	for (size_t i = 0; i < text.length; i++) {
		if (!s2sp_ascii_is_digit(text.bytes[i]))
			return false;
		number = number * 10 + (uint32_t)(text.bytes[i] - '0');
	}
	*port = (uint16_t)number;
	return number >= 1 && number <= 65535;
}

/* Splits off the brackets and the port, which has a default. Returns NULL, or what is wrong. */
static const char *split(struct s2sp_text text, struct s2sp_text *host, bool *brackets, uint16_t *port) {
	static const char bad_port[] = "the port must be a number from 1 to 65535";
	const char *colon;
	*port = S2SP_PROXY_PORT;
	*brackets = text.length > 0 && text.bytes[0] == '[';
	if (*brackets) {
		const char *end = memchr(text.bytes, ']', text.length);
		if (end == NULL)
			return "the closing bracket is missing";
		*host = (struct s2sp_text){ text.bytes + 1, (size_t)(end - text.bytes) - 1 };
		text.length -= host->length + 2;
		if (text.length == 0)
			return NULL;
		if (end[1] != ':')
			return "only a colon and a port may follow the closing bracket";
		return parse_port((struct s2sp_text){ end + 2, text.length - 1 }, port) ? NULL : bad_port;
	}
	*host = text;
	colon = text.length == 0 ? NULL : memchr(text.bytes, ':', text.length);
	if (colon == NULL)
		return NULL;
	host->length = (size_t)(colon - text.bytes);
	text.length -= host->length + 1;
	if (text.length > 0 && memchr(colon + 1, ':', text.length) != NULL)
		return "an IPv6 address must stand in brackets";
	return parse_port((struct s2sp_text){ colon + 1, text.length }, port) ? NULL : bad_port;
}

static const char *parse_host(const struct s2sp_config *config, struct s2sp_text host, bool brackets,
							  struct s2sp_domain *parsed) {
	if (brackets) {
		if (host.length > 45 || !is_ipv6(host))
			return "there is no IPv6 address in the brackets";
	} else if (!is_ipv4(host)) {
		enum s2sp_domain_fault fault = s2sp_domain_parse(host, config->to_ascii, parsed);
		return fault == S2SP_DOMAIN_OK           ? NULL
			   : fault == S2SP_DOMAIN_IP_LITERAL ? "that is not a complete IP address"
												 : s2sp_domain_fault_text(fault);
	}
	parsed->length = (unsigned char)host.length;
	for (size_t i = 0; i < host.length; i++)
		parsed->bytes[i] = s2sp_ascii_fold(host.bytes[i]);
	return NULL;
}

enum s2sp_status s2sp_config_set_proxy(struct s2sp_config *config, const struct s2sp_value *value, bool *taken) {
	static const char what[] = "\"host\", \"host:port\" or \"[IPv6 address]:port\"";
	struct s2sp_draft *draft = &config->draft;
	struct s2sp_domain parsed;
	struct s2sp_text host;
	bool brackets;
	enum s2sp_status status = s2sp_config_string(config, value, what, taken);
	if (!*taken)
		return status;
	const char *fault = split(value->string, &host, &brackets, &draft->partner.proxy_port);
	bool of_host = fault == NULL;
	if (of_host)
		fault = parse_host(config, host, brackets, &parsed);
	*taken = fault == NULL;
	if (*taken)
		return s2sp_arena_copy(s2sp_config_arena(config), (struct s2sp_text){ parsed.bytes, parsed.length },
							   &draft->addenda.proxy_host);
	struct s2sp_line expected;
	s2sp_line_begin(&expected);
	/* The faults of a domain are clauses that want a subject. */
	if (of_host && !brackets && memcmp(fault, "that ", 5) != 0)
		s2sp_line_add(&expected, "the host ");
	s2sp_line_add(&expected, fault);
	s2sp_line_add(&expected, "; must be ");
	s2sp_line_add(&expected, what);
	return s2sp_config_refuse_told(config, "bad-proxy", value, &expected);
}
