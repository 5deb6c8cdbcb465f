/*
 * netdev.c: asks the kernel by ioctl (netdevice(7)), and about names that are too long for that by rtnetlink(7).
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "os/netdev.h"

enum {
	MAX_MTU = 65000,    /* loopback's is 65536, more than a frame's length can say */
	ALT_NAME_MAX = 128, /* ALTIFNAMSIZ, with the 0 at the end */
	TYPE_NAME_MAX = 24,
};

/* ---- names ---- */

/* A question for the link with an alternative name, and the beginning of the answer. */
union link_message {
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
		struct rtattr name_header;
		char name[ALT_NAME_MAX];
	} request;
	struct {
		struct nlmsghdr header;
		struct ifinfomsg link;
	} reply;
	char bytes[16384];
};

/* The interface's number, 0 when there is none. */
static int ask_for(int fd, const char *alternative)
{
	union link_message message = {
		.request = {
			.header = {.nlmsg_len = sizeof message.request,
	                           .nlmsg_type = RTM_GETLINK,
	                           .nlmsg_flags = NLM_F_REQUEST},
			.name_header = {.rta_len = sizeof message.request.name_header + ALT_NAME_MAX,
	                                .rta_type = IFLA_ALT_IFNAME},
		}};

	strcpy(message.request.name, alternative);
	if (send(fd, &message, sizeof message.request, 0) < 0 || recv(fd, &message, sizeof message, 0) < 0)
		return 0;
	return message.reply.header.nlmsg_type == RTM_NEWLINK ? message.reply.link.ifi_index : 0;
}

static int find_alternative(char name[IFNAMSIZ], const char *given, char err[EL_ERR_MAX])
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), ifindex;

	if (fd < 0)
		return el_fail(err, -errno, "%.127s: %s", given, strerror(errno));
	ifindex = ask_for(fd, given);
	close(fd);
	if (!ifindex || !if_indextoname((unsigned)ifindex, name))
		return el_fail(err, -ENODEV, "no such interface: %s", given);
	return 0;
}

int el_netdev_name(char name[IFNAMSIZ], const char *given, char err[EL_ERR_MAX])
{
	if (!*given || strlen(given) >= ALT_NAME_MAX)
		return el_fail(err, -EINVAL, "bad interface name \"%.64s\": 1 to %d characters", given,
		               ALT_NAME_MAX - 1);
	if (strlen(given) >= IFNAMSIZ)
		return find_alternative(name, given, err);
	strcpy(name, given);
	return 0;
}

/* ---- facts ---- */

int el_netdev_refused(const char *name, char err[EL_ERR_MAX])
{
	char program[128] = "";

	if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
		strcpy(program, "etherlua");
	return el_fail(err, -EPERM,
	               "no privilege to open %s: CAP_NET_RAW is missing (run as root, or: setcap cap_net_raw+ep %s)",
	               name, program);
}

/* Words for a link type (ARPHRD_...) as `ip link` has them. */
static void say_type(char words[TYPE_NAME_MAX], unsigned type)
{
	static const struct {
		unsigned type;
		const char *name;
	} known[] = {
		{ARPHRD_NONE, "none"},       {ARPHRD_PPP, "ppp"},
		{ARPHRD_IPGRE, "gre"},       {ARPHRD_TUNNEL, "ipip"},
		{ARPHRD_TUNNEL6, "tunnel6"}, {ARPHRD_SIT, "sit"},
		{ARPHRD_CAN, "can"},         {ARPHRD_INFINIBAND, "infiniband"},
		{ARPHRD_RAWIP, "rawip"},     {ARPHRD_IEEE80211_RADIOTAP, "ieee802.11/radiotap"},
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].type == type) {
			snprintf(words, TYPE_NAME_MAX, "%s", known[i].name);
			return;
		}
	snprintf(words, TYPE_NAME_MAX, "%u", type);
}

/* Loopback's frames have an Ethernet header. */
static int check_type(int fd, const char *name, unsigned type, char err[EL_ERR_MAX])
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq request = {.ifr_data = (void *)&driver};
	char words[TYPE_NAME_MAX];

	if (type == ARPHRD_ETHER || type == ARPHRD_LOOPBACK)
		return 0;
	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCETHTOOL, &request))
		strcpy(driver.driver, "unknown");
	say_type(words, type);
	return el_fail(err, -EINVAL, "%s is no Ethernet interface: its link type is %s, its driver %s", name, words,
	               driver.driver);
}

int el_netdev_facts(struct el_netdev *out, int fd, char name[IFNAMSIZ], char err[EL_ERR_MAX])
{
	struct ifreq request = {0};
	int error;

	strcpy(request.ifr_name, name);
	if (ioctl(fd, SIOCGIFINDEX, &request))
		return el_fail(err, -ENODEV, "no such interface: %s", name);
	out->ifindex = request.ifr_ifindex;
	if (!ioctl(fd, SIOCGIFNAME, &request))
		strcpy(name, request.ifr_name);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return el_fail(err, -errno, "MAC address of %s: %s", name, strerror(errno));
	error = check_type(fd, name, request.ifr_hwaddr.sa_family, err);
	if (error)
		return error;
	memcpy(out->mac.byte, request.ifr_hwaddr.sa_data, 6);
	if (ioctl(fd, SIOCGIFFLAGS, &request) || !(request.ifr_flags & IFF_UP))
		return el_fail(err, -ENETDOWN, "interface %s is down: ip link set %s up", name, name);
	if (ioctl(fd, SIOCGIFMTU, &request))
		return el_fail(err, -errno, "MTU of %s: %s", name, strerror(errno));
	out->mtu = request.ifr_mtu < MAX_MTU ? (uint32_t)request.ifr_mtu : MAX_MTU;
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
