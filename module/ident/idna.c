#include "idna.h"

#include <idn2.h>
#include <stdint.h>
#include <string.h>

#include "ascii.h"

#define NAME_LENGTH_MAX 1024

/*
 * Not IDN2_USE_STD3_ASCII_RULES: libidn2 2.3.3 then drops what STD3 forbids ("a_b" becomes "ab") instead of refusing it.
 * The core judges the ASCII characters before and after.
 */
#define FLAGS (IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT)

/*
 * What UTS-46 maps to nothing, now or in a newer table: the Default_Ignorable_Code_Points but for U+200C and U+200D, which
 * IDNA2008 allows in context (RFC 5892 A.1, A.2) and which libidn2 judges. Sorted.
 */
static const struct {
	uint32_t first, last;
} ignorable[] = {
	{ 0x00ad, 0x00ad }, { 0x034f, 0x034f }, { 0x061c, 0x061c }, { 0x115f, 0x1160 },   { 0x17b4, 0x17b5 },   { 0x180b, 0x180f },
	{ 0x200b, 0x200b }, { 0x200e, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x206f },   { 0x3164, 0x3164 },   { 0xfe00, 0xfe0f },
	{ 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfff8 }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0xe0fff },
};

static bool is_ignorable(uint32_t code_point) {
	for (size_t i = 0; i < sizeof(ignorable) / sizeof(ignorable[0]); i++) {
		if (code_point <= ignorable[i].last)
			return code_point >= ignorable[i].first;
	}
	return false;
}

/* Whether `name` has a code point that would be dropped. Malformed UTF-8 is left to libidn2, which refuses it. */
static bool has_ignorable(struct s2sp_text name) {
	static const unsigned char lead_mask[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	for (size_t i = 0; i < name.length;) {
		unsigned char lead = (unsigned char)name.bytes[i];
		size_t size = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
		uint32_t code_point = lead & lead_mask[size];
		for (i++; size > 1 && i < name.length; i++, size--)
			code_point = code_point << 6 | ((unsigned char)name.bytes[i] & 0x3f);
		if (is_ignorable(code_point))
			return true;
	}
	return false;
}

static size_t count_dots(const char *name) {
	size_t dots = 0;
	for (; *name != '\0'; name++)
		dots += *name == '.';
	return dots;
}

static enum s2sp_domain_fault fault_of(int status) {
	switch (status) {
	case IDN2_OK: return S2SP_DOMAIN_OK;
	case IDN2_TOO_BIG_DOMAIN: return S2SP_DOMAIN_TOO_LONG;
	case IDN2_TOO_BIG_LABEL:
	case IDN2_PUNYCODE_BIG_OUTPUT: /* its buffer is one label */ return S2SP_DOMAIN_LABEL_TOO_LONG;
	default: /* of libidn2's int, not of an enum of ours */ return S2SP_DOMAIN_IDNA;
	}
}

/* RFC 5891 5.4 and 5.5: the A-labels must be those of their own U-labels. */
static bool round_trips(const char *ascii) {
	char *unicode = NULL, *again = NULL;
	bool same = idn2_to_unicode_8z8z(ascii, &unicode, FLAGS) == IDN2_OK && idn2_to_ascii_8z(unicode, &again, FLAGS) == IDN2_OK &&
				strcmp(ascii, again) == 0;
	idn2_free(again);
	idn2_free(unicode);
	return same;
}

static enum s2sp_domain_fault accept(const char *name, const char *ascii, struct s2sp_domain *out) {
	size_t length = strlen(ascii);
	if (length == 0)
		return S2SP_DOMAIN_IDNA;
	if (length > S2SP_DOMAIN_LENGTH_MAX)
		return S2SP_DOMAIN_TOO_LONG;
	if (count_dots(name) != count_dots(ascii))
		return S2SP_DOMAIN_CHARACTER;
	if (!round_trips(ascii))
		return S2SP_DOMAIN_IDNA;
	memcpy(out->bytes, ascii, length + 1);
	out->length = (unsigned char)length;
	return S2SP_DOMAIN_OK;
}

enum s2sp_domain_fault s2sp_idna_to_ascii(struct s2sp_text name, struct s2sp_domain *out) {
	memset(out, 0, sizeof(*out));
	if (name.length > NAME_LENGTH_MAX)
		return S2SP_DOMAIN_TOO_LONG;
	if (name.length == 0 || memchr(name.bytes, '\0', name.length) != NULL || has_ignorable(name))
		return S2SP_DOMAIN_IDNA;

	/* ASCII is folded here: libidn2 keeps the case of what stands before the last hyphen of an "xn--" label in its U-label. */
	char terminated[NAME_LENGTH_MAX + 1];
	for (size_t i = 0; i < name.length; i++)
		terminated[i] = s2sp_ascii_fold(name.bytes[i]);
	terminated[name.length] = '\0';

	char *ascii = NULL;
	enum s2sp_domain_fault fault = fault_of(idn2_to_ascii_8z(terminated, &ascii, FLAGS));
	if (fault == S2SP_DOMAIN_OK)
		fault = accept(terminated, ascii, out);
	idn2_free(ascii);
	return fault;
}
