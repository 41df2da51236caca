/*
 * The peer's certificate: is it good for the domain it claims? Verified here from the bytes the peer presented, so that the
 * verdict is the same whatever the host concluded. RFC 5280 section 6 for the chain, RFC 6120 13.7.2 for the name.
 *
 * OpenSSL's error queue is left empty by every function: the host's TLS library shares it. The files named certificate*.c
 * are the only ones that know OpenSSL.
 */
#ifndef S2SP_CERTIFICATE_H
#define S2SP_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certificate_crl.h"
#include "domain.h"
#include "identity.h"
#include "partner.h"
#include "status.h"
#include "stream.h"
#include "text.h"

/* What a peer may present, the leaf included; more is malformed. TLS libraries stop at about 100 KiB for all of it. */
#define S2SP_CHAIN_LENGTH_MAX 20
#define S2SP_CERTIFICATE_SIZE_MAX (128 * 1024)
#define S2SP_CHAIN_SIZE_MAX (256 * 1024)
/* subjectAltName entries of any type in the leaf; more is malformed. Public CAs stop at a few hundred. */
#define S2SP_SUBJECT_NAMES_MAX 2000
/* Of its names in other scripts (xmppAddr) so many are converted to A-labels; the others match nothing. */
#define S2SP_CONVERTED_NAMES_MAX 100
/* Certificates between leaf and anchor: the host's own default. */
#define S2SP_CHAIN_DEPTH_MAX 9

/* What a report has room for; the rest is counted, and cut short. */
#define S2SP_REPORT_NAMES 64
#define S2SP_REPORT_BYTES 4096
#define S2SP_REPORT_TEXT 256

/* Of each certificate below the anchor: 4 bytes of its issuer, the length of its serial number, the number. */
#define S2SP_LINK_SERIAL_MAX 32
#define S2SP_LINKS_MAX ((S2SP_CHAIN_DEPTH_MAX + 2) * (5 + S2SP_LINK_SERIAL_MAX))

/* Where chains may end. Read-only once made: any number of judgements may use one. */
struct s2sp_trust_store;

/* What to build a store from; NUL-terminated paths, NULL where there is none. */
struct s2sp_trust_source {
	const char *anchors; /* the trust_anchors of a partner, a PEM bundle: nothing else is trusted */
	const char *file;    /* the host's own bundle (cafile) and directory of hashed names (capath); may both be given, */
	const char *path;    /* not together with `anchors` */
	int64_t now;         /* seconds since the epoch */
};

/*
 * Reads the files. OK: *store is the caller's, to be freed; `message`, of `size` bytes, holds warnings (one line each; "" when
 * there are none). INVALID: the message says which file, which certificate and what to do. Otherwise NO_MEMORY.
 * Messages are ASCII, always NUL-terminated, and cut to `size`.
 *
 * `anchors`: unreadable, damaged or empty file, a certificate that may not sign others (RFC 5280 4.2.1.9), one too weak for
 * security level 2, or none that is valid at `now`: INVALID; one of several that is not valid now: a warning. `file` and `path` that
 * cannot be read: a warning, as long as one of them can.
 */
enum s2sp_status s2sp_trust_store_new(const struct s2sp_trust_source *source, struct s2sp_trust_store **store, char *message,
									  size_t size);
/* NULL is allowed. */
void s2sp_trust_store_free(struct s2sp_trust_store *store);
/* Anchors that were read from files; those of a directory are found when needed. */
size_t s2sp_trust_store_count(const struct s2sp_trust_store *store);
/* When the last of the anchors expires, seconds since the epoch: from then on nothing is valid. 0: unknown (the host's own store). */
int64_t s2sp_trust_store_not_after(const struct s2sp_trust_store *store);

/* A name that the leaf presents, and what came of it. */
struct s2sp_presented_name {
	enum s2sp_identifier_type type;
	enum s2sp_identity_finding finding;
	const char *text; /* printable ASCII, others as \HH; in the report */
};

