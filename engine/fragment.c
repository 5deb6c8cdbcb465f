/*
 * fragment.c: how a packet is cut, and its fragments. All of them get their frames, which are the relay's, before the
 * first is sent.
 */
#include <errno.h>
#include <stdlib.h>

#include "checksum.h"
#include "ethernet.h"
#include "fragment.h"
#include "kind.h"
#include "parse.h"
#include "transmit.h"
#include "wire_format.h"

enum {
	IP4_DF = 0x4000,
	IP4_MF = 0x2000,
	IP4_OFFSET = 0x1fff,
	IP4_HEADER_MAX = 60,
	IP4_COPIED = 0x80, /* an option that each fragment has (RFC 791 3.1) */
	IP4_END = 0,       /* options of one octet: end of the list, no operation */
	IP4_NOP = 1,
	FRAGMENT_HEADER = 8,
};

/* How a packet is cut. */
struct cut {
	const uint8_t *packet;
	uint32_t first, later; /* bytes of the packet's own header in the first fragment and in later ones */
	uint32_t len, chunk;   /* bytes of data, and those in each fragment but the last */
	uint32_t offset;       /* of its data; a fragment may be cut, too */
	bool more;
	uint32_t next;                  /* IPv6: where the packet says what its fragmentable part begins with */
	uint32_t id;                    /* IPv6 */
	uint8_t header[IP4_HEADER_MAX]; /* IPv4: of later fragments */
};

/* ---- identification ---- */

int el_fragmenter_open(struct el_relay *relay)
{
	struct el_fragmenter *self = relay->fragmenter;

	if (self)
		return 0;
	self = relay->fragmenter = calloc(1, sizeof *self);
	if (!self)
		return -ENOMEM;
	if (el_random(&self->seed, sizeof self->seed))
		self->seed = (uint32_t)(uintptr_t)self;
	return 0;
}

void el_fragmenter_close(struct el_relay *relay)
{
	free(relay->fragmenter);
	relay->fragmenter = NULL;
}

uint16_t el_fragmenter_id4(struct el_fragmenter *self)
{
	return (uint16_t)(self->seed + self->count++);
}

/* Hard to guess (RFC 7739), and another one 2^32 times: each step can be undone. */
static uint32_t id6(struct el_fragmenter *self)
{
	uint32_t id = self->seed + self->count++;

	id = (id ^ id >> 16) * 0x85ebca6b;
	id = (id ^ id >> 13) * 0xc2b2ae35;
	return id ^ id >> 16;
}

/* ---- how to cut ---- */

/* The header of later fragments has only the options that are to be copied. */
static int copy_options(struct cut *cut)
{
	const uint8_t *packet = cut->packet;
	uint32_t to = IP4_HEADER;

	memcpy(cut->header, packet, IP4_HEADER);
	for (uint32_t at = IP4_HEADER, size; at < cut->first && packet[at] != IP4_END; at += size) {
		size = packet[at] == IP4_NOP ? 1 : at + 1 < cut->first ? packet[at + 1] : 0;
		if (!size || (size == 1 && packet[at] != IP4_NOP) || size > cut->first - at)
			return -EMSGSIZE;
		if (packet[at] & IP4_COPIED) {
			memcpy(cut->header + to, packet + at, size);
			to += size;
		}
	}
	while (to % 4)
		cut->header[to++] = IP4_END;
	cut->header[0] = (uint8_t)(0x40 | to / 4);
	cut->later = to;
	return 0;
}

static int cut_ip4(struct cut *cut, uint32_t len, uint32_t room)
{
	const uint8_t *ip = cut->packet;
	uint32_t flags;

	if (len < IP4_HEADER || get16(ip + 2) != len)
		return -EMSGSIZE;
	flags = get16(ip + 6);
	cut->first = (ip[0] & 15) * 4U;
	cut->offset = (flags & IP4_OFFSET) * FRAGMENT_UNIT;
	cut->more = flags & IP4_MF;
	if (flags & IP4_DF || cut->first < IP4_HEADER || cut->first > len || room < cut->first + FRAGMENT_UNIT)
		return -EMSGSIZE;
	cut->len = len - cut->first;
	cut->chunk = (room - cut->first) / FRAGMENT_UNIT * FRAGMENT_UNIT;
	return cut->offset + len > UINT16_MAX ? -EMSGSIZE : copy_options(cut);
}

/*
 * The unfragmentable part ends with the routing header, or else with the hop-by-hop options. All headers have to be in
 * the first fragment (RFC 7112), and with them at least a part of what follows.
 */
