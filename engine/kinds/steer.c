/*
 * steer.c: tries the ways to get a program on the interface, by libbpf.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../bpf/steer.h"
#include "fail.h"
#include "kinds/steer.h"
#include "kinds/steer_peer.h"
#include "os/shortage.h"

#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6) /* Linux 6.3 */
#endif

#ifndef STEER_OBJECT
#define STEER_OBJECT "build/steer.bpf.o"
#endif

/* The steering program as an ELF object, which libbpf reads from memory. */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        ".globl el_steer_program, el_steer_size\n"
        ".hidden el_steer_program\n"
        ".hidden el_steer_size\n"
        "el_steer_program:\n"
        ".incbin \"" STEER_OBJECT
        "\"\n"
        "1: .balign 8\n"
        "el_steer_size: .quad 1b - el_steer_program\n"
        ".popsection\n");

extern const char el_steer_program[];
extern const uint64_t el_steer_size;

/* ---- loading ---- */

/* The ways to get a program on the interface, best first. */
static const struct way {
	const char *program;
	bool native;
	bool bound; /* may ask the driver for the tag that it took out of a frame */
} ways[] = {{"etherlua_tagged", true, true}, {"etherlua_steer", true, false}, {"etherlua_steer", false, false}};

#define SOCKET_PROGRAM "etherlua_group"

static void find_maps(struct el_steer *self)
{
	self->endpoints = bpf_object__find_map_fd_by_name(self->object, "endpoints");
	self->sockets = bpf_object__find_map_fd_by_name(self->object, "sockets");
	self->owners = bpf_object__find_map_fd_by_name(self->object, "owners");
}

/* A program that was brought has to be the first in its file, with a map of sockets "sockets" or "xsks_map". */
static int find_parts(struct el_steer *self, const char *path, const struct way *way, char err[EL_ERR_MAX])
{
	struct bpf_program *program = path ? bpf_object__next_program(self->object, NULL)
	                                   : bpf_object__find_program_by_name(self->object, way->program);
	struct bpf_program *socket_filter = bpf_object__find_program_by_name(self->object, SOCKET_PROGRAM);

	find_maps(self);
	if (path)
		self->owners = -1;
	if (self->sockets < 0)
		self->sockets = bpf_object__find_map_fd_by_name(self->object, "xsks_map");
	self->program = program ? bpf_program__fd(program) : -1;
	self->socket_filter = path ? -1 : bpf_program__fd(socket_filter);
	if (self->program < 0 || self->sockets < 0)
		return el_fail(err, -EINVAL, "%s has no XDP program with a map \"sockets\" or \"xsks_map\"", path);
	return 0;
}

static int set_ethertypes(const struct el_steer *self, const uint16_t *ethertypes)
{
	int map = bpf_object__find_map_fd_by_name(self->object, "ethertypes");
	uint8_t one = 1;

	for (int i = 0; i < EL_ETHERTYPES_MAX && ethertypes[i]; i++)
		if (bpf_map_update_elem(map, &ethertypes[i], &one, BPF_ANY))
			return -errno;
	return 0;
}

static void configure(const struct el_steer *self, bool all)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(self->object, ".rodata");
	size_t size;
	struct steer_config *config = (struct steer_config *)bpf_map__initial_value(constants, &size);

	config->all = all;
	config->owner = self->owner;
}

/* Of our own programs this one is loaded, and the one for the packet socket. NULL: that alone. */
static void select_program(struct el_steer *self, const char *name)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, self->object)
	{
		if (bpf_program__type(program) == BPF_PROG_TYPE_XDP)
			bpf_program__set_autoload(program, name && !strcmp(bpf_program__name(program), name));
	}
}

static void prepare(struct el_steer *self, const struct way *way, int ifindex, bool all)
{
	uint32_t flags = (way->bound ? BPF_F_XDP_DEV_BOUND_ONLY : 0) | (self->frags ? BPF_F_XDP_HAS_FRAGS : 0);
	struct bpf_program *program = bpf_object__find_program_by_name(self->object, way->program);

	select_program(self, way->program);
	configure(self, all);
	if (way->bound)
		bpf_program__set_ifindex(program, (uint32_t)ifindex);
	if (flags)
		bpf_program__set_flags(program, flags);
}

/* libbpf reads the kernel's types there, for the calls of the kernel that the program makes; without: ESRCH. */
#define KERNEL_TYPES "/sys/kernel/btf/vmlinux"

