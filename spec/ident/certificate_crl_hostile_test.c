/* Revocation lists of an authority that wishes us ill, or that somebody has put in the place of good ones: what they may cost, and set free. */
#define _POSIX_C_SOURCE 200809L

#include "crl_judging.h"

/* --- what an authority that wishes us ill can publish --- */

struct builder {
	unsigned char *bytes;
	size_t length;
};

/* Puts a header in front of what is there from `from` on. */
static void wrap(struct builder *builder, size_t from, int tag, int class) {
	unsigned char header[16], *end = header;
	ASN1_put_object(&end, 1, (int)(builder->length - from), tag, class);
	size_t size = (size_t)(end - header);
	memmove(builder->bytes + from + size, builder->bytes + from, builder->length - from);
	memcpy(builder->bytes + from, header, size);
	builder->length += size;
}

static void put(struct builder *builder, const void *bytes, size_t length) {
	memcpy(builder->bytes + builder->length, bytes, length);
	builder->length += length;
}

/* The list `der` with `more` behind its entries, `entry_more` bytes of extensions in its only entry, or another algorithm outside, not signed anew. */
static struct s2sp_text rewritten(struct s2sp_text der, struct s2sp_text more, size_t entry_more, bool other_algorithm) {
	struct builder made = { calloc(1, der.length + more.length + entry_more + 100), 0 };
	struct builder entries = { calloc(1, der.length + entry_more + 100), 0 };
	assert_true(made.bytes != NULL && entries.bytes != NULL);
	const unsigned char *from = (const unsigned char *)der.bytes;
	X509_CRL *crl = d2i_X509_CRL(NULL, &from, (long)der.length);
	assert_non_null(crl);
	unsigned char *part = NULL;
	const ASN1_BIT_STRING *signature = NULL;
	const X509_ALGOR *algorithm = NULL;
	X509_CRL_get0_signature(crl, &signature, &algorithm);
	static const unsigned char version[] = { 2, 1, 1 }, extension[] = { 0x30, 4, 6, 0, 4, 0 };
	put(&made, version, sizeof(version));
	int length = i2d_X509_ALGOR(algorithm, &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_X509_NAME(X509_CRL_get_issuer(crl), &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	const ASN1_TIME *times[] = { X509_CRL_get0_lastUpdate(crl), X509_CRL_get0_nextUpdate(crl) };
	for (size_t i = 0; i < 2; i++) {
		part = NULL;
		length = i2d_ASN1_TIME(times[i], &part);
		put(&made, part, (size_t)length);
		OPENSSL_free(part);
	}
	X509_REVOKED *revoked = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);
	part = NULL;
	length = i2d_ASN1_INTEGER(X509_REVOKED_get0_serialNumber(revoked), &part);
	put(&entries, part, (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_ASN1_TIME(X509_REVOKED_get0_revocationDate(revoked), &part);
	put(&entries, part, (size_t)length);
	OPENSSL_free(part);
	size_t extensions = entries.length;
	while (entries.length - extensions < entry_more)
		put(&entries, extension, sizeof(extension));
	if (entry_more > 0)
		wrap(&entries, extensions, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&entries, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&entries, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	put(&made, entries.bytes, entries.length);
	if (more.length > 0)
		put(&made, more.bytes, more.length);
	wrap(&made, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	part = NULL;
	static const unsigned char ed25519[] = { 0x30, 5, 6, 3, 0x2b, 0x65, 0x70 };
	length = i2d_X509_ALGOR(algorithm, &part);
	put(&made, other_algorithm ? ed25519 : part, other_algorithm ? sizeof(ed25519) : (size_t)length);
	OPENSSL_free(part);
	part = NULL;
	length = i2d_ASN1_BIT_STRING(signature, &part);
	put(&made, part, (size_t)length);
	OPENSSL_free(part);
	wrap(&made, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	X509_CRL_free(crl);
	free(entries.bytes);
	return (struct s2sp_text){ (const char *)made.bytes, made.length };
}

/* Entries that stand in a second place would be read by nobody, no matter who has signed them. */
static void test_entries_twice(void **state) {
	(void)state;
	struct s2sp_text der = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .version_1 = true });
	static const char empty[] = { 0x30, 0 };
	struct s2sp_text same = rewritten(der, (struct s2sp_text){ NULL, 0 }, 0, false);
	struct s2sp_crl_file *file = read_bytes(same, NULL);
	assert_int_equal(s2sp_crl_file_entries(file), 1);
	assert_string_equal(message, "");
	s2sp_crl_file_free(file);
	struct s2sp_text twice = rewritten(der, (struct s2sp_text){ empty, sizeof(empty) }, 0, false);
	refuses(twice, "list 1 is damaged");
	struct s2sp_text other = rewritten(der, (struct s2sp_text){ NULL, 0 }, 0, true);
	file = read_bytes(other, NULL);
	assert_non_null(file);
	assert_non_null(strstr(message, "names two algorithms of its signature"));
	s2sp_crl_file_free(file);
	free((char *)(uintptr_t)same.bytes);
	free((char *)(uintptr_t)twice.bytes);
	free((char *)(uintptr_t)other.bytes);
}

/* A step takes so many bytes, whatever they are: neither a huge head nor entries with thousands of extensions make it long. */
static void test_steps_are_bounded(void **state) {
	(void)state;
	struct s2sp_text der = maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf } });
	struct s2sp_text large = rewritten(der, (struct s2sp_text){ NULL, 0 }, 60000, false);
	struct s2sp_crl_file *file = read_bytes(large, NULL);
	assert_int_equal(s2sp_crl_file_entries(file), 1);
	s2sp_crl_file_free(file);
	free((char *)(uintptr_t)large.bytes);
	large = rewritten(der, (struct s2sp_text){ NULL, 0 }, 70000, false);
	refuses(large, "list 1 has an entry of more than 64 KiB");
	free((char *)(uintptr_t)large.bytes);

	/* [0] { SEQUENCE OF extension } */
	struct builder head = { calloc(1, 80000), 0 };
	assert_non_null(head.bytes);
	static const unsigned char extension[] = { 0x30, 7, 6, 3, 0x2a, 3, 4, 4, 0 };
	while (head.length < 70000)
		put(&head, extension, sizeof(extension));
	wrap(&head, 0, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	wrap(&head, 0, 0, V_ASN1_CONTEXT_SPECIFIC);
	large = rewritten(der, (struct s2sp_text){ (const char *)head.bytes, head.length }, 0, false);
	refuses(large, "list 1 is larger than 64 KiB without its entries");
	free((char *)(uintptr_t)large.bytes);
	free(head.bytes);
}

/* Each key has the whole list hashed: only so many are tried, and who comes with one more is not let through. */
static void test_many_keys(void **state) {
	(void)state;
	enum { KEYS = 18 };
	struct s2sp_crl_file *file = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate }), NULL);
	const struct s2sp_crl_file *const files[] = { file };
	const struct made *issuers[KEYS], *leaves[KEYS];
	for (size_t i = 0; i < KEYS; i++) {
		issuers[i] = i == 0 ? intermediate : maker_ca("Test intermediate", root);
		leaves[i] = maker_make((struct recipe){ .issuer = issuers[i], .names = NAME });
	}
	for (size_t i = 0; i < KEYS; i++) {
		const struct made *const chain[] = { leaves[i], issuers[i] };
		assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), i < 16 ? VALID : UNKNOWN);
		if (i >= 16)
			assert_non_null(strstr(report.cause, "too many signatures"));
	}
	const struct made *const chain[] = { leaves[0], issuers[0] };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 1), VALID);
	s2sp_crl_file_free(file);
}

