/* Trust stores: read once, when a configuration is committed. */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "certificate_openssl.h"

/* A bundle of every public CA is about 200 KiB. */
#define BUNDLE_SIZE_MAX (16 * 1024 * 1024)
/* RFC 5280 has no such number; OpenSSL's level 2 for keys (SSL_CTX_set_security_level(3)). */
#define SECURITY_BITS_MIN 112

struct loader {
	const struct s2sp_trust_source *source;
	struct s2sp_trust_store *store;
	char *message;
	size_t size;
	size_t valid; /* anchors that are valid now */
};

static void say(struct loader *loader, const char *text) {
	s2sp_append_printable(loader->message, loader->size, s2sp_text_from(text));
}

/* Starts a line: the file and, when it is about one, which certificate. */
static void begin_message(struct loader *loader, const char *file, size_t index, const X509 *certificate) {
	size_t used = strlen(loader->message);
	if (used > 0 && used + 1 < loader->size) {
		loader->message[used] = '\n';
		loader->message[used + 1] = '\0';
	}
	say(loader, file);
	if (index > 0) {
		char number[40];
		snprintf(number, sizeof(number), ": certificate %zu", index);
		say(loader, number);
	}
	if (certificate != NULL) {
		char subject[S2SP_REPORT_TEXT];
		s2sp_openssl_name(X509_get_subject_name(certificate), subject, sizeof(subject));
		say(loader, " (");
		say(loader, subject);
		say(loader, ")");
	}
	say(loader, index > 0 ? " " : ": ");
}

static enum s2sp_status refuse(struct loader *loader, const char *file, size_t index, const X509 *certificate, const char *text) {
	loader->message[0] = '\0'; /* an error leaves no room for warnings */
	begin_message(loader, file, index, certificate);
	say(loader, text);
	return S2SP_STATUS_INVALID;
}

static void warn(struct loader *loader, const char *file, size_t index, const X509 *certificate, const char *text) {
	begin_message(loader, file, index, certificate);
	say(loader, text);
}

/* The whole of a regular file into *bytes, which is the caller's. NULL and no message when out of memory. */
static enum s2sp_status read_file(struct loader *loader, const char *name, char **bytes, size_t *length) {
	char reason[160];
	enum s2sp_status status = s2sp_read_file(name, BUNDLE_SIZE_MAX, "name a file in PEM format that holds the CA's certificate",
											 bytes, length, reason, sizeof(reason));
	return status == S2SP_STATUS_INVALID ? refuse(loader, name, 0, NULL, reason) : status;
}

static enum s2sp_status add_anchor(struct loader *loader, X509 *certificate, size_t index) {
	const char *file = loader->source->anchors;
	if (X509_check_purpose(certificate, -1, -1) != 1)
		return refuse(loader, file, index, certificate, "has a damaged extension; get a fresh copy from the partner");
	/* 1: by its basic constraints, 3: a self-signed certificate of version 1, which has none. */
	int ca = X509_check_ca(certificate);
	if (ca != 1 && ca != 3)
		return refuse(loader, file, index, certificate,
					  "is not a CA certificate; give the certificate of the CA that issued it, or pin its key with pinned_keys");
	const EVP_PKEY *key = X509_get0_pubkey(certificate);
	if (key == NULL || EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN)
		return refuse(loader, file, index, certificate,
					  "has a key that cannot be used or is too weak (RSA 2048 or elliptic curve 224 bits at least)");

	time_t now = (time_t)loader->source->now;
	bool expired = X509_cmp_time(X509_get0_notAfter(certificate), &now) <= 0;
	bool early = X509_cmp_time(X509_get0_notBefore(certificate), &now) >= 0;
	if (expired || early)
		warn(loader, file, index, certificate, expired ? "has expired" : "is not valid yet");
	else
		loader->valid++;
	if (X509_STORE_add_cert(loader->store->store, certificate) != 1)
		return S2SP_STATUS_NO_MEMORY;
	loader->store->count++;
	int64_t not_after = s2sp_openssl_time(X509_get0_notAfter(certificate));
	if (not_after > loader->store->not_after)
		loader->store->not_after = not_after;
	return S2SP_STATUS_OK;
}

static enum s2sp_status add_block(struct loader *loader, const unsigned char *der, long length, size_t index) {
	const unsigned char *end = der;
	X509 *certificate = d2i_X509(NULL, &end, length);
	if (certificate == NULL || end != der + length) {
		X509_free(certificate);
		return refuse(loader, loader->source->anchors, index, NULL, "is damaged; get a fresh copy from the partner");
	}
	enum s2sp_status status = add_anchor(loader, certificate, index);
	X509_free(certificate);
	return status;
}

