/*
 * npcap.h: wpcap.dll, which Npcap installs: no part of Windows, so it is looked for when it is needed.
 */
#pragma once

#include <pcap/pcap.h>

#include "common.h"

/* Its functions, by the names that they have there without "pcap_". */
struct npcap {
	int (*findalldevs)(pcap_if_t **list, char *reason);
	void (*freealldevs)(pcap_if_t *list);
	pcap_t *(*create)(const char *name, char *reason);
	int (*set_snaplen)(pcap_t *handle, int bytes);
	int (*set_promisc)(pcap_t *handle, int on);
	int (*set_timeout)(pcap_t *handle, int milliseconds);
	int (*set_buffer_size)(pcap_t *handle, int bytes);
	int (*activate)(pcap_t *handle);
	int (*setnonblock)(pcap_t *handle, int on, char *reason);
	int (*next_ex)(pcap_t *handle, struct pcap_pkthdr **header, const uint8_t **bytes);
	int (*sendpacket)(pcap_t *handle, const uint8_t *bytes, int len);
	int (*stats)(pcap_t *handle, struct pcap_stat *out);
	char *(*geterr)(pcap_t *handle);
	const char *(*statustostr)(int status);
	const char *(*lib_version)(void);
	void (*close)(pcap_t *handle);
	/* NULL where there is none */
	int (*set_immediate_mode)(pcap_t *handle, int on);
	int (*set_tstamp_precision)(pcap_t *handle, int precision);
	void *(*getevent)(pcap_t *handle);
};

/* NULL, and a line in err that says where to get it. */
const struct npcap *el_npcap(char err[EL_ERR_MAX]);
