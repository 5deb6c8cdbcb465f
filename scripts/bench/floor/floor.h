/*
 * floor.h: what the floor programs share: the two hosts and the datagram between them, clocks, and the line with which
 * each ends: packets, seconds, CPU seconds.
 */
#pragma once
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ETH_LEN = 14, IP_LEN = 20, UDP_LEN = 8, FRAME_MAX = 2048, PAYLOAD_MAX = 1472, PATIENCE = 3 };

struct host {
	uint8_t mac[6], ip[4];
	uint16_t port;
};

static const struct host near_host = {{2, 0, 0, 0, 0x10, 0}, {10, 0, 0, 1}, 1000};
static const struct host far_host = {{2, 0, 0, 0, 0, 2}, {10, 0, 0, 2}, 7};
static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

static inline void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* The sum in an IP header (RFC 791 3.1). */
static inline void put_checksum(uint8_t *ip)
{
	unsigned sum = 0;

	for (int i = 0; i < IP_LEN; i += 2)
		sum += (unsigned)(ip[i] << 8 | ip[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)));
}

/* IPv4 and UDP headers in front of a payload that is there already. UDP checksum 0: none (RFC 768). */
static inline void put_headers(uint8_t *ip, const struct host *from, const struct host *to, size_t payload)
{
	uint8_t *udp = ip + IP_LEN;

	memset(ip, 0, IP_LEN + UDP_LEN);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned)(IP_LEN + UDP_LEN + payload));
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, from->ip, 4);
	memcpy(ip + 16, to->ip, 4);
	put_checksum(ip);
	put16(udp, from->port);
	put16(udp + 2, to->port);
	put16(udp + 4, (unsigned)(UDP_LEN + payload));
}

/* A whole frame, to the MAC address mac. Returns its length. */
static inline size_t make_frame(uint8_t *frame, const struct host *from, const struct host *to, const uint8_t *mac,
                                size_t payload)
{
	memcpy(frame, mac, 6);
	memcpy(frame + 6, from->mac, 6);
	put16(frame + 12, 0x0800);
	put_headers(frame + ETH_LEN, from, to, payload);
	memset(frame + ETH_LEN + IP_LEN + UDP_LEN, 'x', payload);
	return ETH_LEN + IP_LEN + UDP_LEN + payload;
}

static inline double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static inline void die(const char *what)
{
	perror(what);
	exit(1);
}

/* What is measured: from start_run() to print_run(). */
struct run {
	uint64_t packets;
	double start;
	clock_t cpu;
};

static inline void start_run(struct run *run)
{
	*run = (struct run){.start = now(), .cpu = clock()};
}

static inline void print_run(const struct run *run)
{
	printf("%llu %.6f %.6f\n", (unsigned long long)run->packets, run->packets ? now() - run->start : 0,
	       (double)(clock() - run->cpu) / CLOCKS_PER_SEC);
}

/* Whether a receiver goes on: so many seconds from its first frame, for which it waits. */
static inline int goes_on(const struct run *run, double begin, double seconds)
{
	return now() < (run->packets ? run->start + seconds : begin + PATIENCE);
}

/* A receiver's run starts with its first frame. */
static inline void count_received(struct run *run, uint64_t packets)
{
	if (!run->packets && packets)
		start_run(run);
	run->packets += packets;
}
