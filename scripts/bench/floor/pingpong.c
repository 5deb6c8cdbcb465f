/*
 * pingpong.c: the floor for round trips: plain AF_PACKET sockets that do nothing but send a UDP datagram to and fro.
 *
 *   pingpong echo INTERFACE          answers for ever: MAC and IP addresses and ports swapped
 *   pingpong ping INTERFACE COUNT    prints median and 99th percentile of COUNT round trips in microseconds, and CPU
 *                                  seconds
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "floor.h"

enum { PAYLOAD = 18 };

static int open_socket(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	struct timeval second = {1, 0};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);

	address.sll_ifindex = (int)if_nametoindex(interface);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address))
		die(interface);
	return fd;
}

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t kept[8];

	memcpy(kept, a, len);
	memcpy(a, b, len);
	memcpy(b, kept, len);
}

static void echo(int fd)
{
	uint8_t frame[FRAME_MAX];

	for (;;) {
		ssize_t len = recv(fd, frame, sizeof frame, 0);

		if (len < 42 || frame[23] != 17 || frame[36] != 0 || frame[37] != far_host.port)
			continue;
		swap(frame, frame + 6, 6);
		swap(frame + 26, frame + 30, 4);
		swap(frame + 34, frame + 36, 2);
		send(fd, frame, (size_t)len, 0);
	}
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return difference < 0 ? -1 : difference > 0;
}

static void ping(int fd, int count)
{
	double *times = calloc((size_t)count, sizeof *times);
	uint8_t frame[FRAME_MAX], answer[FRAME_MAX];
	size_t len = make_frame(frame, &near_host, &far_host, far_host.mac, PAYLOAD);
	clock_t cpu = clock();

	for (int i = 0; i < count; i++) {
		double start = now();

		send(fd, frame, len, 0);
		if (recv(fd, answer, sizeof answer, 0) < 0)
			die("no echo");
		times[i] = now() - start;
	}
	cpu = clock() - cpu;
	qsort(times, (size_t)count, sizeof *times, compare);
	printf("%.3f %.3f %.6f\n", times[count / 2] * 1e6, times[count * 99 / 100] * 1e6, (double)cpu / CLOCKS_PER_SEC);
	free(times);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "echo"))
		echo(open_socket(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "ping") && atoi(argv[3]) > 0)
		ping(open_socket(argv[2]), atoi(argv[3]));
	else
		fprintf(stderr, "usage: pingpong echo INTERFACE | ping INTERFACE COUNT\n");
	return argc < 3;
}
