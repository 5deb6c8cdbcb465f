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
	STEER_OWNER = 1, /* the number of a relay that shares the interface with nobody */
};

/* What a loaded program knows of its relay. */
struct steer_config {
	__u8 all;   /* it gets every frame of a listed EtherType, whoever that is for */
	__u8 owner; /* its number, not 0, as it is in the maps "endpoints" and "owners" */
};

/* Key of the map "endpoints": who is registered. Tags from outer to inner, TPID << 16 | VID, unused ones 0. */
struct steer_key {
	__u8 mac[6];
	__u16 tags;
	__u32 tag[STEER_TAGS_MAX];
};

/* The map "ethertypes" (key __u16) is looked at when config.all is set: all frames of these go to the sockets. */
