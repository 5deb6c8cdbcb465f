/*
 * relay_afpacket.c: AF_PACKET sockets. Receives from a TPACKET_V2 ring, which hands over each frame at once and needs
 * no system call while frames keep coming; sends with sendmmsg past the queueing discipline. The outer VLAN tag, which
 * the kernel takes out of every frame, is put back. All that is changed on the interface is a promiscuous membership
 * of the socket, which ends with it.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core.h"

enum {
	RING_BYTES = 8 << 20, /* memory of the receive ring: 4096 frames at an MTU of 1500 */
	MAX_MTU = 65000,      /* loopback's is 65536, more than a frame's length can say */
	NS = 1000000000,
};

struct afpacket {
	uint8_t *ring;
	uint32_t slots, slot_size, next;
	int ifindex;
	char interface[IFNAMSIZ];
};

/* ---- opening ---- */

static int interface_facts(struct el_relay *relay, struct afpacket *self, char err[EL_ERR_MAX])
{
	struct ifreq request = {0};
	int fd = relay->fd;

	memcpy(request.ifr_name, self->interface, IFNAMSIZ);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return el_fail(err, -ENODEV, "no such interface: %s", self->interface);
	self->ifindex = request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &request) || !(request.ifr_flags & IFF_UP))
		return el_fail(err, -ENETDOWN, "interface %s is down: ip link set %s up", self->interface,
		               self->interface);
	if (ioctl(fd, SIOCGIFMTU, &request))
		return el_fail(err, -errno, "MTU of %s: %s", self->interface, strerror(errno));
	relay->mtu = request.ifr_mtu < MAX_MTU ? (uint32_t)request.ifr_mtu : MAX_MTU;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return el_fail(err, -errno, "MAC address of %s: %s", self->interface, strerror(errno));
	memcpy(relay->mac.byte, request.ifr_hwaddr.sa_data, 6);
	return 0;
}

static int set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof value);
}

static int map_ring(struct el_relay *relay, struct afpacket *self, char err[EL_ERR_MAX])
{
	struct tpacket_req request = {0};

	self->slot_size = 2048;
	while (self->slot_size < TPACKET2_HDRLEN + ETH_HEADER + EL_TAGS_MAX * TAG_LEN + relay->mtu)
		self->slot_size *= 2;
	self->slots = RING_BYTES / self->slot_size;
	request.tp_frame_size = self->slot_size;
	request.tp_frame_nr = self->slots;
	request.tp_block_size = self->slot_size > 1 << 18 ? self->slot_size : 1 << 18;
	request.tp_block_nr = RING_BYTES / request.tp_block_size;
	if (set(relay->fd, PACKET_VERSION, TPACKET_V2) ||
	    setsockopt(relay->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
		return el_fail(err, -errno, "receive ring on %s: %s", self->interface, strerror(errno));
	self->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, relay->fd, 0);
	if (self->ring == MAP_FAILED) {
		self->ring = NULL;
		return el_fail(err, -errno, "mapping the receive ring of %s: %s", self->interface, strerror(errno));
	}
	return 0;
}

/* Own transmitted frames must not come back, else every endpoint would hear itself. */
static int set_options(struct el_relay *relay, struct afpacket *self, bool promiscuous, char err[EL_ERR_MAX])
{
	struct packet_mreq member = {.mr_ifindex = self->ifindex, .mr_type = PACKET_MR_PROMISC};

	if (set(relay->fd, PACKET_IGNORE_OUTGOING, 1))
		return el_fail(err, -errno, "PACKET_IGNORE_OUTGOING (Linux 4.20) on %s: %s", self->interface,
		               strerror(errno));
	set(relay->fd, PACKET_QDISC_BYPASS, 1); /* slower without, that is all */
	if (promiscuous && setsockopt(relay->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof member))
		return el_fail(err, -errno, "promiscuous mode on %s: %s", self->interface, strerror(errno));
	return 0;
}

static int set_filter(struct el_relay *relay, const char *text, char err[EL_ERR_MAX])
{
	struct afpacket *self = relay->private;
	struct bpf_program program;
	struct sock_fprog attached;
	int none = 0, error;

	if (!*text) {
		setsockopt(relay->fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
		return 0;
	}
	error = el_filter_compile_live(&program, relay->fd, self->interface, text, err);
	if (error)
		return error;
	attached.len = (unsigned short)program.bf_len;
	attached.filter = (struct sock_filter *)program.bf_insns; /* the same layout under two names */
	if (setsockopt(relay->fd, SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached))
		error = el_fail(err, -errno, "filter on %s: %s", self->interface, strerror(errno));
	pcap_freecode(&program);
	return error;
}

/* Frames come in only from here on, when ring and filter are in place. */
static int bind_to(struct el_relay *relay, struct afpacket *self, char err[EL_ERR_MAX])
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = self->ifindex};

	address.sll_protocol = __builtin_bswap16(ETH_P_ALL);
	if (bind(relay->fd, (struct sockaddr *)&address, sizeof address))
		return el_fail(err, -errno, "%s: %s", self->interface, strerror(errno));
	return 0;
}

