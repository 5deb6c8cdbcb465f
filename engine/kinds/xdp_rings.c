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
#include "wire_format.h"

enum {
	KICK = 32,       /* descriptors that one wakeup sends in copy mode */
	SOURCE_END = 10, /* where the last two bytes of the source MAC address are */
};

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
	uint32_t at, count = xsk_ring_cons__peek(&queue->completion, TX_ENTRIES, &at), frames;

	if (!count)
		return;
	if (unlikely(((struct xdp *)relay->private)->pieces))
		frames = el_xdp_return_pieces(relay, queue, at, count);
	else
		frames = give_back(relay, queue, at, count);
	queue->inflight -= frames;
	relay->tx_inflight -= frames;
	xsk_ring_cons__release(&queue->completion, count);
}

/* Makes the kernel look at the transmit ring: 0, or why it cannot send now. */
static int kick(const struct queue *queue)
{
	if (!sendto(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, 0))
		return 0;
	return errno == ENETDOWN || errno == ENXIO ? errno : 0; /* EAGAIN, EBUSY, ENOBUFS: the next turn goes on */
}

/* The same where it has to be asked: with zero copy it goes on by itself while it has something to send. */
static int nudge(const struct xdp *self, const struct queue *queue)
{
	return self->zero_copy && !xsk_ring_prod__needs_wakeup(&queue->tx) ? 0 : kick(queue);
}

/* What is still on its way out. */
static void go_on(struct el_relay *relay, struct xdp *self)
{
	for (uint32_t i = 0; i < self->tx_queues; i++) {
		if (!self->queue[i].inflight)
			continue;
		nudge(self, &self->queue[i]);
		reap(relay, &self->queue[i]);
	}
}

uint32_t el_xdp_recv(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct xdp *self = relay->private;
	uint32_t count = 0;

	if (unlikely(relay->tx_inflight))
		go_on(relay, self);
	for (uint32_t i = 0; i < self->queues && count < max; i++, self->next = (self->next + 1) % self->queues)
		count += recv_queue(relay, &self->queue[self->next], frames + count, max - count);
	return count + el_packet_socket_recv(&self->group, relay, frames + count, max - count);
}

/* ---- sending ---- */

static uint32_t submit_whole(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t count)
{
	uint32_t room = xsk_prod_nb_free(&queue->tx, count), at = 0;

	count = count < room ? count : room;
	if (!count)
		return 0;
	xsk_ring_prod__reserve(&queue->tx, count, &at);
	for (uint32_t i = 0; i < count; i++) {
		struct xdp_desc *desc = xsk_ring_prod__tx_desc(&queue->tx, at + i);

		desc->addr = (uint64_t)(frames[i]->data - relay->pool.memory);
		desc->len = frames[i]->len;
		desc->options = 0;
	}
	xsk_ring_prod__submit(&queue->tx, count);
	return count;
}

/* Puts into one ring what has room there. */
static uint32_t submit(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t count)
{
	struct xdp *self = relay->private;

	if (unlikely(self->pieces))
		count = el_xdp_submit_pieces(relay, queue, frames, count);
	else
		count = submit_whole(relay, queue, frames, count);
	queue->inflight += count;
	relay->tx_inflight += count;
	return count;
}

/* The frames of a host, by its MAC address, stay in order: they go out on one queue. */
static uint32_t queue_of(const struct xdp *self, const struct el_frame *frame)
{
	return get16(frame->data + SOURCE_END) % self->tx_queues;
}

/* To several rings, up to the first frame that has no room in its own. */
static uint32_t spread(struct el_relay *relay, struct xdp *self, struct el_frame **frames, uint32_t count)
{
	uint32_t taken = 0, run, put;

	do {
		uint32_t number = queue_of(self, frames[taken]);

		run = 1;
		while (taken + run < count && queue_of(self, frames[taken + run]) == number)
			run++;
		put = submit(relay, &self->queue[number], frames + taken, run);
		taken += put;
	} while (taken < count && put == run);
	return taken;
}

/* Has the kernel send up to count new frames of the queue, and takes back those that are out. */
static int push(struct el_relay *relay, struct xdp *self, struct queue *queue, uint32_t count)
{
	uint32_t wakeup = unlikely(self->pieces) ? KICK * CHUNK_MAX / relay->pool.frame_size : KICK;
	int error = 0;

	for (uint32_t sent = 0; queue->inflight && sent <= count && !error; sent += wakeup)
		error = nudge(self, queue);
	reap(relay, queue);
	return error;
}

/* After a failure nothing is put into the rings, where it would wait for the link, until the kernel takes a kick. */
uint32_t el_xdp_send(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct xdp *self = relay->private;
	int error = 0;

	for (uint32_t i = 0; i < self->tx_queues; i++)
		reap(relay, &self->queue[i]);
	if (el_relay_tx_error(relay) && (error = kick(&self->queue[0])))
		return el_relay_finish(relay, frames, count, error);
	if (likely(self->tx_queues <= 1))
		count = submit(relay, &self->queue[0], frames, count);
	else
		count = spread(relay, self, frames, count);
	for (uint32_t i = 0; i < self->tx_queues && !error; i++)
		error = push(relay, self, &self->queue[i], count);
	el_relay_set_tx_error(relay, error);
	return count;
}
