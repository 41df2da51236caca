/* What revocation lists say of a chain. Each list is one voice: any that counts can revoke, and one that covers is enough. */
#include <string.h>

#include <openssl/err.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

bool s2sp_openssl_name_hash(const X509_NAME *name, uint32_t *hash) {
	int made = 0;
	*hash = (uint32_t)X509_NAME_hash_ex(name, NULL, NULL, &made);
	return made == 1;
}

/* The contents of `serial` as DER has them, into `bytes`; its length, 0 when it is longer than `capacity` or out of memory. */
static size_t copy_serial(const ASN1_INTEGER *serial, unsigned char *bytes, size_t capacity) {
	unsigned char *der = NULL;
	int size = i2d_ASN1_INTEGER(serial, &der);
	const unsigned char *at = der;
	long length = 0;
	int tag, class;
	size_t used = 0;
	if (size > 0 && !(ASN1_get_object(&at, &length, &tag, &class, size) & 0x80) && length > 0 && (size_t)length <= capacity) {
		used = (size_t)length;
		memcpy(bytes, at, used);
	}
	OPENSSL_free(der);
	return used;
}

/*
 * An authority makes both the list and the certificate; so that the one cannot be multiplied by the other, no more names are compared for one
 * certificate. What is not found by then is taken for another point, which takes cover away and revokes nobody less.
 */
#define NAMES_COMPARED_MAX 10000

static bool share_a_name(const DIST_POINT_NAME *one, const DIST_POINT_NAME *other, size_t *left) {
	if (one == NULL || other == NULL || one->type != 0 || other->type != 0) /* 0: full names; relative ones nobody uses */
		return false;
	/* Without a name in the other point there is nothing to compare, however many names the first point has. */
	if (sk_GENERAL_NAME_num(other->name.fullname) <= 0)
		return false;
	for (int i = 0; i < sk_GENERAL_NAME_num(one->name.fullname); i++) {
		for (int j = 0; j < sk_GENERAL_NAME_num(other->name.fullname); j++) {
			if (*left == 0)
				return false;
			--*left;
			if (GENERAL_NAME_cmp(sk_GENERAL_NAME_value(one->name.fullname, i), sk_GENERAL_NAME_value(other->name.fullname, j)) ==
				0)
				return true;
		}
	}
	return false;
}

/* RFC 5280 4.1.2.2: 20 bytes. */
#define SERIAL_MAX 256

struct coverage {
	int64_t now;
	X509 *certificate, *issuer;
	size_t *signatures;      /* that may still be verified for this chain */
	CRL_DIST_POINTS *points; /* of the certificate, once `points_read` */
	bool points_read;
	size_t names_left;
	uint32_t issuer_hash;
	size_t serial_length;
	unsigned char serial[SERIAL_MAX];
	/* what came of it */
	bool revoked, covered;
	const char *cause; /* why not covered */
	int64_t until;     /* 0: for ever */
};

static void note_time(struct coverage *coverage, int64_t time) {
	if (time > coverage->now && (coverage->until == 0 || time < coverage->until))
		coverage->until = time;
}

/* RFC 5280 6.3.3 (b)(2): whether the part of an authority's certificates that the list is about has this one in it. */
static bool is_in_scope(struct coverage *coverage, const ISSUING_DIST_POINT *idp) {
	if (idp == NULL)
		return true;
	bool authority = X509_check_ca(coverage->certificate) > 0;
	if ((idp->onlyuser > 0 && authority) || (idp->onlyCA > 0 && !authority))
		return false;
	if (idp->distpoint == NULL)
		return true;
	if (!coverage->points_read)
		coverage->points = X509_get_ext_d2i(coverage->certificate, NID_crl_distribution_points, NULL, NULL);
	coverage->points_read = true;
	bool shared = false;
	for (int i = 0; coverage->points != NULL && i < sk_DIST_POINT_num(coverage->points) && !shared; i++)
		shared = share_a_name(idp->distpoint, sk_DIST_POINT_value(coverage->points, i)->distpoint, &coverage->names_left);
	return shared;
}

