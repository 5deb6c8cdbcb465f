/*
 * rest.h: where frames come fast the loop lets some gather, since a turn of the loop for each costs much more than the
 * frame. Not where what is received is answered, as the next request may wait for that; nor where a relay stamps frames
 * only when it looks at them.
 */
#pragma once

#include "common.h"

struct el_engine;

/* To be called between two turns: seconds to sleep, a millisecond at the most; 0: none. */
double el_rest(struct el_engine *engine);
