/*
 * signals.c: a handler that counts, and writes to an eventfd that the loop watches.
 */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "signals.h"
#include "watch.h"

static volatile sig_atomic_t caught, forgotten, last;
static struct sigaction before[NSIG];
static volatile int event_fd = -1;

static void on_signal(int number)
{
	uint64_t one = 1;
	int saved = errno;

	last = number;
	if (++caught - forgotten > 1) {
		sigaction(number, &before[number], NULL);
		raise(number);
	} else if (write(event_fd, &one, sizeof one) < 0) {
		signal(number, SIG_DFL); /* nobody will hear of it: let the next one end the process */
	}
	errno = saved;
}

int el_signals_count(void)
{
	return caught;
}

int el_signals_last(void)
{
	return last;
}

void el_signals_forget(void)
{
	forgotten = caught;
}

/* Once a signal: what it did before is not what this does. */
static int catch_one(int number)
{
	struct sigaction action = {.sa_handler = on_signal}, now;

	sigemptyset(&action.sa_mask);
	if (sigaction(number, NULL, &now))
		return -errno;
	if (now.sa_handler == on_signal)
		return 0;
	if (now.sa_handler == SIG_IGN) /* as shells start what runs in the background */
		now.sa_handler = SIG_DFL;
	before[number] = now;
	return sigaction(number, &action, NULL) ? -errno : 0;
}

int el_signals_catch(struct el_engine *engine)
{
	int error;

	if (event_fd < 0)
		event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	error = catch_one(SIGINT);
	if (!error)
		error = catch_one(SIGTERM);
	return error ? error : el_watch_signals(engine, event_fd);
}
