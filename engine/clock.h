/*
 * clock.h: the engine's clock, the only source of time: seconds of CLOCK_MONOTONIC, read once each turn of the loop
 * and whenever somebody calls el_now(). The clock on the wall may be set at any time, so how far the two are apart is
 * looked at after each sleep, and each millisecond when there is none.
 */
#pragma once

#include "common.h"
#include "engine.h"

enum { NS = 1000000000 };

/* Reads both clocks for the first time. */
void el_clock_open(struct el_engine *engine);
/* Looks how far the two are apart. */
void el_clock_look_at_wall(struct el_engine *engine);

/* Seconds, as of this turn of the loop. */
static inline double el_clock_now(const struct el_engine *engine)
{
	return engine->now;
}

/* Nanoseconds since 1970 minus the engine's time in nanoseconds. */
static inline int64_t el_clock_wall_offset(const struct el_engine *engine)
{
	return engine->wall_offset;
}

/* Nanoseconds since 1970, as of this turn of the loop. */
static inline int64_t el_clock_wall(const struct el_engine *engine)
{
	return engine->wall_offset + (int64_t)(engine->now * 1e9);
}

/* The engine's time of what the clock on the wall calls so many nanoseconds since 1970. */
static inline double el_clock_from_wall(const struct el_engine *engine, int64_t wall)
{
	return (double)(wall - engine->wall_offset) / NS;
}

/*
 * The engine's time of a frame that the kernel stamped by the clock on the wall, and which cannot have come before
 * `since`. When that clock was set meanwhile the stamp may be of the time before, or of a time that is not known yet:
 * then it is now, which is not far off.
 */
double el_clock_from_stamp(const struct el_engine *engine, int64_t stamp, double since);
