/*
 * transmit.h: the way of a frame out, the same for all relay kinds: a slot to write it into, commit, and the flush
 * that hands what is pending to the kind. From commit until the kind is done with them the frames are the relay's.
 * abi.h has el_relay_send() and el_relay_flush().
 */
#pragma once

#include "common.h"

/* A slot to write a frame into (data is set); NULL and *error when there is no room. el_relay_commit sends it. */
struct el_frame *el_relay_slot(struct el_relay *relay, int *error);
int el_relay_commit(struct el_relay *relay, struct el_frame *frame);
/* The same for a list of `count` of them, 1 or more: there is room for all, or NULL is returned. */
struct el_frame *el_relay_slots(struct el_relay *relay, uint32_t count, int *error);
int el_relay_commit_all(struct el_relay *relay, struct el_frame *frames, uint32_t count);
/* Frames that were committed and that the kind is not done with. */
uint32_t el_relay_pending(const struct el_relay *relay);

/* ---- for kinds ---- */

/* The kind is done with a frame of its send(); error 0: the interface took it. Counts. The frame stays the kind's. */
void el_relay_sent(struct el_relay *relay, struct el_frame *frame, int error);
/* The same for several, which go back to the pool. Returns count. */
uint32_t el_relay_finish(struct el_relay *relay, struct el_frame **frames, uint32_t count, int error);
/* Why the last frame could not be sent; 0 once one was. */
int el_relay_tx_error(const struct el_relay *relay);
/* A kind whose frames are in a ring tells so why that does not empty; 0: it does. */
void el_relay_set_tx_error(struct el_relay *relay, int error);
