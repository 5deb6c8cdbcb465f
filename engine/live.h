/*
 * live.h: the counters of objects that exist in the process, which el_live() hands out. They are all that engines
 * share. Whoever makes an object adds one, whoever frees it takes one away.
 */
#pragma once

#include "common.h"

extern _Atomic int64_t live_engines, live_relays, live_conns, live_udps, live_taps;
