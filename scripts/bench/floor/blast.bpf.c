/*
 * blast.bpf.c: what blast.c has the kernel run for each frame: to the next destination MAC address, when its turn has
 * come.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "blast.h"

enum {
	FIRST = 0x1000, /* last two octets of the first destination MAC address */
	LATE = 10000,   /* nanoseconds: later than that the schedule moves, for a burst would be faster than the rate */
	FOR_EVER = 1 << 23,
};

const volatile struct blast_constants constants; /* set before the program is loaded */
struct blast_state state;

static long has_come(__u64 turn, void *unused)
{
	return bpf_ktime_get_ns() >= state.due;
}

static __always_inline void wait_for_turn(void)
{
	__u64 now = bpf_ktime_get_ns();

	if (now > state.due + LATE)
		state.due = now;
	bpf_loop(FOR_EVER, has_come, NULL, 0);
	state.due += constants.interval;
}

SEC("xdp")
int blast(struct xdp_md *ctx)
{
	__u8 *mac = (void *)(long)ctx->data;

	if (mac + 6 > (__u8 *)(long)ctx->data_end)
		return XDP_DROP;
	mac[4] = (FIRST + state.next) >> 8;
	mac[5] = (FIRST + state.next) & 0xff;
	if (++state.next >= constants.endpoints)
		state.next = 0;
	if (constants.interval)
		wait_for_turn();
	state.sent++;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual MIT/GPL";
