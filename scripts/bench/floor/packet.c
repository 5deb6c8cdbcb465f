/*
 * packet.c: the floor for AF_PACKET: what one socket moves that does nothing else.
 *
 *   packet send INTERFACE SECONDS PAYLOAD   sendmmsg past the queueing discipline
 *   packet v3|v2|mmsg INTERFACE SECONDS     counts frames: TPACKET_V3 or V2 ring, or recvmmsg
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "floor.h"

enum {
	BATCH = 64,
	TURNS = 16, /* batches between two looks at the clock */
	BLOCK = 1 << 18,
	BLOCKS = 64,
	SLOTS = BLOCK * BLOCKS / FRAME_MAX,
	SOCKET_BUFFER = 64 << 20,
};

static volatile uint8_t seen;

static int open_socket(const char *interface)
{
	int one = 1, size = SOCKET_BUFFER, fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (fd < 0 || !if_nametoindex(interface))
		die(interface);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	return fd;
}

/* Frames come in only from here on. */
static void bind_socket(int fd, const char *interface, int protocol)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)protocol)};

	address.sll_ifindex = (int)if_nametoindex(interface);
	if (bind(fd, (struct sockaddr *)&address, sizeof address))
		die(interface);
}

static void *map_ring(int fd, int version)
{
	struct tpacket_req3 request = {.tp_block_size = BLOCK,
	                               .tp_block_nr = BLOCKS,
	                               .tp_frame_size = FRAME_MAX,
	                               .tp_frame_nr = SLOTS,
	                               .tp_retire_blk_tov = 1};
	socklen_t len = version == TPACKET_V3 ? sizeof request : sizeof(struct tpacket_req);
	void *ring;

	if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
	    setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, len))
		die("receive ring");
	ring = mmap(NULL, (size_t)BLOCK * BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (ring == MAP_FAILED)
		die("mmap");
	return ring;
}

static void fill_messages(struct mmsghdr *messages, struct iovec *parts, uint8_t (*frames)[FRAME_MAX], size_t len)
{
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){frames[i], len};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
	}
}

static void send_for(struct run *run, int fd, double seconds, size_t payload)
{
	static uint8_t frames[BATCH][FRAME_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	size_t len = 0;

	for (int i = 0; i < BATCH; i++)
		len = make_frame(frames[i], &near_host, &far_host, broadcast, payload);
	fill_messages(messages, parts, frames, len);
	start_run(run);
	while (now() < run->start + seconds)
		for (int i = 0; i < TURNS; i++) {
			int sent = sendmmsg(fd, messages, BATCH, 0);

			run->packets += sent > 0 ? (uint64_t)sent : 0;
		}
}

/* ---- receiving: each take function returns how many frames there were ---- */

static uint32_t take_v3(int fd, uint8_t *ring)
{
	static uint32_t next;
	struct tpacket_block_desc *block = (void *)(ring + (size_t)next * BLOCK);
	struct tpacket3_hdr *slot = (void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
	uint32_t count = block->hdr.bh1.num_pkts;

	(void)fd;
	if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return 0;
	for (uint32_t i = 0; i < count; i++) {
		seen = ((uint8_t *)slot)[slot->tp_mac];
		slot = (void *)((uint8_t *)slot + slot->tp_next_offset);
	}
	__atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	next = (next + 1) % BLOCKS;
	return count;
}

static uint32_t take_v2(int fd, uint8_t *ring)
{
	static uint32_t next;
	struct tpacket2_hdr *slot = (void *)(ring + (size_t)next * FRAME_MAX);

	(void)fd;
	if (!(__atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return 0;
	seen = ((uint8_t *)slot)[slot->tp_mac];
	__atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	next = (next + 1) % SLOTS;
	return 1;
}

static uint32_t take_mmsg(int fd, uint8_t *ring)
{
	static uint8_t frames[BATCH][FRAME_MAX];
	static struct mmsghdr messages[BATCH];
	static struct iovec parts[BATCH];
	int count;

	(void)ring;
	if (!parts[0].iov_base)
		fill_messages(messages, parts, frames, FRAME_MAX);
	count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
	return count > 0 ? (uint32_t)count : 0;
}

static void recv_for(struct run *run, int fd, uint8_t *ring, double seconds, uint32_t (*take)(int, uint8_t *))
{
	struct pollfd readable = {fd, POLLIN, 0};
	double begin = now();

	while (goes_on(run, begin, seconds))
		for (int i = 0; i < TURNS; i++) {
			uint32_t count = take(fd, ring);

			count_received(run, count);
			if (!count)
				poll(&readable, 1, 100);
		}
}

static void receive(struct run *run, const char *how, const char *interface, double seconds)
{
	int fd = open_socket(interface), mmsg = !strcmp(how, "mmsg"), v3 = !strcmp(how, "v3");
	void *ring = mmsg ? NULL : map_ring(fd, v3 ? TPACKET_V3 : TPACKET_V2);

	bind_socket(fd, interface, ETH_P_ALL);
	recv_for(run, fd, ring, seconds, mmsg ? take_mmsg : v3 ? take_v3 : take_v2);
}

int main(int argc, char **argv)
{
	struct run run = {0};

	if (argc == 5 && !strcmp(argv[1], "send") && atoi(argv[4]) <= PAYLOAD_MAX) {
		int fd = open_socket(argv[2]);

		bind_socket(fd, argv[2], 0);
		send_for(&run, fd, atof(argv[3]), (size_t)atoi(argv[4]));
	} else if (argc == 4 && (!strcmp(argv[1], "v3") || !strcmp(argv[1], "v2") || !strcmp(argv[1], "mmsg"))) {
		receive(&run, argv[1], argv[2], atof(argv[3]));
	} else {
		fprintf(stderr, "usage: packet send INTERFACE SECONDS PAYLOAD | v3|v2|mmsg INTERFACE SECONDS\n");
		return 1;
	}
	print_run(&run);
	return 0;
}
