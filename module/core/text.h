/* Length-carrying text: untrusted bytes never travel as a bare char pointer. */
#ifndef S2SP_TEXT_H
#define S2SP_TEXT_H

#include <stddef.h>
#include <string.h>

/* Bytes owned by somebody else; may hold NUL, need not end in NUL. */
struct s2sp_text {
	const char *bytes;
	size_t length;
};

#define S2SP_TEXT(literal) ((struct s2sp_text){ (literal), sizeof(literal) - 1 })

static inline struct s2sp_text s2sp_text_from(const char *string) {
	return (struct s2sp_text){ string, string == NULL ? 0 : strlen(string) };
}

static inline int s2sp_text_equal(struct s2sp_text a, struct s2sp_text b) {
	return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

#endif
