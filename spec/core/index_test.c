#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "allocator.h"
#include "index.h"

static struct counting counting;
static struct s2sp_allocator allocator = { counting_reallocate, &counting };
static const unsigned char seed[16] = "0123456789abcde";

/* Name number `number` of a set: all lengths up to some above what a slot has room for, all different. */
#define LENGTHS (2 * S2SP_INDEX_INLINE)
static struct s2sp_text name_of(char room[LENGTHS + 16], unsigned number) {
	int used = snprintf(room, 16, "%u.", number);
	size_t length = (size_t)used + number % LENGTHS;
	memset(room + used, 'a' + (int)(number % 26), number % LENGTHS);
	return (struct s2sp_text){ room, length };
}

static void fill(struct s2sp_index *index, char (*rooms)[LENGTHS + 16], unsigned count) {
	s2sp_index_begin(index, &allocator, seed);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(s2sp_index_add(index, (uint8_t)(i % 2), name_of(rooms[i], i), i), S2SP_STATUS_OK);
}

/* Every name under its kind and no other, and no name that is not there. */
static void assert_holds(const struct s2sp_index *index, unsigned count) {
	char room[LENGTHS + 16];
	for (unsigned i = 0; i < 2 * count + 8; i++) {
		struct s2sp_text name = name_of(room, i);
		assert_int_equal(s2sp_index_find(index, (uint8_t)(i % 2), name), i < count ? i : S2SP_INDEX_NONE);
		assert_int_equal(s2sp_index_find(index, (uint8_t)((i + 1) % 2), name), S2SP_INDEX_NONE);
	}
}

/* Each size, as it has grown and when it has been fitted: chains that go round the end are among them. */
static void test_all_sizes(void **state) {
	static char rooms[300][LENGTHS + 16];
	(void)state;
	for (unsigned count = 0; count < 300; count++) {
		struct s2sp_index index;
		fill(&index, rooms, count);
		assert_holds(&index, count);
		s2sp_index_fit(&index);
		assert_holds(&index, count);
		s2sp_index_end(&index);
		assert_int_equal(counting.blocks, 0);
	}
}

static void test_it_can_grow_after_it_was_fitted(void **state) {
	static char rooms[200][LENGTHS + 16];
	struct s2sp_index index;
	(void)state;
	fill(&index, rooms, 100);
	s2sp_index_fit(&index);
	for (unsigned i = 100; i < 200; i++)
		assert_int_equal(s2sp_index_add(&index, (uint8_t)(i % 2), name_of(rooms[i], i), i), S2SP_STATUS_OK);
	assert_holds(&index, 200);
	s2sp_index_end(&index);
}

static uint8_t last_digit(const void *of, uint32_t value) {
	return (uint8_t)(*(const uint32_t *)of + value % 10);
}

/* Names have none before they get one, and keep it wherever they are moved to. */
static void test_notes_come_with_values(void **state) {
	static char rooms[101][LENGTHS + 16];
	const uint32_t base = 7;
	struct s2sp_index index;
	uint8_t note = 99;
	(void)state;
	fill(&index, rooms, 100);
	assert_int_equal(s2sp_index_find_noted(&index, 1, name_of(rooms[1], 1), &note), 1);
	assert_int_equal(note, 0);
	s2sp_index_note(&index, last_digit, &base);
	assert_int_equal(s2sp_index_add(&index, 0, name_of(rooms[100], 100), 100), S2SP_STATUS_OK);
	s2sp_index_fit(&index);
	for (unsigned i = 0; i < 101; i++) {
		assert_int_equal(s2sp_index_find_noted(&index, (uint8_t)(i % 2), name_of(rooms[i], i), &note), i);
		assert_int_equal(note, i < 100 ? base + i % 10 : 0);
		assert_int_equal(s2sp_index_find_noted(&index, (uint8_t)((i + 1) % 2), name_of(rooms[i], i), &note), S2SP_INDEX_NONE);
		assert_int_equal(note, 0);
	}
	s2sp_index_end(&index);
}

