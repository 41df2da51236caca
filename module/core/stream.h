/*
 * The record of one S2S stream: who authenticated how, under which policy. The one truth that the handshake, the audit
 * at establishment and every stanza consult. A state machine over plain values; its holder feeds it facts and acts on
 * the decision it gives back. Nothing here allocates.
 */
#ifndef S2SP_STREAM_H
#define S2SP_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "handshake.h"
#include "negotiation.h"
#include "policy.h"
#include "reason.h"

enum s2sp_verdict {
	S2SP_VERDICT_REFUSE = 0, /* zero is the safe value */
	S2SP_VERDICT_WAIT,       /* this step is not taken (the element is ignored), the stream goes on */
	S2SP_VERDICT_ALLOW,
};

struct s2sp_decision {
	enum s2sp_verdict verdict;
	enum s2sp_reason reason; /* NONE only with ALLOW */
	const char *rule;        /* what decided, in words for the operator; static; may have slots, see vocabulary.h */
};

enum s2sp_direction { S2SP_INCOMING = 0, S2SP_OUTGOING };

/* Section 4's verdicts; the order is that of the reason codes. */
enum s2sp_certificate_verdict {
	S2SP_CERTIFICATE_UNKNOWN = 0, /* not judged (yet): never counts as valid */
	S2SP_CERTIFICATE_VALID,
	S2SP_CERTIFICATE_NO_CERTIFICATE,
	S2SP_CERTIFICATE_UNTRUSTED,
	S2SP_CERTIFICATE_EXPIRED,
	S2SP_CERTIFICATE_NOT_YET_VALID,
	S2SP_CERTIFICATE_REVOKED,
	S2SP_CERTIFICATE_REVOCATION_UNKNOWN,
	S2SP_CERTIFICATE_IDENTITY_MISMATCH,
	S2SP_CERTIFICATE_PIN_MISMATCH,
	S2SP_CERTIFICATE_MALFORMED,
};

/* "valid", "no-certificate", ...; "unknown". Static. */
const char *s2sp_certificate_verdict_token(enum s2sp_certificate_verdict verdict);
/* The reason that refuses for `verdict`; INTERNAL_ERROR for UNKNOWN, NONE for VALID. */
enum s2sp_reason s2sp_certificate_verdict_reason(enum s2sp_certificate_verdict verdict);

/* Only ever forward, but for REFUSED, which is final. */
enum s2sp_stage {
	S2SP_STAGE_REFUSED = 0,
	S2SP_STAGE_OPEN,          /* the peer's domain is not known */
	S2SP_STAGE_IDENTIFIED,    /* the domain is known and may go on, nothing is proven */
	S2SP_STAGE_AUTHENTICATED, /* by `method` */
	S2SP_STAGE_ESTABLISHED,   /* audited: stanzas may move */
};

struct s2sp_stream {
	const struct s2sp_policy *policy;   /* NULL: no running policy, everything is refused */
	const struct s2sp_partner *partner; /* NULL until IDENTIFIED */
	uint8_t direction;                  /* enum s2sp_direction */
	uint8_t stage;                      /* enum s2sp_stage */
	uint8_t method;                     /* enum s2sp_method, NONE until AUTHENTICATED */
	uint8_t certificate;                /* enum s2sp_certificate_verdict */
	bool tls;                           /* the connection itself reports TLS */
	bool sasl_offered;                  /* incoming: EXTERNAL was advertised; outgoing: <auth/> may be sent */
	bool dialback_offered;              /* outgoing: we may send a key; incoming: we advertised it */
	bool key_asked;                     /* incoming: the authoritative server is being asked about a key */
	uint8_t reason;                     /* enum s2sp_reason of the refusal */
	uint8_t observed;   /* enum s2sp_method, what the host has authenticated it by while nothing was enforced; NONE otherwise */
	bool asked;         /* incoming: the peer has asked to be authenticated */
	bool verify_only;   /* outgoing: opened to have a dialback key verified; nothing else has been sent over it */
	bool counted;       /* has one of the partner's places; kept by who counts */
	bool awaits_answer; /* a keepalive has been sent and not been answered */
	uint8_t faults;     /* incoming: elements out of shape and wrong keys, before authentication */
	uint8_t wrong_keys; /* incoming: keys that were asked about and are not ours */
	uint16_t queued;    /* outgoing: stanzas that wait for it to be established */
	/* Milliseconds of the caller's clock, see stream_limits.h. */
	uint64_t created;
	uint64_t active;    /* the last stanza that was no keepalive */
	uint64_t keepalive; /* the last keepalive */
};

