/*
 * netdev.c: network namespaces, the user namespace that lets an ordinary user make them, and facts about interfaces.
 *
 * A namespace is nothing but a file descriptor here: the caller owns it, and the kernel takes the namespace and its
 * devices away when the last descriptor and the last process in it are gone. No names under /run/netns are made.
 * Devices themselves are made by lab.lua with iproute2, not here.
 */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { MAX_MTU = 65000 }; /* loopback's is 65536, more than a frame's length can say */

int el_interface_name(char name[IFNAMSIZ], const char *given, char err[EL_ERR_MAX])
{
	if (!*given || strlen(given) >= IFNAMSIZ)
		return el_fail(err, -EINVAL, "bad interface name \"%.64s\": 1 to %d characters", given, IFNAMSIZ - 1);
	strcpy(name, given);
	return 0;
}

int el_interface_refused(const char *name, char err[EL_ERR_MAX])
{
	char program[128] = "";

	if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
		strcpy(program, "etherlua");
	return el_fail(err, -EPERM,
	               "no privilege to open %s: CAP_NET_RAW is missing (run as root, or: setcap cap_net_raw+ep %s)",
	               name, program);
}

int el_interface_facts(int fd, const char *name, struct el_relay *relay, int *ifindex, char err[EL_ERR_MAX])
{
	struct ifreq request = {0};

	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return el_fail(err, -ENODEV, "no such interface: %s", name);
	*ifindex = request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &request) || !(request.ifr_flags & IFF_UP))
		return el_fail(err, -ENETDOWN, "interface %s is down: ip link set %s up", name, name);
	if (ioctl(fd, SIOCGIFMTU, &request))
		return el_fail(err, -errno, "MTU of %s: %s", name, strerror(errno));
	relay->mtu = request.ifr_mtu < MAX_MTU ? (uint32_t)request.ifr_mtu : MAX_MTU;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return el_fail(err, -errno, "MAC address of %s: %s", name, strerror(errno));
	memcpy(relay->mac.byte, request.ifr_hwaddr.sa_data, 6);
	return 0;
}

int el_interface_state(int fd, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	if (ioctl(fd, SIOCGIFNAME, &request) || ioctl(fd, SIOCGIFFLAGS, &request))
		return ENXIO;
	return request.ifr_flags & IFF_UP ? 0 : ENETDOWN;
}

static int netns_path(const char *name, char path[PATH_MAX])
{
	const char *before = "/run/netns/", *after = "";

	/* thread-self: a namespace belongs to a thread, and ours may be in another one than the process's first. */
	if (!name)
		name = "/proc/thread-self/ns/net";
	if (strchr(name, '/'))
		before = "";
	else if (*name && !name[strspn(name, "0123456789")])
		before = "/proc/", after = "/ns/net";
	return snprintf(path, PATH_MAX, "%s%s%s", before, name, after) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int el_netns_open(const char *name)
{
	char path[PATH_MAX];
	int err = netns_path(name, path);

	if (err)
		return err;
	/* O_NONBLOCK: a path that turns out to be a FIFO must not hang us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	/* Told apart here, because setns would refuse it much later and with the same words as everything else. */
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int el_netns_new(void)
{
	int old = el_netns_open(NULL);

	if (old < 0)
		return old;
	if (unshare(CLONE_NEWNET) < 0) {
		int err = -errno;
		close(old);
		return err;
	}
	int fd = el_netns_open(NULL);
	int back = el_netns_enter(old);
	close(old);
	if (back < 0 && fd >= 0) {
		close(fd);
		return back;
	}
	return fd;
}

int el_netns_enter(int fd)
{
	return setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int el_userns_enter(void)
{
	char uid_map[32], gid_map[32];

	/* Read before unshare: in a user namespace without a map everybody is the overflow user. */
	snprintf(uid_map, sizeof(uid_map), "0 %u 1", (unsigned int)geteuid());
	snprintf(gid_map, sizeof(gid_map), "0 %u 1", (unsigned int)getegid());
	/*
	 * A network namespace with it: the one we leave belongs to the old user namespace, and having stepped out of it
	 * for a moment (el_netns_new) we could not go back.
	 */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	/*
	 * A program that got rights by its file is not dumpable, and its files in /proc are the real root's. Those rights are
	 * gone with the old user namespace, so there is nothing left to hide.
	 */
	prctl(PR_SET_DUMPABLE, 1);
	/* Without setgroups denied first, the kernel lets nobody but root write a gid_map (user_namespaces(7)). */
	int err = write_text("/proc/self/setgroups", "deny");
	if (!err)
		err = write_text("/proc/self/uid_map", uid_map);
	if (!err)
		err = write_text("/proc/self/gid_map", gid_map);
	return err;
}

void el_fd_close(int fd)
{
	close(fd);
}
