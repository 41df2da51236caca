/* What the tests of certificates have in common: authorities, chains, and the question that is asked of them. */
#ifndef S2SP_CERTIFICATE_JUDGING_H
#define S2SP_CERTIFICATE_JUDGING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "certificate.h"
#include "certificate_maker.h"
#include "idna.h"

#ifndef S2SP_FIXTURES
#define S2SP_FIXTURES "fixtures"
#endif

#define DOMAIN S2SP_TEXT("fabrikam.com")
#define NAME "DNS:fabrikam.com"

static const struct made *root, *other_root, *intermediate, *good;
static struct s2sp_trust_store *store;

static inline struct s2sp_trust_store *trust(const struct made *const *anchors, size_t count) {
	char message[512];
	struct s2sp_trust_store *made = NULL;
	char *pem = maker_pem(anchors, count);
	struct s2sp_trust_source source = { .anchors = maker_file(pem, strlen(pem)), .now = MAKER_NOW };
	enum s2sp_status status = s2sp_trust_store_new(&source, &made, message, sizeof(message));
	free(pem);
	if (status != S2SP_STATUS_OK)
		fail_msg("trust store: %s", message);
	return made;
}

static inline int set_up(void **state) {
	(void)state;
	root = maker_ca("Test root", NULL);
	other_root = maker_ca("Other root", NULL);
	intermediate = maker_ca("Test intermediate", root);
	good = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .usage = "critical,digitalSignature" });
	store = trust(&root, 1);
	return 0;
}

static inline int tear_down(void **state) {
	(void)state;
	s2sp_trust_store_free(store);
	maker_clean();
	return 0;
}

static struct s2sp_certificate_report report;

static inline enum s2sp_certificate_verdict ask(struct s2sp_certificate_question question) {
	if (question.domain.bytes == NULL)
		question.domain = DOMAIN;
	question.to_ascii = s2sp_idna_to_ascii;
	if (question.now == 0)
		question.now = MAKER_NOW;
	/* What the host left in the queue must not count, and nothing may stay there. */
	ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
	enum s2sp_certificate_verdict silent = s2sp_certificate_judge(&question, NULL);
	assert_int_equal(ERR_peek_error(), 0);
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
	assert_int_equal(ERR_peek_error(), 0);
	assert_int_equal(silent, verdict);
	assert_int_equal(report.verdict, verdict);
	assert_non_null(report.cause);
	assert_string_not_equal(report.cause, "");
	return verdict;
}

/* The chain in exact heap blocks, so that a sanitizer sees a read past the end. */
static inline enum s2sp_certificate_verdict judge_with(const struct s2sp_trust_store *anchors, struct s2sp_text domain,
													   const struct made *const *chain, size_t count) {
	struct s2sp_text blobs[64];
	assert_true(count <= 64);
	for (size_t i = 0; i < count; i++) {
		char *copy = malloc(chain[i]->der.length);
		assert_non_null(copy);
		memcpy(copy, chain[i]->der.bytes, chain[i]->der.length);
		blobs[i] = (struct s2sp_text){ copy, chain[i]->der.length };
	}
	enum s2sp_certificate_verdict verdict =
		ask((struct s2sp_certificate_question){ .chain = blobs, .chain_length = count, .store = anchors, .domain = domain });
	for (size_t i = 0; i < count; i++)
		free((char *)blobs[i].bytes);
	return verdict;
}

#define CHAIN(...)                                                                                                               \
	(const struct made *const[]){ __VA_ARGS__ }, sizeof((const struct made *const[]){ __VA_ARGS__ }) / sizeof(struct made *)
#define JUDGE(...) judge_with(store, DOMAIN, CHAIN(__VA_ARGS__))

#define assert_verdict(wanted, call)                                                                                             \
	do {                                                                                                                         \
		enum s2sp_certificate_verdict verdict_ = (call);                                                                         \
		if (verdict_ != (wanted))                                                                                                \
			print_error("got %s (%s at %d)\n", s2sp_certificate_verdict_token(verdict_), report.cause, report.fault_depth);      \
		assert_int_equal(verdict_, (wanted));                                                                                    \
	} while (0)
#define VALID S2SP_CERTIFICATE_VALID
#define UNTRUSTED S2SP_CERTIFICATE_UNTRUSTED
#define EXPIRED S2SP_CERTIFICATE_EXPIRED
#define NOT_YET_VALID S2SP_CERTIFICATE_NOT_YET_VALID
#define IDENTITY_MISMATCH S2SP_CERTIFICATE_IDENTITY_MISMATCH
#define PIN_MISMATCH S2SP_CERTIFICATE_PIN_MISMATCH
#define MALFORMED S2SP_CERTIFICATE_MALFORMED

#define LEAF(...) maker_make((struct recipe){ .issuer = intermediate, .names = NAME, __VA_ARGS__ })

#define SRV(name) "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server." name
#define ADDR(name) "otherName:1.3.6.1.5.5.7.8.5;UTF8:" name

static inline const struct made *constrained(const char *constraints) {
	return maker_make((struct recipe){ .subject = "Constrained",
									   .issuer = root,
									   .basic = "critical,CA:TRUE",
									   .usage = "keyCertSign",
									   .constraints = constraints });
}

static inline enum s2sp_certificate_verdict judge_list(GENERAL_NAMES *names, struct s2sp_text domain) {
	const struct made *leaf = maker_make((struct recipe){ .issuer = root, .name_list = names });
	GENERAL_NAMES_free(names);
	return judge_with(store, domain, CHAIN(leaf));
}

#endif
