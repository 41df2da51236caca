#include "certificate_crl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "certificate_lists.h"
#include "certificate_openssl.h"

#define REMEDY "name a file of revocation lists in PEM or DER format"
/* A step ends after so many bytes of base64, or so many entries: some milliseconds. */
#define STEP_BYTES (1024 * 1024)
#define STEP_ENTRIES 10000

#define BEGIN_MARK "-----BEGIN X509 CRL-----"
#define END_MARK "-----END X509 CRL-----"

/* Bytes that are still to be read, as ASN.1. */
struct span {
	const unsigned char *at;
	size_t left;
};

/* One element: its contents, and the whole of it. */
struct element {
	int tag, class;
	struct span content, whole;
};

struct s2sp_crl_reader {
	char *path;
	char *bytes; /* of the file */
	struct span text;
	size_t number; /* of the list at hand, from 1 */
	/* PEM: base64 that is still to be decoded */
	struct span base64;
	EVP_ENCODE_CTX *decoder;
	/* the list at hand */
	struct s2sp_crl *list;
	struct span entries;
	struct s2sp_crl_file *file;
};

/* Starts with the path and, for one of several lists, its number. */
static enum s2sp_status refuse(const struct s2sp_crl_reader *reader, const char *text, char *message, size_t size) {
	char number[40] = ": ";
	if (reader->number > 0)
		snprintf(number, sizeof(number), ": revocation list %zu ", reader->number);
	message[0] = '\0';
	s2sp_append_printable(message, size, s2sp_text_from(reader->path));
	s2sp_append_printable(message, size, s2sp_text_from(number));
	s2sp_append_printable(message, size, s2sp_text_from(text));
	return S2SP_STATUS_INVALID;
}

static enum s2sp_status damaged(const struct s2sp_crl_reader *reader, char *message, size_t size) {
	return refuse(reader, "is damaged; fetch it anew", message, size);
}

static void *reallocate(void *owner, void *block, size_t size) {
	(void)owner;
	if (size > 0)
		return realloc(block, size);
	free(block);
	return NULL;
}

/* `bytes` is taken over, also when it fails. */
static enum s2sp_status new_reader(const char *path, char *bytes, size_t length, struct s2sp_crl_reader **reader) {
	struct s2sp_crl_reader *made = calloc(1, sizeof(*made));
	if (made != NULL) {
		made->path = OPENSSL_strdup(path);
		made->file = calloc(1, sizeof(*made->file));
		made->decoder = EVP_ENCODE_CTX_new();
	}
	if (made == NULL || made->path == NULL || made->file == NULL || made->decoder == NULL) {
		free(bytes);
		s2sp_crl_reader_free(made);
		s2sp_openssl_drain();
		return S2SP_STATUS_NO_MEMORY;
	}
	made->bytes = bytes;
	made->text = (struct span){ (const unsigned char *)bytes, length };
	*reader = made;
	return S2SP_STATUS_OK;
}

enum s2sp_status s2sp_crl_reader_new(const char *path, struct s2sp_crl_reader **reader, char *message, size_t size) {
	char reason[160] = "";
	char *bytes = NULL;
	size_t length = 0;
	*reader = NULL;
	message[0] = '\0';
	s2sp_openssl_drain();
	enum s2sp_status status = s2sp_read_file(path, S2SP_CRL_FILE_SIZE_MAX, REMEDY, &bytes, &length, reason, sizeof(reason));
	if (status == S2SP_STATUS_INVALID) {
		const struct s2sp_crl_reader nobody = { .path = (char *)(uintptr_t)path };
		return refuse(&nobody, reason, message, size);
	}
	return status == S2SP_STATUS_OK ? new_reader(path, bytes, length, reader) : status;
}

enum s2sp_status s2sp_crl_reader_from(const char *path, struct s2sp_text bytes, struct s2sp_crl_reader **reader, char *message,
									  size_t size) {
	*reader = NULL;
	message[0] = '\0';
	if (bytes.length > S2SP_CRL_FILE_SIZE_MAX) {
		const struct s2sp_crl_reader nobody = { .path = (char *)(uintptr_t)path };
		return refuse(&nobody, "is larger than 64 MiB; " REMEDY, message, size);
	}
	(void)size;
	char *copy = malloc(bytes.length + 1);
	if (copy == NULL)
		return S2SP_STATUS_NO_MEMORY;
	if (bytes.length > 0)
		memcpy(copy, bytes.bytes, bytes.length);
	return new_reader(path, copy, bytes.length, reader);
}

