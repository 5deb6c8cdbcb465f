/*
 * whereabouts.c: goes through /proc. The kernel tells listeners where an interface goes, but by a number that nothing
 * can be opened with.
 */
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/whereabouts.h"

struct wanted {
	int ifindex;
	const char *name;
	const unsigned char *mac;
	int fd; /* of a socket where it is; -1: not found yet */
};

bool el_whereabouts_here(int fd, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	return !ioctl(fd, SIOCGIFNAME, &request);
}

static bool has_mac(int fd, struct ifreq *request, const struct wanted *wanted)
{
	return !ioctl(fd, SIOCGIFHWADDR, request) && !memcmp(request->ifr_hwaddr.sa_data, wanted->mac, 6);
}

/* Its number there, 0: it is not there. It keeps its number, unless that is taken; then it keeps its name. */
static int number_here(int fd, const struct wanted *wanted)
{
	struct ifreq request = {.ifr_ifindex = wanted->ifindex};

	if (!ioctl(fd, SIOCGIFNAME, &request) && has_mac(fd, &request, wanted))
		return wanted->ifindex;
	request = (struct ifreq){0};
	strncpy(request.ifr_name, wanted->name, IFNAMSIZ - 1);
	return has_mac(fd, &request, wanted) && !ioctl(fd, SIOCGIFINDEX, &request) ? request.ifr_ifindex : 0;
}

/* Another one that only looks the same: ours has no XDP program any more. */
static bool is_in_use(int ifindex)
{
	uint32_t id = 0;

	return !bpf_xdp_query_id(ifindex, 0, &id) && id;
}

static void look_into(const char *path, struct wanted *wanted)
{
	int fd, number, ns = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (ns < 0)
		return;
	fd = setns(ns, CLONE_NEWNET) ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	close(ns);
	number = fd >= 0 ? number_here(fd, wanted) : 0;
	if (number && !is_in_use(number)) {
		wanted->fd = fd;
		wanted->ifindex = number;
	} else if (fd >= 0) {
		close(fd);
	}
}

static bool is_netns(const char *path)
{
	char target[16];

	return readlink(path, target, sizeof target) > 5 && !memcmp(target, "net:[", 5);
}

/* Those links in a folder that lead to a namespace; all files of /run/netns may. */
static void look_through(const char *folder, bool links, struct wanted *wanted)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *list = opendir(folder);

	while (list && wanted->fd < 0 && (entry = readdir(list))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		if (!links || is_netns(path))
			look_into(path, wanted);
	}
	if (list)
		closedir(list);
}

static void look_at_processes(struct wanted *wanted)
{
	char path[64];
	struct dirent *entry;
	DIR *list = opendir("/proc");

	while (list && wanted->fd < 0 && (entry = readdir(list))) {
		if (!strchr("123456789", entry->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%.20s/ns/net", entry->d_name);
		look_into(path, wanted);
		snprintf(path, sizeof path, "/proc/%.20s/fd", entry->d_name);
		if (wanted->fd < 0)
			look_through(path, true, wanted);
	}
	if (list)
		closedir(list);
}

int el_whereabouts_find(int *ifindex, const char *name, const unsigned char mac[6])
{
	struct wanted wanted = {*ifindex, name, mac, -1};

	look_through("/run/netns", false, &wanted);
	if (wanted.fd < 0)
		look_at_processes(&wanted);
	*ifindex = wanted.ifindex;
	return wanted.fd < 0 ? -ENODEV : wanted.fd;
}
