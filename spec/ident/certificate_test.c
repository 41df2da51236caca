/* Certificates made here, good and bad, each with the verdict it must get. */
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

static struct s2sp_trust_store *trust(const struct made *const *anchors, size_t count) {
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

static int set_up(void **state) {
	(void)state;
	root = maker_ca("Test root", NULL);
	other_root = maker_ca("Other root", NULL);
	intermediate = maker_ca("Test intermediate", root);
	good = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .usage = "critical,digitalSignature" });
	store = trust(&root, 1);
	return 0;
}

static int tear_down(void **state) {
	(void)state;
	s2sp_trust_store_free(store);
	maker_clean();
	return 0;
}

static struct s2sp_certificate_report report;

static enum s2sp_certificate_verdict ask(struct s2sp_certificate_question question) {
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
static enum s2sp_certificate_verdict judge_with(const struct s2sp_trust_store *anchors, struct s2sp_text domain,
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

/* --- good chains --- */

static void a_good_chain_in_any_order(void **state) {
	(void)state;
	assert_verdict(VALID, JUDGE(good, intermediate));
	assert_int_equal(report.fault_depth, -1);
	assert_verdict(VALID, JUDGE(good, intermediate, root));
	assert_verdict(VALID, JUDGE(good, root, intermediate));
	const struct made *second = maker_ca("Second intermediate", intermediate);
	const struct made *leaf = maker_make((struct recipe){ .issuer = second, .names = NAME });
	assert_verdict(VALID, JUDGE(leaf, root, intermediate, second));
	assert_verdict(VALID, JUDGE(leaf, intermediate, other_root, second));
	assert_verdict(VALID, JUDGE(leaf, leaf, second, second, leaf, intermediate, intermediate, good));
}

static void an_unrelated_certificate_does_not_matter(void **state) {
	(void)state;
	const struct made *stale = maker_make((struct recipe){ .subject = "Stale", .from = -100, .to = -50 });
	assert_verdict(VALID, JUDGE(good, intermediate, stale, other_root));
	assert_int_equal(report.presented, 4);
}

static void directly_from_the_anchor(void **state) {
	(void)state;
	assert_verdict(VALID, JUDGE(maker_make((struct recipe){ .issuer = root, .names = NAME })));
}

static void keys_of_level_2_pass(void **state) {
	(void)state;
	assert_verdict(VALID, JUDGE(LEAF(.key = MAKER_RSA_2048), intermediate));
	assert_verdict(VALID, JUDGE(LEAF(.digest = "SHA384"), intermediate));
	assert_verdict(VALID, JUDGE(LEAF(.digest = "SHA512"), intermediate));
}

static void extended_key_usage_does_not_count(void **state) {
	(void)state;
	assert_verdict(VALID, JUDGE(LEAF(.extended_usage = "serverAuth"), intermediate));
	assert_verdict(VALID, JUDGE(LEAF(.extended_usage = "clientAuth"), intermediate));
	assert_verdict(VALID, JUDGE(LEAF(.extended_usage = "critical,codeSigning"), intermediate));
	const struct made *issuer = maker_make((struct recipe){
		.subject = "Servers only", .issuer = root, .basic = "critical,CA:TRUE", .extended_usage = "serverAuth" });
	assert_verdict(VALID,
				   JUDGE(maker_make((struct recipe){ .issuer = issuer, .names = NAME, .extended_usage = "clientAuth" }), issuer));
}

/* --- trust --- */

static void nothing_presented(void **state) {
	(void)state;
	assert_verdict(S2SP_CERTIFICATE_NO_CERTIFICATE, ask((struct s2sp_certificate_question){ .store = store }));
	assert_string_equal(report.subject, "");
	assert_int_equal(report.pin_count, 0);
}

static void without_a_store_nothing_is_known(void **state) {
	(void)state;
	assert_verdict(S2SP_CERTIFICATE_UNKNOWN, judge_with(NULL, DOMAIN, CHAIN(good, intermediate)));
}

static void chains_that_lead_nowhere(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, JUDGE(good)); /* the intermediate is missing */
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .names = NAME })));
	const struct made *foreign = maker_make((struct recipe){ .issuer = other_root, .names = NAME });
	assert_verdict(UNTRUSTED, JUDGE(foreign));
	assert_verdict(UNTRUSTED, JUDGE(foreign, other_root));
	assert_verdict(UNTRUSTED, JUDGE(foreign, root));
	/* The anchor's name with another key. */
	const struct made *impostor = maker_ca("Test root", NULL);
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = impostor, .names = NAME }), impostor));
	const struct made *fake = maker_ca("Test intermediate", impostor);
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = fake, .names = NAME }), fake, intermediate));
}

static void a_tampered_signature(void **state) {
	(void)state;
	char *copy = malloc(good->der.length);
	assert_non_null(copy);
	memcpy(copy, good->der.bytes, good->der.length);
	copy[good->der.length - 1] ^= 1;
	struct s2sp_text chain[] = { { copy, good->der.length }, intermediate->der };
	assert_verdict(UNTRUSTED, ask((struct s2sp_certificate_question){ .chain = chain, .chain_length = 2, .store = store }));
	free(copy);
}

static void a_leaf_that_signs(void **state) {
	(void)state;
	const struct made *leaf = maker_make((struct recipe){ .subject = "Mallory", .issuer = good, .names = NAME });
	assert_verdict(UNTRUSTED, JUDGE(leaf, good, intermediate));
	/* Neither key usage alone nor nothing at all makes a CA; RFC 5280 6.1.4 (k). */
	const struct made *usage =
		maker_make((struct recipe){ .subject = "Key usage only", .issuer = root, .basic = "", .usage = "critical,keyCertSign" });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = usage, .names = NAME }), usage));
	assert_int_equal(report.fault_depth, 1);
	const struct made *bare = maker_make((struct recipe){ .subject = "Bare", .issuer = root, .basic = "" });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = bare, .names = NAME }), bare));
	const struct made *old = maker_make((struct recipe){ .subject = "Version 1", .issuer = root, .version_1 = 1 });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = old, .names = NAME }), old));
	const struct made *no_sign = maker_make((struct recipe){
		.subject = "CA without keyCertSign", .issuer = root, .basic = "critical,CA:TRUE", .usage = "critical,cRLSign" });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = no_sign, .names = NAME }), no_sign));
}

static void path_length(void **state) {
	(void)state;
	const struct made *last = maker_make(
		(struct recipe){ .subject = "pathlen 0", .issuer = root, .basic = "critical,CA:TRUE,pathlen:0", .usage = "keyCertSign" });
	assert_verdict(VALID, JUDGE(maker_make((struct recipe){ .issuer = last, .names = NAME }), last));
	const struct made *beyond = maker_ca("Beyond", last);
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = beyond, .names = NAME }), beyond, last));
}

