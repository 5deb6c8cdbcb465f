/*
 * carrier.h: whether the link of an interface is there, and waiting for one that comes back. Many drivers reset the
 * card when an XDP program is attached or an offload is switched, and take seconds to have the link again. Who opens
 * the interface has to wait for that, but not for a cable that nobody plugs in: so it is remembered that the link was
 * there, and who takes it away by closing announces that to other processes, with a name of the network namespace's
 * (an abstract UNIX socket) that ends when the link is back, or has not come for too long.
 */
#pragma once

#include <stdbool.h>

struct el_carrier {
	int fd, ifindex; /* any socket of the interface's namespace */
	bool awaited;    /* the link was there before, or is announced to come back */
};

/* Looks at it before anything is changed. To be called in the interface's namespace. */
void el_carrier_look(struct el_carrier *self, int fd, int ifindex);
/* Also true of an interface that is gone, or that was set down: these do not come back by themselves. */
bool el_carrier_is_there(const struct el_carrier *self);
/* A socket to announce by, which belongs to this namespace; -1: none, and then nothing is announced. */
int el_carrier_announcer(void);
/* Behind a change of the interface: if the link was there before, and is not, a process of its own announces that. */
void el_carrier_announce(const struct el_carrier *self, int announcer, bool was_there);
