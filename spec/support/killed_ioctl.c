/*
 * killed_ioctl.c: preloaded, it kills the process right behind the call that changes an interface's flags of ethtool:
 * for what has to be ready before.
 */
#define _GNU_SOURCE
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

static pid_t first; /* not its children */

__attribute__((constructor)) static void remember(void)
{
	first = getpid();
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list rest;
	void *argument;
	long result;

	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	result = syscall(SYS_ioctl, fd, request, argument);
	if (request == SIOCETHTOOL && *(unsigned *)((struct ifreq *)argument)->ifr_data == ETHTOOL_SFLAGS &&
	    getpid() == first)
		kill(first, SIGKILL);
	return (int)result;
}
