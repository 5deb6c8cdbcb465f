/*
 * xdp_rings.h: the state of an xdp relay, which xdp.c opens and closes, and the way of frames through its rings.
 */
#pragma once

#include "../bpf/steer.h"
#include "kinds/offload.h"
#include "kinds/packet_socket.h"
#include "kinds/steer.h"
#include "kinds/xdp_queue.h"

struct xdp {
	struct el_packet_socket group; /* what the program leaves to the kernel */
	struct el_steer steer;
	struct el_offload offload;
	int announcer; /* see os/carrier.h */
	struct xsk_umem *umem;
	struct queue queue[STEER_QUEUES_MAX];
	uint32_t queues, next;
	uint32_t all;       /* queues that are served by this process and those it shares the interface with */
	uint32_t tx_queues; /* the first of the queues are sent on, too */
	bool zero_copy;     /* the card reads and writes frames where they are: it is woken when it asks for that */
	uint32_t filled;    /* frames in the fill and receive rings */
	bool pieces;        /* frames are larger than a chunk */
	uint64_t group_missed;
};

/* Gives the kernel free frames to receive into, up to EL_BURST. */
void el_xdp_fill(struct el_relay *relay, struct queue *queue, uint32_t count);
/* As struct el_kind has it. */
uint32_t el_xdp_recv(struct el_relay *relay, struct el_frame **frames, uint32_t max);
uint32_t el_xdp_send(struct el_relay *relay, struct el_frame **frames, uint32_t count);
