/* What partners could object to in our own chain: the judgement of a peer's, and what it does not say. */
#include <string.h>

#include <openssl/evp.h>

#include "certificate_openssl.h"
#include "certificate_own.h"

const char *s2sp_own_fault_token(enum s2sp_own_fault fault) {
	static const char *const tokens[S2SP_OWN_FAULTS] = {
		[S2SP_OWN_FAULT_NONE] = "none",
		[S2SP_OWN_MISSING_ISSUER] = "missing-issuer",
		[S2SP_OWN_UNKNOWN_AUTHORITY] = "unknown-authority",
		[S2SP_OWN_SELF_SIGNED] = "self-signed",
		[S2SP_OWN_WRONG_ORDER] = "wrong-order",
		[S2SP_OWN_STRANGER] = "stranger",
		[S2SP_OWN_KEY_USAGE] = "key-usage",
		[S2SP_OWN_NOT_FOR_SERVERS] = "not-for-servers",
		[S2SP_OWN_SERVERS_ONLY] = "servers-only",
		[S2SP_OWN_EXPIRED] = "expired",
		[S2SP_OWN_NOT_YET_VALID] = "not-yet-valid",
		[S2SP_OWN_OTHER] = "other",
	};
	return (size_t)fault < S2SP_OWN_FAULTS ? tokens[fault] : tokens[S2SP_OWN_FAULT_NONE];
}

struct file {
	X509 *certificates[S2SP_CHAIN_LENGTH_MAX];
	size_t count;
	bool in_chain[S2SP_CHAIN_LENGTH_MAX];
	size_t top; /* the last one that a chain from the first leads to */
	int64_t now;
	struct s2sp_own_chain *own;
};

/* The caIssuers of RFC 5280 4.2.2.1, the first that is a URI. */
static void write_source(const X509 *certificate, char *text, size_t size) {
	AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
	for (int i = 0; access != NULL && i < sk_ACCESS_DESCRIPTION_num(access) && text[0] == '\0'; i++) {
		const ACCESS_DESCRIPTION *one = sk_ACCESS_DESCRIPTION_value(access, i);
		if (OBJ_obj2nid(one->method) != NID_ad_ca_issuers || one->location->type != GEN_URI)
			continue;
		const ASN1_IA5STRING *uri = one->location->d.uniformResourceIdentifier;
		const struct s2sp_text bytes = { (const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri) };
		s2sp_append_printable(text, size, bytes);
	}
	AUTHORITY_INFO_ACCESS_free(access);
}

static struct s2sp_own_finding *add(struct file *file, enum s2sp_own_fault fault, size_t at) {
	struct s2sp_own_chain *own = file->own;
	if (own->finding_count == S2SP_OWN_FINDINGS)
		return NULL;
	struct s2sp_own_finding *finding = &own->findings[own->finding_count++];
	finding->fault = fault;
	if (at >= file->count)
		return finding;
	const X509 *certificate = file->certificates[at];
	finding->certificate = at + 1;
	s2sp_openssl_name(X509_get_subject_name(certificate), finding->subject, sizeof(finding->subject));
	s2sp_openssl_name(X509_get_issuer_name(certificate), finding->issuer, sizeof(finding->issuer));
	finding->not_before = s2sp_openssl_time(X509_get0_notBefore(certificate));
	finding->not_after = s2sp_openssl_time(X509_get0_notAfter(certificate));
	return finding;
}

static bool has_issued(X509 *issuer, X509 *certificate) {
	return X509_check_issued(issuer, certificate) == X509_V_OK;
}

/* Its own issuer, whatever its key may be used for. */
static bool is_self_signed(X509 *certificate) {
	return (X509_get_extension_flags(certificate) & EXFLAG_SS) != 0;
}

/* Follows the issuers through the file, each certificate once. */
static void follow(struct file *file) {
	bool more = true;
	file->in_chain[0] = true;
	while (more) {
		more = false;
		X509 *last = file->certificates[file->top];
		for (size_t i = 1; i < file->count && !more && !is_self_signed(last); i++) {
			if (file->in_chain[i] || !has_issued(file->certificates[i], last))
				continue;
			file->in_chain[i] = more = true;
			file->top = i;
		}
	}
}

/* A certificate that stands twice, the first one included, is in the chain as well. */
static bool is_repeated(const struct file *file, size_t at) {
	for (size_t i = 0; i < at; i++) {
		if (X509_cmp(file->certificates[i], file->certificates[at]) == 0)
			return true;
	}
	return false;
}

static void check_order(struct file *file) {
	for (size_t i = 1; i < file->count; i++) {
		if (!file->in_chain[i]) {
			if (!is_repeated(file, i))
				add(file, S2SP_OWN_STRANGER, i);
		} else if (!has_issued(file->certificates[i], file->certificates[i - 1])) {
			add(file, S2SP_OWN_WRONG_ORDER, i);
		}
	}
}