/* A file of a thousand lists that nobody has signed: so many signatures a chain, and none of those that decide nothing. */
static void test_many_signatures(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	char *forged =
		maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .signer = other_root, .revoked = { leaf } }));
	char *point = maker_crl_pem(maker_crl((struct crl_recipe){
		.issuer = intermediate, .signer = other_root, .scope = "critical,fullname:URI:http://crl.test/2.crl" }));
	char *text = calloc(1, (strlen(forged) + strlen(point)) * 40 + 1), *at = text;
	assert_non_null(text);
	for (size_t i = 0; i < 40; i++) {
		memcpy(at, point, strlen(point));
		at += strlen(point);
	}
	struct s2sp_crl_file *points = read_bytes(s2sp_text_from(text), NULL);
	memset(text, 0, (size_t)(at - text));
	at = text;
	for (size_t i = 0; i < 40; i++) {
		memcpy(at, forged, strlen(forged));
		at += strlen(forged);
	}
	struct s2sp_crl_file *file = read_bytes(s2sp_text_from(text), NULL);
	const struct s2sp_crl_file *const files[] = { file }, *const others[] = { points };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, others, 1), VALID);
	const struct s2sp_text blobs[] = { leaf->der, intermediate->der };
	const struct s2sp_certificate_question question = { .chain = blobs,
														.chain_length = 2,
														.store = store,
														.domain = DOMAIN,
														.to_ascii = s2sp_idna_to_ascii,
														.now = MAKER_NOW,
														.revocation = S2SP_REVOCATION_IF_KNOWN,
														.crls = files,
														.crl_count = 1 };
	assert_int_equal(s2sp_certificate_judge(&question, NULL), UNKNOWN);
	/* What has been verified stays so, and the next one gets further. */
	assert_int_equal(s2sp_certificate_judge(&question, NULL), VALID);
	s2sp_crl_file_free(file);
	s2sp_crl_file_free(points);
	free(text);
	free(forged);
	free(point);
}

