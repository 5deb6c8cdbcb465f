// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * access.bpf.c: what an access node does to a frame, for tc: take the subscriber's VLAN tags off, put them on.
 *
 * Compiled for every test by access.lua with -DTAGS='TAG(0x88a8, 100) || TAG(0x8100, 200)' (outer tag first; 0 for
 * none), -DTAGS_REVERSED= the same from the inside out, and -DPEER= the interface that frames go to (0: they go on
 * where they are). So the stack is part of the program and there are no maps. The kernel shows a program the outermost
 * tag beside the frame, never inside of it (skb->vlan_*), and brings up the next one when that is popped.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VID_MASK 0xfff

static __always_inline int hand_over(void)
{
	return PEER ? bpf_redirect(PEER, 0) : TC_ACT_OK;
}

/* Takes off the outermost tag when it is this one, whatever its priority. */
static __always_inline __attribute__((unused)) int pop(struct __sk_buff *skb, __u16 tpid, __u16 vid)
{
	if (!skb->vlan_present || skb->vlan_proto != bpf_htons(tpid) || (skb->vlan_tci & VID_MASK) != vid)
		return -1;
	return bpf_skb_vlan_pop(skb);
}

/* Frames with the configured stack, no more and no fewer tags, lose it; all others are dropped. */
SEC("tc/pop")
int tags_pop(struct __sk_buff *skb)
{
#define TAG(tpid, vid) pop(skb, tpid, vid)
	if (TAGS || skb->vlan_present)
		return TC_ACT_SHOT;
#undef TAG
	return hand_over();
}

/* Untagged frames get the configured stack; tagged ones have no business on this side. */
SEC("tc/push")
int tags_push(struct __sk_buff *skb)
{
#define TAG(tpid, vid) bpf_skb_vlan_push(skb, bpf_htons(tpid), vid)
	if (skb->vlan_present || TAGS_REVERSED)
		return TC_ACT_SHOT;
#undef TAG
	return hand_over();
}

char _license[] SEC("license") = "Dual MIT/GPL";