static void a_chain_too_long(void **state) {
	(void)state;
	const struct made *chain[S2SP_CHAIN_LENGTH_MAX];
	const struct made *issuer = root;
	for (size_t length = 1; length <= S2SP_CHAIN_DEPTH_MAX + 2; length++) {
		char name[32];
		snprintf(name, sizeof(name), "Link %zu", length);
		chain[length] = issuer = maker_ca(name, issuer);
		chain[0] = maker_make((struct recipe){ .issuer = issuer, .names = NAME });
		assert_verdict(length <= S2SP_CHAIN_DEPTH_MAX ? VALID : UNTRUSTED, judge_with(store, DOMAIN, chain, length + 1));
	}
}

static void weak_keys_and_signatures(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.key = MAKER_RSA_1024), intermediate));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.digest = "SHA1"), intermediate));
	const struct made *rsa = maker_make((struct recipe){
		.subject = "RSA CA", .issuer = root, .basic = "critical,CA:TRUE", .usage = "keyCertSign", .key = MAKER_RSA_2048 });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = rsa, .names = NAME, .digest = "MD5" }), rsa));
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = rsa, .names = NAME, .digest = "SHA1" }), rsa));
	const struct made *weak = maker_make((struct recipe){
		.subject = "Weak CA", .issuer = root, .basic = "critical,CA:TRUE", .usage = "keyCertSign", .key = MAKER_RSA_1024 });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = weak, .names = NAME }), weak));
	const struct made *hashed = maker_make((struct recipe){
		.subject = "SHA-1 CA", .issuer = root, .digest = "SHA1", .basic = "critical,CA:TRUE", .usage = "keyCertSign" });
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = hashed, .names = NAME }), hashed));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.key = MAKER_EC_EXPLICIT), intermediate));
}

static void key_usage_of_the_leaf(void **state) {
	(void)state;
	assert_verdict(VALID, JUDGE(LEAF(.usage = ""), intermediate));
	assert_verdict(VALID, JUDGE(LEAF(.usage = "critical,digitalSignature,keyEncipherment"), intermediate));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.usage = "critical,keyAgreement"), intermediate));
	assert_int_equal(report.fault_depth, 0);
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.usage = "keyEncipherment"), intermediate));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.usage = "nonRepudiation"), intermediate));
}

static void an_unknown_critical_extension(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.unknown_critical = "?"), intermediate));
}

/* --- name constraints --- */

static const struct made *constrained(const char *constraints) {
	return maker_make((struct recipe){ .subject = "Constrained",
									   .issuer = root,
									   .basic = "critical,CA:TRUE",
									   .usage = "keyCertSign",
									   .constraints = constraints });
}

static enum s2sp_certificate_verdict judge_names(const struct made *issuer, const char *names, struct s2sp_text domain) {
	const struct made *leaf = maker_make((struct recipe){ .subject = "evil.test", .issuer = issuer, .names = names });
	return judge_with(store, domain, CHAIN(leaf, issuer));
}

#define SRV(name) "otherName:1.3.6.1.5.5.7.8.7;IA5STRING:_xmpp-server." name
#define ADDR(name) "otherName:1.3.6.1.5.5.7.8.5;UTF8:" name

static void constraints_permit(void **state) {
	(void)state;
	const struct made *issuer = constrained("critical,permitted;DNS:fabrikam.com");
	assert_verdict(VALID, judge_names(issuer, NAME, DOMAIN)); /* whatever the common name is */
	assert_verdict(VALID, judge_names(issuer, "DNS:*.fabrikam.com", S2SP_TEXT("corp.fabrikam.com")));
	assert_verdict(VALID, judge_names(issuer, SRV("fabrikam.com"), DOMAIN));
	assert_verdict(VALID, judge_names(issuer, ADDR("corp.fabrikam.com"), S2SP_TEXT("corp.fabrikam.com")));
	assert_verdict(IDENTITY_MISMATCH, judge_names(issuer, NAME, S2SP_TEXT("contoso.com"))); /* a good chain, another name */
	assert_verdict(UNTRUSTED, judge_names(issuer, "DNS:contoso.com", S2SP_TEXT("contoso.com")));
	assert_verdict(UNTRUSTED, judge_names(issuer, NAME ",DNS:contoso.com", DOMAIN));
	assert_verdict(UNTRUSTED, judge_names(issuer, "DNS:evilfabrikam.com", S2SP_TEXT("evilfabrikam.com")));
}

static void constraints_bind_every_form(void **state) {
	(void)state;
	const struct made *issuer = constrained("critical,permitted;DNS:fabrikam.com");
	assert_verdict(UNTRUSTED, judge_names(issuer, SRV("contoso.com"), S2SP_TEXT("contoso.com")));
	assert_verdict(UNTRUSTED, judge_names(issuer, ADDR("contoso.com"), S2SP_TEXT("contoso.com")));
	assert_verdict(UNTRUSTED, judge_names(issuer, NAME "," SRV("evilfabrikam.com"), S2SP_TEXT("evilfabrikam.com")));
	/* Also through one more CA, and from the anchor itself. */
	const struct made *below = maker_ca("Below", issuer);
	const struct made *leaf = maker_make((struct recipe){ .issuer = below, .names = SRV("contoso.com") });
	assert_verdict(UNTRUSTED, judge_with(store, S2SP_TEXT("contoso.com"), CHAIN(leaf, below, issuer)));
	struct s2sp_trust_store *anchor = trust(&issuer, 1);
	assert_verdict(UNTRUSTED, judge_with(anchor, S2SP_TEXT("contoso.com"), CHAIN(leaf, below)));
	s2sp_trust_store_free(anchor);
}

static void constraints_exclude(void **state) {
	(void)state;
	const struct made *issuer = constrained("critical,excluded;DNS:corp.fabrikam.com");
	assert_verdict(VALID, judge_names(issuer, NAME, DOMAIN));
	assert_verdict(UNTRUSTED, judge_names(issuer, "DNS:corp.fabrikam.com", S2SP_TEXT("corp.fabrikam.com")));
	assert_verdict(UNTRUSTED, judge_names(issuer, SRV("eu.corp.fabrikam.com"), S2SP_TEXT("eu.corp.fabrikam.com")));
	/* A wildcard that stands for an excluded name. */
	assert_verdict(UNTRUSTED, judge_names(issuer, "DNS:*.fabrikam.com", S2SP_TEXT("corp.fabrikam.com")));
	assert_verdict(VALID, judge_names(issuer, "DNS:*.fabrikam.com", S2SP_TEXT("eu.fabrikam.com")));
	assert_verdict(UNTRUSTED, judge_names(constrained("DER:30:06:A1:04:30:02:82:00"), SRV("fabrikam.com"), DOMAIN));
	assert_verdict(UNTRUSTED, judge_names(constrained("permitted;DNS:.fabrikam.com"), SRV("fabrikam.com"), DOMAIN));
	assert_verdict(VALID, judge_names(constrained("permitted;DNS:.COM"), SRV("fabrikam.com"), DOMAIN));
	assert_verdict(VALID, judge_names(constrained("permitted;email:fabrikam.com"), SRV("fabrikam.com"), DOMAIN));
}

