/*
 * mutator.h: changes inputs that are INPUT_HEADER bytes and then steps with frames. What libFuzzer does by itself makes
 * few frames whose lengths fit: so a step is changed as a whole, is doubled, left out, or made anew out of headers
 * that are on the wire, an IP packet is cut in two, and most of the time the lengths are mended afterwards. The engine
 * looks at no checksum, so there is none to mend.
 */
#pragma once

#include "harness.h"
#include "parse.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed);

enum { STEPS_MAX = 256, FRAME_MAX = 2048, MADE_MAX = 512 };

static uint32_t chance_state;

/* A number below `below`. */
static uint32_t chance(uint32_t below)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 17;
	chance_state ^= chance_state << 5;
	return chance_state % below;
}

static uint32_t one_of(const uint32_t *list, uint32_t count)
{
	return list[chance(count)];
}

#define ONE_OF(...) one_of((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* ---- lengths that fit ---- */

static void mend_udp(uint8_t *p, uint8_t *end)
{
	if (end - p >= UDP_HEADER)
		put16(p + 4, (uint32_t)(end - p));
}

static void mend_ip4(uint8_t *ip, uint8_t *end)
{
	uint32_t room = (uint32_t)(end - ip), header;

	if (room < IP4_HEADER)
		return;
	header = (ip[0] & 15) * 4U;
	if (ip[0] >> 4 != 4 || header < IP4_HEADER || header > room)
		ip[0] = 0x45;
	header = (ip[0] & 15) * 4U;
	put16(ip + 2, room);
	if (ip[9] == PROTO_UDP && !(get16(ip + 6) & 0x3fff))
		mend_udp(ip + header, end);
}

static void mend_ip6(uint8_t *ip, uint8_t *end)
{
	uint8_t *p = ip + IP6_HEADER, type = ip[6];

	if (end < p)
		return;
	ip[0] = 0x60 | (ip[0] & 15);
	put16(ip + 4, (uint32_t)(end - p));
	while (el_is_extension(type) && end - p >= 8) {
		uint8_t *header = p;

		if (el_extension_len(type, header) > end - header)
			header[1] = 0;
		if (type == EXTENSION_FRAGMENT && get16(header + 2) & 0xfff9)
			return;
		p += el_extension_len(type, header);
		type = header[0];
	}
	if (type == PROTO_UDP)
		mend_udp(p, end);
}

/* Lengths say what is there, but for the last `padding` bytes. */
static void mend(uint8_t *frame, uint32_t len, uint32_t padding)
{
	uint32_t at = 12;

	while (at + TAG_LEN + 2 <= len && el_is_tpid(get16(frame + at)))
		at += TAG_LEN;
	if (at + 2 + padding > len)
		return;
	if (get16(frame + at) == ETHERTYPE_IP4)
		mend_ip4(frame + at + 2, frame + len - padding);
	else if (get16(frame + at) == ETHERTYPE_IP6)
		mend_ip6(frame + at + 2, frame + len - padding);
}

/* ---- frames made anew ---- */

/* Where a frame is being written. */
struct writer {
	uint8_t *start, *at;
};

static void put(struct writer *out, uint32_t bytes, uint32_t number)
{
	while (bytes--)
		*out->at++ = (uint8_t)(bytes < 4 ? number >> bytes * 8 : 0);
}

static void put_noise(struct writer *out, uint32_t bytes)
{
	while (bytes--)
		put(out, 1, chance(256));
}

static void make_ethernet(struct writer *out, uint32_t ethertype)
{
	uint32_t tags = chance(3) ? 0 : chance(6), to = chance(8);
	bool both = tags == 2 && chance(4);

	put(out, 2, to == 0 ? 0xffff : to == 1 ? 0x3333 : 0x0200);
	put(out, 4, to == 0 ? 0xffffffff : to == 1 ? 1 : ONE_OF(11, 11, 11, 11, 12));
	put(out, 2, 0x0200);
	put(out, 4, 10);
	for (uint32_t i = 0; i < tags; i++) {
		put(out, 2, both ? (i ? 0x8100 : 0x88a8) : ONE_OF(0x8100, 0x88a8, 0x9100));
		put(out, 2, both ? (i ? 200 : 100) | chance(16) << 12 : ONE_OF(100, 200, 0, 0xffff));
	}
	put(out, 2, ethertype);
}

