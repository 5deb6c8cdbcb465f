/*
 * whereabouts.h: where an interface is that was moved to another network namespace. For a process that has nothing else
 * to do: looking moves it into other namespaces.
 */
#pragma once

#include <stdbool.h>

/* Whether the interface is in the namespace of the socket fd. */
bool el_whereabouts_here(int fd, int ifindex);
/*
 * Looks through the namespaces of all processes, those that they hold open and those under /run/netns. A moved
 * interface keeps its MAC address, and its number or its name; one with an XDP program is another. Returns a socket in
 * its namespace, and its number there; -ENODEV: it is nowhere.
 */
int el_whereabouts_find(int *ifindex, const char *name, const unsigned char mac[6]);
