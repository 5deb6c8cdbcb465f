/*
 * reassemble.c: puts fragments together to whole packets (RFC 791 3.2, RFC 8200 4.5), for EtherConns that were opened
 * for it. A relay has one struct el_reassembly, which keeps a copy of the data that came so far of each incomplete packet
 * and its first header; the frame of a fragment goes back to the pool at once. Packets and bytes are bounded: the oldest
 * packet goes when there are more. A whole packet is a new frame, which is the caller's.
 *
 * Fragments that overlap, or contradict each other about where the packet ends, make the packet bad as a whole, over IPv4
 * as over IPv6 (RFC 5722): what is still to come of it is thrown away, too, until its time is over. The very same
 * fragment once more is no overlap. What differs in the headers of later fragments is not looked at, and no ICMP errors
 * are sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "checksum.h"
#include "core.h"

enum {
	PACKETS_MAX = 4096,
	BYTES_MAX = 32 << 20,
	UNIT = 8, /* offsets count these */
	CAPACITY_MIN = 2048,
};

/* What the map says of each unit of the data. */
enum { HOLE, FIRST, MORE }; /* nothing there; a fragment begins; it goes on */

enum { IPV4, IPV6, VERSIONS };

static const double TIMEOUT[VERSIONS] = {30, 60}; /* seconds: ip(7) ipfrag_time of Linux, RFC 8200 4.5 */

/* What fragments of one packet have in common. Compared as bytes. */
struct key {
	const struct el_conn *conn;
	struct el_addr source, target;
	uint32_t id;
	uint32_t protocol; /* IPv4 only */
};

struct packet {
	struct el_node by_key;
	struct packet *newer, **link; /* of the same IP version */
	struct key key;
	double born;
	uint64_t *bad;      /* the counter for its fragments; NULL: nothing is wrong with it */
	uint32_t fragments; /* that are in it */
	uint32_t have, end; /* bytes of data that are there; where the last of them ends */
	uint32_t total;     /* bytes that it will have, 0: not known yet */
	uint32_t capacity;  /* of data, a multiple of UNIT; map has a byte for each UNIT of it */
	uint8_t *data, *map;
	uint8_t *head; /* what stands in front of the data: frame and IP header of the first fragment */
	uint32_t head_len, l3;
};

struct el_reassembly {
	struct el_table by_key;
	struct {
		struct packet *oldest, **end;
	} age[VERSIONS];
	uint32_t packets;
	size_t bytes;
	uint64_t seed; /* of hashes: nobody outside can choose packets that share one */
};

int el_reassembly_open(struct el_relay *relay)
{
	struct el_reassembly *self = relay->reassembly;

	if (self)
		return 0;
	self = relay->reassembly = calloc(1, sizeof *self);
	if (!self)
		return -ENOMEM;
	for (int i = 0; i < VERSIONS; i++)
		self->age[i].end = &self->age[i].oldest;
	if (getrandom(&self->seed, sizeof self->seed, GRND_NONBLOCK) < 0)
		self->seed = (uintptr_t)self;
	return 0;
}

/* ---- packets ---- */

static int version_of(const struct packet *packet)
{
	return packet->key.source.version == 4 ? IPV4 : IPV6;
}

static size_t size_of(const struct packet *packet)
{
	return sizeof *packet + packet->capacity + packet->capacity / UNIT + packet->head_len;
}

static uint32_t hash_of(const struct el_reassembly *self, const struct key *key)
{
	struct el_key words = {{self->seed ^ (uintptr_t)key->conn ^ (uint64_t)key->id << 32 ^ key->protocol, 0, 0}};
	uint64_t part[4];

	memcpy(part, key->source.ip, 16);
	memcpy(part + 2, key->target.ip, 16);
	words.word[1] = part[0] * 31 + part[1];
	words.word[2] = part[2] * 31 + part[3];
	return el_key_hash(&words);
}

/* Its bytes go, and its fragments into the counter. */
static void empty(struct el_relay *relay, struct packet *packet, uint64_t *counter)
{
	relay->stats.rx_fragments -= packet->fragments;
	*counter += packet->fragments;
	relay->reassembly->bytes -= size_of(packet);
	free(packet->data);
	free(packet->map);
	free(packet->head);
	packet->data = packet->map = packet->head = NULL;
	packet->fragments = packet->capacity = packet->head_len = 0;
	relay->reassembly->bytes += size_of(packet);
}

/* It stays, without its bytes, so that what is still to come of it is known to be bad. */
static void spoil(struct el_relay *relay, struct packet *packet, uint64_t *counter)
{
	empty(relay, packet, counter);
	packet->bad = counter;
}

