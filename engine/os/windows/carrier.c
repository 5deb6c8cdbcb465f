/*
 * carrier.c: opening an interface resets no card here.
 */
#include "os/carrier.h"

void el_carrier_look(struct el_carrier *self, int fd, int ifindex)
{
	*self = (struct el_carrier){.fd = fd, .ifindex = ifindex};
}

bool el_carrier_is_there(const struct el_carrier *self)
{
	(void)self;
	return true;
}
