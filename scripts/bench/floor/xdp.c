/*
 * xdp.c: the floor for AF_XDP: one queue, copy mode, and nothing but moving frames.
 *
 *   xdp send INTERFACE SECONDS PAYLOAD   the same datagram over and over
 *   xdp recv INTERFACE SECONDS           counts frames
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#include "floor.h"

enum {
	FRAMES = 8192,
	RING = 4096,
	SEND_BATCH = 32, /* what one wakeup sends in copy mode */
	RECV_BATCH = 64,
	TURNS = 64, /* between two looks at the clock */
};

static uint8_t *memory;
static struct xsk_umem *umem;
static struct xsk_socket *xsk;
static struct xsk_ring_prod fill, tx;
static struct xsk_ring_cons completion, rx;
static volatile uint8_t seen;

static void open_socket(const char *interface)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct xsk_umem_config umem_config = {.fill_size = RING, .comp_size = RING, .frame_size = FRAME_MAX};
	struct xsk_socket_config config = {
		.rx_size = RING,
		.tx_size = RING,
		.xdp_flags = XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_USE_NEED_WAKEUP | XDP_COPY,
	};

	libbpf_set_print(NULL); /* they tell of every missing nicety */
	libxdp_set_print(NULL);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	memory = mmap(NULL, (size_t)FRAMES * FRAME_MAX, PROT_READ | PROT_WRITE,
	              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("mmap");
	errno = -xsk_umem__create(&umem, memory, (size_t)FRAMES * FRAME_MAX, &fill, &completion, &umem_config);
	if (!errno)
		errno = -xsk_socket__create(&xsk, interface, 0, umem, &rx, &tx, &config);
	if (errno)
		die(interface);
}

static void close_socket(void)
{
	xsk_socket__delete(xsk);
	xsk_umem__delete(umem);
}

/* ---- sending ---- */

static void queue_frames(size_t len)
{
	static uint32_t next;
	uint32_t at;

	if (!xsk_ring_prod__reserve(&tx, SEND_BATCH, &at))
		return;
	for (uint32_t i = 0; i < SEND_BATCH; i++)
		*xsk_ring_prod__tx_desc(&tx, at + i) =
			(struct xdp_desc){.addr = (uint64_t)(next++ % RING) * FRAME_MAX, .len = (uint32_t)len};
	xsk_ring_prod__submit(&tx, SEND_BATCH);
}

static void wake_up(void)
{
	if (sendto(xsk_socket__fd(xsk), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN && errno != EBUSY &&
	    errno != ENOBUFS)
		die("sendto");
}

static uint32_t reap(void)
{
	uint32_t at, done = xsk_ring_cons__peek(&completion, RING, &at);

	if (done)
		xsk_ring_cons__release(&completion, done);
	return done;
}

static void send_for(struct run *run, double seconds, size_t payload)
{
	size_t len = 0;

	for (int i = 0; i < FRAMES; i++)
		len = make_frame(memory + (size_t)i * FRAME_MAX, &near_host, &far_host, broadcast, payload);
	start_run(run);
	while (now() < run->start + seconds)
		for (int i = 0; i < TURNS; i++) {
			queue_frames(len);
			wake_up();
			run->packets += reap();
		}
}

/* ---- receiving ---- */

static void give_all(void)
{
	uint32_t at, count = xsk_ring_prod__reserve(&fill, RING, &at);

	for (uint32_t i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&fill, at + i) = (uint64_t)i * FRAME_MAX;
	xsk_ring_prod__submit(&fill, count);
}

/* Looks at a byte of each frame, as any use of it would, and gives it back. */
static uint32_t take_frames(void)
{
	uint32_t from, to, count = xsk_ring_cons__peek(&rx, RECV_BATCH, &from);

	if (!count)
		return 0;
	count = xsk_ring_prod__reserve(&fill, count, &to);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = xsk_ring_cons__rx_desc(&rx, from + i)->addr;

		seen = memory[address];
		*xsk_ring_prod__fill_addr(&fill, to + i) = address & ~(FRAME_MAX - 1ULL);
	}
	xsk_ring_prod__submit(&fill, count);
	xsk_ring_cons__release(&rx, count);
	return count;
}

static void wait_frames(void)
{
	struct pollfd readable = {xsk_socket__fd(xsk), POLLIN, 0};

	if (xsk_ring_prod__needs_wakeup(&fill))
		recvfrom(readable.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	poll(&readable, 1, 100);
}

static void recv_for(struct run *run, double seconds)
{
	double begin = now();

	give_all();
	while (goes_on(run, begin, seconds))
		for (int i = 0; i < TURNS; i++) {
			uint32_t count = take_frames();

			count_received(run, count);
			if (!count) {
				wait_frames();
				break;
			}
		}
}

int main(int argc, char **argv)
{
	struct run run = {0};

	if (argc == 5 && !strcmp(argv[1], "send") && atoi(argv[4]) <= PAYLOAD_MAX) {
		open_socket(argv[2]);
		send_for(&run, atof(argv[3]), (size_t)atoi(argv[4]));
	} else if (argc == 4 && !strcmp(argv[1], "recv")) {
		open_socket(argv[2]);
		recv_for(&run, atof(argv[3]));
	} else {
		fprintf(stderr, "usage: xdp send INTERFACE SECONDS PAYLOAD | recv INTERFACE SECONDS\n");
		return 1;
	}
	print_run(&run);
	close_socket();
	return 0;
}
