/*
 * signal.c: Ctrl-C for programs. The first signal is counted and ends the loop's sleep, so that tasks can be cancelled
 * and clean up; the second one does what it always did. This is state of the process, as signals are.
 */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core.h"

static volatile sig_atomic_t caught;
static volatile int event_fd = -1;

static void on_signal(int number)
{
	uint64_t one = 1;
	int saved = errno;

	if (++caught > 1) {
		signal(number, SIG_DFL);
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

int el_signals_catch(struct el_engine *engine)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (event_fd < 0)
		event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGINT, &action, NULL) || sigaction(SIGTERM, &action, NULL))
		return -errno;
	return el_watch_signals(engine, event_fd);
}
