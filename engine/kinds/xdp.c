/*
 * xdp.c: AF_XDP sockets, one for each receive queue, on one memory (UMEM) that is the relay's frame pool. The steering
 * program (bpf/steer.bpf.c) sends them the frames of registered endpoints and leaves the rest to the kernel; group
 * frames, and for a default endpoint everything that the kernel got, come in through a packet socket. Program and maps
 * are held by file descriptors alone, so nothing is left when the process ends. Processes that share the interface have
 * one program, and each some of the queues; frames on those of others come in through the packet socket, too.
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

#include "fail.h"
#include "kind.h"
#include "kinds/socket_filter.h"
#include "kinds/xdp_rings.h"
#include "os/netdev.h"
#include "os/shortage.h"
#include "os/turn.h"
#include "pool.h"
#include "relay.h"
#include "watch.h"
#include "wire_format.h"

enum {
	KERNEL_HEADROOM = 256, /* XDP_PACKET_HEADROOM: bytes in front of each received frame */
	NATIVE_MTU = 3500,     /* drivers want some of a page for themselves when they give it to a program */
	BUSY_TRIES = 50,
	BUSY_PAUSE = 10000,       /* us */
	PIECES_MEMORY = 64 << 20, /* bytes of all frames, unless their number is given: the kernel pins them */
};

static const double TURN = 30; /* seconds: many processes open one after the other, some drivers take their time */

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
	if (everything)
		return el_filter_attach(NULL, self->group.fd, 0);
	if (self->steer.socket_filter < 0)
		return attach_group(self);
	return el_steer_attach_socket(&self->steer, self->group.fd);
}

static int claim(struct el_relay *relay, const struct el_mac *mac, const struct el_vlans *vlans, bool on)
{
	struct xdp *self = relay->private;

	return mac ? el_steer_claim(&self->steer, mac, vlans, on) : filter_group(self, on);
}

/* ---- queues ---- */

/* Of the interface; of parts processes each has every parts-th. */
static uint32_t queue_number(const struct el_relay_opts *opts, uint32_t i)
{
	return opts->shared ? opts->part + i * opts->parts : i;
}

static int open_queue(struct el_relay *relay, struct xdp *self, struct queue *queue, uint32_t number,
                      const struct el_relay_opts *opts)
{
	static const uint16_t copy_flags[] = {[EL_COPY_AUTO] = 0, [EL_COPY] = XDP_COPY, [EL_ZEROCOPY] = XDP_ZEROCOPY};
	/* Where the driver has zero copy it would take the queue's memory, and what comes in generic mode had none. */
	uint16_t copy = self->steer.native ? copy_flags[opts->copy] : XDP_COPY;
	struct xsk_socket_config config = {
		.rx_size = RX_ENTRIES,
		.tx_size = TX_ENTRIES,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.xdp_flags = self->steer.native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE,
		.bind_flags = (uint16_t)(copy | (opts->no_need_wakeup ? 0 : XDP_USE_NEED_WAKEUP) |
	                                 (self->pieces ? XDP_USE_SG : 0)),
	};
	int error;
	uint32_t share = relay->pool.count / 2 / self->queues; /* the other half is to be sent, or read */

	error = xsk_socket__create_shared(&queue->socket, self->group.interface, number, self->umem, &queue->rx,
	                                  &queue->tx, &queue->fill, &queue->completion, &config);
	if (error)
		return error;
	queue->fd = xsk_socket__fd(queue->socket);
	for (uint32_t given = 0; given < share && given < RX_ENTRIES; given += EL_BURST)
		el_xdp_fill(relay, queue, share - given < EL_BURST ? share - given : EL_BURST);
	return el_steer_socket(&self->steer, number, queue->fd);
}

/* The kernel frees a queue some time after its socket was closed, by a worker of its own that may be late. */
static int open_free_queue(struct el_relay *relay, struct xdp *self, uint32_t i, const struct el_relay_opts *opts)
{
	struct queue *queue = &self->queue[i];
	uint32_t number = queue_number(opts, i);
	int error;

	for (int tries = 0; (error = open_queue(relay, self, queue, number, opts)) == -EBUSY && tries < BUSY_TRIES;
	     tries++)
		usleep(BUSY_PAUSE);
	return error;
}

