/*
 * dhcp_responder.c: the fastest DHCP server: it remembers nothing, for a client's address is 10 and the last three
 * octets of its MAC address. DISCOVER is answered by OFFER, REQUEST by ACK (RFC 2131), all else by nothing.
 *
 *   dhcp_responder INTERFACE      until it is killed
 *
 * Frames are received and sent in batches by one socket; they are untagged.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "floor.h"

enum {
	BATCH = 64,
	SOCKET_BUFFER = 64 << 20,
	HEADERS = ETH_LEN + IP_LEN + UDP_LEN,
	OPTIONS = 240,     /* where they start in a message */
	MESSAGE_LEN = 300, /* of BOOTP (RFC 1542 2.1) */
	SERVER_PORT = 67,
	CLIENT_PORT = 68,
	DISCOVER = 1,
	OFFER = 2,
	REQUEST = 3,
	ACK = 5,
};

static const struct host server = {{2, 0, 0, 0, 0, 2}, {10, 255, 255, 254}, SERVER_PORT};

static int open_socket(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	int one = 1, size = SOCKET_BUFFER, fd = socket(AF_PACKET, SOCK_RAW, 0);

	address.sll_ifindex = (int)if_nametoindex(interface);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
		die(interface);
	return fd;
}

/* The message type (option 53), 0 when the frame is no DHCP request. */
static uint8_t type_of(const uint8_t *frame, size_t len)
{
	static const uint8_t magic[] = {0x63, 0x82, 0x53, 0x63};
	const uint8_t *message = frame + HEADERS, *end = frame + len;

	if (len < HEADERS + OPTIONS || frame[ETH_LEN] != 0x45 || frame[ETH_LEN + 9] != 17 ||
	    frame[ETH_LEN + IP_LEN + 3] != SERVER_PORT || message[0] != 1 ||
	    memcmp(message + OPTIONS - 4, magic, 4) != 0)
		return 0;
	for (const uint8_t *at = message + OPTIONS; at + 2 < end && *at != 255; at += *at ? 2 + at[1] : 1)
		if (*at == 53)
			return at[2];
	return 0;
}

static uint8_t *put_option(uint8_t *at, uint8_t code, const uint8_t *value, uint8_t len)
{
	at[0] = code;
	at[1] = len;
	memcpy(at + 2, value, len);
	return at + 2 + len;
}

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
	memcpy(message, (const uint8_t[]){2, 1, 6}, 3);
	memcpy(message + 4, asked + 4, 4);   /* xid */
	memcpy(message + 10, asked + 10, 2); /* flags */
	memcpy(message + 16, client.ip, 4);
	memcpy(message + 28, mac, 6);
	memcpy(message + OPTIONS - 4, asked + OPTIONS - 4, 4);
	put_options(message + OPTIONS, type);
	if (to_all)
		memset(client.ip, 255, 4);
	memcpy(answer, to_all ? broadcast : mac, 6);
	memcpy(answer + 6, server.mac, 6);
	put16(answer + 12, ETH_P_IP);
	put_headers(answer + ETH_LEN, &server, &client, MESSAGE_LEN);
	return HEADERS + MESSAGE_LEN;
}

static size_t answer(uint8_t *out, const uint8_t *frame, size_t len)
{
	switch (type_of(frame, len)) {
	case DISCOVER:
		return put_answer(out, frame, OFFER);
	case REQUEST:
		return put_answer(out, frame, ACK);
	default:
		return 0;
	}
}

static void send_all(int fd, struct mmsghdr *messages, unsigned count)
{
	for (unsigned sent = 0; sent < count;) {
		int more = sendmmsg(fd, messages + sent, count - sent, 0);

		sent += more > 0 ? (unsigned)more : 1; /* one that cannot be sent is given up */
	}
}

static void fill_messages(struct mmsghdr *messages, struct iovec *parts, uint8_t (*frames)[FRAME_MAX])
{
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){frames[i], FRAME_MAX};
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
	}
}

static void serve(int fd)
{
	static uint8_t in[BATCH][FRAME_MAX], out[BATCH][FRAME_MAX];
	struct mmsghdr from[BATCH], to[BATCH];
	struct iovec in_parts[BATCH], out_parts[BATCH];

	fill_messages(from, in_parts, in);
	fill_messages(to, out_parts, out);
	for (;;) {
		int count = recvmmsg(fd, from, BATCH, MSG_WAITFORONE, NULL);
		unsigned answers = 0;

		for (int i = 0; i < count; i++)
			if ((out_parts[answers].iov_len = answer(out[answers], in[i], from[i].msg_len)))
				answers++;
		send_all(fd, to, answers);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: dhcp_responder INTERFACE\n");
		return 1;
	}
	serve(open_socket(argv[1]));
}
