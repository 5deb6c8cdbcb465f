/*
 * after_ioctl.c: preloaded, it runs a command of the shell right behind each call that changes an interface's flags of
 * ethtool, such as to switch an offload: for what has to be ready before, and for drivers that reset their card then.
 * The environment has the command, AFTER_IOCTL, which is told the number of the program's first process, FIRST.
 */
#define _GNU_SOURCE
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((constructor)) static void remember(void)
{
	char number[16];

	snprintf(number, sizeof number, "%d", getpid());
	setenv("FIRST", number, 0);
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
	    system(getenv("AFTER_IOCTL")) < 0)
		perror("AFTER_IOCTL");
	return (int)result;
}
