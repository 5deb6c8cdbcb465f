/*
 * ingress.c: frames come in, at endpoints of every kind: EtherConns with and without tags, RUDPConns, a tap, a mirror,
 * one that wants what is not valid; with and without reassembly. In between endpoints are read and closed, frames are
 * sent, time goes by.
 *
 * An input: options, the request that fails, the depth of queues; then steps.
 */
#include "harness.h"

#include "frame_memory.h"
#include "relay.h"

enum { INPUT_HEADER = 3 };

#include "mutator.h"

enum { WITH_DEFAULT = 1, MIRROR = 2, INVALID = 4, REASSEMBLE = 8, TAP = 16, TAP_COPY = 32, FILTER = 64, CAPTURE = 128 };

enum { RECEIVE, RECEIVE_CUT, RECEIVE_OWN, RECEIVE_MANY, SEND, WAIT, READ, CLOSE, MULTICAST, OPS };

enum { CONNS = 7, UDPS = 6, FRAMES = 128, STORM = 32, HELD = 2 * FRAMES };

static struct host {
	struct el_engine *engine;
	struct el_relay *pair[2], *relay; /* relay: the one that receives */
	struct el_conn *conns[CONNS];
	struct el_udp *udps[UDPS];
	struct el_endpoint *tap;
	struct el_frame *held[HELD]; /* that a reader keeps */
	uint32_t held_count;
	bool stormed;
} host;

/* ---- endpoints ---- */

/* Frames to 02:00:00:01:de:9b have the hash of the fifth, groups behind tags 0x9100.729 and 231 that of the sixth. */
static const struct el_conn_opts CONN[CONNS] = {
	{.mac = {{2, 0, 0, 0, 0, 11}},
         .ethertypes = {ETHERTYPE_IP4, ETHERTYPE_IP6, ETHERTYPE_ARP},
         .multicast = EL_MULTICAST_OWN},
	{.mac = {{2, 0, 0, 0, 0, 11}},
         .ethertypes = {0x88b5, 0x88b6, 0x8863, 0x8864, 0x88cc, 0x88f7, 0x8847, 0x8848},
         .multicast = EL_MULTICAST_OWN},
	{.mac = {{2, 0, 0, 0, 0, 11}}, .vlans = {{{0x88a8, 100}, {0x8100, 200}}, 2}, .multicast = EL_MULTICAST_ALL},
	{.mac = {{0x33, 0x33, 0, 0, 0, 1}}},
	{.mac = {{2, 0, 0, 0, 0xb1, 0xa7}}},
	{.mac = {{2, 0, 0, 0, 0, 11}}, .vlans = {{{0x9100, 607}, {0x8100, 14}}, 2}, .multicast = EL_MULTICAST_OWN},
	{.is_default = 1},
};

static const struct udp {
	uint32_t conn;
	struct el_udp_opts opts;
	struct el_addr peer;
} UDP[UDPS] = {
	{0, {.local = {{10, 0, 0, 2}, 2000, 4}}, {{0}, 0, 0}},
	{0, {.local = {{0}, 2000, 6}}, {{0}, 0, 0}},
	{0, {.local = {{0}, 1, 4}, .accept_any = 1}, {{0}, 0, 0}},
	{0, {.local = {{10, 0, 0, 2}, 2001, 4}}, {{10, 0, 0, 1}, 1000, 4}},
	{2,
         {.local = {{0x20, 1, 0xd, 0xb8, [15] = 2}, 1, 6}, .accept_any = 1},
         {{0x20, 1, 0xd, 0xb8, [15] = 1}, 1000, 6}},
	{3, {.local = {{0}, 2000, 6}}, {{0}, 0, 0}},
};

static void open_conns(uint32_t options)
{
	char err[EL_ERR_MAX];

	for (uint32_t i = 0; i < CONNS; i++) {
		struct el_conn_opts opts = CONN[i];

		opts.id = i + 1;
		opts.reassemble = (options & REASSEMBLE) != 0;
		opts.mirror = (options & MIRROR) != 0;
		opts.invalid = (options & INVALID) != 0;
		if (!opts.is_default || options & WITH_DEFAULT)
			host.conns[i] = el_conn_open(host.relay, &opts, err);
	}
}

static void open_udps(void)
{
	char err[EL_ERR_MAX];

	for (uint32_t i = 0; i < UDPS; i++) {
		if (!host.conns[UDP[i].conn])
			continue;
		host.udps[i] = el_udp_open(host.conns[UDP[i].conn], &UDP[i].opts, err);
		if (host.udps[i])
			host.udps[i]->peer = UDP[i].peer;
	}
}

