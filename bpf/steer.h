/*
 * steer.h: what the steering program in the kernel and engine/kinds/xdp.c have to agree on: names, limits and map
 * layouts.
 */
#pragma once

enum {
	STEER_TAGS_MAX = 4,
	STEER_ENDPOINTS_MAX = 1 << 18, /* MAC addresses with VLAN stacks; entries are allocated as they come */
	STEER_QUEUES_MAX = 64,
	STEER_ETHERTYPES_MAX = 64,
};

/* Key of the map "endpoints": who is registered. Tags from outer to inner, TPID << 16 | VID, unused ones 0. */
struct steer_key {
	__u8 mac[6];
	__u16 tags;
	__u32 tag[STEER_TAGS_MAX];
};

/* The map "ethertypes" (key __u16) is looked at when steer_all is set: all frames of these go to the sockets. */
