/*
 * offload.c: a child process, the keeper, switches the offload on again, since it still can when this process was
 * killed. It is there, in a session of its own, before anything is changed. When it was killed itself, this process
 * does its work; when both were, the record is left, a file whose lock nobody holds, and the next relay on that
 * interface mends it. Relays of several processes that share the interface have a keeper each, and a part in the lock:
 * the keeper that gets it whole is the last.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kinds/offload.h"
#include "os/carrier.h"
#include "os/inherited.h"
#include "os/shortage.h"
#include "os/whereabouts.h"

#define RUN "/run"
#define RECORDS RUN "/etherlua"

enum { TRIES = 100, PAUSE = 10000 /* us */ };

/* ---- the setting ---- */

static int flags_of(int fd, int ifindex, struct ifreq *request, struct ethtool_value *value)
{
	*value = (struct ethtool_value){.cmd = ETHTOOL_GFLAGS};
	*request = (struct ifreq){.ifr_ifindex = ifindex};
	if (ioctl(fd, SIOCGIFNAME, request))
		return -errno;
	request->ifr_data = (void *)value;
	return ioctl(fd, SIOCETHTOOL, request) ? -errno : 0;
}

static bool is_on(int fd, int ifindex)
{
	struct ethtool_value value;
	struct ifreq request;

	return !flags_of(fd, ifindex, &request, &value) && value.data & ETH_FLAG_RXVLAN;
}

static int set_rxvlan(int fd, int ifindex, bool on)
{
	struct ethtool_value value;
	struct ifreq request;
	int error = flags_of(fd, ifindex, &request, &value);

	if (error || !!(value.data & ETH_FLAG_RXVLAN) == on)
		return error;
	value.cmd = ETHTOOL_SFLAGS;
	value.data ^= ETH_FLAG_RXVLAN;
	return ioctl(fd, SIOCETHTOOL, &request) ? -errno : 0;
}

/* ---- the record ---- */

static void forget(const struct el_offload *self)
{
	if (!self->path[0])
		return;
	unlink(self->path);
	rmdir(RECORDS); /* it stays where it is not empty */
}

/* The file may have been there: then it was a killed process's if nobody holds its lock and it is about this MAC. */
static bool is_left(struct el_offload *self)
{
	unsigned char mac[sizeof self->mac];

	return pread(self->record, mac, sizeof mac, 0) == sizeof mac && !memcmp(mac, self->mac, sizeof mac);
}

static void close_record(struct el_offload *self)
{
	if (self->record >= 0)
		close(self->record);
	self->record = -1;
}

/* Whole where nobody has it, a part of it where others share. */
static bool take_lock(struct el_offload *self)
{
	if (!flock(self->record, LOCK_EX | LOCK_NB))
		return true;
	self->has_part = self->shared && !flock(self->record, LOCK_SH | LOCK_NB);
	return self->has_part;
}

/*
 * 0 when this process has the lock of the file, which has no name if there was none: a process that is killed before
 * the keeper gives it one leaves nothing.
 */
