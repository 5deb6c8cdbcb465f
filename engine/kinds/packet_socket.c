/*
 * packet_socket.c: an AF_PACKET socket with a TPACKET_V2 receive ring.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "fail.h"
#include "frame_memory.h"
#include "kind.h"
#include "kinds/packet_socket.h"
#include "os/netdev.h"
#include "wire_format.h"

enum {
	RING_BYTES = 8 << 20, /* 4096 frames at an MTU of 1500 */
	CACHE_LINE = 64,
	BLOCK_SLOTS = 64, /* cache lines make whole pages with that */
};

/* ---- opening ---- */

int el_packet_socket_new(void)
{
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int el_packet_socket_bind_to(int fd, int ifindex)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = ifindex};

	address.sll_protocol = __builtin_bswap16(ETH_P_ALL);
	return bind(fd, (struct sockaddr *)&address, sizeof address);
}

static int open_socket(struct el_packet_socket *self, char err[EL_ERR_MAX])
{
	self->fd = el_packet_socket_new();
	if (self->fd < 0 && errno == EPERM)
		return el_netdev_refused(self->interface, err);
	if (self->fd < 0)
		return el_fail(err, -errno, "AF_PACKET socket: %s", strerror(errno));
	return 0;
}

static int set(const struct el_packet_socket *self, int option, int value)
{
	return setsockopt(self->fd, SOL_PACKET, option, &value, sizeof value);
}

static size_t ring_size(const struct el_packet_socket *self)
{
	return (size_t)self->slots * self->slot_size;
}

/* A cache line less than a power of two: with exactly that, all slots would compete for the same few cache sets. */
static uint32_t slot_size_for(uint32_t mtu)
{
	uint32_t need = (uint32_t)TPACKET2_HDRLEN + ETH_HEADER + EL_TAGS_MAX * TAG_LEN + mtu, size = 2048;

	while (size - CACHE_LINE < need)
		size *= 2;
	return size - CACHE_LINE;
}

