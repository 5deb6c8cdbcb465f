/*
 * reassemble.h: puts fragments together to whole packets (RFC 791 3.2, RFC 8200 4.5), for EtherConns that were opened
 * for it. The frame of a fragment goes back to the pool at once; a whole packet is a new frame, which is the caller's.
 *
 * Fragments that overlap, or contradict each other about where the packet ends, make the packet bad as a whole, over
 * IPv4 as over IPv6 (RFC 5722): what is still to come of it is thrown away, too, until its time is over. The very
 * same fragment once more is no overlap; over IPv4 the same octets are none, as Linux has it (inet_fragment.c). What
 * differs in the headers of later fragments is not looked at, and no ICMP errors are sent.
 */
#pragma once

#include "common.h"

/* Takes a fragment for conn. Returns the frame of the whole packet, to be parsed, when this completed it, else NULL. */
struct el_frame *el_reassemble(struct el_conn *conn, struct el_frame *frame);