/* Every CERTIFICATE block; others (comments, keys) are passed over. */
static enum s2sp_status add_blocks(struct loader *loader, BIO *bio) {
	enum s2sp_status status = S2SP_STATUS_OK;
	size_t certificates = 0, others = 0;
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long length = 0;
	while (status == S2SP_STATUS_OK && PEM_read_bio(bio, &name, &header, &der, &length) == 1) {
		if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0)
			status = add_block(loader, der, length, ++certificates);
		else
			others++;
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	if (status != S2SP_STATUS_OK)
		return status;
	const char *file = loader->source->anchors;
	unsigned long error = ERR_peek_last_error();
	if (ERR_GET_REASON(error) == ERR_R_MALLOC_FAILURE)
		return S2SP_STATUS_NO_MEMORY;
	if (ERR_GET_REASON(error) != PEM_R_NO_START_LINE) /* which is how the end of the file is told */
		return refuse(loader, file, certificates + 1, NULL, "is damaged; get a fresh copy from the partner");
	if (certificates == 0)
		return refuse(loader, file, 0, NULL,
					  others > 0 ? "holds no certificate, only something else; it must be in PEM format"
								 : "holds no certificate; it must be in PEM format (-----BEGIN CERTIFICATE-----)");
	return S2SP_STATUS_OK;
}

static enum s2sp_status load_anchors(struct loader *loader) {
	char *bytes = NULL;
	size_t length = 0;
	enum s2sp_status status = read_file(loader, loader->source->anchors, &bytes, &length);
	if (status != S2SP_STATUS_OK)
		return status;
	BIO *bio = BIO_new_mem_buf(bytes, (int)length);
	status = bio == NULL ? S2SP_STATUS_NO_MEMORY : add_blocks(loader, bio);
	BIO_free(bio);
	free(bytes);
	if (status == S2SP_STATUS_OK && loader->valid == 0) {
		/* The warnings have named each certificate and what is wrong with it. */
		warn(loader, loader->source->anchors, 0, NULL, "none of its certificates is valid now; get the CA's new certificate");
		return S2SP_STATUS_INVALID;
	}
	return status;
}

static bool is_directory(const char *path) {
	struct stat status;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* What the host itself uses; its bundle is not searched for faults, but it must be there. */
static enum s2sp_status load_host(struct loader *loader) {
	const struct s2sp_trust_source *source = loader->source;
	X509_STORE *store = loader->store->store;
	bool found = false;
	if (source->file == NULL && source->path == NULL)
		return X509_STORE_set_default_paths(store) == 1 ? S2SP_STATUS_OK : S2SP_STATUS_NO_MEMORY;
	if (source->file != NULL) {
		if (X509_STORE_load_file(store, source->file) == 1)
			found = true;
		else
			warn(loader, source->file, 0, NULL, "cannot be read as a bundle of certificates in PEM format");
	}
	if (source->path != NULL) {
		if (is_directory(source->path) && X509_STORE_load_path(store, source->path) == 1)
			found = true;
		else
			warn(loader, source->path, 0, NULL, "is not a directory");
	}
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	loader->store->count = objects == NULL ? 0 : (size_t)sk_X509_OBJECT_num(objects);
	return found ? S2SP_STATUS_OK : S2SP_STATUS_INVALID;
}

enum s2sp_status s2sp_trust_store_new(const struct s2sp_trust_source *source, struct s2sp_trust_store **store, char *message,
									  size_t size) {
	struct loader loader = { .source = source, .message = message, .size = size };
	*store = NULL;
	message[0] = '\0';
	ERR_clear_error();
	loader.store = calloc(1, sizeof(*loader.store));
	if (loader.store != NULL)
		loader.store->store = X509_STORE_new();
	enum s2sp_status status = S2SP_STATUS_NO_MEMORY;
	if (loader.store != NULL && loader.store->store != NULL) {
		loader.store->anchors = source->anchors != NULL;
		status = source->anchors != NULL ? load_anchors(&loader) : load_host(&loader);
	}
	if (status == S2SP_STATUS_OK)
		*store = loader.store;
	else
		s2sp_trust_store_free(loader.store);
	ERR_clear_error();
	return status;
}

void s2sp_trust_store_free(struct s2sp_trust_store *store) {
	if (store == NULL)
		return;
	X509_STORE_free(store->store);
	free(store);
}

size_t s2sp_trust_store_count(const struct s2sp_trust_store *store) {
	return store->count;
}

int64_t s2sp_trust_store_not_after(const struct s2sp_trust_store *store) {
	return store->not_after;
}
