/*
 * checksum.c: the internet checksum (RFC 1071), for what the engine sends and for Lua.
 */
#include "core.h"

uint64_t el_sum(const uint8_t *p, uint32_t len, uint64_t total)
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

uint16_t el_fold(uint64_t total)
{
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffffffff) + (total >> 32);
	total = (total & 0xffff) + (total >> 16);
	total = (total & 0xffff) + (total >> 16);
	return (uint16_t)~total;
}

uint32_t el_checksum(const void *data, uint32_t len, uint32_t start)
{
	uint8_t words[4];
	uint16_t folded;

	put16(words, start >> 16);
	put16(words + 2, start & 0xffff);
	folded = el_fold(el_sum(data, len, el_sum(words, sizeof words, 0)));
	memcpy(words, &folded, 2);
	return get16(words);
}