/* The names of a list and those of a certificate, both of one authority's making, are not multiplied without end. */
static void test_many_points(void **state) {
	(void)state;
	char points[2000];
	size_t used = (size_t)snprintf(points, sizeof(points), "URI:a0");
	for (int i = 1; i < 110; i++)
		used += (size_t)snprintf(points + used, sizeof(points) - used, ",URI:a%d", i);
	const struct made *many = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .points = points });
	const struct made *const chain[] = { many, intermediate };
	struct s2sp_crl_file *above = read_bytes(maker_crl((struct crl_recipe){ .issuer = root }), NULL);
	/* fullname: of this form takes one name, so there are as many lists as it takes. */
	char *other = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = "critical,fullname:URI:b" }));
	char *good = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = "critical,fullname:URI:a109" }));
	char *text = calloc(1, strlen(other) * 100 + strlen(good) + 1);
	assert_non_null(text);
	for (int more = 0; more < 2; more++) {
		size_t others = more ? 100 : 80;
		for (size_t i = 0; i < others; i++)
			memcpy(text + i * strlen(other), other, strlen(other));
		memcpy(text + others * strlen(other), good, strlen(good) + 1);
		struct s2sp_crl_file *file = read_bytes(s2sp_text_from(text), NULL);
		const struct s2sp_crl_file *const files[] = { file, above };
		assert_int_equal(judge_files(chain, 2, REQUIRED, files, 2), more ? UNKNOWN : VALID);
		s2sp_crl_file_free(file);
	}
	s2sp_crl_file_free(above);
	free(text);
	free(other);
	free(good);
}

/* `count` times `item`, DER in hexadecimal, within headers of these tags, the innermost last, as openssl.cnf has it behind `start`. */
static char *many(const char *start, const char *item, size_t count, const unsigned char *tags, size_t tag_count) {
	size_t each = strlen(item), length = count * each / 2, room = count * each + 200;
	char headers[100] = "", *text = malloc(room);
	assert_non_null(text);
	for (size_t i = tag_count; i-- > 0; length += 4) {
		char inner[100];
		memcpy(inner, headers, sizeof(inner));
		snprintf(headers, sizeof(headers), "%02X82%04zX%.80s", tags[i], length, inner);
	}
	size_t used = (size_t)snprintf(text, room, "%sDER:%s", start, headers);
	for (size_t i = 0; i < count; i++, used += each)
		memcpy(text + used, item, each + 1);
	return text;
}

/* Points without names, by the thousand, beside lists with names by the thousand: a minute of work where it takes part of a second. */
static void test_empty_points(void **state) {
	(void)state;
	enum { LISTS = 40, NAMES = 15000, POINTS = 10000, CPU_SECONDS = 5 };
	static const unsigned char scope_tags[] = { 0x30, 0xA0, 0xA0 }, point_tags[] = { 0x30 };
	char *scope = many("critical,", "8600", NAMES, scope_tags, sizeof(scope_tags));
	char *points = many("", "3004A002A000", POINTS, point_tags, sizeof(point_tags));
	const struct made *empty = maker_make((struct recipe){ .issuer = intermediate, .names = NAME, .points = points });
	char *pem = maker_crl_pem(maker_crl((struct crl_recipe){ .issuer = intermediate, .scope = scope }));
	size_t length = strlen(pem);
	char *text = malloc(length * LISTS);
	assert_non_null(text);
	for (size_t i = 0; i < LISTS; i++)
		memcpy(text + i * length, pem, length);
	struct s2sp_crl_file *file = read_bytes((struct s2sp_text){ text, length * LISTS }, NULL);
	assert_int_equal(s2sp_crl_file_lists(file), LISTS);
	const struct s2sp_crl_file *const files[] = { file };
	const struct made *const chain[] = { empty, intermediate };
	clock_t begun = clock();
	assert_int_equal(judge_files(chain, 2, REQUIRED, files, 1), UNKNOWN);
	assert_true(clock() - begun < (clock_t)CPU_SECONDS * CLOCKS_PER_SEC);
	s2sp_crl_file_free(file);
	free(text);
	free(pem);
	free(points);
	free(scope);
}