static int open_socket(struct el_relay *relay, const char *name, char err[EL_ERR_MAX])
{
	relay->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (relay->fd < 0 && errno == EPERM)
		return el_fail(err, -EPERM,
		               "no privilege to open %s: CAP_NET_RAW is missing (run as root, or: "
		               "setcap cap_net_raw,cap_net_admin+ep build/etherlua)",
		               name);
	if (relay->fd < 0)
		return el_fail(err, -errno, "AF_PACKET socket: %s", strerror(errno));
	return 0;
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct afpacket *self;
	int error;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return el_fail(err, -EINVAL, "bad interface name \"%.64s\": 1 to %d characters", name, IFNAMSIZ - 1);
	self = calloc(1, sizeof *self);
	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	strcpy(self->interface, name);
	error = open_socket(relay, name, err);
	if (!error)
		error = interface_facts(relay, self, err);
	if (!error)
		error = map_ring(relay, self, err);
	if (!error)
		error = set_options(relay, self, opts->promiscuous, err);
	if (!error && opts->filter)
		error = set_filter(relay, opts->filter, err);
	return error ? error : bind_to(relay, self, err);
}

static void close_interface(struct el_relay *relay)
{
	struct afpacket *self = relay->private;

	if (self && self->ring)
		munmap(self->ring, RING_BYTES);
	if (relay->fd >= 0)
		close(relay->fd);
	free(self);
}

/* ---- receiving ---- */

static void copy_frame(struct el_frame *frame, const struct tpacket2_hdr *slot)
{
	const uint8_t *from = (const uint8_t *)slot + slot->tp_mac;
	uint32_t len = slot->tp_snaplen;

	/* Cut short, or longer than the MTU lets a frame be (the kernel's own offloads): empty, it counts as invalid. */
	if (slot->tp_len != len || len < ETH_HEADER || len + TAG_LEN > frame->pool->frame_size - EL_HEADROOM)
		return;
	if (!(slot->tp_status & TP_STATUS_VLAN_VALID)) {
		memcpy(frame->data, from, len);
		frame->len = (uint16_t)len;
		return;
	}
	memcpy(frame->data, from, 12);
	put16(frame->data + 12, slot->tp_status & TP_STATUS_VLAN_TPID_VALID ? slot->tp_vlan_tpid : ETHERTYPE_DOT1Q);
	put16(frame->data + 14, slot->tp_vlan_tci);
	memcpy(frame->data + 16, from + 12, len - 12);
	frame->len = (uint16_t)(len + TAG_LEN);
}

/* The kernel stamps with the wall clock. */
static double engine_time(const struct el_relay *relay, const struct tpacket2_hdr *slot)
{
	return (double)((int64_t)slot->tp_sec * NS + slot->tp_nsec - relay->engine->wall_offset) / NS;
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct afpacket *self = relay->private;
	uint32_t count = 0;

	while (count < max) {
		struct tpacket2_hdr *slot = (void *)(self->ring + (size_t)self->next * self->slot_size);
		struct el_frame *frame;

		if (!(__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			break;
		frame = el_relay_frame(relay);
		if (frame) {
			copy_frame(frame, slot);
			frame->timestamp = engine_time(relay, slot);
			frames[count++] = frame;
		} else {
			relay->stats.rx_frames++;
			relay->stats.rx_no_memory++;
		}
		__atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
		if (++self->next == self->slots)
			self->next = 0;
	}
	return count;
}

/* The kernel resets its counter at each reading. */
static void count_missed(struct el_relay *relay)
{
	struct tpacket_stats stats = {0};
	socklen_t len = sizeof stats;

	if (!getsockopt(relay->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		relay->stats.rx_missed += stats.tp_drops;
}

/*
 * ENETDOWN is reported when the link goes down, from which the socket recovers, and when the interface goes away: then
 * before it is away. Leaving a group that was never joined changes nothing, but waits for a deletion under way.
 */
static void trouble(struct el_relay *relay)
{
	struct afpacket *self = relay->private;
	struct ifreq request = {.ifr_ifindex = self->ifindex};
	struct packet_mreq none = {.mr_ifindex = self->ifindex, .mr_type = PACKET_MR_ALLMULTI};
	int error = 0;
	socklen_t len = sizeof error;

	getsockopt(relay->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	setsockopt(relay->fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &none, sizeof none);
	if (ioctl(relay->fd, SIOCGIFNAME, &request))
		relay->gone = true;
}

/* ---- sending ---- */

static uint32_t finish(struct el_relay *relay, struct el_frame **frames, uint32_t count, int error)
{
	for (uint32_t i = 0; i < count; i++) {
		el_relay_sent(relay, frames[i], error);
		el_pool_put(frames[i]);
	}
	return count;
}

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct mmsghdr messages[EL_BURST];
	struct iovec parts[EL_BURST];
	int sent;

	for (uint32_t i = 0; i < count; i++) {
		parts[i] = (struct iovec){frames[i]->data, frames[i]->len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	sent = sendmmsg(relay->fd, messages, count, MSG_DONTWAIT);
	if (sent > 0)
		return finish(relay, frames, (uint32_t)sent, 0);
	if (errno == EAGAIN || errno == EINTR) /* the socket's send buffer is full: the frames wait */
		return 0;
	if (errno == ENETDOWN || errno == ENXIO)
		return finish(relay, frames, count, errno);
	return finish(relay, frames, 1, errno);
}

const struct el_kind el_kind_afpacket = {
	.name = "afpacket",
	.open = open_interface,
	.recv = recv_frames,
	.send = send_frames,
	.trouble = trouble,
	.filter = set_filter,
	.count = count_missed,
	.close = close_interface,
};
