/*
 * loop.c: the engine of one thread: the loop, timers, ready tasks. A task is only a number here; who it is and what it
 * does is Lua's. Timers are a heap with at most one entry a task; a wait that ends early leaves its entry where it is
 * and moves only the deadline, so that the usual case, a frame before the timeout, costs no heap operation.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "core.h"

enum { NO_ENTRY = 0, PENALTY_MAX = 1023, NS = 1000000000 };

static const double FILES_INTERVAL = 1e-3; /* seconds */
static const double SPIN = 100e-6;         /* seconds: how long it looks again and again before it sleeps */

struct task {
	double deadline; /* when to become ready, INFINITY: no timer */
	double since;    /* when the deadline was set or lifted, which every wait does */
	uint32_t entry;  /* place in the heap + 1, or NO_ENTRY */
	uint32_t ready;
};

/* at is never later than the task's deadline; when it is reached, the deadline decides. */
struct timer {
	double at;
	uint32_t task;
};

/* ---- clock ---- */

static double clock_seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / NS;
}

double el_now(struct el_engine *engine)
{
	engine->now = clock_seconds(CLOCK_MONOTONIC);
	return engine->now;
}

static int64_t wall_offset(void)
{
	struct timespec wall, own;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_MONOTONIC, &own);
	return ((int64_t)wall.tv_sec - own.tv_sec) * NS + wall.tv_nsec - own.tv_nsec;
}

/* ---- tasks ---- */

static int grow(void **array, size_t size)
{
	void *bigger = realloc(*array, size);

	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	return 0;
}

/* Makes room for task numbers up to `task`, everywhere: none of the arrays can run out later. */
static int make_room(struct el_engine *engine, uint32_t task)
{
	uint32_t count = engine->task_count ? engine->task_count : 64;

	if (likely(task < engine->task_count))
		return 0;
	while (count <= task)
		count *= 2;
	if (grow((void **)&engine->tasks, count * sizeof *engine->tasks) ||
	    grow((void **)&engine->heap, count * sizeof *engine->heap) ||
	    grow((void **)&engine->ready[0], count * sizeof *engine->ready[0]) ||
	    grow((void **)&engine->ready[1], count * sizeof *engine->ready[1]))
		return -ENOMEM;
	for (uint32_t i = engine->task_count; i < count; i++)
		engine->tasks[i] = (struct task){INFINITY, 0, NO_ENTRY, 0};
	engine->task_count = count;
	return 0;
}

void el_engine_wake(struct el_engine *engine, uint32_t task)
{
	struct task *slot = &engine->tasks[task];

	slot->deadline = INFINITY;
	if (slot->ready)
		return;
	slot->ready = 1;
	engine->ready[0][engine->ready_count++] = task;
}

uint32_t el_ready(struct el_engine *engine, const uint32_t **ids)
{
	uint32_t *taken = engine->ready[0], count = engine->ready_count;

	for (uint32_t i = 0; i < count; i++)
		engine->tasks[taken[i]].ready = 0;
	engine->ready[0] = engine->ready[1];
	engine->ready[1] = taken;
	engine->ready_count = 0;
	*ids = taken;
	return count;
}

/* ---- timers ---- */

static void place(struct el_engine *engine, uint32_t i, struct timer timer)
{
	engine->heap[i] = timer;
	engine->tasks[timer.task].entry = i + 1;
}

static void sift_up(struct el_engine *engine, uint32_t i, struct timer timer)
{
	while (i && engine->heap[(i - 1) / 2].at > timer.at) {
		place(engine, i, engine->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(engine, i, timer);
}

static void sift_down(struct el_engine *engine, uint32_t i, struct timer timer)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < engine->timers && engine->heap[child + 1].at < engine->heap[child].at)
			child++;
		if (child >= engine->timers || engine->heap[child].at >= timer.at)
			break;
		place(engine, i, engine->heap[child]);
		i = child;
	}
	place(engine, i, timer);
}

static void pop_timer(struct el_engine *engine)
{
	engine->tasks[engine->heap[0].task].entry = NO_ENTRY;
	engine->timers--;
	if (engine->timers)
		sift_down(engine, 0, engine->heap[engine->timers]);
}

int el_timer(struct el_engine *engine, uint32_t task, double deadline)
{
	struct task *slot;

	if (make_room(engine, task))
		return -ENOMEM;
	slot = &engine->tasks[task];
	slot->deadline = deadline < 0 ? INFINITY : deadline;
	slot->since = engine->now;
	if (deadline < 0)
		return 0;
	if (slot->entry == NO_ENTRY)
		sift_up(engine, engine->timers++, (struct timer){deadline, task});
	else if (engine->heap[slot->entry - 1].at > deadline)
		sift_up(engine, slot->entry - 1, (struct timer){deadline, task});
	return 0;
}

static void expire(struct el_engine *engine)
{
	while (engine->timers && engine->heap[0].at <= engine->now) {
		uint32_t task = engine->heap[0].task;
		double deadline = engine->tasks[task].deadline;

		if (isinf(deadline)) {
			pop_timer(engine);
		} else if (deadline > engine->heap[0].at) {
			sift_down(engine, 0, (struct timer){deadline, task});
		} else {
			el_engine_wake(engine, task);
			pop_timer(engine);
		}
	}
}

/* ---- waiting ---- */