static void drop(struct el_relay *relay, struct packet *packet, uint64_t *counter)
{
	struct el_reassembly *self = relay->reassembly;

	empty(relay, packet, counter);
	el_table_remove(&self->by_key, &packet->by_key);
	*packet->link = packet->newer;
	if (packet->newer)
		packet->newer->link = packet->link;
	else
		self->age[version_of(packet)].end = packet->link;
	self->packets--;
	self->bytes -= size_of(packet);
	free(packet);
}

/* The oldest packet but `but`; NULL when there is no other. */
static struct packet *oldest(const struct el_reassembly *self, const struct packet *but)
{
	struct packet *found = NULL;

	for (int i = 0; i < VERSIONS; i++) {
		struct packet *packet = self->age[i].oldest;

		if (packet && packet == but)
			packet = packet->newer;
		if (packet && (!found || packet->born < found->born))
			found = packet;
	}
	return found;
}

/* Drops old packets until there is room for so many bytes more, which are for `keep` or a new packet. */
static void make_room(struct el_relay *relay, size_t bytes, const struct packet *keep)
{
	struct el_reassembly *self = relay->reassembly;
	struct packet *victim;

	while (self->bytes + bytes > BYTES_MAX || (!keep && self->packets >= PACKETS_MAX)) {
		victim = oldest(self, keep);
		if (!victim)
			return;
		drop(relay, victim, &relay->stats.rx_frag_limit);
	}
}

static struct packet *new_packet(struct el_relay *relay, const struct key *key, uint32_t hash)
{
	struct el_reassembly *self = relay->reassembly;
	struct packet *packet;
	int version;

	make_room(relay, sizeof *packet, NULL);
	packet = calloc(1, sizeof *packet);
	if (!packet)
		return NULL;
	packet->key = *key;
	packet->born = relay->engine->now;
	if (el_table_add(&self->by_key, &packet->by_key, hash)) {
		free(packet);
		return NULL;
	}
	version = version_of(packet);
	packet->link = self->age[version].end;
	*packet->link = packet;
	self->age[version].end = &packet->newer;
	self->packets++;
	self->bytes += size_of(packet);
	return packet;
}

/* The packet that the fragment is of: a new one when it is the first to come. NULL: no memory. */
static struct packet *packet_of(struct el_conn *conn, const struct el_frame *frame, const struct el_fragment *part)
{
	struct el_reassembly *self = conn->ep.relay->reassembly;
	struct el_node *node;
	struct key key;
	uint32_t hash;

	memset(&key, 0, sizeof key);
	key.conn = conn;
	el_frame_source(frame, &key.source);
	el_frame_target(frame, &key.target);
	key.id = part->id;
	key.protocol = frame->flags & EL_FRAME_IP4 ? part->protocol : 0;
	hash = hash_of(self, &key);
	for (node = el_table_chain(&self->by_key, hash); node; node = node->next) {
		struct packet *packet = container_of(node, struct packet, by_key);

		if (node->hash == hash && !memcmp(&packet->key, &key, sizeof key))
			return packet;
	}
	return new_packet(conn->ep.relay, &key, hash);
}

/* ---- fragments ---- */

static uint32_t units(uint32_t bytes)
{
	return (bytes + UNIT - 1) / UNIT;
}

static bool is_free(const struct packet *packet, const struct el_fragment *part)
{
	uint32_t to = units(part->offset + part->len), most = packet->capacity / UNIT;

	for (uint32_t i = part->offset / UNIT; i < to && i < most; i++)
		if (packet->map[i] != HOLE)
			return false;
	return true;
}

/* The very same octets are there as a fragment already, and it was as much the last one as this is. */
static bool is_duplicate(const struct packet *packet, const struct el_frame *frame, const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len, from = part->offset / UNIT, to = units(end);

	if (end > packet->end || part->more == (end == packet->total) || packet->map[from] != FIRST)
		return false;
	for (uint32_t i = from + 1; i < to; i++)
		if (packet->map[i] != MORE)
			return false;
	if (to < packet->capacity / UNIT && packet->map[to] == MORE)
		return false;
	return !memcmp(packet->data + part->offset, frame->data + part->at, part->len);
}

/* The counter for what makes the packet bad when this fragment is of it; NULL: it fits. */
static uint64_t *fault_of(struct el_stats *stats, const struct packet *packet, const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len;

	if (part->more ? packet->total && end >= packet->total
	               : packet->end > end || (packet->total && packet->total != end))
		return &stats->rx_frag_invalid;
	return is_free(packet, part) ? NULL : &stats->rx_frag_overlap;
}

/* Makes room for data up to `end`. */
static bool grow(struct el_relay *relay, struct packet *packet, uint32_t end)
{
	uint32_t old = packet->capacity, capacity = old ? old : CAPACITY_MIN;
	uint8_t *data, *map;

	while (capacity < end)
		capacity *= 2;
	if (capacity == old)
		return true;
	make_room(relay, capacity - old + (capacity - old) / UNIT, packet);
	data = realloc(packet->data, capacity);
	packet->data = data ? data : packet->data;
	map = realloc(packet->map, capacity / UNIT);
	packet->map = map ? map : packet->map;
	if (!data || !map)
		return false;
	memset(map + old / UNIT, HOLE, (capacity - old) / UNIT);
	relay->reassembly->bytes -= size_of(packet);
	packet->capacity = capacity;
	relay->reassembly->bytes += size_of(packet);
	return true;
}