static void test_names_at_the_edges(void **state) {
	static char longest[S2SP_INDEX_NAME_MAX + 1];
	struct s2sp_index index;
	(void)state;
	memset(longest, 'x', sizeof(longest));
	s2sp_index_begin(&index, &allocator, seed);
	assert_int_equal(s2sp_index_find(&index, 0, (struct s2sp_text){ NULL, 0 }), S2SP_INDEX_NONE);
	for (size_t length = 0; length <= S2SP_INDEX_NAME_MAX; length = length * 2 + 1)
		assert_int_equal(s2sp_index_add(&index, 0, (struct s2sp_text){ longest, length }, (uint32_t)length), S2SP_STATUS_OK);
	for (size_t length = 0; length <= S2SP_INDEX_NAME_MAX; length = length * 2 + 1) {
		assert_int_equal(s2sp_index_find(&index, 0, (struct s2sp_text){ longest, length }), length);
		if (length > 0) /* else it is the next one */
			assert_int_equal(s2sp_index_find(&index, 0, (struct s2sp_text){ longest, length + 1 }), S2SP_INDEX_NONE);
	}
	assert_int_equal(s2sp_index_add(&index, 0, (struct s2sp_text){ longest, sizeof(longest) }, 1), S2SP_STATUS_NO_MEMORY);
	s2sp_index_end(&index);
}

static void test_want_of_memory_loses_nothing(void **state) {
	static char rooms[100][LENGTHS + 16];
	char room[LENGTHS + 16];
	struct s2sp_index index;
	unsigned count = 50;
	(void)state;
	fill(&index, rooms, count);
	counting.fail_from = counting.calls + 1;
	s2sp_index_fit(&index);
	assert_holds(&index, count);
	while (s2sp_index_add(&index, (uint8_t)(count % 2), name_of(rooms[count], count), count) == S2SP_STATUS_OK)
		count++;
	assert_int_equal(s2sp_index_add(&index, 0, name_of(room, count), count), S2SP_STATUS_NO_MEMORY);
	assert_holds(&index, count);
	counting.fail_from = 0;
	s2sp_index_end(&index);
	assert_int_equal(counting.blocks, 0);
}

/* SipHash-1-3 is a different hash under every seed, and finds the same under all. */
static void test_it_is_keyed(void **state) {
	struct s2sp_index a, b;
	unsigned char other_seed[16] = { 0 };
	char names[200][16];
	size_t moved = 0;
	(void)state;
	s2sp_index_begin(&a, &allocator, seed);
	s2sp_index_begin(&b, &allocator, other_seed);
	for (uint32_t i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "n%u", (unsigned)i);
		assert_int_equal(s2sp_index_add(&a, 0, s2sp_text_from(names[i]), i), S2SP_STATUS_OK);
		assert_int_equal(s2sp_index_add(&b, 0, s2sp_text_from(names[i]), i), S2SP_STATUS_OK);
	}
	for (uint32_t i = 0; i < 200; i++) {
		assert_int_equal(s2sp_index_find(&a, 0, s2sp_text_from(names[i])), i);
		assert_int_equal(s2sp_index_find(&b, 0, s2sp_text_from(names[i])), i);
	}
	for (size_t i = 0; i < a.slot_count; i++)
		moved += a.tags[i] != b.tags[i];
	assert_true(moved > 100);
	s2sp_index_end(&a);
	s2sp_index_end(&b);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_sizes),
		cmocka_unit_test(test_it_can_grow_after_it_was_fitted),
		cmocka_unit_test(test_notes_come_with_values),
		cmocka_unit_test(test_names_at_the_edges),
		cmocka_unit_test(test_want_of_memory_loses_nothing),
		cmocka_unit_test(test_it_is_keyed),
	};
	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