static int refused(char err[EL_ERR_MAX], int error, const char *path)
{
	if (error == -EMFILE || error == -ENOMEM)
		return el_fail(err, error, "cannot load %.128s: %s", path, el_shortage_reason(error));
	if (access(KERNEL_TYPES, R_OK))
		return el_fail(err, error, "cannot load %.128s: no " KERNEL_TYPES " (mount -t sysfs sysfs /sys)", path);
	return el_fail(err, error, "the kernel refuses %.128s: %s", path, strerror(-error));
}

static int load(struct el_steer *self, const struct el_relay_opts *opts, const struct way *way, int ifindex,
                char err[EL_ERR_MAX])
{
	const char *path = opts->program ? opts->program : "the steering program";
	int error;

	self->object = opts->program ? bpf_object__open_file(opts->program, NULL)
	                             : bpf_object__open_mem(el_steer_program, el_steer_size, NULL);
	if (!self->object)
		return el_shortage_fail(err, -errno, "cannot read XDP program %.128s", path);
	if (!opts->program)
		prepare(self, way, ifindex, opts->steer_all);
	error = bpf_object__load(self->object);
	if (error == -EPERM)
		return el_fail(err, error,
		               "no privilege for XDP: CAP_BPF and CAP_NET_ADMIN are missing (run as root; outside of "
		               "labs also: setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock+ep PROGRAM)");
	if (error)
		return refused(err, el_shortage(error), path);
	error = find_parts(self, opts->program, way, err);
	if (!error && opts->steer_all && !opts->program && (error = set_ethertypes(self, opts->steer_ethertypes)))
		el_fail(err, error, "steering map: %s", strerror(-error));
	return error;
}

/* The program for the packet socket, on these maps, or on maps of its own (NULL). */
static int load_socket_program(struct el_steer *self, const struct el_steer_peer *peer, char err[EL_ERR_MAX])
{
	int error;

	self->object = bpf_object__open_mem(el_steer_program, el_steer_size, NULL);
	if (!self->object)
		return el_shortage_fail(err, -errno, "cannot read the program for packet sockets");
	select_program(self, NULL);
	configure(self, false);
	error = peer ? el_steer_peer_lend(peer, self->object) : 0;
	if (!error)
		error = bpf_object__load(self->object);
	if (error)
		return refused(err, el_shortage(error), "the program for packet sockets");
	find_maps(self);
	self->socket_filter = bpf_program__fd(bpf_object__find_program_by_name(self->object, SOCKET_PROGRAM));
	return 0;
}

int el_steer_open_socket(struct el_steer *self, char err[EL_ERR_MAX])
{
	libbpf_set_print(NULL); /* a library does not print */
	self->link = -1;
	self->owner = STEER_OWNER;
	return load_socket_program(self, NULL, err);
}

/* ---- attaching ---- */

static bool program_on(int ifindex, char *name, size_t size)
{
	struct bpf_prog_info info = {0};
	uint32_t id = 0, len = sizeof info;
	int fd;

	if (bpf_xdp_query_id(ifindex, 0, &id) || !id)
		return false;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(name, size, "%s (id %u)", info.name, id);
	else
		snprintf(name, size, "id %u", id);
	if (fd >= 0)
		close(fd);
	return true;
}

enum { ADVICE_MAX = 128 };

/*
 * virtio_net wants a transmit queue a core for XDP besides those in use, and says so in the kernel log only. Frames
 * of several buffers are for drivers and programs that have them.
 */
static void advise(char words[ADVICE_MAX], const struct el_steer *self, const char *interface, int error)
{
	words[0] = '\0';
	if (error == -ENOMEM)
		snprintf(words, ADVICE_MAX, " (too few queues are free: ethtool -L %s combined with half as many)",
		         interface);
	else if (self->frags)
		snprintf(words, ADVICE_MAX,
		         " (its driver or program takes frames of one page: ip link set dev %s mtu 3500)", interface);
}

static int attach(struct el_steer *self, int ifindex, const char *interface, const struct way *way,
                  char err[EL_ERR_MAX])
{
	struct bpf_link_create_opts opts = {.sz = sizeof opts,
	                                    .flags = way->native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE};
	char words[ADVICE_MAX];

	self->link = bpf_link_create(self->program, ifindex, BPF_XDP, &opts);
	advise(words, self, interface, self->link);
	if (self->link < 0)
		return el_fail(err, self->link, "cannot attach XDP to %s in %s mode: %s%s", interface,
		               way->native ? "native" : "generic",
		               self->link == -EMFILE ? el_shortage_reason(-EMFILE) : strerror(-self->link), words);
	self->native = way->native;
	return 0;
}

