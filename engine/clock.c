/*
 * clock.c: reads the clocks of the operating system. Nobody else does.
 */
#include <stdlib.h>
#include <time.h>

#include "clock.h"

static const double SLACK = 10e-3; /* seconds: stamps may be a bit late, the clock on the wall may be adjusted a bit */

double el_now(struct el_engine *engine)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	engine->now = (double)now.tv_sec + (double)now.tv_nsec / NS;
	return engine->now;
}

static int64_t read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * NS + now.tv_nsec;
}

/* The wall is read between two looks at the own clock: as long as what is known lies between both nothing has moved. */
void el_clock_look_at_wall(struct el_engine *engine)
{
	int64_t before = read_clock(CLOCK_MONOTONIC), wall = read_clock(CLOCK_REALTIME),
		after = read_clock(CLOCK_MONOTONIC), middle = wall - before - (after - before) / 2;

	if (engine->wall_offset >= wall - after && engine->wall_offset <= wall - before)
		return;
	if (llabs(middle - engine->wall_offset) > (int64_t)(SLACK * NS))
		engine->wall_before = engine->wall_offset;
	engine->wall_offset = middle;
}

void el_clock_open(struct el_engine *engine)
{
	el_clock_look_at_wall(engine);
	el_clock_look_at_wall(engine); /* the first look may have been interrupted */
	engine->wall_before = engine->wall_offset;
	el_now(engine);
}

static bool is_between(double since, double at, double until)
{
	return at >= since - SLACK && at <= until + SLACK;
}

double el_clock_from_stamp(const struct el_engine *engine, int64_t stamp, double since)
{
	double at = el_clock_from_wall(engine, stamp);

	if (likely(is_between(since, at, engine->now)))
		return at;
	at = (double)(stamp - engine->wall_before) / NS;
	return is_between(since, at, engine->now) ? at : engine->now;
}