int el_wait_frame(struct el_endpoint *ep, uint32_t task, double deadline)
{
	if (!ep->relay)
		return -EBADF;
	if (ep->relay->ended)
		return -ep->relay->ended;
	if (ep->waiter && ep->waiter != task)
		return -EBUSY;
	if (el_timer(ep->relay->engine, task, deadline))
		return -ENOMEM;
	ep->waiter = task;
	return 0;
}

void el_unwait(struct el_endpoint *ep, uint32_t task)
{
	if (ep->waiter == task)
		ep->waiter = 0;
}

int el_wait_fd(struct el_engine *engine, int fd, uint32_t task)
{
	return el_timer(engine, task, -1) ? -ENOMEM : el_watch_task(engine, fd, task);
}

double el_waits_since(const struct el_engine *engine, uint32_t task)
{
	return task < engine->task_count ? engine->tasks[task].since : 0;
}

static void wake_endpoint(struct el_endpoint *ep)
{
	if (ep->waiter)
		el_engine_wake(ep->relay->engine, ep->waiter);
	ep->waiter = 0;
}

static void wake_conn(struct el_conn *conn)
{
	wake_endpoint(&conn->ep);
	for (struct el_node *node = conn->udps; node; node = node->next)
		wake_endpoint(&container_of(node, struct el_udp, by_conn)->ep);
}

void el_relay_end(struct el_relay *relay, int error)
{
	if (relay->ended)
		return;
	relay->ended = error;
	if (relay->tap)
		wake_endpoint(relay->tap);
	for (struct el_node *node = relay->conns; node; node = node->next)
		wake_conn(container_of(node, struct el_conn, by_relay));
	if (relay->default_conn)
		wake_conn(relay->default_conn);
}

static void look_at_files(struct el_engine *engine, const struct timespec *timeout)
{
	el_watch_wait(engine, timeout);
	engine->files_at = engine->now + FILES_INTERVAL;
}

static void nap(struct el_engine *engine, double end)
{
	double until = engine->timers && engine->heap[0].at < end ? engine->heap[0].at : end, length;
	struct timespec timeout = {0};

	for (struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		until = relay->wake_at < until ? relay->wake_at : until;
		if (relay->capture)
			el_capture_flush(relay->capture);
	}
	length = until - engine->now;
	if (length > 0 && !isinf(length)) {
		timeout.tv_sec = (time_t)length;
		timeout.tv_nsec = (long)((length - (double)timeout.tv_sec) * NS);
	}
	look_at_files(engine, isinf(length) ? NULL : &timeout);
}

/* ---- spinning ---- */

/* Frames came. What the last wait was like decides on the next one. */
static void saw_frames(struct el_engine *engine)
{
	struct el_spin *spin = &engine->spin;

	if (spin->spun)
		spin->penalty = 0;
	spin->brisk = engine->now - spin->since < SPIN;
	spin->since = engine->now;
	spin->spun = false;
}

/* A spin in which nothing came: whoever sends may need this very core, so the next tries are put off. */
static void give_up(struct el_spin *spin)
{
	spin->penalty = spin->penalty < PENALTY_MAX ? 2 * spin->penalty + 1 : PENALTY_MAX;
	spin->skip = spin->penalty;
	spin->spun = false;
}

/*
 * Whether to look again instead of sleeping. A frame that finds the loop asleep costs its sender a wake-up, which is
 * more than all else that is done for it, and its receiver some 20 us. So the loop spins while frames keep coming.
 */
static bool spins(struct el_engine *engine)
{
	struct el_spin *spin = &engine->spin;

	if (spin->brisk && !spin->skip && engine->now - spin->since < SPIN) {
		spin->spun = true;
		return true;
	}
	if (spin->spun)
		give_up(spin);
	else if (spin->skip)
		spin->skip--;
	return false;
}

/* Sends what is pending, receives a burst from each relay, looks at the timers. */
static uint32_t turn(struct el_engine *engine)
{
	uint32_t frames = 0;

	el_now(engine);
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		el_relay_flush(relay);
		if (relay->reassembly)
			el_reassembly_expire(relay);
	}
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next)
		frames += el_relay_pump(relay);
	if (frames)
		saw_frames(engine);
	expire(engine);
	return frames;
}

int el_wait(struct el_engine *engine, double timeout)
{
	double end = timeout < 0 ? INFINITY : el_now(engine) + timeout;

	for (;;) {
		uint32_t frames = turn(engine);

		if (engine->now >= engine->files_at) /* also when there is always something else to do */
			look_at_files(engine, &(struct timespec){0});
		if (engine->ready_count || engine->now >= end || el_signals_count() != engine->signals_seen)
			break;
		if (!frames && !spins(engine))
			nap(engine, end);
	}
	engine->signals_seen = el_signals_count();
	return (int)engine->ready_count;
}

/* ---- opening and closing ---- */

struct el_engine *el_engine_open(void)
{
	struct el_engine *engine = calloc(1, sizeof *engine);

	if (!engine)
		return NULL;
	if (el_watch_open(&engine->watch) || make_room(engine, 1)) {
		el_watch_close(&engine->watch);
		free(engine);
		return NULL;
	}
	engine->wall_offset = wall_offset();
	el_now(engine);
	live_engines++;
	return engine;
}

void el_engine_close(struct el_engine *engine)
{
	while (engine->relays)
		el_relay_close(engine->relays);
	el_watch_close(&engine->watch);
	free(engine->tasks);
	free(engine->heap);
	free(engine->ready[0]);
	free(engine->ready[1]);
	live_engines--;
	free(engine);
}
