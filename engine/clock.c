/*
 * clock.c: reads the clocks of the operating system. Nobody else does.
 */
#include <time.h>

#include "clock.h"

double el_now(struct el_engine *engine)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	engine->now = (double)now.tv_sec + (double)now.tv_nsec / NS;
	return engine->now;
}

void el_clock_open(struct el_engine *engine)
{
	struct timespec wall, own;

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_MONOTONIC, &own);
	engine->wall_offset = ((int64_t)wall.tv_sec - own.tv_sec) * NS + wall.tv_nsec - own.tv_nsec;
	el_now(engine);
}
