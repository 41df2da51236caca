/*
 * The elements of handshakes between servers, all of them: who may send each one, when, and in what shape. Whatever is no stanza and
 * is not in this table, or not in this shape, is looked into by nobody.
 */
#ifndef S2SP_HANDSHAKE_H
#define S2SP_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "reason.h"
#include "text.h"

/* The two ends of a stream (RFC 6120 1.4), as bits of a set. */
enum s2sp_side {
	S2SP_SIDE_NONE = 0,
	S2SP_SIDE_INITIATING = 1, /* who opened the connection */
	S2SP_SIDE_ACCEPTING = 2,
	S2SP_SIDE_BOTH = 3,
};

/* One name can be a question and its answer, told apart by the attribute `type` (XEP-0220 2.1). */
enum s2sp_handshake_kind {
	S2SP_HANDSHAKE_ANY = 0,
	S2SP_HANDSHAKE_REQUEST, /* without type */
	S2SP_HANDSHAKE_ANSWER,  /* with */
};

struct s2sp_handshake_row {
	struct s2sp_text xmlns, name;
	uint8_t kind;                /* enum s2sp_handshake_kind */
	uint8_t before;              /* who may send it before the stream is authenticated; set of enum s2sp_side */
	uint8_t after;               /* and once it is */
	uint8_t idle;                /* from whom it is passed over then: meant well, but without effect */
	bool addressed;              /* needs from and to */
	bool numbered;               /* needs an id */
	uint16_t text_min, text_max; /* bytes of text, that of descendants included */
	uint16_t children_max;       /* of the element itself */
	uint16_t elements_max;       /* descendants of every level */
	enum s2sp_reason reason;     /* of a refusal for this element's shape or place */
};

/* What is longer than any of these is out of shape wherever it stands. Bytes. */
#define S2SP_HANDSHAKE_DOMAIN_MAX 1023     /* from, to (RFC 7622 3.2) */
#define S2SP_HANDSHAKE_ID_MAX 256          /* id */
#define S2SP_HANDSHAKE_ATTRIBUTES_MAX 4096 /* all names and values of attributes together */
#define S2SP_HANDSHAKE_KEY_MAX 256         /* a dialback key */
#define S2SP_HANDSHAKE_CHILDREN_MAX 100    /* of <stream:features/> */
#define S2SP_HANDSHAKE_DEPTH_MAX 8         /* levels of descendants */

/*
 * An element as its host has measured it. Who measures may stop as soon as one number is above every limit of the row; a depth above
 * S2SP_HANDSHAKE_DEPTH_MAX counts as SIZE_MAX elements. What an attribute is not there for has NULL bytes.
 */
struct s2sp_handshake_shape {
	struct s2sp_text from, to, id;
	size_t attributes; /* bytes of the element's own attributes, names and values */
	size_t text, children, elements;
};

enum s2sp_handshake_fault {
	S2SP_HANDSHAKE_FAULT_ADDRESS = 0, /* from, to or the attributes as a whole: it cannot even be answered */
	S2SP_HANDSHAKE_FAULT_CONTENT,     /* id, text or children */
	S2SP_HANDSHAKE_FITS,
};

/* The row of an element; NULL for what is no part of a handshake. `type`: it has that attribute. Static storage. */
const struct s2sp_handshake_row *s2sp_handshake_find(struct s2sp_text xmlns, struct s2sp_text name, bool type);

/* Row `index` of the table, NULL past its end: for tests, which have to see that there is no other. */
const struct s2sp_handshake_row *s2sp_handshake_row_at(size_t index);

/* Whether `side` may send it, before or after authentication; and whether it is then passed over. */
bool s2sp_handshake_allowed(const struct s2sp_handshake_row *row, enum s2sp_side side, bool authenticated);
bool s2sp_handshake_idle(const struct s2sp_handshake_row *row, enum s2sp_side side, bool authenticated);

/* Whether it has the row's shape. */
enum s2sp_handshake_fault s2sp_handshake_check(const struct s2sp_handshake_row *row, const struct s2sp_handshake_shape *shape);

#endif
