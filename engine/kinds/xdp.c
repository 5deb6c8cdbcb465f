/*
 * xdp.c: AF_XDP sockets, one for each receive queue, on one memory (UMEM) that is the relay's frame pool. The steering
 * program (bpf/steer.bpf.c) sends them the frames of registered endpoints and leaves the rest to the kernel; group
 * frames, and for a default endpoint everything that the kernel got, come in through a packet socket. Program and maps
 * are held by file descriptors alone, so nothing is left when the process ends.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "../bpf/steer.h"
#include "clock.h"
#include "fail.h"
#include "filter.h"
#include "frame_memory.h"
#include "kind.h"
#include "kinds/offload.h"
#include "kinds/packet_socket.h"
#include "kinds/steer.h"
#include "os/netdev.h"
#include "os/shortage.h"
#include "pool.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"
#include "wire_format.h"

enum {
	RX_RING = 8192,        /* entries of the receive and fill rings of a queue: 4 ms at 2,000,000 packets/s */
	TX_RING = 2048,        /* of the transmit and completion rings */
	KERNEL_HEADROOM = 256, /* XDP_PACKET_HEADROOM: bytes in front of each received frame */
	KICK = 32,             /* frames that one wakeup sends in copy mode */
};

struct queue {
	struct xsk_socket *socket;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	int fd;
};

struct xdp {
	struct el_packet_socket group; /* what the program leaves to the kernel */
	struct el_steer steer;
	struct el_offload offload;
	struct xsk_umem *umem;
	struct queue queue[STEER_QUEUES_MAX];
	uint32_t queues, next;
	uint32_t filled; /* frames in the fill and receive rings */
	uint64_t group_missed;
};

/* ---- who gets what ---- */

