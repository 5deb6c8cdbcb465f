/*
 * reassemble.c: what a fragment means for its packet, whose data incomplete.c keeps; and the packet that is whole.
 */
#include "reassemble.h"
#include "checksum.h"
#include "frame_memory.h"
#include "incomplete.h"
#include "kind.h"
#include "parse.h"
#include "pool.h"
#include "wire_format.h"

/* What the map says of each unit of the data: nothing is there, a fragment begins, it goes on. */
enum { HOLE, FIRST, MORE };

/* ---- fragments ---- */

static uint32_t units(uint32_t bytes)
{
	return (bytes + FRAGMENT_UNIT - 1) / FRAGMENT_UNIT;
}

static bool is_free(const struct el_incomplete *packet, const struct el_fragment *part)
{
	uint32_t to = units(part->offset + part->len), most = packet->capacity / FRAGMENT_UNIT;

	for (uint32_t i = part->offset / FRAGMENT_UNIT; i < to && i < most; i++)
		if (packet->map[i] != HOLE)
			return false;
	return true;
}

/* Whether all units of the fragment are there, from wherever they came. */
static bool is_there(const struct el_incomplete *packet, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (packet->map[i] == HOLE)
			return false;
	return true;
}

/* Whether one fragment brought exactly these units. */
static bool is_one(const struct el_incomplete *packet, uint32_t from, uint32_t to)
{
	if (packet->map[from] != FIRST)
		return false;
	for (uint32_t i = from + 1; i < to; i++)
		if (packet->map[i] != MORE)
			return false;
	return to >= packet->capacity / FRAGMENT_UNIT || packet->map[to] != MORE;
}

/*
 * The very same octets are there already, and end the packet as much as these do. Over IPv4 a packet may come by two
 * ways that cut it in other places (RFC 791 3.2), so any octets may have brought them; over IPv6, which no router
 * cuts, it was one fragment.
 */
static bool is_duplicate(const struct el_incomplete *packet, const struct el_frame *frame,
                         const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len, from = part->offset / FRAGMENT_UNIT, to = units(end);
	bool (*are_known)(const struct el_incomplete *, uint32_t, uint32_t) =
		packet->key.source.version == 4 ? is_there : is_one;

	return end <= packet->end && part->more != (end == packet->total) && are_known(packet, from, to) &&
	       !memcmp(packet->data + part->offset, frame->data + part->at, part->len);
}

/* The counter for what makes the packet bad when this fragment is of it; NULL: it fits. */
static uint64_t *fault_of(struct el_stats *stats, const struct el_incomplete *packet, const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len;

	if (part->more ? packet->total && end >= packet->total
	               : packet->end > end || (packet->total && packet->total != end))
		return &stats->rx_frag_invalid;
	return is_free(packet, part) ? NULL : &stats->rx_frag_overlap;
}

static bool add(struct el_relay *relay, struct el_incomplete *packet, const struct el_frame *frame,
                const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len, from = part->offset / FRAGMENT_UNIT;

	if (!el_incomplete_grow(relay, packet, end) ||
	    (!part->offset && !el_incomplete_head(relay, packet, frame, part)))
		return false;
	memcpy(packet->data + part->offset, frame->data + part->at, part->len);
	memset(packet->map + from, MORE, units(end) - from);
	packet->map[from] = FIRST;
	packet->have += part->len;
	packet->end = end > packet->end ? end : packet->end;
	if (!part->more)
		packet->total = end;
	packet->fragments++;
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what fault_of() returns is NULL only for no fault */
	relay->stats.rx_fragments++;
	return true;
}

/* ---- whole packets ---- */

/* Lengths and flags of the header become those of a whole packet. */
static void mend_header(const struct el_incomplete *packet, uint8_t *ip)
{
	uint32_t len = packet->head_len - packet->l3 + packet->total;

	if (packet->key.source.version == 4) {
		put16(ip + 2, len);
		put16(ip + 6, get16(ip + 6) & 0xc000); /* all but MF and the offset */
		el_put_ip4_checksum(ip);
	} else {
		put16(ip + 4, len - IP6_HEADER);
	}
}

/* The frame of a packet that is complete, which is gone then. NULL: it is too long with its header, or no memory. */
static struct el_frame *join(struct el_relay *relay, struct el_incomplete *packet, double timestamp)
{
	uint32_t len = packet->head_len - packet->l3 + packet->total;
	struct el_frame *frame;

	if (len > (packet->key.source.version == 4 ? UINT16_MAX : IP_MAX)) {
		el_incomplete_drop(relay, packet, &relay->stats.rx_frag_invalid);
		return NULL;
	}
	frame = el_relay_large_frame(relay, packet->l3 + len);
	if (!frame) {
		el_incomplete_drop(relay, packet, &relay->stats.rx_frag_limit);
		return NULL;
	}
	frame->len = packet->l3 + len;
	frame->flags &= EL_FRAME_LARGE; /* the others are of what was in it before */
	frame->timestamp = timestamp;
	memcpy(frame->data, packet->head, packet->head_len);
	memcpy(frame->data + packet->head_len, packet->data, packet->total);
	el_pool_seal(frame);
	mend_header(packet, frame->data + packet->l3);
	el_incomplete_drop(relay, packet, &relay->stats.rx_merged);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as in add() */
	relay->stats.rx_reassembled++;
	return frame;
}

static struct el_frame *discard(struct el_frame *frame, uint64_t *counter)
{
	++*counter;
	el_pool_put(frame);
	return NULL;
}

struct el_frame *el_reassemble(struct el_conn *conn, struct el_frame *frame)
{
	struct el_relay *relay = conn->ep.relay;
	struct el_stats *stats = &relay->stats;
	double timestamp = frame->timestamp;
	struct el_fragment part;
	struct el_incomplete *packet;
	uint64_t *fault;

	el_reassembly_expire(relay);
	if (el_fragment_parse(frame, &part))
		return discard(frame, &stats->rx_frag_invalid);
	packet = el_incomplete_of(conn, frame, &part);
	if (!packet)
		return discard(frame, &stats->rx_frag_limit);
	if (packet->bad)
		return discard(frame, packet->bad);
	if (is_duplicate(packet, frame, &part))
		return discard(frame, &stats->rx_frag_duplicate);
	fault = fault_of(stats, packet, &part);
	if (!fault && !add(relay, packet, frame, &part))
		fault = &stats->rx_frag_limit;
	if (fault) {
		el_incomplete_spoil(relay, packet, fault);
		return discard(frame, fault);
	}
	el_pool_put(frame);
	return packet->have == packet->total ? join(relay, packet, timestamp) : NULL;
}
