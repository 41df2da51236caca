/*
 * How long an input may take, in time of the processor: linked around LLVMFuzzerTestOneInput. libFuzzer's own -timeout is time on the wall. On a machine
 * that does other things as well a fuzzer may stand still for longer than any input ought to take, so that bound is for what never ends.
 */
#include <time.h>

#include "fuzz.h"

/* A chain or a file that takes as long would be a finding. */
#define SECONDS_MAX 5

int __real_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int __wrap_LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	clock_t before = clock();
	int result = __real_LLVMFuzzerTestOneInput(data, size);
	clock_t spent = clock() - before;
	CHECK(spent < (clock_t)SECONDS_MAX * CLOCKS_PER_SEC);
	return result;
}
