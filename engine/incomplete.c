/*
 * incomplete.c: packets are found by a hash table, and stand in two lists, oldest first: each IP version has a time of
 * its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "clock.h"
#include "frame.h"
#include "incomplete.h"
#include "kind.h"
#include "parse.h"
#include "table.h"
#include "wire_format.h"

enum {
	PACKETS_MAX = 4096,
	BYTES_MAX = 32 << 20,
	CAPACITY_MIN = 2048,
};

enum { IPV4, IPV6, VERSIONS };

static const double TIMEOUT[VERSIONS] = {30, 60}; /* seconds: ip(7) ipfrag_time of Linux, RFC 8200 4.5 */

struct el_reassembly {
	struct el_table by_key;
	struct {
		struct el_incomplete *oldest, **end;
	} age[VERSIONS];
	uint32_t packets;
	size_t bytes;
	uint64_t seed; /* of hashes: it is hard to choose many packets that share one */
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
	if (el_random(&self->seed, sizeof self->seed))
		self->seed = (uintptr_t)self;
	return 0;
}

/* ---- packets ---- */

static int version_of(const struct el_incomplete *packet)
{
	return packet->key.source.version == 4 ? IPV4 : IPV6;
}

static size_t size_of(const struct el_incomplete *packet)
{
	return sizeof *packet + packet->capacity + packet->capacity / FRAGMENT_UNIT + packet->head_len;
}

static uint32_t hash_of(const struct el_reassembly *self, const struct el_incomplete_key *key)
{
	struct el_key words = {{self->seed ^ (uintptr_t)key->conn}};

	memcpy(&words.word[1], key->source.ip, 16);
	words.word[0] ^= (uint64_t)el_key_hash(&words) << 32 ^ key->id;
	memcpy(&words.word[1], key->target.ip, 16);
	words.word[0] ^= (uint64_t)el_key_hash(&words) << 32 ^ key->l2.word[0] ^ key->protocol;
	memcpy(&words.word[1], &key->l2.word[1], 16);
	return el_key_hash(&words);
}

/* Its bytes go, and its fragments into the counter. */
static void empty(struct el_relay *relay, struct el_incomplete *packet, uint64_t *counter)
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

void el_incomplete_spoil(struct el_relay *relay, struct el_incomplete *packet, uint64_t *counter)
{
	empty(relay, packet, counter);
	packet->bad = counter;
}

void el_incomplete_drop(struct el_relay *relay, struct el_incomplete *packet, uint64_t *counter)
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

/* The oldest packet, `keep` left out; NULL when there is none. */
static struct el_incomplete *oldest(const struct el_reassembly *self, const struct el_incomplete *keep)
{
	struct el_incomplete *found = NULL;

	for (int i = 0; i < VERSIONS; i++) {
		struct el_incomplete *packet = self->age[i].oldest;

		if (packet && packet == keep)
			packet = packet->newer;
		if (packet && (!found || packet->born < found->born))
			found = packet;
	}
	return found;
}

/* Drops old packets until there is room for so many bytes more, which are for `keep` or a new packet. */
static void make_room(struct el_relay *relay, size_t bytes, const struct el_incomplete *keep)
{
	struct el_reassembly *self = relay->reassembly;
	struct el_incomplete *victim;

	while (self->bytes + bytes > BYTES_MAX || (!keep && self->packets >= PACKETS_MAX)) {
		victim = oldest(self, keep);
		if (!victim)
			return;
		el_incomplete_drop(relay, victim, &relay->stats.rx_frag_limit);
	}
}

static struct el_incomplete *new_packet(struct el_relay *relay, const struct el_incomplete_key *key, uint32_t hash)
{
	struct el_reassembly *self = relay->reassembly;
	struct el_incomplete *packet;
	int version;

	make_room(relay, sizeof *packet, NULL);
	packet = calloc(1, sizeof *packet);
	if (!packet)
		return NULL;
	packet->key = *key;
	packet->born = el_clock_now(relay->engine);
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

static void set_l2(struct el_incomplete_key *key, const struct el_frame *frame)
{
	struct el_vlans vlans;
	struct el_mac mac;

	memcpy(mac.byte, frame->data, sizeof mac.byte);
	el_frame_vlans(frame, &vlans);
	el_key_make(&key->l2, &mac, &vlans);
}

struct el_incomplete *el_incomplete_of(struct el_conn *conn, const struct el_frame *frame,
                                       const struct el_fragment *part)
{
	struct el_reassembly *self = conn->ep.relay->reassembly;
	struct el_node *node;
	struct el_incomplete_key key;
	uint32_t hash;

	memset(&key, 0, sizeof key);
	key.conn = conn;
	if (conn->is_default)
		set_l2(&key, frame);
	el_frame_source(frame, &key.source);
	el_frame_target(frame, &key.target);
	key.id = part->id;
	key.protocol = frame->flags & EL_FRAME_IP4 ? part->protocol : 0;
	hash = hash_of(self, &key);
	for (node = el_table_chain(&self->by_key, hash); node; node = node->next) {
		struct el_incomplete *packet = container_of(node, struct el_incomplete, by_key);

		if (node->hash == hash && !memcmp(&packet->key, &key, sizeof key))
			return packet;
	}
	return new_packet(conn->ep.relay, &key, hash);
}

/* ---- what is in them ---- */

bool el_incomplete_grow(struct el_relay *relay, struct el_incomplete *packet, uint32_t end)
{
	uint32_t old = packet->capacity, capacity = old ? old : CAPACITY_MIN;
	uint8_t *data, *map;

	while (capacity < end)
		capacity *= 2;
	if (capacity == old)
		return true;
	make_room(relay, capacity - old + (capacity - old) / FRAGMENT_UNIT, packet);
	data = realloc(packet->data, capacity);
	packet->data = data ? data : packet->data;
	map = realloc(packet->map, capacity / FRAGMENT_UNIT);
	packet->map = map ? map : packet->map;
	if (!data || !map)
		return false;
	memset(map + old / FRAGMENT_UNIT, 0, (capacity - old) / FRAGMENT_UNIT);
	relay->reassembly->bytes -= size_of(packet);
	packet->capacity = capacity;
	relay->reassembly->bytes += size_of(packet);
	return true;
}

bool el_incomplete_head(struct el_relay *relay, struct el_incomplete *packet, const struct el_frame *frame,
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

/* ---- the end ---- */

void el_reassembly_expire(struct el_relay *relay)
{
	struct el_reassembly *self = relay->reassembly;

	for (int i = 0; i < VERSIONS; i++)
		while (self->age[i].oldest && el_clock_now(relay->engine) - self->age[i].oldest->born >= TIMEOUT[i])
			el_incomplete_drop(relay, self->age[i].oldest, &relay->stats.rx_frag_timeout);
}

void el_reassembly_forget(const struct el_conn *conn)
{
	struct el_relay *relay = conn->ep.relay;

	for (int i = 0; i < VERSIONS; i++)
		for (struct el_incomplete *packet = relay->reassembly->age[i].oldest, *newer; packet; packet = newer) {
			newer = packet->newer;
			if (packet->key.conn == conn)
				el_incomplete_drop(relay, packet, &relay->stats.rx_closed);
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