/* What a program that was brought leaves to the packet socket: group frames. */
static int attach_group(const struct xdp *self)
{
	struct sock_filter group_only[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {4, group_only};

	return setsockopt(self->group.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ? -errno : 0;
}

/* While there is a default endpoint the packet socket sees everything that the kernel gets. */
static int filter_group(const struct xdp *self, bool everything)
{
	const int *program = &self->steer.group_filter;

	if (everything)
		return el_filter_attach(NULL, self->group.fd, 0);
	if (*program < 0)
		return attach_group(self);
	return setsockopt(self->group.fd, SOL_SOCKET, SO_ATTACH_BPF, program, sizeof *program) ? -errno : 0;
}

static int claim(struct el_relay *relay, const struct el_mac *mac, const struct el_vlans *vlans, bool on)
{
	struct xdp *self = relay->private;

	return mac ? el_steer_claim(&self->steer, mac, vlans, on) : filter_group(self, on);
}

/* ---- queues ---- */

static struct el_frame *frame_at(struct el_pool *pool, uint64_t address)
{
	return &pool->frames[address / pool->frame_size];
}

/* Gives the kernel free frames to receive into. */
static void fill(struct el_relay *relay, struct queue *queue, uint32_t count)
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

static int open_queue(struct el_relay *relay, struct xdp *self, uint32_t number, const struct el_relay_opts *opts)
{
	static const uint16_t copy_flags[] = {[EL_COPY_AUTO] = 0, [EL_COPY] = XDP_COPY, [EL_ZEROCOPY] = XDP_ZEROCOPY};
	struct queue *queue = &self->queue[number];
	struct xsk_socket_config config = {
		.rx_size = RX_RING,
		.tx_size = TX_RING,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.xdp_flags = self->steer.native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE,
		.bind_flags = (uint16_t)(copy_flags[opts->copy] | (opts->no_need_wakeup ? 0 : XDP_USE_NEED_WAKEUP)),
	};
	int error;
	uint32_t share = relay->pool.count / 2 / self->queues;

	error = xsk_socket__create_shared(&queue->socket, self->group.interface, number, self->umem, &queue->rx,
	                                  &queue->tx, &queue->fill, &queue->completion, &config);
	if (error)
		return error;
	queue->fd = xsk_socket__fd(queue->socket);
	for (uint32_t given = 0; given < share && given < RX_RING; given += EL_BURST)
		fill(relay, queue, EL_BURST);
	return el_steer_socket(&self->steer, number, queue->fd);
}

static int open_umem(struct el_relay *relay, struct xdp *self, char err[EL_ERR_MAX])
{
	struct xsk_umem_config config = {
		.fill_size = RX_RING, .comp_size = TX_RING, .frame_size = relay->pool.frame_size};
	struct queue *first = &self->queue[0];
	int error =
		xsk_umem__create(&self->umem, relay->pool.memory, (uint64_t)relay->pool.count * relay->pool.frame_size,
	                         &first->fill, &first->completion, &config);

	if (error == -EPERM || error == -ENOBUFS)
		return el_fail(err, error, "no locked memory for %u frames: ulimit -l unlimited, or CAP_IPC_LOCK",
		               relay->pool.count);
	return error ? el_shortage_fail(err, error, "UMEM of %s", self->group.interface) : 0;
}

static int open_queues(struct el_relay *relay, struct xdp *self, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	for (uint32_t i = 0; i < self->queues; i++) {
		int error = open_queue(relay, self, i, opts);

		if (!error)
			error = el_watch_relay(relay, self->queue[i].fd, err);
		if (error == -EOPNOTSUPP && opts->copy == EL_ZEROCOPY)
			return el_fail(err, error, "%s has no zero-copy AF_XDP: copy = \"auto\"",
			               self->group.interface);
		if (error == -EBUSY)
			return el_fail(err, error, "queue %u of %s has an AF_XDP socket already", i,
			               self->group.interface);
		if (error)
			return el_shortage_fail(err, error, "AF_XDP socket on queue %u of %s", i,
			                        self->group.interface);
	}
	return 0;
}

/* ---- opening and closing ---- */

static int check_size(struct el_relay *relay, char err[EL_ERR_MAX])
{
	uint32_t size = relay->pool.frame_size,
		 need = KERNEL_HEADROOM + ETH_HEADER + EL_TAGS_MAX * TAG_LEN + relay->mtu;

	if ((size != 2048 && size != 4096) || need > size)
		return el_fail(
			err, -EMSGSIZE,
			"frames of %u bytes cannot be received by AF_XDP at MTU %u: frame_size 2048 or 4096 with %u "
			"bytes or more is needed",
			size, relay->mtu, need);
	return 0;
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct xdp *self = calloc(1, sizeof *self);
	int error;

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	relay->headroom = KERNEL_HEADROOM;
	error = el_packet_socket_open(&self->group, relay, name, opts, err);
	if (error)
		return error;
	self->queues = el_netdev_queues(self->group.fd, self->group.interface);
	if (opts->queues > self->queues || self->queues > STEER_QUEUES_MAX)
		return el_fail(err, -EINVAL, "bad number of queues %u: %s has %u, up to %d are possible",
		               opts->queues ? opts->queues : self->queues, name, self->queues, STEER_QUEUES_MAX);
	if (opts->queues)
		self->queues = opts->queues;
	return 0;
}

static int start(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct xdp *self = relay->private;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	int error = check_size(relay, err);

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* older kernels count maps and UMEM against it */
	if (!error)
		error = el_steer_open(&self->steer, self->group.ifindex, self->group.interface, opts, err);
	if (!error)
		error = el_offload_suspend(&self->offload, self->group.fd, self->group.ifindex, err);
	relay->was_left = self->offload.was_left;
	if (!error)
		error = open_umem(relay, self, err);
	if (!error)
		error = open_queues(relay, self, opts, err);
	if (!error && (error = filter_group(self, false)))
		el_fail(err, error, "filter on %s: %s", self->group.interface, strerror(-error));
	if (!error)
		error = el_packet_socket_bind(&self->group, err);
	if (error)
		return error;
	snprintf(relay->detail, sizeof relay->detail, "%.52s, %u queue%s", self->steer.detail, self->queues,
	         self->queues > 1 ? "s" : "");
	return el_watch_relay(relay, self->group.fd, err);
}

static void close_interface(struct el_relay *relay)
{
	struct xdp *self = relay->private;

	if (!self)
		return;
	for (uint32_t i = 0; i < self->queues; i++)
		if (self->queue[i].socket)
			xsk_socket__delete(self->queue[i].socket);
	if (self->umem)
		xsk_umem__delete(self->umem);
	el_steer_close(&self->steer);
	el_offload_restore(&self->offload);
	el_packet_socket_close(&self->group);
	free(self);
}

/* ---- receiving ---- */

static uint32_t recv_queue(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t max)
{
	uint32_t at, count = xsk_ring_cons__peek(&queue->rx, max, &at);
	double now = el_clock_now(relay->engine);

	if (!count)
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->rx, at + i);
		struct el_frame *frame = frame_at(&relay->pool, desc->addr);

		frame->data = relay->pool.memory + desc->addr;
		frame->len = desc->len;
		frame->timestamp = now;
		frames[i] = frame;
	}
	xsk_ring_cons__release(&queue->rx, count);
	((struct xdp *)relay->private)->filled -= count;
	fill(relay, queue, count);
	return count;
}

