/*
 * checksum.h: the internet checksum (RFC 1071), for those who write IP and UDP headers. Inline: it is made for each
 * datagram that is sent. It works in the machine's byte order: the result is right in memory without swapping.
 */
#pragma once

#include <stdint.h>
#include <string.h>

/* The sum of the bytes, not folded yet, on top of another one. */
static inline uint64_t el_sum(const uint8_t *p, uint32_t len, uint64_t total)
{
	uint64_t words[2];
	uint32_t word;
	uint16_t half = 0;

	for (; len >= 16; p += 16, len -= 16) {
		memcpy(words, p, 16);
		total += (words[0] & 0xffffffff) + (words[0] >> 32) + (words[1] & 0xffffffff) + (words[1] >> 32);
	}
	for (; len >= 4; p += 4, len -= 4) {
		memcpy(&word, p, 4);
		total += word;
	}
	if (len >= 2) {
		memcpy(&half, p, 2);
		total += half;
		p += 2;
		len -= 2;
	}
	half = 0;
	memcpy(&half, p, len);
	return total + half;
}

/* The checksum for a sum. */
static inline uint16_t el_fold(uint64_t total)
{
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

/* Writes a checksum. */
static inline void el_put_checksum(uint8_t *p, uint16_t checksum)
{
	memcpy(p, &checksum, 2);
}

/* Fills in the checksum of an IPv4 header (RFC 791 3.1). */
static inline void el_put_ip4_checksum(uint8_t *ip)
{
	memset(ip + 10, 0, 2);
	el_put_checksum(ip + 10, el_fold(el_sum(ip, (ip[0] & 15) * 4U, 0)));
}
