/*
 * Preloaded into a server whose instructions are counted: the first time() of the process, of which Lua makes the seed of its
 * hashes, is always the same. Otherwise the layout of every table, and with it the count, would differ by 1 % between processes.
 */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

time_t time(time_t *result) {
	static int called;
	struct timespec now = { .tv_sec = 1700000000 };
	if (called)
		clock_gettime(CLOCK_REALTIME, &now);
	called = 1;
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}
