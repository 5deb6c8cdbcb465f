/*
 * demux.c: looks receivers up in the relay's tables and hands the frame out. The receiver that was found last waits
 * until the next one is found, so that all but the last of all get a copy.
 */
#include <errno.h>

#include "clock.h"
#include "demux.h"
#include "endpoint.h"
#include "frame.h"
#include "frame_memory.h"
#include "kind.h"
#include "parse.h"
#include "pool.h"
#include "reassemble.h"
#include "wire_format.h"

/* ---- looking up ---- */

static bool claims(const struct el_conn *conn, uint16_t ethertype)
{
	if (!conn->ethertypes[0])
		return true;
	for (int i = 0; i < EL_ETHERTYPES_MAX && conn->ethertypes[i]; i++)
		if (conn->ethertypes[i] == ethertype)
			return true;
	return false;
}

struct el_conn *el_demux_conn(struct el_relay *relay, const struct el_key *key, uint32_t hash, uint16_t ethertype)
{
	struct el_node *node = el_table_chain(&relay->by_key, hash);

	for (; node; node = node->next) {
		struct el_conn *conn = container_of(node, struct el_conn, by_key);

		if (node->hash == hash && !memcmp(conn->key, key, sizeof *key) && claims(conn, ethertype))
			return conn;
	}
	return NULL;
}

uint32_t el_demux_udp_hash(const struct el_conn *conn, const struct el_addr *local)
{
	struct el_key key = {{(uintptr_t)conn ^ (uint64_t)local->port << 48, 0, 0}};

	memcpy(&key.word[1], local->ip, sizeof local->ip);
	return el_key_hash(&key);
}

static bool same_addr(const struct el_addr *a, const struct el_addr *b)
{
	return !memcmp(a, b, sizeof *a);
}

static struct el_udp *udp_at(const struct el_conn *conn, const struct el_addr *local, const struct el_addr *source)
{
	uint32_t hash = el_demux_udp_hash(conn, local);
	struct el_node *node = el_table_chain(&conn->ep.relay->udps, hash);

	for (; node; node = node->next) {
		struct el_udp *udp = container_of(node, struct el_udp, by_key);

		if (node->hash != hash || udp->owner != conn || !same_addr(&udp->local, local))
			continue;
		if (!source || !udp->peer.version || same_addr(&udp->peer, source))
			return udp;
	}
	return NULL;
}

struct el_udp *el_demux_udp_exact(const struct el_conn *conn, const struct el_addr *local)
{
	return udp_at(conn, local, NULL);
}

/* The RUDPConn of the address and port, else of the port at any address, else the one that accepts any. */
static struct el_udp *udp_for(const struct el_conn *conn, const struct el_frame *frame)
{
	struct el_addr target, source;
	struct el_udp *udp;

	el_frame_target(frame, &target);
	el_frame_source(frame, &source);
	udp = udp_at(conn, &target, &source);
	if (udp)
		return udp;
	memset(target.ip, 0, sizeof target.ip);
	udp = udp_at(conn, &target, &source);
	if (udp)
		return udp;
	udp = conn->any;
	return udp && udp->peer.version && !same_addr(&udp->peer, &source) ? NULL : udp;
}

/* ---- handing out ---- */

/* A frame on its way; the receiver found last waits here, so that the last of all gets the frame itself. */
struct delivery {
	struct el_relay *relay;
	struct el_frame *frame;
	struct el_endpoint *last;
	uint32_t conn; /* id of the EtherConn that `last` is on */
};

static struct el_frame *copy_of(struct el_relay *relay, const struct el_frame *frame)
{
	struct el_frame *copy = el_relay_large_frame(relay, frame->len);
	uint8_t *data;

	relay->stats.rx_copies++;
	if (!copy) {
		relay->stats.rx_no_memory++;
		return NULL;
	}
	data = copy->data;
	memcpy(data, frame->data, frame->len);
	*copy = *frame; /* of the same pool and length, so both are large or neither is */
	copy->data = data;
	copy->pool = &relay->pool;
	copy->flags |= EL_FRAME_COPY;
	copy->state = EL_FRAME_OWNED;
	el_pool_seal(copy);
	return copy;
}

static void merge(struct el_conn *conn, struct el_frame *fragment);

