/*
 * everybody.bpf.c: a network in which every IPv4 address is there but 10.255.0.0/16, which is left to who asks. Answers
 * each ARP request and each ping in the kernel, at tc's ingress, and sends the answer out of the same interface. A host
 * has the MAC address 02:00 and its IP address.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { ARP_REQUEST = 1, ARP_REPLY = 2, ECHO = 8, ECHO_REPLY = 0, ICMP = 1, NOBODY = 255 /* second octet */ };

struct arp_packet {
	__be16 hrd, pro;
	__u8 hln, pln;
	__be16 op;
	__u8 sha[ETH_ALEN];
	__u8 spa[4];
	__u8 tha[ETH_ALEN];
	__u8 tpa[4];
} __attribute__((packed));

struct icmp_packet {
	__u8 type, code;
	__be16 checksum;
	__be32 rest;
};

static __always_inline void set_mac(__u8 mac[ETH_ALEN], const __u8 ip[4])
{
	mac[0] = 0x02;
	mac[1] = 0;
	__builtin_memcpy(mac + 2, ip, 4);
}

static __always_inline void swap4(__u8 *a, __u8 *b)
{
	__u8 kept[4];

	__builtin_memcpy(kept, a, 4);
	__builtin_memcpy(a, b, 4);
	__builtin_memcpy(b, kept, 4);
}

static __always_inline int answer_arp(struct ethhdr *ethernet, void *end)
{
	struct arp_packet *arp = (void *)(ethernet + 1);

	if ((void *)(arp + 1) > end || arp->op != bpf_htons(ARP_REQUEST) || arp->tpa[1] == NOBODY)
		return 0;
	arp->op = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp->tha, arp->sha, ETH_ALEN);
	swap4(arp->spa, arp->tpa);
	set_mac(arp->sha, arp->spa);
	__builtin_memcpy(ethernet->h_dest, arp->tha, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, arp->sha, ETH_ALEN);
	return 1;
}

/* The type of the message is the first octet of its checksum: 8 less there is 8 more in the sum (RFC 1624). */
static __always_inline int answer_ping(struct ethhdr *ethernet, void *end)
{
	struct iphdr *ip = (void *)(ethernet + 1);
	struct icmp_packet *icmp = (void *)(ip + 1);
	__u8 mac[ETH_ALEN];
	__u32 sum;

	if ((void *)(icmp + 1) > end || ip->ihl != 5 || ip->protocol != ICMP || icmp->type != ECHO)
		return 0;
	swap4((__u8 *)&ip->saddr, (__u8 *)&ip->daddr);
	icmp->type = ECHO_REPLY;
	sum = bpf_ntohs(icmp->checksum) + (ECHO << 8);
	icmp->checksum = bpf_htons((__u16)(sum + (sum >> 16)));
	__builtin_memcpy(mac, ethernet->h_dest, ETH_ALEN);
	__builtin_memcpy(ethernet->h_dest, ethernet->h_source, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, mac, ETH_ALEN);
	return 1;
}

SEC("tc")
int everybody(struct __sk_buff *skb)
{
	struct ethhdr *ethernet;
	void *end;
	int answered = 0;

	if (bpf_skb_pull_data(skb, sizeof *ethernet + sizeof(struct iphdr) + sizeof(struct icmp_packet)))
		return TC_ACT_SHOT;
	ethernet = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if ((void *)(ethernet + 1) > end)
		return TC_ACT_SHOT;
	if (ethernet->h_proto == bpf_htons(ETH_P_ARP))
		answered = answer_arp(ethernet, end);
	else if (ethernet->h_proto == bpf_htons(ETH_P_IP))
		answered = answer_ping(ethernet, end);
	return answered ? bpf_redirect(skb->ifindex, 0) : TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual MIT/GPL";
