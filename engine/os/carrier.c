/*
 * carrier.c: asks the driver (ethtool), which knows at once that the link is away: the interface's state may tell a
 * second later. But that alone says that the kernel sends again.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "os/carrier.h"
#include "os/inherited.h"

enum { PAUSE = 20000 /* us */ };

/* ---- the link ---- */

bool el_carrier_is_there(const struct el_carrier *self)
{
	struct ethtool_value link = {.cmd = ETHTOOL_GLINK};
	struct ifreq request = {.ifr_ifindex = self->ifindex};

	if (ioctl(self->fd, SIOCGIFNAME, &request) || ioctl(self->fd, SIOCGIFFLAGS, &request) ||
	    !(request.ifr_flags & IFF_UP))
		return true;
	if (!(request.ifr_flags & IFF_RUNNING))
		return false;
	request.ifr_data = (void *)&link;
	return ioctl(self->fd, SIOCETHTOOL, &request) || link.data;
}

/* ---- announcing ---- */

/* An abstract name is the namespace's, and nobody's when its socket is closed. */
static socklen_t name_of(const struct el_carrier *self, struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
	                   (size_t)snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "etherlua-link-%d",
	                                    self->ifindex));
}

int el_carrier_announcer(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static bool is_announced(const struct el_carrier *self)
{
	struct sockaddr_un name;
	socklen_t len = name_of(self, &name);
	int fd = el_carrier_announcer();
	bool found = fd >= 0 && !connect(fd, (struct sockaddr *)&name, len);

	if (fd >= 0)
		close(fd);
	return found;
}

void el_carrier_look(struct el_carrier *self, int fd, int ifindex)
{
	*self = (struct el_carrier){.fd = fd, .ifindex = ifindex};
	self->awaited = el_carrier_is_there(self) || is_announced(self);
}

/* In a process that nobody waits for: has the announcer, and nothing else of ours, until the link is back. */
static void hold(struct el_carrier self, int announcer)
{
	setsid();
	prctl(PR_SET_NAME, "etherlua-link");
	self.fd = dup2(announcer, 0);
	el_inherited_drop(1);
	for (long waited = 0; waited < EL_LINK_PATIENCE * 1000000L && !el_carrier_is_there(&self); waited += PAUSE)
		usleep(PAUSE);
	_exit(0);
}

/* Of two children the second is the init process's when the first has ended: so none is left for us to collect. */
void el_carrier_announce(const struct el_carrier *self, int announcer, bool was_there)
{
	struct sockaddr_un name;
	socklen_t len = name_of(self, &name);
	sigset_t all, before;
	pid_t pid;

	if (!was_there || announcer < 0 || el_carrier_is_there(self) ||
	    bind(announcer, (struct sockaddr *)&name, len)) /* another process has */
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (!pid) {
		if (!fork())
			hold(*self, announcer);
		_exit(0);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
