/*
 * netdev.c: asks the kernel by ioctl (netdevice(7)).
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fail.h"
#include "os/netdev.h"

enum { MAX_MTU = 65000 }; /* loopback's is 65536, more than a frame's length can say */

int el_netdev_name(char name[IFNAMSIZ], const char *given, char err[EL_ERR_MAX])
{
	if (!*given || strlen(given) >= IFNAMSIZ)
		return el_fail(err, -EINVAL, "bad interface name \"%.64s\": 1 to %d characters", given, IFNAMSIZ - 1);
	strcpy(name, given);
	return 0;
}

int el_netdev_refused(const char *name, char err[EL_ERR_MAX])
{
	char program[128] = "";

	if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
		strcpy(program, "etherlua");
	return el_fail(err, -EPERM,
	               "no privilege to open %s: CAP_NET_RAW is missing (run as root, or: setcap cap_net_raw+ep %s)",
	               name, program);
}

int el_netdev_facts(struct el_netdev *out, int fd, const char *name, char err[EL_ERR_MAX])
{
	struct ifreq request = {0};

	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return el_fail(err, -ENODEV, "no such interface: %s", name);
	out->ifindex = request.ifr_ifindex;
	if (ioctl(fd, SIOCGIFFLAGS, &request) || !(request.ifr_flags & IFF_UP))
		return el_fail(err, -ENETDOWN, "interface %s is down: ip link set %s up", name, name);
	if (ioctl(fd, SIOCGIFMTU, &request))
		return el_fail(err, -errno, "MTU of %s: %s", name, strerror(errno));
	out->mtu = request.ifr_mtu < MAX_MTU ? (uint32_t)request.ifr_mtu : MAX_MTU;
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return el_fail(err, -errno, "MAC address of %s: %s", name, strerror(errno));
	memcpy(out->mac.byte, request.ifr_hwaddr.sa_data, 6);
	return 0;
}

int el_netdev_state(int fd, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	if (ioctl(fd, SIOCGIFNAME, &request) || ioctl(fd, SIOCGIFFLAGS, &request))
		return ENXIO;
	return request.ifr_flags & IFF_UP ? 0 : ENETDOWN;
}

uint32_t el_netdev_queues(int fd, const char *name)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq request = {0};
	uint32_t count;

	strcpy(request.ifr_name, name);
	request.ifr_data = (void *)&channels;
	if (ioctl(fd, SIOCETHTOOL, &request))
		return 1;
	count = channels.combined_count + channels.rx_count;
	return count ? count : 1;
}
