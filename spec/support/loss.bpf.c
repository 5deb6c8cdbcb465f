// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * loss.bpf.c: a link that loses known packets of test traffic (lua/etherlua/role/traffic.lua), for tc.
 *
 * Compiled for every test with -DPEER= the interface that frames go to, -DSILENT= a flow that is lost wholly, and
 * -DLOSSY= one that loses the last of every -DEVERY packets. It looks only at untagged IPv4 without options.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

enum { PAYLOAD = 14 + 20 + 8, LENGTH = 18, WARM_UP = 0x80 };

static __always_inline int is_lost(__u32 flow, __u32 sequence)
{
	return flow == SILENT || (flow == LOSSY && sequence % EVERY == EVERY - 1);
}

SEC("tc/loss")
int lose(struct __sk_buff *skb)
{
	__u8 p[LENGTH];

	if (bpf_skb_load_bytes(skb, PAYLOAD, p, LENGTH) || p[0] != 'e' || p[1] != 'l' || p[2] != 't' || p[14] & WARM_UP)
		return bpf_redirect(PEER, 0);
	if (is_lost(p[3] << 16 | p[4] << 8 | p[5], (__u32)p[6] << 24 | p[7] << 16 | p[8] << 8 | p[9]))
		return TC_ACT_SHOT;
	return bpf_redirect(PEER, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