static bool is_asked_for(const struct way *way, const struct el_relay_opts *opts)
{
	return !(opts->mode == EL_XDP_NATIVE && !way->native) && !(opts->mode == EL_XDP_GENERIC && way->native) &&
	       !(opts->program && way->bound);
}

/* Shares what another process has attached. */
static int join(struct el_steer *self, int ifindex, const char *interface, char err[EL_ERR_MAX])
{
	struct el_steer_peer peer;
	int error = el_steer_peer_find(&peer, ifindex, interface, err);

	if (error)
		return error;
	error = load_socket_program(self, &peer, err);
	if (error)
		close(peer.link);
	else
		self->link = peer.link;
	self->native = peer.native;
	snprintf(self->detail, sizeof self->detail, "%s mode", self->native ? "native" : "generic");
	el_steer_peer_close(&peer);
	return error;
}

static int attach_anew(struct el_steer *self, int ifindex, const char *interface, const struct el_relay_opts *opts,
                       char err[EL_ERR_MAX])
{
	int error = 0, native = 0;

	for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
		if (!is_asked_for(&ways[i], opts))
			continue;
		el_steer_close(self);
		error = load(self, opts, &ways[i], ifindex, err);
		if (error && (!ways[i].bound || error == -EPERM))
			break;
		if (!error)
			error = attach(self, ifindex, interface, &ways[i], err);
		if (!error)
			break;
		native = ways[i].native ? error : native;
	}
	if (self->native || !native)
		snprintf(self->detail, sizeof self->detail, "%s mode", self->native ? "native" : "generic");
	else
		snprintf(self->detail, sizeof self->detail, "generic mode (native: %s)", strerror(-native));
	return error;
}

int el_steer_open(struct el_steer *self, int ifindex, const char *interface, const struct el_relay_opts *opts,
                  char err[EL_ERR_MAX])
{
	char other[64];
	int error = -ENOENT;

	libbpf_set_print(NULL); /* a library does not print */
	self->link = -1;
	if (opts->shared && program_on(ifindex, other, sizeof other))
		error = join(self, ifindex, interface, err);
	if (error != -ENOENT)
		return error;
	if (program_on(ifindex, other, sizeof other))
		return el_fail(err, -EBUSY, "an XDP program is attached to %s already: %s", interface, other);
	return attach_anew(self, ifindex, interface, opts, err);
}

int el_steer_attach_socket(const struct el_steer *self, int fd)
{
	const int *program = &self->socket_filter;

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_BPF, program, sizeof *program) ? -errno : 0;
}

void el_steer_close(struct el_steer *self)
{
	if (!self->object)
		return;
	if (self->link >= 0)
		close(self->link);
	bpf_object__close(self->object);
	self->object = NULL;
}

/* ---- maps ---- */

int el_steer_socket(const struct el_steer *self, uint32_t queue, int fd)
{
	if (self->owners >= 0 && bpf_map_update_elem(self->owners, &queue, &self->owner, BPF_ANY))
		return -errno;
	return bpf_map_update_elem(self->sockets, &queue, &fd, BPF_ANY) ? -errno : 0;
}

static void key_of(const struct el_mac *mac, const struct el_vlans *vlans, struct steer_key *key)
{
	memset(key, 0, sizeof *key);
	memcpy(key->mac, mac->byte, 6);
	key->tags = (uint16_t)vlans->count;
	for (uint32_t i = 0; i < vlans->count; i++)
		key->tag[i] = (uint32_t)vlans->tag[i].tpid << 16 | (vlans->tag[i].tci & 0x0fff);
}

int el_steer_claim(const struct el_steer *self, const struct el_mac *mac, const struct el_vlans *vlans, bool on)
{
	struct steer_key key;

	if (self->endpoints < 0)
		return 0;
	key_of(mac, vlans, &key);
	if (on)
		return bpf_map_update_elem(self->endpoints, &key, &self->owner, BPF_ANY) ? -errno : 0;
	bpf_map_delete_elem(self->endpoints, &key);
	return 0;
}
