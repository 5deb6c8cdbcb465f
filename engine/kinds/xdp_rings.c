/*
 * xdp_rings.c: frames go through the rings of AF_XDP. What has one descriptor is moved here, one loop a burst; relays
 * whose frames have several leave that to xdp_pieces.c.
 */
#include <errno.h>
#include <sys/socket.h>

#include "clock.h"
#include "frame_memory.h"
#include "kinds/xdp_pieces.h"
#include "kinds/xdp_rings.h"
#include "pool.h"
#include "transmit.h"

enum { KICK = 32 }; /* descriptors that one wakeup sends in copy mode */

/* ---- receiving ---- */

void el_xdp_fill(struct el_relay *relay, struct queue *queue, uint32_t count)
{
	struct el_frame *frames[EL_BURST];
	uint32_t room = xsk_prod_nb_free(&queue->fill, count), have = 0, at;

	count = count < room ? count : room;
	while (have < count && have < EL_BURST && (frames[have] = el_relay_frame(relay)))
		have++;
	if (!have || !xsk_ring_prod__reserve(&queue->fill, have, &at))
		return;
	for (uint32_t i = 0; i < have; i++)
		*xsk_ring_prod__fill_addr(&queue->fill, at + i) =
			(uint64_t)(frames[i] - relay->pool.frames) * relay->pool.frame_size;
	xsk_ring_prod__submit(&queue->fill, have);
	((struct xdp *)relay->private)->filled += have;
}

/* Frames of one descriptor each. */
static void take(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count, struct el_frame **frames,
                 double now)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->rx, at + i);
		struct el_frame *frame = el_xdp_frame_at(&relay->pool, desc->addr);

		frame->data = relay->pool.memory + desc->addr;
		frame->len = desc->len;
		frame->timestamp = now;
		frames[i] = frame;
	}
}

static uint32_t recv_queue(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t max)
{
	struct xdp *self = relay->private;
	uint32_t at, count = xsk_ring_cons__peek(&queue->rx, max, &at), complete;
	double now = el_clock_now(relay->engine);

	if (!count)
		return 0;
	complete = count;
	if (unlikely(self->pieces))
		complete = el_xdp_join(relay, queue, at, count, frames, now);
	else
		take(relay, queue, at, count, frames, now);
	xsk_ring_cons__release(&queue->rx, count);
	self->filled -= count;
	el_xdp_fill(relay, queue, count);
	return complete;
}

static uint32_t give_back(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = *xsk_ring_cons__comp_addr(&queue->completion, at + i);
		struct el_frame *frame = el_xdp_frame_at(&relay->pool, address);

		el_relay_sent(relay, frame, 0);
		el_pool_put(frame);
	}
	return count;
}

/* Frames that were sent come back from the kernel. */
static void reap(struct el_relay *relay, struct queue *queue)
{
	uint32_t at, count = xsk_ring_cons__peek(&queue->completion, TX_ENTRIES, &at);

	if (!count)
		return;
	if (unlikely(((struct xdp *)relay->private)->pieces))
		relay->tx_inflight -= el_xdp_return_pieces(relay, queue, at, count);
	else
		relay->tx_inflight -= give_back(relay, queue, at, count);
	xsk_ring_cons__release(&queue->completion, count);
}

/* Makes the kernel look at the transmit ring: 0, or why it cannot send now. */
static int kick(const struct queue *queue)
{
	if (!sendto(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, 0))
		return 0;
	return errno == ENETDOWN || errno == ENXIO ? errno : 0; /* EAGAIN, EBUSY, ENOBUFS: the next turn goes on */
}

uint32_t el_xdp_recv(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct xdp *self = relay->private;
	uint32_t count = 0;

	if (unlikely(relay->tx_inflight)) {
		kick(&self->queue[0]);
		reap(relay, &self->queue[0]);
	}
	for (uint32_t i = 0; i < self->queues && count < max; i++, self->next = (self->next + 1) % self->queues)
		count += recv_queue(relay, &self->queue[self->next], frames + count, max - count);
	return count + el_packet_socket_recv(&self->group, relay, frames + count, max - count);
}

/* ---- sending ---- */

static void submit(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t count)
{
	uint32_t at = 0;

	xsk_ring_prod__reserve(&queue->tx, count, &at);
	for (uint32_t i = 0; i < count; i++) {
		struct xdp_desc *desc = xsk_ring_prod__tx_desc(&queue->tx, at + i);

		desc->addr = (uint64_t)(frames[i]->data - relay->pool.memory);
		desc->len = frames[i]->len;
		desc->options = 0;
	}
	xsk_ring_prod__submit(&queue->tx, count);
	relay->tx_inflight += count;
}

/* After a failure nothing is put into the ring, where it would wait for the link, until the kernel takes a kick. */
uint32_t el_xdp_send(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct xdp *self = relay->private;
	struct queue *queue = &self->queue[0];
	uint32_t room, wakeup = KICK;
	int error = 0;

	reap(relay, queue);
	if (el_relay_tx_error(relay) && (error = kick(queue)))
		return el_relay_finish(relay, frames, count, error);
	if (unlikely(self->pieces)) {
		count = el_xdp_submit_pieces(relay, queue, frames, count);
		wakeup = KICK * CHUNK_MAX / relay->pool.frame_size;
	} else {
		room = xsk_prod_nb_free(&queue->tx, count);
		count = count < room ? count : room;
		if (count)
			submit(relay, queue, frames, count);
	}
	for (uint32_t sent = 0; relay->tx_inflight && sent <= count && !error; sent += wakeup)
		error = kick(queue);
	el_relay_set_tx_error(relay, error);
	reap(relay, queue);
	return count;
}
