/*
 * invariant.h: what has to be true of every relay between two turns of the loop. Builds with the address sanitizer
 * check it each turn and abort where it is not, with the assertion that failed; in others there is nothing of this.
 *
 *   - both sums of struct el_stats hold
 *   - the count of each endpoint is the length of its queue, and all of them are rx_queued
 *   - every frame that was ever used is in one place: free, in one endpoint's queue, borrowed from one endpoint, a
 *     reader's, in the batch or the backlog that is to be sent, or held by the kind
 *
 * The sums are checked each turn. The rest is a walk over all used frames and all endpoints. Each turn pays for 1,024
 * steps of one: so up to 500 frames are walked each turn, but a pool of 16,384 frames that were all used every 32nd.
 */
#pragma once

#include "common.h"

#ifdef __SANITIZE_ADDRESS__
void el_invariant_check(struct el_engine *engine);
#else
static inline void el_invariant_check(const struct el_engine *engine)
{
	(void)engine;
}
#endif
