/*
 * relay.h: what all relay kinds share besides transmit.h: the way in (a burst from the kind, then filter, capture,
 * parse, demux), how the interface is, and the counters. abi.h has el_relay_info() and the others. It opens and
 * closes nothing: that is open.h.
 */
#pragma once

#include "common.h"

/* One turn of the loop: a burst is received. Returns the number of frames. */
uint32_t el_relay_pump(struct el_relay *relay);

/* ---- for kinds ---- */

/* Sets the MTU of a relay that has no interface to ask: what opts says, else the standard one. */
int el_relay_set_mtu(struct el_relay *relay, const struct el_relay_opts *opts, uint32_t standard, char err[EL_ERR_MAX]);
/* A received frame enters: counted, parsed, handed to its endpoints. Takes ownership. */
void el_relay_input(struct el_relay *relay, struct el_frame *frame);
/* The same for up to EL_BURST of them, which is faster where there are very many endpoints. */
void el_relay_input_all(struct el_relay *relay, struct el_frame **frames, uint32_t count);
/* How the interface is: 0, ENETDOWN or ENXIO. One that is down is looked at again: nobody tells when it is deleted. */
void el_relay_set_link(struct el_relay *relay, int state);
/* Nothing more will be received: readers return once their queues are empty. error: see relay->ended. */
void el_relay_end(struct el_relay *relay, int error);
