/*
 * sockaddr.h: the IP address that the system's structures have.
 */
#pragma once

#include <arpa/inet.h>

#include "common.h"

/* Without the port. False, and version 0, when there is none, or it is no IP address. */
static inline bool el_sockaddr_read(const struct sockaddr *name, struct el_addr *out)
{
	*out = (struct el_addr){.version = 0};
	if (name && name->sa_family == AF_INET) {
		out->version = 4;
		memcpy(out->ip, &((const struct sockaddr_in *)(const void *)name)->sin_addr, 4);
	} else if (name && name->sa_family == AF_INET6) {
		out->version = 6;
		memcpy(out->ip, &((const struct sockaddr_in6 *)(const void *)name)->sin6_addr, 16);
	}
	return out->version != 0;
}
