#define _POSIX_C_SOURCE 200809L

#include "certificate_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#define MADE_MAX 4096
#define FILES_MAX 256

static struct made made[MADE_MAX];
static size_t made_count;
static char files[FILES_MAX][64];
static size_t file_count;

#define LISTS_MAX 256
static unsigned char *lists[LISTS_MAX];
static size_t list_count;

static void need(int ok, const char *what) {
	if (ok)
		return;
	fprintf(stderr, "certificate_maker: %s failed\n", what);
	ERR_print_errors_fp(stderr);
	abort();
}

static EVP_PKEY *make_key(enum maker_key kind) {
	EVP_PKEY *key = NULL;
	switch (kind) {
	case MAKER_EC: key = EVP_EC_gen("P-256"); break;
	case MAKER_EC_EXPLICIT: {
		EVP_PKEY_CTX *generator = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
		need(EVP_PKEY_keygen_init(generator) == 1, "keygen");
		need(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(generator, NID_X9_62_prime256v1) == 1, "curve");
		need(EVP_PKEY_CTX_set_ec_param_enc(generator, OPENSSL_EC_EXPLICIT_CURVE) == 1, "explicit");
		need(EVP_PKEY_keygen(generator, &key) == 1, "keygen");
		EVP_PKEY_CTX_free(generator);
		break;
	}
	case MAKER_RSA_2048: key = EVP_RSA_gen(2048); break;
	case MAKER_RSA_1024: key = EVP_RSA_gen(1024); break;
	}
	need(key != NULL, "key");
	return key;
}

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
	X509V3_CTX place;
	if (value == NULL || value[0] == '\0')
		return;
	X509V3_set_ctx(&place, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &place, nid, value);
	need(extension != NULL, value);
	need(X509_add_ext(certificate, extension, -1), "add_ext");
	X509_EXTENSION_free(extension);
}

static void add_bytes(X509 *certificate, const char *oid, int critical, struct s2sp_text bytes) {
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	need(ASN1_OCTET_STRING_set(octets, (const unsigned char *)bytes.bytes, (int)bytes.length), "octets");
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, octets);
	need(extension != NULL && X509_add_ext(certificate, extension, -1), "add_ext");
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(object);
}

static void add_extensions(X509 *certificate, const struct recipe *recipe) {
	X509 *issuer = recipe->issuer == NULL ? certificate : recipe->issuer->certificate;
	add_extension(certificate, issuer, NID_basic_constraints, recipe->basic == NULL ? "critical,CA:FALSE" : recipe->basic);
	add_extension(certificate, issuer, NID_key_usage, recipe->usage);
	add_extension(certificate, issuer, NID_ext_key_usage, recipe->extended_usage);
	add_extension(certificate, issuer, NID_name_constraints, recipe->constraints);
	add_extension(certificate, issuer, NID_crl_distribution_points, recipe->points);
	if (recipe->names_der.bytes != NULL)
		add_bytes(certificate, "2.5.29.17", 0, recipe->names_der);
	else if (recipe->name_list != NULL)
		need(X509_add1_ext_i2d(certificate, NID_subject_alt_name, (void *)(uintptr_t)recipe->name_list, 0, 0) == 1, "names");
	else
		for (int i = 0; i <= recipe->names_twice; i++)
			add_extension(certificate, issuer, NID_subject_alt_name, recipe->names);
	if (recipe->unknown_critical != NULL)
		add_bytes(certificate, "1.2.3.4.5", 1, s2sp_text_from(recipe->unknown_critical));
}

const struct made *maker_make(struct recipe recipe) {
	static long serial = 1000;
	need(made_count < MADE_MAX, "room");
	struct made *one = &made[made_count++];
	one->certificate = X509_new();
	one->key = make_key(recipe.key);
	X509 *certificate = one->certificate;
	X509_set_version(certificate, recipe.version_1 ? X509_VERSION_1 : X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
	if (recipe.serial != NULL) {
		BIGNUM *number = NULL;
		need(BN_hex2bn(&number, recipe.serial) > 0, "serial");
		BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
		BN_free(number);
	}
	const char *subject = recipe.subject == NULL ? "leaf" : recipe.subject;
	X509_NAME *name = X509_get_subject_name(certificate);
	need(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)subject, -1, -1, 0), "subject");
	need(X509_set_issuer_name(certificate, recipe.issuer == NULL ? name : X509_get_subject_name(recipe.issuer->certificate)),
		 "issuer");
	if (recipe.from == 0 && recipe.to == 0) {
		recipe.from = -10;
		recipe.to = 10;
	}
	ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(MAKER_NOW + (int64_t)recipe.from * MAKER_DAY));
	ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(MAKER_NOW + (int64_t)recipe.to * MAKER_DAY));
	need(X509_set_pubkey(certificate, one->key), "pubkey");
	if (!recipe.version_1)
		add_extensions(certificate, &recipe);
	const EVP_MD *digest = EVP_get_digestbyname(recipe.digest == NULL ? "SHA256" : recipe.digest);
	need(X509_sign(certificate, recipe.issuer == NULL ? one->key : recipe.issuer->key, digest) > 0, "sign");
	unsigned char *der = NULL;
	int length = i2d_X509(certificate, &der);
	need(length > 0, "i2d");
	one->der = (struct s2sp_text){ (const char *)der, (size_t)length };
	ERR_clear_error();
	return one;
}

