/*
 * xdp_pieces.h: frames of several descriptors in the rings of AF_XDP. Receiving and sending as a whole is xdp_rings.h;
 * here is what it leaves to us when the relay's frames are larger than a chunk.
 */
#pragma once

#include "kinds/xdp_queue.h"

/*
 * What `count` descriptors from place `at` of the receive ring complete. Returns how many frames that are; one that is
 * not complete waits for the next call.
 */
uint32_t el_xdp_join(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count, struct el_frame **frames,
                     double now);
/* The same of the completion ring: frames go back to the pool with their last piece. Returns how many did. */
uint32_t el_xdp_return_pieces(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count);
/* Puts frames into the transmit ring, as many as there is room for. Returns how many. */
uint32_t el_xdp_submit_pieces(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t count);
