/* Whether a certificate names the domain, and whether it has a pinned key. */
#include "certificate_judging.h"

/* --- names --- */

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

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_fixture),
		cmocka_unit_test(no_name_but_the_common_name),
		cmocka_unit_test(an_address_never_identifies),
		cmocka_unit_test(other_names_in_the_wrong_string_type),
		cmocka_unit_test(without_a_domain_nobody_is_identified),
		cmocka_unit_test(pins),
		cmocka_unit_test(a_pin_as_text),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
