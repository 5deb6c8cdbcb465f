/*
 * parse.c: walks the headers of a frame, from the outside to the inside.
 */
#include <errno.h>

#include "parse.h"
#include "wire_format.h"

static uint64_t mac_bits(const uint8_t *mac)
{
	uint64_t bits = 0;

	memcpy(&bits, mac, 6);
	return bits;
}

static const uint64_t MAC_BITS = 0xffffffffffffULL;
static const uint32_t VID_BITS = 0x0fff;

static void key_tag(struct el_key *key, uint32_t i, uint16_t tpid, uint16_t tci)
{
	uint64_t bits = (uint64_t)tpid << 16 | (tci & VID_BITS);

	key->word[1 + i / 2] |= bits << (i % 2 * 32);
}

static void key_mac(struct el_key *key, const uint8_t *mac, uint32_t tags)
{
	key->word[0] = mac_bits(mac) | (uint64_t)tags << 48;
}

void el_key_make(struct el_key *key, const struct el_mac *mac, const struct el_vlans *vlans)
{
	memset(key, 0, sizeof *key);
	key_mac(key, mac->byte, vlans->count);
	for (uint32_t i = 0; i < vlans->count; i++)
		key_tag(key, i, vlans->tag[i].tpid, vlans->tag[i].tci);
}

void el_key_strip_mac(struct el_key *key)
{
	key->word[0] &= ~MAC_BITS;
}

void el_key_set_mac(struct el_key *key, const struct el_mac *mac)
{
	key->word[0] = (key->word[0] & ~MAC_BITS) | mac_bits(mac->byte);
}

bool el_key_strip_vid0(struct el_key *key)
{
	uint32_t tags = (uint32_t)(key->word[0] >> 48), kept = 0;
	struct el_key rest = {{key->word[0] & MAC_BITS, 0, 0}};

	for (uint32_t i = 0; i < tags; i++) {
		uint32_t tag = (uint32_t)(key->word[1 + i / 2] >> (i % 2 * 32));

		if (tag & VID_BITS)
			key_tag(&rest, kept++, (uint16_t)(tag >> 16), (uint16_t)tag);
	}
	rest.word[0] |= (uint64_t)kept << 48;
	*key = rest;
	return kept < tags;
}

uint32_t el_key_hash(const struct el_key *key)
{
	uint64_t hash = key->word[0] * 0x9e3779b97f4a7c15ULL;

	hash = (hash ^ hash >> 29 ^ key->word[1]) * 0xbf58476d1ce4e5b9ULL;
	hash = (hash ^ hash >> 32 ^ key->word[2]) * 0x94d049bb133111ebULL;
	return (uint32_t)(hash >> 32);
}

/* RFC 768. at: offset of the header, end: of the IP payload. */
static int parse_udp(struct el_frame *frame, uint32_t at, uint32_t end)
{
	uint32_t len;

	if (end - at < UDP_HEADER)
		return -EBADMSG;
	len = get16(frame->data + at + 4);
	if (len < UDP_HEADER || len > end - at)
		return -EBADMSG;
	frame->flags |= EL_FRAME_UDP;
	return 0;
}

static int parse_l4(struct el_frame *frame, uint32_t at, uint32_t end, uint8_t protocol)
{
	frame->protocol = protocol;
	if (frame->flags & EL_FRAME_FRAGMENT)
		return 0;
	if (at > UINT16_MAX - UDP_HEADER) /* behind extension headers without end */
		return -EBADMSG;
	frame->l4 = (uint16_t)at;
	return protocol == PROTO_UDP ? parse_udp(frame, at, end) : 0;
}

/* RFC 791 3.1. room: bytes from the header to the end of the frame. */
static int parse_ip4(struct el_frame *frame, uint32_t room)
{
	const uint8_t *ip = frame->data + frame->l3;
	uint32_t header, total;

	if (room < IP4_HEADER || ip[0] >> 4 != 4)
		return -EBADMSG;
	header = (ip[0] & 15) * 4U;
	total = get16(ip + 2);
	if (header < IP4_HEADER || total < header || total > room)
		return -EBADMSG;
	frame->flags |= EL_FRAME_IP4;
	frame->l3_len = total;
	if (get16(ip + 6) & 0x3fff) /* more fragments, or not the first */
		frame->flags |= EL_FRAME_FRAGMENT;
	return parse_l4(frame, frame->l3 + header, frame->l3 + total, ip[9]);
}

uint32_t el_extension_len(uint8_t type, const uint8_t *p)
{
	switch (type) {
	case EXTENSION_HOP:
	case EXTENSION_ROUTING:
	case 60:  /* destination options */
	case 135: /* mobility */
	case 139: /* host identity protocol */
	case 140: /* shim6 */
		return (p[1] + 1U) * 8;
	case EXTENSION_FRAGMENT:
		return 8;
	case 51: /* authentication */
		return (p[1] + 2U) * 4;
	default:
		return 0;
	}
}

bool el_is_extension(uint8_t type)
{
	static const uint8_t none[2];

	return el_extension_len(type, none) != 0;
}

/* Whether the fragment header says that the packet is whole (RFC 6946). */
static bool is_atomic(const uint8_t *header)
{
	return !(get16(header + 2) & 0xfff9);
}

/* RFC 8200 4: follows the chain to the upper-layer header. */
static int parse_extensions(struct el_frame *frame, uint32_t at, uint32_t end, uint8_t type)
{
	while (el_is_extension(type)) {
		const uint8_t *p = frame->data + at;
		uint32_t len;

		if (end - at < 8)
			return -EBADMSG;
		len = el_extension_len(type, p);
		if (len > end - at)
			return -EBADMSG;
		if (type == EXTENSION_FRAGMENT && !is_atomic(p)) {
			frame->flags |= EL_FRAME_FRAGMENT;
			frame->protocol = p[0];
			return 0;
		}
		type = p[0];
		at += len;
	}
	return parse_l4(frame, at, end, type);
}

