/* A certificate of our own: would a partner that checks as we do accept it for the domain? RFC 6120 13.7.2, RFC 7590. */
#ifndef S2SP_CERTIFICATE_OWN_H
#define S2SP_CERTIFICATE_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