/* Of the first fragment: everything in front of the data, but not the fragment header of IPv6. */
static bool keep_head(struct el_relay *relay, struct packet *packet, const struct el_frame *frame,
                      const struct el_fragment *part)
{
	packet->head = malloc(part->head_len);
	if (!packet->head)
		return false;
	memcpy(packet->head, frame->data, part->head_len);
	if (part->next)
		packet->head[part->next] = part->protocol;
	packet->head_len = part->head_len;
	packet->l3 = frame->l3;
	relay->reassembly->bytes += part->head_len;
	return true;
}

static bool add(struct el_relay *relay, struct packet *packet, const struct el_frame *frame,
                const struct el_fragment *part)
{
	uint32_t end = part->offset + part->len, from = part->offset / UNIT;

	if (!grow(relay, packet, end) || (!part->offset && !keep_head(relay, packet, frame, part)))
		return false;
	memcpy(packet->data + part->offset, frame->data + part->at, part->len);
	memset(packet->map + from, MORE, units(end) - from);
	packet->map[from] = FIRST;
	packet->have += part->len;
	packet->end = end > packet->end ? end : packet->end;
	if (!part->more)
		packet->total = end;
	packet->fragments++;
	relay->stats.rx_fragments++;
	return true;
}

/* ---- whole packets ---- */

/* Lengths and flags of the header become those of a whole packet. */
static void mend_header(const struct packet *packet, uint8_t *ip)
{
	uint32_t len = packet->head_len - packet->l3 + packet->total;

	if (version_of(packet) == IPV4) {
		put16(ip + 2, len);
		put16(ip + 6, get16(ip + 6) & 0xc000); /* all but MF and the offset */
		el_put_ip4_checksum(ip);
	} else {
		put16(ip + 4, len - IP6_HEADER);
	}
}

/* The frame of a packet that is complete, which is gone then. NULL: it is too long with its header, or no memory. */
static struct el_frame *join(struct el_relay *relay, struct packet *packet, double timestamp)
{
	uint32_t len = packet->head_len - packet->l3 + packet->total;
	struct el_frame *frame;

	if (len > (version_of(packet) == IPV4 ? UINT16_MAX : EL_IP_MAX)) {
		drop(relay, packet, &relay->stats.rx_frag_invalid);
		return NULL;
	}
	frame = el_relay_large_frame(relay, packet->l3 + len);
	if (!frame) {
		drop(relay, packet, &relay->stats.rx_frag_limit);
		return NULL;
	}
	frame->len = packet->l3 + len;
	frame->flags &= EL_FRAME_LARGE; /* the others are of what was in it before */
	frame->timestamp = timestamp;
	memcpy(frame->data, packet->head, packet->head_len);
	memcpy(frame->data + packet->head_len, packet->data, packet->total);
	mend_header(packet, frame->data + packet->l3);
	drop(relay, packet, &relay->stats.rx_merged);
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
	struct packet *packet;
	uint64_t *fault;

	el_reassembly_expire(relay);
	if (el_fragment_parse(frame, &part))
		return discard(frame, &stats->rx_frag_invalid);
	packet = packet_of(conn, frame, &part);
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
		spoil(relay, packet, fault);
		return discard(frame, fault);
	}
	el_pool_put(frame);
	return packet->have == packet->total ? join(relay, packet, timestamp) : NULL;
}

/* ---- the end ---- */

void el_reassembly_expire(struct el_relay *relay)
{
	struct el_reassembly *self = relay->reassembly;

	for (int i = 0; i < VERSIONS; i++)
		while (self->age[i].oldest && relay->engine->now - self->age[i].oldest->born >= TIMEOUT[i])
			drop(relay, self->age[i].oldest, &relay->stats.rx_frag_timeout);
}

void el_reassembly_forget(const struct el_conn *conn)
{
	struct el_relay *relay = conn->ep.relay;

	for (int i = 0; i < VERSIONS; i++)
		for (struct packet *packet = relay->reassembly->age[i].oldest, *newer; packet; packet = newer) {
			newer = packet->newer;
			if (packet->key.conn == conn)
				drop(relay, packet, &relay->stats.rx_closed);
		}
}

void el_reassembly_close(struct el_relay *relay)
{
	if (!relay->reassembly)
		return;
	el_table_close(&relay->reassembly->by_key); /* conns are closed: there are no packets */
	free(relay->reassembly);
	relay->reassembly = NULL;
}
