/*
 * filter.h: pcap-filter text compiled, for frames as they are on the wire. abi.h has opening, asking and closing;
 * whoever opened a filter owns it. The kernel may be given a part of the work, never all of it: el_filter_matches()
 * is asked for every frame and knows what is left to do.
 */
#pragma once

#include "common.h"

/* Lets the kernel do what it can for the packet socket fd, from `now` on. filter NULL: lets everything in. */
int el_filter_attach(struct el_filter *filter, int fd, double now);
