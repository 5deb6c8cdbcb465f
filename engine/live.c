/*
 * live.c: the counters of open objects.
 */
#include "live.h"

_Atomic int64_t live_engines, live_relays, live_conns, live_udps, live_taps;

void el_live(struct el_live *out)
{
	out->engines = live_engines;
	out->relays = live_relays;
	out->conns = live_conns;
	out->udps = live_udps;
	out->taps = live_taps;
}
