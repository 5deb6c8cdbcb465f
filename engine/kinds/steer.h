/*
 * steer.h: the steering program of an xdp relay: loads it (bpf/steer.bpf.c, or one that the user brings), attaches it
 * by a link that dies with its file descriptor, and keeps its maps: who is registered, and the socket of each queue.
 * An interface has one XDP program; when there is one already we say whose and leave it alone.
 */
#pragma once

#include "common.h"

struct bpf_object;

struct el_steer {
	struct bpf_object *object;
	int program, link;      /* file descriptors; the link is the attachment */
	int group_filter;       /* the program for the packet socket; -1 with a program that the user brought */
	int endpoints, sockets; /* maps; a program that the user brought may have no endpoints (-1) */
	bool frags;             /* frames may have several buffers: set before it is opened */
	bool native;
	char detail[56]; /* the mode that was picked, and why */
};

/* Loads and attaches to the interface. el_steer_close() also after a failure. */
int el_steer_open(struct el_steer *self, int ifindex, const char *interface, const struct el_relay_opts *opts,
                  char err[EL_ERR_MAX]);
void el_steer_close(struct el_steer *self);
/* Frames of this queue that are steered go to the AF_XDP socket. */
int el_steer_socket(const struct el_steer *self, uint32_t queue, int fd);
/* Frames to the MAC address and VLAN stack are steered, or no more. */
int el_steer_claim(const struct el_steer *self, const struct el_mac *mac, const struct el_vlans *vlans, bool on);
