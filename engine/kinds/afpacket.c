/*
 * afpacket.c: the relay kind that works everywhere: receives from the ring of a packet socket, or in blocks where
 * frames come fast, sends with sendmmsg past the queueing discipline, and filters in the kernel. Where other processes
 * have endpoints on the interface, too, the kernel looks whether a frame is for one of this relay's; where it may not,
 * the demux alone does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "clock.h"
#include "fail.h"
#include "kind.h"
#include "kinds/packet_blocks.h"
#include "kinds/packet_socket.h"
#include "kinds/socket_filter.h"
#include "kinds/steer.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"

/* Another processor may still put a frame where it no longer goes to, for a moment. */
static const double MOMENT = 1e-3; /* seconds */

/* relay->private */
struct afpacket {
	struct el_packet_socket socket;
	struct el_packet_blocks blocks;
	/* frames are wanted in blocks, the kernel puts them there, and they are read there */
	bool wanted, chosen, read;
	double chosen_at;
	struct el_steer steer; /* without an object: all frames come */
};

/* ---- who gets what ---- */

/* Frames come by two sockets: what one of them lets in the other does, too. NULL: all. */
static int attach_filter(const struct afpacket *self, struct el_filter *filter, double now)
{
	int error = el_filter_attach(filter, self->socket.fd, now);

	return error || !self->blocks.ring ? error : el_filter_attach(filter, self->blocks.fd, now);
}

static int attach_steer(const struct afpacket *self)
{
	int error = el_steer_attach_socket(&self->steer, self->socket.fd);

	return error || !self->blocks.ring ? error : el_steer_attach_socket(&self->steer, self->blocks.fd);
}

/* A socket has one program: which endpoint a frame is for is worth more than what it says. */
static int set_filter(struct el_relay *relay, struct el_filter *filter)
{
	const struct afpacket *self = relay->private;

	return self->steer.object ? 0 : attach_filter(self, filter, el_now(relay->engine));
}

/* From now on the demux alone finds the frames that are for this relay. */
static void take_all(struct el_relay *relay, struct afpacket *self)
{
	attach_filter(self, NULL, 0);
	el_steer_close(&self->steer);
	snprintf(relay->detail, sizeof relay->detail, "shared, frames for others are dropped by the demux");
}

static int claim(struct el_relay *relay, const struct el_mac *mac, const struct el_vlans *vlans, bool on)
{
	struct afpacket *self = relay->private;

	if (!self->steer.object)
		return 0;
	if (!mac && on)
		return attach_filter(self, NULL, 0);
	if (mac ? el_steer_claim(&self->steer, mac, vlans, on) : attach_steer(self))
		take_all(relay, self);
	return 0;
}

static void share(struct el_relay *relay, struct afpacket *self)
{
	char why[EL_ERR_MAX];

	snprintf(relay->detail, sizeof relay->detail, "shared, frames for others are dropped by the kernel");
	if (el_steer_open_socket(&self->steer, why) || attach_steer(self))
		take_all(relay, self);
}

/* ---- opening and closing ---- */

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct afpacket *self = calloc(1, sizeof *self);
	int error;

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	self->blocks.fd = self->blocks.word = -1;
	error = el_packet_socket_open(&self->socket, relay, name, opts, err);
	if (!error && opts->shared)
		share(relay, self);
	return error;
}

/* The second socket lets nothing in until it is told what the first one does. */
static int open_blocks(struct el_relay *relay, struct afpacket *self, char err[EL_ERR_MAX])
{
	int error = 0;

	el_packet_blocks_open(&self->blocks, &self->socket);
	if (!self->blocks.ring)
		return 0;
	if (!self->steer.object)
		error = el_filter_attach(relay->filter, self->blocks.fd, el_now(relay->engine));
	else if (el_steer_attach_socket(&self->steer, self->blocks.fd))
		take_all(relay, self);
	if (error)
		return el_fail(err, error, "filter on %s: %s", relay->name, strerror(-error));
	return el_watch_relay(relay, self->blocks.fd, err);
}

/* Frames come in only from here on, when ring, filter and memory are in place. */
static int start(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct afpacket *self = relay->private;
	int error = el_packet_socket_bind(&self->socket, err);

	(void)opts;
	if (!error)
		error = el_watch_relay(relay, self->socket.fd, err);
	return error ? error : open_blocks(relay, self, err);
}

static void close_interface(struct el_relay *relay)
{
	struct afpacket *self = relay->private;

	if (!self)
		return;
	el_packet_blocks_close(&self->blocks);
	el_packet_socket_close(&self->socket);
	el_steer_close(&self->steer);
	free(self);
}

/* ---- receiving ---- */

static void gather(struct el_relay *relay, bool on)
{
	struct afpacket *self = relay->private;

	self->wanted = on && self->blocks.ring;
}

/*
 * What came first is read first: so the other place is read when nothing is left in this one, and only then may the
 * kernel be told of another change.
 */
static void change_place(struct afpacket *self, bool is_empty, double now)
{
	if (self->chosen == self->read) {
		self->chosen = self->wanted;
		self->chosen_at = now;
		el_packet_blocks_choose(&self->blocks, self->chosen);
	} else if (is_empty && now >= self->chosen_at + MOMENT) {
		self->read = self->chosen;
	}
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct afpacket *self = relay->private;
	uint32_t count;

	if (!self->read) {
		count = el_packet_socket_recv(&self->socket, relay, frames, max);
		if (unlikely(self->wanted || self->chosen))
			change_place(self, count < max, el_clock_now(relay->engine));
		return count;
	}
	count = el_packet_blocks_recv(&self->blocks, &self->socket, relay, frames, max);
	if (unlikely(!self->wanted || !self->chosen))
		change_place(self, el_packet_blocks_is_empty(&self->blocks), el_clock_now(relay->engine));
	return count;
}

static void count_missed(struct el_relay *relay)
{
	const struct afpacket *self = relay->private;

	relay->stats.rx_missed += el_packet_socket_missed(self->socket.fd);
	if (self->blocks.ring)
		relay->stats.rx_missed += el_packet_socket_missed(self->blocks.fd);
}

static void trouble(struct el_relay *relay)
{
	const struct afpacket *self = relay->private;

	if (self->blocks.ring)
		el_packet_socket_take_error(self->blocks.fd);
	el_relay_set_link(relay, el_packet_socket_state(&self->socket));
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	const struct afpacket *self = relay->private;
	struct mmsghdr messages[EL_BURST];
	struct iovec parts[EL_BURST];
	int sent;

	for (uint32_t i = 0; i < count; i++) {
		parts[i] = (struct iovec){frames[i]->data, frames[i]->len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	sent = sendmmsg(self->socket.fd, messages, count, MSG_DONTWAIT);
	if (sent > 0)
		return el_relay_finish(relay, frames, (uint32_t)sent, 0);
	if (errno == EAGAIN || errno == EINTR) /* the socket's send buffer is full: the frames wait */
		return 0;
	if (errno == ENETDOWN || errno == ENXIO)
		return el_relay_finish(relay, frames, count, errno);
	return el_relay_finish(relay, frames, 1, errno);
}

const struct el_kind el_kind_afpacket = {
	.name = "afpacket",
	.is_patient = true,
	.open = open_interface,
	.start = start,
	.gather = gather,
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.filter = set_filter,
	.claim = claim,
	.count = count_missed,
	.close = close_interface,
};
