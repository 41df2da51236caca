/* The names of a certificate: extracted, matched, written down. */
#include <string.h>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/objects.h>

#include "ascii.h"
#include "certificate_openssl.h"

void s2sp_append_printable(char *text, size_t size, struct s2sp_text bytes) {
	static const char digits[] = "0123456789ABCDEF";
	size_t used = strlen(text);
	for (size_t i = 0; i < bytes.length; i++) {
		unsigned char c = (unsigned char)bytes.bytes[i];
		bool plain = c >= 0x20 && c < 0x7f && c != '\\';
		if (used + (plain ? 1 : 3) >= size)
			break;
		if (plain) {
			text[used++] = (char)c;
		} else {
			text[used++] = '\\';
			text[used++] = digits[c >> 4];
			text[used++] = digits[c & 15];
		}
	}
	text[used] = '\0';
}

void s2sp_openssl_name(const X509_NAME *name, char *text, size_t size) {
	text[0] = '\0';
	BIO *bio = BIO_new(BIO_s_mem());
	/* XN_FLAG_RFC2253 escapes control and non-ASCII characters itself; a backslash in its output is meant. */
	if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
		char *bytes = NULL;
		long length = BIO_get_mem_data(bio, &bytes);
		size_t kept = 0;
		for (long i = 0; i < length && kept + 1 < size; i++)
			text[kept++] = bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '?';
		text[kept] = '\0';
	}
	BIO_free(bio);
}

enum s2sp_status s2sp_openssl_subject_names(const X509 *leaf, GENERAL_NAMES **names) {
	int critical = 0;
	*names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	if (*names == NULL)
		return critical == -1 ? S2SP_STATUS_OK : S2SP_STATUS_INVALID; /* -1: not there; else twice, or damaged */
	if (sk_GENERAL_NAME_num(*names) <= S2SP_SUBJECT_NAMES_MAX)
		return S2SP_STATUS_OK;
	GENERAL_NAMES_free(*names);
	*names = NULL;
	return S2SP_STATUS_INVALID;
}

static struct s2sp_text string_of(const ASN1_STRING *string) {
	int length = ASN1_STRING_length(string);
	return (struct s2sp_text){ (const char *)ASN1_STRING_get0_data(string), length < 0 ? 0 : (size_t)length };
}

/* RFC 4985 2 and RFC 6120 13.7.1.4 fix one string type each; in another type the same bytes are another name. */
static struct s2sp_identifier other_name(const OTHERNAME *name) {
	static const struct {
		int nid, string_type;
		enum s2sp_identifier_type type;
	} forms[] = {
		{ NID_SRVName, V_ASN1_IA5STRING, S2SP_IDENTIFIER_SRV },
		{ NID_XmppAddr, V_ASN1_UTF8STRING, S2SP_IDENTIFIER_XMPP_ADDR },
	};
	struct s2sp_identifier identifier = { S2SP_IDENTIFIER_OTHER, { NULL, 0 } };
	int nid = OBJ_obj2nid(name->type_id);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (nid != forms[i].nid)
			continue;
		int type = ASN1_TYPE_get(name->value);
		if (type == V_ASN1_IA5STRING || type == V_ASN1_UTF8STRING || type == V_ASN1_BMPSTRING || type == V_ASN1_PRINTABLESTRING)
			identifier.value = string_of(name->value->value.asn1_string);
		if (type == forms[i].string_type)
			identifier.type = forms[i].type;
	}
	return identifier;
}

static struct s2sp_identifier identifier_of(const GENERAL_NAME *name) {
	struct s2sp_identifier identifier = { S2SP_IDENTIFIER_OTHER, { NULL, 0 } };
	switch (name->type) { /* an int */
	case GEN_DNS:
		identifier.type = S2SP_IDENTIFIER_DNS;
		identifier.value = string_of(name->d.dNSName);
		break;
	case GEN_OTHERNAME: identifier = other_name(name->d.otherName); break;
	case GEN_EMAIL: identifier.value = string_of(name->d.rfc822Name); break;
	case GEN_URI: identifier.value = string_of(name->d.uniformResourceIdentifier); break;
	default: /* iPAddress, directoryName, ...: counted, without a text */ break;
	}
	return identifier;
}

