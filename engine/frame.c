/*
 * frame.c: what a parsed frame says about itself.
 */
#include "frame.h"

void el_frame_vlans(const struct el_frame *frame, struct el_vlans *out)
{
	const uint8_t *tag = frame->data + 12;

	memset(out, 0, sizeof *out);
	out->count = frame->tags;
	for (uint32_t i = 0; i < frame->tags; i++, tag += TAG_LEN) {
		out->tag[i].tpid = get16(tag);
		out->tag[i].tci = get16(tag + 2);
	}
}

/* The address at offset ip4 or ip6 of the IP header and the port at offset port of the UDP header. */
static void address(const struct el_frame *frame, struct el_addr *out, uint32_t ip4, uint32_t ip6, uint32_t port)
{
	const uint8_t *ip = frame->data + frame->l3;

	memset(out, 0, sizeof *out);
	if (frame->flags & EL_FRAME_IP4) {
		out->version = 4;
		memcpy(out->ip, ip + ip4, 4);
	} else if (frame->flags & EL_FRAME_IP6) {
		out->version = 6;
		memcpy(out->ip, ip + ip6, 16);
	}
	if (frame->flags & EL_FRAME_UDP)
		out->port = get16(frame->data + frame->l4 + port);
}

void el_frame_source(const struct el_frame *frame, struct el_addr *out)
{
	address(frame, out, 12, 8, 0);
}

void el_frame_target(const struct el_frame *frame, struct el_addr *out)
{
	address(frame, out, 16, 24, 2);
}