/* The next element of `from`, which begins behind it then. DER: no indefinite lengths. */
static bool take(struct span *from, struct element *element) {
	const unsigned char *at = from->at;
	long length = 0;
	if (from->left == 0 || from->left > INT32_MAX)
		return false;
	int form = ASN1_get_object(&at, &length, &element->tag, &element->class, (long)from->left);
	if ((form & 0x81) != 0 || length < 0)
		return false;
	element->content = (struct span){ at, (size_t)length };
	element->whole = (struct span){ from->at, (size_t)(at - from->at) + (size_t)length };
	from->at += element->whole.left;
	from->left -= element->whole.left;
	return true;
}

static bool is_universal(const struct element *element, int tag) {
	return element->class == V_ASN1_UNIVERSAL && element->tag == tag;
}

static bool take_universal(struct span *from, int tag, struct element *element) {
	return take(from, element) && is_universal(element, tag);
}

static bool is_time(const struct element *element) {
	return is_universal(element, V_ASN1_UTCTIME) || is_universal(element, V_ASN1_GENERALIZEDTIME);
}

/* --- entries --- */

static bool is_oid(struct span content, const char *bytes) {
	return content.left == 3 && memcmp(content.at, bytes, 3) == 0;
}

/* One extension of an entry, RFC 5280 5.3. False: it is damaged. *removed: the reason is removeFromCRL, so the certificate is good. */
static bool read_entry_extension(struct span content, bool *removed, const char **useless) {
	struct element oid, next, reason;
	bool critical = false;
	if (!take_universal(&content, V_ASN1_OBJECT, &oid) || !take(&content, &next))
		return false;
	if (is_universal(&next, V_ASN1_BOOLEAN)) {
		if (next.content.left != 1)
			return false;
		critical = next.content.at[0] != 0;
		if (!take(&content, &next))
			return false;
	}
	if (!is_universal(&next, V_ASN1_OCTET_STRING) || content.left != 0)
		return false;
	if (is_oid(oid.content, "\x55\x1d\x15")) { /* reasonCode */
		if (!take_universal(&next.content, V_ASN1_ENUMERATED, &reason) || reason.content.left != 1)
			return false;
		*removed = reason.content.at[0] == CRL_REASON_REMOVE_FROM_CRL;
	} else if (is_oid(oid.content, "\x55\x1d\x1d")) { /* certificateIssuer */
		*useless = "the revocation list of its issuer is an indirect one, which is not supported";
	} else if (critical && !is_oid(oid.content, "\x55\x1d\x18")) { /* invalidityDate */
		*useless = "an entry of the revocation list of its issuer has a critical extension that is not known";
	}
	return true;
}

/* RFC 5280 5.1.2.6. OK, INVALID when it is damaged, NO_MEMORY. */
static enum s2sp_status read_entry(struct s2sp_crl *list, struct span content) {
	struct element serial, time, extensions, extension;
	bool removed = false;
	if (!take_universal(&content, V_ASN1_INTEGER, &serial) || !take(&content, &time) || !is_time(&time) ||
		serial.content.left == 0 || serial.content.left > S2SP_INDEX_NAME_MAX)
		return S2SP_STATUS_INVALID;
	/* Not padded (X.690 8.3.2), or the same number would have two spellings. */
	const unsigned char *bytes = serial.content.at;
	if (serial.content.left > 1 && ((bytes[0] == 0 && bytes[1] < 0x80) || (bytes[0] == 0xff && bytes[1] >= 0x80)))
		return S2SP_STATUS_INVALID;
	if (content.left > 0) {
		if (!take_universal(&content, V_ASN1_SEQUENCE, &extensions) || content.left != 0)
			return S2SP_STATUS_INVALID;
		while (extensions.content.left > 0) {
			if (!take_universal(&extensions.content, V_ASN1_SEQUENCE, &extension) ||
				!read_entry_extension(extension.content, &removed, &list->useless))
				return S2SP_STATUS_INVALID;
		}
	}
	const struct s2sp_text name = { (const char *)bytes, serial.content.left };
	if (removed || s2sp_index_find(&list->serials, 0, name) != S2SP_INDEX_NONE)
		return S2SP_STATUS_OK;
	return s2sp_index_add(&list->serials, 0, name, 1);
}

