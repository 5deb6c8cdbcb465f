/*
 * packet_blocks.c: the fanout group of two sockets, its program, and the reading of blocks.
 */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "engine.h"
#include "kind.h"
#include "kinds/packet_blocks.h"

#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000 /* Linux 6.2; others do not look at it */
#endif

enum {
	BLOCK = 128 << 10, /* bytes: 870 frames of 64 bytes, and more than the largest one has */
	BLOCKS = 32,
	SLOT = 2048, /* nothing but a divisor of BLOCK here */
	RETIRE = 4,  /* milliseconds until a block that is not full is handed over */
	RING_BYTES = BLOCK * BLOCKS,
};

static const double LATE = 10e-3; /* seconds: a frame may have waited in its block for less */

/* ---- the group ---- */

/* Returns a program that returns the word of the map, whatever the frame is. */
static int load_program(int map)
{
	const struct bpf_insn program[] = {
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = map},
		{0}, /* the other half: where in the value */
		{.code = BPF_LDX | BPF_W | BPF_MEM, .dst_reg = BPF_REG_0, .src_reg = BPF_REG_1},
		{.code = BPF_JMP | BPF_EXIT},
	};

	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "etherlua_ring", "Dual MIT/GPL", program,
	                     sizeof program / sizeof *program, NULL);
}

static bool open_word(struct el_packet_blocks *self)
{
	const struct bpf_map_create_opts opts = {.sz = sizeof opts, .map_flags = BPF_F_MMAPABLE};

	self->word = bpf_map_create(BPF_MAP_TYPE_ARRAY, "etherlua_ring", sizeof(uint32_t), sizeof(uint32_t), 1, &opts);
	if (self->word < 0)
		return false;
	self->chosen = mmap(NULL, sizeof *self->chosen, PROT_READ | PROT_WRITE, MAP_SHARED, self->word, 0);
	if (self->chosen == MAP_FAILED)
		self->chosen = NULL;
	return self->chosen;
}

static bool join(int fd, uint16_t group, uint32_t flags)
{
	struct fanout_args args = {.id = group, .type_flags = (uint16_t)(PACKET_FANOUT_EBPF | flags)};

	return !setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &args, sizeof args);
}

/* The socket is number 0 of the group, this one number 1. */
static bool form_group(const struct el_packet_blocks *self, const struct el_packet_socket *socket)
{
	uint32_t flags = socket->outgoing ? 0 : PACKET_FANOUT_FLAG_IGNORE_OUTGOING, group = 0;
	socklen_t len = sizeof group;
	int program = load_program(self->word);
	bool formed = program >= 0 && join(socket->fd, 0, flags | PACKET_FANOUT_FLAG_UNIQUEID) &&
	              !getsockopt(socket->fd, SOL_PACKET, PACKET_FANOUT, &group, &len) &&
	              !setsockopt(socket->fd, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program) &&
	              join(self->fd, (uint16_t)group, flags);

	if (program >= 0)
		close(program);
	return formed;
}

/* ---- opening ---- */