static void make_l4(struct writer *out, uint32_t protocol)
{
	if (protocol == PROTO_UDP) {
		put(out, 2, 1000);
		put(out, 2, ONE_OF(2000, 2001, 1, 67));
		put(out, 4, 0);
	} else if (protocol == PROTO_ICMP6 || protocol == PROTO_ICMP) {
		put(out, 4, ONE_OF(128, 133, 135, 137, 8) << 24);
	}
	put_noise(out, chance(8) ? chance(5) * 8 : chance(40));
}

static void make_ip4(struct writer *out)
{
	uint32_t options = chance(4) ? 0 : chance(11), protocol = ONE_OF(PROTO_UDP, PROTO_UDP, PROTO_ICMP, 6);

	make_ethernet(out, ETHERTYPE_IP4);
	put(out, 4, (0x45 + options) << 24);
	put(out, 2, chance(4));
	put(out, 2, ONE_OF(0, 0, 0, 0x4000, 0x2000, 0x2001, 1, 2, 0x3fff, 0x1fff));
	put(out, 1, 64);
	put(out, 3, protocol << 16);
	put(out, 4, 0x0a000001);
	put(out, 4, ONE_OF(0x0a000002, 0x0a000002, 0x0a000003, 0xffffffff));
	put_noise(out, options * 4);
	make_l4(out, protocol);
}

static void make_extension(struct writer *out, uint32_t type, uint32_t next)
{
	uint32_t more = chance(3) ? 0 : chance(3);

	put(out, 1, next);
	if (type == EXTENSION_FRAGMENT) {
		put(out, 1, 0);
		put(out, 2, ONE_OF(0, 0, 1, 1, 8, 9, 16, 17, 0xfff8, 0xfff9));
		put(out, 4, chance(4));
		return;
	}
	put(out, 1, type == 51 ? more * 2 : more); /* authentication counts words */
	put_noise(out, 6 + more * 8);
}

static void make_ip6(struct writer *out)
{
	uint32_t count = chance(3) ? chance(2) : chance(6), type[8];
	uint32_t protocol = ONE_OF(PROTO_UDP, PROTO_UDP, PROTO_ICMP6, 6, 59);

	for (uint32_t i = 0; i < count; i++)
		type[i] = ONE_OF(0, 43, 44, 44, 51, 60, 135, 139, 140);
	type[count] = protocol;
	make_ethernet(out, ETHERTYPE_IP6);
	put(out, 4, 0x60000000);
	put(out, 2, 0);
	put(out, 2, type[0] << 8 | 64);
	for (int i = 0; i < 2; i++) {
		put(out, 4, 0x20010db8);
		put(out, 12, i ? (chance(4) ? 2 : 3) : 1);
	}
	for (uint32_t i = 0; i < count; i++)
		make_extension(out, type[i], type[i + 1]);
	make_l4(out, protocol);
}

static void make_other(struct writer *out)
{
	bool arp = chance(2);

	make_ethernet(out, arp ? ETHERTYPE_ARP : 0x88b5);
	put(out, 4, 0x00010800);
	put(out, 4, 0x06040001);
	put_noise(out, chance(4) ? 20 : chance(30));
}

static uint32_t make_frame(uint8_t *frame)
{
	struct writer out = {frame, frame};
	uint32_t kind = chance(8);

	(kind < 4 ? make_ip4 : kind < 7 ? make_ip6 : make_other)(&out);
	mend(frame, (uint32_t)(out.at - frame), chance(8) ? 0 : chance(8));
	return (uint32_t)(out.at - frame);
}

/* ---- steps ---- */

struct mutated {
	uint8_t *data;
	size_t size, max;
	uint32_t count, at[STEPS_MAX]; /* where its steps are */
};

static uint32_t step_len(const struct mutated *self, uint32_t at)
{
	uint32_t len = get16(self->data + at + 2), left = (uint32_t)self->size - at - STEP_HEADER;

	return len < left ? len : left;
}

static void find_steps(struct mutated *self)
{
	uint32_t at = INPUT_HEADER;

	for (self->count = 0; self->count < STEPS_MAX && at + STEP_HEADER <= self->size; self->count++) {
		self->at[self->count] = at;
		at += STEP_HEADER + step_len(self, at);
	}
}

/* Puts `len` bytes where `gone` bytes are; without room, or when these are not there, nothing happens. */
static bool splice(struct mutated *self, uint32_t at, uint32_t gone, const uint8_t *bytes, uint32_t len)
{
	if (at + gone > self->size || self->size - gone + len > self->max)
		return false;
	memmove(self->data + at + len, self->data + at + gone, self->size - at - gone);
	if (len)
		memcpy(self->data + at, bytes, len);
	self->size = self->size - gone + len;
	return true;
}

