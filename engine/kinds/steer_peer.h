/*
 * steer_peer.h: finds the steering program that another process has on an interface, by what the kernel tells of it, so
 * that relays of several processes share one. That takes CAP_SYS_ADMIN.
 */
#pragma once

#include "common.h"

struct bpf_object;

enum { EL_STEER_MAPS = 3 };

/* File descriptors of what the other process loaded. */
struct el_steer_peer {
	int link; /* the attachment: it lasts as long as somebody has it */
	int maps[EL_STEER_MAPS];
	bool native;
};

/* -ENOENT: there is none, or another program. interface: its name, for words. */
int el_steer_peer_find(struct el_steer_peer *self, int ifindex, const char *interface, char err[EL_ERR_MAX]);
/* The object, which is not loaded yet, gets these maps instead of its own. */
int el_steer_peer_lend(const struct el_steer_peer *self, struct bpf_object *object);
/* The link is the caller's from now on. */
void el_steer_peer_close(struct el_steer_peer *self);
