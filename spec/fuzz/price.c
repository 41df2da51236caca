/*
 * What an input costs: linked around LLVMFuzzerTestOneInput where the fuzzers look for dear inputs (spec/fuzz/run --price). They run in QEMU
 * then, whose plugin (spec/price/count.c) counts instructions in the file that S2SP_COUNTER names: everything counts, C, Lua and libraries.
 *
 * A higher price for a byte is something new for libFuzzer, so that it keeps the input and changes that further.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

/* What every input costs, however short it is, would make the shortest the dearest. */
#define SHORT 64
#define STEPS_PER_DOUBLING 8
#define SIZES 12

/* One counter for each step of the price, in each class of sizes. */
__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t prices[SIZES][32 * STEPS_PER_DOUBLING];
static unsigned dearest[SIZES];

int __real_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const volatile uint64_t *counter;
static FILE *list;

static void begin(void) {
	const char *path = getenv("S2SP_COUNTER");
	int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(*counter), PROT_READ, MAP_SHARED, file, 0);
	CHECK(page != MAP_FAILED);
	close(file);
	counter = page;
	if (getenv("S2SP_PRICES") != NULL) {
		list = fopen(getenv("S2SP_PRICES"), "a");
		CHECK(list != NULL);
	}
}

static uint64_t spend(const uint8_t *data, size_t size) {
	uint64_t before = *counter;
	__real_LLVMFuzzerTestOneInput(data, size);
	return *counter - before;
}

/* The number of steps of an eighth of a doubling, by the bits after the highest. */
static unsigned step_of(uint64_t price) {
	unsigned doublings = 0;
	for (uint64_t left = price; left >= 2 * STEPS_PER_DOUBLING; left /= 2)
		doublings++;
	unsigned step = doublings * STEPS_PER_DOUBLING + (unsigned)((price >> doublings) % STEPS_PER_DOUBLING);
	return step < sizeof(prices[0]) ? step : sizeof(prices[0]) - 1;
}

static unsigned class_of(size_t size) {
	unsigned class = 0;
	while (class < SIZES - 1 && (size_t)SHORT << class < size)
		class ++;
	return class;
}

int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (counter == NULL) {
		begin();
		spend(data, size); /* what is made at the first run */
	}
	uint64_t spent = spend(data, size);
	unsigned class = class_of(size), step = step_of(spent / (size + SHORT));
	/* The collector may have come in between: what is dear is so every time. */
	for (int again = 0; again < 2 && (step > dearest[class] || list != NULL); again++) {
		uint64_t once_more = spend(data, size);
		if (once_more < spent)
			spent = once_more;
		step = step_of(spent / (size + SHORT));
	}
	prices[class][step] = 1;
	if (step > dearest[class])
		dearest[class] = step;
	if (list != NULL) {
		fprintf(list, "%llu %zu\n", (unsigned long long)spent, size);
		fflush(list);
	}
	return 0;
}
