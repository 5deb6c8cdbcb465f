/*
 * conn.c: EtherConns join and leave the relay's tables, and send.
 */
#include <errno.h>
#include <stdlib.h>

#include "conn.h"
#include "demux.h"
#include "endpoint.h"
#include "ethernet.h"
#include "fail.h"
#include "fragment.h"
#include "incomplete.h"
#include "kind.h"
#include "live.h"
#include "parse.h"
#include "table.h"
#include "transmit.h"
#include "udp.h"
#include "wire_format.h"

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

static void leave_groups(struct el_relay *relay, struct el_conn *conn)
{
	if (conn->multicast == EL_MULTICAST_OWN)
		el_table_remove(&relay->by_group, &conn->by_group);
	el_node_unlink(&conn->by_group);
}

/* Tells the kind, unless others of the same MAC and VLAN stack are still there. */
static int claim(struct el_relay *relay, const struct el_conn *conn, bool on)
{
	struct el_node *node = el_table_chain(&relay->by_key, conn->by_key.hash);

	if (!relay->kind->claim)
		return 0;
	if (conn->is_default)
		return relay->kind->claim(relay, NULL, NULL, on);
	for (; !on && node; node = node->next)
		if (!memcmp(container_of(node, struct el_conn, by_key)->key, conn->key, sizeof conn->key))
			return 0;
	return relay->kind->claim(relay, &conn->mac, &conn->vlans, on);
}

static void leave(struct el_relay *relay, struct el_conn *conn)
{
	if (relay->default_conn == conn)
		relay->default_conn = NULL;
	el_table_remove(&relay->by_key, &conn->by_key);
	leave_groups(relay, conn);
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

/* What the relay has for fragments is made only when somebody needs it. */
static int open_fragments(struct el_relay *relay, const struct el_conn *conn, char err[EL_ERR_MAX])
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
	el_conn_make_header(conn);
	if (open_fragments(relay, conn, err) || join(relay, conn, err)) {
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

int el_conn_multicast(struct el_conn *conn, uint32_t multicast)
{
	struct el_key key = {{conn->key[0], conn->key[1], conn->key[2]}};

	leave_groups(conn->ep.relay, conn);
	conn->multicast = (uint8_t)multicast;
	if (!join_groups(conn->ep.relay, conn, key))
		return 0;
	conn->multicast = EL_MULTICAST_NONE;
	return -ENOMEM;
}

struct el_conn *el_relay_conn(const struct el_relay *relay)
{
	return relay->conns ? container_of(relay->conns, struct el_conn, by_relay) : relay->default_conn;
}

/* ---- sending ---- */

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
