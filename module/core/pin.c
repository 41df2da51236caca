#include "pin.h"

#include <stdint.h>

#include "ascii.h"

static const char prefix[] = "sha256//";
#define PREFIX (sizeof(prefix) - 1)

void s2sp_pin_text(const struct s2sp_pin *pin, char text[S2SP_PIN_TEXT]) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned count = 0;
	size_t written = PREFIX;
	memcpy(text, prefix, PREFIX);
	for (size_t i = 0; i < sizeof(pin->sha256); i++) {
		bits = bits << 8 | pin->sha256[i];
		for (count += 8; count >= 6; count -= 6)
			text[written++] = alphabet[bits >> (count - 6) & 63];
	}
	/* 256 bits are 42 sextets and four bits more. */
	text[written++] = alphabet[bits << (6 - count) & 63];
	text[written++] = '=';
	text[written] = '\0';
}

static int sextet(char c) {
	if (s2sp_ascii_is_letter(c))
		return c >= 'a' ? c - 'a' + 26 : c - 'A';
	if (s2sp_ascii_is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool s2sp_pin_from_text(struct s2sp_text text, struct s2sp_pin *pin) {
	size_t written = 0;
	if (text.length != S2SP_PIN_TEXT - 1 || memcmp(text.bytes, prefix, PREFIX) != 0 || text.bytes[text.length - 1] != '=')
		return false;
	uint32_t bits = 0;
	unsigned count = 0;
	for (size_t i = PREFIX; i < text.length - 1; i++) {
		int value = sextet(text.bytes[i]);
		if (value < 0)
			return false;
		bits = (bits << 6) | (uint32_t)value;
		count += 6;
		if (count >= 8) {
			count -= 8;
			pin->sha256[written++] = (unsigned char)(bits >> count);
		}
		bits &= (1u << count) - 1;
	}
	return bits == 0;
}
