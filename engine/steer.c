/*
 * steer.c: the steering program of an xdp relay: loads it (ours, or one that the user brings), attaches it by a link that
 * dies with its file descriptor, and keeps its maps: who is registered, and the socket of each queue. An interface has
 * one XDP program; when there is one already we say whose and leave it alone.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <unistd.h>

#include "../bpf/steer.h"
#include "core.h"

/* ---- loading ---- */

/* A program that was brought has to be the first in its file, with a map of sockets "sockets" or "xsks_map". */
static int find_parts(struct el_steer *self, const char *path, char err[EL_ERR_MAX])
{
	struct bpf_program *program = bpf_object__next_program(self->object, NULL);

	self->endpoints = bpf_object__find_map_fd_by_name(self->object, "endpoints");
	self->sockets = bpf_object__find_map_fd_by_name(self->object, "sockets");
	if (self->sockets < 0)
		self->sockets = bpf_object__find_map_fd_by_name(self->object, "xsks_map");
	self->program = program ? bpf_program__fd(program) : -1;
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

static void set_all(const struct el_steer *self)
{
	struct bpf_map *constants = bpf_object__find_map_by_name(self->object, ".rodata");
	size_t size;

	if (constants)
		*(uint8_t *)bpf_map__initial_value(constants, &size) = 1;
}

static int load(struct el_steer *self, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	const char *path = opts->program ? opts->program : "the steering program";
	int error;

	self->object = opts->program ? bpf_object__open_file(opts->program, NULL)
	                             : bpf_object__open_mem(el_steer_program, el_steer_size, NULL);
	if (!self->object)
		return el_fail(err, -errno, "cannot read XDP program %.128s: %s", path, strerror(errno));
	if (opts->steer_all && !opts->program)
		set_all(self);
	error = bpf_object__load(self->object);
	if (error == -EPERM)
		return el_fail(err, error, "no privilege for XDP: CAP_BPF and CAP_NET_ADMIN are missing (run as root)");
	if (error)
		return el_fail(err, error, "the kernel refuses %.128s: %s", path, strerror(-error));
	error = find_parts(self, path, err);
	if (!error && opts->steer_all && !opts->program && (error = set_ethertypes(self, opts->steer_ethertypes)))
		el_fail(err, error, "steering map: %s", strerror(-error));
	return error;
}

/* ---- attaching ---- */

static bool owner_of(int ifindex, char *name, size_t size)
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

static int link_program(const struct el_steer *self, int ifindex, uint32_t flags)
{
	struct bpf_link_create_opts opts = {.sz = sizeof opts, .flags = flags};

	return bpf_link_create(self->program, ifindex, BPF_XDP, &opts);
}

/* virtio_net wants a transmit queue a core for XDP besides those in use, and says so in the kernel log only. */
static const char *advice(int error)
{
	return error == -ENOMEM ? " (too few queues are free: ethtool -L IF combined with half as many)" : "";
}

/* Native mode where the driver has it, else generic, unless one was asked for. */
static int attach(struct el_steer *self, const struct el_packet *packet, uint32_t mode, char err[EL_ERR_MAX])
{
	char owner[64];
	int native = 0;

	if (owner_of(packet->ifindex, owner, sizeof owner))
		return el_fail(err, -EBUSY, "an XDP program is attached to %s already: %s", packet->interface, owner);
	if (mode != EL_XDP_GENERIC)
		native = self->link = link_program(self, packet->ifindex, XDP_FLAGS_DRV_MODE);
	self->native = self->link >= 0;
	if (self->link < 0 && mode != EL_XDP_NATIVE)
		self->link = link_program(self, packet->ifindex, XDP_FLAGS_SKB_MODE);
	if (self->link < 0)
		return el_fail(err, self->link, "cannot attach XDP to %s in %s mode: %s%s", packet->interface,
		               mode == EL_XDP_NATIVE ? "native" : "generic", strerror(-self->link), advice(native));
	if (native < 0)
		snprintf(self->detail, sizeof self->detail, "generic mode (native: %s)", strerror(-native));
	else
		snprintf(self->detail, sizeof self->detail, "%s mode", self->native ? "native" : "generic");
	return 0;
}

int el_steer_open(struct el_steer *self, const struct el_packet *packet, const struct el_relay_opts *opts,
                  char err[EL_ERR_MAX])
{
	int error;

	libbpf_set_print(NULL); /* a library does not print */
	self->link = -1;
	error = load(self, opts, err);
	return error ? error : attach(self, packet, opts->mode, err);
}

void el_steer_close(struct el_steer *self)
{
	if (!self->object)
		return;
	if (self->link >= 0)
		close(self->link);
	bpf_object__close(self->object);
}

/* ---- maps ---- */

int el_steer_socket(const struct el_steer *self, uint32_t queue, int fd)
{
	return bpf_map_update_elem(self->sockets, &queue, &fd, BPF_ANY) ? -errno : 0;
}

static void key_of(const struct el_conn *conn, struct steer_key *key)
{
	memset(key, 0, sizeof *key);
	memcpy(key->mac, conn->mac.byte, 6);
	key->tags = (uint16_t)conn->vlans.count;
	for (uint32_t i = 0; i < conn->vlans.count; i++)
		key->tag[i] = (uint32_t)conn->vlans.tag[i].tpid << 16 | (conn->vlans.tag[i].tci & 0x0fff);
}

int el_steer_claim(const struct el_steer *self, const struct el_conn *conn, bool on)
{
	struct steer_key key;
	uint8_t one = 1;

	if (self->endpoints < 0)
		return 0;
	key_of(conn, &key);
	if (on)
		return bpf_map_update_elem(self->endpoints, &key, &one, BPF_ANY) ? -errno : 0;
	bpf_map_delete_elem(self->endpoints, &key);
	return 0;
}
