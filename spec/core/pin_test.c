#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "pin.h"

/* The digest of nothing, as `openssl dgst -sha256 -binary </dev/null | base64` prints it. */
#define EMPTY "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

static void test_a_known_pin(void **state) {
	static const unsigned char digest[32] = { 0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4,
											  0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b,
											  0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55 };
	struct s2sp_pin pin;
	char text[S2SP_PIN_TEXT];
	(void)state;
	assert_true(s2sp_pin_from_text(S2SP_TEXT(EMPTY), &pin));
	assert_memory_equal(pin.sha256, digest, sizeof(digest));
	s2sp_pin_text(&pin, text);
	assert_string_equal(text, EMPTY);
}

/* Every value of every byte comes back. */
static void test_there_and_back(void **state) {
	(void)state;
	for (unsigned at = 0; at < 32; at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct s2sp_pin pin = { { 0 } }, back;
			char text[S2SP_PIN_TEXT];
			pin.sha256[at] = (unsigned char)value;
			pin.sha256[31 - at] ^= 0xa5;
			s2sp_pin_text(&pin, text);
			assert_int_equal(strlen(text), S2SP_PIN_TEXT - 1);
			assert_true(s2sp_pin_from_text(s2sp_text_from(text), &back));
			assert_memory_equal(back.sha256, pin.sha256, sizeof(pin.sha256));
		}
	}
}

/* One spelling for each pin, so a text that is accepted is what would be printed. */
static void test_strictly(void **state) {
	static const char *const wrong[] = {
		"",
		"sha256//",
		"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
		"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
		"sha256//47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha512//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		" sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
		"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
		"sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuA==",
	};
	struct s2sp_pin pin;
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(s2sp_pin_from_text(s2sp_text_from(wrong[i]), &pin));
	/* Any one character replaced: accepted only if it prints as it was read. */
	for (size_t at = 0; at < sizeof(EMPTY) - 1; at++) {
		for (unsigned c = 0; c < 256; c++) {
			char text[] = EMPTY, back[S2SP_PIN_TEXT];
			text[at] = (char)c;
			if (!s2sp_pin_from_text((struct s2sp_text){ text, sizeof(text) - 1 }, &pin))
				continue;
			s2sp_pin_text(&pin, back);
			assert_string_equal(back, text);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_known_pin),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_strictly),
	};
	return cmocka_run_group_tests_name("pin", tests, NULL, NULL);
}
