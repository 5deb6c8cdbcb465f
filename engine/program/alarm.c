/*
 * alarm.c: a timer whose signal is SIGALRM.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "program/alarm.h"

static const long PERIOD = 100000000; /* ns */

static timer_t timer;
static struct sigaction before[NSIG];
static void (*time_handler)(const struct alarm_place *place);
static bool (*signal_handler)(int number);

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double alarm_processor_time(void)
{
	return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

double alarm_now(void)
{
	return seconds(CLOCK_MONOTONIC);
}

/* ---- the timer ---- */

static struct alarm_place place_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (struct alarm_place){(uintptr_t)context->uc_mcontext.gregs[REG_RIP],
	                            (const uintptr_t *)context->uc_mcontext.gregs[REG_RSP]};
#else
	(void)context;
	return (struct alarm_place){0, NULL};
#endif
}

static void on_time(int number, siginfo_t *info, void *context)
{
	struct alarm_place place = place_of(context);
	int saved = errno;

	(void)number;
	(void)info;
	time_handler(&place);
	errno = saved;
}

void alarm_set(double delay)
{
	struct itimerspec when = {.it_interval.tv_nsec = delay > 0 ? PERIOD : 0};

	when.it_value.tv_sec = (time_t)delay;
	when.it_value.tv_nsec = (long)((delay - (double)when.it_value.tv_sec) * 1e9);
	timer_settime(timer, 0, &when, NULL);
}

/* Nobody who reads from a pipe expects the timer: system calls go on. */
int alarm_open(void (*handler)(const struct alarm_place *place))
{
	struct sigaction action = {.sa_sigaction = on_time, .sa_flags = SA_RESTART | SA_SIGINFO};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

	time_handler = handler;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGALRM, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer) ? -errno : 0;
}

void alarm_close(void)
{
	signal(SIGALRM, SIG_IGN);
	timer_delete(timer);
}

/* ---- signals ---- */

static void on_signal(int number)
{
	int saved = errno;

	if (signal_handler(number))
		before[number].sa_handler(number);
	errno = saved;
}

static void wrap(int number)
{
	struct sigaction action;

	sigaction(number, NULL, &before[number]);
	if (before[number].sa_handler == SIG_DFL || before[number].sa_handler == SIG_IGN ||
	    before[number].sa_handler == on_signal)
		return;
	action = before[number];
	action.sa_handler = on_signal;
	sigaction(number, &action, NULL);
}

void alarm_watch_signals(bool (*handler)(int number))
{
	signal_handler = handler;
	wrap(SIGINT);
	wrap(SIGTERM);
	wrap(SIGHUP);
}

void alarm_end_process(int number, const char *text)
{
	signal(number, SIG_DFL);
	if (write(STDERR_FILENO, text, strlen(text)) >= 0)
		raise(number);
	_exit(128 + number);
}
