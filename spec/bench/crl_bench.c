/*
 * What revocation lists cost, without a server: reading a list in steps, and judging a chain beside them.
 *
 *   crl_bench [ENTRIES]        every figure, one a line: NAME TAB VALUE [TAB SPREAD]; ENTRIES (100000) in the list
 *   crl_bench count WHAT       WHAT ("without", "with") 200 judgements, for an instruction counter that collects inside s2sp_certificate_judge
 *
 * Times are CPU time. Judgements without lists, with a list of one entry and with the large one, and TLS 1.3 handshakes in memory in which both
 * sides show a certificate (the least that any set-up of a stream costs), take turns; the values are medians of the rounds.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/ssl.h>

#include "../ident/certificate_maker.h"
#include "certificate.h"
#include "idna.h"

enum { ROUNDS = 21, EACH = 200, HANDSHAKES = 20, SETS = 3 };

static const struct made *root, *intermediate, *leaf;
static struct s2sp_trust_store *store;

static void fail(const char *what) {
	fprintf(stderr, "crl_bench: %s\n", what);
	exit(1);
}

static double now(void) {
	struct timespec time;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3; /* microseconds */
}

static int ascending(const void *a, const void *b) {
	const double *one = a, *other = b;
	return *one < *other ? -1 : *one > *other;
}

static void say(const char *name, double *values, size_t count) {
	qsort(values, count, sizeof(*values), ascending);
	printf("%s\t%.1f\t%.1f\n", name, values[count / 2], (values[count - 1] - values[0]) / 2);
}

/* --- reading --- */

static struct s2sp_crl_file *read_list(struct s2sp_text bytes, double *total, double *longest) {
	struct s2sp_crl_reader *reader = NULL;
	struct s2sp_crl_file *file = NULL;
	char message[256];
	double begun = now();
	if (s2sp_crl_reader_from("bench", bytes, &reader, message, sizeof(message)) != S2SP_STATUS_OK)
		fail(message);
	*total = *longest = now() - begun;
	while (file == NULL) {
		begun = now();
		if (s2sp_crl_reader_step(reader, &file, message, sizeof(message)) != S2SP_STATUS_OK)
			fail(message);
		double step = now() - begun;
		*total += step;
		*longest = step > *longest ? step : *longest;
	}
	s2sp_crl_reader_free(reader);
	return file;
}

static void bench_reading(struct s2sp_text der, const char *form) {
	char name[64], *pem = maker_crl_pem(der);
	struct s2sp_text bytes = form[0] == 'P' ? s2sp_text_from(pem) : der;
	double total[ROUNDS], longest[ROUNDS];
	for (size_t i = 0; i < ROUNDS; i++) {
		s2sp_crl_file_free(read_list(bytes, &total[i], &longest[i]));
		total[i] /= 1000;
		longest[i] /= 1000;
	}
	snprintf(name, sizeof(name), "reading, %s, all steps (ms)", form);
	say(name, total, ROUNDS);
	snprintf(name, sizeof(name), "reading, %s, longest step (ms)", form);
	say(name, longest, ROUNDS);
	free(pem);
}

/* --- judging --- */

static double judge(const struct s2sp_crl_file *const *lists, size_t count, size_t times) {
	const struct s2sp_text chain[] = { leaf->der, intermediate->der };
	const struct s2sp_certificate_question question = {
		.chain = chain,
		.chain_length = 2,
		.store = store,
		.domain = S2SP_TEXT("fabrikam.com"),
		.to_ascii = s2sp_idna_to_ascii,
		.now = MAKER_NOW,
		.revocation = count > 0 ? S2SP_REVOCATION_REQUIRED : S2SP_REVOCATION_OFF,
		.crls = lists,
		.crl_count = count,
	};
	static struct s2sp_certificate_report report;
	double begun = now();
	for (size_t i = 0; i < times; i++) {
		if (s2sp_certificate_judge(&question, &report) != S2SP_CERTIFICATE_VALID)
			fail(report.cause);
	}
	return (now() - begun) / (double)times;
}

static SSL_CTX *context(void) {
	SSL_CTX *made = SSL_CTX_new(TLS_method());
	if (made == NULL || SSL_CTX_use_certificate(made, leaf->certificate) != 1 || SSL_CTX_use_PrivateKey(made, leaf->key) != 1 ||
		SSL_CTX_add1_chain_cert(made, intermediate->certificate) != 1)
		fail("no TLS context");
	X509_STORE_add_cert(SSL_CTX_get_cert_store(made), root->certificate);
	X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(made), (time_t)MAKER_NOW);
	SSL_CTX_set_verify(made, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_OFF);
	return made;
}