/* --- dates --- */

static void dates(void **state) {
	(void)state;
	assert_verdict(EXPIRED, JUDGE(LEAF(.from = -20, .to = -10), intermediate));
	assert_int_equal(report.fault_depth, 0);
	assert_verdict(NOT_YET_VALID, JUDGE(LEAF(.from = 10, .to = 20), intermediate));
	const struct made *stale = maker_make((struct recipe){
		.subject = "Stale CA", .issuer = root, .from = -50, .to = -1, .basic = "critical,CA:TRUE", .usage = "keyCertSign" });
	assert_verdict(EXPIRED, JUDGE(maker_make((struct recipe){ .issuer = stale, .names = NAME }), stale));
	assert_int_equal(report.fault_depth, 1);
	const struct made *early = maker_make((struct recipe){
		.subject = "Early CA", .issuer = root, .from = 1, .to = 50, .basic = "critical,CA:TRUE", .usage = "keyCertSign" });
	assert_verdict(NOT_YET_VALID, JUDGE(maker_make((struct recipe){ .issuer = early, .names = NAME }), early));
	assert_verdict(EXPIRED, JUDGE(maker_make((struct recipe){ .issuer = stale, .names = NAME, .from = 1, .to = 2 }), stale));
	assert_int_equal(report.fault_depth, 1);
}

static void to_the_second(void **state) {
	(void)state;
	struct s2sp_text chain[] = { good->der, intermediate->der };
	struct s2sp_certificate_question question = { .chain = chain, .chain_length = 2, .store = store };
	question.now = MAKER_NOW + 10 * MAKER_DAY - 1;
	assert_verdict(VALID, ask(question));
	question.now = MAKER_NOW + 10 * MAKER_DAY + 1;
	assert_verdict(EXPIRED, ask(question));
	question.now = MAKER_NOW - 10 * MAKER_DAY - 1;
	assert_verdict(NOT_YET_VALID, ask(question));
	question.now = MAKER_NOW + INT64_C(40) * 365 * MAKER_DAY; /* past 2038 */
	assert_verdict(EXPIRED, ask(question));
}

static void an_anchor_that_has_expired_since(void **state) {
	(void)state;
	const struct made *brief = maker_make(
		(struct recipe){ .subject = "Brief root", .basic = "critical,CA:TRUE", .usage = "keyCertSign", .from = -5, .to = 5 });
	struct s2sp_trust_store *anchor = trust(&brief, 1);
	assert_int_equal(s2sp_trust_store_not_after(anchor), MAKER_NOW + 5 * MAKER_DAY);
	const struct made *leaf = maker_make((struct recipe){ .issuer = brief, .names = NAME });
	struct s2sp_certificate_question question = { .chain = &leaf->der, .chain_length = 1, .store = anchor };
	assert_verdict(VALID, ask(question));
	assert_int_equal(report.chain_not_after, MAKER_NOW + 5 * MAKER_DAY);
	question.now = MAKER_NOW + 6 * MAKER_DAY;
	assert_verdict(EXPIRED, ask(question));
	s2sp_trust_store_free(anchor);
}

/* --- precedence --- */

static void untrusted_outranks_the_rest(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .issuer = other_root, .from = -20, .to = -10 }), other_root));
	assert_verdict(UNTRUSTED, JUDGE(maker_make((struct recipe){ .names = NAME, .from = 10, .to = 20 })));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.from = -20, .to = -10, .usage = "keyAgreement"), intermediate));
	assert_verdict(UNTRUSTED, JUDGE(LEAF(.from = -20, .to = -10, .digest = "SHA1"), intermediate));
	const struct made *issuer = constrained("critical,permitted;DNS:contoso.com");
	const struct made *leaf = maker_make((struct recipe){ .issuer = issuer, .names = NAME, .from = -20, .to = -10 });
	assert_verdict(UNTRUSTED, JUDGE(leaf, issuer));
}

static void dates_outrank_names_and_names_outrank_pins(void **state) {
	(void)state;
	struct s2sp_pin pin = { { 1 } };
	const struct made *late = maker_make((struct recipe){ .issuer = root, .names = "DNS:contoso.com", .from = -20, .to = -10 });
	struct s2sp_certificate_question question = {
		.chain = &late->der, .chain_length = 1, .store = store, .pins = &pin, .pin_count = 1
	};
	assert_verdict(EXPIRED, ask(question));
	const struct made *wrong = maker_make((struct recipe){ .issuer = root, .names = "DNS:contoso.com" });
	question.chain = &wrong->der;
	assert_verdict(IDENTITY_MISMATCH, ask(question));
	question.domain = S2SP_TEXT("contoso.com");
	assert_verdict(PIN_MISMATCH, ask(question));
}

/* --- names --- */

static enum s2sp_certificate_verdict judge_list(GENERAL_NAMES *names, struct s2sp_text domain) {
	const struct made *leaf = maker_make((struct recipe){ .issuer = root, .name_list = names });
	GENERAL_NAMES_free(names);
	return judge_with(store, domain, CHAIN(leaf));
}

static size_t unescape(char *text) {
	char *to = text;
	for (const char *from = text; *from != '\0'; from++) {
		if (*from != '\\') {
			*to++ = *from;
		} else if (*++from == 'x') {
			char digits[3] = { from[1], from[2], '\0' };
			*to++ = (char)strtoul(digits, NULL, 16);
			from += 2;
		} else {
			*to++ = *from == '0' ? '\0' : *from == 'n' ? '\n' : *from;
		}
	}
	return (size_t)(to - text);
}

