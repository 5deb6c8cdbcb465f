/*
 * dhcp_client.c: the floor for DHCP clients: what one must do, and no more: sends DISCOVER, takes the address of the
 * OFFER, sends REQUEST, and is done with the ACK (RFC 2131). Nothing is sent again: one that is lost ends it.
 *
 *   dhcp_client INTERFACE CLIENTS AT_ONCE ROUND
 *
 * CLIENTS lease an address each, AT_ONCE of them at the same time. Their MAC addresses are 02:00, ROUND, and a number.
 */
#include <poll.h>

#include "dhcp.h"

enum { NEW, SELECTING, REQUESTING, BOUND };

static struct {
	uint32_t count, started, bound, round;
	uint8_t *states; /* by number */
} clients;

static const struct host nobody = {.port = CLIENT_PORT},
			 all = {{255, 255, 255, 255, 255, 255}, {255, 255, 255, 255}, SERVER_PORT};

/* What DISCOVER and REQUEST have in common. The transaction is the client's number. */
static uint8_t *put_message(uint8_t *message, uint32_t number, uint8_t type)
{
	uint8_t mac[6] = {2, 0, (uint8_t)clients.round, (uint8_t)(number >> 16)};

	put16(mac + 4, number);
	memset(message, 0, MESSAGE_LEN);
	memcpy(message, (const uint8_t[]){BOOTREQUEST, 1, 6}, 3);
	memcpy(message + 4, &number, 4);
	memcpy(message + 28, mac, 6);
	memcpy(message + OPTIONS - 4, magic_cookie, 4);
	return put_option(message + OPTIONS, 53, &type, 1);
}

static size_t put_frame(uint8_t *frame, uint8_t *end)
{
	struct host client = nobody;

	*end = 255;
	memcpy(client.mac, frame + HEADERS + 28, 6);
	return put_around(frame, &client, &all);
}

static size_t discover(uint8_t *frame)
{
	uint32_t number = clients.started++;

	clients.states[number] = SELECTING;
	return put_frame(frame, put_message(frame + HEADERS, number, DISCOVER));
}

static size_t request(uint8_t *frame, uint32_t number, const uint8_t *offer, const uint8_t *server)
{
	uint8_t *end = put_message(frame + HEADERS, number, REQUEST);

	clients.states[number] = REQUESTING;
	end = put_option(end, 50, offer + 16, 4);
	return put_frame(frame, put_option(end, 54, server, 4));
}

/* What is sent because of a frame that came: the next message of the same client, or of the next one. */
static size_t answer(uint8_t *out, const uint8_t *frame, size_t len)
{
	const uint8_t *message = frame + HEADERS, *server;
	uint8_t type = type_of(frame, len, BOOTREPLY, CLIENT_PORT);
	uint32_t number;

	if (!type)
		return 0;
	memcpy(&number, message + 4, 4);
	if (number >= clients.started)
		return 0;
	if (type == OFFER && clients.states[number] == SELECTING) {
		server = find_option(message, frame + len, 54);
		return server ? request(out, number, message, server) : 0;
	}
	if (type != ACK || clients.states[number] != REQUESTING)
		return 0;
	clients.states[number] = BOUND;
	clients.bound++;
	return clients.started < clients.count ? discover(out) : 0;
}

static void begin(int fd, struct batch *out, uint32_t at_once)
{
	while (clients.started < at_once) {
		unsigned count = 0;

		while (count < BATCH && clients.started < at_once) {
			out->parts[count].iov_len = discover(out->frames[count]);
			count++;
		}
		send_batch(fd, out, count);
	}
}

static void lease_all(int fd, uint32_t at_once)
{
	static struct batch in, out;
	struct pollfd readable = {fd, POLLIN, 0};

	open_batch(&in);
	open_batch(&out);
	begin(fd, &out, at_once < clients.count ? at_once : clients.count);
	while (clients.bound < clients.count && poll(&readable, 1, PATIENCE * 1000) > 0)
		answer_batch(fd, MSG_DONTWAIT, &in, &out, answer);
}

int main(int argc, char **argv)
{
	struct run run;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: dhcp_client INTERFACE CLIENTS AT_ONCE ROUND\n");
		return 1;
	}
	clients.count = (uint32_t)atoi(argv[2]);
	clients.round = (uint32_t)atoi(argv[4]);
	clients.states = calloc(clients.count, 1);
	fd = open_socket(argv[1]);
	if (!clients.states)
		die("memory");
	start_run(&run);
	lease_all(fd, (uint32_t)atoi(argv[3]));
	run.packets = clients.bound;
	print_run(&run);
	return clients.bound == clients.count ? 0 : 1;
}
