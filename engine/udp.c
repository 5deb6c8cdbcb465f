/*
 * udp.c: RUDPConns join their EtherConn, and write what is in front of a datagram.
 */
#include <errno.h>
#include <stdlib.h>

#include "checksum.h"
#include "demux.h"
#include "endpoint.h"
#include "ethernet.h"
#include "fail.h"
#include "fragment.h"
#include "kind.h"
#include "live.h"
#include "table.h"
#include "transmit.h"
#include "udp.h"
#include "wire_format.h"

static bool joined(const struct el_udp *udp)
{
	return udp->ep.relay != NULL;
}

static int join(struct el_udp *udp)
{
	uint32_t hash = el_demux_udp_hash(udp->owner, &udp->local);

	return el_table_add(&udp->owner->ep.relay->udps, &udp->by_key, hash);
}

static int check(const struct el_conn *conn, const struct el_udp_opts *opts, char err[EL_ERR_MAX])
{
	if (!conn->ep.relay)
		return el_fail(err, -EBADF, "the EtherConn is closed");
	if (opts->accept_any && conn->any)
		return el_fail(err, -EADDRINUSE, "another RUDPConn of this EtherConn accepts any already");
	if (el_demux_udp_exact(conn, &opts->local))
		return el_fail(err, -EADDRINUSE, "another RUDPConn of this EtherConn has this address and port");
	return 0;
}

struct el_udp *el_udp_open(struct el_conn *conn, const struct el_udp_opts *opts, char err[EL_ERR_MAX])
{
	struct el_udp *udp;

	if (check(conn, opts, err))
		return NULL;
	udp = calloc(1, sizeof *udp);
	if (!udp) {
		el_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	udp->owner = conn;
	udp->local = opts->local;
	udp->ttl = (uint8_t)(opts->ttl ? opts->ttl : 64);
	udp->tos = (uint8_t)opts->tos;
	udp->accept_any = opts->accept_any != 0;
	udp->no_checksum = opts->no_checksum != 0;
	if (join(udp)) {
		el_fail(err, -ENOMEM, "out of memory");
		free(udp);
		return NULL;
	}
	if (udp->accept_any)
		conn->any = udp;
	el_endpoint_open(&udp->ep, conn->ep.relay, EL_UDP, opts->recv_depth, opts->id);
	el_list_add(&conn->udps, &udp->by_conn);
	live_udps++;
	return udp;
}

void el_udp_close(struct el_udp *udp)
{
	if (!joined(udp))
		return;
	el_table_remove(&udp->ep.relay->udps, &udp->by_key);
	el_node_unlink(&udp->by_conn);
	if (udp->owner->any == udp)
		udp->owner->any = NULL;
	el_endpoint_close(&udp->ep);
	udp->owner = NULL;
}

void el_udp_free(struct el_udp *udp)
{
	el_udp_close(udp);
	live_udps--;
	free(udp);
}

int el_udp_rebind(struct el_udp *udp, const struct el_addr *local)
{
	struct el_udp *other;

	if (!joined(udp))
		return -EBADF;
	other = el_demux_udp_exact(udp->owner, local);
	if (other)
		return other == udp ? 0 : -EADDRINUSE;
	el_table_remove(&udp->ep.relay->udps, &udp->by_key);
	udp->local = *local;
	return join(udp);
}

/* ---- sending ---- */

static uint32_t headers_of(int version)
{
	return UDP_HEADER + (version == 4 ? IP4_HEADER : IP6_HEADER);
}

uint32_t el_udp_mtu(const struct el_udp *udp, int version)
{
	uint32_t room = joined(udp) ? el_conn_ip_mtu(udp->owner, version) : 0, headers = headers_of(version);

	return room > headers ? room - headers : 0;
}

/* RFC 791 3.1 */
static void put_ip4(uint8_t *ip, struct el_udp *udp, uint32_t len, const uint8_t *from, const uint8_t *to)
{
	ip[0] = 0x45;
	ip[1] = udp->tos;
	put16(ip + 2, IP4_HEADER + len);
	put16(ip + 4, udp->ip_id++);
	put16(ip + 6, 0);
	ip[8] = udp->ttl;
	ip[9] = PROTO_UDP;
	put16(ip + 10, 0);
	memcpy(ip + 12, from, 4);
	memcpy(ip + 16, to, 4);
	el_put_checksum(ip + 10, el_fold(el_sum(ip, IP4_HEADER, 0)));
}

/* RFC 8200 3 */
static void put_ip6(uint8_t *ip, const struct el_udp *udp, uint32_t len, const uint8_t *from, const uint8_t *to)
{
	put16(ip, 0x6000 | udp->tos << 4);
	put16(ip + 2, 0);
	put16(ip + 4, len);
	ip[6] = PROTO_UDP;
	ip[7] = udp->ttl;
	memcpy(ip + 8, from, 16);
	memcpy(ip + 24, to, 16);
}

/* The sum of the pseudo header (RFC 768, RFC 8200 8.1): both addresses, which stand together, protocol and length. */
static uint64_t pseudo_sum(const uint8_t *addresses, uint32_t size, uint32_t len)
{
	uint8_t tail[4] = {0, PROTO_UDP, (uint8_t)(len >> 8), (uint8_t)len};

	return el_sum(addresses, size, el_sum(tail, sizeof tail, 0));
}

/* A sum of 0 is sent as 0xffff, since 0 means none (RFC 768). */
static void put_udp_checksum(uint8_t *header, uint32_t len, uint64_t pseudo)
{
	uint16_t checksum = el_fold(el_sum(header, len, pseudo));

	el_put_checksum(header + 6, checksum ? checksum : 0xffff);
}

/* RFC 1112 6.4, RFC 2464 7; broadcast for what is not multicast. */
static struct el_mac group_mac(const struct el_addr *to)
{
	const uint8_t *ip = to->ip;