/* The rows that core/identity is judged by, each as a real certificate. */
static void every_row_of_the_fixture(void **state) {
	(void)state;
	FILE *file = fopen(S2SP_FIXTURES "/identities.tsv", "r");
	if (file == NULL)
		fail_msg("cannot open " S2SP_FIXTURES "/identities.tsv");
	char line[4096];
	int rows = 0, wrong = 0, number = 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		char *field[4], *next = line;
		number++;
		if (line[0] == '#')
			continue;
		for (size_t i = 0; i < 4; i++) {
			field[i] = next;
			next = strchr(next, '\t');
			assert_non_null(next);
			*next++ = '\0';
		}
		struct s2sp_text value = { field[1], unescape(field[1]) };
		GENERAL_NAMES *names = GENERAL_NAMES_new();
		if (strcmp(field[0], "srv") == 0)
			maker_add_other(names, NID_SRVName, V_ASN1_IA5STRING, value);
		else if (strcmp(field[0], "xmpp-addr") == 0)
			maker_add_other(names, NID_XmppAddr, V_ASN1_UTF8STRING, value);
		else
			maker_add_name(names, strcmp(field[0], "dns") == 0 ? GEN_DNS : GEN_EMAIL, value);
		enum s2sp_certificate_verdict verdict = judge_list(names, s2sp_text_from(field[2]));
		bool match = strcmp(field[3], "match") == 0;
		assert_int_equal(report.names_kept, 1);
		if (verdict != (match ? VALID : IDENTITY_MISMATCH) ||
			strcmp(s2sp_identity_finding_token(report.names[0].finding), field[3]) != 0) {
			print_error("line %d: %s, %s instead of %s\n", number, s2sp_certificate_verdict_token(verdict),
						s2sp_identity_finding_token(report.names[0].finding), field[3]);
			wrong++;
		}
		rows++;
	}
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(rows >= 140);
}

static void no_name_but_the_common_name(void **state) {
	(void)state;
	const struct made *leaf = maker_make((struct recipe){ .subject = "fabrikam.com", .issuer = root });
	assert_verdict(IDENTITY_MISMATCH, JUDGE(leaf));
	leaf = maker_make((struct recipe){ .subject = "fabrikam.com", .issuer = root, .names = "DNS:contoso.com" });
	assert_verdict(IDENTITY_MISMATCH, JUDGE(leaf));
	leaf = maker_make((struct recipe){ .subject = "fabrikam.com", .issuer = root, .names = "IP:192.0.2.1" });
	assert_verdict(IDENTITY_MISMATCH, JUDGE(leaf));
	assert_int_equal(report.name_count, 1);
	leaf = maker_make((struct recipe){ .subject = "fabrikam.com", .issuer = root, .version_1 = 1 });
	assert_verdict(IDENTITY_MISMATCH, JUDGE(leaf));
}

static void an_address_never_identifies(void **state) {
	(void)state;
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	maker_add_name(names, GEN_IPADD, S2SP_TEXT("fabrikam.com"));
	maker_add_name(names, GEN_URI, S2SP_TEXT("fabrikam.com"));
	maker_add_name(names, GEN_EMAIL, S2SP_TEXT("fabrikam.com"));
	maker_add_other(names, NID_ms_upn, V_ASN1_UTF8STRING, S2SP_TEXT("fabrikam.com"));
	assert_verdict(IDENTITY_MISMATCH, judge_list(names, DOMAIN));
	assert_int_equal(report.name_count, 4);
}

static void other_names_in_the_wrong_string_type(void **state) {
	(void)state;
	static const struct {
		int nid, type;
		struct s2sp_text value;
		bool match;
	} rows[] = {
		{ NID_SRVName, V_ASN1_IA5STRING, { "_xmpp-server.fabrikam.com", 25 }, true },
		{ NID_SRVName, V_ASN1_UTF8STRING, { "_xmpp-server.fabrikam.com", 25 }, false },
		{ NID_SRVName, V_ASN1_OCTET_STRING, { "_xmpp-server.fabrikam.com", 25 }, false },
		{ NID_XmppAddr, V_ASN1_UTF8STRING, { "fabrikam.com", 12 }, true },
		{ NID_XmppAddr, V_ASN1_IA5STRING, { "fabrikam.com", 12 }, false },
		{ NID_XmppAddr, V_ASN1_PRINTABLESTRING, { "fabrikam.com", 12 }, false },
		{ NID_XmppAddr, V_ASN1_BMPSTRING, { "\0f\0a\0b\0r\0i\0k\0a\0m\0.\0c\0o\0m", 24 }, false },
		{ NID_XmppAddr, V_ASN1_BMPSTRING, { "fabrikam.com", 12 }, false },
		{ NID_XmppAddr, V_ASN1_UNIVERSALSTRING, { "fabrikam.com", 12 }, false },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		GENERAL_NAMES *names = GENERAL_NAMES_new();
		maker_add_other(names, rows[i].nid, rows[i].type, rows[i].value);
		assert_verdict(rows[i].match ? VALID : IDENTITY_MISMATCH, judge_list(names, DOMAIN));
	}
	/* One bad name beside a good one does no harm. */
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	maker_add_name(names, GEN_DNS, (struct s2sp_text){ "fabrikam.com\0.evil.test", 23 });
	maker_add_other(names, NID_XmppAddr, V_ASN1_BMPSTRING, S2SP_TEXT("f\0"));
	maker_add_name(names, GEN_DNS, DOMAIN);
	assert_verdict(VALID, judge_list(names, DOMAIN));
	assert_string_equal(report.names[0].text, "fabrikam.com\\00.evil.test");
}

static void without_a_domain_nobody_is_identified(void **state) {
	(void)state;
	assert_verdict(IDENTITY_MISMATCH, judge_with(store, S2SP_TEXT(""), CHAIN(good, intermediate)));
}

/* --- pins --- */

static void pins(void **state) {
	(void)state;
	struct s2sp_text chain[] = { good->der, intermediate->der, other_root->der };
	struct s2sp_certificate_question question = { .chain = chain, .chain_length = 3, .store = store };
	assert_verdict(VALID, ask(question));
	assert_int_equal(report.pin_count, 4); /* three presented, and the anchor */
	struct s2sp_pin known[4];
	memcpy(known, report.pins, sizeof(known));
	static const enum s2sp_certificate_verdict wanted[] = { VALID, VALID, PIN_MISMATCH, VALID };
	question.pin_count = 1;
	for (size_t i = 0; i < 4; i++) {
		question.pins = &known[i]; /* the third is of a certificate that was presented but proves nothing */
		assert_verdict(wanted[i], ask(question));
	}
	struct s2sp_pin several[] = { { { 1 } }, { { 2 } }, known[1] };
	question.pins = several;
	question.pin_count = 2;
	assert_verdict(PIN_MISMATCH, ask(question));
	question.pin_count = 3;
	assert_verdict(VALID, ask(question));
	/* A pin replaces no trust. */
	const struct made *own = maker_make((struct recipe){ .names = NAME });
	question = (struct s2sp_certificate_question){ .chain = &own->der, .chain_length = 1, .store = store };
	assert_verdict(UNTRUSTED, ask(question));
	known[0] = report.pins[0];
	question.pins = known;
	question.pin_count = 1;
	assert_verdict(UNTRUSTED, ask(question));
}

