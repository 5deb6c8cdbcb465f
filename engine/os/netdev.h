/*
 * netdev.h: facts about network interfaces, in the words that people need when something is wrong. Nothing is changed
 * on one here.
 */
#pragma once

#include <net/if.h>

#include "common.h"

struct el_netdev {
	int ifindex;
	struct el_mac mac;
	uint32_t mtu;
};

/* The name of the interface that `given` means, which may be a long alternative one (ip link property add). */
int el_netdev_name(char name[IFNAMSIZ], const char *given, char err[EL_ERR_MAX]);
/*
 * An error when there is no such interface, it is none for Ethernet, or it is down. name becomes its real one when that
 * is an alternative. fd: any socket of the interface's namespace.
 */
int el_netdev_facts(struct el_netdev *out, int fd, char name[IFNAMSIZ], char err[EL_ERR_MAX]);
/* Fails with -EPERM, and the line that says what opening the interface needs. */
int el_netdev_refused(const char *name, char err[EL_ERR_MAX]);
/* 0 up, ENETDOWN down, ENXIO no more. fd: any socket of the interface's namespace. */
int el_netdev_state(int fd, int ifindex);
/* How many receive queues the interface has, 1 where the driver does not tell. fd as above. */
uint32_t el_netdev_queues(int fd, const char *name);
