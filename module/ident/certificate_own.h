/* A certificate of our own: would a partner that checks as we do accept it for the domain? RFC 6120 13.7.2, RFC 7590. */
#ifndef S2SP_CERTIFICATE_OWN_H
#define S2SP_CERTIFICATE_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certificate.h"
#include "domain.h"
#include "status.h"
#include "text.h"

#define S2SP_OWN_RSA_BITS_MIN 2048
#define S2SP_OWN_EC_BITS_MIN 256
#define S2SP_OWN_TEXT 1024

/* Plain memory; texts are printable ASCII, NUL-terminated, cut to their room. */
struct s2sp_own_certificate {
	bool names_domain;    /* as SRVName, dNSName or XmppAddr; the common name never counts */
	bool key_strong;      /* RSA and EC of at least the sizes above; EdDSA always */
	bool self_signed;     /* issuer and subject are the same: no authority vouches for it */
	const char *key_type; /* "RSA", "EC", "EdDSA", "other"; static */
	unsigned key_bits;
	int64_t not_before, not_after; /* seconds since the epoch, 0 when it cannot be read */
	char subject[S2SP_OWN_TEXT];
	char issuer[S2SP_OWN_TEXT];
	char names[S2SP_OWN_TEXT]; /* "dns:fabrikam.com, srv:_xmpp-server.fabrikam.com"; the common ones, in their order */
};

/*
 * OK, INVALID when `der` is no certificate (or its names are damaged), or NO_MEMORY. `domain` is canonical; `to_ascii` as for
 * s2sp_identity_match. OpenSSL's error queue is left empty.
 */
enum s2sp_status s2sp_own_certificate_read(struct s2sp_text der, struct s2sp_text domain, s2sp_domain_to_ascii *to_ascii,
										   struct s2sp_own_certificate *own);

/* What partners could object to in a file of certificates, the first of them our own. */
enum s2sp_own_fault {
	S2SP_OWN_FAULT_NONE = 0,
	S2SP_OWN_MISSING_ISSUER,    /* the issuer of `certificate` is neither in the file nor an authority of the store */
	S2SP_OWN_UNKNOWN_AUTHORITY, /* the chain ends at the authority `certificate`, which is in the file and not in the store */
	S2SP_OWN_SELF_SIGNED,       /* the certificate itself, and no authority of the store */
	S2SP_OWN_WRONG_ORDER, /* `certificate` has not issued the one before it, but one further up (RFC 5246 7.4.2, RFC 8446 4.4.2) */
	S2SP_OWN_STRANGER,    /* `certificate` is in no chain from the first one */
	S2SP_OWN_KEY_USAGE,   /* the first one may not sign handshakes */
	S2SP_OWN_NOT_FOR_SERVERS, /* its extended key usage leaves servers out */
	S2SP_OWN_SERVERS_ONLY,    /* it leaves clients out: as all that public authorities issue; most partners do not mind */
	S2SP_OWN_EXPIRED,         /* `certificate`, one above the first */
	S2SP_OWN_NOT_YET_VALID,
	S2SP_OWN_OTHER, /* the report's cause */
	S2SP_OWN_FAULTS,
};

#define S2SP_OWN_FINDINGS 8

struct s2sp_own_finding {
	enum s2sp_own_fault fault;
	size_t certificate;             /* its number in the file, from 1; 0: the authority that the chain ends at */
	char subject[S2SP_REPORT_TEXT]; /* of that certificate */
	char issuer[S2SP_REPORT_TEXT];
	int64_t not_before, not_after;
	/* MISSING_ISSUER: where the certificate says that its issuer is to be had (caIssuers); or empty */
	char source[S2SP_REPORT_TEXT];
};

struct s2sp_own_chain {
	enum s2sp_certificate_verdict verdict; /* of a partner that trusts what `store` does */
	const char *cause;                     /* static */
	size_t finding_count;
	struct s2sp_own_finding findings[S2SP_OWN_FINDINGS]; /* the first of them */
};

/*
 * Judges `chain`, the certificates of a file in their order, as s2sp_certificate_judge does for a peer, and says what is to be corrected. OK,
 * INVALID when one cannot be read, or NO_MEMORY. OpenSSL's error queue is left empty.
 */
enum s2sp_status s2sp_own_chain_judge(const struct s2sp_text *chain, size_t count, const struct s2sp_trust_store *store,
									  struct s2sp_text domain, s2sp_domain_to_ascii *to_ascii, int64_t now,
									  struct s2sp_own_chain *own);

/* "missing-issuer", ...; "none". Static. */
const char *s2sp_own_fault_token(enum s2sp_own_fault fault);

/* One certificate of a file, and the pin of its key. */
struct s2sp_pinned {
	struct s2sp_pin pin;
	bool authority; /* it may issue others */
	int64_t not_after;
	char subject[S2SP_REPORT_TEXT];
	char issuer[S2SP_REPORT_TEXT];
};

/*
 * The certificates in `text`, PEM (whatever else stands there is passed over) or DER, up to `capacity` of them; *count says how many. OK, INVALID
 * when one is damaged or there is none, or NO_MEMORY.
 */
enum s2sp_status s2sp_certificate_pins(struct s2sp_text text, struct s2sp_pinned *pinned, size_t capacity, size_t *count);

#endif
