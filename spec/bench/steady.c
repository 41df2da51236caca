/*
 * Preloaded into a server whose instructions are counted: the first time() of the process, of which Lua makes the seed of its
 * hashes, is that of BENCH_SEED. The layout of every table, and with it the count, differs by 1 % from one seed to the next.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <time.h>

time_t time(time_t *result) {
	static int called;
	struct timespec now = { .tv_sec = 1700000000 };
	const char *seed = called ? NULL : getenv("BENCH_SEED");
	if (called)
		clock_gettime(CLOCK_REALTIME, &now);
	else if (seed != NULL)
		now.tv_sec += strtol(seed, NULL, 10);
	called = 1;
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}
