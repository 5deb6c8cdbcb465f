/*
 * socket.c: connections between the processes of one run, on the network of the machine itself: what relays have is
 * another. Only Lua asks: the contract is in abi.h.
 *
 * No call blocks. All descriptors are close-on-exec and the caller's.
 */
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/sockaddr.h"

union name {
	struct sockaddr any;
	struct sockaddr_in ip4;
	struct sockaddr_in6 ip6;
};

static int result(int value)
{
	return value < 0 ? -errno : value;
}

int el_socket_pair(int fds[2])
{
	return result(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
}

/* ---- addresses ---- */

static socklen_t name_of(const struct el_addr *addr, union name *out)
{
	memset(out, 0, sizeof *out);
	if (addr->version == 4) {
		out->ip4.sin_family = AF_INET;
		out->ip4.sin_port = htons(addr->port);
		memcpy(&out->ip4.sin_addr, addr->ip, 4);
		return sizeof out->ip4;
	}
	out->ip6.sin6_family = AF_INET6;
	out->ip6.sin6_port = htons(addr->port);
	memcpy(&out->ip6.sin6_addr, addr->ip, 16);
	return sizeof out->ip6;
}

/* Not one that is of a link alone: it says nothing without the interface. */
static bool addr_of(const struct sockaddr *name, struct el_addr *out)
{
	const union name *in = (const union name *)name;

	return el_sockaddr_read(name, out) && !(out->version == 6 && IN6_IS_ADDR_LINKLOCAL(&in->ip6.sin6_addr));
}

uint32_t el_socket_addrs(struct el_addr *out, uint32_t max)
{
	struct ifaddrs *list = NULL;
	uint32_t count = 0;

	if (getifaddrs(&list))
		return 0;
	for (const struct ifaddrs *one = list; one && count < max; one = one->ifa_next)
		if (one->ifa_flags & IFF_UP && addr_of(one->ifa_addr, &out[count]))
			count++;
	freeifaddrs(list);
	return count;
}

/* ---- connections ---- */

static int new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;

	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	return fd;
}

static int listen_at(int fd, union name *name, socklen_t size)
{
	if (bind(fd, &name->any, size) || listen(fd, SOMAXCONN) || getsockname(fd, &name->any, &size))
		return -errno;
	return 0;
}

/* A socket for IPv6 takes IPv4, too, unless somebody has set that otherwise; where there is no IPv6, IPv4 alone. */
int el_socket_listen(uint16_t *port)
{
	int fd = new_socket(AF_INET6), off = 0, error;
	bool six = fd >= 0 && !setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	struct el_addr any = {.version = six ? 6 : 4};
	union name name;

	if (!six) {
		if (fd >= 0)
			close(fd);
		fd = new_socket(AF_INET);
	}
	if (fd < 0)
		return -errno;
	error = listen_at(fd, &name, name_of(&any, &name));
	if (error)
		close(fd);
	*port = ntohs(six ? name.ip6.sin6_port : name.ip4.sin_port);
	return error ? error : fd;
}

int el_socket_accept(int fd)
{
	return result(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int el_socket_connect(const struct el_addr *to)
{
	union name name;
	socklen_t size = name_of(to, &name);
	int fd = new_socket(name.any.sa_family), error;

	if (fd < 0)
		return -errno;
	if (!connect(fd, &name.any, size) || errno == EINPROGRESS)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* ---- bytes ---- */

int el_socket_read(int fd, void *buffer, uint32_t size)
{
	return result((int)recv(fd, buffer, size, MSG_DONTWAIT));
}

int el_socket_write(int fd, const void *bytes, uint32_t len)
{
	return result((int)send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL));
}
