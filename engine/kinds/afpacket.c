/*
 * afpacket.c: the relay kind that works everywhere: receives from the ring of a packet socket, sends with sendmmsg
 * past the queueing discipline, and filters in the kernel. Where other processes have endpoints on the interface, too,
 * the kernel looks whether a frame is for one of this relay's; where it may not, the demux alone does.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "clock.h"
#include "fail.h"
#include "filter.h"
#include "kind.h"
#include "kinds/packet_socket.h"
#include "kinds/steer.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"

/* relay->private */
struct afpacket {
	struct el_packet_socket socket;
	struct el_steer steer; /* without an object: all frames come */
};

static struct el_packet_socket *socket_of(const struct el_relay *relay)
{
	struct afpacket *self = relay->private;

	return &self->socket;
}

/* ---- who gets what ---- */

/* A socket has one program: which endpoint a frame is for is worth more than what it says. */
static int set_filter(struct el_relay *relay, struct el_filter *filter)
{
	struct afpacket *self = relay->private;

	return self->steer.object ? 0 : el_filter_attach(filter, self->socket.fd, el_now(relay->engine));
}

/* From now on the demux alone finds the frames that are for this relay. */
static void take_all(struct el_relay *relay, struct afpacket *self)
{
	el_filter_attach(NULL, self->socket.fd, 0);
	el_steer_close(&self->steer);
	snprintf(relay->detail, sizeof relay->detail, "shared, frames for others are dropped by the demux");
}

static int claim(struct el_relay *relay, const struct el_mac *mac, const struct el_vlans *vlans, bool on)
{
	struct afpacket *self = relay->private;

	if (!self->steer.object)
		return 0;
	if (!mac && on)
		return el_filter_attach(NULL, self->socket.fd, 0);
	if (mac ? el_steer_claim(&self->steer, mac, vlans, on) : el_steer_attach_socket(&self->steer, self->socket.fd))
		take_all(relay, self);
	return 0;
}

static void share(struct el_relay *relay, struct afpacket *self)
{
	char why[EL_ERR_MAX];

	snprintf(relay->detail, sizeof relay->detail, "shared, frames for others are dropped by the kernel");
	if (el_steer_open_socket(&self->steer, why) || el_steer_attach_socket(&self->steer, self->socket.fd))
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
	error = el_packet_socket_open(&self->socket, relay, name, opts, err);
	if (!error && opts->shared)
		share(relay, self);
	return error;
}

/* Frames come in only from here on, when ring, filter and memory are in place. */
static int start(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct afpacket *self = relay->private;
	int error = el_packet_socket_bind(&self->socket, err);

	(void)opts;
	return error ? error : el_watch_relay(relay, self->socket.fd, err);
}

static void close_interface(struct el_relay *relay)
{
	struct afpacket *self = relay->private;

	if (!self)
		return;
	el_packet_socket_close(&self->socket);
	el_steer_close(&self->steer);
	free(self);
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	return el_packet_socket_recv(socket_of(relay), relay, frames, max);
}

static void count_missed(struct el_relay *relay)
{
	relay->stats.rx_missed += el_packet_socket_missed(socket_of(relay));
}

static void trouble(struct el_relay *relay)
{
	el_relay_set_link(relay, el_packet_socket_state(socket_of(relay)));
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct el_packet_socket *self = socket_of(relay);
	struct mmsghdr messages[EL_BURST];
	struct iovec parts[EL_BURST];
	int sent;

	for (uint32_t i = 0; i < count; i++) {
		parts[i] = (struct iovec){frames[i]->data, frames[i]->len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	sent = sendmmsg(self->fd, messages, count, MSG_DONTWAIT);
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
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.filter = set_filter,
	.claim = claim,
	.count = count_missed,
	.close = close_interface,
};
