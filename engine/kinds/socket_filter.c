/*
 * socket_filter.c: the kernel keeps the outer VLAN tag of a frame aside, so its sockets get a program of two parts: one
 * for frames without a tag, and one in which every load is moved to where the kernel shows those bytes of a frame with
 * one. What has no such place lets the frame in, and it is looked at again by filter.c, with the tag back in its place.
 */
#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "filter.h"
#include "kinds/socket_filter.h"
#include "wire_format.h"

enum { TPID_AT = 12, TCI_AT = 14, BEHIND_TAG = 16, EVERY_BYTE = -1 };

static const double SETTLE = 0.05; /* seconds for which frames may be stamped that an older filter let in */

static bool is_load(const struct bpf_insn *in)
{
	return BPF_CLASS(in->code) == BPF_LD || BPF_CLASS(in->code) == BPF_LDX;
}

static uint32_t load_size(const struct bpf_insn *in)
{
	return BPF_SIZE(in->code) == BPF_W ? 4 : BPF_SIZE(in->code) == BPF_H ? 2 : 1;
}

/* Moves a load from a frame on the wire to the same bytes of one whose tag is aside; false: there is no such load. */
static bool move_load(struct bpf_insn *in)
{
	uint32_t mode = BPF_MODE(in->code);

	if (mode == BPF_LEN)
		return false;
	if (mode != BPF_ABS && mode != BPF_IND && mode != BPF_MSH)
		return true;
	if (in->k >= BEHIND_TAG)
		in->k -= TAG_LEN;
	else if (in->code == (BPF_LD | BPF_H | BPF_ABS) && in->k == TPID_AT)
		in->k = (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TPID);
	else if (in->code == (BPF_LD | BPF_H | BPF_ABS) && in->k == TCI_AT)
		in->k = (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG);
	else
		return mode == BPF_ABS && in->k + load_size(in) <= TPID_AT;
	return true;
}

/* A program that is too long for the kernel, or no memory for it: none, which is only slower. */
static void compile_for_kernel(struct el_filter *self)
{
	uint32_t count = self->wire.bf_len;
	struct bpf_insn *out = 3 + 2 * count <= BPF_MAXINSNS ? calloc(3 + 2 * count, sizeof *out) : NULL;

	if (!out)
		return;
	self->kernel = (struct bpf_program){3 + 2 * count, out};
	*out++ = (struct bpf_insn)BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT));
	*out++ = (struct bpf_insn)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
	*out++ = (struct bpf_insn)BPF_STMT(BPF_JMP | BPF_JA, count);
	memcpy(out, self->wire.bf_insns, count * sizeof *out);
	memcpy(out + count, out, count * sizeof *out);
	for (struct bpf_insn *in = out + count; in < out + (size_t)2 * count; in++)
		if (is_load(in) && !move_load(in)) {
			*in = (struct bpf_insn)BPF_STMT(BPF_RET | BPF_K, (uint32_t)EVERY_BYTE);
			self->again = true;
		}
}

static int detach(int fd)
{
	int none = 0;

	return setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none) && errno != ENOENT ? -errno : 0;
}

int el_filter_attach(struct el_filter *self, int fd, double now)
{
	struct sock_fprog program;

	if (!self)
		return detach(fd);
	if (!self->kernel.bf_insns)
		compile_for_kernel(self);
	self->settled = now + SETTLE;
	program = (struct sock_fprog){(unsigned short)self->kernel.bf_len, (void *)self->kernel.bf_insns};
	if (self->kernel.bf_len && !setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program))
		return 0;
	self->kernel.bf_len = 0;
	return detach(fd);
}
