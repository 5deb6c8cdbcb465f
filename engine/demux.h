/*
 * demux.h: from a parsed frame to the endpoints that get it. A frame goes to the EtherConn of its MAC address, VLAN
 * stack and EtherType, and there to the RUDPConn of its address and port; a group frame goes also to every EtherConn
 * that asked for those, found by VLAN stack. All but the last receiver get a copy. Fragments for an EtherConn that
 * wants whole packets are put together first. It registers nobody: conn.c, udp.c and tap.c put themselves into the
 * relay's tables.
 */
#pragma once

#include "common.h"
#include "parse.h"

/* Hands the parsed frame to whoever wants it; one that the host sent is for a mirror alone. Takes ownership. */
void el_demux(struct el_relay *relay, struct el_frame *frame, const struct el_key *key);
/* Hands a frame that does not parse to the default endpoint, if that wants such. Takes ownership. */
void el_demux_invalid(struct el_relay *relay, struct el_frame *frame);
/* Copies a frame that was sent to the mirror, if there is one. */
void el_demux_mirror(struct el_relay *relay, const struct el_frame *frame);

/* The EtherConn with this key that claims the EtherType. */
struct el_conn *el_demux_conn(struct el_relay *relay, const struct el_key *key, uint32_t hash, uint16_t ethertype);
/* The RUDPConn of conn with this very address and port. */
struct el_udp *el_demux_udp_exact(const struct el_conn *conn, const struct el_addr *local);
/* What relay->udps has it under. */
uint32_t el_demux_udp_hash(const struct el_conn *conn, const struct el_addr *local);
