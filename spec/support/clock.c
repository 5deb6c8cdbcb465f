/*
 * clock.c: preloaded, it lets a spec move the clocks of its process: clock_gettime(CLOCK_MONOTONIC) tells
 * spec_clock_ahead seconds more than it is, clock_gettime(CLOCK_REALTIME) spec_wall_ahead. For what happens after a
 * minute, in a moment, and for what happens when somebody sets the clock of the machine.
 *
 * With spec_clock_virtual the clocks stand still: time goes by when ppoll() waits for it, which then returns at once,
 * and a bit with each look at a clock, so that nobody who looks again and again waits for ever. A process that talks to
 * nobody outside does the same each time. spec_clock_stop() has the clocks stand still from where they are, and
 * spec_clock_go() has them go on from there; the one on the wall is right again.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

double spec_clock_ahead, spec_wall_ahead;
int spec_clock_virtual;

static const double LOOK = 1e-7; /* seconds that a look at a clock takes */

/* Where virtual time begins, in seconds, unless it was stopped: the same each time. */
static struct timespec began = {10000, 0}, began_on_wall = {1000010000, 0};
static double passed; /* of virtual time */

static int (*real)(clockid_t, struct timespec *);

/* What the process starts has the clocks of the machine. */
static __attribute__((constructor)) void begin(void)
{
	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	unsetenv("LD_PRELOAD");
}

/* The sanitizers ask before begin() has run. */
static int ask(clockid_t clock, struct timespec *out)
{
	return real ? real(clock, out) : (int)syscall(SYS_clock_gettime, clock, out);
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
	passed += LOOK;
	*out = clock == CLOCK_REALTIME ? began_on_wall : began;
	add(out, passed + (clock == CLOCK_REALTIME ? spec_wall_ahead : spec_clock_ahead));
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int error;

	if (spec_clock_virtual && (clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME)) {
		tell_virtual(clock, out);
		return 0;
	}
	error = ask(clock, out);
	add(out, clock == CLOCK_MONOTONIC ? spec_clock_ahead : clock == CLOCK_REALTIME ? spec_wall_ahead : 0);
	return error;
}

void spec_clock_stop(void)
{
	ask(CLOCK_MONOTONIC, &began);
	ask(CLOCK_REALTIME, &began_on_wall);
	passed = 0;
	spec_clock_virtual = 1;
}

void spec_clock_go(void)
{
	struct timespec now;

	ask(CLOCK_MONOTONIC, &now);
	spec_clock_ahead += passed + (double)(began.tv_sec - now.tv_sec) + (double)(began.tv_nsec - now.tv_nsec) / 1e9;
	spec_clock_virtual = 0;
}

/* Without a timeout only what is outside can end it. */
int ppoll(struct pollfd *files, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	int ready;

	if (!spec_clock_virtual || !timeout)
		return (int)syscall(SYS_ppoll, files, count, timeout, mask, _NSIG / 8);
	ready = poll(files, count, 0);
	if (!ready)
		passed += (double)timeout->tv_sec + (double)timeout->tv_nsec / 1e9;
	return ready;
}