static int open_umem(struct el_relay *relay, struct xdp *self, char err[EL_ERR_MAX])
{
	struct xsk_umem_config config = {
		.fill_size = RX_ENTRIES,
		.comp_size = TX_ENTRIES,
		.frame_size = self->pieces ? CHUNK_MAX : relay->pool.frame_size,
	};
	struct queue *first = &self->queue[0];
	int error =
		xsk_umem__create(&self->umem, relay->pool.memory, (uint64_t)relay->pool.count * relay->pool.frame_size,
	                         &first->fill, &first->completion, &config);

	if (error == -EPERM || error == -ENOBUFS)
		return el_fail(err, error, "no locked memory for %u frames: ulimit -l unlimited, or CAP_IPC_LOCK",
		               relay->pool.count);
	return error ? el_shortage_fail(err, error, "UMEM of %s", self->group.interface) : 0;
}

/* Bytes of a frame's memory that the MTU needs. */
static uint32_t need_for(uint32_t mtu)
{
	return KERNEL_HEADROOM + ETH_HEADER + EL_TAGS_MAX * TAG_LEN + mtu;
}

/* The MTU is too large for this kernel or driver. */
static int refuse_mtu(const struct el_relay *relay, const struct xdp *self, const char *why, char err[EL_ERR_MAX])
{
	const char *name = self->group.interface;

	return el_fail(
		err, -EMSGSIZE,
		"AF_XDP cannot receive at MTU %u of %s (%s): frames of several buffers need Linux 6.6 and a driver "
		"that has them, else the largest MTU is %d: ip link set dev %s mtu %d",
		relay->mtu, name, why, NATIVE_MTU, name, NATIVE_MTU);
}

static int open_queues(struct el_relay *relay, struct xdp *self, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	if (opts->copy == EL_ZEROCOPY && !self->steer.native)
		return el_fail(err, -EOPNOTSUPP, "zero copy on %s needs native mode, which is %s",
		               self->group.interface,
		               opts->mode == EL_XDP_GENERIC ? "not asked for" : "not possible there");
	for (uint32_t i = 0; i < self->queues; i++) {
		int error = open_free_queue(relay, self, i, opts);

		if (!error)
			error = el_watch_relay(relay, self->queue[i].fd, err);
		if (error == -EOPNOTSUPP && opts->copy == EL_ZEROCOPY)
			return el_fail(err, error, "%s has no zero-copy AF_XDP: copy = \"auto\"",
			               self->group.interface);
		if (self->pieces && (error == -EINVAL || error == -EOPNOTSUPP))
			return refuse_mtu(relay, self, strerror(-error), err);
		if (error == -EBUSY)
			return el_fail(err, error, "queue %u of %s has an AF_XDP socket already", queue_number(opts, i),
			               self->group.interface);
		if (error)
			return el_shortage_fail(err, error, "AF_XDP socket on queue %u of %s", queue_number(opts, i),
			                        self->group.interface);
	}
	return 0;
}

/*
 * Where the card reads the frames itself each queue has its own work, and is sent on. Where the kernel copies them,
 * here and now, more queues are more calls of it for the same.
 */
static void look_at_mode(struct xdp *self)
{
	struct xdp_options options = {0};
	socklen_t len = sizeof options;

	self->zero_copy = !getsockopt(self->queue[0].fd, SOL_XDP, XDP_OPTIONS, &options, &len) &&
	                  options.flags & XDP_OPTIONS_ZEROCOPY;
	self->tx_queues = self->zero_copy ? self->queues : 1;
}

/* ---- opening and closing ---- */

static int check_size(struct el_relay *relay, char err[EL_ERR_MAX])
{
	uint32_t size = relay->pool.frame_size, need = need_for(relay->mtu);

	if (need > CHUNK_MAX && size % CHUNK_MAX)
		return el_fail(
			err, -EMSGSIZE,
			"frames of %u bytes cannot be received by AF_XDP at MTU %u: frame_size has to be a multiple "
			"of %d, and %u or more",
			size, relay->mtu, CHUNK_MAX, need);
	if (need > CHUNK_MAX)
		return 0;
	if ((size != 2048 && size != 4096) || need > size)
		return el_fail(
			err, -EMSGSIZE,
			"frames of %u bytes cannot be received by AF_XDP at MTU %u: frame_size 2048 or 4096 with %u "
			"bytes or more is needed",
			size, relay->mtu, need);
	return 0;
}

