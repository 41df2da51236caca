#include "certificate.h"

#include <string.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

bool s2sp_openssl_drain(void) {
	bool memory = false;
	unsigned long error;
	while ((error = ERR_get_error()) != 0)
		memory = memory || ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE;
	return memory;
}

int64_t s2sp_openssl_time(const ASN1_TIME *time) {
	int days = 0, seconds = 0;
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	bool read = epoch != NULL && time != NULL && ASN1_TIME_diff(&days, &seconds, epoch, time) == 1;
	ASN1_TIME_free(epoch);
	return read ? (int64_t)days * 86400 + seconds : 0;
}

bool s2sp_openssl_pin(const X509 *certificate, struct s2sp_pin *pin) {
	unsigned char *der = NULL;
	int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	bool made = length > 0 && EVP_Digest(der, (size_t)length, pin->sha256, NULL, EVP_sha256(), NULL) == 1;
	OPENSSL_free(der);
	return made;
}

enum s2sp_status s2sp_certificate_from_pem(struct s2sp_text pem, unsigned char *der, size_t capacity, size_t *length) {
	enum s2sp_status status = S2SP_STATUS_INVALID;
	*length = 0;
	if (pem.length == 0 || pem.length > 2 * S2SP_CERTIFICATE_SIZE_MAX)
		return S2SP_STATUS_INVALID;
	ERR_clear_error();
	BIO *bio = BIO_new_mem_buf(pem.bytes, (int)pem.length);
	char *name = NULL, *header = NULL;
	unsigned char *bytes = NULL;
	long size = 0;
	if (bio == NULL) {
		status = S2SP_STATUS_NO_MEMORY;
	} else if (PEM_read_bio(bio, &name, &header, &bytes, &size) == 1) {
		bool certificate = strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0;
		if (certificate && header[0] == '\0' && size > 0 && (size_t)size <= capacity) {
			memcpy(der, bytes, (size_t)size);
			*length = (size_t)size;
			status = S2SP_STATUS_OK;
		}
	}
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(bytes);
	BIO_free(bio);
	if (s2sp_openssl_drain() && status != S2SP_STATUS_OK)
		status = S2SP_STATUS_NO_MEMORY;
	return status;
}

/* What one judgement holds; all of it released by judgement_end. */
struct judgement {
	const struct s2sp_certificate_question *question;
	struct s2sp_certificate_report *report; /* may be NULL */
	X509 *presented[S2SP_CHAIN_LENGTH_MAX];
	size_t count;
	STACK_OF(X509) * others; /* presented but for the leaf; borrows them */
	GENERAL_NAMES *names;
	X509_STORE_CTX *path;
	STACK_OF(X509) * chain; /* the verified chain, leaf first; belongs to `path` */
	/* what verification found; 0 is X509_V_OK */
	int fault;
	bool expired, not_yet_valid;
	bool verified;   /* `chain` is complete and good, but for dates */
	bool identified; /* a name of the leaf is the domain */
};

static enum s2sp_certificate_verdict conclude(struct judgement *judgement, enum s2sp_certificate_verdict verdict,
											  const char *cause, int depth) {
	if (judgement->report != NULL) {
		judgement->report->verdict = verdict;
		judgement->report->cause = cause;
		judgement->report->fault_depth = depth;
	}
	return verdict;
}

/* Strict DER: one certificate and not a byte more. VALID means that it can be judged. */
static enum s2sp_certificate_verdict read_certificate(struct judgement *judgement, struct s2sp_text der, int depth) {
	const char *cause = "a certificate is larger than 128 KiB or empty";
	if (der.length > 0 && der.length <= S2SP_CERTIFICATE_SIZE_MAX) {
		const unsigned char *bytes = (const unsigned char *)der.bytes;
		X509 *certificate = d2i_X509(NULL, &bytes, (long)der.length);
		cause = "a certificate is not DER";
		if (certificate != NULL) {
			judgement->presented[judgement->count++] = certificate;
			cause = "bytes follow a certificate";
			if (bytes == (const unsigned char *)der.bytes + der.length) {
				/* Parses and keeps the extensions. */
				cause = "an extension of a certificate is damaged or doubled";
				if (X509_check_purpose(certificate, -1, -1) == 1)
					return S2SP_CERTIFICATE_VALID;
			}
		}
	}
	if (s2sp_openssl_drain())
		return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, "out of memory", -1);
	return conclude(judgement, S2SP_CERTIFICATE_MALFORMED, cause, depth);
}