static void a_pin_as_text(void **state) {
	(void)state;
	struct s2sp_pin pin;
	/* What the documentation tells administrators to compute: the digest of the public key's DER. */
	unsigned char *der = NULL;
	int length = i2d_PUBKEY(good->key, &der);
	assert_true(length > 0);
	assert_int_equal(EVP_Digest(der, (size_t)length, pin.sha256, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(der);
	assert_verdict(VALID, JUDGE(good, intermediate));
	assert_memory_equal(pin.sha256, report.pins[0].sha256, 32);
}

/* --- malformed --- */

static enum s2sp_certificate_verdict judge_bytes(const char *bytes, size_t length, size_t count) {
	struct s2sp_text chain[64];
	for (size_t i = 0; i < count; i++)
		chain[i] = i == 0 ? (struct s2sp_text){ bytes, length } : intermediate->der;
	return ask((struct s2sp_certificate_question){ .chain = chain, .chain_length = count, .store = store });
}

static void what_is_no_certificate(void **state) {
	(void)state;
	assert_verdict(MALFORMED, judge_bytes("", 0, 1));
	assert_verdict(MALFORMED, judge_bytes(NULL, 0, 1));
	assert_verdict(MALFORMED, judge_bytes("-----BEGIN CERTIFICATE-----", 27, 1));
	assert_verdict(MALFORMED, judge_bytes("\x30\x80", 2, 1));
	assert_verdict(MALFORMED, judge_bytes("\x30\x84\xff\xff\xff\xff", 6, 2));
	char *copy = malloc(good->der.length + 1);
	assert_non_null(copy);
	memcpy(copy, good->der.bytes, good->der.length);
	copy[good->der.length] = 0;
	assert_verdict(VALID, judge_bytes(copy, good->der.length, 2));
	assert_verdict(MALFORMED, judge_bytes(copy, good->der.length + 1, 2));
	assert_verdict(MALFORMED, judge_bytes(copy, good->der.length - 1, 2));
	free(copy);
	/* Not only the leaf. */
	struct s2sp_text chain[] = { good->der, intermediate->der, S2SP_TEXT("garbage") };
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = chain, .chain_length = 3, .store = store }));
	assert_int_equal(report.fault_depth, 2);
	assert_string_equal(report.subject, "CN=leaf");
}

static void deep_nesting(void **state) {
	(void)state;
	size_t size = 60000;
	char *nest = malloc(size);
	assert_non_null(nest);
	for (size_t i = 0; i < size; i += 2) {
		nest[i] = 0x30;
		nest[i + 1] = (char)0x80;
	}
	assert_verdict(MALFORMED, judge_bytes(nest, size, 1));
	const struct made *leaf = maker_make((struct recipe){ .issuer = root, .names_der = { nest, size } });
	assert_verdict(MALFORMED, JUDGE(leaf));
	free(nest);
}

static void too_much_of_everything(void **state) {
	(void)state;
	const struct made *chain[64];
	for (size_t i = 0; i < 64; i++)
		chain[i] = i == 0 ? good : intermediate;
	assert_verdict(VALID, judge_with(store, DOMAIN, chain, S2SP_CHAIN_LENGTH_MAX));
	assert_verdict(MALFORMED, judge_with(store, DOMAIN, chain, S2SP_CHAIN_LENGTH_MAX + 1));
	assert_verdict(MALFORMED, judge_with(store, DOMAIN, chain, 64));
	size_t size = S2SP_CERTIFICATE_SIZE_MAX + 1;
	char *huge = calloc(1, size);
	assert_non_null(huge);
	assert_verdict(MALFORMED, judge_bytes(huge, size, 1));
	struct s2sp_text blobs[] = { good->der, { huge, size - 1 }, { huge, size - 1 }, { huge, size - 1 } };
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = blobs, .chain_length = 4, .store = store }));
	assert_string_equal(report.cause, "the certificates are larger than 256 KiB"); /* found before they are read */
	blobs[0].length = SIZE_MAX;                                                    /* is not read */
	assert_verdict(MALFORMED, ask((struct s2sp_certificate_question){ .chain = blobs, .chain_length = 4, .store = store }));
	free(huge);
}

static void damaged_extensions(void **state) {
	(void)state;
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_twice = 1), intermediate));
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_der = S2SP_TEXT("garbage")), intermediate));
	assert_verdict(MALFORMED, JUDGE(LEAF(.names_der = S2SP_TEXT("\x30\x03\x82\x09x")), intermediate));
	/* Malformed outranks untrusted. */
	assert_verdict(MALFORMED, JUDGE(maker_make((struct recipe){ .names_der = S2SP_TEXT("garbage") })));
	/* Not only in the names, and not only in the leaf. */
	assert_verdict(MALFORMED, JUDGE(LEAF(.usage = "DER:30:00"), intermediate));
	const struct made *issuer = maker_make((struct recipe){ .subject = "Damaged", .issuer = root, .basic = "DER:01:01:FF" });
	assert_verdict(MALFORMED, JUDGE(maker_make((struct recipe){ .issuer = issuer, .names = NAME }), issuer));
	assert_int_equal(report.fault_depth, 1);
	/* An empty list is not allowed (SIZE (1..MAX)), but says nothing. */
	assert_verdict(IDENTITY_MISMATCH, JUDGE(LEAF(.names_der = S2SP_TEXT("\x30\x00")), intermediate));
}

static GENERAL_NAMES *many_names(size_t count) {
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	for (size_t i = 0; i + 1 < count; i++) {
		char name[32];
		int length = snprintf(name, sizeof(name), "n%zu.t", i);
		maker_add_name(names, GEN_DNS, (struct s2sp_text){ name, (size_t)length });
	}
	maker_add_name(names, GEN_DNS, DOMAIN);
	return names;
}

static void many_subject_names(void **state) {
	(void)state;
	assert_verdict(VALID, judge_list(many_names(S2SP_SUBJECT_NAMES_MAX), DOMAIN));
	assert_int_equal(report.name_count, S2SP_SUBJECT_NAMES_MAX);
	assert_int_equal(report.names_kept, S2SP_REPORT_NAMES);
	assert_string_equal(report.names[S2SP_REPORT_NAMES - 1].text, "fabrikam.com");
	assert_int_equal(report.names[S2SP_REPORT_NAMES - 1].finding, S2SP_IDENTITY_MATCH);
	assert_verdict(MALFORMED, judge_list(many_names(S2SP_SUBJECT_NAMES_MAX + 1), DOMAIN));
	clock_t before = clock();
	assert_verdict(MALFORMED, judge_list(many_names(10000), DOMAIN));
	/* Made, signed and judged twice; a second would be far too long even under a sanitizer. */
	assert_true(clock() - before < 2 * CLOCKS_PER_SEC);
}