/* How many queues this process serves. */
static int count_queues(struct xdp *self, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	const char *name = self->group.interface;
	uint32_t all = el_netdev_queues(self->group.fd, name);

	if (opts->queues > all || all > STEER_QUEUES_MAX)
		return el_fail(err, -EINVAL, "bad number of queues %u: %s has %u, up to %d are possible",
		               opts->queues ? opts->queues : all, name, all, STEER_QUEUES_MAX);
	if (opts->queues)
		all = opts->queues;
	if (opts->shared && opts->parts > all)
		return el_fail(err, -EINVAL,
		               "%s has %u queue%s for %u processes, and each needs one: ethtool -L %s combined %u, or "
		               "afpacket:%s",
		               name, all, all > 1 ? "s" : "", opts->parts, name, opts->parts, name);
	self->all = all;
	self->queues = opts->shared ? (all - opts->part + opts->parts - 1) / opts->parts : all;
	self->steer.owner = (uint8_t)(STEER_OWNER + queue_number(opts, 0));
	self->offload.shared = opts->shared;
	return 0;
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct xdp *self;
	int error;

	if (opts->shared && (opts->program || opts->steer_all))
		return el_fail(err, -EINVAL, "steer and program are for one process alone: shared = false");
	self = calloc(1, sizeof *self);
	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	relay->headroom = KERNEL_HEADROOM;
	self->announcer = el_carrier_announcer();
	error = el_packet_socket_open(&self->group, relay, name, opts, err);
	if (error)
		return error;
	self->pieces = need_for(relay->mtu) > CHUNK_MAX;
	self->steer.frags = self->pieces;
	relay->memory_wanted = self->pieces ? PIECES_MEMORY : 0;
	return count_queues(self, opts, err);
}

/* What processes that share the interface do one after the other. */
static int take_interface(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct xdp *self = relay->private;
	int error = el_steer_open(&self->steer, self->group.ifindex, self->group.interface, opts, err);

	if (!error)
		error = el_offload_suspend(&self->offload, self->group.fd, self->group.ifindex, self->announcer, err);
	relay->was_left = self->offload.was_left;
	return error;
}

static int take_in_turn(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct xdp *self = relay->private;
	int turn = el_turn_take(self->group.ifindex, TURN), error;

	if (turn < 0)
		return el_fail(err, turn, "another process has been opening %s for %.0f s: %s", self->group.interface,
		               TURN, strerror(-turn));
	error = take_interface(relay, opts, err);
	close(turn);
	return error;
}

static void say_detail(struct el_relay *relay, const struct xdp *self)
{
	char part[16] = "";

	if (self->queues < self->all)
		snprintf(part, sizeof part, " of %u", self->all);
	snprintf(relay->detail, sizeof relay->detail, "%s%s, %u%s queue%s", self->steer.detail,
	         self->zero_copy ? ", zero copy" : "", self->queues, part, self->all > 1 ? "s" : "");
}

static int start(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct xdp *self = relay->private;
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	int error = check_size(relay, err);

	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* older kernels count maps and UMEM against it */
	if (!error)
		error = opts->shared ? take_in_turn(relay, opts, err) : take_interface(relay, opts, err);
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
	look_at_mode(self);
	say_detail(relay, self);
	return el_watch_relay(relay, self->group.fd, err);
}

static void close_interface(struct el_relay *relay)
{
	struct xdp *self = relay->private;
	bool had_link = el_carrier_is_there(&relay->carrier);

	if (!self)
		return;
	for (uint32_t i = 0; i < self->queues; i++)
		if (self->queue[i].socket)
			xsk_socket__delete(self->queue[i].socket);
	if (self->umem)
		xsk_umem__delete(self->umem);
	el_steer_close(&self->steer);
	el_offload_restore(&self->offload);
	el_carrier_announce(&relay->carrier, self->announcer, had_link);
	if (self->announcer >= 0)
		close(self->announcer);
	el_packet_socket_close(&self->group);
	free(self);
}

/* ---- facts ---- */

static void count_missed(struct el_relay *relay)
{
	struct xdp *self = relay->private;
	struct xdp_statistics stats = {0};
	socklen_t len = sizeof stats;

	self->group_missed += el_packet_socket_missed(self->group.fd);
	relay->stats.rx_missed = self->group_missed;
	for (uint32_t i = 0; i < self->queues; i++)
		if (!getsockopt(self->queue[i].fd, SOL_XDP, XDP_STATISTICS, &stats, &len))
			relay->stats.rx_missed += stats.rx_dropped + stats.rx_ring_full;
}

static uint32_t held(const struct el_relay *relay)
{
	const struct xdp *self = relay->private;
	uint32_t begun = 0;

	for (uint32_t i = 0; i < self->queues; i++)
		begun += self->queue[i].begun != NULL;
	return self->filled + relay->tx_inflight + begun;
}

static void trouble(struct el_relay *relay)
{
	struct xdp *self = relay->private;

	el_relay_set_link(relay, el_packet_socket_state(&self->group));
}

const struct el_kind el_kind_xdp = {
	.name = "xdp",
	.open = open_interface,
	.start = start,
	.recv = el_xdp_recv,
	.send = el_xdp_send,
	.trouble = trouble,
	.claim = claim,
	.count = count_missed,
	.held = held,
	.close = close_interface,
};