static enum s2sp_certificate_verdict read_chain(struct judgement *judgement) {
	const struct s2sp_certificate_question *question = judgement->question;
	if (question->chain_length == 0)
		return conclude(judgement, S2SP_CERTIFICATE_NO_CERTIFICATE, "the peer presented no certificate", -1);
	if (question->chain_length > S2SP_CHAIN_LENGTH_MAX)
		return conclude(judgement, S2SP_CERTIFICATE_MALFORMED, "the peer presented more than 20 certificates", -1);
	size_t total = 0;
	for (size_t i = 0; i < question->chain_length; i++) {
		total += question->chain[i].length < S2SP_CHAIN_SIZE_MAX ? question->chain[i].length : S2SP_CHAIN_SIZE_MAX;
		if (total > S2SP_CHAIN_SIZE_MAX)
			return conclude(judgement, S2SP_CERTIFICATE_MALFORMED, "the certificates are larger than 256 KiB", -1);
	}
	for (size_t i = 0; i < question->chain_length; i++) {
		enum s2sp_certificate_verdict verdict = read_certificate(judgement, question->chain[i], (int)i);
		if (verdict != S2SP_CERTIFICATE_VALID)
			return verdict;
	}
	if (s2sp_openssl_subject_names(judgement->presented[0], &judgement->names) == S2SP_STATUS_OK)
		return S2SP_CERTIFICATE_VALID;
	if (s2sp_openssl_drain())
		return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, "out of memory", -1);
	return conclude(judgement, S2SP_CERTIFICATE_MALFORMED, "the subjectAltName is damaged or has more than 2000 names", 0);
}

/* Dates are noted and passed over, so that an untrusted chain is told to be that even if it has expired too. */
static int note_fault(int ok, X509_STORE_CTX *path) {
	struct judgement *judgement = X509_STORE_CTX_get_app_data(path);
	int error = ok ? X509_V_OK : X509_STORE_CTX_get_error(path);
	if (error == X509_V_OK)
		return 1;
	bool date = error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
	/* The worst so far keeps its depth: any other fault, then expired, then not yet valid. */
	bool worst =
		!date || (error == X509_V_ERR_CERT_HAS_EXPIRED ? !judgement->expired : !judgement->expired && !judgement->not_yet_valid);
	if (worst && judgement->report != NULL)
		judgement->report->fault_depth = X509_STORE_CTX_get_error_depth(path);
	if (!date) {
		judgement->fault = error;
		return 0;
	}
	judgement->expired = judgement->expired || error == X509_V_ERR_CERT_HAS_EXPIRED;
	judgement->not_yet_valid = judgement->not_yet_valid || error == X509_V_ERR_CERT_NOT_YET_VALID;
	return 1;
}

static bool prepare_path(struct judgement *judgement) {
	judgement->others = sk_X509_new_null();
	judgement->path = X509_STORE_CTX_new();
	if (judgement->others == NULL || judgement->path == NULL)
		return false;
	for (size_t i = 1; i < judgement->count; i++) {
		if (sk_X509_push(judgement->others, judgement->presented[i]) == 0)
			return false;
	}
	const struct s2sp_trust_store *store = judgement->question->store;
	if (X509_STORE_CTX_init(judgement->path, store->store, judgement->presented[0], judgement->others) != 1 ||
		X509_STORE_CTX_set_app_data(judgement->path, judgement) != 1)
		return false;
	X509_STORE_CTX_set_verify_cb(judgement->path, note_fault);

	X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(judgement->path);
	X509_VERIFY_PARAM_set_time(rules, (time_t)judgement->question->now);
	X509_VERIFY_PARAM_set_depth(rules, S2SP_CHAIN_DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(rules, 2);
	/* Else name constraints would be applied to the common name, which is not a name here. */
	X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	/*
	 * Not X509_V_FLAG_X509_STRICT: it refuses CAs without keyUsage or key identifiers, as many private ones are. What the
	 * specs rely on, basic constraints of intermediates and named curves, OpenSSL 3 demands anyway.
	 */
	return !store->anchors || X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN) == 1;
}

