/* Certificates made here, good and bad, each with the verdict it must get: chains, constraints, dates, and what the operator sees. */
#include "certificate_judging.h"

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

static enum s2sp_certificate_verdict judge_names(const struct made *issuer, const char *names, struct s2sp_text domain) {
	const struct made *leaf = maker_make((struct recipe){ .subject = "evil.test", .issuer = issuer, .names = names });
	return judge_with(store, domain, CHAIN(leaf, issuer));
}

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
		cmocka_unit_test(the_report),
		cmocka_unit_test(from_pem),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
