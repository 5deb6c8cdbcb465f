/*
 * filter.h: pcap-filter text compiled, for frames as they are on the wire. abi.h has opening, asking and closing;
 * whoever opened a filter owns it. The kernel may be given a part of the work, never all of it: el_filter_matches()
 * is asked for every frame and knows what is left to do.
 */
#pragma once

#include "common.h"

/* el_filter_open() for frames of another link type than Ethernet, a DLT_ number of libpcap's. */
struct el_filter *el_filter_compile(const char *text, uint32_t link_type, char err[EL_ERR_MAX]);
/* Lets the kernel do what it can for the packet socket fd, from `now` on. filter NULL: lets everything in. */
int el_filter_attach(struct el_filter *filter, int fd, double now);
