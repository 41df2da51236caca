/* Why a verdict was given: one enum, one table, the same spelling everywhere. */
#ifndef S2SP_REASON_H
#define S2SP_REASON_H

#include "text.h"

/* In order of precedence: the first that applies is the one that is reported. */
enum s2sp_reason {
	S2SP_REASON_NONE = 0,
	/* configuration and internal errors */
	S2SP_REASON_CONFIG_INVALID,
	S2SP_REASON_INTERNAL_ERROR,
	/* domain */
	S2SP_REASON_UNLISTED_DOMAIN,
	S2SP_REASON_WRONG_DOMAIN,
	S2SP_REASON_POLICY_CHANGED,
	/* limits */
	S2SP_REASON_CONNECTION_LIMIT,
	S2SP_REASON_ESTABLISHMENT_TIMEOUT,
	S2SP_REASON_INACTIVITY_TIMEOUT,
	/* TLS */
	S2SP_REASON_TLS_REQUIRED,
	S2SP_REASON_TLS_NOT_SUPPORTED,
	/* certificate */
	S2SP_REASON_CERTIFICATE_NO_CERTIFICATE,
	S2SP_REASON_CERTIFICATE_UNTRUSTED,
	S2SP_REASON_CERTIFICATE_EXPIRED,
	S2SP_REASON_CERTIFICATE_NOT_YET_VALID,
	S2SP_REASON_CERTIFICATE_REVOKED,
	S2SP_REASON_CERTIFICATE_REVOCATION_UNKNOWN,
	S2SP_REASON_CERTIFICATE_IDENTITY_MISMATCH,
	S2SP_REASON_CERTIFICATE_PIN_MISMATCH,
	S2SP_REASON_CERTIFICATE_MALFORMED,
	/* SASL, dialback */
	S2SP_REASON_SASL_REQUIRED,
	S2SP_REASON_SASL_NOT_SUPPORTED,
	S2SP_REASON_DIALBACK_NOT_ALLOWED,
	S2SP_REASON_NO_METHOD_LEFT,
	/* stanzas: access, user, listed, group chat */
	S2SP_REASON_EXTERNAL_ACCESS_DENIED,
	S2SP_REASON_NO_SUCH_USER,
	S2SP_REASON_BLOCKED_BY_USER,
	S2SP_REASON_CANCELLED_BY_USER,
	S2SP_REASON_ROSTER_UNAVAILABLE,
	S2SP_REASON_NOT_LISTED,
	S2SP_REASON_GROUP_CHAT_REFUSED,
	S2SP_REASON_INSIDE_UNREACHABLE,
	/* changes, not refusals */
	S2SP_REASON_STATUS_NOTE_REMOVED,
	S2SP_REASON_SUBSCRIPTION_AUTHORISED,
	S2SP_REASON_COUNT
};

enum s2sp_reason_grade { S2SP_REASON_GRADE_REFUSAL = 0, S2SP_REASON_GRADE_CHANGE, S2SP_REASON_GRADE_NONE };

/* One row of the table. All strings are static, NUL-terminated and never NULL. */
struct s2sp_reason_row {
	const char *token; /* "unlisted-domain" */
	enum s2sp_reason_grade grade;
	const char *stream_condition; /* RFC 6120 4.9.3 defined condition for the stream error */
	const char *stanza_type;      /* RFC 6120 8.3.2 error type for the local sender: "cancel", "auth", "wait" */
	const char *stanza_condition; /* RFC 6120 8.3.3 defined condition for the local sender */
	const char *operator_text;    /* what happened and what to do, for logs, docs and console; has slots, see vocabulary.h */
	const char *peer_text;        /* what a stranger may be told; names no user and no other partner */
	const char *user_text;        /* the stanza error's text for the local sender: no settings, no jargon; "" for a change */
};

/* Never NULL: an out-of-range value yields the row of S2SP_REASON_INTERNAL_ERROR. Static storage. */
const struct s2sp_reason_row *s2sp_reason_row(enum s2sp_reason reason);

/* The reason spelled `token`, or S2SP_REASON_COUNT when there is none. */
enum s2sp_reason s2sp_reason_from_token(struct s2sp_text token);

#endif