static void open_tap(uint32_t options)
{
	if (options & TAP)
		host.tap = el_tap_open(host.relay, 0, CONNS + 1);
	for (uint32_t i = 0; host.tap && i < CONNS; i++)
		if (host.conns[i])
			el_conn_tap(host.conns[i], EL_TAP_NEIGHBOUR | EL_TAP_ICMP | EL_TAP_UDP |
			                                   (options & TAP_COPY ? EL_TAP_COPY : 0));
}

static bool open_host(uint32_t options, uint32_t depth)
{
	struct el_relay_opts opts = {.frames = FRAMES, .recv_depth = depth};
	char err[EL_ERR_MAX];

	memset(&host, 0, sizeof host);
	if (options & FILTER)
		opts.filter = "udp or vlan or ip6 or arp";
	if (options & CAPTURE)
		opts.capture = "/dev/null";
	host.engine = el_engine_open();
	if (!host.engine || el_wire_open(host.engine, &opts, host.pair, err))
		return false;
	host.relay = host.pair[0];
	open_conns(options);
	open_udps();
	open_tap(options);
	return true;
}

/* In either order, as scripts do. */
static void close_host(bool relay_first)
{
	if (host.relay && relay_first)
		el_relay_close(host.relay);
	for (uint32_t i = 0; i < UDPS; i++)
		if (host.udps[i])
			el_udp_free(host.udps[i]);
	for (uint32_t i = 0; i < CONNS; i++)
		if (host.conns[i])
			el_conn_free(host.conns[i]);
	if (host.tap)
		el_tap_free(host.tap);
	if (host.engine)
		el_engine_close(host.engine);
	check_closed();
}

static struct el_endpoint *endpoint(uint32_t number)
{
	number %= CONNS + UDPS + 1;
	if (number < CONNS)
		return host.conns[number] ? &host.conns[number]->ep : NULL;
	if (number < CONNS + UDPS)
		return host.udps[number - CONNS] ? &host.udps[number - CONNS]->ep : NULL;
	return host.tap;
}

/* ---- reading ---- */

static bool same_ip(const struct el_addr *a, const struct el_addr *b)
{
	return a->version == b->version && !memcmp(a->ip, b->ip, sizeof a->ip);
}

/* A datagram is at the RUDPConn that it was sent to. */
static void check_udp(const struct el_endpoint *ep, const struct el_frame *frame)
{
	const struct el_udp *udp = (const struct el_udp *)ep;
	struct el_addr source, target, any;

	el_frame_source(frame, &source);
	el_frame_target(frame, &target);
	any = (struct el_addr){.version = udp->local.version};
	assert(frame->flags & EL_FRAME_UDP);
	assert(!udp->peer.version || (same_ip(&udp->peer, &source) && udp->peer.port == source.port));
	if (!udp->accept_any)
		assert(target.port == udp->local.port && (same_ip(&target, &udp->local) || same_ip(&any, &udp->local)));
}

static bool same_stack(const struct el_vlans *a, const struct el_vlans *b)
{
	bool same = a->count == b->count;

	for (uint32_t i = 0; same && i < a->count; i++)
		same = a->tag[i].tpid == b->tag[i].tpid && !((a->tag[i].tci ^ b->tag[i].tci) & 0xfff);
	return same;
}

/* Without the tags of VID 0, which are no VLAN. */
static struct el_vlans real_stack(const struct el_vlans *vlans)
{
	struct el_vlans real = {.count = 0};

	for (uint32_t i = 0; i < vlans->count; i++)
		if (vlans->tag[i].tci & 0xfff)
			real.tag[real.count++] = vlans->tag[i];
	return real;
}

/* A frame is at the EtherConn of its address, unless it is for a group or nobody's. */
static void check_conn(const struct el_endpoint *ep, const struct el_frame *frame)
{
	const struct el_conn *conn = (const struct el_conn *)ep;
	struct el_vlans vlans, real;

	if (conn->is_default || frame->flags & EL_FRAME_GROUP)
		return;
	el_frame_vlans(frame, &vlans);
	real = real_stack(&vlans);
	assert(!memcmp(frame->data, conn->mac.byte, 6));
	assert(same_stack(&vlans, &conn->vlans) || same_stack(&real, &conn->vlans));
}