/* Both sides of it, so it is halved: a server does one. */
static double shake_hands(SSL_CTX *both) {
	double begun = now();
	for (size_t i = 0; i < HANDSHAKES; i++) {
		BIO *one = NULL, *other = NULL;
		SSL *client = SSL_new(both), *server = SSL_new(both);
		if (client == NULL || server == NULL || BIO_new_bio_pair(&one, 0, &other, 0) != 1)
			fail("no TLS");
		SSL_set_bio(client, one, one);
		SSL_set_bio(server, other, other);
		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		for (int step = 0; step < 20 && !(SSL_is_init_finished(client) && SSL_is_init_finished(server)); step++) {
			SSL_do_handshake(client);
			SSL_do_handshake(server);
		}
		if (!SSL_is_init_finished(client) || !SSL_is_init_finished(server))
			fail("the handshake does not end");
		SSL_free(client);
		SSL_free(server);
	}
	return (now() - begun) / HANDSHAKES / 2;
}

static void bench_judging(const struct s2sp_crl_file *const *small, const struct s2sp_crl_file *const *large) {
	double times[SETS][ROUNDS], handshakes[ROUNDS];
	SSL_CTX *both = context();
	for (size_t i = 0; i < ROUNDS; i++) {
		times[0][i] = judge(NULL, 0, EACH);
		times[1][i] = judge(small, 2, EACH);
		times[2][i] = judge(large, 2, EACH);
		handshakes[i] = shake_hands(both);
	}
	SSL_CTX_free(both);
	say("judging, no lists (us)", times[0], ROUNDS);
	say("judging, a list without entries (us)", times[1], ROUNDS);
	say("judging, the large list (us)", times[2], ROUNDS);
	say("one side of a TLS handshake (us)", handshakes, ROUNDS);
	double added = times[2][ROUNDS / 2] - times[0][ROUNDS / 2];
	printf("the large list adds to handshake and judgement (%%)\t%.2f\n",
		   100 * added / (handshakes[ROUNDS / 2] + times[0][ROUNDS / 2]));
}

int main(int count, char **arguments) {
	bool counting = count == 3 && strcmp(arguments[1], "count") == 0;
	size_t entries = count == 2 ? (size_t)strtoul(arguments[1], NULL, 10) : 100000;
	double total, longest;
	root = maker_ca("Bench root", NULL);
	intermediate = maker_ca("Bench intermediate", root);
	leaf = maker_make((struct recipe){ .issuer = intermediate, .names = "DNS:fabrikam.com" });
	char message[256], *pem = maker_pem(&root, 1);
	struct s2sp_trust_source source = { .anchors = maker_file(pem, strlen(pem)), .now = MAKER_NOW };
	if (s2sp_trust_store_new(&source, &store, message, sizeof(message)) != S2SP_STATUS_OK)
		fail(message);
	struct s2sp_text der = maker_crl((struct crl_recipe){ .issuer = intermediate, .more = entries, .reason = 1 });
	struct s2sp_crl_file *large = read_list(der, &total, &longest);
	struct s2sp_crl_file *empty = read_list(maker_crl((struct crl_recipe){ .issuer = intermediate }), &total, &longest);
	struct s2sp_crl_file *above = read_list(maker_crl((struct crl_recipe){ .issuer = root }), &total, &longest);
	const struct s2sp_crl_file *const small_lists[] = { empty, above }, *const large_lists[] = { large, above };
	/* A signature is verified with the first judgement. */
	double first = judge(large_lists, 2, 1);
	if (counting) {
		judge(large_lists, strcmp(arguments[2], "with") == 0 ? 2 : 0, EACH);
	} else {
		printf("entries\t%zu\nbytes of the list\t%zu\n", entries, der.length);
		printf("memory for it (bytes)\t%zu\n", s2sp_crl_file_size(large));
		bench_reading(der, "DER");
		bench_reading(der, "PEM");
		printf("the first judgement, which verifies its signature (us)\t%.1f\n", first);
		bench_judging(small_lists, large_lists);
	}
	s2sp_crl_file_free(large);
	s2sp_crl_file_free(empty);
	s2sp_crl_file_free(above);
	s2sp_trust_store_free(store);
	free(pem);
	maker_clean();
	return 0;
}
