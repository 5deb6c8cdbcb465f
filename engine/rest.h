/*
 * rest.h: where frames come fast the loop lets some gather, since a turn of the loop for each costs much more than the
 * frame; and where that lasts, the kernel does (struct el_kind: gather). Not where what is received is answered, as the
 * next request may wait for that; nor where a relay stamps frames only when it looks at them.
 */
#pragma once

#include "common.h"

struct el_engine;

/* To be called before a turn: seconds to sleep, a millisecond at the most; 0: none. */
double el_rest(struct el_engine *engine);
/* To be called behind a turn; received_all: it left nothing. Tells relays whether to gather. */
void el_rest_look(struct el_engine *engine, bool received_all);
/* When that is due, whether or not something comes; INFINITY: not. */
double el_rest_next(const struct el_engine *engine);
