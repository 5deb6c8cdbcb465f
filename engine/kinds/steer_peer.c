/*
 * steer_peer.c: from the interface to its program, from that to its maps and the link that holds it, by their ids.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <unistd.h>

#include "fail.h"
#include "kinds/steer_peer.h"

#define PROGRAMS "etherlua_" /* what names of ours begin with */

static const char *const names[EL_STEER_MAPS] = {"endpoints", "sockets", "owners"};

enum { ALL_MAPS = 16 }; /* more than a program of ours has */

/* ---- maps ---- */

static void keep_map(struct el_steer_peer *self, int map)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof info;

	if (bpf_obj_get_info_by_fd(map, &info, &len))
		info.name[0] = '\0';
	for (int i = 0; i < EL_STEER_MAPS; i++)
		if (self->maps[i] < 0 && !strcmp(info.name, names[i])) {
			self->maps[i] = map;
			return;
		}
	close(map);
}

static int find_maps(struct el_steer_peer *self, int program)
{
	uint32_t ids[ALL_MAPS];
	struct bpf_prog_info info = {.nr_map_ids = ALL_MAPS, .map_ids = (uintptr_t)ids};
	uint32_t len = sizeof info;

	if (bpf_obj_get_info_by_fd(program, &info, &len))
		return -errno;
	if (strncmp(info.name, PROGRAMS, sizeof PROGRAMS - 1) != 0)
		return -ENOENT;
	for (uint32_t i = 0; i < info.nr_map_ids && i < ALL_MAPS; i++) {
		int map = bpf_map_get_fd_by_id(ids[i]);

		if (map < 0)
			return -errno;
		keep_map(self, map);
	}
	for (int i = 0; i < EL_STEER_MAPS; i++)
		if (self->maps[i] < 0)
			return -ENOENT;
	return 0;
}

/* ---- the link ---- */

static bool holds(int link, uint32_t program)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof info;

	return !bpf_obj_get_info_by_fd(link, &info, &len) && info.type == BPF_LINK_TYPE_XDP && info.prog_id == program;
}

static int find_link(uint32_t program)
{
	for (uint32_t id = 0; !bpf_link_get_next_id(id, &id);) {
		int link = bpf_link_get_fd_by_id(id);

		if (link < 0 && errno == EPERM)
			return -EPERM;
		if (link >= 0 && holds(link, program))
			return link;
		if (link >= 0)
			close(link);
	}
	return -ENOENT;
}

/* ---- together ---- */

static int find(struct el_steer_peer *self, int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int program, error = bpf_xdp_query(ifindex, 0, &query);

	if (error)
		return error;
	program = bpf_prog_get_fd_by_id(query.prog_id);
	if (program < 0)
		return -errno;
	self->native = query.attach_mode == XDP_ATTACHED_DRV;
	error = find_maps(self, program);
	close(program);
	if (error)
		return error;
	self->link = find_link(query.prog_id);
	return self->link < 0 ? self->link : 0;
}

int el_steer_peer_find(struct el_steer_peer *self, int ifindex, const char *interface, char err[EL_ERR_MAX])
{
	int error;

	self->link = -1;
	for (int i = 0; i < EL_STEER_MAPS; i++)
		self->maps[i] = -1;
	error = find(self, ifindex);
	if (!error)
		return 0;
	el_steer_peer_close(self);
	if (error == -EPERM)
		return el_fail(err, error,
		               "CAP_SYS_ADMIN is missing to share the XDP program on %s with another process: run as "
		               "root, or afpacket:%s",
		               interface, interface);
	return el_fail(err, error, "sharing the XDP program on %s: %s", interface, strerror(-error));
}

int el_steer_peer_lend(const struct el_steer_peer *self, struct bpf_object *object)
{
	for (int i = 0; i < EL_STEER_MAPS; i++) {
		int error = bpf_map__reuse_fd(bpf_object__find_map_by_name(object, names[i]), self->maps[i]);

		if (error)
			return error;
	}
	return 0;
}

void el_steer_peer_close(struct el_steer_peer *self)
{
	for (int i = 0; i < EL_STEER_MAPS; i++)
		if (self->maps[i] >= 0)
			close(self->maps[i]);
}
