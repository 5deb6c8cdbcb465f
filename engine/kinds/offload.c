/*
 * offload.c: a child process, the keeper, switches the offload on again, since it still can when this process was
 * killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kinds/offload.h"

/* Sets the offload; 1: it was so already. */
static int set_rxvlan(int fd, int ifindex, bool on)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GFLAGS};
	struct ifreq request = {.ifr_ifindex = ifindex};

	if (ioctl(fd, SIOCGIFNAME, &request))
		return -errno;
	request.ifr_data = (void *)&value;
	if (ioctl(fd, SIOCETHTOOL, &request))
		return -errno;
	if (!!(value.data & ETH_FLAG_RXVLAN) == on)
		return 1;
	value.cmd = ETHTOOL_SFLAGS;
	value.data ^= ETH_FLAG_RXVLAN;
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

/* In the child: waits for the other end of the pipe to be closed, and holds no other file meanwhile. */
static void keep(int pipe, int ifindex)
{
	int fd;
	char none;

	setsid();
	prctl(PR_SET_NAME, "etherlua-keeper");
	dup2(pipe, 0);
	close_range(1, ~0U, 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	while (read(0, &none, 1) < 0 && errno == EINTR)
		;
	set_rxvlan(fd, ifindex, true);
	_exit(0);
}

/* No signal reaches the keeper but SIGKILL: it ends when its time has come, and does not run the caller's handlers. */
static pid_t fork_keeper(const int ends[2], int ifindex)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (!pid)
		keep(ends[0], ifindex);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

void el_offload_suspend(struct el_offload *self, int fd, int ifindex)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return;
	self->pipe = ends[1];
	if (!set_rxvlan(fd, ifindex, false) && (self->keeper = fork_keeper(ends, ifindex)) < 0)
		set_rxvlan(fd, ifindex, true);
	close(ends[0]);
	if (self->keeper <= 0)
		close(self->pipe);
}

void el_offload_restore(struct el_offload *self)
{
	if (self->keeper <= 0)
		return;
	close(self->pipe);
	while (waitpid(self->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	self->keeper = 0;
}
