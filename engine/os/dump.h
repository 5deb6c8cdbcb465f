/*
 * dump.h: a file that libpcap writes, and that others are not to read.
 */
#pragma once

#include <pcap/pcap.h>

#include "common.h"

/* Empty, or standard output for "-". NULL, and a line in err; the file is closed by pcap_dump_close(). */
pcap_dumper_t *el_dump_open(pcap_t *format, const char *path, char err[EL_ERR_MAX]);
