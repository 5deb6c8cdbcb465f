/*
 * parse.h: frame -> offsets and keys. Every length check of the ingress is done by these functions, and nobody behind
 * them checks again: a frame with a length that cannot be is invalid as a whole. Checksums are not looked at, because
 * frames of the same machine arrive before theirs are filled in.
 */
#pragma once

#include "common.h"

/* Identity of an L2 endpoint: word 0 holds the number of tags and the MAC, words 1 and 2 TPID << 16 | VID of each. */
struct el_key {
	uint64_t word[3];
};

void el_key_make(struct el_key *key, const struct el_mac *mac, const struct el_vlans *vlans);
/* The key of the VLAN stack alone, which the index of group frames uses. */
void el_key_strip_mac(struct el_key *key);
void el_key_set_mac(struct el_key *key, const struct el_mac *mac);
/* The key without tags of VID 0: these carry a priority and are no VLAN (IEEE 802.1Q 9.6). False: there were none. */
bool el_key_strip_vid0(struct el_key *key);
uint32_t el_key_hash(const struct el_key *key);

enum { EXTENSION_HOP = 0, EXTENSION_ROUTING = 43, EXTENSION_FRAGMENT = 44 };

/* Whether it is the number of an IPv6 extension header that is followed. */
bool el_is_extension(uint8_t type);
/* Bytes of the one at p, of which at least 2 are there (RFC 8200 4, RFC 4302 2.2); 0 when it is none. */
uint32_t el_extension_len(uint8_t type, const uint8_t *p);
/* Fills the offsets of frame (data and len are set) and its key. -EBADMSG when a length in it cannot be. */
int el_frame_parse(struct el_frame *frame, struct el_key *key);

/* A fragment: a frame that carries some of the data of an IP packet. */
struct el_fragment {
	uint32_t head_len; /* the frame's bytes up to the IP header's end; IPv6: up to the fragment header */
	uint32_t at, len;  /* its data: where in the frame, how many bytes */
	uint32_t offset;   /* where these belong in the packet's data */
	uint32_t id;       /* the same in all fragments of the packet */
	uint32_t next;     /* IPv6: the byte in the head that announces the fragment header; 0: IPv4 */
	uint8_t protocol;  /* of the packet's data */
	bool more;         /* it is not the last one */
};

/* What a frame with EL_FRAME_FRAGMENT says. -EBADMSG when its length or offset cannot be. */
int el_fragment_parse(const struct el_frame *frame, struct el_fragment *out);