static int lock_record(struct el_offload *self)
{
	struct stat file;

	self->record = open(self->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	self->is_nameless = self->record < 0 && errno == ENOENT;
	if (self->is_nameless)
		self->record = open(RUN, O_RDWR | O_CLOEXEC | O_TMPFILE, 0644);
	if (self->record < 0)
		return -errno;
	if (take_lock(self) && !fstat(self->record, &file) && (file.st_nlink || self->is_nameless))
		return 0;
	close_record(self);
	self->has_part = false;
	return -EAGAIN;
}

/* In the keeper: whether other processes still need it off. Of two that ask at once one is told that there is none. */
static bool is_needed(const struct el_offload *self)
{
	return self->shared && self->record >= 0 && flock(self->record, LOCK_EX | LOCK_NB);
}

/* A keeper whose process was killed is about to end. Without the right to write there we do without. */
static void open_record(struct el_offload *self)
{
	struct stat ns;
	int error = -ENOENT;

	if (!stat("/proc/thread-self/ns/net", &ns)) {
		snprintf(self->path, sizeof self->path, RECORDS "/rxvlan-%lu-%d", (unsigned long)ns.st_ino,
		         self->ifindex);
		for (int tries = 0; tries < TRIES && (error = lock_record(self)) == -EAGAIN; tries++)
			usleep(PAUSE);
	}
	if (error) {
		self->path[0] = '\0';
		self->is_nameless = false;
	}
}

static void write_record(const struct el_offload *self)
{
	if (self->record >= 0 && pwrite(self->record, self->mac, sizeof self->mac, 0) != sizeof self->mac)
		return; /* no room: it does without */
}

/* In the keeper, which has it as descriptor 2. Without a name it is of no use, and does no harm. */
static void name_record(const struct el_offload *self)
{
	mkdir(RECORDS, 0755);
	if (linkat(AT_FDCWD, "/proc/self/fd/2", AT_FDCWD, self->path, AT_SYMLINK_FOLLOW))
		rmdir(RECORDS);
}

/* ---- the keeper ---- */

static int put_back_here(const struct el_offload *self, int fd)
{
	struct el_carrier carrier = {.fd = fd, .ifindex = self->ifindex};
	bool was_there = el_carrier_is_there(&carrier);
	int error = set_rxvlan(fd, self->ifindex, true);

	el_carrier_announce(&carrier, self->announcer, was_there);
	return error;
}

/*
 * The interface may be in another namespace by now. One that is nowhere needs nothing. When the process was killed it
 * may have the XDP program there for another moment.
 */
static int put_back(const struct el_offload *self, int fd, bool was_killed)
{
	int ifindex = self->ifindex, more = was_killed ? TRIES - 1 : 0, elsewhere, error;

	if (el_whereabouts_here(fd, self->ifindex))
		return put_back_here(self, fd);
	while ((elsewhere = el_whereabouts_find(&ifindex, self->name, self->mac)) == -ENODEV && more-- > 0)
		usleep(PAUSE);
	if (elsewhere < 0)
		return elsewhere == -ENODEV ? 0 : elsewhere;
	error = set_rxvlan(elsewhere, ifindex, true);
	close(elsewhere);
	return error;
}

/*
 * In the child: waits for a word, or for the other end of the pipe to be closed, as when the process was killed; has
 * two sockets and the record's lock meanwhile.
 */
static void keep(struct el_offload *self, int pipe)
{
	char word = 0;
	ssize_t count;
	int error;

	setsid();
	prctl(PR_SET_NAME, "etherlua-keeper");
	dup2(pipe, 0);
	dup2(self->fd, 1);
	close(2);
	if (self->record >= 0)
		self->record = dup2(self->record, 2);
	if (self->announcer >= 0)
		self->announcer = dup2(self->announcer, 3);
	el_inherited_drop(self->announcer < 0 ? 3 : 4);
	if (self->is_nameless)
		name_record(self);
	while (write(0, &word, 1) < 0 && errno == EINTR)
		;
	do
		count = read(0, &word, 1);
	while (count < 0 && errno == EINTR);
	if (is_needed(self))
		_exit(0);
	error = put_back(self, 1, count == 0);
	if (!error)
		forget(self);
	_exit(error ? 1 : 0);
}

/* No signal reaches the keeper but SIGKILL: it ends when its time has come, and does not run the caller's handlers. */
static pid_t fork_keeper(struct el_offload *self, int pipe)
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (!pid)
		keep(self, pipe);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* Returns when it is ready to do its work whatever happens here. */
static int start_keeper(struct el_offload *self)
{
	int ends[2];
	ssize_t count;
	char word;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	self->keeper = fork_keeper(self, ends[0]);
	close(ends[0]);
	self->pipe = ends[1];
	if (self->keeper < 0) {
		int error = -errno;

		close(self->pipe);
		self->keeper = 0;
		return error;
	}
	do
		count = read(self->pipe, &word, 1);
	while (count < 0 && errno == EINTR);
	return count == 1 ? 0 : -ECHILD;
}

/* Whether it has done its work. */
static bool end_keeper(struct el_offload *self)
{
	int status;

	while (send(self->pipe, "", 1, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
	close(self->pipe);
	while (waitpid(self->keeper, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- the interface's relay ---- */

static int identify(struct el_offload *self, int fd, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	self->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	self->ifindex = ifindex;
	self->record = -1;
	if (self->fd < 0)
		return -errno;
	if (ioctl(fd, SIOCGIFNAME, &request))
		return 0; /* it is gone: that comes out soon enough */
	memcpy(self->name, request.ifr_name, IFNAMSIZ);
	if (!ioctl(fd, SIOCGIFHWADDR, &request))
		memcpy(self->mac, request.ifr_hwaddr.sa_data, sizeof self->mac);
	return 0;
}

static void let_go(struct el_offload *self)
{
	close_record(self);
	close(self->fd);
	self->keeper = 0;
}

int el_offload_suspend(struct el_offload *self, int fd, int ifindex, int announcer, char err[EL_ERR_MAX])
{
	int error = identify(self, fd, ifindex);

	self->announcer = announcer;
	if (error)
		return el_shortage_fail(err, error, "rxvlan of interface %d", ifindex);
	open_record(self);
	if (!self->has_part && !is_on(fd, ifindex)) {
		self->was_left = self->record >= 0 && is_left(self) && !set_rxvlan(fd, ifindex, true);
		if (!self->was_left) {
			forget(self);
			let_go(self);
			return 0;
		}
	}
	write_record(self);
	error = start_keeper(self);
	if (!error) {
		set_rxvlan(fd, ifindex, false);
		if (self->shared && self->record >= 0)
			flock(self->record, LOCK_SH);
		return 0;
	}
	if (self->keeper)
		end_keeper(self);
	forget(self);
	let_go(self);
	return el_shortage_fail(err, error, "cannot switch rxvlan of %s off, and on again at the end", self->name);
}

/* When the keeper was killed, another one has nothing to wait for. */
void el_offload_restore(struct el_offload *self)
{
	if (self->keeper <= 0)
		return;
	if (!end_keeper(self) && (start_keeper(self) || !end_keeper(self)))
		put_back_here(self, self->fd);
	let_go(self);
}
