/*
 * clock.c: preloaded, it lets a spec move the clocks of its process: clock_gettime(CLOCK_MONOTONIC) tells
 * spec_clock_ahead seconds more than it is, clock_gettime(CLOCK_REALTIME) spec_wall_ahead. For what happens after a
 * minute, in a moment, and for what happens when somebody sets the clock of the machine.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

double spec_clock_ahead, spec_wall_ahead;

/* What the process starts has the clocks of the machine. */
static __attribute__((constructor)) void keep_from_others(void)
{
	unsetenv("LD_PRELOAD");
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	long error = syscall(SYS_clock_gettime, clock, out);
	double ahead = clock == CLOCK_MONOTONIC ? spec_clock_ahead : clock == CLOCK_REALTIME ? spec_wall_ahead : 0;

	out->tv_sec += (time_t)ahead;
	out->tv_nsec += (long)((ahead - (double)(time_t)ahead) * 1e9);
	if (out->tv_nsec >= 1000000000) {
		out->tv_nsec -= 1000000000;
		out->tv_sec++;
	}
	if (out->tv_nsec < 0) {
		out->tv_nsec += 1000000000;
		out->tv_sec--;
	}
	return (int)error;
}
