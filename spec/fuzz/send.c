/*
 * send.c: EtherConns and RUDPConns send whatever they are given, of any length, on links of any MTU. The far end of
 * the wire says what came: frames that fit the MTU; and of a packet that was cut, once its fragments are put together,
 * the very packet.
 *
 * An input: options, the request that fails, the MTU (2 bytes); then steps, whose first two bytes are
 * a length, to which the others are repeated.
 */
#include "harness.h"

#include "ethernet.h"
#include "transmit.h"

enum { TAGS = 3, FRAGMENT = 4, SMALL_POOL = 8, GROUP_MAC = 16, NO_CHECKSUM = 32, DEAF = 64, MIRRORED = 128 };

enum { SEND_IP, SEND_AS, SEND_UDP, SEND_RAW, WAIT, LIMIT, DOWN, REBIND, OPS };

/* args of steps */
enum { MEND = 1, NO_DF = 2, OTHER_MAC = 4, OTHER_VLANS = 8, FROM = 16, TO_GROUP = 32, IS_IP6 = 64, TO_MAC = 128 };

enum { FEW = 128, FRAMES = 512, MTU_MIN = 68, MTUS = 9000, LONGEST = 80000 };

static const struct el_mac PEER = {{2, 0, 0, 0, 0, 11}};

static struct link {
	struct el_engine *engine;
	struct el_relay *pair[2];
	struct el_conn *from, *to, *rest; /* rest: at the far end, a copy of every frame */
	struct el_udp *udp4, *udp6;
	bool sure; /* nothing but the engine's own limits keeps a packet from coming */
} wire;

static uint8_t packet[LONGEST];

/* ---- the two ends ---- */

static void open_ends(uint32_t options)
{
	struct el_conn_opts opts = {.mac = {{options & GROUP_MAC ? 3 : 2, 0, 0, 0, 0, 10}},
	                            .vlans = {{{0x88a8, 100}, {0x8100, 0xffff}, {0x9100, 1}}, options & TAGS},
	                            .fragment = options & FRAGMENT};
	struct el_udp_opts udp4 = {.local = {{10, 0, 0, 1}, 1000, 4}, .no_checksum = options & NO_CHECKSUM};
	struct el_udp_opts udp6 = {.local = {{0xfe, 0x80, [15] = 1}, 1000, 6}, .tos = 255, .ttl = 1};
	struct el_conn_opts rest = {.is_default = 1, .mirror = 1, .invalid = 1};
	char err[EL_ERR_MAX];

	wire.from = el_conn_open(wire.pair[0], &opts, err);
	if (wire.from) {
		wire.udp4 = el_udp_open(wire.from, &udp4, err);
		wire.udp6 = el_udp_open(wire.from, &udp6, err);
	}
	opts.mac = PEER;
	opts.reassemble = 1;
	wire.to = el_conn_open(wire.pair[1], &opts, err);
	wire.rest = el_conn_open(wire.pair[options & MIRRORED ? 0 : 1], &rest, err);
}

static bool open_wire(uint32_t options, uint32_t mtu)
{
	struct el_relay_opts opts = {.frames = options & SMALL_POOL ? FEW : FRAMES, .mtu = MTU_MIN + mtu % MTUS};
	char err[EL_ERR_MAX];

	memset(&wire, 0, sizeof wire);
	wire.sure = !world.failure && !(options & SMALL_POOL);
	wire.engine = el_engine_open();
	if (!wire.engine || el_wire_open(wire.engine, &opts, wire.pair, err))
		return false;
	open_ends(options);
	if (options & DEAF) {
		el_relay_close(wire.pair[1]);
		wire.pair[1] = NULL;
		wire.sure = false;
	}
	return wire.from && wire.udp4 && wire.udp6;
}

static void close_wire(void)
{
	struct el_conn *conns[] = {wire.from, wire.to, wire.rest};

	if (wire.udp4)
		el_udp_free(wire.udp4);
	for (uint32_t i = 0; i < sizeof conns / sizeof conns[0]; i++)
		if (conns[i])
			el_conn_free(conns[i]);
	if (wire.udp6)
		el_udp_free(wire.udp6);
	if (wire.engine)
		el_engine_close(wire.engine);
	check_closed();
}

/* ---- what came ---- */

static void check_size(const struct el_frame *frame)
{
	uint32_t mtu = wire.from->ep.relay->mtu;

	assert(frame->len <= ETH_HEADER + mtu + el_spare(get16(frame->data + 12)));
}

static void drain(struct el_conn *conn, bool sized)
{
	struct el_frame *frame;

	while (conn && conn->ep.relay && (frame = el_recv(&conn->ep))) {
		check_frame(frame);
		if (sized)
			check_size(frame);
		el_frame_free(frame);
	}
}

/* The packet that was sent is what came, but for the checksum of its header. */
static void check_same(const struct el_frame *frame, uint32_t len)
{
	const uint8_t *got = frame->data + frame->l3;

	assert(frame->l3_len == len);
	if (packet[0] >> 4 == 4) {
		assert(!memcmp(got, packet, 10));
		assert(!memcmp(got + 12, packet + 12, len - 12));
	} else {
		assert(!memcmp(got, packet, len));
	}
}

/* No matter of this file: a packet that is a fragment itself, a datagram whose length is wrong, headers in a chain. */
static bool has_plain_header(void)
{
	if (packet[0] >> 4 == 4)
		return !(get16(packet + 6) & 0x3fff) && packet[9] != PROTO_UDP;
	return packet[0] >> 4 == 6 && packet[6] == 59;
}

