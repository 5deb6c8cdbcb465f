/*
 * turn.c: a turn is a name of the network namespace's (an abstract UNIX socket), which one process can have.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/turn.h"

enum { PAUSE = 10000 /* us */ };

static int bind_name(int fd, int ifindex)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int len = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "etherlua/turn/%d", ifindex);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);

	return bind(fd, (struct sockaddr *)&name, size) ? -errno : 0;
}

int el_turn_take(int ifindex, double seconds)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	while ((error = bind_name(fd, ifindex)) == -EADDRINUSE && (seconds -= PAUSE * 1e-6) > 0)
		usleep(PAUSE);
	if (!error)
		return fd;
	close(fd);
	return error == -EADDRINUSE ? -EBUSY : error;
}