/* A record at stage OPEN. `policy` may be NULL. */
void s2sp_stream_begin(struct s2sp_stream *stream, enum s2sp_direction direction, const struct s2sp_policy *policy);

/* Final refusal for `reason` from outside (a limit, an internal error). */
struct s2sp_decision s2sp_stream_refuse(struct s2sp_stream *stream, enum s2sp_reason reason, const char *rule);

/*
 * The peer's domain (canonical; empty when the name is no domain) has become known, or is repeated. A second, different
 * partner is refused.
 */
struct s2sp_decision s2sp_stream_identify(struct s2sp_stream *stream, struct s2sp_text domain);

/* The facts as the connection reports them now; TLS never goes away again. */
void s2sp_stream_observe(struct s2sp_stream *stream, bool tls, enum s2sp_certificate_verdict certificate);

/* TLS is up and the certificate judged, in either direction: REFUSE when no method could succeed any more. */
struct s2sp_decision s2sp_stream_certificate(struct s2sp_stream *stream);

/* What an incoming stream is offered now (RFC 6120 4.3.2). */
struct s2sp_offer {
	bool starttls;
	bool starttls_required;
	bool sasl;     /* EXTERNAL, XEP-0178 */
	bool dialback; /* XEP-0220 2.2 */
	bool bidi;     /* XEP-0288 */
};
/* REFUSE when no method could succeed any more. */
struct s2sp_decision s2sp_stream_offer(struct s2sp_stream *stream, struct s2sp_offer *offer);

/* The peer sends <starttls/> on an incoming stream. */
struct s2sp_decision s2sp_stream_starttls(struct s2sp_stream *stream);

/* The peer sends <auth mechanism='EXTERNAL'/> on an incoming stream. */
struct s2sp_decision s2sp_stream_auth(struct s2sp_stream *stream);

/*
 * The peer sends a db:result with a key on an incoming stream (its own domain pair, checked by the caller). One key a stream:
 * each makes us ask, and what is asked is queued for as long as the partner does not answer.
 */
struct s2sp_decision s2sp_stream_dialback(struct s2sp_stream *stream);

/*
 * A db:verify: the peer asks us to verify a key on an incoming stream, or answers what we have asked on an outgoing one. Opens
 * no right of its own.
 */
struct s2sp_decision s2sp_stream_verify(struct s2sp_stream *stream);

/* What the peer of an outgoing stream advertised, as bits, and what we make of it. */
struct s2sp_peer_features {
	bool starttls;
	bool starttls_required;
	bool sasl_external;
	bool dialback;
};
struct s2sp_plan {
	bool starttls; /* go on with STARTTLS */
	bool sasl;     /* leave EXTERNAL in */
	bool dialback; /* a key may be sent */
};
/* REFUSE when what the peer offers leaves no method. `features` NULL: a pre-1.0 peer, which sends none. */
struct s2sp_decision s2sp_stream_plan(struct s2sp_stream *stream, const struct s2sp_peer_features *features,
									  struct s2sp_plan *plan);

/* The peer of an outgoing stream answered <auth/> with <failure/>: ALLOW means that dialback may be tried. */
struct s2sp_decision s2sp_stream_sasl_failed(struct s2sp_stream *stream);

/* The peer of an outgoing stream says that our key is valid. `key_sent`: we did send one. */
struct s2sp_decision s2sp_stream_dialback_answer(struct s2sp_stream *stream, bool key_sent, bool sasl_pending);

/* The host is about to take the stream for authenticated: by SASL EXTERNAL or by dialback. Judged on the facts observed. */
struct s2sp_decision s2sp_stream_authenticated(struct s2sp_stream *stream, bool by_sasl);

