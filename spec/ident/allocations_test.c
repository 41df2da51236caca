/*
 * Memory that runs out in OpenSSL, in libidn2 and in our own code: at every allocation in turn, that one alone or all from there on.
 * What must be refused is refused all the same, nothing is lost, and it works when it is tried again.
 *
 * OpenSSL is given an allocator. Everybody else is got at by a malloc of this program's own, for which a sanitizer or Valgrind has no
 * room: with them only OpenSSL's allocations fail.
 *
 * S2SP_STRIDE: of those after the first hundred only every so many fails (7).
 */
#define _POSIX_C_SOURCE 200809L /* for strdup, which ISO C does not have */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "certificate.h"
#include "certificate_maker.h"
#include "certificate_own.h"
#include "certificate_crl.h"
#include "idna.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#endif

static struct {
	bool armed;
	size_t calls, fail_at, fail_count; /* since it was armed */
	size_t failed;
	long alive; /* blocks */
} memory;

static bool fails(void) {
	if (!memory.armed)
		return false;
	memory.calls++;
	if (memory.fail_at == 0 || memory.calls < memory.fail_at || memory.calls - memory.fail_at >= memory.fail_count)
		return false;
	memory.failed++;
	errno = ENOMEM;
	return true;
}

#ifdef SANITIZED
static void *plain_realloc(void *block, size_t size) {
	return realloc(block, size);
}
static void plain_free(void *block) {
	free(block);
}
#else
void *__libc_realloc(void *block, size_t size);
void *__libc_calloc(size_t count, size_t size);
void __libc_free(void *block);
#define plain_realloc __libc_realloc
#define plain_free __libc_free
#endif

static void *change(void *block, size_t size) {
	if (fails())
		return NULL;
	void *moved = plain_realloc(block, size == 0 ? 1 : size);
	memory.alive += block == NULL && moved != NULL;
	return moved;
}

static void release(void *block) {
	memory.alive -= block != NULL;
	plain_free(block);
}

#ifndef SANITIZED
void *malloc(size_t size) {
	return change(NULL, size);
}

void *calloc(size_t count, size_t size) {
	if (fails())
		return NULL;
	void *block = __libc_calloc(count, size);
	memory.alive += block != NULL;
	return block;
}

void *realloc(void *block, size_t size) {
	return change(block, size);
}

void free(void *block) {
	release(block);
}
#endif

static void *crypto_malloc(size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return change(NULL, size);
}

static void *crypto_realloc(void *block, size_t size, const char *file, int line) {
	(void)file;
	(void)line;
	return change(block, size);
}

static void crypto_free(void *block, const char *file, int line) {
	(void)file;
	(void)line;
	release(block);
}

/* --- what is tried --- */

#define NAME "DNS:fabrikam.com"
#define EXPIRED_FROM -20
#define EXPIRED_TO -5

/* Whether what came out is what comes out with all the memory there is; and whether it may come out all the same. */
struct answer {
	bool same;
	bool safe;
};

struct attempt {
	const char *name;
	struct answer (*run)(const void *argument);
	const void *argument;
};

struct chain {
	const struct made *certificates[2];
	struct s2sp_text domain;
	enum s2sp_certificate_verdict verdict;
	bool pinned;
	const struct s2sp_crl_file *lists[2]; /* NULL: nobody asks */
	bool if_known;
};

static struct s2sp_trust_store *store;
static struct s2sp_pin wrong_pin = { { 1 } };
static struct s2sp_certificate_report report;