/* The last place is kept for a name that matches. */
static void record(struct s2sp_certificate_report *report, struct s2sp_identifier identifier,
				   enum s2sp_identity_finding finding) {
	size_t places = finding == S2SP_IDENTITY_MATCH ? S2SP_REPORT_NAMES : S2SP_REPORT_NAMES - 1;
	size_t room = sizeof(report->bytes) - (finding == S2SP_IDENTITY_MATCH ? 0 : S2SP_REPORT_TEXT);
	report->name_count++;
	if (report->names_kept >= places || report->bytes_used + 1 >= room)
		return;
	char *text = report->bytes + report->bytes_used;
	size_t size = room - report->bytes_used;
	text[0] = '\0';
	s2sp_append_printable(text, size < S2SP_REPORT_TEXT ? size : S2SP_REPORT_TEXT, identifier.value);
	report->names[report->names_kept++] = (struct s2sp_presented_name){ identifier.type, finding, text };
	report->bytes_used += strlen(text) + 1;
}

static bool is_ascii(struct s2sp_text text) {
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] > 0x7f)
			return false;
	}
	return true;
}

void s2sp_openssl_list_names(const GENERAL_NAMES *names, struct s2sp_certificate_report *report) {
	int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names);
	for (int i = 0; i < count; i++)
		record(report, identifier_of(sk_GENERAL_NAME_value(names, i)), S2SP_IDENTITY_UNKNOWN);
}

bool s2sp_openssl_identify(const GENERAL_NAMES *names, const struct s2sp_certificate_question *question,
						   struct s2sp_certificate_report *report) {
	bool found = false;
	int count = names == NULL ? 0 : sk_GENERAL_NAME_num(names), converted = 0;
	for (int i = 0; i < count; i++) {
		struct s2sp_identifier identifier = identifier_of(sk_GENERAL_NAME_value(names, i));
		bool convert = identifier.type == S2SP_IDENTIFIER_XMPP_ADDR && !is_ascii(identifier.value);
		converted += convert;
		enum s2sp_identity_finding finding = s2sp_identity_match(
			identifier, question->domain, convert && converted > S2SP_CONVERTED_NAMES_MAX ? NULL : question->to_ascii);
		if (finding == S2SP_IDENTITY_MATCH)
			found = true;
		if (report != NULL)
			record(report, identifier, finding);
	}
	return found;
}

/* RFC 5280 4.2.1.10: "host.example.com" covers itself and what is below; an empty one covers everything. */
static bool covers(struct s2sp_text subtree, struct s2sp_text domain) {
	if (subtree.length > 0 && subtree.bytes[0] == '.') { /* not in the RFC, but common: only what is below */
		if (domain.length <= subtree.length)
			return false;
	} else if (domain.length < subtree.length) {
		return false;
	} else if (domain.length > subtree.length && subtree.length > 0 && domain.bytes[domain.length - subtree.length - 1] != '.') {
		return false;
	}
	const char *end = domain.bytes + (domain.length - subtree.length);
	for (size_t i = 0; i < subtree.length; i++) {
		if (s2sp_ascii_fold(subtree.bytes[i]) != end[i])
			return false;
	}
	return true;
}

/* Whether one of `subtrees` is for dNSNames (*any) and covers `domain`. */
static bool covered(const STACK_OF(GENERAL_SUBTREE) * subtrees, struct s2sp_text domain, bool *any) {
	bool found = false;
	for (int i = 0; i < sk_GENERAL_SUBTREE_num(subtrees); i++) { /* -1 when there are none */
		const GENERAL_NAME *base = sk_GENERAL_SUBTREE_value(subtrees, i)->base;
		if (base->type != GEN_DNS)
			continue;
		*any = true;
		found = found || covers(string_of(base->d.dNSName), domain);
	}
	return found;
}

bool s2sp_openssl_permits(const X509 *issuer, struct s2sp_text domain) {
	int critical = 0;
	NAME_CONSTRAINTS *constraints = X509_get_ext_d2i(issuer, NID_name_constraints, &critical, NULL);
	if (constraints == NULL)
		return critical == -1;
	bool any = false, ignored = false;
	bool permitted = covered(constraints->permittedSubtrees, domain, &any) || !any;
	bool excluded = covered(constraints->excludedSubtrees, domain, &ignored);
	NAME_CONSTRAINTS_free(constraints);
	return permitted && !excluded;
}
