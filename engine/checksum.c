/*
 * checksum.c: the internet checksum for Lua.
 */
#include "checksum.h"
#include "common.h"
#include "wire_format.h"

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