static struct answer judge(const void *argument) {
	const struct chain *chain = argument;
	const struct s2sp_text der[] = { chain->certificates[0]->der, chain->certificates[1]->der };
	struct s2sp_certificate_question question = {
		.chain = der, .chain_length = 2, .store = store, .domain = chain->domain, .to_ascii = s2sp_idna_to_ascii, .now = MAKER_NOW
	};
	if (chain->pinned) {
		question.pins = &wrong_pin;
		question.pin_count = 1;
	}
	if (chain->lists[0] != NULL) {
		question.revocation = chain->if_known ? S2SP_REVOCATION_IF_KNOWN : S2SP_REVOCATION_REQUIRED;
		question.crls = chain->lists;
		question.crl_count = 2;
	}
	enum s2sp_certificate_verdict verdict = s2sp_certificate_judge(&question, &report);
	bool silent = ERR_peek_error() == 0 && report.cause != NULL && report.verdict == verdict;
	return (struct answer){ verdict == chain->verdict,
							silent && (verdict != S2SP_CERTIFICATE_VALID || chain->verdict == S2SP_CERTIFICATE_VALID) };
}

struct bundle {
	const char *file, *host_file;
	enum s2sp_status status;
	size_t count;
};

static struct answer load(const void *argument) {
	const struct bundle *bundle = argument;
	struct s2sp_trust_source source = { .anchors = bundle->file, .file = bundle->host_file, .now = MAKER_NOW };
	struct s2sp_trust_store *loaded = NULL;
	char message[512];
	enum s2sp_status status = s2sp_trust_store_new(&source, &loaded, message, sizeof(message));
	size_t count = loaded == NULL ? 0 : s2sp_trust_store_count(loaded);
	s2sp_trust_store_free(loaded);
	bool same = status == bundle->status && count == bundle->count;
	bool whole =
		status != S2SP_STATUS_OK || (bundle->status == S2SP_STATUS_OK && (count == bundle->count || bundle->host_file != NULL));
	return (struct answer){ same, ERR_peek_error() == 0 && (status == S2SP_STATUS_OK) == (loaded != NULL) && whole };
}

static struct answer read_pem(const void *argument) {
	static unsigned char der[4096];
	size_t length = 0;
	enum s2sp_status status = s2sp_certificate_from_pem(s2sp_text_from(argument), der, sizeof(der), &length);
	return (struct answer){ status == S2SP_STATUS_OK, ERR_peek_error() == 0 && (status == S2SP_STATUS_OK) == (length > 0) };
}

/* A file of revocation lists: all of it or nothing. */
static struct answer read_lists(const void *argument) {
	const struct s2sp_text *bytes = argument;
	struct s2sp_crl_reader *reader = NULL;
	struct s2sp_crl_file *file = NULL;
	char message[512];
	enum s2sp_status status = s2sp_crl_reader_from("x.crl", *bytes, &reader, message, sizeof(message));
	while (status == S2SP_STATUS_OK && file == NULL)
		status = s2sp_crl_reader_step(reader, &file, message, sizeof(message));
	bool whole = file != NULL && s2sp_crl_file_lists(file) == 2 && s2sp_crl_file_entries(file) == 201;
	bool none = file == NULL && (status == S2SP_STATUS_NO_MEMORY || status == S2SP_STATUS_INVALID);
	s2sp_crl_file_free(file);
	s2sp_crl_reader_free(reader);
	return (struct answer){ whole, ERR_peek_error() == 0 && (whole || none) };
}

/* Read, and asked about the chain for the first time: its signature is computed. */
struct asked {
	struct s2sp_text lists;
	const struct chain *chain;
};

static struct answer ask_lists(const void *argument) {
	const struct asked *asked = argument;
	struct s2sp_crl_reader *reader = NULL;
	struct s2sp_crl_file *file = NULL;
	char message[512];
	bool armed = memory.armed;
	memory.armed = false;
	enum s2sp_status status = s2sp_crl_reader_from("x.crl", asked->lists, &reader, message, sizeof(message));
	while (status == S2SP_STATUS_OK && file == NULL)
		status = s2sp_crl_reader_step(reader, &file, message, sizeof(message));
	s2sp_crl_reader_free(reader);
	memory.armed = armed;
	struct chain chain = *asked->chain;
	chain.lists[0] = chain.lists[1] = file;
	struct answer answer = judge(&chain);
	s2sp_crl_file_free(file);
	return answer;
}