/* What OpenSSL leaves to others; NULL when there is nothing to object to. */
static const char *object(const struct judgement *judgement, int *depth) {
	/* RFC 5280 4.2.1.3; all ones when there is no such extension. */
	*depth = 0;
	if ((X509_get_key_usage(judgement->presented[0]) & KU_DIGITAL_SIGNATURE) == 0)
		return "the certificate's key usage does not allow digital signatures";
	/*
	 * Constraints on dNSName bind the domain in whatever form it is presented: OpenSSL knows them for dNSName only, and lets a
	 * wildcard through whose expansion is excluded.
	 */
	int count = sk_X509_num(judgement->chain);
	for (*depth = 1; *depth < count && judgement->identified; ++*depth) {
		if (!s2sp_openssl_permits(sk_X509_value(judgement->chain, *depth), judgement->question->domain))
			return "an issuer's name constraints do not permit the domain";
	}
	return NULL;
}

static enum s2sp_certificate_verdict verdict_of_fault(struct judgement *judgement) {
	const char *cause = X509_verify_cert_error_string(judgement->fault);
	int depth = judgement->report == NULL ? -1 : judgement->report->fault_depth;
	switch (judgement->fault) { /* an int */
	case X509_V_ERR_OUT_OF_MEM:
	case X509_V_ERR_INVALID_CALL:
	case X509_V_ERR_STORE_LOOKUP: return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, cause, -1);
	case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
	case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
	case X509_V_ERR_INVALID_EXTENSION: return conclude(judgement, S2SP_CERTIFICATE_MALFORMED, cause, depth);
	default: /* every other way not to lead to an anchor */ return conclude(judgement, S2SP_CERTIFICATE_UNTRUSTED, cause, depth);
	}
}

/* RFC 5280 6.1; VALID means that the chain leads to an anchor and that `chain` is set, dates left aside. */
static enum s2sp_certificate_verdict verify(struct judgement *judgement) {
	if (judgement->question->store == NULL)
		return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, "there is no trust store", -1);
	if (!prepare_path(judgement))
		return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, "out of memory", -1);
	int status = X509_verify_cert(judgement->path);
	bool memory = s2sp_openssl_drain();
	if (judgement->fault != X509_V_OK)
		return verdict_of_fault(judgement);
	if (status != 1)
		return conclude(judgement, memory ? S2SP_CERTIFICATE_UNKNOWN : S2SP_CERTIFICATE_UNTRUSTED,
						memory ? "out of memory" : X509_verify_cert_error_string(X509_STORE_CTX_get_error(judgement->path)), -1);
	judgement->chain = X509_STORE_CTX_get0_chain(judgement->path);
	if (sk_X509_num(judgement->chain) < 1) {
		judgement->chain = NULL;
		return conclude(judgement, S2SP_CERTIFICATE_UNKNOWN, "no chain", -1);
	}
	/* Not before: of a certificate that anybody can make no name is looked at. */
	judgement->identified = s2sp_openssl_identify(judgement->names, judgement->question, judgement->report);
	int depth = 0;
	const char *objection = object(judgement, &depth);
	if (objection != NULL)
		return conclude(judgement, S2SP_CERTIFICATE_UNTRUSTED, objection, depth);
	judgement->verified = true;
	return S2SP_CERTIFICATE_VALID;
}

static bool is_pinned(const struct judgement *judgement) {
	for (int i = 0; i < sk_X509_num(judgement->chain); i++) {
		struct s2sp_pin pin;
		if (!s2sp_openssl_pin(sk_X509_value(judgement->chain, i), &pin))
			continue;
		for (size_t p = 0; p < judgement->question->pin_count; p++) {
			if (memcmp(pin.sha256, judgement->question->pins[p].sha256, sizeof(pin.sha256)) == 0)
				return true;
		}
	}
	return false;
}

