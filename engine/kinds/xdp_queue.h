/*
 * xdp_queue.h: the rings of one AF_XDP socket, without functions. AF_XDP moves memory in chunks of a page at the most;
 * a larger frame comes and goes as several descriptors (Linux 6.6). A relay with such frames has pool frames of
 * several chunks, so that a frame is whole everywhere else.
 */
#pragma once

#include <xdp/xsk.h>

#include "common.h"
#include "kind.h"

#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4) /* Linux 6.6, as is the next one */
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

enum {
	CHUNK_MAX = 4096,  /* bytes that one descriptor can have: a page */
	RX_ENTRIES = 8192, /* of the receive and fill rings of a queue: 4 ms at 2,000,000 packets/s */
	TX_ENTRIES = 2048, /* of the transmit and completion rings */
};

struct queue {
	struct xsk_socket *socket;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	int fd;
	uint32_t inflight;      /* frames in the transmit and completion rings */
	struct el_frame *begun; /* in pieces: more of it is still to come; NULL: none */
};

static inline struct el_frame *el_xdp_frame_at(struct el_pool *pool, uint64_t address)
{
	return &pool->frames[address / pool->frame_size];
}