static int cut_ip6(struct cut *cut, uint32_t len, uint32_t room)
{
	const uint8_t *ip = cut->packet;
	uint32_t at = IP6_HEADER, next = 6;

	if (len < IP6_HEADER || get16(ip + 4) != len - IP6_HEADER)
		return -EMSGSIZE;
	cut->first = cut->later = IP6_HEADER;
	cut->next = next;
	while (el_is_extension(ip[next])) {
		uint8_t type = ip[next];
		uint32_t size = len - at < 8 ? 0 : el_extension_len(type, ip + at);

		if (!size || size > len - at || type == EXTENSION_FRAGMENT)
			return -EMSGSIZE;
		next = at;
		at += size;
		if (type == EXTENSION_HOP || type == EXTENSION_ROUTING) {
			cut->first = cut->later = at;
			cut->next = next;
		}
	}
	if (room < cut->first + FRAGMENT_HEADER + FRAGMENT_UNIT)
		return -EMSGSIZE;
	cut->len = len - cut->first;
	cut->chunk = (room - cut->first - FRAGMENT_HEADER) / FRAGMENT_UNIT * FRAGMENT_UNIT;
	return at - cut->first >= cut->chunk ? -EMSGSIZE : 0;
}

/* How many fragments a packet can have: some frames are left for what is received. */
static uint32_t fragments_max(const struct el_relay *relay)
{
	return relay->pool.count / 4;
}

uint32_t el_conn_ip_mtu(const struct el_conn *conn, int version)
{
	uint32_t room = el_conn_packet_mtu(conn, version), header = version == 4 ? IP4_HEADER : IP6_HEADER;
	uint32_t each = version == 4 ? header : header + FRAGMENT_HEADER;
	uint64_t most = room, limit = version == 4 ? UINT16_MAX : UINT16_MAX + IP6_HEADER;

	if (conn->fragment && room >= each + FRAGMENT_UNIT)
		most = header +
		       (uint64_t)((room - each) / FRAGMENT_UNIT * FRAGMENT_UNIT) * fragments_max(conn->ep.relay);
	if (most < room)
		most = room;
	return (uint32_t)(most < limit ? most : limit);
}

/* ---- fragments ---- */

/* One with `size` bytes from `at` on of the data. Returns where these go. */
static uint8_t *put_ip4(uint8_t *ip, const struct cut *cut, uint32_t at, uint32_t size, bool more)
{
	uint32_t header = at ? cut->later : cut->first;

	memcpy(ip, at ? cut->header : cut->packet, header);
	put16(ip + 2, header + size);
	put16(ip + 6, (get16(ip + 6) & 0x8000) | (more ? IP4_MF : 0) | (cut->offset + at) / FRAGMENT_UNIT);
	el_put_ip4_checksum(ip);
	return ip + header;
}

static uint8_t *put_ip6(uint8_t *ip, const struct cut *cut, uint32_t at, uint32_t size, bool more)
{
	uint8_t *fragment = ip + cut->first;

	memcpy(ip, cut->packet, cut->first);
	put16(ip + 4, cut->first - IP6_HEADER + FRAGMENT_HEADER + size);
	ip[cut->next] = EXTENSION_FRAGMENT;
	fragment[0] = cut->packet[cut->next];
	fragment[1] = 0;
	put16(fragment + 2, at | more); /* at is a multiple of FRAGMENT_UNIT: its low bits are free */
	put16(fragment + 4, cut->id >> 16);
	put16(fragment + 6, cut->id);
	return fragment + FRAGMENT_HEADER;
}

static uint32_t header_size(const struct cut *cut, uint32_t at, bool is_ip4)
{
	return is_ip4 ? (at ? cut->later : cut->first) : cut->first + FRAGMENT_HEADER;
}

int el_fragment_send(struct el_conn *conn, const uint8_t *packet, uint32_t len, const struct el_mac *dst,
                     uint16_t ethertype, const struct el_send_opts *opts)
{
	struct el_relay *relay = conn->ep.relay;
	struct cut cut = {.packet = packet};
	struct el_frame *frames;
	bool is_ip4 = ethertype == ETHERTYPE_IP4;
	uint32_t count, at = 0, room = el_conn_room(conn, ethertype, opts);
	int error;

	if ((!is_ip4 && ethertype != ETHERTYPE_IP6) || packet[0] >> 4 != (is_ip4 ? 4 : 6))
		return -EMSGSIZE;
	if (is_ip4 ? cut_ip4(&cut, len, room) : cut_ip6(&cut, len, room))
		return -EMSGSIZE;
	count = (cut.len + cut.chunk - 1) / cut.chunk;
	if (count > fragments_max(relay))
		return -EMSGSIZE;
	frames = el_relay_slots(relay, count, &error);
	if (!frames)
		return error;
	cut.id = is_ip4 ? 0 : id6(relay->fragmenter);
	for (struct el_frame *frame = frames; frame; frame = frame->next, at += cut.chunk) {
		uint32_t size = cut.len - at < cut.chunk ? cut.len - at : cut.chunk;
		bool more = cut.more || at + size < cut.len;
		uint8_t *ip = el_conn_header(conn, frame, header_size(&cut, at, is_ip4) + size, dst, ethertype, opts);

		memcpy((is_ip4 ? put_ip4 : put_ip6)(ip, &cut, at, size, more), packet + cut.first + at, size);
	}
	return el_relay_commit_all(relay, frames, count);
}
