/*
 * alarm.c: a thread that wakes up now and then, and has the program's stand still meanwhile.
 */
#include <windows.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "os/windows/control.h"
#include "program/alarm.h"

enum { PERIOD_MS = 100, BY_SIGNAL = 128 };

static HANDLE program, timer;
static void (*time_handler)(const struct alarm_place *place);
static bool (*signal_handler)(int number);

static double of_filetime(const FILETIME *time)
{
	return ((double)time->dwHighDateTime * 4294967296.0 + (double)time->dwLowDateTime) / 1e7;
}

double alarm_processor_time(void)
{
	FILETIME begun, ended, kernel, user;

	if (!GetProcessTimes(GetCurrentProcess(), &begun, &ended, &kernel, &user))
		return 0;
	return of_filetime(&kernel) + of_filetime(&user);
}

double alarm_now(void)
{
	LARGE_INTEGER count, frequency;

	QueryPerformanceCounter(&count);
	QueryPerformanceFrequency(&frequency);
	return (double)count.QuadPart / (double)frequency.QuadPart;
}

/* ---- the timer ---- */

/* A context is of 16 bytes' alignment, which the compiler knows. */
static void look(void)
{
	CONTEXT context = {.ContextFlags = CONTEXT_CONTROL};
	struct alarm_place place = {0, NULL};

	if (SuspendThread(program) == (DWORD)-1)
		return;
	if (GetThreadContext(program, &context))
		place = (struct alarm_place){(uintptr_t)context.Rip, (const uintptr_t *)(uintptr_t)context.Rsp};
	time_handler(&place);
	ResumeThread(program);
}

static DWORD WINAPI look_on_time(void *unused)
{
	(void)unused;
	while (WaitForSingleObject(timer, INFINITE) == WAIT_OBJECT_0)
		look();
	return 0;
}

void alarm_set(double seconds)
{
	LARGE_INTEGER due = {.QuadPart = -(LONGLONG)(seconds * 1e7)};

	if (seconds > 0)
		SetWaitableTimer(timer, &due, PERIOD_MS, NULL, NULL, FALSE);
	else
		CancelWaitableTimer(timer);
}

int alarm_open(void (*handler)(const struct alarm_place *place))
{
	HANDLE thread, self = GetCurrentProcess();

	time_handler = handler;
	timer = CreateWaitableTimer(NULL, FALSE, NULL);
	if (!timer || !DuplicateHandle(self, GetCurrentThread(), self, &program, 0, FALSE, DUPLICATE_SAME_ACCESS))
		return -ENOMEM;
	thread = CreateThread(NULL, 0, look_on_time, NULL, 0, NULL);
	if (!thread)
		return -ENOMEM;
	CloseHandle(thread);
	return 0;
}

void alarm_close(void)
{
	alarm_set(0);
}

/* ---- signals ---- */

/* Handlers are asked from the last one on: FALSE passes it to signals.c. */
static BOOL WINAPI on_control(DWORD kind)
{
	return !signal_handler(signal_of_control(kind));
}

void alarm_watch_signals(bool (*handler)(int number))
{
	if (!signal_handler)
		SetConsoleCtrlHandler(on_control, TRUE);
	signal_handler = handler;
}

/* The program's thread stands still, and may have a lock that ending in order wants. */
void alarm_end_process(int number, const char *text)
{
	DWORD written;

	WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, (DWORD)strlen(text), &written, NULL);
	TerminateProcess(GetCurrentProcess(), (UINT)(BY_SIGNAL + number));
	for (;;)
		Sleep(INFINITE);
}
