/*
 * filter.c: pcap-filter text to BPF programs, by libpcap. The kernel shows AF_PACKET sockets a frame without its outer
 * VLAN tag, which is why a filter for it must be compiled on a live handle of the interface: only then does libpcap
 * look for the tag where the kernel put it.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <pcap/pcap.h>
#include <sys/ioctl.h>

#include "core.h"

enum { SNAPLEN = 65535, KERNEL_MAX = 4096 /* BPF_MAXINSNS */ };

/* A long filter is cut, so that the reason behind it is seen. */
static int compile(struct bpf_program *program, pcap_t *handle, const char *text, char err[EL_ERR_MAX])
{
	if (pcap_compile(handle, program, text, 1, PCAP_NETMASK_UNKNOWN))
		return el_fail(err, -EINVAL, "bad filter \"%.80s\": %s", text, pcap_geterr(handle));
	return 0;
}

/*
 * libpcap would print a warning about a program that is too long for the kernel and filter by itself, but not reliably
 * when there was another filter before.
 */
int el_filter_compile_kernel(struct bpf_program *program, pcap_t *handle, const char *text, char err[EL_ERR_MAX])
{
	int error = compile(program, handle, text, err);

	if (error || program->bf_len <= KERNEL_MAX)
		return error;
	error = el_fail(err, -EINVAL, "bad filter \"%.80s\": %u instructions long, the kernel takes %d", text,
	                program->bf_len, KERNEL_MAX);
	pcap_freecode(program);
	return error;
}

static int compile_live(struct bpf_program *program, const char *interface, const char *text, char err[EL_ERR_MAX])
{
	char reason[PCAP_ERRBUF_SIZE] = "";
	pcap_t *handle = pcap_create(interface, reason);
	int error;

	if (!handle)
		return el_fail(err, -EINVAL, "%s: %s", interface, reason);
	pcap_set_snaplen(handle, SNAPLEN);  /* the program tells the kernel to keep so many bytes */
	pcap_set_buffer_size(handle, 4096); /* nothing is read from it: the smallest ring will do */
	error = pcap_activate(handle);
	if (error < 0)
		error = el_fail(err, -EINVAL, "filter on %s: %s", interface, pcap_statustostr(error));
	else
		error = el_filter_compile_kernel(program, handle, text, err);
	pcap_close(handle);
	return error;
}

/*
 * A name means an interface only in its own namespace, and the thread may have left it since. Where it may not enter
 * another one (CAP_SYS_ADMIN) it cannot have left any either.
 */
int el_filter_compile_live(struct bpf_program *program, int fd, const char *interface, const char *text,
                           char err[EL_ERR_MAX])
{
	int here = el_netns_open(NULL), there = ioctl(fd, SIOCGSKNS), error;
	bool moved = here >= 0 && there >= 0 && !el_netns_enter(there);

	error = compile_live(program, interface, text, err);
	if (moved && el_netns_enter(here) && !error) {
		pcap_freecode(program);
		error = el_fail(err, -EIO, "cannot go back to the old network namespace");
	}
	if (there >= 0)
		el_fd_close(there);
	if (here >= 0)
		el_fd_close(here);
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
