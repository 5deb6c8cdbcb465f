/*
 * offload.h: the receive offload that takes the outer VLAN tag out of a frame before an XDP program sees it
 * ("rxvlan"). It is the interface's setting, and everybody's: so it is off only while a relay needs that, and is
 * switched on again however the process ends, SIGKILL included, and wherever the interface is by then.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>

#include "common.h"

struct el_offload {
	int keeper, pipe; /* the process that switches it on again, once this end of the pipe is closed; 0: none */
	int fd;           /* a socket of the interface's namespace */
	int record;       /* the file that tells the next process that this one was killed with its keeper; -1: none */
	int ifindex;
	char name[IFNAMSIZ];
	unsigned char mac[6];
	char path[64];    /* of the record */
	bool is_nameless; /* the record has no name yet */
	int announcer;    /* see os/carrier.h */
	bool was_left;    /* the interface was found as such a process had left it */
	bool has_part;    /* of the record's lock: another process has switched it off */
	bool shared;      /* other processes need it off, too: the last one switches it on. Set by the caller */
};

/*
 * Switches it off where it is on and can be. fd: any socket of the interface's namespace. Fails, and leaves it on, when
 * nobody could switch it on again. announcer: for when that takes the link away.
 */
int el_offload_suspend(struct el_offload *self, int fd, int ifindex, int announcer, char err[EL_ERR_MAX]);
void el_offload_restore(struct el_offload *self);
