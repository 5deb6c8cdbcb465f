/*
 * conn.c: EtherConn, an Ethernet endpoint: MAC address, VLAN stack, EtherTypes. It writes the Ethernet header of
 * everything that it or its RUDPConns send; what it receives is the demux's business. The caller owns the struct.
 */
#include <errno.h>
#include <stdlib.h>

#include "core.h"

bool el_conn_claims(const struct el_conn *conn, uint16_t ethertype)
{
	if (!conn->ethertypes[0])
		return true;
	for (int i = 0; i < EL_ETHERTYPES_MAX && conn->ethertypes[i]; i++)
		if (conn->ethertypes[i] == ethertype)
			return true;
	return false;
}

static uint8_t *put_tags(uint8_t *p, const struct el_vlans *vlans)
{
	for (uint32_t i = 0; i < vlans->count; i++, p += TAG_LEN) {
		put16(p, vlans->tag[i].tpid);
		put16(p + 2, vlans->tag[i].tci);
	}
	return p;
}

static void make_header(struct el_conn *conn)
{
	memcpy(conn->header + 6, conn->mac.byte, 6);
	conn->header_len = (uint8_t)(put_tags(conn->header + 12, &conn->vlans) - conn->header);
}

/* Another EtherConn that already claims one of this one's EtherTypes. */
static bool taken(struct el_relay *relay, const struct el_conn *conn, const struct el_key *key, uint32_t hash)
{
	struct el_node *node = el_table_chain(&relay->by_key, hash);

	for (; !conn->ethertypes[0] && node; node = node->next)
		if (node->hash == hash && !memcmp(container_of(node, struct el_conn, by_key)->key, key, sizeof *key))
			return true;
	for (int i = 0; i < EL_ETHERTYPES_MAX && conn->ethertypes[i]; i++)
		if (el_demux_conn(relay, key, hash, conn->ethertypes[i]))
			return true;
	return false;
}

static int join_groups(struct el_relay *relay, struct el_conn *conn, struct el_key key)
{
	if (conn->multicast == EL_MULTICAST_ALL)
		el_list_add(&relay->promiscuous, &conn->by_group);
	if (conn->multicast != EL_MULTICAST_OWN)
		return 0;
	el_key_strip_mac(&key);
	return el_table_add(&relay->by_group, &conn->by_group, el_key_hash(&key));
}

/* Tells the kind, unless others of the same MAC and VLAN stack are still there. */
static int claim(struct el_relay *relay, const struct el_conn *conn, bool on)
{
	struct el_node *node = conn->is_default ? NULL : el_table_chain(&relay->by_key, conn->by_key.hash);

	if (!relay->kind->claim)
		return 0;
	for (; !on && node; node = node->next)
		if (!memcmp(container_of(node, struct el_conn, by_key)->key, conn->key, sizeof conn->key))
			return 0;
	return relay->kind->claim(relay, conn, on);
}

static void leave(struct el_relay *relay, struct el_conn *conn)
{
	if (relay->default_conn == conn)
		relay->default_conn = NULL;
	el_table_remove(&relay->by_key, &conn->by_key);
	if (conn->multicast == EL_MULTICAST_OWN)
		el_table_remove(&relay->by_group, &conn->by_group);
	el_node_unlink(&conn->by_group);
	el_node_unlink(&conn->by_relay);
	claim(relay, conn, false);
}

static int join(struct el_relay *relay, struct el_conn *conn, char err[EL_ERR_MAX])
{
	struct el_key key;
	uint32_t hash;

	el_key_make(&key, &conn->mac, &conn->vlans);
	memcpy(conn->key, &key, sizeof key);
	if (conn->is_default) {
		if (relay->default_conn)
			return el_fail(err, -EADDRINUSE, "the relay has a default endpoint already");
		relay->default_conn = conn;
		return claim(relay, conn, true);
	}
	hash = el_key_hash(&key);
	if (taken(relay, conn, &key, hash))
		return el_fail(err, -EADDRINUSE, "MAC, VLAN stack and EtherType are in use by another EtherConn");
	if (el_table_add(&relay->by_key, &conn->by_key, hash) || join_groups(relay, conn, key)) {
		leave(relay, conn);
		return el_fail(err, -ENOMEM, "out of memory");
	}
	el_list_add(&relay->conns, &conn->by_relay);
	if (claim(relay, conn, true)) {
		leave(relay, conn);
		return el_fail(err, -ENOSPC, "the interface takes no more endpoints");
	}
	return 0;
}

/* What the relay has only for those who need it. */
static int open_parts(struct el_relay *relay, const struct el_conn *conn, char err[EL_ERR_MAX])
{
	if ((conn->fragment && el_fragmenter_open(relay)) || (conn->reassemble && el_reassembly_open(relay)))
		return el_fail(err, -ENOMEM, "out of memory");
	return 0;
}

struct el_conn *el_conn_open(struct el_relay *relay, const struct el_conn_opts *opts, char err[EL_ERR_MAX])
{
	struct el_conn *conn = calloc(1, sizeof *conn);

