/*
 * input.c: a console edits lines by itself: with arrows, a history, and whatever else its user is accustomed to.
 */
#include <windows.h>

#include <stdbool.h>
#include <string.h>

#include "os/windows/input.h"

enum { TAB = '\t' };

static HANDLE wanted, ready;
static volatile LONG reading;
static WCHAR line[INPUT_MAX / 4]; /* a character of UTF-16 is at most three bytes of UTF-8 */
static ULONG begun;               /* of these are there already */
static char bytes[INPUT_MAX];
static int count;

static int read_console(HANDLE input)
{
	CONSOLE_READCONSOLE_CONTROL control = {
		.nLength = sizeof control, .nInitialChars = begun, .dwCtrlWakeupMask = 1U << TAB};
	DWORD chars = 0;

	if (!ReadConsoleW(input, line, sizeof line / sizeof line[0], &chars, &control))
		chars = 0;
	begun = 0;
	return WideCharToMultiByte(CP_UTF8, 0, line, (int)chars, bytes, sizeof bytes, NULL, NULL);
}

static int read_file(HANDLE input)
{
	DWORD got = 0;

	return ReadFile(input, bytes, sizeof bytes, &got, NULL) ? (int)got : 0;
}

static DWORD WINAPI read_on_demand(void *unused)
{
	HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
	DWORD mode;

	(void)unused;
	while (WaitForSingleObject(wanted, INFINITE) == WAIT_OBJECT_0) {
		count = GetConsoleMode(input, &mode) ? read_console(input) : read_file(input);
		SetEvent(ready);
	}
	return 0;
}

static void begin(void)
{
	wanted = CreateEvent(NULL, FALSE, FALSE, NULL);
	ready = CreateEvent(NULL, TRUE, FALSE, NULL);
	CloseHandle(CreateThread(NULL, 0, read_on_demand, NULL, 0, NULL));
}

void *input_event(void)
{
	if (!ready)
		begin();
	if (!InterlockedExchange(&reading, 1))
		SetEvent(wanted);
	return ready;
}

int input_take(char *out)
{
	if (!ready || WaitForSingleObject(ready, 0) != WAIT_OBJECT_0)
		return INPUT_AGAIN;
	ResetEvent(ready);
	memcpy(out, bytes, (size_t)count);
	reading = 0;
	return count;
}

void input_begin_with(const char *text, size_t len)
{
	int chars = MultiByteToWideChar(CP_UTF8, 0, text, (int)len, line, sizeof line / sizeof line[0]);

	begun = chars > 0 ? (ULONG)chars : 0;
}
