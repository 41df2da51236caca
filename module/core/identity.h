/*
 * Does a name in a certificate (a presented identifier) name the domain we expect (the reference identifier)?
 * RFC 9525 section 6 and RFC 6120 13.7.2 for XMPP servers. The common name and addresses are not looked at: they never name a domain.
 */
#ifndef S2SP_IDENTITY_H
#define S2SP_IDENTITY_H

#include "domain.h"
#include "text.h"

/* The forms that can name an XMPP domain, RFC 6120 13.7.1.2. The bytes' ASN.1 string type is checked where they are extracted. */
enum s2sp_identifier_type {
	S2SP_IDENTIFIER_OTHER = 0, /* iPAddress, rfc822Name, another otherName, or one of the below in the wrong string type */
	S2SP_IDENTIFIER_DNS,       /* dNSName, IA5String: "fabrikam.com", "*.fabrikam.com" */
	S2SP_IDENTIFIER_SRV,       /* id-on-dnsSRV, IA5String (RFC 4985): "_xmpp-server.fabrikam.com" */
	S2SP_IDENTIFIER_XMPP_ADDR, /* id-on-xmppAddr, UTF8String (RFC 6120 13.7.1.4): "fabrikam.com" */
};
#define S2SP_IDENTIFIER_TYPES 4

struct s2sp_identifier {
	enum s2sp_identifier_type type;
	struct s2sp_text value; /* as presented, untrusted */
};

/* What was found out about one identifier. Only MATCH identifies; the others say why not. */
enum s2sp_identity_finding {
	S2SP_IDENTITY_UNKNOWN = 0, /* not judged */
	S2SP_IDENTITY_MATCH,
	S2SP_IDENTITY_DIFFERENT, /* a well-formed name of something else */
	/* names that cannot match any domain */
	S2SP_IDENTITY_TYPE, /* not a form that names an XMPP domain */
	S2SP_IDENTITY_EMPTY,
	S2SP_IDENTITY_TOO_LONG,
	S2SP_IDENTITY_NUL,
	S2SP_IDENTITY_NOT_ASCII, /* in an IA5String */
	S2SP_IDENTITY_TRAILING_DOT,
	S2SP_IDENTITY_WILDCARD_POSITION, /* "*" elsewhere than as the whole left-most label of a dNSName */
	S2SP_IDENTITY_WILDCARD_WIDTH,    /* "*" alone or over a single label: "*.com" */
	S2SP_IDENTITY_SERVICE,           /* an SRVName of another service: "_xmpp-client..." */
	S2SP_IDENTITY_NOT_BARE,          /* an xmppAddr with localpart or resource */
	S2SP_IDENTITY_NOT_DOMAIN,        /* not the syntax of a domain, or an IP address */
};

/*
 * Judges one identifier against `reference`, a canonical domain (domain.h); an empty reference is never matched.
 * `to_ascii` converts the U-labels of an xmppAddr and may be NULL: such names then match nothing. Allocates nothing; the time
 * is linear in the shorter of the value and 1024 bytes.
 *
 * A dNSName's wildcard stands for exactly one label, an A-label too (RFC 9525 6.3). Letters are compared without regard to
 * case (RFC 9525 6.3, 6.5.1). A trailing dot is no part of a dNSName (RFC 5280 4.2.1.6, preferred name syntax) and is not
 * forgiven: no CA issues it, and two spellings of one name are an invitation.
 */
enum s2sp_identity_finding s2sp_identity_match(struct s2sp_identifier presented, struct s2sp_text reference,
											   s2sp_domain_to_ascii *to_ascii);

/* "dns", "srv", "xmpp-addr", "other"; "match", "trailing-dot", ... Static, never NULL. */
const char *s2sp_identifier_type_token(enum s2sp_identifier_type type);
const char *s2sp_identity_finding_token(enum s2sp_identity_finding finding);

#endif