static struct answer read_own(const void *argument) {
	const struct made *made = argument;
	static struct s2sp_own_certificate own;
	enum s2sp_status status = s2sp_own_certificate_read(made->der, S2SP_TEXT("contoso.com"), s2sp_idna_to_ascii, &own);
	return (struct answer){ status == S2SP_STATUS_OK && !own.names_domain && own.key_strong,
							ERR_peek_error() == 0 && !own.names_domain };
}

static const char *const international[][2] = { { "bücher.example", "xn--bcher-kva.example" },
												{ "例え.テスト", "xn--r8jz45g.xn--zckzah" },
												{ "xn--bcher-kva.example", "xn--bcher-kva.example" } };

static struct answer name(const void *argument) {
	const char *const *pair = argument;
	struct s2sp_domain domain;
	enum s2sp_domain_fault fault = s2sp_idna_to_ascii(s2sp_text_from(pair[0]), &domain);
	bool right = fault == S2SP_DOMAIN_OK && strcmp(domain.bytes, pair[1]) == 0;
	return (struct answer){ right, right || (fault != S2SP_DOMAIN_OK && domain.length == 0) };
}

/* --- how --- */

static struct answer run_failing(const struct attempt *attempt, size_t at, size_t count) {
	memory.calls = memory.failed = 0;
	memory.fail_at = at;
	memory.fail_count = count;
	memory.armed = true;
	struct answer answer = attempt->run(attempt->argument);
	memory.armed = false;
	return answer;
}

static size_t stride(void) {
	const char *text = getenv("S2SP_STRIDE");
	return text == NULL || atoi(text) < 1 ? 7 : (size_t)atoi(text);
}

static void check_with_memory(const struct attempt *attempt) {
	struct answer answer = attempt->run(attempt->argument);
	if (!answer.same || !answer.safe)
		fail_msg("%s: another answer with all memory there is", attempt->name);
}

/* What OpenSSL keeps for later (its error queue has 16 places) it keeps once; what is lost is lost again each time. */
static void check_nothing_is_lost(const struct attempt *attempt, size_t at, size_t count) {
	long before = memory.alive;
	for (int again = 0; again < 40; again++) {
		run_failing(attempt, at, count);
		if (memory.alive <= before)
			return;
		before = memory.alive;
	}
	fail_msg("%s loses memory when allocation %zu fails", attempt->name, at);
}

static size_t fail_everywhere(const struct attempt *attempt, size_t count) {
	size_t failed = 0;
	check_with_memory(attempt);
	for (size_t at = 1;; at += at < 100 ? 1 : stride()) {
		long before = memory.alive;
		struct answer answer = run_failing(attempt, at, count);
		if (memory.failed == 0) {
			assert_true(answer.same);
			return failed;
		}
		failed++;
		if (!answer.safe)
			fail_msg("%s: not refused when allocation %zu fails", attempt->name, at);
		if (memory.alive > before)
			check_nothing_is_lost(attempt, at, count);
		if (failed % 64 == 0)
			check_with_memory(attempt);
	}
}

static bool malloc_is_ours;

static void find_out_whose_malloc(void) {
	memory.calls = 0;
	memory.armed = true;
	free(strdup("any"));
	memory.armed = false;
	malloc_is_ours = memory.calls > 0;
}

static void try_all(const struct attempt attempts[], size_t count) {
	for (size_t i = 0; i < count; i++) {
		size_t alone = fail_everywhere(&attempts[i], 1), all = fail_everywhere(&attempts[i], SIZE_MAX);
		check_with_memory(&attempts[i]);
		printf("# %s: %zu allocations failed alone, %zu with all that followed\n", attempts[i].name, alone, all);
		assert_true(alone > 0 || !malloc_is_ours);
	}
}

/* --- certificates --- */

static const struct made *root, *intermediate;

