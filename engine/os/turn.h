/*
 * turn.h: processes that open relays on one interface do it one after the other, where what they put there is shared.
 */
#pragma once

/*
 * Waits until no other process has the turn of this interface. To be called in the interface's namespace. A file
 * descriptor, which ends the turn when it is closed, as at the end of the process; or -errno, -EBUSY after seconds.
 */
int el_turn_take(int ifindex, double seconds);
