/*
 * descriptors.h: where the struct el_frame of all pools are. They outlive their relay: what a script still holds of a
 * closed one can be looked at, and says that it is unused. A shelf belongs to its engine, and keeps those of closed
 * relays for the next ones; the oldest are used again first, and not before some others were put there.
 */
#pragma once

#include "common.h"

struct el_descriptors {
	struct el_descriptors *next; /* on the shelf */
	uint32_t count;
	struct el_frame frames[];
};

struct el_shelf {
	struct el_descriptors *oldest, *newest;
};

/* All of them unused. NULL: no memory. */
struct el_descriptors *el_descriptors_take(struct el_shelf *shelf, uint32_t count);
void el_descriptors_give_back(struct el_shelf *shelf, struct el_descriptors *descriptors);
/* Nobody has a frame any more. */
void el_shelf_close(struct el_shelf *shelf);
