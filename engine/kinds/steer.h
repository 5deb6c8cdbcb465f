/*
 * steer.h: has the kernel look for the endpoints of a relay (bpf/steer.bpf.c), and keeps the maps that say who is
 * registered, and the socket of each queue. For an xdp relay it loads the steering program, or one that the user
 * brings, and attaches it by a link that dies with its file descriptor. An interface has one XDP program; when there
 * is one already we say whose and leave it alone, unless it is a steering program that relays of several processes
 * share: each has its number in the maps, and the attachment lasts until the last of them is closed. A packet socket
 * has a program of its own, beside that or alone.
 */
#pragma once

#include "common.h"

struct bpf_object;

struct el_steer {
	struct bpf_object *object;
	int program, link;      /* file descriptors; the link is the attachment */
	int socket_filter;      /* the program for the packet socket; -1 with a program that the user brought */
	int endpoints, sockets; /* maps; a program that the user brought may have no endpoints (-1) */
	int owners;             /* a map of our own program alone; else -1 */
	uint8_t owner;          /* number of the relay in the maps: set before it is opened */
	bool frags;             /* frames may have several buffers: set before it is opened */
	bool native;
	char detail[56]; /* the mode that was picked, and why */
};

/* Loads and attaches to the interface. el_steer_close() also after a failure. */
int el_steer_open(struct el_steer *self, int ifindex, const char *interface, const struct el_relay_opts *opts,
                  char err[EL_ERR_MAX]);
void el_steer_close(struct el_steer *self);
/* Loads the program for a packet socket alone. el_steer_close() also after a failure. */
int el_steer_open_socket(struct el_steer *self, char err[EL_ERR_MAX]);
/* From now on the packet socket gets what is for registered endpoints, and group frames. */
int el_steer_attach_socket(const struct el_steer *self, int fd);
/* Frames of this queue that are steered go to the AF_XDP socket. */
int el_steer_socket(const struct el_steer *self, uint32_t queue, int fd);
/* Frames to the MAC address and VLAN stack are steered, or no more. */
int el_steer_claim(const struct el_steer *self, const struct el_mac *mac, const struct el_vlans *vlans, bool on);