/*
 * A stanza came in before the stream is authenticated: always a refusal, for the first reason that applies. The stream
 * error is not-authorized whatever the reason (RFC 6120 4.9.3.12).
 */
struct s2sp_decision s2sp_stream_premature(struct s2sp_stream *stream);

/* An element that is no part of a handshake (`row` NULL), or not from this side, or not at this stage: always a refusal. */
struct s2sp_decision s2sp_stream_misplaced(struct s2sp_stream *stream, const struct s2sp_handshake_row *row);

/* So many elements out of shape, and wrong keys, an unauthenticated stream survives. */
#define S2SP_STREAM_FAULTS_MAX 20
/*
 * An element that has not the shape of its row. WAIT: it is to be answered with an error of its own protocol (XEP-0220 2.4) and goes no
 * further. That is for questions of dialback only, and on an authenticated stream it has no end: the partner may be passing on
 * what a stranger has sent it, and that stranger must not close the partner's stream.
 */
struct s2sp_decision s2sp_stream_misshapen(struct s2sp_stream *stream, const struct s2sp_handshake_row *row,
										   enum s2sp_handshake_fault fault);

/* Of so many wrong keys a stream the host may say something in its log. */
#define S2SP_STREAM_WRONG_KEYS_TOLD 3
/*
 * We are asked (s2sp_stream_verify said ALLOW) about a key that is not ours. ALLOW: the host answers as it does; WAIT: it is to be answered
 * without another word. As above, an authenticated stream is not closed for it.
 */
struct s2sp_decision s2sp_stream_wrong_key(struct s2sp_stream *stream);

/* The audit before stanzas move. */
struct s2sp_decision s2sp_stream_established(struct s2sp_stream *stream);

/*
 * A stanza on an established stream, judged under `policy` of the local host it is for or from (NULL: that host has none).
 * The caller has checked that its domain is the stream's.
 */
struct s2sp_decision s2sp_stream_stanza(const struct s2sp_stream *stream, const struct s2sp_policy *policy,
										struct s2sp_text domain);

/*
 * A new policy: the record moves over to it (its partner is looked up again by `domain`, the stream's canonical remote
 * domain, empty when unknown) and is judged again. REFUSE policy-changed names the rule that failed; a certificate that has been
 * revoked meanwhile is REFUSE certificate-revoked, since no policy has changed.
 */
struct s2sp_decision s2sp_stream_rejudge(struct s2sp_stream *stream, const struct s2sp_policy *policy, struct s2sp_text domain);

/*
 * For hosts that can be told to enforce nothing for a while, only to see what would be refused: a refused stream then lives on.
 *
 * The host has authenticated a stream that is REFUSED, its own domain pair, by SASL EXTERNAL or by dialback: the record keeps that. Any other stream is left
 * as it is.
 */
void s2sp_stream_let_through(struct s2sp_stream *stream, bool by_sasl);

/*
 * After the stream was judged under another policy. `observing`: nothing is enforced; should an authenticated stream be refused later on, it may return. Else no
 * stream that is refused from now on returns.
 */
void s2sp_stream_keep_method(struct s2sp_stream *stream, bool observing);

/*
 * Whether a REFUSED stream may be judged anew from its beginning: the host has let it through, and it was refused for what a list of partners can
 * say, not for what the peer did with it.
 */
bool s2sp_stream_may_return(const struct s2sp_stream *stream);

/*
 * Judges such a stream under `policy` as if its handshake were now: `domain`, TLS, its certificate, and the method the host has
 * authenticated it by. ESTABLISHED, or REFUSED for the first reason that applies. As s2sp_stream_rejudge for a stream that may not return.
 */
struct s2sp_decision s2sp_stream_replay(struct s2sp_stream *stream, const struct s2sp_policy *policy, struct s2sp_text domain);

/* A domain nobody has opened a stream with yet: may we route to it at all? */
struct s2sp_decision s2sp_decide_route(const struct s2sp_policy *policy, struct s2sp_text domain, bool dialback_verify,
									   const struct s2sp_partner **partner);

#endif
