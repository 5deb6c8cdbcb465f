/*
 * offload.h: the receive offload that takes the outer VLAN tag out of a frame before an XDP program sees it
 * ("rxvlan"). It is the interface's setting, and everybody's: so it is off only while a relay needs that, and is
 * switched on again however the process ends, SIGKILL included.
 */
#pragma once

struct el_offload {
	int keeper, pipe; /* the process that switches it on again, once this end of the pipe is closed; 0: none */
};

/* Switches it off where it is on and can be. fd: any socket of the interface's namespace. */
void el_offload_suspend(struct el_offload *self, int fd, int ifindex);
void el_offload_restore(struct el_offload *self);
