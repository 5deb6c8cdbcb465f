/*
 * watch.c: files of relays are polled and are waited for only while the loop sleeps: epoll would stay registered, and
 * then the kernel tries to wake somebody for each frame that is sent or comes. Those that tasks wait for, and signals,
 * are an epoll instance, which is polled with the others.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine.h"
#include "fail.h"
#include "kind.h"
#include "tasks.h"
#include "watch.h"

enum { EVENTS = 64 };

struct el_watch {
	int epoll;                /* files that tasks wait for, and signals */
	struct pollfd *polled;    /* epoll, then files of relays */
	struct el_relay **relays; /* of the same places; NULL for epoll */
	uint32_t count;
};

/* ---- opening and closing ---- */

static int watch_file(struct el_watch *watch, int fd, struct el_relay *relay)
{
	uint32_t count = watch->count + 1;
	struct pollfd *polled = realloc(watch->polled, count * sizeof *polled);
	struct el_relay **relays;

	if (!polled)
		return -ENOMEM;
	watch->polled = polled;
	relays = realloc(watch->relays, count * sizeof(struct el_relay *));
	if (!relays)
		return -ENOMEM;
	watch->relays = relays;
	polled[watch->count] = (struct pollfd){fd, POLLIN, 0};
	relays[watch->count++] = relay;
	return 0;
}

/* The epoll instance is the first of what is polled, and no relay's. */
int el_watch_open(struct el_engine *engine)
{
	struct el_watch *watch = engine->watch = calloc(1, sizeof *watch);

	if (!watch)
		return -ENOMEM;
	watch->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (watch->epoll < 0)
		return -errno;
	return watch_file(watch, watch->epoll, NULL);
}

void el_watch_close(struct el_engine *engine)
{
	struct el_watch *watch = engine->watch;

	if (!watch)
		return;
	if (watch->epoll >= 0)
		close(watch->epoll);
	free(watch->polled);
	free(watch->relays);
	free(watch);
	engine->watch = NULL;
}

/* ---- files of relays ---- */

int el_watch_relay(struct el_relay *relay, int fd, char err[EL_ERR_MAX])
{
	int error = watch_file(relay->engine->watch, fd, relay);

	return error ? el_fail(err, error, "out of memory") : 0;
}

void el_unwatch_relay(const struct el_relay *relay)
{
	struct el_watch *watch = relay->engine->watch;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < watch->count; i++) {
		if (watch->relays[i] == relay)
			continue;
		watch->polled[kept] = watch->polled[i];
		watch->relays[kept++] = watch->relays[i];
	}
	watch->count = kept;
}

/* ---- files of tasks, and signals ---- */

static int add(struct el_engine *engine, int fd, uint32_t events, uint32_t task)
{
	struct epoll_event event = {.events = events, .data.u32 = task};

	return epoll_ctl(engine->watch->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void el_unwait_fd(struct el_engine *engine, int fd)
{
	epoll_ctl(engine->watch->epoll, EPOLL_CTL_DEL, fd, NULL);
}

int el_wait_fd(struct el_engine *engine, int fd, uint32_t task)
{
	if (el_timer(engine, task, -1))
		return -ENOMEM;
	el_unwait_fd(engine, fd);
	return add(engine, fd, EPOLLIN | EPOLLONESHOT, task);
}

/* 0 is no task. */
int el_watch_signals(struct el_engine *engine, int fd)
{
	return add(engine, fd, EPOLLIN | EPOLLET, 0);
}

static void wake_tasks(struct el_engine *engine)
{
	struct epoll_event events[EVENTS];
	int count = epoll_wait(engine->watch->epoll, events, EVENTS, 0);

	for (int i = 0; i < count; i++)
		if (events[i].data.u32)
			el_task_wake(engine, events[i].data.u32);
}

/* ---- waiting ---- */

static void handle(struct el_relay *relay, int events)
{
	if (events & (POLLERR | POLLHUP | POLLNVAL) && relay->kind->trouble)
		relay->kind->trouble(relay);
}

void el_watch_wait(struct el_engine *engine, const struct timespec *timeout)
{
	struct el_watch *watch = engine->watch;

	if (ppoll(watch->polled, watch->count, timeout, NULL) <= 0)
		return;
	if (watch->polled[0].revents)
		wake_tasks(engine);
	for (uint32_t i = 1; i < watch->count; i++)
		handle(watch->relays[i], watch->polled[i].revents);
}
