/*
 * savefile.h: reads the frames of a capture file, pcap (draft-ietf-opsawg-pcap) or pcapng (draft-ietf-opsawg-pcapng).
 * libpcap would cut frames that are longer than a file's header says, and knows one snapshot length, one link type and
 * one byte order for all interfaces and sections. Here all frames are as they are in the file, in its order; only their
 * link type has to be that of the first interface. Nothing that a file says is trusted.
 */
#pragma once

#include <stdio.h>

#include "common.h"

struct el_savefile {
	FILE *stream; /* whoever follows a pcap file may move it between two frames */
	bool is_pcapng;
	uint32_t link_type; /* a DLT_ number of libpcap's */
	char problem[128];  /* why it cannot be read on; "": it can, or it breaks off */
	/* the reader's own */
	bool swapped; /* the byte order is not the machine's */
	uint8_t *buffer;
	size_t capacity;
	bool nanoseconds;                         /* pcap */
	uint32_t extra;                           /* pcap: octets behind the usual header of a record */
	struct el_savefile_interface *interfaces; /* pcapng: of the section */
	uint32_t count;
	uint32_t peeked;    /* pcapng: octets of the first block that were read to know the format */
	bool has_link_type; /* pcapng: the first interface of all is known */
};

struct el_record {
	const uint8_t *bytes; /* until the next one is read */
	uint32_t have, len;   /* bytes that are here, that were on the wire */
	int64_t stamp;        /* nanoseconds since 1970; times that these cannot tell are the farthest that they can */
};

/* NULL and a reason in err. "-" is standard input. */
struct el_savefile *el_savefile_open(const char *path, char err[EL_ERR_MAX]);
void el_savefile_close(struct el_savefile *self);
/* 1: the next frame; 0: the end; -EAGAIN: the file ends in the middle of a frame; -EBADMSG: see problem. */
int el_savefile_next(struct el_savefile *self, struct el_record *out);
