/*
 * filter.c: pcap-filter text to BPF programs, by libpcap. The kernel shows AF_PACKET sockets a frame without its outer
 * VLAN tag, which is why a filter for it must be compiled on a live handle of the interface: only then does libpcap
 * look for the tag where the kernel put it.
 */
#include <errno.h>
#include <pcap/pcap.h>

#include "core.h"

enum { SNAPLEN = 65535 };

/* A long filter is cut, so that the reason behind it is seen. */
static int compile(struct bpf_program *program, pcap_t *handle, const char *text, char err[EL_ERR_MAX])
{
	if (pcap_compile(handle, program, text, 1, PCAP_NETMASK_UNKNOWN))
		return el_fail(err, -EINVAL, "bad filter \"%.80s\": %s", text, pcap_geterr(handle));
	return 0;
}

int el_filter_compile_live(struct bpf_program *program, const char *interface, const char *text, char err[EL_ERR_MAX])
{
	char reason[PCAP_ERRBUF_SIZE] = "";
	pcap_t *handle = pcap_create(interface, reason);
	int error;

	if (!handle)
		return el_fail(err, -EINVAL, "%s: %s", interface, reason);
	pcap_set_snaplen(handle, 64); /* nothing is read from it: the smallest ring will do */
	pcap_set_buffer_size(handle, 4096);
	error = pcap_activate(handle);
	if (error < 0)
		error = el_fail(err, -EINVAL, "filter on %s: %s", interface, pcap_statustostr(error));
	else
		error = compile(program, handle, text, err);
	pcap_close(handle);
	return error;
}

int el_filter_compile_wire(struct bpf_program *program, const char *text, char err[EL_ERR_MAX])
{
	pcap_t *handle = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	int error;

	if (!handle)
		return el_fail(err, -ENOMEM, "out of memory");
	error = compile(program, handle, text, err);
	pcap_close(handle);
	return error;
}

bool el_filter_match(const struct bpf_program *program, const struct el_frame *frame)
{
	struct pcap_pkthdr header = {.caplen = frame->len, .len = frame->len};

	return pcap_offline_filter(program, &header, frame->data) != 0;
}