static bool map_ring(struct el_packet_blocks *self)
{
	struct tpacket_req3 request = {
		.tp_block_size = BLOCK,
		.tp_block_nr = BLOCKS,
		.tp_frame_size = SLOT,
		.tp_frame_nr = RING_BYTES / SLOT,
		.tp_retire_blk_tov = RETIRE,
	};
	int version = TPACKET_V3;

	if (setsockopt(self->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
	    setsockopt(self->fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request))
		return false;
	self->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	if (self->ring == MAP_FAILED)
		self->ring = NULL;
	return self->ring;
}

/* Until it is in the group it would have all frames, too, and so takes none. */
static bool bind_silent(const struct el_packet_blocks *self, int ifindex)
{
	struct sock_filter nothing = {BPF_RET | BPF_K, 0, 0, 0};
	struct sock_fprog program = {1, &nothing};

	return !setsockopt(self->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) &&
	       !el_packet_socket_bind_to(self->fd, ifindex);
}

void el_packet_blocks_open(struct el_packet_blocks *self, const struct el_packet_socket *beside)
{
	*self = (struct el_packet_blocks){.fd = -1, .word = -1};
	if (!open_word(self) || (self->fd = el_packet_socket_new()) < 0 || !map_ring(self) ||
	    !bind_silent(self, beside->ifindex) || !form_group(self, beside))
		el_packet_blocks_close(self);
}

void el_packet_blocks_close(struct el_packet_blocks *self)
{
	if (self->ring)
		munmap(self->ring, RING_BYTES);
	if (self->chosen)
		munmap(self->chosen, sizeof *self->chosen);
	if (self->fd >= 0)
		close(self->fd);
	if (self->word >= 0)
		close(self->word);
	*self = (struct el_packet_blocks){.fd = -1, .word = -1};
}

/* ---- receiving ---- */

void el_packet_blocks_choose(struct el_packet_blocks *self, bool on)
{
	__atomic_store_n(self->chosen, on, __ATOMIC_RELEASE);
}

static uint8_t *block_of(const struct el_packet_blocks *self)
{
	return self->ring + (size_t)self->next * BLOCK;
}

static struct tpacket_hdr_v1 *header_of(const struct el_packet_blocks *self)
{
	return &((struct tpacket_block_desc *)block_of(self))->hdr.bh1;
}

static bool is_handed_over(const struct tpacket_hdr_v1 *header)
{
	return __atomic_load_n(&header->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The block behind the last one that was handed over is the one that the kernel fills. */
bool el_packet_blocks_is_empty(const struct el_packet_blocks *self)
{
	const struct tpacket_hdr_v1 *header = header_of(self);

	return !self->left && !is_handed_over(header) && !__atomic_load_n(&header->num_pkts, __ATOMIC_RELAXED);
}

/* Whether there is a frame to read: of this block, or of the next one. */
static bool has_frame(struct el_packet_blocks *self)
{
	const struct tpacket_hdr_v1 *header = header_of(self);

	if (self->left)
		return true;
	if (!is_handed_over(header))
		return false;
	self->left = header->num_pkts;
	self->at = block_of(self) + header->offset_to_first_pkt;
	return true;
}

/* The frame has been read. A block is the kernel's again when all have. */
static void go_on(struct el_packet_blocks *self)
{
	self->at += ((const struct tpacket3_hdr *)self->at)->tp_next_offset;
	if (--self->left)
		return;
	__atomic_store_n(&header_of(self)->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	self->next = (self->next + 1) % BLOCKS;
}

static struct el_frame *frame_at(const struct el_packet_blocks *self, const struct el_packet_socket *socket,
                                 struct el_relay *relay)
{
	const struct tpacket3_hdr *header = (const void *)self->at;
	const struct el_packet_slot slot = {
		.data = self->at + header->tp_mac,
		.address = (const void *)(self->at + TPACKET_ALIGN(sizeof *header)),
		.stamp = (int64_t)header->tp_sec * NS + header->tp_nsec,
		.since = self->empty_at - LATE,
		.kept = header->tp_snaplen,
		.len = header->tp_len,
		.status = header->tp_status,
		.tci = (uint16_t)header->hv1.tp_vlan_tci,
		.tpid = header->hv1.tp_vlan_tpid,
	};

	return el_packet_socket_frame(socket, relay, &slot);
}

uint32_t el_packet_blocks_recv(struct el_packet_blocks *self, const struct el_packet_socket *socket,
                               struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	uint32_t count = 0;

	while (count < max) {
		struct el_frame *frame;

		if (!has_frame(self)) {
			self->empty_at = el_clock_now(relay->engine);
			break;
		}
		frame = frame_at(self, socket, relay);
		if (frame)
			frames[count++] = frame;
		go_on(self);
	}
	return count;
}