/* What of fragments that were sent as they are may be in the way of the next ones: identifications are the input's. */
static bool is_clear(void)
{
	const struct el_stats *stats;

	if (!wire.sure)
		return false;
	stats = &wire.pair[1]->stats;
	return !(stats->rx_fragments + stats->rx_frag_overlap + stats->rx_frag_invalid + stats->rx_frag_limit);
}

/* A packet of `len` bytes was sent, in fragments if it was longer than `room`. */
static void check_arrival(uint32_t len, uint32_t room, bool clear)
{
	struct el_frame *frame = wire.to && wire.to->ep.relay ? el_recv(&wire.to->ep) : NULL;

	if (len > room && clear && has_plain_header())
		assert(frame);
	if (!frame)
		return;
	check_frame(frame);
	if (len > room && clear && has_plain_header())
		check_same(frame, len);
	el_frame_free(frame);
}

/* ---- steps ---- */

static uint32_t fill(const struct step *step)
{
	uint32_t given = step->len > 2 ? step->len - 2 : 0, len = step->len > 1 ? get16(step->bytes) : 0;

	if (step->op & 0x80)
		len += 5000;
	len = len < given ? given : len;
	for (uint32_t i = 0; i < len; i++)
		packet[i] = given ? step->bytes[2 + i % given] : 0;
	return len;
}

static void mend(uint32_t len, uint32_t arg)
{
	if (arg & MEND && len >= IP4_HEADER && packet[0] >> 4 == 4)
		put16(packet + 2, len);
	if (arg & MEND && len >= IP6_HEADER && packet[0] >> 4 == 6)
		put16(packet + 4, len - IP6_HEADER);
	if (arg & NO_DF && len >= IP4_HEADER && packet[0] >> 4 == 4)
		put16(packet + 6, 0);
}

static void send_packet(const struct step *step, uint32_t ethertype)
{
	struct el_send_opts opts = {.src_mac = {{2, 0, 0, 0, 0, 12}},
	                            .has_src_mac = step->arg & OTHER_MAC,
	                            .vlans = {{{0x8100, 5}, {0x8100, 6}, {0x8100, 7}, {0x8100, 8}}, step->arg & 3},
	                            .has_vlans = step->arg & OTHER_VLANS};
	const struct el_send_opts *given = step->arg & (OTHER_MAC | OTHER_VLANS) ? &opts : NULL;
	uint32_t len = fill(step), room;
	bool clear;

	mend(len, step->arg);
	if (!wire.from->ep.relay)
		return;
	room = el_conn_room(wire.from, len && packet[0] >> 4 == 6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4, given);
	el_relay_flush(wire.pair[0]);
	drain(wire.to, false);
	clear = is_clear();
	if (el_conn_send(wire.from, packet, len, &PEER, ethertype, given))
		return;
	el_relay_flush(wire.pair[0]);
	if (!ethertype && !opts.has_vlans)
		check_arrival(len, room, clear);
}

static void send_datagram(const struct step *step)
{
	struct el_addr to4 = {{step->arg & TO_GROUP ? 224 : 10, 0, 0, 2}, 2000, 4}, from4 = {{10, 9, 9, 9}, 9, 4};
	struct el_addr to6 = {{step->arg & TO_GROUP ? 0xff : 0xfe, 2, [15] = 2}, 2000, 6}, from6 = {{0xfd}, 9, 6};
	bool is_ip6 = step->arg & IS_IP6, other = step->arg & OTHER_VLANS;
	struct el_udp *udp = is_ip6 != other ? wire.udp6 : wire.udp4;
	uint32_t len = fill(step), fits = el_udp_mtu(udp, is_ip6 ? 6 : 4);
	int error = el_udp_send(udp, packet, len, is_ip6 ? &to6 : &to4,
	                        !(step->arg & FROM) ? NULL
	                        : is_ip6            ? &from6
	                                            : &from4,
	                        step->arg & TO_MAC ? &PEER : NULL);

	assert(!wire.sure || error != -EMSGSIZE || len > fits || !fits); /* 0: not even an empty one, perhaps */
	assert(error || len <= fits);
}

static void do_step(const struct step *step)
{
	static const uint16_t type[] = {ETHERTYPE_IP4, ETHERTYPE_IP6, ETHERTYPE_ARP, 0x88b5};
	struct el_addr other = {{10, 0, 0, step->arg & 1}, 1000, 4};

	switch (step->op % OPS) {
	case SEND_IP:
		send_packet(step, 0);
		break;
	case SEND_AS:
		send_packet(step, type[step->arg >> 6]);
		break;
	case SEND_UDP:
		send_datagram(step);
		break;
	case SEND_RAW:
		el_relay_send(wire.pair[0], step->bytes, step->len);
		break;
	case WAIT:
		world_advance(step->arg);
		el_wait(wire.engine, 0);
		break;
	case LIMIT:
		el_conn_limit_ip6(wire.from, step->arg * 16U);
		break;
	case DOWN:
		if (step->arg == 1)
			el_conn_close(wire.from);
		break;
	default:
		el_udp_rebind(wire.udp4, &other);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint32_t options = take(&in, 1), failure = take(&in, 1), mtu = take(&in, 2);
	struct step step;

	world_begin(failure);
	if (open_wire(options, mtu)) {
		while (next_step(&in, &step)) {
			do_step(&step);
			check_engine(wire.engine);
			drain(wire.rest, wire.from->ep.relay != NULL);
		}
		el_wait(wire.engine, 0);
		drain(wire.to, false);
		check_engine(wire.engine);
	}
	close_wire();
	return 0;
}
