/* The entries of a revocation list, taken out of its bytes one by one. */
#include <string.h>

#include <openssl/asn1.h>

#include "certificate_lists.h"

bool s2sp_der_take(struct s2sp_der_span *from, struct s2sp_der_element *element) {
	const unsigned char *at = from->at;
	long length = 0;
	if (from->left == 0 || from->left > INT32_MAX)
		return false;
	int form = ASN1_get_object(&at, &length, &element->tag, &element->class, (long)from->left);
	if ((form & 0x81) != 0 || length < 0)
		return false;
	element->content = (struct s2sp_der_span){ at, (size_t)length };
	element->whole = (struct s2sp_der_span){ from->at, (size_t)(at - from->at) + (size_t)length };
	from->at += element->whole.left;
	from->left -= element->whole.left;
	return true;
}

bool s2sp_der_is_universal(const struct s2sp_der_element *element, int tag) {
	return element->class == V_ASN1_UNIVERSAL && element->tag == tag;
}

bool s2sp_der_take_universal(struct s2sp_der_span *from, int tag, struct s2sp_der_element *element) {
	return s2sp_der_take(from, element) && s2sp_der_is_universal(element, tag);
}

bool s2sp_der_is_time(const struct s2sp_der_element *element) {
	return s2sp_der_is_universal(element, V_ASN1_UTCTIME) || s2sp_der_is_universal(element, V_ASN1_GENERALIZEDTIME);
}

static bool is_oid(struct s2sp_der_span content, const char *bytes) {
	return content.left == 3 && memcmp(content.at, bytes, 3) == 0;
}

/* One extension of an entry, RFC 5280 5.3. False: it is damaged. *removed: the reason is removeFromCRL, so the certificate is good. */
static bool read_entry_extension(struct s2sp_der_span content, bool *removed, const char **useless) {
	struct s2sp_der_element oid, next, reason;
	bool critical = false;
	if (!s2sp_der_take_universal(&content, V_ASN1_OBJECT, &oid) || !s2sp_der_take(&content, &next))
		return false;
	if (s2sp_der_is_universal(&next, V_ASN1_BOOLEAN)) {
		if (next.content.left != 1)
			return false;
		critical = next.content.at[0] != 0;
		if (!s2sp_der_take(&content, &next))
			return false;
	}
	if (!s2sp_der_is_universal(&next, V_ASN1_OCTET_STRING) || content.left != 0)
		return false;
	if (is_oid(oid.content, "\x55\x1d\x15")) { /* reasonCode */
		if (!s2sp_der_take_universal(&next.content, V_ASN1_ENUMERATED, &reason) || reason.content.left != 1)
			return false;
		*removed = reason.content.at[0] == CRL_REASON_REMOVE_FROM_CRL;
	} else if (is_oid(oid.content, "\x55\x1d\x1d")) { /* certificateIssuer */
		*useless = "the revocation list of its issuer is an indirect one, which is not supported";
	} else if (critical && !is_oid(oid.content, "\x55\x1d\x18")) { /* invalidityDate */
		*useless = "an entry of the revocation list of its issuer has a critical extension that is not known";
	}
	return true;
}

enum s2sp_status s2sp_crl_read_entry(struct s2sp_crl *list, struct s2sp_der_span content) {
	struct s2sp_der_element serial, time, extensions, extension;
	bool removed = false;
	if (!s2sp_der_take_universal(&content, V_ASN1_INTEGER, &serial) || !s2sp_der_take(&content, &time) ||
		!s2sp_der_is_time(&time) || serial.content.left == 0 || serial.content.left > S2SP_INDEX_NAME_MAX)
		return S2SP_STATUS_INVALID;
	/* Not padded (X.690 8.3.2), or the same number would have two spellings. */
	const unsigned char *bytes = serial.content.at;
	if (serial.content.left > 1 && ((bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xff && bytes[1] >= 0x80)))
		return S2SP_STATUS_INVALID;
	if (content.left > 0) {
		if (!s2sp_der_take_universal(&content, V_ASN1_SEQUENCE, &extensions) || content.left != 0)
			return S2SP_STATUS_INVALID;
		while (extensions.content.left > 0) {
			if (!s2sp_der_take_universal(&extensions.content, V_ASN1_SEQUENCE, &extension) ||
				!read_entry_extension(extension.content, &removed, &list->useless))
				return S2SP_STATUS_INVALID;
		}
	}
	const struct s2sp_text name = { (const char *)bytes, serial.content.left };
	if (removed || s2sp_index_find(&list->serials, 0, name) != S2SP_INDEX_NONE)
		return S2SP_STATUS_OK;
	return s2sp_index_add(&list->serials, 0, name, 1);
}
