/*
 * signals.c: Ctrl-C, Ctrl-Break and the end of the console, which Windows tells a handler in a thread of its own. They
 * count as SIGINT, SIGTERM and SIGHUP.
 */
#include <windows.h>

#include <errno.h>

#include "os/windows/control.h"
#include "signals.h"
#include "watch.h"

static volatile LONG caught, forgotten, last;
static HANDLE event;

/* FALSE: the next handler, which is the system's and ends the process. */
static BOOL WINAPI on_control(DWORD kind)
{
	int number = signal_of_control(kind);

	if (number == SIGNAL_HUP && caught > forgotten)
		return TRUE;
	last = number;
	if (InterlockedIncrement(&caught) - forgotten > 1)
		return FALSE;
	SetEvent(event);
	if (number == SIGNAL_HUP)
		Sleep(INFINITE); /* the process may live until its handler returns, for some seconds */
	return TRUE;
}

int el_signals_count(void)
{
	return caught;
}

int el_signals_asked(void)
{
	return 0;
}

int el_signals_last(void)
{
	return last;
}

void el_signals_forget(void)
{
	forgotten = caught;
}

int el_signals_catch(struct el_engine *engine)
{
	if (!event) {
		event = CreateEvent(NULL, FALSE, FALSE, NULL);
		if (!event)
			return -ENOMEM;
		if (!SetConsoleCtrlHandler(on_control, TRUE))
			return -EIO;
	}
	return el_watch_signals(engine, (int)(intptr_t)event);
}
