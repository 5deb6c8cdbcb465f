/*
 * dhcp_responder.c: the fastest DHCP server: it remembers nothing, for a client's address is 10 and the last three
 * octets of its MAC address. DISCOVER is answered by OFFER, REQUEST by ACK (RFC 2131), all else by nothing.
 *
 *   dhcp_responder INTERFACE      until it is killed
 *
 * Frames are received and sent in batches by one socket.
 */
#include "dhcp.h"

static const struct host server = {{2, 0, 0, 0, 0, 2}, {10, 255, 255, 254}, SERVER_PORT};

static void put_options(uint8_t *at, uint8_t type)
{
	static const uint8_t hour[] = {0, 0, 14, 16}, mask[] = {255, 0, 0, 0};

	at = put_option(at, 53, &type, 1);
	at = put_option(at, 54, server.ip, 4);
	at = put_option(at, 51, hour, 4);
	at = put_option(at, 1, mask, 4);
	at = put_option(at, 3, server.ip, 4);
	*at = 255;
}

/* Header fields and addresses: the client's own where it can receive unicast (RFC 2131 4.1). Returns the length. */
static size_t put_answer(uint8_t *answer, const uint8_t *request, uint8_t type)
{
	const uint8_t *asked = request + HEADERS, *mac = asked + 28;
	bool to_all = asked[10] & 0x80;
	struct host client = {.ip = {10, mac[3], mac[4], mac[5]}, .port = CLIENT_PORT};
	uint8_t *message = answer + HEADERS;

	memset(message, 0, MESSAGE_LEN);
	memcpy(message, (const uint8_t[]){BOOTREPLY, 1, 6}, 3);
	memcpy(message + 4, asked + 4, 4);   /* xid */
	memcpy(message + 10, asked + 10, 2); /* flags */
	memcpy(message + 16, client.ip, 4);
	memcpy(message + 28, mac, 6);
	memcpy(message + OPTIONS - 4, magic_cookie, 4);
	put_options(message + OPTIONS, type);
	if (to_all)
		memset(client.ip, 255, 4);
	memcpy(client.mac, to_all ? broadcast : mac, 6);
	return put_around(answer, &server, &client);
}

static size_t answer(uint8_t *out, const uint8_t *frame, size_t len)
{
	switch (type_of(frame, len, BOOTREQUEST, SERVER_PORT)) {
	case DISCOVER:
		return put_answer(out, frame, OFFER);
	case REQUEST:
		return put_answer(out, frame, ACK);
	default:
		return 0;
	}
}

static void serve(int fd)
{
	static struct batch in, out;

	open_batch(&in);
	open_batch(&out);
	for (;;)
		answer_batch(fd, MSG_WAITFORONE, &in, &out, answer);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: dhcp_responder INTERFACE\n");
		return 1;
	}
	serve(open_socket(argv[1]));
}