static size_t conversions;

static enum s2sp_domain_fault counting_to_ascii(struct s2sp_text name, struct s2sp_domain *domain) {
	conversions++;
	return s2sp_idna_to_ascii(name, domain);
}

/* b\u00fccherN.test, and one that is xn--bcher-kva.test. */
static const struct made *many_foreign_names(const struct made *issuer, size_t before, size_t after) {
	static const char own[] = "b\xc3\xbc"
							  "cher.test";
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	for (size_t i = 0; i < before + after + 1; i++) {
		char name[48];
		int length = i == before ? snprintf(name, sizeof(name), "%s", own)
								 : snprintf(name, sizeof(name),
											"b\xc3\xbc"
											"cher%zu.test",
											i);
		maker_add_other(names, NID_XmppAddr, V_ASN1_UTF8STRING, (struct s2sp_text){ name, (size_t)length });
	}
	const struct made *leaf = maker_make((struct recipe){ .issuer = issuer, .name_list = names });
	GENERAL_NAMES_free(names);
	return leaf;
}

static enum s2sp_certificate_verdict judge_counting(const struct made *leaf) {
	struct s2sp_text chain[2] = { leaf->der, intermediate->der };
	struct s2sp_certificate_question question = { .chain = chain,
												  .chain_length = 2,
												  .store = store,
												  .now = MAKER_NOW,
												  .domain = S2SP_TEXT("xn--bcher-kva.test"),
												  .to_ascii = counting_to_ascii };
	conversions = 0;
	return s2sp_certificate_judge(&question, &report);
}

/* To convert a name costs far more than to read it, and anybody can make a certificate. */
static void names_are_converted_only_for_a_chain(void **state) {
	(void)state;
	assert_verdict(UNTRUSTED, judge_counting(many_foreign_names(NULL, 1000, 900)));
	assert_int_equal(conversions, 0);
	assert_int_equal(report.name_count, 1901);
	assert_int_equal(report.names[0].finding, S2SP_IDENTITY_UNKNOWN);
	assert_verdict(VALID, judge_counting(many_foreign_names(intermediate, S2SP_CONVERTED_NAMES_MAX - 1, 900)));
	assert_int_equal(conversions, S2SP_CONVERTED_NAMES_MAX);
	assert_verdict(IDENTITY_MISMATCH, judge_counting(many_foreign_names(intermediate, S2SP_CONVERTED_NAMES_MAX, 900)));
	assert_int_equal(conversions, S2SP_CONVERTED_NAMES_MAX);
}

static void long_names_in_the_report(void **state) {
	(void)state;
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	char name[1200];
	memset(name, 0xff, sizeof(name));
	for (int i = 0; i < 50; i++)
		maker_add_name(names, GEN_DNS, (struct s2sp_text){ name, sizeof(name) });
	maker_add_name(names, GEN_DNS, DOMAIN);
	assert_verdict(VALID, judge_list(names, DOMAIN));
	assert_int_equal(report.name_count, 51);
	assert_true(report.bytes_used <= sizeof(report.bytes));
	assert_string_equal(report.names[report.names_kept - 1].text, "fabrikam.com");
}

/* --- what the operator sees --- */

static void the_report(void **state) {
	(void)state;
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	maker_add_name(names, GEN_DNS, DOMAIN);
	maker_add_other(names, NID_SRVName, V_ASN1_IA5STRING, S2SP_TEXT("_xmpp-server.fabrikam.com"));
	maker_add_other(names, NID_XmppAddr, V_ASN1_UTF8STRING, S2SP_TEXT("b\xc3\xbc.com"));
	const struct made *leaf =
		maker_make((struct recipe){ .subject = "F\xc3\xbc, \x1b[31m\nInc", .issuer = intermediate, .name_list = names });
	GENERAL_NAMES_free(names);
	assert_verdict(VALID, JUDGE(leaf, intermediate));
	assert_string_equal(report.issuer, "CN=Test intermediate");
	assert_string_equal(report.subject, "CN=F\\C3\\BC\\, \\1B[31m\\0AInc");
	assert_int_equal(report.not_after, MAKER_NOW + 10 * MAKER_DAY);
	assert_int_equal(report.not_before, MAKER_NOW - 10 * MAKER_DAY);
	assert_int_equal(report.chain_not_after, MAKER_NOW + 10 * MAKER_DAY);
	assert_int_equal(report.names_kept, 3);
	assert_int_equal(report.names[1].type, S2SP_IDENTIFIER_SRV);
	assert_string_equal(report.names[1].text, "_xmpp-server.fabrikam.com");
	assert_string_equal(report.names[2].text, "b\\C3\\BC.com");
	assert_true(strlen(report.serial) >= 4);
	assert_int_equal(report.pin_count, 3);
}

/* --- PEM --- */

static void from_pem(void **state) {
	(void)state;
	char *pem = maker_pem((const struct made *const[]){ good, intermediate }, 2);
	unsigned char der[4096];
	size_t length = 0;
	struct s2sp_text text = s2sp_text_from(pem);
	assert_int_equal(s2sp_certificate_from_pem(text, der, sizeof(der), &length), S2SP_STATUS_OK);
	assert_int_equal(length, good->der.length);
	assert_memory_equal(der, good->der.bytes, length);
	assert_int_equal(s2sp_certificate_from_pem(text, der, good->der.length - 1, &length), S2SP_STATUS_INVALID);
	assert_int_equal(length, 0);
	text.length = 100;
	assert_int_equal(s2sp_certificate_from_pem(text, der, sizeof(der), &length), S2SP_STATUS_INVALID);
	pem[40] = '!';
	assert_int_equal(s2sp_certificate_from_pem(s2sp_text_from(pem), der, sizeof(der), &length), S2SP_STATUS_INVALID);
	free(pem);
	assert_int_equal(s2sp_certificate_from_pem(S2SP_TEXT(""), der, sizeof(der), &length), S2SP_STATUS_INVALID);
	assert_int_equal(s2sp_certificate_from_pem(S2SP_TEXT("-----BEGIN X-----\n-----END X-----\n"), der, sizeof(der), &length),
					 S2SP_STATUS_INVALID);
	assert_int_equal(ERR_peek_error(), 0);
}

/* --- memory --- */

/* OpenSSL's allocations pass through here: the one numbered `fail_at` fails, and with `fail_on` all after it. */
static long allocations, fail_at = -1;
static bool fail_on;