static void push(struct el_endpoint *ep, struct el_frame *frame)
{
	if (unlikely(frame->flags & EL_FRAME_FRAGMENT) && ep->kind == EL_CONN &&
	    container_of(ep, struct el_conn, ep)->reassemble)
		merge(container_of(ep, struct el_conn, ep), frame);
	else
		el_endpoint_push(ep, frame);
}

static void give(struct delivery *delivery, const struct el_conn *conn, struct el_endpoint *ep)
{
	if (delivery->last) {
		struct el_frame *copy = copy_of(delivery->relay, delivery->frame);

		if (copy) {
			copy->conn = delivery->conn;
			push(delivery->last, copy);
		}
	}
	delivery->last = ep;
	delivery->conn = conn->ep.id;
}

/* Whether this is what the relay's tap receives of conn; for_udp: some RUDPConn claims it. */
static bool is_tapped(const struct el_conn *conn, const struct el_frame *frame, bool for_udp)
{
	if (frame->ethertype == ETHERTYPE_ARP || (frame->protocol == PROTO_ICMP6 && frame->l4))
		return conn->tapped & EL_TAP_NEIGHBOUR;
	if (frame->protocol == PROTO_ICMP && frame->flags & EL_FRAME_IP4 && frame->l4)
		return conn->tapped & EL_TAP_ICMP;
	return frame->flags & EL_FRAME_UDP && !for_udp && conn->tapped & EL_TAP_UDP;
}

static void give_conn(struct delivery *delivery, struct el_conn *conn)
{
	const struct el_frame *frame = delivery->frame;
	struct el_udp *udp = conn->udps && frame->flags & EL_FRAME_UDP ? udp_for(conn, frame) : NULL;

	if (conn->tapped && is_tapped(conn, frame, udp)) {
		if (!(frame->flags & EL_FRAME_GROUP) || conn->mac.byte[0] & 1)
			give(delivery, conn, delivery->relay->tap);
		if (!(conn->tapped & EL_TAP_COPY))
			return;
	}
	give(delivery, conn, udp ? &udp->ep : &conn->ep);
}

/* Messages of neighbour discovery are never fragmented: RFC 6980 section 5. */
static bool is_discovery(const struct el_frame *frame)
{
	uint8_t type;

	if (frame->protocol != PROTO_ICMP6 || !frame->l4 || frame->l4 >= frame->l3 + frame->l3_len)
		return false;
	type = frame->data[frame->l4];
	return type >= ND_FIRST && type <= ND_LAST;
}

/*
 * Gives a fragment to the reassembly, and to conn the packet that it completed. That one may say that it is a
 * fragment, too: somebody cut a fragment once more. Then conn gets it as it is.
 */
static void merge(struct el_conn *conn, struct el_frame *fragment)
{
	struct delivery delivery = {conn->ep.relay, el_reassemble(conn, fragment), NULL, 0};
	struct el_key key;

	if (!delivery.frame)
		return;
	if (el_frame_parse(delivery.frame, &key) || is_discovery(delivery.frame)) {
		delivery.relay->stats.rx_invalid++;
		el_pool_put(delivery.frame);
		return;
	}
	give_conn(&delivery, conn);
	if (!delivery.last) { /* a group frame that the tap has from another EtherConn */
		delivery.relay->stats.rx_unclaimed++;
		el_pool_put(delivery.frame);
		return;
	}
	delivery.frame->conn = delivery.conn;
	el_endpoint_push(delivery.last, delivery.frame);
}

/* ---- the receivers of a frame ---- */

/*
 * The EtherConn of MAC address and VLAN stack; else, as a tag of VID 0 is no VLAN, that of the stack without those
 * (IEEE 802.1Q 9.6).
 */
static struct el_conn *addressed_conn(struct el_relay *relay, const struct el_frame *frame, const struct el_key *key)
{
	struct el_conn *conn = el_demux_conn(relay, key, el_key_hash(key), frame->ethertype);
	struct el_key rest;

	if (conn || !frame->tags)
		return conn;
	rest = *key;
	return el_key_strip_vid0(&rest) ? el_demux_conn(relay, &rest, el_key_hash(&rest), frame->ethertype) : NULL;
}

