/* What the files named certificate*.c share; for them only, since it names OpenSSL's types. */
#ifndef S2SP_CERTIFICATE_OPENSSL_H
#define S2SP_CERTIFICATE_OPENSSL_H

#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "certificate.h"

struct s2sp_trust_store {
	X509_STORE *store;
	bool anchors; /* trust_anchors: may be intermediates */
	size_t count;
	int64_t not_after;
};

/*
 * The whole of a regular file. OK: *bytes is the caller's, to be freed with free(). INVALID: `reason`, of `size` bytes, says why not, `remedy`
 * included where it is too large or no file. Otherwise NO_MEMORY.
 */
enum s2sp_status s2sp_read_file(const char *path, size_t most, const char *remedy, char **bytes, size_t *length, char *reason,
								size_t size);

/* Empties the error queue; says whether it told of lack of memory. */
bool s2sp_openssl_drain(void);

/* Seconds since the epoch; 0 when it cannot be read. */
int64_t s2sp_openssl_time(const ASN1_TIME *time);

/* RFC 4514 as printable ASCII, cut to `size`. */
void s2sp_openssl_name(const X509_NAME *name, char *text, size_t size);

/* Appends `bytes` to the NUL-terminated `text`, what is not printable ASCII as \HH; cut to `size`. */
void s2sp_append_printable(char *text, size_t size, struct s2sp_text bytes);

/* RFC 7469 2.4. False when out of memory. */
bool s2sp_openssl_pin(const X509 *certificate, struct s2sp_pin *pin);

/* The leaf's subjectAltName: OK with *names (the caller frees; NULL when there is no such extension), or INVALID. */
enum s2sp_status s2sp_openssl_subject_names(const X509 *leaf, GENERAL_NAMES **names);

/*
 * Whether one of `names` (may be NULL) is the question's domain; each is recorded in `report`, which may be NULL. Only the first
 * S2SP_CONVERTED_NAMES_MAX that are not ASCII are converted, the others match nothing.
 */
bool s2sp_openssl_identify(const GENERAL_NAMES *names, const struct s2sp_certificate_question *question,
						   struct s2sp_certificate_report *report);

/* Records the names without comparing them with anything. */
void s2sp_openssl_list_names(const GENERAL_NAMES *names, struct s2sp_certificate_report *report);

/* Whether the name constraints of `issuer` allow `domain` as a dNSName (RFC 5280 4.2.1.10); what cannot be read does not. */
bool s2sp_openssl_permits(const X509 *issuer, struct s2sp_text domain);

#endif