/*
 * What was seen, for people. Plain memory without a pointer outside itself: nothing to free, but not to be copied either.
 * Texts are printable ASCII and NUL-terminated, cut to their room.
 */
struct s2sp_certificate_report {
	enum s2sp_certificate_verdict verdict;
	const char *cause; /* why, in words for the operator; static, never NULL */
	int fault_depth;   /* which certificate of the chain is at fault, 0 the leaf; -1 when that says nothing */
	size_t presented;  /* certificates the peer sent */
	/* of the leaf; empty and 0 when it could not be read */
	char subject[S2SP_REPORT_TEXT]; /* RFC 4514 */
	char issuer[S2SP_REPORT_TEXT];
	char serial[64];               /* hexadecimal */
	int64_t not_before, not_after; /* seconds since the epoch */
	/* the first of the verified chain to expire, of the presented one when there is no verified chain; 0: unknown */
	int64_t chain_not_after;
	/* When what the revocation lists say may be another thing: the next nextUpdate or thisUpdate of those that count; 0: never. */
	int64_t revocation_until;
	/* The first certificate that no current list covers: why (static; NULL: all are, or nobody asks), which, and its issuer. */
	const char *uncovered;
	int uncovered_depth;
	char uncovered_issuer[S2SP_REPORT_TEXT];
	size_t link_bytes; /* of a verified chain: what s2sp_crl_file_mentions wants to know of it */
	unsigned char links[S2SP_LINKS_MAX];
	size_t name_count; /* subjectAltName entries, those without room in `names` included */
	size_t names_kept;
	struct s2sp_presented_name names[S2SP_REPORT_NAMES];
	/* public keys: of what the peer sent, the leaf first, then of the verified chain's other certificates (the anchor) */
	size_t pin_count;
	struct s2sp_pin pins[S2SP_CHAIN_LENGTH_MAX + S2SP_CHAIN_DEPTH_MAX + 2];
	size_t bytes_used;
	char bytes[S2SP_REPORT_BYTES];
};

struct s2sp_certificate_question {
	const struct s2sp_text *chain; /* DER, the leaf first, the others in any order; borrowed */
	size_t chain_length;           /* 0: the peer presented nothing */
	const struct s2sp_trust_store *store;
	struct s2sp_text domain;                 /* canonical; empty: never matched */
	const struct s2sp_pin *pins;             /* one must be in the verified chain */
	size_t pin_count;                        /* 0: no pins */
	enum s2sp_revocation revocation;         /* UNSET is OFF */
	const struct s2sp_crl_file *const *crls; /* borrowed */
	size_t crl_count;
	s2sp_domain_to_ascii *to_ascii;
	int64_t now; /* seconds since the epoch */
};

/*
 * The verdict; the first that applies of no-certificate, malformed, untrusted, expired, not-yet-valid, revoked, revocation-unknown,
 * identity-mismatch, pin-mismatch, valid: the path first (in the order of RFC 5280 6.1.3), then the name, then the pin. UNKNOWN
 * when it could not be found (out of memory, no store): never to be taken for valid.
 * `report` may be NULL; otherwise it is filled whatever the verdict.
 *
 * What revocation lists decide is in certificate_revocation.c. Extended key usage is not looked at; the leaf's key usage, if
 * present, must have digitalSignature (RFC 5280 4.2.1.3: what TLS 1.2 with ephemeral keys and TLS 1.3 sign with). Keys and signatures below OpenSSL's security
 * level 2 (112 bits: RSA 2048, EC 224, SHA-224) are untrusted.
 */
enum s2sp_certificate_verdict s2sp_certificate_judge(const struct s2sp_certificate_question *question,
													 struct s2sp_certificate_report *report);

/*
 * The DER in the first certificate of a PEM text. OK: written to `der` of `capacity` bytes, *length says how many.
 * INVALID: no certificate, damaged, or no room. Three quarters of the text's length is always room enough.
 */
enum s2sp_status s2sp_certificate_from_pem(struct s2sp_text pem, unsigned char *der, size_t capacity, size_t *length);

#endif
