/*
 * steer.bpf.c: decides in the kernel which frames an xdp relay gets. Frames to a registered MAC address and VLAN
 * stack go to the AF_XDP socket of the queue on which they arrived; everything else goes on to the kernel, untouched,
 * so that the host keeps its interface. Group frames are the kernel's too: the relay has a packet socket for those.
 * Relays of several processes may share the interface: each has queues of its own, and what arrives on another's queue
 * is left to the kernel, which has it for the packet socket.
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

/* By queue, whose it is. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_QUEUES_MAX);
	__type(key, __u32);
	__type(value, __u8);
} owners SEC(".maps");

/* Set before the program is loaded. */
const volatile struct steer_config config = {.owner = STEER_OWNER};

enum { VID_BITS = 0x0fff };

struct tag {
	__be16 tci;
	__be16 type; /* of what follows */
};

/* The tag that the driver took out of the frame; 0 where there was one, or -errno. A kfunc of Linux 6.8. */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *tpid, __u16 *tci) __ksym __weak;

static __always_inline int is_tpid(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) || type == bpf_htons(0x9100);
}

static __always_inline void add_tag(struct steer_key *key, int i, __be16 tpid, __u16 tci)
{
	key->tag[i] = (__u32)bpf_ntohs(tpid) << 16 | (tci & VID_BITS);
	key->tags = i + 1;
}

/* Takes the tags of VID 0 away: these carry a priority and are no VLAN (IEEE 802.1Q 9.6). Says how many there were. */
static __always_inline int strip_vid0(struct steer_key *key)
{
	int found = 0;

#pragma unroll
	for (int i = STEER_TAGS_MAX - 1; i >= 0; i--) {
		if (!key->tag[i] || key->tag[i] & VID_BITS)
			continue;
#pragma unroll
		for (int at = i; at < STEER_TAGS_MAX - 1; at++)
			key->tag[at] = key->tag[at + 1];
		key->tag[STEER_TAGS_MAX - 1] = 0;
		key->tags--;
		found++;
	}
	return found;
}

/* Whose the endpoint is, 0: nobody's. By the very tags, else without those of VID 0, as the demux does it. */
static __always_inline int owner_of(struct steer_key *key)
{
	const __u8 *owner = bpf_map_lookup_elem(&endpoints, key);

	if (!owner && key->tags && strip_vid0(key))
		owner = bpf_map_lookup_elem(&endpoints, key);
	return owner ? *owner : 0;
}

/* Whose the frame is, 0: nobody's. */
static __always_inline int claimant_of(struct steer_key *key, __be16 type)
{
	__u16 ethertype = bpf_ntohs(type);

	if (config.all)
		return bpf_map_lookup_elem(&ethertypes, &ethertype) ? config.owner : 0;
	return owner_of(key);
}

static __always_inline int owns_queue(int claimant, __u32 queue)
{
	const __u8 *owner = bpf_map_lookup_elem(&owners, &queue);

	return owner && *owner == claimant;
}

/* Whether the queue's relay gets the frame. Its key has the tag that is aside already, if there is one. */
static __always_inline int is_wanted(struct xdp_md *ctx, struct steer_key *key, int aside)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *header = (void *)(long)ctx->data;
	struct tag *tag = (void *)(header + 1);
	__be16 type;
	int claimant;

	if ((void *)tag > end || (header->h_dest[0] & 1 && !config.all))
		return 0;
	__builtin_memcpy(key->mac, header->h_dest, ETH_ALEN);
	type = header->h_proto;
	for (int i = aside; i < STEER_TAGS_MAX && is_tpid(type); i++, tag++) {
		if ((void *)(tag + 1) > end)
			return 0;
		add_tag(key, i, type, bpf_ntohs(tag->tci));
		type = tag->type;
	}
	claimant = claimant_of(key, type);
	return claimant && owns_queue(claimant, ctx->rx_queue_index);
}

static __always_inline int steer(struct xdp_md *ctx)
{
	struct steer_key key = {};

	return is_wanted(ctx, &key, 0) ? bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS) : XDP_PASS;
}

SEC("xdp")
int etherlua_steer(struct xdp_md *ctx)
{
	return steer(ctx);
}

/* Puts a tag that is aside back behind the MAC addresses. */
static __always_inline int insert_tag(struct xdp_md *ctx, __be16 tpid, __u16 tci)
{
	__u16 macs[6];
	__u16 *at;

	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(struct tag)))
		return -1;
	at = (void *)(long)ctx->data;
	if ((void *)(at + 8) > (void *)(long)ctx->data_end)
		return -1;
	__builtin_memcpy(macs, at + 2, sizeof macs);
	__builtin_memcpy(at, macs, sizeof macs);
	at[6] = tpid;
	at[7] = bpf_htons(tci);
	return 0;
}

/* The same where the program may ask the driver: it is bound to the interface, which only native mode lets it be. */
SEC("xdp")
int etherlua_tagged(struct xdp_md *ctx)
{
	struct steer_key key = {};
	__be16 tpid;
	__u16 tci;

	if (bpf_xdp_metadata_rx_vlan_tag(ctx, &tpid, &tci))
		return steer(ctx);
	add_tag(&key, 0, tpid, tci);
	if (!is_wanted(ctx, &key, 1))
		return XDP_PASS;
	if (insert_tag(ctx, tpid, tci))
		return XDP_ABORTED;
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}

/*
 * What the packet socket of an xdp relay gets of the frames that the kernel got: those to groups, and those of
 * endpoints that the program above did not take, because it could not see their tag, has no ring of the relay for their
 * queue, or (in generic mode) was not asked about a frame that tc had redirected.
 */
SEC("socket")
int etherlua_group(struct __sk_buff *skb)
{
	struct steer_key key = {};
	__u32 at = sizeof(struct ethhdr);
	struct ethhdr header;
	struct tag tag;
	__be16 type;

	if (bpf_skb_load_bytes(skb, 0, &header, sizeof header))
		return 0;
	if (header.h_dest[0] & 1)
		return -1;
	__builtin_memcpy(key.mac, header.h_dest, ETH_ALEN);
	type = header.h_proto;
#pragma unroll
	for (int i = 0; i < STEER_TAGS_MAX; i++) {
		if (i == 0 && skb->vlan_present) {
			add_tag(&key, 0, (__be16)skb->vlan_proto, (__u16)skb->vlan_tci);
			continue;
		}
		if (!is_tpid(type))
			break;
		if (bpf_skb_load_bytes(skb, at, &tag, sizeof tag))
			return 0;
		add_tag(&key, i, type, bpf_ntohs(tag.tci));
		type = tag.type;
		at += sizeof tag;
	}
	return claimant_of(&key, type) == config.owner ? -1 : 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