	if (!conn) {
		el_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	conn->mac = opts->mac;
	conn->vlans = opts->vlans;
	conn->multicast = (uint8_t)opts->multicast;
	conn->is_default = opts->is_default != 0;
	conn->mirror = opts->mirror != 0;
	conn->fragment = opts->fragment != 0;
	conn->reassemble = opts->reassemble != 0;
	conn->invalid = opts->invalid != 0;
	memcpy(conn->ethertypes, opts->ethertypes, sizeof conn->ethertypes);
	make_header(conn);
	if (open_parts(relay, conn, err) || join(relay, conn, err)) {
		free(conn);
		return NULL;
	}
	el_endpoint_open(&conn->ep, relay, EL_CONN, opts->recv_depth, opts->id);
	live_conns++;
	return conn;
}

void el_conn_close(struct el_conn *conn)
{
	if (!conn->ep.relay)
		return;
	while (conn->udps)
		el_udp_close(container_of(conn->udps, struct el_udp, by_conn));
	if (conn->reassemble)
		el_reassembly_forget(conn);
	leave(conn->ep.relay, conn);
	el_endpoint_close(&conn->ep);
}

void el_conn_free(struct el_conn *conn)
{
	el_conn_close(conn);
	live_conns--;
	free(conn);
}

/* ---- tap ---- */

struct el_endpoint *el_tap_open(struct el_relay *relay, uint32_t recv_depth, uint32_t id)
{
	struct el_endpoint *tap = relay->tap ? NULL : calloc(1, sizeof *tap);

	if (!tap)
		return NULL;
	el_endpoint_open(tap, relay, EL_TAP, recv_depth, id);
	relay->tap = tap;
	return tap;
}

void el_tap_free(struct el_endpoint *tap)
{
	if (tap->relay) {
		tap->relay->tap = NULL;
		el_endpoint_close(tap);
	}
	free(tap);
}

void el_conn_tap(struct el_conn *conn, uint32_t what)
{
	conn->tapped = (uint8_t)what;
}

/* ---- sending ---- */

static uint32_t room_for(const struct el_relay *relay, const struct el_vlans *vlans)
{
	uint32_t spare = vlans->count ? el_spare(vlans->tag[0].tpid) : 0;

	return relay->mtu + spare - vlans->count * TAG_LEN;
}

uint32_t el_conn_room(const struct el_conn *conn, const struct el_send_opts *opts)
{
	return room_for(conn->ep.relay, opts && opts->has_vlans ? &opts->vlans : &conn->vlans);
}

uint32_t el_conn_mtu(const struct el_conn *conn)
{
	return conn->ep.relay ? el_conn_room(conn, NULL) : 0;
}

static uint32_t put_header(const struct el_conn *conn, uint8_t *p, const struct el_send_opts *opts)
{
	memcpy(p, conn->header, sizeof conn->header);
	if (likely(!opts))
		return conn->header_len;
	if (opts->has_src_mac)
		memcpy(p + 6, opts->src_mac.byte, 6);
	return opts->has_vlans ? (uint32_t)(put_tags(p + 12, &opts->vlans) - p) : conn->header_len;
}

uint8_t *el_conn_header(const struct el_conn *conn, struct el_frame *frame, uint32_t len, const struct el_mac *dst,
                        uint16_t ethertype, const struct el_send_opts *opts)
{
	uint32_t header = put_header(conn, frame->data, opts);

	memcpy(frame->data, dst->byte, 6);
	put16(frame->data + header, ethertype);
	frame->len = header + 2 + len;
	return frame->data + header + 2;
}

struct el_frame *el_conn_slot(struct el_conn *conn, uint32_t len, const struct el_mac *dst, uint16_t ethertype,
                              const struct el_send_opts *opts, uint8_t **body, int *error)
{
	struct el_relay *relay = conn->ep.relay;
	struct el_frame *frame;

	*error = -EBADF;
	if (!relay)
		return NULL;
	*error = -EADDRNOTAVAIL;
	if (conn->mac.byte[0] & 1 && !(opts && opts->has_src_mac))
		return NULL;
	*error = -EMSGSIZE;
	if (len > el_conn_room(conn, opts))
		return NULL;
	frame = el_relay_slot(relay, error);
	if (frame)
		*body = el_conn_header(conn, frame, len, dst, ethertype, opts);
	return frame;
}

static uint32_t ethertype_of(const uint8_t *payload, uint32_t len)
{
	if (!len)
		return 0;
	return payload[0] >> 4 == 4 ? ETHERTYPE_IP4 : payload[0] >> 4 == 6 ? ETHERTYPE_IP6 : 0;
}

int el_conn_send(struct el_conn *conn, const void *payload, uint32_t len, const struct el_mac *dst, uint32_t ethertype,
                 const struct el_send_opts *opts)
{
	struct el_frame *frame;
	uint8_t *body;
	int error;

	if (!ethertype)
		ethertype = ethertype_of(payload, len);
	if (!ethertype)
		return -EPROTONOSUPPORT;
	frame = el_conn_slot(conn, len, dst, (uint16_t)ethertype, opts, &body, &error);
	if (unlikely(!frame && error == -EMSGSIZE && conn->fragment))
		return el_fragment_send(conn, payload, len, dst, (uint16_t)ethertype, opts);
	if (!frame)
		return error;
	memcpy(body, payload, len);
	return el_relay_commit(conn->ep.relay, frame);
}
