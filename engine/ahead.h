/*
 * ahead.h: where a relay has very many endpoints nothing of one is in the processor's caches when its frame comes. The
 * memory that the demux needs for a whole burst is asked for beforehand, so that it comes at once, not in turn.
 */
#pragma once

#include "common.h"

struct el_relay;
struct el_frame;

enum { EL_AHEAD_ENDPOINTS = 2048 }; /* fewer stay in the caches */

/* Changes nothing but what parsing sets. */
void el_ahead(const struct el_relay *relay, struct el_frame *const *frames, uint32_t count);
