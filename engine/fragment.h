/*
 * fragment.h: sends an IP packet that does not fit the MTU in fragments (RFC 791 3.2, RFC 8200 4.5), for EtherConns
 * that were opened for it. A packet is sent whole or not at all. A relay has one struct el_fragmenter, which it owns.
 * What cannot be cut, a packet with DF or whose lengths are not its own, is too long as it is for everybody else;
 * nobody discovers the MTU of a path. abi.h has el_conn_ip_mtu().
 */
#pragma once

#include "common.h"
#include "wire_format.h"

struct el_fragmenter {
	uint32_t seed, count;   /* for identifications */
	uint8_t packet[IP_MAX]; /* one that is written before it is cut */
};

/* Gives the relay one, unless it has one. */
int el_fragmenter_open(struct el_relay *relay);
void el_fragmenter_close(struct el_relay *relay);
/* An identification for IPv4 that the relay's last 65,535 packets did not have. */
uint16_t el_fragmenter_id4(struct el_fragmenter *fragmenter);
/* Sends a packet in fragments: errors as el_conn_send(), -EMSGSIZE also for what cannot be cut. */
int el_fragment_send(struct el_conn *conn, const uint8_t *packet, uint32_t len, const struct el_mac *dst,
                     uint16_t ethertype, const struct el_send_opts *opts);
