/*
 * clock.c: preloaded, it lets a spec move the clocks of its process: clock_gettime(CLOCK_MONOTONIC) tells
 * spec_clock_ahead seconds more than it is, clock_gettime(CLOCK_REALTIME) spec_wall_ahead. For what happens after a
 * minute, in a moment, and for what happens when somebody sets the clock of the machine.
 *
 * With spec_clock_virtual the clocks stand still: time goes by when ppoll() waits for it, which then returns at once,
 * and a bit with each look at a clock, so that nobody who looks again and again waits for ever. A process that talks to
 * nobody outside does the same each time.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

double spec_clock_ahead, spec_wall_ahead;
int spec_clock_virtual;

static const double LOOK = 1e-7; /* seconds that a look at a clock takes */
static const double BEGIN = 1e4; /* of virtual time, seconds */
static const double WALL = 1e9;  /* the same on the wall, less BEGIN, seconds since 1970 */

/* What the process starts has the clocks of the machine. */
static __attribute__((constructor)) void keep_from_others(void)
{
	unsetenv("LD_PRELOAD");
}

static void add(struct timespec *time, double seconds)
{
	time->tv_sec += (time_t)seconds;
	time->tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	if (time->tv_nsec >= 1000000000) {
		time->tv_nsec -= 1000000000;
		time->tv_sec++;
	}
	if (time->tv_nsec < 0) {
		time->tv_nsec += 1000000000;
		time->tv_sec--;
	}
}

static void tell_virtual(clockid_t clock, struct timespec *out)
{
	spec_clock_ahead += LOOK;
	*out = (struct timespec){0};
	add(out, BEGIN + spec_clock_ahead + (clock == CLOCK_REALTIME ? WALL : 0));
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	long error;

	if (spec_clock_virtual && (clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME)) {
		tell_virtual(clock, out);
		return 0;
	}
	error = syscall(SYS_clock_gettime, clock, out);
	add(out, clock == CLOCK_MONOTONIC ? spec_clock_ahead : clock == CLOCK_REALTIME ? spec_wall_ahead : 0);
	return (int)error;
}

/* Without a timeout only what is outside can end it. */
int ppoll(struct pollfd *files, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int ready;

	if (!spec_clock_virtual || !timeout)
		return (int)syscall(SYS_ppoll, files, count, timeout, mask, _NSIG / 8);
	ready = poll(files, count, 0);
	if (!ready)
		spec_clock_ahead += (double)timeout->tv_sec + (double)timeout->tv_nsec / 1e9;
	return ready;
}
