/*
 * npcap.c: Npcap's own folder comes first, for an old WinPcap may be in the system's.
 */
#include <windows.h>

#include <errno.h>
#include <stdio.h>

#include "fail.h"
#include "os/windows/npcap.h"

static struct npcap functions;

/* Name there -> place here; those that are wanted may be missing. */
#define ENTRY(name)                                         \
	{                                                   \
		"pcap_" #name, offsetof(struct npcap, name) \
	}
static const struct {
	const char *name;
	size_t place;
} needed[] =
	{
		ENTRY(findalldevs), ENTRY(freealldevs), ENTRY(create),          ENTRY(set_snaplen),
		ENTRY(set_promisc), ENTRY(set_timeout), ENTRY(set_buffer_size), ENTRY(activate),
		ENTRY(setnonblock), ENTRY(next_ex),     ENTRY(sendpacket),      ENTRY(stats),
		ENTRY(geterr),      ENTRY(statustostr), ENTRY(lib_version),     ENTRY(close),
},
  wanted[] = {ENTRY(set_immediate_mode), ENTRY(set_tstamp_precision), ENTRY(getevent)};

static bool take(HMODULE library, const char *name, size_t place)
{
	FARPROC found = GetProcAddress(library, name);

	memcpy((char *)&functions + place, &found, sizeof found);
	return found != NULL;
}

static HMODULE open_library(void)
{
	char path[MAX_PATH + 16];
	UINT len = GetSystemDirectoryA(path, MAX_PATH);
	HMODULE library;

	snprintf(path + len, sizeof path - len, "\\Npcap");
	SetDllDirectoryA(path); /* wpcap.dll needs Packet.dll beside it */
	library = LoadLibraryA("wpcap.dll");
	SetDllDirectoryA(NULL);
	return library;
}

const struct npcap *el_npcap(char err[EL_ERR_MAX])
{
	HMODULE library;

	if (functions.close)
		return &functions;
	library = open_library();
	if (!library) {
		el_fail(err, -ENODEV, "no wpcap.dll: install Npcap, from https://npcap.com");
		return NULL;
	}
	for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
		if (!take(library, needed[i].name, needed[i].place)) {
			functions.close = NULL;
			el_fail(err, -ENODEV, "wpcap.dll has no %s: install Npcap, from https://npcap.com",
			        needed[i].name);
			return NULL;
		}
	}
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		take(library, wanted[i].name, wanted[i].place);
	if (!strstr(functions.lib_version(), "Npcap")) /* others have it in name alone */
		functions.getevent = NULL;
	return &functions;
}