static struct chain chain_of(struct recipe recipe, const struct made *above, enum s2sp_certificate_verdict verdict) {
	return (struct chain){ { maker_make(recipe), above }, S2SP_TEXT("fabrikam.com"), verdict, false, { NULL, NULL }, false };
}

static void test_judgements(void **state) {
	(void)state;
	const struct made *stranger = maker_ca("Stranger", NULL);
	const struct made *bound = maker_make((struct recipe){
		.subject = "Bound", .issuer = root, .basic = "critical,CA:TRUE", .constraints = "critical,permitted;DNS:litware.com" });
	struct chain good = chain_of((struct recipe){ .issuer = intermediate, .names = NAME }, intermediate, S2SP_CERTIFICATE_VALID);
	struct chain unpinned = good;
	unpinned.pinned = true;
	unpinned.verdict = S2SP_CERTIFICATE_PIN_MISMATCH;
	struct chain untrusted = chain_of((struct recipe){ .issuer = stranger, .names = NAME }, stranger, S2SP_CERTIFICATE_UNTRUSTED);
	struct chain expired =
		chain_of((struct recipe){ .issuer = intermediate, .names = NAME, .from = EXPIRED_FROM, .to = EXPIRED_TO }, intermediate,
				 S2SP_CERTIFICATE_EXPIRED);
	struct chain other = chain_of((struct recipe){ .issuer = intermediate, .names = "DNS:litware.com,DNS:*.fabrikam.com" },
								  intermediate, S2SP_CERTIFICATE_IDENTITY_MISMATCH);
	struct chain outside = chain_of((struct recipe){ .issuer = bound, .names = NAME }, bound, S2SP_CERTIFICATE_UNTRUSTED);
	struct chain cannot_sign =
		chain_of((struct recipe){ .issuer = intermediate, .names = NAME, .usage = "critical,keyEncipherment" }, intermediate,
				 S2SP_CERTIFICATE_UNTRUSTED);
	struct chain unknown = chain_of((struct recipe){ .issuer = intermediate, .names = NAME, .unknown_critical = "x" },
									intermediate, S2SP_CERTIFICATE_UNTRUSTED);
	struct chain damaged = chain_of((struct recipe){ .issuer = intermediate, .names = NAME, .names_twice = 1 }, intermediate,
									S2SP_CERTIFICATE_MALFORMED);
	const struct attempt attempts[] = {
		{ "a good chain", judge, &good },
		{ "a key that is not pinned", judge, &unpinned },
		{ "an untrusted chain", judge, &untrusted },
		{ "an expired certificate", judge, &expired },
		{ "another name", judge, &other },
		{ "a name outside constraints", judge, &outside },
		{ "a key that may not sign", judge, &cannot_sign },
		{ "an unknown critical extension", judge, &unknown },
		{ "a doubled extension", judge, &damaged },
	};
	try_all(attempts, sizeof(attempts) / sizeof(attempts[0]));
}

static const char *file_of(const struct made *const *made, size_t count) {
	char *pem = maker_pem(made, count);
	const char *file = maker_file(pem, strlen(pem));
	free(pem);
	return file;
}

static void test_files(void **state) {
	(void)state;
	const struct made *leaf = maker_make((struct recipe){ .names = NAME });
	const struct made *old =
		maker_make((struct recipe){ .subject = "Old", .basic = "critical,CA:TRUE", .from = EXPIRED_FROM, .to = EXPIRED_TO });
	const struct made *both[] = { root, intermediate }, *with_leaf[] = { root, leaf };
	const struct bundle two = { file_of(both, 2), NULL, S2SP_STATUS_OK, 2 }, host = { NULL, two.file, S2SP_STATUS_OK, 2 };
	const struct bundle no_ca = { file_of(with_leaf, 2), NULL, S2SP_STATUS_INVALID, 0 };
	const struct bundle none_valid = { file_of(&old, 1), NULL, S2SP_STATUS_INVALID, 0 };
	char *pem = maker_pem(&root, 1);
	const struct attempt attempts[] = {
		{ "two anchors", load, &two },
		{ "the host's bundle", load, &host },
		{ "an anchor that is no CA", load, &no_ca },
		{ "an expired anchor", load, &none_valid },
		{ "a certificate as text", read_pem, pem },
		{ "a certificate of ours", read_own, leaf },
	};
	try_all(attempts, sizeof(attempts) / sizeof(attempts[0]));
	free(pem);
}

