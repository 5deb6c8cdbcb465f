/*
 * interfaces.c: the kernel's list, one entry for each address; the first one of an interface has its MAC address.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "os/sockaddr.h"

static uint32_t mtu_of(const char *name)
{
	struct ifreq request = {.ifr_mtu = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
	if (fd >= 0) {
		ioctl(fd, SIOCGIFMTU, &request);
		close(fd);
	}
	return (uint32_t)request.ifr_mtu;
}

static void begin(struct el_interface *out, const struct ifaddrs *entry)
{
	const struct sockaddr_ll *link = (const struct sockaddr_ll *)(const void *)entry->ifa_addr;

	*out = (struct el_interface){.up = (entry->ifa_flags & IFF_UP) != 0, .mtu = mtu_of(entry->ifa_name)};
	snprintf(out->name, sizeof out->name, "%s", entry->ifa_name);
	out->ethernet = link->sll_halen == sizeof out->mac;
	if (out->ethernet)
		memcpy(&out->mac, link->sll_addr, sizeof out->mac);
}

static void add(struct el_interface *out, const struct sockaddr *name)
{
	if (out->addr_count < EL_INTERFACE_ADDRS && el_sockaddr_read(name, &out->addrs[out->addr_count]))
		out->addr_count++;
}

static struct el_interface *find(struct el_interface *list, uint32_t count, const char *name)
{
	for (uint32_t i = 0; i < count; i++)
		if (!strcmp(list[i].name, name))
			return &list[i];
	return NULL;
}

int el_interfaces(struct el_interface *out, uint32_t max, char err[EL_ERR_MAX])
{
	struct ifaddrs *list;
	uint32_t count = 0;

	if (getifaddrs(&list))
		return el_fail(err, -errno, "cannot list interfaces: %s", strerror(errno));
	for (const struct ifaddrs *entry = list; entry; entry = entry->ifa_next)
		if (entry->ifa_addr && entry->ifa_addr->sa_family == AF_PACKET && count < max)
			begin(&out[count++], entry);
	for (const struct ifaddrs *entry = list; entry; entry = entry->ifa_next) {
		struct el_interface *one = find(out, count, entry->ifa_name);

		if (one)
			add(one, entry->ifa_addr);
	}
	freeifaddrs(list);
	return (int)count;
}

int el_pcap_about(char line[EL_ERR_MAX])
{
	snprintf(line, EL_ERR_MAX, "%s", pcap_lib_version());
	return 0;
}