static int map_ring(struct el_packet_socket *self, uint32_t mtu, char err[EL_ERR_MAX])
{
	struct tpacket_req request = {0};

	self->slot_size = slot_size_for(mtu);
	request.tp_frame_size = self->slot_size;
	request.tp_block_size = self->slot_size * BLOCK_SLOTS;
	request.tp_block_nr = RING_BYTES / request.tp_block_size;
	request.tp_frame_nr = self->slots = request.tp_block_nr * BLOCK_SLOTS;
	if (set(self, PACKET_VERSION, TPACKET_V2) ||
	    setsockopt(self->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
		return el_fail(err, -errno, "receive ring on %s: %s", self->interface, strerror(errno));
	self->ring = mmap(NULL, ring_size(self), PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	if (self->ring == MAP_FAILED) {
		self->ring = NULL;
		return el_fail(err, -errno, "mapping the receive ring of %s: %s", self->interface, strerror(errno));
	}
	return 0;
}

/* What is sent here must not come back, else every endpoint would hear itself; a mirror may want what others send. */
static int set_options(struct el_packet_socket *self, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct packet_mreq member = {.mr_ifindex = self->ifindex, .mr_type = PACKET_MR_PROMISC};

	if (!opts->outgoing && set(self, PACKET_IGNORE_OUTGOING, 1))
		return el_fail(err, -errno, "PACKET_IGNORE_OUTGOING (Linux 4.20) on %s: %s", self->interface,
		               strerror(errno));
	set(self, PACKET_QDISC_BYPASS, 1); /* slower without, that is all */
	if (opts->promiscuous && setsockopt(self->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof member))
		return el_fail(err, -errno, "promiscuous mode on %s: %s", self->interface, strerror(errno));
	return 0;
}

int el_packet_socket_open(struct el_packet_socket *self, struct el_relay *relay, const char *name,
                          const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct el_netdev device;
	int error;

	self->fd = -1;
	self->empty_at = el_clock_now(relay->engine);
	self->outgoing = opts->outgoing;
	error = el_netdev_name(self->interface, name, err);
	if (!error)
		error = open_socket(self, err);
	if (!error)
		error = el_netdev_facts(&device, self->fd, self->interface, err);
	if (error)
		return error;
	self->ifindex = device.ifindex;
	relay->mac = device.mac;
	relay->mtu = device.mtu;
	el_carrier_look(&relay->carrier, self->fd, self->ifindex);
	error = map_ring(self, relay->mtu, err);
	return error ? error : set_options(self, opts, err);
}

int el_packet_socket_bind(struct el_packet_socket *self, char err[EL_ERR_MAX])
{
	if (el_packet_socket_bind_to(self->fd, self->ifindex))
		return el_fail(err, -errno, "%s: %s", self->interface, strerror(errno));
	return 0;
}

void el_packet_socket_close(struct el_packet_socket *self)
{
	if (self->ring)
		munmap(self->ring, ring_size(self));
	if (self->fd >= 0)
		close(self->fd);
}

/* ---- receiving ---- */

/* What is longer than the MTU lets a frame be (the kernel's own offloads) is cut, and so invalid. */
static void copy_frame(struct el_frame *frame, const struct el_packet_slot *slot)
{
	uint32_t kept = slot->kept, room = frame->pool->frame_size - EL_HEADROOM - TAG_LEN;

	if (kept > room)
		kept = room;
	frame->cut = slot->len - kept;
	if (!(slot->status & TP_STATUS_VLAN_VALID) || kept < ETH_HEADER) {
		memcpy(frame->data, slot->data, kept);
		frame->len = kept;
		return;
	}
	memcpy(frame->data, slot->data, 12);
	put16(frame->data + 12, slot->status & TP_STATUS_VLAN_TPID_VALID ? slot->tpid : ETHERTYPE_DOT1Q);
	put16(frame->data + 14, slot->tci);
	memcpy(frame->data + 16, slot->data + 12, kept - 12);
	frame->len = kept + TAG_LEN;
}

struct el_frame *el_packet_socket_frame(const struct el_packet_socket *self, struct el_relay *relay,
                                        const struct el_packet_slot *slot)
{
	bool is_outgoing = slot->address->sll_pkttype == PACKET_OUTGOING;
	struct el_frame *frame;

	if (is_outgoing && !self->outgoing) /* a group has these on kernels that do not know how to leave them out */
		return NULL;
	frame = el_relay_frame(relay);
	if (!frame) {
		el_relay_no_frame(relay);
		return NULL;
	}
	copy_frame(frame, slot);
	frame->timestamp = el_clock_from_stamp(relay->engine, slot->stamp, slot->since);
	frame->flags = is_outgoing ? EL_FRAME_OUTGOING : 0;
	return frame;
}

static struct el_frame *frame_in(const struct el_packet_socket *self, struct el_relay *relay,
                                 const struct tpacket2_hdr *header)
{
	const uint8_t *at = (const uint8_t *)header;
	const struct el_packet_slot slot = {
		.data = at + header->tp_mac,
		.address = (const void *)(at + TPACKET_ALIGN(sizeof *header)),
		.stamp = (int64_t)header->tp_sec * NS + header->tp_nsec,
		.since = self->empty_at,
		.kept = header->tp_snaplen,
		.len = header->tp_len,
		.status = header->tp_status,
		.tci = header->tp_vlan_tci,
		.tpid = header->tp_vlan_tpid,
	};

	return el_packet_socket_frame(self, relay, &slot);
}

uint32_t el_packet_socket_recv(struct el_packet_socket *self, struct el_relay *relay, struct el_frame **frames,
                               uint32_t max)
{
	uint32_t count = 0;

	while (count < max) {
		struct tpacket2_hdr *slot = (void *)(self->ring + (size_t)self->next * self->slot_size);
		struct el_frame *frame;

		if (!(__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
			self->empty_at = el_clock_now(relay->engine);
			break;
		}
		frame = frame_in(self, relay, slot);
		if (frame)
			frames[count++] = frame;
		__atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		if (++self->next == self->slots)
			self->next = 0;
	}
	return count;
}

uint64_t el_packet_socket_missed(int fd)
{
	union tpacket_stats_u stats = {0};
	socklen_t len = sizeof stats;

	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) ? 0 : stats.stats1.tp_drops;
}

void el_packet_socket_take_error(int fd)
{
	int error = 0;
	socklen_t len = sizeof error;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
}

/* Leaving a group that was never joined changes nothing, but waits for a deletion that is under way. */
int el_packet_socket_state(const struct el_packet_socket *self)
{
	struct packet_mreq none = {.mr_ifindex = self->ifindex, .mr_type = PACKET_MR_ALLMULTI};

	el_packet_socket_take_error(self->fd);
	setsockopt(self->fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &none, sizeof none);
	return el_netdev_state(self->fd, self->ifindex);
}
