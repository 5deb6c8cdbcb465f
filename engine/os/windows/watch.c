/*
 * watch.c: the loop's sleep is a wait for events: those of relays (Npcap's), that of signals, and that of standard
 * input, the only file that tasks wait for here. A handle is a number of 32 bits, in programs of 64 bits, too.
 */
#include <windows.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"
#include "kind.h"
#include "os/windows/input.h"
#include "tasks.h"
#include "watch.h"

struct el_watch {
	HANDLE handles[MAXIMUM_WAIT_OBJECTS];
	const struct el_relay *relays[MAXIMUM_WAIT_OBJECTS]; /* of the same places; NULL for what is no relay's */
	DWORD count;
	HANDLE timer;
	uint32_t task; /* waits for standard input; 0: none */
};

int el_watch_open(struct el_engine *engine)
{
	struct el_watch *watch = engine->watch = calloc(1, sizeof *watch);

	if (!watch)
		return -ENOMEM;
	watch->timer = CreateWaitableTimer(NULL, FALSE, NULL);
	watch->handles[watch->count++] = watch->timer;
	return watch->timer ? 0 : -ENOMEM;
}

void el_watch_close(struct el_engine *engine)
{
	if (!engine->watch)
		return;
	if (engine->watch->timer)
		CloseHandle(engine->watch->timer);
	free(engine->watch);
	engine->watch = NULL;
}

static int add(struct el_watch *watch, int handle, const struct el_relay *relay)
{
	if (watch->count == MAXIMUM_WAIT_OBJECTS - 1)
		return -EMFILE;
	watch->relays[watch->count] = relay;
	watch->handles[watch->count++] = (HANDLE)(intptr_t)handle;
	return 0;
}

int el_watch_relay(struct el_relay *relay, int fd, char err[EL_ERR_MAX])
{
	int error = add(relay->engine->watch, fd, relay);

	return error ? el_fail(err, error, "too many relays: up to %d are possible", MAXIMUM_WAIT_OBJECTS - 3) : 0;
}

void el_unwatch_relay(const struct el_relay *relay)
{
	struct el_watch *watch = relay->engine->watch;
	DWORD kept = 0;

	for (DWORD i = 0; i < watch->count; i++) {
		if (watch->relays[i] == relay)
			continue;
		watch->handles[kept] = watch->handles[i];
		watch->relays[kept++] = watch->relays[i];
	}
	watch->count = kept;
}

int el_watch_signals(struct el_engine *engine, int fd)
{
	return add(engine->watch, fd, NULL);
}

/* The handle of standard input is behind all others, and there only while a task waits. */
int el_wait_fd(struct el_engine *engine, int fd, uint32_t task)
{
	if (fd != STDIN_FILENO)
		return -ENOSYS;
	if (el_timer(engine, task, -1))
		return -ENOMEM;
	engine->watch->task = task;
	return 0;
}

void el_unwait_fd(struct el_engine *engine, int fd)
{
	if (fd == STDIN_FILENO)
		engine->watch->task = 0;
}

/* In units of 100 ns, from now. */
static LARGE_INTEGER due_in(const struct timespec *timeout)
{
	return (LARGE_INTEGER){.QuadPart = -(timeout->tv_sec * 10000000LL + timeout->tv_nsec / 100)};
}

void el_watch_wait(struct el_engine *engine, const struct timespec *timeout)
{
	struct el_watch *watch = engine->watch;
	bool look = timeout && !timeout->tv_sec && !timeout->tv_nsec;
	DWORD count = watch->count, came;
	LARGE_INTEGER due;

	if (timeout && !look) {
		due = due_in(timeout);
		SetWaitableTimer(watch->timer, &due, 0, NULL, NULL, FALSE);
	} else {
		CancelWaitableTimer(watch->timer);
	}
	if (watch->task)
		watch->handles[count++] = input_event();
	came = WaitForMultipleObjects(count, watch->handles, FALSE, look ? 0 : INFINITE);
	if (watch->task && came == WAIT_OBJECT_0 + watch->count) {
		el_task_wake(engine, watch->task);
		watch->task = 0;
	}
}