static void check_place(const struct el_endpoint *ep, const struct el_frame *frame)
{
	check_frame(frame);
	if (ep->kind == EL_UDP)
		check_udp(ep, frame);
	else if (ep->kind == EL_CONN)
		check_conn(ep, frame);
	else
		assert(frame->conn >= 1 && frame->conn <= CONNS);
}

/* How a frame is read: given back at once, lent, or kept with all others until the end. */
enum { TAKEN, LENT, KEPT, WAYS };

static bool read_one(struct el_endpoint *ep, uint32_t way)
{
	struct el_frame *frame = !ep->relay ? NULL : way == LENT ? (struct el_frame *)el_borrow(ep) : el_recv(ep);

	if (!frame)
		return false;
	check_place(ep, frame);
	if (way == TAKEN)
		el_frame_free(frame);
	if (way == KEPT)
		host.held[host.held_count++] = frame;
	return true;
}

static void read_some(struct el_endpoint *ep, uint32_t way)
{
	while (ep && host.held_count < HELD && read_one(ep, way) && way == KEPT)
		;
}

static void free_held(void)
{
	while (host.held_count)
		el_frame_free(host.held[--host.held_count]);
}

static void read_all(void)
{
	for (uint32_t i = 0; i <= CONNS + UDPS; i++) {
		struct el_endpoint *ep = endpoint(i);

		while (ep && read_one(ep, TAKEN))
			;
	}
}

/* ---- steps ---- */

static void receive(const uint8_t *bytes, uint32_t have, uint32_t len, uint16_t flags)
{
	struct el_frame *frame = el_relay_copy_in(host.relay, bytes, have, len);

	if (!frame)
		return;
	frame->timestamp = el_clock_now(host.engine);
	frame->flags |= flags;
	el_relay_input(host.relay, frame);
}

/* Each with another IPv4 identification, so that many packets wait for the rest. Once in an input: it takes long. */
static void receive_many(const struct step *step)
{
	uint8_t bytes[2048];

	if (host.stormed || step->len < ETH_HEADER + IP4_HEADER || step->len > sizeof bytes)
		return;
	host.stormed = true;
	memcpy(bytes, step->bytes, step->len);
	for (uint32_t i = 0; i < step->arg * STORM; i++) {
		put16(bytes + ETH_HEADER + 4, i);
		receive(bytes, step->len, step->len, 0);
	}
}

static void close_one(uint32_t number)
{
	number %= CONNS + UDPS + 1;
	if (number < CONNS && host.conns[number])
		el_conn_close(host.conns[number]);
	else if (number >= CONNS && number < CONNS + UDPS && host.udps[number - CONNS])
		el_udp_close(host.udps[number - CONNS]);
	else if (host.relay->tap)
		el_conn_tap(host.conns[0] ? host.conns[0] : host.conns[1], 0);
}

static void set_multicast(uint32_t number, uint32_t multicast)
{
	if (host.conns[number] && host.conns[number]->ep.relay && !host.conns[number]->is_default)
		el_conn_multicast(host.conns[number], multicast);
}

static void do_step(const struct step *step)
{
	switch (step->op % OPS) {
	case RECEIVE:
		receive(step->bytes, step->len, step->len, 0);
		break;
	case RECEIVE_CUT:
		receive(step->bytes, step->len, step->len + step->arg * 300U, 0);
		break;
	case RECEIVE_OWN:
		receive(step->bytes, step->len, step->len, EL_FRAME_OUTGOING);
		break;
	case RECEIVE_MANY:
		receive_many(step);
		break;
	case SEND:
		el_relay_send(host.relay, step->bytes, step->len);
		break;
	case WAIT:
		world_advance(step->arg);
		el_wait(host.engine, 0);
		break;
	case READ:
		read_some(endpoint(step->arg / WAYS), step->arg % WAYS);
		break;
	case CLOSE:
		close_one(step->arg);
		break;
	default:
		set_multicast(step->arg % CONNS, step->arg / CONNS % 3);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint32_t options = take(&in, 1), failure = take(&in, 1), depth = take(&in, 1);
	struct step step;

	world_begin(failure);
	if (open_host(options, depth)) {
		while (next_step(&in, &step)) {
			do_step(&step);
			check_engine(host.engine);
		}
		el_wait(host.engine, 0);
		read_all();
		free_held();
		check_engine(host.engine);
	}
	close_host(options & CAPTURE);
	return 0;
}