/* Why the list, if it is good, is not all that there is to know of the certificate; NULL: it is. */
static const char *incomplete(struct coverage *coverage, const struct s2sp_crl *list) {
	if (list->delta)
		return "there is only a delta revocation list of its issuer";
	if (list->next_update == 0)
		return "the revocation list of its issuer does not say when there will be another";
	if ((list->idp != NULL && list->idp->onlysomereasons != NULL) || !is_in_scope(coverage, list->idp))
		return "the revocation list of its issuer is a partial one, about other certificates or reasons";
	return NULL;
}

/* What one list of the certificate's issuer says. OK or NO_MEMORY. */
static enum s2sp_status ask(struct coverage *coverage, struct s2sp_crl *list) {
	bool good = false;
	coverage->cause = list->useless;
	if (list->useless != NULL)
		return S2SP_STATUS_OK;
	note_time(coverage, list->this_update);
	note_time(coverage, list->next_update);
	coverage->cause = "the revocation list of its issuer is not valid yet";
	if (list->this_update > coverage->now)
		return S2SP_STATUS_OK;
	coverage->cause = "the revocation list of its issuer has expired";
	if (list->next_update != 0 && list->next_update <= coverage->now)
		return S2SP_STATUS_OK;
	/* RFC 5280 6.3.3 (f); all ones where there is no such extension. */
	coverage->cause = "the key usage of its issuer does not allow the signing of revocation lists";
	if ((X509_get_key_usage(coverage->issuer) & KU_CRL_SIGN) == 0)
		return S2SP_STATUS_OK;
	const struct s2sp_text serial = { (const char *)coverage->serial, coverage->serial_length };
	bool mentioned = s2sp_index_find(&list->serials, 0, serial) != S2SP_INDEX_NONE;
	coverage->cause = incomplete(coverage, list);
	bool covers = coverage->cause == NULL;
	/* A signature costs more than all the rest: it is verified only where something depends on it. */
	if (!mentioned && (!covers || coverage->covered))
		return S2SP_STATUS_OK;
	if (covers)
		coverage->cause = "the revocation list of its issuer is not signed by the issuer's key";
	enum s2sp_status status = s2sp_crl_is_signed(list, coverage->issuer, coverage->signatures, &good);
	if (status != S2SP_STATUS_OK || !good)
		return status;
	coverage->revoked = coverage->revoked || mentioned;
	coverage->covered = coverage->covered || covers;
	return S2SP_STATUS_OK;
}

/* OK, NO_MEMORY, FAILED for signatures without end, or INVALID for a serial number that is too long to be looked for. */
static enum s2sp_status gather(struct coverage *coverage, const struct s2sp_certificate_question *question) {
	const X509_NAME *name = X509_get_issuer_name(coverage->certificate);
	if (!s2sp_openssl_name_hash(name, &coverage->issuer_hash))
		return S2SP_STATUS_NO_MEMORY;
	coverage->serial_length =
		copy_serial(X509_get0_serialNumber(coverage->certificate), coverage->serial, sizeof(coverage->serial));
	if (coverage->serial_length == 0)
		return s2sp_openssl_drain() ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
	coverage->cause = "there is no revocation list of its issuer";
	for (size_t i = 0; i < question->crl_count; i++) {
		const struct s2sp_crl_file *file = question->crls[i];
		for (size_t j = 0; j < file->count; j++) {
			struct s2sp_crl *list = file->lists[j];
			int order = list->issuer == coverage->issuer_hash ? X509_NAME_cmp(X509_CRL_get_issuer(list->head), name) : 1;
			if (order == -2)
				return S2SP_STATUS_NO_MEMORY;
			enum s2sp_status status = order == 0 ? ask(coverage, list) : S2SP_STATUS_OK;
			if (status != S2SP_STATUS_OK)
				return status;
		}
	}
	return S2SP_STATUS_OK;
}

static void report_uncovered(struct s2sp_certificate_report *report, const struct coverage *coverage, int depth) {
	if (report == NULL || report->uncovered != NULL)
		return;
	report->uncovered = coverage->cause;
	report->uncovered_depth = depth;
	s2sp_openssl_name(X509_get_issuer_name(coverage->certificate), report->uncovered_issuer, sizeof(report->uncovered_issuer));
}

/* Signatures that one chain has verified, those that are known not counted. */
#define SIGNATURES_MAX 32