static X509_EXTENSION *new_critical(const char *oid, const unsigned char *bytes, int length) {
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	need(ASN1_OCTET_STRING_set(octets, bytes, length), "octets");
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, 1, octets);
	ASN1_OCTET_STRING_free(octets);
	ASN1_OBJECT_free(object);
	need(extension != NULL, "extension");
	return extension;
}

static X509_REVOKED *new_entry(ASN1_INTEGER *serial, const struct crl_recipe *recipe) {
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *date = ASN1_TIME_set(NULL, (time_t)(MAKER_NOW - MAKER_DAY));
	need(X509_REVOKED_set_serialNumber(entry, serial) && X509_REVOKED_set_revocationDate(entry, date), "entry");
	ASN1_TIME_free(date);
	if (recipe->reason != 0) {
		ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
		need(ASN1_ENUMERATED_set(reason, recipe->reason) && X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0) == 1,
			 "reason");
		ASN1_ENUMERATED_free(reason);
	}
	return entry;
}

static void add_entries(X509_CRL *crl, const struct crl_recipe *recipe) {
	static const unsigned char other[] = { 0x30, 0x0d, 0x82, 0x0b, 'o', 't', 'h', 'e', 'r', '.', 't', 'e', 's', 't', '.' };
	for (size_t i = 0; i < 4 && recipe->revoked[i] != NULL; i++) {
		X509_REVOKED *entry = new_entry(X509_get_serialNumber(recipe->revoked[i]->certificate), recipe);
		X509_EXTENSION *extension = NULL;
		if (i == 0 && recipe->unknown_critical_entry)
			extension = new_critical("1.2.3.4.6", other, sizeof(other));
		if (i == 0 && recipe->certificate_issuer)
			extension = new_critical("2.5.29.29", other, sizeof(other));
		need(extension == NULL || X509_REVOKED_add_ext(entry, extension, -1), "entry extension");
		X509_EXTENSION_free(extension);
		need(X509_CRL_add0_revoked(crl, entry), "add0_revoked");
	}
	for (size_t i = 0; i < recipe->more; i++) {
		unsigned char bytes[16];
		need(RAND_bytes(bytes, sizeof(bytes)) == 1, "random");
		bytes[0] = (unsigned char)((bytes[0] & 0x3f) | 0x40);
		BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
		ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(number, NULL);
		need(X509_CRL_add0_revoked(crl, new_entry(serial, recipe)), "add0_revoked");
		ASN1_INTEGER_free(serial);
		BN_free(number);
	}
}

static void sign_crl(X509_CRL *crl, const struct crl_recipe *recipe) {
	const struct made *signer = recipe->signer == NULL ? recipe->issuer : recipe->signer;
	const EVP_MD *digest = EVP_get_digestbyname(recipe->digest == NULL ? "SHA256" : recipe->digest);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	need(EVP_DigestSignInit(context, &key, digest, NULL, signer->key) == 1, "sign init");
	if (recipe->pss)
		need(EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1, "pss");
	need(X509_CRL_sign_ctx(crl, context) > 0, "sign");
	EVP_MD_CTX_free(context);
}

