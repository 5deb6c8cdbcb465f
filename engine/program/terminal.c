/*
 * terminal.c: the terminal of standard input, by termios and signal handlers.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include "program/terminal.h"

static struct termios at_start;
static volatile sig_atomic_t stopped; /* the program was stopped and goes on: somebody else has used the terminal */

/* The program is about to die of it. */
static void on_deadly_signal(int number)
{
	tcsetattr(STDIN_FILENO, TCSADRAIN, &at_start);
	signal(number, SIG_DFL);
	raise(number);
}

static void on_stop(int number)
{
	struct termios now;
	int saved = errno; /* NOLINT(bugprone-signal-handler): a variable of the thread's, by a call */

	(void)number;
	tcgetattr(STDIN_FILENO, &now);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &at_start);
	raise(SIGSTOP);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
	stopped = 1;
	errno = saved;
}

static void restore_terminal(void)
{
	tcsetattr(STDIN_FILENO, TCSADRAIN, &at_start);
}

void terminal_guard(void)
{
	static const int deadly[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};

	tcgetattr(STDIN_FILENO, &at_start);
	atexit(restore_terminal);
	for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
		signal(deadly[i], on_deadly_signal);
	signal(SIGTSTP, on_stop);
}

bool terminal_was_stopped(void)
{
	bool was = stopped;

	stopped = 0;
	return was;
}

bool terminal_can_edit(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && kind && strcmp(kind, "dumb") != 0;
}

int terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDIN_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2 ? 80 : size.ws_col;
}

static int width_of(wchar_t c)
{
	int width = wcwidth(c);

	return width >= 0 ? width : c < ' ' || c == 0x7f ? 2 : 8; /* as libedit shows it: ^X, or \U+1F4A */
}

int terminal_place(const char *text, const char *end, int place, int columns)
{
	mbstate_t state = {0};

	while (text < end) {
		wchar_t c;
		size_t used = mbrtowc(&c, text, (size_t)(end - text), &state);

		if (used == 0 || used > (size_t)(end - text)) /* no character */
			break;
		text += used;
		place = c == '\n' ? (place / columns + 1) * columns : place + width_of(c);
	}
	return place;
}
