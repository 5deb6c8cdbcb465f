/*
 * ethernet.h: the Ethernet header of everything that an EtherConn and its RUDPConns send, and how much payload fits
 * behind it. The EtherConn holds a template of it, made once. abi.h has el_conn_mtu().
 */
#pragma once

#include "common.h"

/* Writes conn's template from its MAC address and VLAN stack. */
void el_conn_make_header(struct el_conn *conn);
/* Bytes of payload that fit one frame with these options. */
uint32_t el_conn_room(const struct el_conn *conn, uint16_t ethertype, const struct el_send_opts *opts);
/* Writes the Ethernet header of a frame with a payload of len bytes; returns where that goes. */
uint8_t *el_conn_header(const struct el_conn *conn, struct el_frame *frame, uint32_t len, const struct el_mac *dst,
                        uint16_t ethertype, const struct el_send_opts *opts);
/*
 * A slot for a frame with a payload of len bytes, Ethernet header and tags written; *body is where the payload goes.
 * NULL and *error, as el_conn_send() says, when it cannot be sent. el_relay_commit() sends it.
 */
struct el_frame *el_conn_slot(struct el_conn *conn, uint32_t len, const struct el_mac *dst, uint16_t ethertype,
                              const struct el_send_opts *opts, uint8_t **body, int *error);
