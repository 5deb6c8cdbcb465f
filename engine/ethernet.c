/*
 * ethernet.c: a template of 12 bytes of MAC addresses and up to four tags is copied, the rest is written behind it.
 */
#include <errno.h>

#include "ethernet.h"
#include "kind.h"
#include "transmit.h"
#include "wire_format.h"

static uint8_t *put_tags(uint8_t *p, const struct el_vlans *vlans)
{
	for (uint32_t i = 0; i < vlans->count; i++, p += TAG_LEN) {
		put16(p, vlans->tag[i].tpid);
		put16(p + 2, vlans->tag[i].tci);
	}
	return p;
}

void el_conn_make_header(struct el_conn *conn)
{
	memcpy(conn->header + 6, conn->mac.byte, 6);
	conn->header_len = (uint8_t)(put_tags(conn->header + 12, &conn->vlans) - conn->header);
}

static uint32_t room_for(const struct el_relay *relay, const struct el_vlans *vlans)
{
	uint32_t spare = vlans->count ? el_spare(vlans->tag[0].tpid) : 0;

	return relay->mtu + spare - vlans->count * TAG_LEN;
}

uint32_t el_conn_room(const struct el_conn *conn, uint16_t ethertype, const struct el_send_opts *opts)
{
	uint32_t room = room_for(conn->ep.relay, opts && opts->has_vlans ? &opts->vlans : &conn->vlans);

	if (unlikely(conn->ip6_mtu) && ethertype == ETHERTYPE_IP6 && conn->ip6_mtu < room)
		return conn->ip6_mtu;
	return room;
}

uint32_t el_conn_mtu(const struct el_conn *conn)
{
	return conn->ep.relay ? el_conn_room(conn, 0, NULL) : 0;
}

uint32_t el_conn_packet_mtu(const struct el_conn *conn, int version)
{
	return conn->ep.relay ? el_conn_room(conn, version == 6 ? ETHERTYPE_IP6 : ETHERTYPE_IP4, NULL) : 0;
}

void el_conn_limit_ip6(struct el_conn *conn, uint32_t mtu)
{
	conn->ip6_mtu = mtu;
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
	if (len > el_conn_room(conn, ethertype, opts))
		return NULL;
	frame = el_relay_slot(relay, error);
	if (frame)
		*body = el_conn_header(conn, frame, len, dst, ethertype, opts);
	return frame;
}