static enum s2sp_certificate_verdict conclude_all(const struct s2sp_certificate_question *question, const char *uncovered,
												  const char **cause) {
	switch (question->revocation) {
	case S2SP_REVOCATION_UNSET:
	case S2SP_REVOCATION_OFF:
	case S2SP_REVOCATION_IF_KNOWN: return S2SP_CERTIFICATE_VALID;
	case S2SP_REVOCATION_REQUIRED:
		*cause = uncovered;
		return uncovered == NULL ? S2SP_CERTIFICATE_VALID : S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
	}
	*cause = "an unknown kind of revocation";
	return S2SP_CERTIFICATE_UNKNOWN;
}

enum s2sp_certificate_verdict s2sp_revocation_judge(const struct s2sp_certificate_question *question, STACK_OF(X509) * chain,
													struct s2sp_certificate_report *report, const char **cause, int *depth) {
	const char *uncovered = NULL;
	int count = sk_X509_num(chain), uncovered_depth = -1;
	size_t signatures = SIGNATURES_MAX;
	if (question->revocation == S2SP_REVOCATION_UNSET || question->revocation == S2SP_REVOCATION_OFF)
		return S2SP_CERTIFICATE_VALID;
	for (int i = 0; i + 1 < count; i++) {
		struct coverage coverage = { .now = question->now,
									 .certificate = sk_X509_value(chain, i),
									 .issuer = sk_X509_value(chain, i + 1),
									 .signatures = &signatures,
									 .names_left = NAMES_COMPARED_MAX };
		enum s2sp_status status = gather(&coverage, question);
		CRL_DIST_POINTS_free(coverage.points);
		s2sp_openssl_drain();
		*depth = i;
		*cause = "its serial number is longer than 256 bytes";
		if (status == S2SP_STATUS_INVALID)
			return S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
		*cause =
			"too many signatures of revocation lists are to be verified for it: a list knows 16 keys, a chain has 32 verified";
		if (status == S2SP_STATUS_FAILED)
			return S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
		*cause = "out of memory";
		if (status != S2SP_STATUS_OK)
			return S2SP_CERTIFICATE_UNKNOWN;
		if (report != NULL && coverage.until != 0 && (report->revocation_until == 0 || coverage.until < report->revocation_until))
			report->revocation_until = coverage.until;
		*cause = "its issuer has revoked it";
		if (coverage.revoked)
			return S2SP_CERTIFICATE_REVOKED;
		if (!coverage.covered) {
			report_uncovered(report, &coverage, i);
			uncovered_depth = uncovered == NULL ? i : uncovered_depth;
			uncovered = uncovered == NULL ? coverage.cause : uncovered;
		}
	}
	*depth = uncovered_depth;
	return conclude_all(question, uncovered, cause);
}

void s2sp_revocation_links(STACK_OF(X509) * chain, struct s2sp_certificate_report *report) {
	int count = sk_X509_num(chain);
	for (int i = 0; i + 1 < count; i++) {
		X509 *certificate = sk_X509_value(chain, i);
		unsigned char *link = report->links + report->link_bytes;
		if (sizeof(report->links) - report->link_bytes < 5 + S2SP_LINK_SERIAL_MAX)
			return;
		uint32_t issuer;
		if (!s2sp_openssl_name_hash(X509_get_issuer_name(certificate), &issuer)) {
			report->links[0] = 0; /* cannot be read, so it may be anything */
			report->link_bytes = 1;
			return;
		}
		memcpy(link, &issuer, sizeof(issuer));
		link[4] = (unsigned char)copy_serial(X509_get0_serialNumber(certificate), link + 5, S2SP_LINK_SERIAL_MAX);
		report->link_bytes += 5u + link[4];
	}
}

bool s2sp_revocation_each_link(struct s2sp_text links, bool (*visit)(const void *with, uint32_t issuer, struct s2sp_text serial),
							   const void *with) {
	while (links.length >= 5) {
		uint32_t issuer;
		size_t length = (unsigned char)links.bytes[4];
		memcpy(&issuer, links.bytes, sizeof(issuer));
		if (length > links.length - 5 || visit(with, issuer, (struct s2sp_text){ links.bytes + 5, length }))
			return true; /* what cannot be read may be anything */
		links.bytes += 5 + length;
		links.length -= 5 + length;
	}
	return links.length > 0;
}
