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

struct s2sp_crl_reader {
	char *path;
	char *bytes; /* of the file */
	struct s2sp_der_span text;
	size_t number; /* of the list at hand, from 1 */
	/* PEM: base64 that is still to be decoded */
	struct s2sp_der_span base64;
	EVP_ENCODE_CTX *decoder;
	/* the list at hand */
	struct s2sp_crl *list;
	struct s2sp_der_span entries;
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
	made->text = (struct s2sp_der_span){ (const unsigned char *)bytes, length };
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

/* --- entries --- */

/* Some entries; when there are no more the list is in the file. */
static enum s2sp_status read_entries(struct s2sp_crl_reader *reader, char *message, size_t size) {
	struct s2sp_crl_file *file = reader->file;
	size_t begun = reader->entries.left;
	for (size_t i = 0; i < STEP_ENTRIES && reader->entries.left > 0 && begun - reader->entries.left < STEP_BYTES; i++) {
		struct s2sp_der_element entry;
		if (!s2sp_der_take_universal(&reader->entries, V_ASN1_SEQUENCE, &entry))
			return damaged(reader, message, size);
		if (entry.whole.left > S2SP_CRL_ENTRY_MAX)
			return refuse(reader, "has an entry of more than 64 KiB; ask its authority for another", message, size);
		enum s2sp_status status = s2sp_crl_read_entry(reader->list, entry.content);
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

static void append(unsigned char **to, struct s2sp_der_span bytes) {
	if (bytes.left > 0)
		memcpy(*to, bytes.at, bytes.left);
	*to += bytes.left;
}

/* What stands before and behind the entries, as a list that has none. NO_MEMORY, or INVALID when OpenSSL cannot read it or finds some. */
static enum s2sp_status make_head(struct s2sp_crl *list, struct s2sp_der_span before, struct s2sp_der_span behind,
								  struct s2sp_der_span signature) {
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
	/* What is left out here must be all of them, or there would be some that nobody reads. */
	bool whole = list->head != NULL && start == end && X509_CRL_get_REVOKED(list->head) == NULL;
	OPENSSL_free(der);
	bool memory = s2sp_openssl_drain();
	return whole ? S2SP_STATUS_OK : memory ? S2SP_STATUS_NO_MEMORY : S2SP_STATUS_INVALID;
}

/*
 * RFC 5280 5.1: CertificateList. Finds the entries in it: the first SEQUENCE behind thisUpdate. FAILED: there is too much of the rest, which is read in
 * one go.
 */
static enum s2sp_status read_list(struct s2sp_crl_reader *reader) {
	struct s2sp_crl *list = reader->list;
	struct s2sp_der_span whole = { list->der, list->der_size };
	struct s2sp_der_element outer, inner, element = { 0 };
	reader->entries = (struct s2sp_der_span){ NULL, 0 };
	if (list->der_size > INT32_MAX / 2 || !s2sp_der_take_universal(&whole, V_ASN1_SEQUENCE, &outer) || whole.left != 0 ||
		!s2sp_der_take_universal(&outer.content, V_ASN1_SEQUENCE, &inner))
		return S2SP_STATUS_INVALID;
	list->signed_at = (size_t)(inner.whole.at - list->der);
	list->signed_size = inner.whole.left;
	struct s2sp_der_span before = { inner.content.at, 0 }, behind = inner.content;
	bool dated = false, found = false;
	struct s2sp_der_span algorithm = { NULL, 0 }, rest = outer.content;
	while (behind.left > 0 && !found) {
		if (!s2sp_der_take(&behind, &element))
			return S2SP_STATUS_INVALID;
		found = dated && s2sp_der_is_universal(&element, V_ASN1_SEQUENCE);
		dated = dated || s2sp_der_is_time(&element);
		if (algorithm.at == NULL && s2sp_der_is_universal(&element, V_ASN1_SEQUENCE))
			algorithm = element.whole;
		if (found)
			reader->entries = element.content;
		else
			before.left += element.whole.left;
	}
	/* RFC 5280 5.1.1.2: named once outside of what is signed, and once in it. */
	if (!s2sp_der_take_universal(&rest, V_ASN1_SEQUENCE, &element))
		return S2SP_STATUS_INVALID;
	if (algorithm.left != element.whole.left || memcmp(algorithm.at, element.whole.at, algorithm.left) != 0)
		list->useless = "the revocation list of its issuer names two algorithms of its signature";
	if (before.left + behind.left + outer.content.left > S2SP_CRL_HEAD_MAX)
		return S2SP_STATUS_FAILED;
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
	bool made =
		reader->list != NULL && reader->list->der != NULL && reader->list->lock != NULL && RAND_bytes(seed, sizeof(seed)) == 1;
	s2sp_openssl_drain();
	if (!made)
		return S2SP_STATUS_NO_MEMORY;
	s2sp_index_begin(&reader->list->serials, &allocator, seed);
	return S2SP_STATUS_OK;
}

static enum s2sp_status finish_list(struct s2sp_crl_reader *reader, char *message, size_t size) {
	enum s2sp_status status = read_list(reader);
	if (status == S2SP_STATUS_FAILED)
		return refuse(reader, "is larger than 64 KiB without its entries; ask its authority for another", message, size);
	return status == S2SP_STATUS_INVALID ? damaged(reader, message, size) : status;
}

/* --- the file around them --- */

static const unsigned char *find(struct s2sp_der_span in, const char *mark) {
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

static void skip_to(struct s2sp_der_span *span, const unsigned char *at) {
	span->left -= (size_t)(at - span->at);
	span->at = at;
}

/* What is in DER begins with a SEQUENCE; several may stand one behind the other. */
static enum s2sp_status next_der(struct s2sp_crl_reader *reader, char *message, size_t size) {
	struct s2sp_der_element element;
	reader->number++;
	if (!s2sp_der_take_universal(&reader->text, V_ASN1_SEQUENCE, &element))
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
	reader->base64 = (struct s2sp_der_span){ reader->text.at, (size_t)(end - reader->text.at) };
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