static void test_lists(void **state) {
	(void)state;
	struct chain good = chain_of((struct recipe){ .issuer = intermediate, .names = NAME, .points = "URI:http://crl.test/1" },
								 intermediate, S2SP_CERTIFICATE_VALID);
	struct chain revoked = good;
	revoked.verdict = S2SP_CERTIFICATE_REVOKED;
	/* What is revoked must not go on because that cannot be found out. */
	struct chain if_known = revoked;
	if_known.if_known = true;
	struct chain uncovered = good;
	uncovered.verdict = S2SP_CERTIFICATE_REVOCATION_UNKNOWN;
	struct s2sp_text above = maker_crl((struct crl_recipe){ .issuer = root, .more = 100, .reason = 1 });
	const struct crl_recipe recipes[] = {
		{ .issuer = intermediate, .more = 101, .scope = "critical,fullname:URI:http://crl.test/1" },
		{ .issuer = intermediate, .revoked = { good.certificates[0] }, .more = 100 },
		{ .issuer = intermediate, .signer = root, .more = 101 },
	};
	char *pem[3], *pem_above = maker_crl_pem(above);
	struct s2sp_text texts[3];
	for (size_t i = 0; i < 3; i++) {
		char *one = maker_crl_pem(maker_crl(recipes[i]));
		pem[i] = malloc(strlen(one) + strlen(pem_above) + 1);
		assert_non_null(pem[i]);
		strcat(strcpy(pem[i], one), pem_above);
		texts[i] = s2sp_text_from(pem[i]);
		free(one);
	}
	const struct asked asked[] = {
		{ texts[0], &good }, { texts[1], &revoked }, { texts[2], &uncovered }, { texts[1], &if_known }
	};
	const struct attempt attempts[] = {
		{ "a file of lists", read_lists, &texts[0] },
		{ "lists that cover", ask_lists, &asked[0] },
		{ "a list that revokes", ask_lists, &asked[1] },
		{ "a list that somebody else has signed", ask_lists, &asked[2] },
		{ "a list that revokes, where it need not be there", ask_lists, &asked[3] },
	};
	try_all(attempts, sizeof(attempts) / sizeof(attempts[0]));
	for (size_t i = 0; i < 3; i++)
		free(pem[i]);
	free(pem_above);
}

static void test_names(void **state) {
	(void)state;
	struct attempt attempts[sizeof(international) / sizeof(international[0])];
	for (size_t i = 0; i < sizeof(international) / sizeof(international[0]); i++)
		attempts[i] = (struct attempt){ international[i][0], name, international[i] };
	try_all(attempts, sizeof(attempts) / sizeof(attempts[0]));
}

static int set_up(void **state) {
	(void)state;
	root = maker_ca("Test root", NULL);
	intermediate = maker_ca("Test intermediate", root);
	const struct bundle anchors = { file_of(&root, 1), NULL, S2SP_STATUS_OK, 1 };
	struct s2sp_trust_source source = { .anchors = anchors.file, .now = MAKER_NOW };
	char message[512];
	return s2sp_trust_store_new(&source, &store, message, sizeof(message)) == S2SP_STATUS_OK ? 0 : -1;
}

static int tear_down(void **state) {
	(void)state;
	s2sp_trust_store_free(store);
	maker_clean();
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_judgements), cmocka_unit_test(test_files),
										cmocka_unit_test(test_lists), cmocka_unit_test(test_names) };
	if (CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) != 1)
		return 1; /* OpenSSL has allocated already */
	find_out_whose_malloc();
	return cmocka_run_group_tests_name("allocations", tests, set_up, tear_down);
}
