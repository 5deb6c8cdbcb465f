/*
 * pcap.c: live capture and injection by libpcap, for where its reach counts more than speed. libpcap puts the
 * outer VLAN tag back; immediate mode hands over each frame at once. Its socket is given our filter, not libpcap's,
 * which would match frames with a tag aside as if they had none.
 */
#include <errno.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "frame_memory.h"
#include "kind.h"
#include "kinds/socket_filter.h"
#include "os/netdev.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"
#include "wire_format.h"

enum { BUFFER_BYTES = 16 << 20 };

struct live {
	pcap_t *handle;
	int socket; /* to ask for facts about the interface, in its own namespace */
	int ifindex;
	char interface[IFNAMSIZ];
	bool outgoing;   /* what the host sends is heard */
	double empty_at; /* there was no frame then */
};

/* ---- opening ---- */

static int interface_facts(struct el_relay *relay, struct live *self, const char *given, char err[EL_ERR_MAX])
{
	struct el_netdev device;
	int error = el_netdev_name(self->interface, given, err);

	if (error)
		return error;
	self->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	error = el_netdev_facts(&device, self->socket, self->interface, err);
	if (error)
		return error;
	self->ifindex = device.ifindex;
	relay->mac = device.mac;
	relay->mtu = device.mtu;
	el_carrier_look(&relay->carrier, self->socket, self->ifindex);
	return 0;
}

static int activate(struct live *self, uint32_t mtu, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	const char *name = self->interface;
	char reason[PCAP_ERRBUF_SIZE] = "";
	int error;

	self->handle = pcap_create(name, reason);
	if (!self->handle)
		return el_fail(err, -EINVAL, "%s: %s", name, reason);
	/* Not more than a frame can be: the ring has a slot of this size for each. */
	pcap_set_snaplen(self->handle, (int)(ETH_HEADER + EL_TAGS_MAX * TAG_LEN + mtu));
	pcap_set_buffer_size(self->handle, BUFFER_BYTES);
	pcap_set_promisc(self->handle, opts->promiscuous != 0);
	pcap_set_immediate_mode(self->handle, 1);
	pcap_set_tstamp_precision(self->handle, PCAP_TSTAMP_PRECISION_NANO);
	error = pcap_activate(self->handle);
	if (error == PCAP_ERROR_PERM_DENIED)
		return el_netdev_refused(name, err);
	if (error < 0)
		return el_fail(err, -EIO, "%s: %s", name,
		               error == PCAP_ERROR ? pcap_geterr(self->handle) : pcap_statustostr(error));
	/* Own frames must not come back, else every endpoint would hear itself; a mirror may want what others send. */
	if (pcap_setdirection(self->handle, opts->outgoing ? PCAP_D_INOUT : PCAP_D_IN) ||
	    pcap_setnonblock(self->handle, 1, reason))
		return el_fail(err, -EIO, "%s: %s", name, pcap_geterr(self->handle));
	return 0;
}

static int set_filter(struct el_relay *relay, struct el_filter *filter)
{
	struct live *self = relay->private;

	return el_filter_attach(filter, pcap_fileno(self->handle), el_now(relay->engine));
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct live *self = calloc(1, sizeof *self);
	int error;

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	self->socket = -1;
	self->empty_at = el_clock_now(relay->engine);
	relay->private = self;
	error = interface_facts(relay, self, name, err);
	if (!error)
		error = activate(self, relay->mtu, opts, err);
	self->outgoing = opts->outgoing;
	return error ? error : el_watch_relay(relay, pcap_get_selectable_fd(self->handle), err);
}

static void close_interface(struct el_relay *relay)
{
	struct live *self = relay->private;

	if (!self)
		return;
	if (self->handle)
		pcap_close(self->handle);
	if (self->socket >= 0)
		close(self->socket);
	free(self);
}

/* ---- receiving ---- */

static void trouble(struct el_relay *relay)
{
	struct live *self = relay->private;

	el_relay_set_link(relay, el_netdev_state(self->socket, self->ifindex));
}

/* libpcap does not say which way a frame went: what has the interface's address was sent by the host. */
static bool is_outgoing(const struct el_relay *relay, const struct el_frame *frame)
{
	const struct live *self = relay->private;

	return self->outgoing && frame->len >= ETH_HEADER && !memcmp(frame->data + 6, relay->mac.byte, 6);
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct live *self = relay->private;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	uint32_t count = 0;
	int got = 0;

	while (count < max && (got = pcap_next_ex(self->handle, &header, &bytes)) == 1) {
		int64_t wall = (int64_t)header->ts.tv_sec * NS + header->ts.tv_usec;
		struct el_frame *frame = el_relay_copy_in(relay, bytes, header->caplen, header->len);

		if (!frame)
			continue;
		frame->timestamp = el_clock_from_stamp(relay->engine, wall, self->empty_at);
		frame->flags |= is_outgoing(relay, frame) ? EL_FRAME_OUTGOING : 0;
		frames[count++] = frame;
	}
	if (got == 0)
		self->empty_at = el_clock_now(relay->engine);
	if (got == PCAP_ERROR)
		trouble(relay);
	return count;
}

static void count_missed(struct el_relay *relay)
{
	struct live *self = relay->private;
	struct pcap_stat stats = {0};

	if (!pcap_stats(self->handle, &stats))
		relay->stats.rx_missed = stats.ps_drop;
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct live *self = relay->private;

	for (uint32_t i = 0; i < count; i++) {
		errno = 0;
		if (pcap_inject(self->handle, frames[i]->data, frames[i]->len) >= 0)
			el_relay_finish(relay, frames + i, 1, 0);
		else if (errno == EAGAIN)
			return i;
		else
			el_relay_finish(relay, frames + i, 1, errno ? errno : EIO);
	}
	return count;
}

const struct el_kind el_kind_pcap = {
	.name = "pcap",
	.open = open_interface,
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.filter = set_filter,
	.count = count_missed,
	.close = close_interface,
};
