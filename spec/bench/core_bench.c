/*
 * What the core costs, without Lua and without a server.
 *
 *   core_bench                 every figure, one a line: NAME TAB VALUE [TAB SPREAD] (nanoseconds, bytes, milliseconds)
 *   core_bench count WHAT      WHAT ("reference", "decision", "compile", "rejudge") a fixed number of times, for an instruction
 *                              counter that collects inside the function bench_WHAT
 *   core_bench sizes           the figures that are the same every time
 */
#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "huge_pages.h"
#include "../core/allocator.h"
#include "../core/feed.h"
#include "s2sp.h"

enum { STRIDE = 48, ROUNDS = 15, LOOKUPS = 1 << 16, REPEATS = 1000 };

static struct counting counted;

static void *reallocate(void *owner, void *block, size_t size) {
	void *fresh = counting_reallocate(owner, block, size);
	s2sp_prefer_huge_pages(fresh, size);
	return fresh;
}

static void fail(const char *what) {
	fprintf(stderr, "core_bench: %s\n", what);
	exit(1);
}

static double clock_of(clockid_t id) {
	struct timespec now;
	clock_gettime(id, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint64_t state = 88172645463325252u;

static uint64_t draw(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void name_of(size_t number, char name[STRIDE]) {
	snprintf(name, STRIDE, "xmpp-%07zu.department.example", number);
}

/* --- a policy of any size --- */

struct fixture {
	struct s2sp_partner_table *table;
	struct s2sp_policy *policy;
	double compile; /* milliseconds of CPU */
	size_t bytes;   /* that table and policy hold */
	size_t strings; /* of them, domains and places */
};

static void add_listed(struct s2sp_config *config, size_t number, size_t *strings) {
	char name[STRIDE];
	char place[STRIDE];
	name_of(number, name);
	*strings += strlen(name) + (size_t)snprintf(place, sizeof(place), "partner_list[%zu]", number + 1);
	if (partner(config, number + 1, name) != S2SP_STATUS_OK || set_word(config, "sasl", "optional") != S2SP_STATUS_OK ||
		set(config, "dialback", boolean_value(true)) != S2SP_STATUS_OK)
		fail("out of memory");
}

__attribute__((noinline)) static void bench_compile(struct s2sp_config *config, struct s2sp_config *host, size_t count,
													struct fixture *fixture) {
	const struct test_host constrained = { .starttls_required = true };
	if (begin_list(config) != S2SP_STATUS_OK)
		fail("out of memory");
	for (size_t i = 0; i < count; i++)
		add_listed(config, i, &fixture->strings);
	if (s2sp_config_seal_table(config, &fixture->table) != S2SP_STATUS_OK ||
		s2sp_config_seal_policy(host, fixture->table, TEST_HOST(&constrained), &fixture->policy) != S2SP_STATUS_OK)
		fail("the configuration is not good");
}

static struct fixture build(size_t count) {
	struct fixture fixture = { 0 };
	struct s2sp_allocator allocator = { reallocate, &counted };
	size_t before = counted.bytes;
	double start = clock_of(CLOCK_PROCESS_CPUTIME_ID);
	struct s2sp_config *config = s2sp_config_new(&allocator, NULL, &test_vocabulary, test_seed);
	struct s2sp_config *host = s2sp_config_new(&allocator, NULL, &test_vocabulary, test_seed);
	if (config == NULL || host == NULL)
		fail("out of memory");
	bench_compile(config, host, count, &fixture);
	s2sp_config_free(host);
	s2sp_config_free(config);
	fixture.compile = (clock_of(CLOCK_PROCESS_CPUTIME_ID) - start) / 1e6;
	fixture.bytes = counted.bytes - before;
	return fixture;
}

static void drop(struct fixture *fixture) {
	s2sp_policy_free(fixture->policy);
	s2sp_partner_table_free(fixture->table);
}

/* --- what is measured --- */

static volatile uint64_t sink;

/* The yardstick: so many dependent steps of arithmetic, whatever the compiler. */
__attribute__((noinline)) static void bench_reference(size_t repeats) {
	uint64_t sum = 0;
	for (size_t i = 0; i < repeats; i++) {
		for (int step = 0; step < 100; step++)
			sum += draw() & 255;
	}
	sink = sum;
}

/* What one stanza asks of the core when nothing is remembered: the address taken apart, its domain made canonical and looked up,
 * the stream judged under the policy of the host that the stanza is for. */
static enum s2sp_verdict decide(const struct s2sp_stream *stream, const struct s2sp_policy *policy, const char *name) {
	struct s2sp_domain domain;
	if (s2sp_domain_parse(s2sp_text_from(name), NULL, &domain) != S2SP_DOMAIN_OK)
		return S2SP_VERDICT_REFUSE;
	return s2sp_stream_stanza(stream, policy, (struct s2sp_text){ domain.bytes, domain.length }).verdict;
}

__attribute__((noinline)) static void bench_decision(const struct s2sp_stream *stream, const struct s2sp_policy *policy,
													 const char *names, size_t count) {
	uint64_t allowed = 0;
	for (size_t i = 0; i < count; i++)
		allowed += decide(stream, policy, names + i * STRIDE) == S2SP_VERDICT_ALLOW;
	if (allowed != count)
		fail("a stanza was not allowed");
}

__attribute__((noinline)) static void bench_find(const struct s2sp_policy *policy, const char *names, size_t count) {
	uint64_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += s2sp_policy_find(policy, s2sp_text_from(names + i * STRIDE), NULL) != NULL;
	if (found != count)
		fail("a domain was not found");
}

/* The same, but which name is asked for next is known only when this one has been found: nothing overlaps. */
__attribute__((noinline)) static void bench_chained(const struct s2sp_policy *policy, const char *names, size_t count) {
	size_t at = 0, asked = 0;
	for (; at < count; asked++) {
		uintptr_t found = (uintptr_t)s2sp_policy_find(policy, s2sp_text_from(names + at * STRIDE), NULL);
		at += 1 + (found >> (sizeof(found) * 8 - 1)); /* the highest bit of an address is 0, which only the programmer knows */
	}
	sink = asked;
}

/* A way through all cells in no order that a cache could guess; each says where the next one is. */
struct cell {
	_Alignas(64) size_t next;
};

static struct cell *lay_cells(size_t count) {
	size_t size = count * sizeof(struct cell);
	struct cell *cells = aligned_alloc(sizeof(struct cell), size);
	if (cells == NULL)
		fail("out of memory");
	s2sp_prefer_huge_pages(cells, size);
	for (size_t i = 0; i < count; i++)
		cells[i].next = i;
	for (size_t i = count - 1; i > 0; i--) {
		size_t other = draw() % i, next = cells[i].next;
		cells[i].next = cells[other].next;
		cells[other].next = next;
	}
	return cells;
}

/* What memory itself takes: one load after the other. */
__attribute__((noinline)) static void bench_memory(const struct cell *cells, size_t count) {
	size_t at = 0;
	for (size_t i = 0; i < count; i++)
		at = cells[at].next;
	sink = at;
}

/* An established stream with partner 0, under another policy than the one that is asked about. */
static struct s2sp_stream establish(const struct s2sp_policy *policy) {
	struct s2sp_stream stream;
	char name[STRIDE];
	name_of(0, name);
	s2sp_stream_begin(&stream, S2SP_INCOMING, policy);
	s2sp_stream_observe(&stream, true, S2SP_CERTIFICATE_VALID);
	if (s2sp_stream_identify(&stream, s2sp_text_from(name)).verdict != S2SP_VERDICT_ALLOW ||
		s2sp_stream_authenticated(&stream, true).verdict != S2SP_VERDICT_ALLOW ||
		s2sp_stream_established(&stream).verdict != S2SP_VERDICT_ALLOW)
		fail("a stream was not established");
	return stream;
}

static char *draw_names(size_t count, size_t domains) {
	char *names = calloc(count, STRIDE);
	if (names == NULL)
		fail("out of memory");
	for (size_t i = 0; i < count; i++)
		name_of(draw() % domains, names + i * STRIDE);
	return names;
}

/* --- figures --- */

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The median of the rounds and half the distance between the quartiles. */
static double report(const char *name, double rounds[ROUNDS]) {
	qsort(rounds, ROUNDS, sizeof(rounds[0]), by_value);
	printf("%s\t%.1f\t%.1f\n", name, rounds[ROUNDS / 2], (rounds[ROUNDS * 3 / 4] - rounds[ROUNDS / 4]) / 2);
	return rounds[ROUNDS / 2];
}

static void report_bytes(const struct fixture *fixture, size_t domains) {
	printf("bytes/%zu\t%.1f\n", domains, (double)(fixture->bytes - fixture->strings) / (double)domains);
}

enum figure { REFERENCE, MEMORY, FIND, CHAINED, DECISION, SAME, FIGURES };
static const char *const figure_names[FIGURES] = { "reference",    "memory",   "find",
												   "find-chained", "decision", "decision-same-policy" };

/* Nanoseconds for each of so many, since the last call. */
static double lap(double *since, size_t count) {
	double now = clock_of(CLOCK_PROCESS_CPUTIME_ID), each = (now - *since) / (double)count;
	*since = now;
	return each;
}

static void measure_lookups(size_t domains) {
	struct fixture fixture = build(domains), other = build(1);
	struct s2sp_stream stream = establish(other.policy);
	char *names = draw_names(LOOKUPS, domains);
	struct cell *cells = lay_cells(fixture.bytes / sizeof(struct cell));
	char label[64];
	double rounds[FIGURES][ROUNDS];
	size_t calls = counted.calls;
	for (int round = -1; round < ROUNDS; round++) {
		int at = round < 0 ? 0 : round; /* the first one only warms up */
		double since = clock_of(CLOCK_PROCESS_CPUTIME_ID);
		bench_reference(LOOKUPS / 64);
		rounds[REFERENCE][at] = lap(&since, LOOKUPS / 64);
		bench_memory(cells, LOOKUPS);
		rounds[MEMORY][at] = lap(&since, LOOKUPS);
		bench_find(fixture.policy, names, LOOKUPS);
		rounds[FIND][at] = lap(&since, LOOKUPS);
		bench_chained(fixture.policy, names, LOOKUPS);
		rounds[CHAINED][at] = lap(&since, LOOKUPS);
		bench_decision(&stream, fixture.policy, names, LOOKUPS);
		rounds[DECISION][at] = lap(&since, LOOKUPS);
		bench_decision(&stream, other.policy, names, LOOKUPS);
		rounds[SAME][at] = lap(&since, LOOKUPS);
	}
	if (counted.calls != calls)
		fail("something allocated");
	for (int figure = 0; figure < FIGURES; figure++) {
		snprintf(label, sizeof(label), "%s/%zu", figure_names[figure], domains);
		report(label, rounds[figure]);
	}
	report_bytes(&fixture, domains);
	printf("allocations/%zu\t%zu\n", domains, counted.calls - calls);
	free(cells);
	free(names);
	drop(&fixture);
	drop(&other);
}

static void measure_compile(size_t count) {
	double rounds[ROUNDS];
	char label[64];
	for (int round = 0; round < ROUNDS; round++) {
		struct fixture fixture = build(count);
		rounds[round] = fixture.compile;
		drop(&fixture);
	}
	snprintf(label, sizeof(label), "compile/%zu", count);
	report(label, rounds);
}

__attribute__((noinline)) static void bench_rejudge(struct s2sp_stream *streams, const struct s2sp_policy *policy,
													const char *names, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (s2sp_stream_rejudge(&streams[i], policy, s2sp_text_from(names + i * STRIDE)).verdict != S2SP_VERDICT_ALLOW)
			fail("a stream was refused");
	}
}

/* Records of live streams, each with a partner of its own, move over to a new policy. */
static void measure_rejudge(size_t count, size_t times, double *rounds) {
	struct fixture policies[2] = { build(count), build(count) };
	struct s2sp_stream *streams = calloc(count, sizeof(*streams));
	char *names = calloc(count, STRIDE);
	if (streams == NULL || names == NULL)
		fail("out of memory");
	for (size_t i = 0; i < count; i++) {
		name_of(i, names + i * STRIDE);
		streams[i] = establish(policies[0].policy);
	}
	for (size_t round = 0; round < times; round++) {
		double start = clock_of(CLOCK_PROCESS_CPUTIME_ID);
		bench_rejudge(streams, policies[(round + 1) % 2].policy, names, count);
		rounds[round] = (clock_of(CLOCK_PROCESS_CPUTIME_ID) - start) / 1e6;
	}
	free(streams);
	free(names);
	drop(&policies[0]);
	drop(&policies[1]);
}

static void count_decisions(void) {
	struct fixture fixture = build(10000), other = build(1);
	struct s2sp_stream stream = establish(other.policy);
	char *names = draw_names(REPEATS, 10000);
	bench_decision(&stream, fixture.policy, names, REPEATS);
	free(names);
	drop(&fixture);
	drop(&other);
}

static void count_instructions(const char *what) {
	double unused;
	if (strcmp(what, "reference") == 0) {
		bench_reference(REPEATS);
	} else if (strcmp(what, "decision") == 0) {
		count_decisions();
	} else if (strcmp(what, "compile") == 0) {
		struct fixture fixture = build(REPEATS);
		drop(&fixture);
	} else if (strcmp(what, "rejudge") == 0) {
		measure_rejudge(REPEATS, 1, &unused);
	} else {
		fail("unknown function");
	}
}

static void report_sizes(void) {
	static const size_t sizes[] = { 10000, 30000 };
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct fixture fixture = build(sizes[i]);
		report_bytes(&fixture, sizes[i]);
		drop(&fixture);
	}
	printf("record\t%zu\n", sizeof(struct s2sp_stream));
	printf("partner\t%zu\n", sizeof(struct s2sp_partner));
}

static void report_all(void) {
	double rounds[ROUNDS];
	measure_lookups(10);
	measure_lookups(10000);
	measure_lookups(1000000);
	measure_compile(10000);
	measure_compile(100000);
	measure_rejudge(10000, ROUNDS, rounds);
	report("rejudge/10000", rounds);
	report_sizes();
}

int main(int argc, char **argv) {
	if (argc == 3 && strcmp(argv[1], "count") == 0)
		count_instructions(argv[2]);
	else if (argc == 2 && strcmp(argv[1], "sizes") == 0)
		report_sizes();
	else if (argc == 1)
		report_all();
	else
		fail("usage: core_bench [sizes | count reference|decision|compile|rejudge]");
	return 0;
}
