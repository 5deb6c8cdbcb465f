/*
 * netns.c: network namespaces, and the user namespace that lets an ordinary user make them. Only Lua asks: the
 * contract is in abi.h.
 *
 * A namespace is nothing but a file descriptor here: the caller owns it, and the kernel takes the namespace and its
 * devices away when the last descriptor and the last process in it are gone. No names under /run/netns are made, and
 * no devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common.h"

static int netns_path(const char *name, char path[PATH_MAX])
{
	const char *before = "/run/netns/", *after = "";

	/* thread-self: a namespace belongs to a thread, and ours may be in another one than the process's first. */
	if (!name)
		name = "/proc/thread-self/ns/net";
	if (strchr(name, '/')) {
		before = "";
	} else if (*name && !name[strspn(name, "0123456789")]) {
		before = "/proc/";
		after = "/ns/net";
	}
	return snprintf(path, PATH_MAX, "%s%s%s", before, name, after) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Asked here, because setns would refuse another file much later, with the same error as everything else. */
static int check_netns(int fd)
{
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? 0 : -EINVAL;
}

int el_netns_open(const char *name)
{
	char path[PATH_MAX];
	int fd, error = netns_path(name, path);

	if (error)
		return error;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a path that turns out to be a FIFO must not hang us */
	if (fd < 0)
		return -errno;
	error = check_netns(fd);
	if (!error)
		return fd;
	close(fd);
	return error;
}

int el_netns_enter(int fd)
{
	return setns(fd, CLONE_NEWNET) ? -errno : 0;
}

/* Makes a namespace, in which the thread is then. Returns its descriptor. */
static int unshare_netns(void)
{
	return unshare(CLONE_NEWNET) ? -errno : el_netns_open(NULL);
}

int el_netns_new(void)
{
	int fd, error, old = el_netns_open(NULL);

	if (old < 0)
		return old;
	fd = unshare_netns();
	error = el_netns_enter(old);
	close(old);
	if (!error || fd < 0)
		return fd;
	close(fd);
	return error;
}

static int write_text(const char *path, const char *text)
{
	int error, fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	error = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return error;
}

int el_userns_enter(void)
{
	char uid_map[32], gid_map[32];
	int error;

	/* Read before unshare: in a user namespace without a map everybody is the overflow user. */
	snprintf(uid_map, sizeof uid_map, "0 %u 1", (unsigned int)geteuid());
	snprintf(gid_map, sizeof gid_map, "0 %u 1", (unsigned int)getegid());
	/*
	 * A network namespace with it: the one we leave belongs to the old user namespace, and having stepped out of
	 * it for a moment (el_netns_new) we could not go back.
	 */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return -errno;
	/*
	 * A program that got rights by its file is not dumpable, and its files in /proc are the real root's. Those
	 * rights are gone with the old user namespace, so there is nothing left to hide.
	 */
	prctl(PR_SET_DUMPABLE, 1);
	/* Without setgroups denied first, the kernel lets nobody but root write a gid_map (user_namespaces(7)). */
	error = write_text("/proc/self/setgroups", "deny");
	if (!error)
		error = write_text("/proc/self/uid_map", uid_map);
	if (!error)
		error = write_text("/proc/self/gid_map", gid_map);
	return error;
}

void el_fd_close(int fd)
{
	close(fd);
}
