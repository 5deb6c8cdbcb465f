/*
 * dump.c: libpcap makes a stream of the handle that it is given. Folders say who may read what is in them.
 */
#include <windows.h>

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <sys/stat.h>

#include "fail.h"
#include "os/dump.h"

/* libpcap closes the handle, and knows nothing of the descriptor. */
static HANDLE handle_of(int fd)
{
	HANDLE self = GetCurrentProcess(), copy = INVALID_HANDLE_VALUE;

	DuplicateHandle(self, (HANDLE)_get_osfhandle(fd), self, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS);
	return copy;
}

static HANDLE open_handle(const char *path)
{
	HANDLE handle;
	int fd;

	if (!strcmp(path, "-"))
		return handle_of(_fileno(stdout));
	fd = _open(path, _O_WRONLY | _O_CREAT | _O_TRUNC | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
	if (fd < 0)
		return INVALID_HANDLE_VALUE;
	handle = handle_of(fd);
	_close(fd);
	return handle;
}

pcap_dumper_t *el_dump_open(pcap_t *format, const char *path, char err[EL_ERR_MAX])
{
	HANDLE handle = open_handle(path);
	pcap_dumper_t *dumper;

	if (handle == INVALID_HANDLE_VALUE) {
		el_fail(err, -EIO, "cannot write capture file %.128s: %s", path, strerror(errno));
		return NULL;
	}
	dumper = pcap_dump_hopen(format, (intptr_t)handle);
	if (!dumper)
		el_fail(err, -EIO, "cannot write capture file %.128s", pcap_geterr(format));
	return dumper;
}
