/*
 * Preloaded into a server whose instructions are counted: the first time() of the process, of which Lua makes the seed of its
 * hashes, is that of BENCH_SEED. The layout of every table, and with it the count, differs by 1 % from one seed to the next.
 *
 * After that its seconds are longer by as much as counting is slower than running: what is done once a second (roles are looked at anew) would else be done
 * every few stanzas, the more often the busier the machine is.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdlib.h>
#include <time.h>

enum { SLOWER = 100 };

time_t time(time_t *result) {
	static time_t begin;
	struct timespec now = { .tv_sec = 1700000000 };
	const char *seed = begin != 0 ? NULL : getenv("BENCH_SEED");
	if (begin != 0) {
		clock_gettime(CLOCK_REALTIME, &now);
		now.tv_sec = begin + (now.tv_sec - begin) / SLOWER;
	} else {
		struct timespec real;
		clock_gettime(CLOCK_REALTIME, &real);
		begin = real.tv_sec;
		now.tv_sec += seed == NULL ? 0 : strtol(seed, NULL, 10);
	}
	if (result != NULL)
		*result = now.tv_sec;
	return now.tv_sec;
}
