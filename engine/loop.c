/*
 * loop.c: the engine of one thread: a turn of the loop, and how it waits between two. Everything that a turn does is
 * done elsewhere.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "capture.h"
#include "clock.h"
#include "engine.h"
#include "incomplete.h"
#include "invariant.h"
#include "kind.h"
#include "live.h"
#include "open.h"
#include "relay.h"
#include "rest.h"
#include "signals.h"
#include "tasks.h"
#include "transmit.h"
#include "watch.h"

enum { PENALTY_MAX = 1023 };

static const double FILES_INTERVAL = 1e-3; /* seconds */
static const double INFLIGHT = 1e-3;       /* seconds after which it looks at frames that a card is sending */
static const double SPIN = 100e-6;         /* seconds: how long it looks again and again before it sleeps */

/* ---- sleeping ---- */

static void look_at_files(struct el_engine *engine, const struct timespec *timeout)
{
	el_watch_wait(engine, timeout);
	el_clock_look_at_wall(engine);
	engine->files_at = el_now(engine) + FILES_INTERVAL;
}

/* What was captured is on the disk while nothing happens. */
static void flush_captures(const struct el_engine *engine)
{
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next)
		if (relay->capture)
			el_capture_flush(relay->capture);
}

/* When a timer or a relay has something to do, `end` at the latest. */
static double next_event(const struct el_engine *engine, double end)
{
	double until = fmin(fmin(el_tasks_next(engine), el_rest_next(engine)), end);

	for (struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		until = relay->wake_at < until ? relay->wake_at : until;
		if (relay->tx_inflight && el_clock_now(engine) + INFLIGHT < until)
			until = el_clock_now(engine) + INFLIGHT;
	}
	return until;
}

static void nap(struct el_engine *engine, double until)
{
	double length = until - el_clock_now(engine);
	struct timespec timeout = {0};

	if (length > 0 && !isinf(length)) {
		timeout.tv_sec = (time_t)length;
		timeout.tv_nsec = (long)((length - (double)timeout.tv_sec) * NS);
	}
	look_at_files(engine, isinf(length) ? NULL : &timeout);
}

/* Lets frames gather, if that is worth it and nothing else is to be done meanwhile. */
static void rest(struct el_engine *engine, double end)
{
	double length = el_rest(engine);

	if (length > 0 && next_event(engine, end) - el_clock_now(engine) >= length)
		nanosleep(&(struct timespec){0, (long)(length * NS)}, NULL);
}

/* ---- spinning ---- */

/* Frames came. What the last wait was like decides on the next one. */
static void saw_frames(struct el_engine *engine)
{
	struct el_spin *spin = &engine->spin;

	if (spin->spun)
		spin->penalty = 0;
	spin->brisk = el_clock_now(engine) - spin->since < SPIN;
	spin->since = el_clock_now(engine);
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

	if (spin->brisk && !spin->skip && el_clock_now(engine) - spin->since < SPIN) {
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
	el_invariant_check(engine);
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		el_relay_flush(relay);
		if (relay->reassembly)
			el_reassembly_expire(relay);
	}
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next)
		frames += el_relay_pump(relay);
	if (frames)
		saw_frames(engine);
	el_tasks_expire(engine);
	return frames;
}

int el_wait(struct el_engine *engine, double timeout)
{
	double end = timeout < 0 ? INFINITY : el_now(engine) + timeout;

	for (;;) {
		uint32_t frames;

		if (engine->turn_frames < EL_BURST) /* it received all that there was */
			rest(engine, end);
		frames = engine->turn_frames = turn(engine);
		el_rest_look(engine, frames < EL_BURST);
		if (el_clock_now(engine) >= engine->files_at) /* also when there is always something else to do */
			look_at_files(engine, &(struct timespec){0});
		if (engine->ready_count || el_clock_now(engine) >= end || el_signals_count() != engine->signals_seen)
			break;
		if (frames || spins(engine))
			continue;
		flush_captures(engine);
		nap(engine, next_event(engine, end));
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
	if (el_watch_open(engine) || el_tasks_open(engine)) {
		el_watch_close(engine);
		el_tasks_close(engine);
		free(engine);
		return NULL;
	}
	el_clock_open(engine);
	live_engines++;
	return engine;
}

void el_engine_close(struct el_engine *engine)
{
	while (engine->relays)
		el_relay_close(engine->relays);
	el_shelf_close(&engine->shelf);
	el_watch_close(engine);
	el_tasks_close(engine);
	live_engines--;
	free(engine);
}
