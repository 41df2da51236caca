/* Pins: hashes of public keys, as bytes and as text. */
#ifndef S2SP_PIN_H
#define S2SP_PIN_H

#include <stdbool.h>

#include "text.h"

/* One SHA-256 of a SubjectPublicKeyInfo (RFC 7469 2.4 uses the same value). */
struct s2sp_pin {
	unsigned char sha256[32];
};

/* "sha256//" and 44 characters of base64, with the NUL. */
#define S2SP_PIN_TEXT 53

void s2sp_pin_text(const struct s2sp_pin *pin, char text[S2SP_PIN_TEXT]);

/* False when `text` is not exactly what s2sp_pin_text writes: RFC 4648 4, the last character "=", no stray bits. */
bool s2sp_pin_from_text(struct s2sp_text text, struct s2sp_pin *pin);

#endif
