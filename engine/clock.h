/*
 * clock.h: the engine's clock, the only source of time: seconds of CLOCK_MONOTONIC, read once each turn of the loop
 * and whenever somebody calls el_now(). The clock on the wall is read once, when the engine opens: what is told in
 * its time is the engine's time moved by that much.
 */
#pragma once

#include "common.h"
#include "engine.h"

enum { NS = 1000000000 };

/* Reads both clocks for the first time. */
void el_clock_open(struct el_engine *engine);

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
