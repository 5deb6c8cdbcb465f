/*
 * signals.c: a handler that counts, and writes to an eventfd that the loop watches.
 */
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "signals.h"
#include "watch.h"

static volatile sig_atomic_t caught, asked, forgotten, last;
static struct sigaction before[NSIG];
static volatile int event_fd = -1;

static void on_signal(int number)
{
	uint64_t one = 1;
	int saved = errno;

	if (number == SIGHUP && caught > forgotten)
		return;
	last = number;
	if (++caught - forgotten > 1) {
		sigaction(number, &before[number], NULL);
		raise(number);
	} else if (write(event_fd, &one, sizeof one) < 0) {
		signal(number, SIG_DFL); /* nobody will hear of it: let the next one end the process */
	}
	errno = saved;
}

static void on_question(int number)
{
	uint64_t one = 1;
	int saved = errno;

	(void)number;
	if (write(event_fd, &one, sizeof one) == sizeof one)
		asked++;
	errno = saved;
}

int el_signals_count(void)
{
	return caught + asked;
}

int el_signals_asked(void)
{
	return asked;
}

int el_signals_last(void)
{
	return last;
}

void el_signals_forget(void)
{
	forgotten = caught;
}

/* Once a signal: what it did before is not what this does. Only what asks for the end interrupts system calls. */
static int catch_one(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = handler == on_question ? SA_RESTART : 0}, now;

	sigemptyset(&action.sa_mask);
	if (sigaction(number, NULL, &now))
		return -errno;
	if (now.sa_handler == handler)
		return 0;
	if (now.sa_handler == SIG_IGN && number == SIGHUP)
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
	error = catch_one(SIGINT, on_signal);
	if (!error)
		error = catch_one(SIGTERM, on_signal);
	if (!error)
		error = catch_one(SIGHUP, on_signal);
	if (!error)
		error = catch_one(SIGUSR1, on_question);
	return error ? error : el_watch_signals(engine, event_fd);
}
