/*
 * steer.bpf.c: decides in the kernel which frames an xdp relay gets. Frames to a registered MAC address and VLAN stack
 * go to the AF_XDP socket of the queue on which they arrived; everything else goes on to the kernel, untouched, so that
 * the host keeps its interface. Group frames are the kernel's too: the relay has a socket of another kind for those.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "steer.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_ENDPOINTS_MAX);
	__type(key, struct steer_key);
	__type(value, __u8);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_ETHERTYPES_MAX);
	__type(key, __u16);
	__type(value, __u8);
} ethertypes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* Set before the program is loaded: every frame of a listed EtherType, whoever it is for. */
const volatile __u8 steer_all = 0;

struct tag {
	__be16 tci;
	__be16 type; /* of what follows */
};

static __always_inline int is_tpid(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) || type == bpf_htons(0x9100);
}

SEC("xdp")
int etherlua_steer(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *header = (void *)(long)ctx->data;
	struct tag *tag = (void *)(header + 1);
	struct steer_key key = {};
	__be16 type;

	if ((void *)tag > end || (header->h_dest[0] & 1 && !steer_all))
		return XDP_PASS;
	__builtin_memcpy(key.mac, header->h_dest, ETH_ALEN);
	type = header->h_proto;
	for (int i = 0; i < STEER_TAGS_MAX && is_tpid(type); i++, tag++) {
		if ((void *)(tag + 1) > end)
			return XDP_PASS;
		key.tag[i] = (__u32)bpf_ntohs(type) << 16 | (bpf_ntohs(tag->tci) & 0x0fff);
		key.tags = i + 1;
		type = tag->type;
	}
	if (steer_all) {
		__u16 ethertype = bpf_ntohs(type);

		if (!bpf_map_lookup_elem(&ethertypes, &ethertype))
			return XDP_PASS;
	} else if (!bpf_map_lookup_elem(&endpoints, &key)) {
		return XDP_PASS;
	}
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS);
}

char _license[] SEC("license") = "Dual MIT/GPL";