static void check_dates(struct file *file) {
	for (size_t i = 1; i < file->count; i++) {
		if (!file->in_chain[i])
			continue;
		if (s2sp_openssl_time(X509_get0_notAfter(file->certificates[i])) <= file->now)
			add(file, S2SP_OWN_EXPIRED, i);
		else if (s2sp_openssl_time(X509_get0_notBefore(file->certificates[i])) > file->now)
			add(file, S2SP_OWN_NOT_YET_VALID, i);
	}
}

static void check_usage(struct file *file) {
	X509 *leaf = file->certificates[0];
	if ((X509_get_key_usage(leaf) & KU_DIGITAL_SIGNATURE) == 0)
		add(file, S2SP_OWN_KEY_USAGE, 0);
	uint32_t usage = X509_get_extended_key_usage(leaf); /* all ones when there is no such extension */
	if ((usage & (XKU_SSL_SERVER | XKU_ANYEKU)) == 0)
		add(file, S2SP_OWN_NOT_FOR_SERVERS, 0);
	else if ((usage & (XKU_SSL_CLIENT | XKU_ANYEKU)) == 0)
		add(file, S2SP_OWN_SERVERS_ONLY, 0);
}

/* The chain does not end where it should; false when that is not what is wrong. */
static bool check_end(struct file *file, int error_depth) {
	X509 *last = file->certificates[file->top];
	bool ends_itself = is_self_signed(last);
	if (ends_itself && file->top == 0) {
		add(file, S2SP_OWN_SELF_SIGNED, 0);
	} else if (ends_itself) {
		add(file, S2SP_OWN_UNKNOWN_AUTHORITY, file->top);
	} else if (error_depth >= 0) {
		struct s2sp_own_finding *finding = add(file, S2SP_OWN_MISSING_ISSUER, file->top);
		if (finding != NULL)
			write_source(last, finding->source, sizeof(finding->source));
	} else {
		return false;
	}
	return true;
}

static void check_verdict(struct file *file, const struct s2sp_certificate_report *report, bool ends) {
	size_t before = file->own->finding_count;
	check_usage(file);
	check_dates(file);
	bool told = file->own->finding_count > before || !ends;
	/* Names, dates of the first one and its key are told by s2sp_own_certificate_read. */
	if (report->verdict == S2SP_CERTIFICATE_UNTRUSTED && !told)
		add(file, S2SP_OWN_OTHER, report->fault_depth < 0 ? file->count : (size_t)report->fault_depth);
	else if (report->verdict == S2SP_CERTIFICATE_EXPIRED && report->fault_depth > 0 && !told)
		add(file, S2SP_OWN_EXPIRED, file->count); /* the authority itself */
}

/* Whether the chain fails because its end is missing, as OpenSSL says. */
static bool lacks_end(const struct s2sp_certificate_report *report) {
	static const int errors[] = { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
								  X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
								  X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN };
	if (report->verdict != S2SP_CERTIFICATE_UNTRUSTED)
		return false;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (strcmp(report->cause, X509_verify_cert_error_string(errors[i])) == 0)
			return true;
	}
	return false;
}

static enum s2sp_status read_all(struct file *file, const struct s2sp_text *chain, size_t count) {
	if (count == 0 || count > S2SP_CHAIN_LENGTH_MAX)
		return S2SP_STATUS_INVALID;
	while (file->count < count) {
		const unsigned char *bytes = (const unsigned char *)chain[file->count].bytes;
		size_t length = chain[file->count].length;
		X509 *certificate = length == 0 || length > S2SP_CERTIFICATE_SIZE_MAX ? NULL : d2i_X509(NULL, &bytes, (long)length);
		if (certificate == NULL)
			return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
		file->certificates[file->count++] = certificate;
		if (X509_check_purpose(certificate, -1, -1) != 1)
			return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
	}
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_own_chain_judge(const struct s2sp_text *chain, size_t count, const struct s2sp_trust_store *store,
									  struct s2sp_text domain, s2sp_domain_to_ascii *to_ascii, int64_t now,
									  struct s2sp_own_chain *own) {
	struct file file = { .own = own, .now = now };
	memset(own, 0, sizeof(*own));
	own->cause = "";
	s2sp_openssl_drain();
	struct s2sp_certificate_report *report = OPENSSL_zalloc(sizeof(*report));
	enum s2sp_status status = report == NULL ? S2SP_STATUS_NO_MEMORY : read_all(&file, chain, count);
	if (status == S2SP_STATUS_OK) {
		const struct s2sp_certificate_question question = {
			.chain = chain, .chain_length = count, .store = store, .domain = domain, .to_ascii = to_ascii, .now = now
		};
		own->verdict = s2sp_certificate_judge(&question, report);
		own->cause = report->cause;
		status = own->verdict == S2SP_CERTIFICATE_UNKNOWN ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_OK;
	}
	if (status == S2SP_STATUS_OK) {
		follow(&file);
		bool ends = !lacks_end(report) || !check_end(&file, report->fault_depth);
		check_order(&file);
		check_verdict(&file, report, ends);
	}
	for (size_t i = 0; i < file.count; i++)
		X509_free(file.certificates[i]);
	OPENSSL_free(report);
	s2sp_openssl_drain();
	return status;
}
