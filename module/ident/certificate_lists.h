/* Revocation lists as the files named certificate*.c share them; for them only, since it names OpenSSL's types. */
#ifndef S2SP_CERTIFICATE_LISTS_H
#define S2SP_CERTIFICATE_LISTS_H

#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "certificate.h"
#include "certificate_crl.h"
#include "index.h"

/*
 * Keys that a list's signature has been verified with. An authority that changes its key has two of the same name for a while. One that has ever
 * more of them would have the whole list hashed for each: further ones are not verified.
 */
#define S2SP_CRL_KEYS 16

struct s2sp_crl_key {
	struct s2sp_pin key;
	bool good;
	EVP_PKEY *public; /* where it is good */
};

struct s2sp_crl {
	X509_CRL *head;          /* the list without its entries */
	ISSUING_DIST_POINT *idp; /* NULL: none */
	unsigned char *der;      /* the whole list: what is signed is in there */
	size_t der_size;
	size_t signed_at, signed_size;
	struct s2sp_index serials; /* of what is revoked: the contents of the INTEGER, which point into `der` */
	uint32_t issuer;           /* s2sp_openssl_name_hash */
	int64_t this_update;
	int64_t next_update; /* 0: none */
	bool delta;
	const char *useless; /* why the list says nothing about any certificate; NULL: it does */
	CRYPTO_RWLOCK *lock; /* of what follows */
	size_t key_count;
	struct s2sp_crl_key keys[S2SP_CRL_KEYS];
};

struct s2sp_crl_file {
	struct s2sp_crl **lists;
	size_t count;
};

/* False when out of memory. */
bool s2sp_openssl_name_hash(const X509_NAME *name, uint32_t *hash);

/* Bytes that are still to be read, as ASN.1. */
struct s2sp_der_span {
	const unsigned char *at;
	size_t left;
};

/* One element: its contents, and the whole of it. */
struct s2sp_der_element {
	int tag, class;
	struct s2sp_der_span content, whole;
};

/* The next element of `from`, which begins behind it then; false when there is none. DER: no indefinite lengths. */
bool s2sp_der_take(struct s2sp_der_span *from, struct s2sp_der_element *element);
bool s2sp_der_is_universal(const struct s2sp_der_element *element, int tag);
bool s2sp_der_take_universal(struct s2sp_der_span *from, int tag, struct s2sp_der_element *element);
bool s2sp_der_is_time(const struct s2sp_der_element *element);

/* Takes up one entry, RFC 5280 5.1.2.6, whose contents these are. OK, INVALID when it is damaged, NO_MEMORY. */
enum s2sp_status s2sp_crl_read_entry(struct s2sp_crl *list, struct s2sp_der_span content);

/* `list` is owned. NULL is allowed. */
void s2sp_crl_free(struct s2sp_crl *list);

/* Reads what is not an entry: the head is there, and `der`. OK or NO_MEMORY; what is wrong with it is `useless`. */
enum s2sp_status s2sp_crl_read_head(struct s2sp_crl *list);

/*
 * Whether the key of `issuer` has signed the list, in *good; computed once for each key. OK, NO_MEMORY, or FAILED when it is not known and there is
 * no room to keep it, or *budget, of which each signature takes one, is 0.
 */
enum s2sp_status s2sp_crl_is_signed(struct s2sp_crl *list, X509 *issuer, size_t *budget, bool *good);

/*
 * What the lists of `question` say of the verified `chain` (leaf first, the anchor last, which nobody revokes; RFC 5280 6.1.3 (a)(3)): VALID,
 * REVOKED, REVOCATION_UNKNOWN, or UNKNOWN when memory runs out. *cause is static, *depth is the certificate that it is about. `report`
 * may be NULL; its members `revocation_until` and `uncovered*` are set.
 */
enum s2sp_certificate_verdict s2sp_revocation_judge(const struct s2sp_certificate_question *question, STACK_OF(X509) * chain,
													struct s2sp_certificate_report *report, const char **cause, int *depth);

/* Writes the `links` of the report. */
void s2sp_revocation_links(STACK_OF(X509) * chain, struct s2sp_certificate_report *report);

/* Calls `visit` for each link, until it says true; that is what it returns. A link without a serial (it is too long) has the length 0. */
bool s2sp_revocation_each_link(struct s2sp_text links, bool (*visit)(const void *with, uint32_t issuer, struct s2sp_text serial),
							   const void *with);

#endif
