/*
 * filter.c: pcap-filter text to BPF programs, by libpcap, for frames as they are on the wire.
 */
#include <errno.h>
#include <stdlib.h>

#include "fail.h"
#include "filter.h"
#include "frame.h"

enum { SNAPLEN = 65535 };

/* A long filter is cut, so that the reason behind it is seen. */
static int compile(struct bpf_program *program, const char *text, uint32_t link_type, char err[EL_ERR_MAX])
{
	pcap_t *handle = pcap_open_dead((int)link_type, SNAPLEN);
	int error = 0;

	if (!handle)
		return el_fail(err, -ENOMEM, "out of memory");
	if (pcap_compile(handle, program, text, 1, PCAP_NETMASK_UNKNOWN))
		error = el_fail(err, -EINVAL, "bad filter \"%.80s\": %s", text, pcap_geterr(handle));
	pcap_close(handle);
	return error;
}

struct el_filter *el_filter_open(const char *text, char err[EL_ERR_MAX])
{
	return el_filter_compile(text, EL_LINK_ETHERNET, err);
}

struct el_filter *el_filter_compile(const char *text, uint32_t link_type, char err[EL_ERR_MAX])
{
	struct el_filter *self = calloc(1, sizeof *self);

	if (!self) {
		el_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (compile(&self->wire, text, link_type, err)) {
		free(self);
		return NULL;
	}
	return self;
}

int el_filter_matches(const struct el_filter *self, const struct el_frame *frame)
{
	struct pcap_pkthdr header = {.caplen = frame->len, .len = frame->len + frame->cut};

	if (self->kernel.bf_len && frame->timestamp > self->settled && !(self->again && el_frame_is_tagged(frame)))
		return 1;
	return pcap_offline_filter(&self->wire, &header, frame->data) != 0;
}

void el_filter_close(struct el_filter *self)
{
	if (!self)
		return;
	pcap_freecode(&self->wire);
	free(self->kernel.bf_insns);
	free(self);
}
