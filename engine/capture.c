/*
 * capture.c: libpcap writes the file.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture.h"
#include "fail.h"
#include "os/dump.h"

enum { SNAPLEN = 262144 };

struct el_capture {
	pcap_t *format;
	pcap_dumper_t *file;
	int error; /* for which it stopped */
	bool dirty;
};

struct el_capture *el_capture_open(const char *path, uint32_t link_type, char err[EL_ERR_MAX])
{
	struct el_capture *capture = calloc(1, sizeof *capture);

	if (!capture) {
		el_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	capture->format = pcap_open_dead_with_tstamp_precision((int)link_type, SNAPLEN, PCAP_TSTAMP_PRECISION_NANO);
	if (!capture->format)
		el_fail(err, -ENOMEM, "out of memory");
	else
		capture->file = el_dump_open(capture->format, path, err);
	capture->dirty = true; /* the file's own header */
	if (capture->file)
		return capture;
	el_capture_close(capture);
	return NULL;
}

void el_capture_close(struct el_capture *capture)
{
	if (capture->file)
		pcap_dump_close(capture->file);
	if (capture->format)
		pcap_close(capture->format);
	free(capture);
}

void el_capture_frame(struct el_capture *capture, const struct el_frame *frame, int64_t wall)
{
	struct pcap_pkthdr header = {.caplen = frame->len, .len = frame->len + frame->cut};

	if (wall < 0 || wall / 1000000000 > UINT32_MAX)
		capture->error = EOVERFLOW;
	if (capture->error)
		return;
	header.ts.tv_sec = wall / 1000000000;
	header.ts.tv_usec = wall % 1000000000; /* nanoseconds, as the file's magic number says */
	errno = 0;
	pcap_dump((uint8_t *)capture->file, &header, frame->data);
	if (ferror(pcap_dump_file(capture->file)))
		capture->error = errno ? errno : EIO;
	capture->dirty = true;
}

void el_capture_flush(struct el_capture *capture)
{
	if (!capture->dirty || capture->error)
		return;
	capture->dirty = false;
	errno = 0;
	if (pcap_dump_flush(capture->file) || ferror(pcap_dump_file(capture->file)))
		capture->error = errno ? errno : EIO;
}

int el_capture_error(const struct el_capture *capture)
{
	return capture->error;
}