struct s2sp_text maker_crl(struct crl_recipe recipe) {
	need(list_count < LISTS_MAX, "room");
	X509_CRL *crl = X509_CRL_new();
	if (recipe.from == 0 && recipe.to == 0) {
		recipe.from = -1;
		recipe.to = 7;
	}
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(MAKER_NOW + (int64_t)recipe.from * MAKER_DAY));
	ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(MAKER_NOW + (int64_t)recipe.to * MAKER_DAY));
	need(X509_CRL_set_version(crl, recipe.version_1 ? X509_CRL_VERSION_1 : X509_CRL_VERSION_2), "version");
	need(X509_CRL_set_issuer_name(crl, X509_get_subject_name(recipe.issuer->certificate)), "issuer");
	need(X509_CRL_set1_lastUpdate(crl, from) && (recipe.no_next_update || X509_CRL_set1_nextUpdate(crl, to)), "dates");
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	add_entries(crl, &recipe);
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	need(ASN1_INTEGER_set(number, 7), "number");
	if (recipe.delta)
		need(X509_CRL_add1_ext_i2d(crl, NID_delta_crl, number, 1, 0) == 1, "delta");
	if (!recipe.version_1)
		need(X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0) == 1, "crl number");
	ASN1_INTEGER_free(number);
	X509_EXTENSION *extensions[2] = { NULL, NULL };
	if (recipe.scope != NULL) {
		X509V3_CTX place;
		X509V3_set_ctx(&place, recipe.issuer->certificate, NULL, NULL, crl, 0);
		extensions[0] = X509V3_EXT_conf_nid(NULL, &place, NID_issuing_distribution_point, recipe.scope);
		need(extensions[0] != NULL, recipe.scope);
	}
	if (recipe.unknown_critical)
		extensions[1] = new_critical("1.2.3.4.5", (const unsigned char *)"\5", 2);
	for (int i = 0; i < 2; i++) {
		need(extensions[i] == NULL || X509_CRL_add_ext(crl, extensions[i], -1), "crl extension");
		X509_EXTENSION_free(extensions[i]);
	}
	sign_crl(crl, &recipe);
	unsigned char *der = NULL;
	int length = i2d_X509_CRL(crl, &der);
	need(length > 0, "i2d");
	X509_CRL_free(crl);
	lists[list_count++] = der;
	ERR_clear_error();
	return (struct s2sp_text){ (const char *)der, (size_t)length };
}

char *maker_crl_pem(struct s2sp_text der) {
	BIO *bio = BIO_new(BIO_s_mem());
	need(PEM_write_bio(bio, "X509 CRL", "", (const unsigned char *)der.bytes, (long)der.length), "pem");
	char *bytes = NULL;
	long length = BIO_get_mem_data(bio, &bytes);
	char *text = malloc((size_t)length + 1);
	need(text != NULL, "malloc");
	memcpy(text, bytes, (size_t)length);
	text[length] = '\0';
	BIO_free(bio);
	return text;
}

const struct made *maker_ca(const char *subject, const struct made *issuer) {
	return maker_make((struct recipe){ .subject = subject,
									   .issuer = issuer,
									   .basic = "critical,CA:TRUE",
									   .usage = "critical,keyCertSign,cRLSign",
									   .from = -100,
									   .to = 100 });
}

void maker_clean(void) {
	for (size_t i = 0; i < made_count; i++) {
		X509_free(made[i].certificate);
		EVP_PKEY_free(made[i].key);
		OPENSSL_free((void *)(uintptr_t)made[i].der.bytes);
	}
	made_count = 0;
	for (size_t i = 0; i < list_count; i++)
		OPENSSL_free(lists[i]);
	list_count = 0;
	for (size_t i = 0; i < file_count; i++)
		unlink(files[i]);
	file_count = 0;
}

void maker_add_name(GENERAL_NAMES *names, int general_type, struct s2sp_text value) {
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *string = ASN1_STRING_type_new(general_type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
	need(ASN1_STRING_set(string, value.bytes, (int)value.length), "string");
	GENERAL_NAME_set0_value(name, general_type, string);
	need(sk_GENERAL_NAME_push(names, name), "push");
}

void maker_add_other(GENERAL_NAMES *names, int nid, int string_type, struct s2sp_text value) {
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *string = ASN1_STRING_type_new(string_type);
	ASN1_TYPE *type = ASN1_TYPE_new();
	need(ASN1_STRING_set(string, value.bytes, (int)value.length), "string");
	ASN1_TYPE_set(type, string_type, string);
	need(GENERAL_NAME_set0_othername(name, OBJ_nid2obj(nid), type), "othername");
	need(sk_GENERAL_NAME_push(names, name), "push");
}

char *maker_pem(const struct made *const *list, size_t count) {
	BIO *bio = BIO_new(BIO_s_mem());
	for (size_t i = 0; i < count; i++)
		need(PEM_write_bio_X509(bio, list[i]->certificate), "pem");
	char *bytes = NULL;
	long length = BIO_get_mem_data(bio, &bytes);
	char *text = malloc((size_t)length + 1);
	need(text != NULL, "malloc");
	memcpy(text, bytes, (size_t)length);
	text[length] = '\0';
	BIO_free(bio);
	return text;
}

const char *maker_file(const char *content, size_t length) {
	need(file_count < FILES_MAX, "room");
	char *path = files[file_count++];
	strcpy(path, "/tmp/s2sp-certificate-XXXXXX");
	int descriptor = mkstemp(path);
	need(descriptor >= 0, "mkstemp");
	need(write(descriptor, content, length) == (ssize_t)length, "write");
	close(descriptor);
	return path;
}
