/*
 * address.c: texts of any kind as MAC and IP addresses. What is taken for one is, written as text and read again, the
 * same address; and any 6, 4 or 16 bytes are.
 */
#include "harness.h"

enum { IP_TEXT = 46, MAC_TEXT = 18 };

static void check_ip(const uint8_t ip[16], int version)
{
	char text[IP_TEXT];
	uint8_t again[16];
	int len = el_ip_format(ip, version, text);

	assert(len > 0 && len < IP_TEXT && (size_t)len == strlen(text));
	assert(el_ip_parse(text, again) == version);
	assert(!memcmp(ip, again, version == 4 ? 4 : 16));
}

static void check_mac(const struct el_mac *mac)
{
	char text[MAC_TEXT];
	struct el_mac again;

	el_mac_format(mac, text);
	assert(strlen(text) == MAC_TEXT - 1 && el_mac_parse(text, &again));
	assert(!memcmp(mac, &again, sizeof again));
}

/* The text is a block of its own, so that who reads behind it is found. */
static void check_text(const char *text)
{
	uint8_t ip[16];
	struct el_mac mac;
	int version = el_ip_parse(text, ip);

	assert(version == 0 || version == 4 || version == 6);
	if (version)
		check_ip(ip, version);
	if (!el_mac_parse(text, &mac))
		return;
	assert(strlen(text) == MAC_TEXT - 1);
	check_mac(&mac);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	uint8_t bytes[16] = {0};

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	check_text(text);
	free(text);
	memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
	check_ip(bytes, 4);
	check_ip(bytes, 6);
	check_mac((const struct el_mac *)bytes);
	return 0;
}