	if (to->version == 4 && ip[0] >> 4 == 0xe)
		return (struct el_mac){{0x01, 0x00, 0x5e, ip[1] & 0x7f, ip[2], ip[3]}};
	if (to->version == 6 && ip[0] == 0xff)
		return (struct el_mac){{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}};
	return (struct el_mac){{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
}

static void put_udp(uint8_t *p, const struct el_addr *from, const struct el_addr *to, uint32_t len)
{
	put16(p, from->port);
	put16(p + 2, to->port);
	put16(p + 4, len);
	put16(p + 6, 0);
}

static void put_headers(uint8_t *ip, struct el_udp *udp, uint32_t len, const struct el_addr *from,
                        const struct el_addr *to)
{
	uint8_t *header = ip + (to->version == 4 ? IP4_HEADER : IP6_HEADER);

	put_udp(header, from, to, len);
	if (to->version == 4) {
		put_ip4(ip, udp, len, from->ip, to->ip);
		if (!udp->no_checksum)
			put_udp_checksum(header, len, pseudo_sum(ip + 12, 8, len));
	} else {
		put_ip6(ip, udp, len, from->ip, to->ip);
		put_udp_checksum(header, len, pseudo_sum(ip + 8, 32, len));
	}
}

/* A datagram that does not fit a frame: written as one packet, then cut. */
static int send_fragments(struct el_udp *udp, const void *payload, uint32_t len, const struct el_addr *to,
                          const struct el_addr *from, const struct el_mac *mac)
{
	struct el_fragmenter *fragmenter = udp->ep.relay->fragmenter;
	uint8_t *packet = fragmenter->packet;
	uint32_t headers = headers_of(to->version);

	memcpy(packet + headers, payload, len);
	put_headers(packet, udp, UDP_HEADER + len, from, to);
	if (to->version == 4) /* those of the RUDPConns of one host are not to meet */
		put16(packet + 4, el_fragmenter_id4(fragmenter));
	return el_fragment_send(udp->owner, packet, headers + len, mac,
	                        to->version == 4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6, NULL);
}

int el_udp_send(struct el_udp *udp, const void *payload, uint32_t len, const struct el_addr *to,
                const struct el_addr *from, const struct el_mac *mac)
{
	uint32_t headers = headers_of(to->version);
	struct el_frame *frame;
	struct el_mac group;
	uint8_t *ip;
	int error;

	if (!joined(udp))
		return -EBADF;
	if (len > UINT16_MAX - (to->version == 4 ? headers : UDP_HEADER)) /* what their length fields can say */
		return -EMSGSIZE;
	if (!from)
		from = &udp->local;
	if (from->version != to->version)
		return -EAFNOSUPPORT;
	if (!mac) {
		group = group_mac(to);
		mac = &group;
	}
	frame = el_conn_slot(udp->owner, headers + len, mac, to->version == 4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6, NULL,
	                     &ip, &error);
	if (unlikely(!frame && error == -EMSGSIZE && udp->owner->fragment))
		return send_fragments(udp, payload, len, to, from, mac);
	if (!frame)
		return error;
	memcpy(ip + headers, payload, len);
	put_headers(ip, udp, UDP_HEADER + len, from, to);
	return el_relay_commit(udp->ep.relay, frame);
}
