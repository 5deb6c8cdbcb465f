/*
 * interfaces.c: Npcap lists those that can be opened, with descriptions; Windows knows the rest.
 */
#include <winsock2.h>

#include <iphlpapi.h>
#include <windows.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "fail.h"
#include "os/sockaddr.h"
#include "os/windows/interfaces.h"
#include "os/windows/npcap.h"

enum { INTERFACES_MAX = 256, FIRST_SIZE = 1 << 16, USUAL_MTU = 1500 };

/* ---- what Windows knows ---- */

static IP_ADAPTER_ADDRESSES *known_to_windows(void)
{
	ULONG size = FIRST_SIZE, error = ERROR_BUFFER_OVERFLOW;
	ULONG flags = GAA_FLAG_SKIP_ANYCAST | GAA_FLAG_SKIP_MULTICAST | GAA_FLAG_SKIP_DNS_SERVER |
	              GAA_FLAG_INCLUDE_ALL_INTERFACES;
	IP_ADAPTER_ADDRESSES *list = NULL;

	for (int tries = 0; tries < 3 && error == ERROR_BUFFER_OVERFLOW; tries++) {
		free(list);
		list = malloc(size);
		error = list ? GetAdaptersAddresses(AF_UNSPEC, flags, NULL, list, &size) : ERROR_OUTOFMEMORY;
	}
	if (!error)
		return list;
	free(list);
	return NULL;
}

static void to_text(char *out, int size, const WCHAR *text)
{
	if (!WideCharToMultiByte(CP_UTF8, 0, text, -1, out, size, NULL, NULL))
		*out = '\0';
}

static void add_addr(struct el_interface *out, const struct sockaddr *name)
{
	if (out->addr_count < EL_INTERFACE_ADDRS && el_sockaddr_read(name, &out->addrs[out->addr_count]))
		out->addr_count++;
}

/* Of the interface whose device's name ends with Windows' name for it. */
static void add_facts(struct el_interface *out, const IP_ADAPTER_ADDRESSES *known)
{
	while (known && !strstr(out->device, known->AdapterName))
		known = known->Next;
	if (!known)
		return;
	to_text(out->name, sizeof out->name, known->FriendlyName);
	if (!*out->description)
		to_text(out->description, sizeof out->description, known->Description);
	out->up = known->OperStatus == IfOperStatusUp;
	out->mtu = known->Mtu;
	out->ethernet = known->PhysicalAddressLength == sizeof out->mac;
	if (out->ethernet)
		memcpy(&out->mac, known->PhysicalAddress, sizeof out->mac);
	for (const IP_ADAPTER_UNICAST_ADDRESS *one = known->FirstUnicastAddress; one; one = one->Next)
		add_addr(out, one->Address.lpSockaddr);
}

/* ---- the list ---- */

int el_interfaces(struct el_interface *out, uint32_t max, char err[EL_ERR_MAX])
{
	const struct npcap *npcap = el_npcap(err);
	char reason[PCAP_ERRBUF_SIZE] = "";
	IP_ADAPTER_ADDRESSES *known;
	uint32_t count = 0;
	pcap_if_t *list;

	if (!npcap)
		return -ENODEV;
	if (npcap->findalldevs(&list, reason))
		return el_fail(err, -EIO, "cannot list interfaces: %.200s", reason);
	known = known_to_windows();
	for (const pcap_if_t *device = list; device && count < max; device = device->next) {
		struct el_interface *one = &out[count++];

		*one = (struct el_interface){.mtu = USUAL_MTU};
		snprintf(one->device, sizeof one->device, "%s", device->name);
		snprintf(one->description, sizeof one->description, "%s",
		         device->description ? device->description : "");
		add_facts(one, known);
	}
	free(known);
	npcap->freealldevs(list);
	return (int)count;
}

static bool is_meant(const struct el_interface *one, int number, const char *given)
{
	char digits[12];

	snprintf(digits, sizeof digits, "%d", number);
	return !strcmp(given, one->name) || !strcmp(given, one->description) || !strcmp(given, one->device) ||
	       !strcmp(given, digits);
}

int el_interface_find(struct el_interface *out, const char *given, char err[EL_ERR_MAX])
{
	struct el_interface *list = calloc(INTERFACES_MAX, sizeof *list);
	int count = list ? el_interfaces(list, INTERFACES_MAX, err) : el_fail(err, -ENOMEM, "out of memory");
	int error = count < 0 ? count : -ENODEV;

	for (int i = 0; i < count && error == -ENODEV; i++) {
		if (!is_meant(&list[i], i + 1, given))
			continue;
		*out = list[i];
		error = 0;
	}
	if (count >= 0 && error)
		el_fail(err, error, "no such interface: %.128s (etherlua doctor lists them)", given);
	free(list);
	return error;
}

/* ---- how it was installed ---- */

static bool is_set(const char *name)
{
	DWORD value = 0, size = sizeof value;

	return !RegGetValueA(HKEY_LOCAL_MACHINE, "SYSTEM\\CurrentControlSet\\Services\\npcap\\Parameters", name,
	                     RRF_RT_REG_DWORD, NULL, &value, &size) &&
	       value;
}

int el_pcap_about(char line[EL_ERR_MAX])
{
	const struct npcap *npcap = el_npcap(line);

	if (!npcap)
		return -ENODEV;
	snprintf(line, EL_ERR_MAX, "%.160s%s%s%s", npcap->lib_version(),
	         is_set("AdminOnly") ? ", for administrators alone" : "", is_set("LoopbackSupport") ? ", loopback" : "",
	         is_set("Dot11Support") ? ", raw 802.11" : "");
	return 0;
}
