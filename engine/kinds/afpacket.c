/*
 * afpacket.c: the relay kind that works everywhere: receives from the ring of a packet socket, sends with sendmmsg
 * past the queueing discipline, and filters in the kernel. relay->private is its struct el_packet_socket.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "clock.h"
#include "fail.h"
#include "filter.h"
#include "kind.h"
#include "kinds/packet_socket.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"

static int set_filter(struct el_relay *relay, struct el_filter *filter)
{
	struct el_packet_socket *self = relay->private;

	return el_filter_attach(filter, self->fd, el_now(relay->engine));
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct el_packet_socket *self = calloc(1, sizeof *self);

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	return el_packet_socket_open(self, relay, name, opts, err);
}

/* Frames come in only from here on, when ring, filter and memory are in place. */
static int start(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct el_packet_socket *self = relay->private;
	int error = el_packet_socket_bind(self, err);

	(void)opts;
	return error ? error : el_watch_relay(relay, self->fd, err);
}

static void close_interface(struct el_relay *relay)
{
	if (relay->private)
		el_packet_socket_close(relay->private);
	free(relay->private);
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	return el_packet_socket_recv(relay->private, relay, frames, max);
}

static void count_missed(struct el_relay *relay)
{
	relay->stats.rx_missed += el_packet_socket_missed(relay->private);
}

static void trouble(struct el_relay *relay)
{
	el_relay_set_link(relay, el_packet_socket_state(relay->private));
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct el_packet_socket *self = relay->private;
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
	.open = open_interface,
	.start = start,
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.filter = set_filter,
	.count = count_missed,
	.close = close_interface,
};