static enum s2sp_certificate_verdict decide(struct judgement *judgement) {
	enum s2sp_certificate_verdict verdict = read_chain(judgement);
	if (verdict != S2SP_CERTIFICATE_VALID)
		return verdict;
	verdict = verify(judgement);
	if (judgement->chain == NULL && judgement->report != NULL)
		s2sp_openssl_list_names(judgement->names, judgement->report);
	if (verdict != S2SP_CERTIFICATE_VALID)
		return verdict;
	int depth = judgement->report == NULL ? -1 : judgement->report->fault_depth;
	if (judgement->expired)
		return conclude(judgement, S2SP_CERTIFICATE_EXPIRED, "a certificate of the chain has expired", depth);
	if (judgement->not_yet_valid)
		return conclude(judgement, S2SP_CERTIFICATE_NOT_YET_VALID, "a certificate of the chain is not valid yet", depth);
	const char *cause = "";
	verdict = s2sp_revocation_judge(judgement->question, judgement->chain, judgement->report, &cause, &depth);
	if (verdict != S2SP_CERTIFICATE_VALID)
		return conclude(judgement, verdict, cause, depth);
	if (!judgement->identified)
		return conclude(judgement, S2SP_CERTIFICATE_IDENTITY_MISMATCH, "no name of the certificate is the domain", 0);
	if (judgement->question->pin_count > 0 && !is_pinned(judgement))
		return conclude(judgement, S2SP_CERTIFICATE_PIN_MISMATCH, "no key of the verified chain is a pinned one", -1);
	return conclude(judgement, S2SP_CERTIFICATE_VALID, "the certificate is good", -1);
}

static void report_pin(struct s2sp_certificate_report *report, const X509 *certificate, bool repeat) {
	struct s2sp_pin pin;
	if (report->pin_count >= sizeof(report->pins) / sizeof(report->pins[0]) || !s2sp_openssl_pin(certificate, &pin))
		return;
	for (size_t i = 0; i < report->pin_count && !repeat; i++) {
		if (memcmp(report->pins[i].sha256, pin.sha256, sizeof(pin.sha256)) == 0)
			return;
	}
	report->pins[report->pin_count++] = pin;
}

static void report_expiry(struct s2sp_certificate_report *report, const X509 *certificate) {
	int64_t not_after = s2sp_openssl_time(X509_get0_notAfter(certificate));
	if (not_after != 0 && (report->chain_not_after == 0 || not_after < report->chain_not_after))
		report->chain_not_after = not_after;
}

static void report_leaf(struct s2sp_certificate_report *report, const X509 *leaf) {
	static const char digits[] = "0123456789ABCDEF";
	s2sp_openssl_name(X509_get_subject_name(leaf), report->subject, sizeof(report->subject));
	s2sp_openssl_name(X509_get_issuer_name(leaf), report->issuer, sizeof(report->issuer));
	report->not_before = s2sp_openssl_time(X509_get0_notBefore(leaf));
	report->not_after = s2sp_openssl_time(X509_get0_notAfter(leaf));
	const ASN1_INTEGER *serial = X509_get0_serialNumber(leaf);
	const unsigned char *bytes = ASN1_STRING_get0_data(serial);
	size_t used = 0;
	for (int i = 0; i < ASN1_STRING_length(serial) && used + 2 < sizeof(report->serial); i++) {
		report->serial[used++] = digits[bytes[i] >> 4];
		report->serial[used++] = digits[bytes[i] & 15];
	}
}

static void report_chain(const struct judgement *judgement) {
	struct s2sp_certificate_report *report = judgement->report;
	if (judgement->count > 0)
		report_leaf(report, judgement->presented[0]);
	for (size_t i = 0; i < judgement->count; i++) {
		report_pin(report, judgement->presented[i], true);
		if (!judgement->verified)
			report_expiry(report, judgement->presented[i]);
	}
	for (int i = 0; judgement->verified && i < sk_X509_num(judgement->chain); i++) {
		report_pin(report, sk_X509_value(judgement->chain, i), false);
		report_expiry(report, sk_X509_value(judgement->chain, i));
	}
	if (judgement->verified)
		s2sp_revocation_links(judgement->chain, report);
}

static void judgement_end(struct judgement *judgement) {
	X509_STORE_CTX_free(judgement->path);
	sk_X509_free(judgement->others);
	GENERAL_NAMES_free(judgement->names);
	for (size_t i = 0; i < judgement->count; i++)
		X509_free(judgement->presented[i]);
}

enum s2sp_certificate_verdict s2sp_certificate_judge(const struct s2sp_certificate_question *question,
													 struct s2sp_certificate_report *report) {
	struct judgement judgement = { .question = question, .report = report };
	if (report != NULL) {
		memset(report, 0, sizeof(*report));
		report->cause = "";
		report->fault_depth = -1;
		report->presented = question->chain_length;
	}
	ERR_clear_error();
	enum s2sp_certificate_verdict verdict = decide(&judgement);
	if (report != NULL)
		report_chain(&judgement);
	judgement_end(&judgement);
	ERR_clear_error();
	return verdict;
}
