/*
 * wire_format.h: numbers and lengths that Ethernet, IP and UDP have on the wire, and how a number of two bytes is read
 * and written there. What a header means is the business of whoever reads or writes it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	ETHERTYPE_IP4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_IP6 = 0x86dd,
	ETHERTYPE_DOT1Q = 0x8100,  /* IEEE 802.1Q customer tag */
	ETHERTYPE_DOT1AD = 0x88a8, /* IEEE 802.1ad service tag */
	ETHERTYPE_QINQ = 0x9100,   /* service tag before it had a number */
	PROTO_ICMP = 1,
	PROTO_UDP = 17,
	PROTO_ICMP6 = 58,
	ND_FIRST = 133, /* router solicitation, the first ICMPv6 type of neighbour discovery: RFC 4861 4 */
	ND_LAST = 137,  /* redirect */
	ETH_HEADER = 14,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	UDP_HEADER = 8,
	TAG_LEN = 4,
	FRAGMENT_UNIT = 8,                /* bytes that a fragment's offset counts */
	IP_MAX = UINT16_MAX + IP6_HEADER, /* bytes of the largest IP packet */
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline bool el_is_tpid(uint16_t ethertype)
{
	return ethertype == ETHERTYPE_DOT1Q || ethertype == ETHERTYPE_DOT1AD || ethertype == ETHERTYPE_QINQ;
}

/* The kernel lets a frame be a tag longer than the MTU when its outer tag is an 802.1Q one (packet_snd). */
static inline uint32_t el_spare(uint16_t outer_tpid)
{
	return outer_tpid == ETHERTYPE_DOT1Q ? TAG_LEN : 0;
}
