/*
 * socket_filter.h: the part of a filter that the kernel does, for packet sockets.
 */
#pragma once

#include "common.h"

/* Lets the kernel do what it can for the packet socket fd, from `now` on. filter NULL: lets everything in. */
int el_filter_attach(struct el_filter *filter, int fd, double now);