static bool insert_step(struct mutated *self, uint32_t at, uint8_t op, const uint8_t *frame, uint32_t len)
{
	uint8_t bytes[STEP_HEADER + FRAME_MAX] = {op, 0, (uint8_t)(len >> 8), (uint8_t)len};

	memcpy(bytes + STEP_HEADER, frame, len);
	return splice(self, at, 0, bytes, STEP_HEADER + len);
}

static void change_frame(struct mutated *self, uint32_t at)
{
	uint8_t bytes[FRAME_MAX];
	uint32_t old = step_len(self, at), len = old;

	if (old > FRAME_MAX)
		return;
	memcpy(bytes, self->data + at + STEP_HEADER, old);
	if (chance(8))
		len = (uint32_t)LLVMFuzzerMutate(bytes, old, old && chance(2) ? old : FRAME_MAX);
	if (chance(4))
		mend(bytes, len, chance(8) ? 0 : chance(12));
	if (splice(self, at + STEP_HEADER, old, bytes, len))
		put16(self->data + at + 2, len);
}

/* An IPv4 packet becomes two fragments, whose order and border are anything. */
static void cut_ip4(struct mutated *self, uint32_t at)
{
	uint8_t first[FRAME_MAX], second[FRAME_MAX];
	uint32_t len = step_len(self, at), head, border, from;

	if (len < ETH_HEADER + IP4_HEADER || len > FRAME_MAX)
		return;
	memcpy(first, self->data + at + STEP_HEADER, len);
	if (get16(first + 12) != ETHERTYPE_IP4)
		return;
	head = ETH_HEADER + (first[ETH_HEADER] & 15) * 4U;
	if (head < ETH_HEADER + IP4_HEADER || head + FRAGMENT_UNIT >= len)
		return;
	border = FRAGMENT_UNIT * (1 + chance((len - head - 1) / FRAGMENT_UNIT));
	from = chance(8) ? border : chance(border / FRAGMENT_UNIT) * FRAGMENT_UNIT;
	memcpy(second, first, head);
	memcpy(second + head, first + head + from, len - head - from);
	put16(second + ETH_HEADER + 6, from / FRAGMENT_UNIT + (chance(16) ? 0 : 0x2000));
	put16(first + ETH_HEADER + 6, 0x2000);
	mend(first, head + border, 0);
	mend(second, len - from, 0);
	splice(self, at, STEP_HEADER + len, NULL, 0);
	insert_step(self, at, 0, first, head + border);
	insert_step(self, chance(2) ? at : at + STEP_HEADER + head + border, 0, second, len - from);
}

static void double_step(struct mutated *self, uint32_t at)
{
	uint8_t bytes[STEP_HEADER + FRAME_MAX];
	uint32_t len = step_len(self, at);

	if (len > FRAME_MAX)
		return;
	memcpy(bytes, self->data + at, STEP_HEADER + len);
	splice(self, self->at[chance(self->count)], 0, bytes, STEP_HEADER + len);
}

static void insert_frame(struct mutated *self)
{
	uint8_t frame[MADE_MAX];
	uint32_t len = make_frame(frame), at = self->count ? self->at[chance(self->count)] : INPUT_HEADER;

	insert_step(self, at, (uint8_t)(chance(8) ? 0 : chance(256)), frame, len);
}

static void mutate_steps(struct mutated *self)
{
	uint32_t kind = chance(16), at;

	find_steps(self);
	if (!self->count || kind < 3) {
		insert_frame(self);
		return;
	}
	at = self->at[chance(self->count)];
	if (kind < 9)
		change_frame(self, at);
	else if (kind < 11)
		cut_ip4(self, at);
	else if (kind < 12)
		double_step(self, at);
	else if (kind < 14)
		splice(self, at, STEP_HEADER + step_len(self, at), NULL, 0);
	else
		self->data[at + chance(2)] = (uint8_t)chance(256);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	struct mutated self = {.data = data, .size = size, .max = max};

	chance_state = seed | 1;
	if (size < INPUT_HEADER || !chance(6))
		return LLVMFuzzerMutate(data, size, max);
	if (!chance(8))
		data[chance(INPUT_HEADER)] = (uint8_t)chance(256);
	for (uint32_t i = 0; i <= chance(4); i++)
		mutate_steps(&self);
	return self.size;
}
