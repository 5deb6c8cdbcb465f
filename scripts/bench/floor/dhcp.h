/*
 * dhcp.h: what the DHCP floors share: a packet socket, batches of frames, and BOOTP messages in them (RFC 2131). Frames
 * are untagged.
 */
#pragma once
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
	BOOTREQUEST = 1,
	BOOTREPLY = 2,
};

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5 };

/* Frames that are received or sent at once. */
struct batch {
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	uint8_t frames[BATCH][FRAME_MAX];
};

static inline void open_batch(struct batch *batch)
{
	for (int i = 0; i < BATCH; i++) {
		batch->parts[i] = (struct iovec){batch->frames[i], FRAME_MAX};
		batch->messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &batch->parts[i], .msg_iovlen = 1}};
	}
}

static inline void send_batch(int fd, struct batch *batch, unsigned count)
{
	for (unsigned sent = 0; sent < count;) {
		int more = sendmmsg(fd, batch->messages + sent, count - sent, 0);

		sent += more > 0 ? (unsigned)more : 1; /* one that cannot be sent is given up */
	}
}

/* Receives a batch, as the flags say, and sends what answer() makes of each frame: nothing where it returns 0. */
static inline void answer_batch(int fd, int flags, struct batch *in, struct batch *out,
                                size_t (*answer)(uint8_t *out, const uint8_t *frame, size_t len))
{
	int count = recvmmsg(fd, in->messages, BATCH, flags, NULL);
	unsigned answers = 0;

	for (int i = 0; i < count; i++) {
		size_t len = answer(out->frames[answers], in->frames[i], in->messages[i].msg_len);

		if (len)
			out->parts[answers++].iov_len = len;
	}
	send_batch(fd, out, answers);
}

static inline int open_socket(const char *interface)
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

static const uint8_t magic_cookie[] = {0x63, 0x82, 0x53, 0x63};

/* The value of an option, NULL when the message has none. */
static inline const uint8_t *find_option(const uint8_t *message, const uint8_t *end, uint8_t code)
{
	for (const uint8_t *at = message + OPTIONS; at + 2 < end && *at != 255; at += *at ? 2 + at[1] : 1)
		if (*at == code)
			return at + 2;
	return NULL;
}

/* The message type (option 53), 0 when the frame is no DHCP message of this kind. */
static inline uint8_t type_of(const uint8_t *frame, size_t len, uint8_t op, uint8_t port)
{
	const uint8_t *message = frame + HEADERS, *type;

	if (len < HEADERS + OPTIONS || frame[ETH_LEN] != 0x45 || frame[ETH_LEN + 9] != 17 ||
	    frame[ETH_LEN + IP_LEN + 3] != port || message[0] != op ||
	    memcmp(message + OPTIONS - 4, magic_cookie, 4) != 0)
		return 0;
	type = find_option(message, frame + len, 53);
	return type ? *type : 0;
}

static inline uint8_t *put_option(uint8_t *at, uint8_t code, const uint8_t *value, uint8_t len)
{
	at[0] = code;
	at[1] = len;
	memcpy(at + 2, value, len);
	return at + 2 + len;
}

/* Ethernet, IP and UDP headers around a message that is there already. Returns the length of the frame. */
static inline size_t put_around(uint8_t *frame, const struct host *from, const struct host *to)
{
	memcpy(frame, to->mac, 6);
	memcpy(frame + 6, from->mac, 6);
	put16(frame + 12, ETH_P_IP);
	put_headers(frame + ETH_LEN, from, to, MESSAGE_LEN);
	return HEADERS + MESSAGE_LEN;
}
