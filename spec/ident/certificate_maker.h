/* Makes certificates in the process, wrong ones too, for tests and fuzzers. A failure ends the program. */
#ifndef S2SP_CERTIFICATE_MAKER_H
#define S2SP_CERTIFICATE_MAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "text.h"

#define MAKER_NOW INT64_C(1750000000)
#define MAKER_DAY 86400

enum maker_key { MAKER_EC = 0, MAKER_EC_EXPLICIT, MAKER_RSA_2048, MAKER_RSA_1024 };

struct made {
	X509 *certificate;
	EVP_PKEY *key;
	struct s2sp_text der;
};

/* Zeros make an ordinary end entity, valid now, signed with SHA-256. */
struct recipe {
	const char *subject;       /* common name; NULL: "leaf" */
	const struct made *issuer; /* NULL: self-signed */
	enum maker_key key;
	const char *digest;             /* NULL: "SHA256" */
	int from, to;                   /* days from MAKER_NOW; both 0: -10 and 10 */
	const char *basic;              /* basicConstraints; NULL: "critical,CA:FALSE"; "": none */
	const char *usage;              /* keyUsage; NULL or "": none */
	const char *names;              /* subjectAltName as openssl.cnf has it; NULL: none */
	const GENERAL_NAMES *name_list; /* instead of `names` */
	struct s2sp_text names_der;     /* instead of `names`: the extension's bytes as they are */
	const char *constraints;        /* nameConstraints */
	const char *extended_usage;
	const char *points;           /* crlDistributionPoints */
	const char *serial;           /* hexadecimal; NULL: the next number */
	const char *unknown_critical; /* any text: adds a critical extension that nobody knows */
	int names_twice;
	int version_1; /* no extensions at all */
};

/* Zeros make a list with no entries, from a day ago to a week from now, signed by its issuer with SHA-256. */
struct crl_recipe {
	const struct made *issuer;
	const struct made *signer; /* whose key signs; NULL: the issuer's */
	const struct made *revoked[4];
	int reason;         /* of all its entries: CRL_REASON_*; 0: none is given */
	size_t more;        /* entries with random numbers, in no order */
	const char *digest; /* NULL: "SHA256" */
	bool pss;           /* an RSA issuer signs with RSA-PSS */
	int from, to;       /* days from MAKER_NOW; both 0: -1 and 7 */
	bool no_next_update;
	bool delta;
	const char *scope;           /* issuingDistributionPoint as openssl.cnf has it */
	bool unknown_critical;       /* in the list */
	bool unknown_critical_entry; /* in its first entry */
	bool certificate_issuer;     /* the first entry is of another authority */
	bool version_1;
};
/* DER, kept until maker_clean. */
struct s2sp_text maker_crl(struct crl_recipe recipe);
/* PEM of it, to be freed with free(). */
char *maker_crl_pem(struct s2sp_text der);

/* What it makes is kept until maker_clean. */
const struct made *maker_make(struct recipe recipe);
const struct made *maker_ca(const char *subject, const struct made *issuer);
void maker_clean(void);

/* One more name in a list; the bytes go in as they are. `string_type`: V_ASN1_IA5STRING... for otherNames. */
void maker_add_name(GENERAL_NAMES *names, int general_type, struct s2sp_text value);
void maker_add_other(GENERAL_NAMES *names, int nid, int string_type, struct s2sp_text value);

/* PEM of certificates in a NUL-terminated text, to be freed with free(). */
char *maker_pem(const struct made *const *made, size_t count);
/* Writes a file for the test and gives its path; all are removed by maker_clean. */
const char *maker_file(const char *content, size_t length);

#endif
