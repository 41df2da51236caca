/* Characters of ASCII, whatever the locale. */
#ifndef S2SP_ASCII_H
#define S2SP_ASCII_H

#include <stdbool.h>

static inline bool s2sp_ascii_is_digit(char c) {
	return c >= '0' && c <= '9';
}

static inline bool s2sp_ascii_is_hex(char c) {
	return s2sp_ascii_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static inline bool s2sp_ascii_is_letter(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Letter, digit or hyphen (RFC 5890 2.3.1). */
static inline bool s2sp_ascii_is_ldh(char c) {
	return s2sp_ascii_is_letter(c) || s2sp_ascii_is_digit(c) || c == '-';
}

/* A capital letter as a small one, everything else as it is. */
static inline char s2sp_ascii_fold(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

#endif
