/*
 * filter.h: pcap-filter text compiled, for frames as they are on the wire. abi.h has opening, asking and closing;
 * whoever opened a filter owns it. The kernel may be given a part of the work, never all of it: el_filter_matches()
 * is asked for every frame and knows what is left to do.
 */
#pragma once

#include <pcap/pcap.h>

#include "common.h"

struct el_filter {
	struct bpf_program wire;
	/* kinds/socket_filter */
	struct bpf_program kernel; /* bf_len 0: there is none */
	bool again;                /* it lets in frames with a tag that do not match */
	double settled;            /* later frames were seen by it */
};

/* el_filter_open() for frames of another link type than Ethernet, a DLT_ number of libpcap's. */
struct el_filter *el_filter_compile(const char *text, uint32_t link_type, char err[EL_ERR_MAX]);