/* Some entries; when there are no more the list is in the file. */
static enum s2sp_status read_entries(struct s2sp_crl_reader *reader, char *message, size_t size) {
	struct s2sp_crl_file *file = reader->file;
	for (size_t i = 0; i < STEP_ENTRIES && reader->entries.left > 0; i++) {
		struct element entry;
		enum s2sp_status status = take_universal(&reader->entries, V_ASN1_SEQUENCE, &entry) ? read_entry(reader->list, entry.content)
																							: S2SP_STATUS_INVALID;
		if (status == S2SP_STATUS_INVALID)
			return damaged(reader, message, size);
		if (status != S2SP_STATUS_OK)
			return status;
	}
	if (reader->entries.left > 0)
		return S2SP_STATUS_OK;
	struct s2sp_crl **grown = realloc(file->lists, (file->count + 1) * sizeof(*grown));
	if (grown == NULL)
		return S2SP_STATUS_NO_MEMORY;
	s2sp_index_fit(&reader->list->serials);
	file->lists = grown;
	file->lists[file->count++] = reader->list;
	reader->list = NULL;
	return S2SP_STATUS_OK;
}

/* --- the list around them --- */

static void append(unsigned char **to, struct span bytes) {
	if (bytes.left > 0)
		memcpy(*to, bytes.at, bytes.left);
	*to += bytes.left;
}

