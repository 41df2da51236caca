/*
 * Domain names as A-labels (RFC 5890 2.3.2.1), compared as bytes. Everything here is ASCII;
 * U-labels are converted by the room ident/ through a function handed in.
 */
#ifndef S2SP_DOMAIN_H
#define S2SP_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"
#include "text.h"

/* RFC 1035 2.3.4 in text form, without a trailing dot. */
#define S2SP_DOMAIN_LENGTH_MAX 253
#define S2SP_LABEL_LENGTH_MAX 63

/* A canonical domain on the stack: lower-case A-labels, no trailing dot, NUL-terminated for convenience. */
struct s2sp_domain {
	unsigned char length; /* 0: no domain */
	char bytes[S2SP_DOMAIN_LENGTH_MAX + 1];
};

/* Why a name is not a domain; the zero value is never success. */
enum s2sp_domain_fault {
	S2SP_DOMAIN_FAULT_UNKNOWN = 0,
	S2SP_DOMAIN_OK,
	S2SP_DOMAIN_EMPTY,
	S2SP_DOMAIN_LABEL_EMPTY,
	S2SP_DOMAIN_LABEL_TOO_LONG,
	S2SP_DOMAIN_TOO_LONG,
	S2SP_DOMAIN_CHARACTER,  /* not a letter, digit or hyphen, or a hyphen at a label's edge; NUL included */
	S2SP_DOMAIN_IP_LITERAL, /* "192.0.2.1", "[2001:db8::1]", "2001:db8::1" */
	S2SP_DOMAIN_IDNA,       /* not valid under IDNA2008/UTS-46, or an A-label that does not round-trip */
};

/*
 * U-labels to A-labels: `name` is UTF-8 without NUL and at most 1024 bytes; on S2SP_DOMAIN_OK `out` holds the
 * canonical form. Implemented by ident/idna; the core only ever sees this type.
 * Must also check names that are ASCII but hold "xn--" labels.
 */
typedef enum s2sp_domain_fault s2sp_domain_to_ascii(struct s2sp_text name, struct s2sp_domain *out);

/* Whether anybody can have a domain under this canonical one ("co.uk"). Implemented by ident/public_suffix. */
typedef bool s2sp_domain_is_public(struct s2sp_text domain);

/*
 * The canonical form of a name from the configuration or the wire (after the host's own nameprep): ASCII is folded to
 * lower case, one trailing dot is dropped, anything with a byte over 0x7f or an "xn--" label goes through `to_ascii`.
 * Other dots than U+002E (U+3002, U+FF0E, U+FF61), spaces, escapes and NUL are S2SP_DOMAIN_CHARACTER: to the wire such
 * a name is simply not listed. `out->length` is 0 unless S2SP_DOMAIN_OK is returned. Allocates nothing in the ASCII case.
 */
enum s2sp_domain_fault s2sp_domain_parse(struct s2sp_text name, s2sp_domain_to_ascii *to_ascii, struct s2sp_domain *out);

/*
 * Whether a name on the wire may be one of several that mean the same domain although the host, which has prepared it, takes them for
 * different: it has a byte over 0x7f, an "xn--" label, or a trailing dot.
 */
bool s2sp_domain_has_spellings(struct s2sp_text name);

/* Number of labels of a canonical domain. */
size_t s2sp_domain_labels(const struct s2sp_domain *domain);

/* What follows the first dot ("a.b.c" -> "b.c"), empty when there is no dot. Points into `domain`. */
struct s2sp_text s2sp_domain_parent(struct s2sp_text domain);

/* An English clause for messages: "is an IP address, not a domain". Static. */
const char *s2sp_domain_fault_text(enum s2sp_domain_fault fault);

#endif
