#include "handshake.h"

#define STREAMS "http://etherx.jabber.org/streams"
#define TLS "urn:ietf:params:xml:ns:xmpp-tls"
#define SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define DIALBACK "jabber:server:dialback"
#define BIDI "urn:xmpp:bidi"
#define SM2 "urn:xmpp:sm:2"
#define SM3 "urn:xmpp:sm:3"

#define NAMED(xmlns_, name_) .xmlns = { xmlns_, sizeof(xmlns_) - 1 }, .name = { name_, sizeof(name_) - 1 }

/* Room for blanks and new lines in an element that has no text. */
enum { BLANKS = 256, WORDS = 1024 };

/* What a command is made of: nothing. */
#define COMMAND .text_max = BLANKS
/* A condition, a text, a condition of the application's (RFC 6120 6.5, XEP-0198 4). */
#define FAILURE .text_max = WORDS, .children_max = 8, .elements_max = 16
/* A JID of full length (RFC 7622 3.1) in base64 (RFC 6120 6.4.2). */
#define BASE64 .text_max = 4096 + BLANKS

#define INITIATING S2SP_SIDE_INITIATING
#define ACCEPTING S2SP_SIDE_ACCEPTING
#define BOTH S2SP_SIDE_BOTH

/* Stream management (XEP-0198) belongs to authenticated streams, where either side may count the other's stanzas. */
#define MANAGEMENT(xmlns, name, ...)                                                                                             \
	{ NAMED(xmlns, name), .after = BOTH, .reason = S2SP_REASON_NO_METHOD_LEFT, __VA_ARGS__ }
#define MANAGEMENT_OF(xmlns)                                                                                                     \
	MANAGEMENT(xmlns, "enable", COMMAND), MANAGEMENT(xmlns, "enabled", COMMAND), MANAGEMENT(xmlns, "r", COMMAND),                \
		MANAGEMENT(xmlns, "a", COMMAND), MANAGEMENT(xmlns, "resume", COMMAND), MANAGEMENT(xmlns, "resumed", COMMAND),            \
		MANAGEMENT(xmlns, "failed", FAILURE)

/* clang-format off */
static const struct s2sp_handshake_row rows[] = {
	/* RFC 6120 4.3.2; again after authentication */
	{ NAMED(STREAMS, "features"), .before = ACCEPTING, .after = ACCEPTING,
	  .text_max = 16384, .children_max = S2SP_HANDSHAKE_CHILDREN_MAX, .elements_max = 500, .reason = S2SP_REASON_NO_METHOD_LEFT },
	/* RFC 6120 5.4. Asked too late, it is answered with <failure/>. */
	{ NAMED(TLS, "starttls"), .before = INITIATING, .after = INITIATING, COMMAND, .reason = S2SP_REASON_TLS_NOT_SUPPORTED },
	{ NAMED(TLS, "proceed"), .before = ACCEPTING, COMMAND, .reason = S2SP_REASON_TLS_NOT_SUPPORTED },
	{ NAMED(TLS, "failure"), .before = ACCEPTING, FAILURE, .reason = S2SP_REASON_TLS_NOT_SUPPORTED },
	/* RFC 6120 6.4, XEP-0178. Asked too late, as above. */
	{ NAMED(SASL, "auth"), .before = INITIATING, .after = INITIATING, BASE64, .reason = S2SP_REASON_SASL_NOT_SUPPORTED },
	{ NAMED(SASL, "success"), .before = ACCEPTING, BASE64, .reason = S2SP_REASON_SASL_NOT_SUPPORTED },
	{ NAMED(SASL, "failure"), .before = ACCEPTING, FAILURE, .reason = S2SP_REASON_SASL_NOT_SUPPORTED },
	/* XEP-0220 2.1.1 */
	{ NAMED(DIALBACK, "result"), .kind = S2SP_HANDSHAKE_REQUEST, .before = INITIATING, .after = INITIATING, .addressed = true,
	  .text_min = 1, .text_max = S2SP_HANDSHAKE_KEY_MAX, .reason = S2SP_REASON_DIALBACK_NOT_ALLOWED },
	/* XEP-0220 2.1.2, and 2.4 for errors */
	{ NAMED(DIALBACK, "result"), .kind = S2SP_HANDSHAKE_ANSWER, .before = ACCEPTING, .after = ACCEPTING, .addressed = true,
	  FAILURE, .reason = S2SP_REASON_DIALBACK_NOT_ALLOWED },
	/* XEP-0220 2.2. Over a bidirectional stream (XEP-0288) either side may ask; asked of the side that opened it, nothing comes of it. */
	{ NAMED(DIALBACK, "verify"), .kind = S2SP_HANDSHAKE_REQUEST, .before = INITIATING, .after = BOTH, .idle = ACCEPTING,
	  .addressed = true, .numbered = true, .text_min = 1, .text_max = S2SP_HANDSHAKE_KEY_MAX,
	  .reason = S2SP_REASON_DIALBACK_NOT_ALLOWED },
	{ NAMED(DIALBACK, "verify"), .kind = S2SP_HANDSHAKE_ANSWER, .before = ACCEPTING, .after = BOTH, .idle = INITIATING,
	  .addressed = true, .numbered = true, FAILURE, .reason = S2SP_REASON_DIALBACK_NOT_ALLOWED },
	/* XEP-0288 2.2; may carry what features would (XEP-0478) */
	{ NAMED(BIDI, "bidi"), .before = INITIATING, .text_max = WORDS, .children_max = 16, .elements_max = 64,
	  .reason = S2SP_REASON_NO_METHOD_LEFT },
	MANAGEMENT_OF(SM2),
	MANAGEMENT_OF(SM3),
};
/* clang-format on */