static bool fails(void) {
	long number = allocations++;
	return fail_at >= 0 && (number == fail_at || (fail_on && number > fail_at));
}

static void *failing_malloc(size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return fails() ? NULL : malloc(size);
}

static void *failing_realloc(void *block, size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return fails() ? NULL : realloc(block, size);
}

static void plain_free(void *block, const char *file, int line) {
	(void)file;
	(void)line;
	free(block);
}

/*
 * With allocations failing in turn, a bad certificate stays bad and nothing leaks. One in seven, from another start in each
 * call; all of them with S2SP_EVERY_ALLOCATION in the environment (a minute under a sanitizer).
 */
static void starve(const struct made *leaf, const struct made *issuer, struct s2sp_text domain, const struct s2sp_pin *pin,
				   bool good_one) {
	struct s2sp_text chain[] = { leaf->der, issuer->der };
	struct s2sp_certificate_question question = { .chain = chain,
												  .chain_length = 2,
												  .store = store,
												  .domain = domain,
												  .pins = pin,
												  .pin_count = pin != NULL,
												  .now = MAKER_NOW,
												  .to_ascii = s2sp_idna_to_ascii };
	static long start;
	long stride = getenv("S2SP_EVERY_ALLOCATION") != NULL ? 1 : 7;
	bool reached = true;
	for (long n = start++ % stride; reached; n += stride) {
		for (int on = 0; on < (n % 16 == 0 ? 2 : 1); on++) {
			allocations = 0;
			fail_on = on;
			fail_at = n;
			enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
			fail_at = -1;
			reached = allocations > n;
			if (good_one ? !reached && verdict != VALID : verdict == VALID)
				fail_msg("allocation %ld of %ld failed, and the verdict is %s", n, allocations,
						 s2sp_certificate_verdict_token(verdict));
			assert_int_equal(ERR_peek_error(), 0);
		}
	}
}

static void without_memory_nothing_bad_is_valid(void **state) {
	(void)state;
	struct s2sp_pin pin = { { 1 } };
	starve(good, intermediate, DOMAIN, NULL, true);
	starve(good, intermediate, DOMAIN, &pin, false);
	starve(LEAF(.key = MAKER_EC_EXPLICIT), intermediate, DOMAIN, NULL, false);
	const struct made *issuer = constrained("critical,permitted;DNS:contoso.com");
	starve(maker_make((struct recipe){ .issuer = issuer, .names = SRV("fabrikam.com") }), issuer, DOMAIN, NULL, false);
}

static void without_memory_no_store(void **state) {
	(void)state;
	char text[512];
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	free(pem);
	for (int host = 0; host < 2; host++) {
		struct s2sp_trust_source source = { .anchors = host ? NULL : file, .file = host ? file : NULL, .now = MAKER_NOW };
		bool reached = true;
		for (long n = 0; reached; n++) {
			struct s2sp_trust_store *made = NULL;
			allocations = 0;
			fail_on = true;
			fail_at = n;
			enum s2sp_status status = s2sp_trust_store_new(&source, &made, text, sizeof(text));
			fail_at = -1;
			reached = allocations > n;
			assert_true((status == S2SP_STATUS_OK) == (made != NULL));
			if (!reached)
				assert_int_equal(status, S2SP_STATUS_OK);
			s2sp_trust_store_free(made);
		}
	}
}

/* --- trust stores --- */

static char message[1024];
static struct s2sp_trust_store *loaded;

static enum s2sp_status load(struct s2sp_trust_source source) {
	source.now = MAKER_NOW;
	ERR_raise(ERR_LIB_USER, ERR_R_MALLOC_FAILURE);
	s2sp_trust_store_free(loaded);
	enum s2sp_status status = s2sp_trust_store_new(&source, &loaded, message, sizeof(message));
	assert_int_equal(ERR_peek_error(), 0);
	assert_true((status == S2SP_STATUS_OK) == (loaded != NULL));
	return status;
}

static enum s2sp_status load_text(const char *text) {
	return load((struct s2sp_trust_source){ .anchors = maker_file(text, strlen(text)) });
}

static enum s2sp_status load_made(const struct made *const *list, size_t count) {
	char *pem = maker_pem(list, count);
	enum s2sp_status status = load_text(pem);
	free(pem);
	return status;
}

#define assert_says(text)                                                                                                        \
	do {                                                                                                                         \
		if (strstr(message, (text)) == NULL)                                                                                     \
			fail_msg("message is: %s", message);                                                                                 \
	} while (0)

static void anchors_that_cannot_be_read(void **state) {
	(void)state;
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/nonexistent/ca.pem" }), S2SP_STATUS_INVALID);
	assert_says("/nonexistent/ca.pem: cannot be read (No such file");
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/tmp" }), S2SP_STATUS_INVALID);
	assert_says("/tmp: is not a file");
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = "/dev/zero" }), S2SP_STATUS_INVALID);
	assert_int_equal(load_text(""), S2SP_STATUS_INVALID);
	assert_says("holds no certificate");
	assert_int_equal(load_text("hello\n"), S2SP_STATUS_INVALID);
	assert_says("holds no certificate");
	assert_int_equal(load_text("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"),
					 S2SP_STATUS_INVALID);
	assert_says("only something else");
	const char *der = maker_file(root->der.bytes, root->der.length);
	assert_int_equal(load((struct s2sp_trust_source){ .anchors = der }), S2SP_STATUS_INVALID);
	assert_says("PEM format");
}

static void anchors_that_are_damaged(void **state) {
	(void)state;
	char *pem = maker_pem((const struct made *const[]){ root, intermediate }, 2);
	char *second = strstr(pem + 10, "-----BEGIN");
	assert_non_null(second);
	second[50] = '!';
	assert_int_equal(load_text(pem), S2SP_STATUS_INVALID);
	assert_says("certificate 2 is damaged");
	second[100] = '\0';
	assert_int_equal(load_text(pem), S2SP_STATUS_INVALID);
	free(pem);
	assert_int_equal(load_text("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"), S2SP_STATUS_INVALID);
	assert_says("certificate 1 is damaged");
}

