/*
 * blast.c: the fastest sender: the kernel itself, which runs an XDP program that answers XDP_TX on live frames. The
 * interface is a veth whose other end has an XDP program or `ethtool -K IF gro on`, else nothing passes.
 *
 *   blast OBJECT INTERFACE SECONDS PAYLOAD ENDPOINTS RATE
 *
 * OBJECT is blast.bpf.c, compiled; RATE is in frames a second, 0: as many as possible. Frames go to ENDPOINTS MAC
 * addresses in turn.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <net/if.h>
#include <signal.h>
#include <sys/time.h>

#include "blast.h"
#include "floor.h"

enum {
	BATCH = 64,         /* frames that arrive together, at the most */
	BATCH_RATE = 50000, /* batches a second of a paced feed */
};

static struct bpf_map *map_of(struct bpf_object *object, const char *name)
{
	struct bpf_map *map = bpf_object__find_map_by_name(object, name);

	if (!map)
		die(name);
	return map;
}

static struct bpf_object *load(const char *path, uint32_t endpoints, double rate)
{
	struct blast_constants constants = {endpoints, 0, rate > 0 ? (uint64_t)(1e9 / rate) : 0};
	struct bpf_object *object;

	libbpf_set_print(NULL); /* die() says enough */
	object = bpf_object__open(path);
	if (!object || bpf_map__set_initial_value(map_of(object, ".rodata"), &constants, sizeof constants) ||
	    bpf_object__load(object))
		die("loading blast.bpf.c");
	return object;
}

static uint64_t frames_sent(struct bpf_object *object)
{
	struct blast_state state;
	uint32_t first = 0;

	if (bpf_map_lookup_elem(bpf_map__fd(map_of(object, ".bss")), &first, &state))
		die("counter");
	return state.sent;
}

static void interrupt(int number)
{
	(void)number;
}

/* Setting up live frames takes the kernel milliseconds: so one call sends all of them, until a timer interrupts it. */
static void stop_after(double seconds)
{
	struct itimerval timer = {
		.it_value = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)}};
	struct sigaction action = {.sa_handler = interrupt};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void blast_for(struct bpf_object *object, int ifindex, double seconds, double rate, size_t payload)
{
	uint8_t frame[FRAME_MAX];
	size_t len = make_frame(frame, &far_host, &near_host, near_host.mac, payload);
	struct xdp_md context = {.data_end = (uint32_t)len, .ingress_ifindex = (uint32_t)ifindex};
	double batch = rate > 0 && rate < BATCH * BATCH_RATE ? rate / BATCH_RATE + 1 : BATCH;
	struct bpf_test_run_opts opts = {
		.sz = sizeof opts,
		.data_in = frame,
		.data_size_in = (uint32_t)len,
		.ctx_in = &context,
		.ctx_size_in = sizeof context,
		.repeat = INT_MAX,
		.flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		.batch_size = (uint32_t)batch,
	};

	stop_after(seconds);
	if (bpf_prog_test_run_opts(bpf_program__fd(bpf_object__next_program(object, NULL)), &opts) && errno != EINTR)
		die("live frames");
}

int main(int argc, char **argv)
{
	int ifindex = argc == 7 ? (int)if_nametoindex(argv[2]) : 0;
	struct bpf_object *object;
	struct run run;

	if (!ifindex || atoi(argv[4]) > PAYLOAD_MAX || atoi(argv[5]) < 1) {
		fprintf(stderr, "usage: blast OBJECT INTERFACE SECONDS PAYLOAD ENDPOINTS RATE\n");
		return 1;
	}
	object = load(argv[1], (uint32_t)atoi(argv[5]), atof(argv[6]));
	start_run(&run);
	blast_for(object, ifindex, atof(argv[3]), atof(argv[6]), (size_t)atoi(argv[4]));
	run.packets = frames_sent(object);
	print_run(&run);
	return 0;
}