/* What stands before and behind the entries, as a list that has none. NO_MEMORY, or INVALID when OpenSSL cannot read it. */
static enum s2sp_status make_head(struct s2sp_crl *list, struct span before, struct span behind, struct span signature) {
	int inner = (int)(before.left + behind.left);
	int inner_size = ASN1_object_size(1, inner, V_ASN1_SEQUENCE);
	int outer = inner_size + (int)signature.left;
	int size = ASN1_object_size(1, outer, V_ASN1_SEQUENCE);
	unsigned char *der = size > 0 ? OPENSSL_malloc((size_t)size) : NULL, *end = der;
	if (der == NULL)
		return S2SP_STATUS_NO_MEMORY;
	ASN1_put_object(&end, 1, outer, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	ASN1_put_object(&end, 1, inner, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	append(&end, before);
	append(&end, behind);
	append(&end, signature);
	const unsigned char *start = der;
	list->head = d2i_X509_CRL(NULL, &start, end - der);
	bool whole = list->head != NULL && start == end;
	OPENSSL_free(der);
	bool memory = s2sp_openssl_drain();
	return whole ? S2SP_STATUS_OK : memory ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
}

/* RFC 5280 5.1: CertificateList. Finds the entries in it: the first SEQUENCE behind thisUpdate. */
static enum s2sp_status read_list(struct s2sp_crl_reader *reader) {
	struct s2sp_crl *list = reader->list;
	struct span whole = { list->der, list->der_size };
	struct element outer, inner, element = { 0 };
	reader->entries = (struct span){ NULL, 0 };
	if (list->der_size > INT32_MAX / 2 || !take_universal(&whole, V_ASN1_SEQUENCE, &outer) || whole.left != 0 ||
		!take_universal(&outer.content, V_ASN1_SEQUENCE, &inner))
		return S2SP_STATUS_INVALID;
	list->signed_at = (size_t)(inner.whole.at - list->der);
	list->signed_size = inner.whole.left;
	struct span before = { inner.content.at, 0 }, behind = inner.content;
	bool dated = false, found = false;
	while (behind.left > 0 && !found) {
		if (!take(&behind, &element))
			return S2SP_STATUS_INVALID;
		found = dated && is_universal(&element, V_ASN1_SEQUENCE);
		dated = dated || is_time(&element);
		if (found)
			reader->entries = element.content;
		else
			before.left += element.whole.left;
	}
	enum s2sp_status status = make_head(list, before, behind, outer.content);
	return status == S2SP_STATUS_OK ? s2sp_crl_read_head(list) : status;
}

/* A list of `capacity` bytes is at hand. */
static enum s2sp_status begin_list(struct s2sp_crl_reader *reader, size_t capacity) {
	unsigned char seed[16];
	static const struct s2sp_allocator allocator = { reallocate, NULL };
	reader->list = OPENSSL_zalloc(sizeof(*reader->list));
	if (reader->list != NULL) {
		reader->list->der = OPENSSL_malloc(capacity > 0 ? capacity : 1);
		reader->list->lock = CRYPTO_THREAD_lock_new();
	}
	bool made = reader->list != NULL && reader->list->der != NULL && reader->list->lock != NULL &&
				RAND_bytes(seed, sizeof(seed)) == 1;
	s2sp_openssl_drain();
	if (!made)
		return S2SP_STATUS_NO_MEMORY;
	s2sp_index_begin(&reader->list->serials, &allocator, seed);
	return S2SP_STATUS_OK;
}

static enum s2sp_status finish_list(struct s2sp_crl_reader *reader, char *message, size_t size) {
	enum s2sp_status status = read_list(reader);
	return status == S2SP_STATUS_INVALID ? damaged(reader, message, size) : status;
}

/* --- the file around them --- */

static const unsigned char *find(struct span in, const char *mark) {
	size_t length = strlen(mark);
	while (in.left >= length) {
		const unsigned char *at = memchr(in.at, mark[0], in.left - length + 1);
		if (at == NULL)
			return NULL;
		if (memcmp(at, mark, length) == 0)
			return at;
		in.left -= (size_t)(at - in.at) + 1;
		in.at = at + 1;
	}
	return NULL;
}

static void skip_to(struct span *span, const unsigned char *at) {
	span->left -= (size_t)(at - span->at);
	span->at = at;
}

/* What is in DER begins with a SEQUENCE; several may stand one behind the other. */
static enum s2sp_status next_der(struct s2sp_crl_reader *reader, char *message, size_t size) {
	struct element element;
	reader->number++;
	if (!take_universal(&reader->text, V_ASN1_SEQUENCE, &element))
		return damaged(reader, message, size);
	enum s2sp_status status = begin_list(reader, element.whole.left);
	if (status != S2SP_STATUS_OK)
		return status;
	memcpy(reader->list->der, element.whole.at, element.whole.left);
	reader->list->der_size = element.whole.left;
	return finish_list(reader, message, size);
}

static enum s2sp_status next_pem(struct s2sp_crl_reader *reader, const unsigned char *begin, char *message, size_t size) {
	reader->number++;
	skip_to(&reader->text, begin + strlen(BEGIN_MARK));
	const unsigned char *end = find(reader->text, END_MARK);
	if (end == NULL || end == reader->text.at)
		return damaged(reader, message, size);
	reader->base64 = (struct span){ reader->text.at, (size_t)(end - reader->text.at) };
	skip_to(&reader->text, end + strlen(END_MARK));
	EVP_DecodeInit(reader->decoder);
	return begin_list(reader, reader->base64.left / 4 * 3 + 80);
}

static enum s2sp_status decode(struct s2sp_crl_reader *reader, char *message, size_t size) {
	struct s2sp_crl *list = reader->list;
	size_t now = reader->base64.left < STEP_BYTES ? reader->base64.left : STEP_BYTES;
	int written = 0;
	int state = EVP_DecodeUpdate(reader->decoder, list->der + list->der_size, &written, reader->base64.at, (int)now);
	if (state < 0)
		return damaged(reader, message, size);
	list->der_size += (size_t)written;
	skip_to(&reader->base64, reader->base64.at + now);
	if (reader->base64.left > 0)
		return S2SP_STATUS_OK;
	if (EVP_DecodeFinal(reader->decoder, list->der + list->der_size, &written) != 1)
		return damaged(reader, message, size);
	list->der_size += (size_t)written;
	return finish_list(reader, message, size);
}

static void warn(const struct s2sp_crl_reader *reader, char *message, size_t size) {
	const struct s2sp_crl_file *file = reader->file;
	message[0] = '\0';
	for (size_t i = 0; i < file->count; i++) {
		char line[S2SP_REPORT_TEXT + 80], issuer[S2SP_REPORT_TEXT];
		size_t used = strlen(message);
		if (file->lists[i]->useless == NULL)
			continue;
		s2sp_openssl_name(X509_CRL_get_issuer(file->lists[i]->head), issuer, sizeof(issuer));
		snprintf(line, sizeof(line), ": revocation list %zu (of %s) counts for nothing: ", i + 1, issuer);
		if (used > 0 && used + 1 < size) {
			message[used] = '\n';
			message[used + 1] = '\0';
		}
		s2sp_append_printable(message, size, s2sp_text_from(reader->path));
		s2sp_append_printable(message, size, s2sp_text_from(line));
		s2sp_append_printable(message, size, s2sp_text_from(file->lists[i]->useless));
	}
}

/* No list is left: the file is read, if there was one. */
static enum s2sp_status finish_file(struct s2sp_crl_reader *reader, struct s2sp_crl_file **file, char *message, size_t size) {
	if (reader->file->count == 0)
		return refuse(reader, "holds no revocation list; it must be in PEM (" BEGIN_MARK ") or DER format", message, size);
	warn(reader, message, size);
	*file = reader->file;
	reader->file = NULL;
	return S2SP_STATUS_OK;
}

static enum s2sp_status step(struct s2sp_crl_reader *reader, struct s2sp_crl_file **file, char *message, size_t size) {
	if (reader->file == NULL)
		return S2SP_STATUS_FAILED;
	if (reader->base64.left > 0)
		return decode(reader, message, size);
	if (reader->list != NULL)
		return read_entries(reader, message, size);
	bool der = reader->text.left > 0 && (reader->number > 0 ? reader->bytes[0] == 0x30 : reader->text.at[0] == 0x30);
	const unsigned char *begin = der ? NULL : find(reader->text, BEGIN_MARK);
	if ((der || begin != NULL) && reader->number >= S2SP_CRL_LISTS_MAX)
		return refuse(reader, "is the last of 1000 that a file may hold, and there are more; name several files", message, size);
	if (der)
		return next_der(reader, message, size);
	return begin != NULL ? next_pem(reader, begin, message, size) : finish_file(reader, file, message, size);
}

enum s2sp_status s2sp_crl_reader_step(struct s2sp_crl_reader *reader, struct s2sp_crl_file **file, char *message, size_t size) {
	*file = NULL;
	message[0] = '\0';
	s2sp_openssl_drain();
	enum s2sp_status status = step(reader, file, message, size);
	s2sp_openssl_drain();
	return status;
}

void s2sp_crl_reader_free(struct s2sp_crl_reader *reader) {
	if (reader == NULL)
		return;
	OPENSSL_free(reader->path);
	free(reader->bytes);
	EVP_ENCODE_CTX_free(reader->decoder);
	s2sp_crl_free(reader->list);
	s2sp_crl_file_free(reader->file);
	free(reader);
}

/* --- what has been read --- */

void s2sp_crl_file_free(struct s2sp_crl_file *file) {
	if (file == NULL)
		return;
	for (size_t i = 0; i < file->count; i++)
		s2sp_crl_free(file->lists[i]);
	free(file->lists);
	free(file);
}

size_t s2sp_crl_file_lists(const struct s2sp_crl_file *file) {
	return file->count;
}

size_t s2sp_crl_file_entries(const struct s2sp_crl_file *file) {
	size_t count = 0;
	for (size_t i = 0; i < file->count; i++)
		count += file->lists[i]->serials.count;
	return count;
}

size_t s2sp_crl_file_size(const struct s2sp_crl_file *file) {
	size_t size = sizeof(*file);
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		size += sizeof(*list) + list->der_size + list->serials.slot_count * (sizeof(*list->serials.slots) + 1);
	}
	return size;
}

bool s2sp_crl_file_next_update(const struct s2sp_crl_file *file, int64_t *this_update, int64_t *next_update) {
	bool found = false;
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		if (list->next_update == 0 || (found && list->next_update >= *next_update))
			continue;
		found = true;
		*this_update = list->this_update;
		*next_update = list->next_update;
	}
	return found;
}

static bool mentions(const void *with, uint32_t issuer, struct s2sp_text serial) {
	const struct s2sp_crl_file *file = with;
	for (size_t i = 0; i < file->count; i++) {
		const struct s2sp_crl *list = file->lists[i];
		if (list->issuer == issuer && (serial.length == 0 || s2sp_index_find(&list->serials, 0, serial) != S2SP_INDEX_NONE))
			return true;
	}
	return false;
}

bool s2sp_crl_file_mentions(const struct s2sp_crl_file *file, struct s2sp_text links) {
	return s2sp_revocation_each_link(links, mentions, file);
}