static void anchors_that_are_no_good(void **state) {
	(void)state;
	assert_int_equal(load_made(&good, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=leaf) is not a CA certificate");
	assert_int_equal(load_made((const struct made *const[]){ root, good }, 2), S2SP_STATUS_INVALID);
	assert_says("certificate 2 (CN=leaf) is not a CA certificate");
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old root", .basic = "critical,CA:TRUE", .from = -50, .to = -1 });
	assert_int_equal(load_made(&old, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=Old root) has expired");
	const struct made *early =
		maker_make((struct recipe){ .subject = "Early root", .basic = "critical,CA:TRUE", .from = 1, .to = 50 });
	assert_int_equal(load_made((const struct made *const[]){ early, old }, 2), S2SP_STATUS_INVALID);
	assert_says("(CN=Early root) is not valid yet");
	assert_says("none of its certificates is valid now");
	const struct made *weak =
		maker_make((struct recipe){ .subject = "Weak root", .basic = "critical,CA:TRUE", .key = MAKER_RSA_1024 });
	assert_int_equal(load_made(&weak, 1), S2SP_STATUS_INVALID);
	assert_says("certificate 1 (CN=Weak root) has a key that cannot be used or is too weak");
}

static void anchors_that_will_do(void **state) {
	(void)state;
	assert_int_equal(load_made(&root, 1), S2SP_STATUS_OK);
	assert_string_equal(message, "");
	assert_int_equal(s2sp_trust_store_count(loaded), 1);
	assert_int_equal(s2sp_trust_store_not_after(loaded), MAKER_NOW + 100 * MAKER_DAY);
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old root", .basic = "critical,CA:TRUE", .from = -50, .to = -1 });
	assert_int_equal(load_made((const struct made *const[]){ old, root, other_root }, 3), S2SP_STATUS_OK);
	assert_says("certificate 1 (CN=Old root) has expired");
	assert_int_equal(s2sp_trust_store_count(loaded), 3);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	const struct made *version_1 = maker_make((struct recipe){ .subject = "Version 1 root", .version_1 = 1 });
	assert_int_equal(load_made(&version_1, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(maker_make((struct recipe){ .issuer = version_1, .names = NAME }))));
}

static void an_intermediate_as_the_anchor(void **state) {
	(void)state;
	assert_int_equal(load_made(&intermediate, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good)));
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate, root)));
	const struct made *sibling = maker_make((struct recipe){ .issuer = root, .names = NAME });
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(sibling, root)));
}

static void a_self_signed_ca_as_its_own_anchor(void **state) {
	(void)state;
	const struct made *both =
		maker_make((struct recipe){ .subject = "fabrikam.com", .basic = "critical,CA:TRUE", .names = NAME });
	assert_int_equal(load_made(&both, 1), S2SP_STATUS_OK);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(both)));
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(good, intermediate, root)));
}

static void the_hosts_own_store(void **state) {
	(void)state;
	char *pem = maker_pem(&root, 1);
	const char *file = maker_file(pem, strlen(pem));
	const char *empty = maker_file("", 0);
	free(pem);
	assert_int_equal(load((struct s2sp_trust_source){ .file = file }), S2SP_STATUS_OK);
	assert_int_equal(s2sp_trust_store_count(loaded), 1);
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = file, .path = "/nonexistent" }), S2SP_STATUS_OK);
	assert_says("/nonexistent: is not a directory");
	assert_verdict(VALID, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = empty, .path = "/tmp" }), S2SP_STATUS_OK);
	assert_says("cannot be read as a bundle");
	assert_verdict(UNTRUSTED, judge_with(loaded, DOMAIN, CHAIN(good, intermediate)));
	assert_int_equal(load((struct s2sp_trust_source){ .file = empty, .path = "/nonexistent" }), S2SP_STATUS_INVALID);
	assert_int_equal(load((struct s2sp_trust_source){ .file = NULL }), S2SP_STATUS_OK); /* OpenSSL's default */
	s2sp_trust_store_free(loaded);
	loaded = NULL;
}

static void messages_are_cut(void **state) {
	(void)state;
	struct s2sp_trust_source source = { .anchors = "/nonexistent/ca.pem", .now = MAKER_NOW };
	struct s2sp_trust_store *none = NULL;
	for (size_t size = 1; size < 40; size++) {
		char *exact = malloc(size);
		assert_non_null(exact);
		assert_int_equal(s2sp_trust_store_new(&source, &none, exact, size), S2SP_STATUS_INVALID);
		assert_true(strlen(exact) < size);
		free(exact);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_chain_in_any_order),
		cmocka_unit_test(an_unrelated_certificate_does_not_matter),
		cmocka_unit_test(directly_from_the_anchor),
		cmocka_unit_test(keys_of_level_2_pass),
		cmocka_unit_test(extended_key_usage_does_not_count),
		cmocka_unit_test(nothing_presented),
		cmocka_unit_test(without_a_store_nothing_is_known),
		cmocka_unit_test(chains_that_lead_nowhere),
		cmocka_unit_test(a_tampered_signature),
		cmocka_unit_test(a_leaf_that_signs),
		cmocka_unit_test(path_length),
		cmocka_unit_test(a_chain_too_long),
		cmocka_unit_test(weak_keys_and_signatures),
		cmocka_unit_test(key_usage_of_the_leaf),
		cmocka_unit_test(an_unknown_critical_extension),
		cmocka_unit_test(constraints_permit),
		cmocka_unit_test(constraints_bind_every_form),
		cmocka_unit_test(constraints_exclude),
		cmocka_unit_test(dates),
		cmocka_unit_test(to_the_second),
		cmocka_unit_test(an_anchor_that_has_expired_since),
		cmocka_unit_test(untrusted_outranks_the_rest),
		cmocka_unit_test(dates_outrank_names_and_names_outrank_pins),
		cmocka_unit_test(every_row_of_the_fixture),
		cmocka_unit_test(no_name_but_the_common_name),
		cmocka_unit_test(an_address_never_identifies),
		cmocka_unit_test(other_names_in_the_wrong_string_type),
		cmocka_unit_test(without_a_domain_nobody_is_identified),
		cmocka_unit_test(pins),
		cmocka_unit_test(a_pin_as_text),
		cmocka_unit_test(what_is_no_certificate),
		cmocka_unit_test(deep_nesting),
		cmocka_unit_test(too_much_of_everything),
		cmocka_unit_test(damaged_extensions),
		cmocka_unit_test(many_subject_names),
		cmocka_unit_test(names_are_converted_only_for_a_chain),
		cmocka_unit_test(long_names_in_the_report),
		cmocka_unit_test(the_report),
		cmocka_unit_test(from_pem),
		cmocka_unit_test(without_memory_nothing_bad_is_valid),
		cmocka_unit_test(without_memory_no_store),
		cmocka_unit_test(anchors_that_cannot_be_read),
		cmocka_unit_test(anchors_that_are_damaged),
		cmocka_unit_test(anchors_that_are_no_good),
		cmocka_unit_test(anchors_that_will_do),
		cmocka_unit_test(an_intermediate_as_the_anchor),
		cmocka_unit_test(a_self_signed_ca_as_its_own_anchor),
		cmocka_unit_test(the_hosts_own_store),
		cmocka_unit_test(messages_are_cut),
	};
	if (CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free) != 1)
		return 1;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
