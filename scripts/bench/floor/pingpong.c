/*
 * pingpong.c: the floor for round trips: plain AF_PACKET sockets that do nothing but send a UDP datagram back and forth.
 *
 *   pingpong echo INTERFACE          answers for ever: MAC and IP addresses and ports swapped
 *   pingpong ping INTERFACE COUNT    prints median and 99th percentile of COUNT round trips in microseconds
 */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum { FRAME = 60, ECHO_PORT = 7 };

static int open_socket(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP)};
	struct timeval second = {1, 0};
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW, 0);

	address.sll_ifindex = (int)if_nametoindex(interface);
	setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
		perror(interface);
		exit(1);
	}
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
	uint8_t frame[2048];

	for (;;) {
		ssize_t len = recv(fd, frame, sizeof frame, 0);

		if (len < 42 || frame[23] != 17 || frame[36] != 0 || frame[37] != ECHO_PORT)
			continue;
		swap(frame, frame + 6, 6);
		swap(frame + 26, frame + 30, 4);
		swap(frame + 34, frame + 36, 2);
		send(fd, frame, (size_t)len, 0);
	}
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return difference < 0 ? -1 : difference > 0;
}

static void ping(int fd, int count)
{
	static const uint8_t head[] = {2,  0, 0, 0, 0, 2, 2,  0,  0, 0, 0, 3, 8,  0, 0x45, 0, 0, 46, 0, 0, 0,
	                               0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 3,  232,  0, 7, 0, 26};
	double *times = calloc((size_t)count, sizeof *times);
	uint8_t frame[FRAME] = {0}, answer[2048];

	memcpy(frame, head, sizeof head);
	for (int i = 0; i < count; i++) {
		double start = now();

		send(fd, frame, sizeof frame, 0);
		if (recv(fd, answer, sizeof answer, 0) < 0) {
			perror("no echo");
			exit(1);
		}
		times[i] = now() - start;
	}
	qsort(times, (size_t)count, sizeof *times, compare);
	printf("%.3f %.3f\n", times[count / 2] * 1e6, times[count * 99 / 100] * 1e6);
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