/* --- what takes the place of what --- */

struct step {
	const char *name;
	struct crl_recipe crl;
	const char *refused; /* why it may not follow; NULL: it may */
	int again;           /* days from now */
};

static void test_succession(void **state) {
	(void)state;
	const struct made *const chain[] = { leaf, intermediate };
	const struct step steps[] = {
		{ "newer", { .issuer = intermediate, .from = 0, .to = 5 }, NULL, 0 },
		{ "the same", { .issuer = intermediate, .from = -1, .to = 5 }, NULL, 0 },
		{ "older", { .issuer = intermediate, .from = -2, .to = 5 }, "is older than it was", 4 },
		{ "forged",
		  { .issuer = intermediate, .signer = other_root, .from = 0, .to = 5 },
		  "is not signed any more by the key",
		  4 },
		{ "of another",
		  { .issuer = root, .from = 0, .to = 5 },
		  "the revocation list of CN=Test intermediate is not there any more",
		  4 },
		{ "weak", { .issuer = intermediate, .digest = "SHA1", .from = 0, .to = 5 }, "counts for nothing now", 4 },
		{ "only a delta", { .issuer = intermediate, .delta = true, .from = 0, .to = 5 }, "is not there any more", 4 },
		{ "partial",
		  { .issuer = intermediate, .scope = "critical,onlyuser:TRUE", .from = 0, .to = 5 },
		  "is not there any more",
		  4 },
		{ "too early", { .issuer = intermediate, .from = 2, .to = 5 }, "is not valid yet", 2 },
	};
	int64_t again;
	struct s2sp_crl_file *before =
		read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .revoked = { leaf }, .from = -1, .to = 4 }), NULL);
	struct s2sp_crl_file *forged = read_bytes(maker_crl(steps[3].crl), NULL);
	/* Nobody has come with its key yet, so nobody knows whose it is. */
	assert_int_equal(s2sp_crl_file_follows(forged, before, MAKER_NOW, message, sizeof(message), &again), S2SP_STATUS_OK);
	const struct s2sp_crl_file *const files[] = { before, forged };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, files, 2), REVOKED);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct s2sp_crl_file *next = read_bytes(maker_crl(steps[i].crl), NULL);
		enum s2sp_status status = s2sp_crl_file_follows(next, before, MAKER_NOW, message, sizeof(message), &again);
		if (status != (steps[i].refused == NULL ? S2SP_STATUS_OK : S2SP_STATUS_INVALID) ||
			(steps[i].refused != NULL && strstr(message, steps[i].refused) == NULL))
			fail_msg("%s: \"%s\"", steps[i].name, message);
		assert_int_equal(again, steps[i].again == 0 ? 0 : MAKER_NOW + steps[i].again * MAKER_DAY);
		assert_false(s2sp_crl_file_same(next, before));
		/* When it is over, whatever is there is better. */
		assert_int_equal(s2sp_crl_file_follows(next, before, MAKER_NOW + 4 * MAKER_DAY, message, sizeof(message), &again),
						 S2SP_STATUS_OK);
		s2sp_crl_file_free(next);
	}
	assert_true(s2sp_crl_file_same(before, before));
	s2sp_crl_file_free(before);
	s2sp_crl_file_free(forged);

	before = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .delta = true, .revoked = { leaf } }), NULL);
	const struct s2sp_crl_file *const delta[] = { before };
	assert_int_equal(judge_files(chain, 2, IF_KNOWN, delta, 1), REVOKED);
	struct s2sp_crl_file *next = read_bytes(maker_crl((struct crl_recipe){ .issuer = intermediate, .from = 0, .to = 5 }), NULL);
	assert_int_equal(s2sp_crl_file_follows(next, before, MAKER_NOW, message, sizeof(message), &again), S2SP_STATUS_OK);
	assert_int_equal(s2sp_crl_file_begins(next, MAKER_NOW), 0);
	assert_int_equal(s2sp_crl_file_begins(next, MAKER_NOW - 1), MAKER_NOW);
	s2sp_crl_file_free(before);
	s2sp_crl_file_free(next);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries_twice),   cmocka_unit_test(test_steps_are_bounded), cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_many_signatures), cmocka_unit_test(test_many_points),       cmocka_unit_test(test_succession),
		cmocka_unit_test(test_empty_points),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