/* Whether the station of conn has another EtherConn that hears group frames with the very stack of key. */
static bool is_heard_exactly(const struct el_conn *conn, const struct el_frame *frame, struct el_key key)
{
	const struct el_conn *other;

	el_key_set_mac(&key, &conn->mac);
	other = el_demux_conn(conn->ep.relay, &key, el_key_hash(&key), frame->ethertype);
	return other && other->multicast;
}

/*
 * Gives a group frame to the EtherConns of its VLAN stack but the one that it was addressed to. exact: the stack has
 * no tags of VID 0 any more, and this is the one with them; else NULL.
 */
static void give_stack(struct delivery *delivery, struct el_key stack, const struct el_conn *addressed,
                       const struct el_key *exact)
{
	const struct el_frame *frame = delivery->frame;
	struct el_node *node;
	uint32_t hash;

	el_key_strip_mac(&stack);
	hash = el_key_hash(&stack);
	for (node = el_table_chain(&delivery->relay->by_group, hash); node; node = node->next) {
		struct el_conn *conn = container_of(node, struct el_conn, by_group);
		struct el_key own = {{conn->key[0], conn->key[1], conn->key[2]}};

		el_key_strip_mac(&own);
		if (node->hash == hash && !memcmp(&own, &stack, sizeof own) && conn != addressed &&
		    claims(conn, frame->ethertype) && !(exact && is_heard_exactly(conn, frame, *exact)))
			give_conn(delivery, conn);
	}
}

static void give_group(struct delivery *delivery, const struct el_key *key, const struct el_conn *addressed)
{
	const struct el_frame *frame = delivery->frame;
	struct el_key rest = *key;
	struct el_node *node;

	give_stack(delivery, *key, addressed, NULL);
	if (unlikely(frame->tags) && el_key_strip_vid0(&rest))
		give_stack(delivery, rest, addressed, key);
	for (node = delivery->relay->promiscuous; node; node = node->next) {
		struct el_conn *conn = container_of(node, struct el_conn, by_group);

		if (conn != addressed && claims(conn, frame->ethertype))
			give_conn(delivery, conn);
	}
}

void el_demux(struct el_relay *relay, struct el_frame *frame, const struct el_key *key)
{
	struct delivery delivery = {relay, frame, NULL, 0};
	struct el_conn *rest = relay->default_conn;

	if (likely(!(frame->flags & EL_FRAME_OUTGOING))) {
		struct el_conn *conn = addressed_conn(relay, frame, key);

		if (conn)
			give_conn(&delivery, conn);
		if (frame->flags & EL_FRAME_GROUP)
			give_group(&delivery, key, conn);
	}
	if (rest && (!delivery.last || rest->mirror))
		give_conn(&delivery, rest);
	if (delivery.last) {
		frame->conn = delivery.conn;
		push(delivery.last, frame);
	} else {
		relay->stats.rx_unclaimed++;
		el_pool_put(frame);
	}
}

/* Its offsets say that all of it is payload, so that nobody looks for a header in it. */
void el_demux_invalid(struct el_relay *relay, struct el_frame *frame)
{
	struct el_conn *rest = relay->default_conn;

	if (!rest || !rest->invalid) {
		relay->stats.rx_invalid++;
		el_pool_put(frame);
		return;
	}
	frame->flags = (frame->flags & (EL_FRAME_OUTGOING | EL_FRAME_COPY | EL_FRAME_LARGE)) | EL_FRAME_INVALID;
	frame->tags = frame->protocol = 0;
	frame->ethertype = frame->l3 = frame->l4 = 0;
	frame->l3_len = frame->len;
	frame->conn = rest->ep.id;
	push(&rest->ep, frame);
}

void el_demux_mirror(struct el_relay *relay, const struct el_frame *frame)
{
	struct el_conn *mirror = relay->default_conn;
	struct el_frame *copy;
	struct el_key key;

	if (!mirror || !mirror->mirror || !(copy = copy_of(relay, frame)))
		return;
	copy->flags = (copy->flags & EL_FRAME_LARGE) | EL_FRAME_OUTGOING;
	copy->timestamp = el_clock_now(relay->engine);
	if (el_frame_parse(copy, &key)) {
		el_demux_invalid(relay, copy);
		return;
	}
	copy->flags |= EL_FRAME_COPY;
	push(&mirror->ep, copy);
}