/* Frames that were sent come back from the kernel. */
static void reap(struct el_relay *relay, struct queue *queue)
{
	uint32_t at, count = xsk_ring_cons__peek(&queue->completion, TX_RING, &at);

	if (!count)
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct el_frame *frame = frame_at(&relay->pool, *xsk_ring_cons__comp_addr(&queue->completion, at + i));

		el_relay_sent(relay, frame, 0);
		el_pool_put(frame);
	}
	xsk_ring_cons__release(&queue->completion, count);
	relay->tx_inflight -= count;
}

/* Makes the kernel look at the transmit ring: 0, or why it cannot send now. */
static int kick(const struct queue *queue)
{
	if (!sendto(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, 0))
		return 0;
	return errno == ENETDOWN || errno == ENXIO ? errno : 0; /* EAGAIN, EBUSY, ENOBUFS: the next turn goes on */
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
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

static void count_missed(struct el_relay *relay)
{
	struct xdp *self = relay->private;
	struct xdp_statistics stats = {0};
	socklen_t len = sizeof stats;

	self->group_missed += el_packet_socket_missed(&self->group);
	relay->stats.rx_missed = self->group_missed;
	for (uint32_t i = 0; i < self->queues; i++)
		if (!getsockopt(self->queue[i].fd, SOL_XDP, XDP_STATISTICS, &stats, &len))
			relay->stats.rx_missed += stats.rx_dropped + stats.rx_ring_full;
}

static uint32_t held(const struct el_relay *relay)
{
	return ((const struct xdp *)relay->private)->filled + relay->tx_inflight;
}

static void trouble(struct el_relay *relay)
{
	struct xdp *self = relay->private;

	el_relay_set_link(relay, el_packet_socket_state(&self->group));
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
static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct queue *queue = &((struct xdp *)relay->private)->queue[0];
	uint32_t room;
	int error = 0;

	reap(relay, queue);
	if (el_relay_tx_error(relay) && (error = kick(queue)))
		return el_relay_finish(relay, frames, count, error);
	room = xsk_prod_nb_free(&queue->tx, count);
	count = count < room ? count : room;
	if (count)
		submit(relay, queue, frames, count);
	for (uint32_t sent = 0; relay->tx_inflight && sent <= count && !error; sent += KICK)
		error = kick(queue);
	el_relay_set_tx_error(relay, error);
	reap(relay, queue);
	return count;
}

const struct el_kind el_kind_xdp = {
	.name = "xdp",
	.open = open_interface,
	.start = start,
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.claim = claim,
	.count = count_missed,
	.held = held,
	.close = close_interface,
};
