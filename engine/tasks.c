/*
 * tasks.c: timers are a heap with at most one entry a task; a wait that ends early leaves its entry where it is and
 * moves only the deadline, so that the usual case, a frame before the timeout, costs no heap operation.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "clock.h"
#include "tasks.h"

enum { NO_ENTRY = 0, TASKS_MIN = 64 };

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

/* ---- memory ---- */

static int grow(void **array, size_t size)
{
	void *bigger = realloc(*array, size);

	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	return 0;
}

/* Room for task numbers up to `task`, everywhere: none of the arrays can run out later. */
static int reserve(struct el_engine *engine, uint32_t task)
{
	uint32_t count = engine->task_count ? engine->task_count : TASKS_MIN;

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

int el_tasks_open(struct el_engine *engine)
{
	return reserve(engine, 1);
}

void el_tasks_close(struct el_engine *engine)
{
	free(engine->tasks);
	free(engine->heap);
	free(engine->ready[0]);
	free(engine->ready[1]);
}

/* ---- ready tasks ---- */

void el_task_ahead(const struct el_engine *engine, uint32_t task)
{
	__builtin_prefetch(&engine->tasks[task], 1);
}

void el_task_wake(struct el_engine *engine, uint32_t task)
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

	if (reserve(engine, task))
		return -ENOMEM;
	slot = &engine->tasks[task];
	slot->deadline = deadline < 0 ? INFINITY : deadline;
	slot->since = el_clock_now(engine);
	if (deadline < 0)
		return 0;
	if (slot->entry == NO_ENTRY)
		sift_up(engine, engine->timers++, (struct timer){deadline, task});
	else if (engine->heap[slot->entry - 1].at > deadline)
		sift_up(engine, slot->entry - 1, (struct timer){deadline, task});
	return 0;
}

void el_tasks_expire(struct el_engine *engine)
{
	while (engine->timers && engine->heap[0].at <= el_clock_now(engine)) {
		uint32_t task = engine->heap[0].task;
		double deadline = engine->tasks[task].deadline;

		if (isinf(deadline)) {
			pop_timer(engine);
		} else if (deadline > engine->heap[0].at) {
			sift_down(engine, 0, (struct timer){deadline, task});
		} else {
			el_task_wake(engine, task);
			pop_timer(engine);
		}
	}
}

double el_tasks_next(const struct el_engine *engine)
{
	return engine->timers ? engine->heap[0].at : INFINITY;
}

double el_waits_since(const struct el_engine *engine, uint32_t task)
{
	return task < engine->task_count ? engine->tasks[task].since : 0;
}
