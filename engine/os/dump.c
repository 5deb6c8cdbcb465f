/*
 * dump.c: the file is a stream.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "fail.h"
#include "os/dump.h"
#include "os/private_file.h"

static FILE *open_stream(const char *path, char err[EL_ERR_MAX])
{
	int fd = strcmp(path, "-") ? el_private_create(path) : dup(STDOUT_FILENO);
	FILE *stream = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (stream)
		return stream;
	el_fail(err, -EIO, "cannot write capture file %.128s: %s", path, el_private_reason(fd < 0 ? fd : -errno));
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* The stream ends with the dumper, and also when there is none. */
pcap_dumper_t *el_dump_open(pcap_t *format, const char *path, char err[EL_ERR_MAX])
{
	FILE *stream = open_stream(path, err);
	pcap_dumper_t *dumper = stream ? pcap_dump_fopen(format, stream) : NULL;

	if (stream && !dumper)
		el_fail(err, -EIO, "cannot write capture file %.128s", pcap_geterr(format));
	return dumper;
}