#define COUNT (sizeof(rows) / sizeof(rows[0]))

const struct s2sp_handshake_row *s2sp_handshake_row_at(size_t index) {
	return index < COUNT ? &rows[index] : NULL;
}

static bool is_of_kind(const struct s2sp_handshake_row *row, bool type) {
	switch ((enum s2sp_handshake_kind)row->kind) {
	case S2SP_HANDSHAKE_ANY: return true;
	case S2SP_HANDSHAKE_REQUEST: return !type;
	case S2SP_HANDSHAKE_ANSWER: return type;
	}
	return false;
}

const struct s2sp_handshake_row *s2sp_handshake_find(struct s2sp_text xmlns, struct s2sp_text name, bool type) {
	for (size_t i = 0; i < COUNT; i++) {
		if (s2sp_text_equal(name, rows[i].name) && s2sp_text_equal(xmlns, rows[i].xmlns) && is_of_kind(&rows[i], type))
			return &rows[i];
	}
	return NULL;
}

bool s2sp_handshake_allowed(const struct s2sp_handshake_row *row, enum s2sp_side side, bool authenticated) {
	return ((authenticated ? row->after : row->before) & (unsigned)side) != 0;
}

bool s2sp_handshake_idle(const struct s2sp_handshake_row *row, enum s2sp_side side, bool authenticated) {
	return authenticated && (row->idle & (unsigned)side) != 0;
}

static bool is_address(struct s2sp_text text, bool needed) {
	return text.length <= S2SP_HANDSHAKE_DOMAIN_MAX && (text.length > 0 || !needed);
}

enum s2sp_handshake_fault s2sp_handshake_check(const struct s2sp_handshake_row *row, const struct s2sp_handshake_shape *shape) {
	if (!is_address(shape->from, row->addressed) || !is_address(shape->to, row->addressed) ||
		shape->attributes > S2SP_HANDSHAKE_ATTRIBUTES_MAX)
		return S2SP_HANDSHAKE_FAULT_ADDRESS;
	if (shape->id.length > S2SP_HANDSHAKE_ID_MAX || (row->numbered && shape->id.length == 0))
		return S2SP_HANDSHAKE_FAULT_CONTENT;
	if (shape->text < row->text_min || shape->text > row->text_max)
		return S2SP_HANDSHAKE_FAULT_CONTENT;
	if (shape->children > row->children_max || shape->elements > row->elements_max)
		return S2SP_HANDSHAKE_FAULT_CONTENT;
	return S2SP_HANDSHAKE_FITS;
}
