/*
 * Name matching. Input: type, length of the reference, reference, presented. A second, simpler matcher says what may match
 * among ASCII names.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "identity.h"
#include "idna.h"

static char lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same(const char *a, const char *b) {
	while (*a != '\0' && lower(*a) == *b)
		a++, b++;
	return *a == '\0' && *b == '\0';
}

/* Only for names without NUL and of at most 300 bytes. */
static bool expected(enum s2sp_identifier_type type, const char *presented, const char *reference) {
	if (type == S2SP_IDENTIFIER_OTHER)
		return false;
	if (type == S2SP_IDENTIFIER_SRV) {
		static const char service[] = "_xmpp-server.";
		for (size_t i = 0; i < sizeof(service) - 1; i++) {
			if (lower(*presented++) != service[i])
				return false;
		}
	}
	if (type == S2SP_IDENTIFIER_DNS && presented[0] == '*' && presented[1] == '.') {
		const char *dot = strchr(reference, '.');
		return dot != NULL && strchr(dot + 1, '.') != NULL && same(presented + 2, dot + 1);
	}
	return same(presented, reference);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size < 2)
		return 0;
	enum s2sp_identifier_type type = (enum s2sp_identifier_type)(data[0] % S2SP_IDENTIFIER_TYPES);
	size_t length = data[1];
	data += 2;
	size -= 2;
	if (length > size)
		length = size;
	struct s2sp_domain reference;
	if (s2sp_domain_parse((struct s2sp_text){ (const char *)data, length }, s2sp_idna_to_ascii, &reference) != S2SP_DOMAIN_OK)
		return 0;
	struct s2sp_text presented = { (const char *)data + length, size - length };
	enum s2sp_identity_finding finding = s2sp_identity_match(
		(struct s2sp_identifier){ type, presented }, (struct s2sp_text){ reference.bytes, reference.length }, s2sp_idna_to_ascii);
	CHECK(finding != S2SP_IDENTITY_UNKNOWN);
	CHECK(strcmp(s2sp_identity_finding_token(finding), "unknown") != 0);

	bool ascii = true, nul = false, a_label = false;
	for (size_t i = 0; i < presented.length; i++) {
		ascii = ascii && (unsigned char)presented.bytes[i] < 0x80;
		nul = nul || presented.bytes[i] == '\0';
		/* An xmppAddr with A-labels is checked by IDNA rules, and those may refuse it. */
		a_label = a_label || (i + 2 < presented.length && presented.bytes[i] == '-' && presented.bytes[i + 1] == '-');
	}
	bool match = finding == S2SP_IDENTITY_MATCH;
	CHECK(!match || !nul);
	CHECK(!match || ascii || type == S2SP_IDENTIFIER_XMPP_ADDR);
	if (ascii && !nul && presented.length <= 300) {
		char text[301];
		memcpy(text, presented.bytes, presented.length);
		text[presented.length] = '\0';
		bool wanted = expected(type, text, reference.bytes);
		CHECK(type == S2SP_IDENTIFIER_XMPP_ADDR && a_label ? !match || wanted : match == wanted);
	}
	return 0;
}