/* RFC 8200 3. A payload length of 0 (jumbograms, RFC 2675) says nothing about the end. */
static int parse_ip6(struct el_frame *frame, uint32_t room)
{
	const uint8_t *ip = frame->data + frame->l3;
	uint32_t len;

	if (room < IP6_HEADER || ip[0] >> 4 != 6)
		return -EBADMSG;
	len = get16(ip + 4);
	if (len > room - IP6_HEADER)
		return -EBADMSG;
	frame->flags |= EL_FRAME_IP6;
	frame->l3_len = IP6_HEADER + len;
	return parse_extensions(frame, frame->l3 + IP6_HEADER, frame->l3 + IP6_HEADER + len, ip[6]);
}

/* RFC 791 3.2 */
static void parse_fragment4(const struct el_frame *frame, struct el_fragment *out)
{
	const uint8_t *ip = frame->data + frame->l3;

	out->head_len = out->at = frame->l3 + (ip[0] & 15) * 4U;
	out->offset = (get16(ip + 6) & 0x1fff) * 8U;
	out->more = get16(ip + 6) & 0x2000;
	out->id = get16(ip + 4);
	out->next = 0;
	out->protocol = ip[9];
}

/* RFC 8200 4.5. The chain up to the fragment header was followed before. */
static void parse_fragment6(const struct el_frame *frame, struct el_fragment *out)
{
	uint32_t at = frame->l3 + IP6_HEADER;
	const uint8_t *p = frame->data + at;

	out->next = frame->l3 + 6;
	while (frame->data[out->next] != EXTENSION_FRAGMENT || is_atomic(p)) {
		uint32_t len = el_extension_len(frame->data[out->next], p);

		out->next = at;
		at += len;
		p += len;
	}
	out->head_len = at;
	out->at = at + 8;
	out->offset = get16(p + 2) & 0xfff8;
	out->more = p[3] & 1;
	out->id = (uint32_t)get16(p + 4) << 16 | get16(p + 6);
	out->protocol = p[0];
}

/* RFC 7112: all extension headers are in the first fragment, and something of what follows them. */
static bool has_whole_chain(const struct el_frame *frame, uint32_t at, uint8_t type)
{
	uint32_t end = frame->l3 + frame->l3_len;

	while (el_is_extension(type)) {
		const uint8_t *p = frame->data + at;

		if (end - at < 8 || el_extension_len(type, p) > end - at)
			return false;
		at += el_extension_len(type, p);
		type = p[0];
	}
	return at < end;
}

int el_fragment_parse(const struct el_frame *frame, struct el_fragment *out)
{
	bool is_ip4 = frame->flags & EL_FRAME_IP4;
	uint32_t header; /* bytes in front of the data that count for the length of the IP packet */

	if (is_ip4)
		parse_fragment4(frame, out);
	else
		parse_fragment6(frame, out);
	out->len = frame->l3 + frame->l3_len - out->at;
	header = out->head_len - frame->l3 - (is_ip4 ? 0 : IP6_HEADER);
	if (!out->len || (out->more && out->len % 8) || header + out->offset + out->len > UINT16_MAX)
		return -EBADMSG;
	return is_ip4 || out->offset || has_whole_chain(frame, out->at, out->protocol) ? 0 : -EBADMSG;
}

/* RFC 826: two hardware and two protocol addresses of the lengths given. */
static int parse_arp(const struct el_frame *frame, uint32_t room)
{
	const uint8_t *arp = frame->data + frame->l3;

	return room < 8 || room < 8 + 2U * (arp[4] + arp[5]) ? -EBADMSG : 0;
}

/* Walks the tags; a fifth one is the EtherType of a payload that no endpoint claims. */
static int parse_ethernet(struct el_frame *frame, struct el_key *key)
{
	const uint8_t *type = frame->data + 12;

	if (frame->len < ETH_HEADER)
		return -EBADMSG;
	while (el_is_tpid(get16(type)) && frame->tags < EL_TAGS_MAX) {
		if (type + TAG_LEN + 2 > frame->data + frame->len)
			return -EBADMSG;
		key_tag(key, frame->tags++, get16(type), get16(type + 2));
		type += TAG_LEN;
	}
	key_mac(key, frame->data, frame->tags);
	frame->ethertype = get16(type);
	frame->l3 = (uint16_t)(type + 2 - frame->data);
	frame->l3_len = frame->len - frame->l3;
	return 0;
}

/* What was cut, by a capture or because it has no room here, is invalid whatever its lengths say. */
int el_frame_parse(struct el_frame *frame, struct el_key *key)
{
	frame->l4 = 0;
	frame->tags = frame->protocol = 0;
	frame->flags &= EL_FRAME_OUTGOING | EL_FRAME_LARGE;
	memset(key, 0, sizeof *key);
	if (frame->cut || parse_ethernet(frame, key))
		return -EBADMSG;
	if (frame->data[0] & 1)
		frame->flags |= EL_FRAME_GROUP;
	switch (frame->ethertype) {
	case ETHERTYPE_IP4:
		return parse_ip4(frame, frame->l3_len);
	case ETHERTYPE_IP6:
		return parse_ip6(frame, frame->l3_len);
	case ETHERTYPE_ARP:
		return parse_arp(frame, frame->l3_len);
	default:
		return 0;
	}
}
