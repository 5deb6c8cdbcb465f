/*
 * absent.c: what only Linux has: its relay kinds, network namespaces, the processes of labs, and ranks.
 */
#include <errno.h>

#include "fail.h"
#include "kind.h"

static int refuse(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	(void)opts;
	return el_fail(err, -ENOSYS, "%s:%.128s needs Linux: use pcap:%.64s here", relay->kind->name, name, name);
}

static void close_nothing(struct el_relay *relay)
{
	(void)relay;
}

const struct el_kind el_kind_afpacket = {.name = "afpacket", .open = refuse, .close = close_nothing};
const struct el_kind el_kind_xdp = {.name = "xdp", .open = refuse, .close = close_nothing};

/* ---- namespaces and users ---- */

int el_netns_open(const char *name)
{
	(void)name;
	return -ENOSYS;
}

int el_netns_new(void)
{
	return -ENOSYS;
}

int el_netns_enter(int fd)
{
	(void)fd;
	return -ENOSYS;
}

int el_userns_enter(void)
{
	return -ENOSYS;
}

void el_fd_close(int fd)
{
	(void)fd;
}

int el_user_check(const char *name, char err[EL_ERR_MAX])
{
	return el_fail(err, -ENOSYS, "cannot become user %.128s: that needs Linux", name);
}

int el_user_become(const char *name, char err[EL_ERR_MAX])
{
	return el_user_check(name, err);
}

int el_user_may_change_maps(void)
{
	return 0;
}

/* ---- processes ---- */

int el_process_start(const char *const *argv, int netns, const char *log)
{
	(void)argv, (void)netns, (void)log;
	return -ENOSYS;
}

int el_process_start_rank(const char *const *argv, int fd)
{
	(void)argv, (void)fd;
	return -ENOSYS;
}

int el_process_check_log(const char *path, char err[EL_ERR_MAX])
{
	return el_fail(err, -ENOSYS, "cannot write log %.128s: starting programs needs Linux", path);
}

int el_process_log(void)
{
	return -ENOSYS;
}

int el_process_status(int pid)
{
	(void)pid;
	return -ENOSYS;
}

int el_process_wait(int pid, double seconds)
{
	(void)pid, (void)seconds;
	return -ENOSYS;
}

int el_process_fd(int pid)
{
	(void)pid;
	return -ENOSYS;
}

int el_process_signal(int pid, int number)
{
	(void)pid, (void)number;
	return -ENOSYS;
}

/* ---- ranks ---- */

int el_socket_pair(int fds[2])
{
	(void)fds;
	return -ENOSYS;
}

int el_socket_listen(uint16_t *port)
{
	(void)port;
	return -ENOSYS;
}

int el_socket_accept(int fd)
{
	(void)fd;
	return -ENOSYS;
}

int el_socket_connect(const struct el_addr *to)
{
	(void)to;
	return -ENOSYS;
}

uint32_t el_socket_addrs(struct el_addr *out, uint32_t max)
{
	(void)out, (void)max;
	return 0;
}

int el_socket_read(int fd, void *buffer, uint32_t size)
{
	(void)fd, (void)buffer, (void)size;
	return -ENOSYS;
}

int el_socket_write(int fd, const void *bytes, uint32_t len)
{
	(void)fd, (void)bytes, (void)len;
	return -ENOSYS;
}
