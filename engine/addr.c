/*
 * addr.c: addresses from and to text. Lua keeps the results; nothing here allocates. Only Lua asks: its contract is in
 * abi.h.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

int el_ip_parse(const char *text, uint8_t ip[16])
{
	memset(ip, 0, 16);
	if (inet_pton(AF_INET, text, ip) == 1)
		return 4;
	if (inet_pton(AF_INET6, text, ip) == 1)
		return 6;
	return 0;
}

int el_ip_format(const uint8_t *ip, int version, char *text)
{
	inet_ntop(version == 4 ? AF_INET : AF_INET6, ip, text, INET6_ADDRSTRLEN);
	return (int)strlen(text);
}

static int digit_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit |= 0x20;
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int el_mac_parse(const char *text, struct el_mac *mac)
{
	for (int i = 0; i < 6; i++, text += 3) {
		int high = digit_value(text[0]), low = high < 0 ? -1 : digit_value(text[1]);

		if (low < 0 || (i < 5 ? text[2] != ':' && text[2] != '-' : text[2] != '\0'))
			return 0;
		mac->byte[i] = (uint8_t)(high << 4 | low);
	}
	return 1;
}

void el_mac_format(const struct el_mac *mac, char *text)
{
	static const char digit[] = "0123456789abcdef";

	for (int i = 0; i < 6; i++) {
		*text++ = digit[mac->byte[i] >> 4];
		*text++ = digit[mac->byte[i] & 15];
		*text++ = i < 5 ? ':' : '\0';
	}
}
