/*
 * user.c: the process becomes another user, for good. What is open stays open: sockets, rings, BPF maps and links need
 * no rights any more. Only Lua asks: the contract is in abi.h.
 */
#include <errno.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"
#include "fail.h"

static bool is_user(const struct passwd *user)
{
	return getuid() == user->pw_uid && geteuid() == user->pw_uid && getgid() == user->pw_gid &&
	       getegid() == user->pw_gid;
}

static int find_user(const char *name, const struct passwd **user, char err[EL_ERR_MAX])
{
	errno = 0;
	*user = getpwnam(name);
	if (!*user)
		return el_fail(err, -ENOENT, "there is no user %.128s", name);
	if (!(*user)->pw_uid)
		return el_fail(err, -EINVAL, "%.128s has all rights: another user than root is needed", name);
	if (geteuid() && !is_user(*user))
		return el_fail(err, -EPERM, "only root may become another user, such as %.128s", name);
	return 0;
}

int el_user_check(const char *name, char err[EL_ERR_MAX])
{
	const struct passwd *user;

	return find_user(name, &user, err);
}

/* In that order: each step takes the right to do those before it. */
static int set_ids(const struct passwd *user)
{
	if (initgroups(user->pw_name, user->pw_gid) || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid))
		return -errno;
	return 0;
}

/* Those that a file gave, too; and no file that is run gives any again. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || syscall(SYS_capset, &header, none) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}

int el_user_become(const char *name, char err[EL_ERR_MAX])
{
	const struct passwd *user;
	int error = find_user(name, &user, err);

	if (error)
		return error;
	if (!is_user(user))
		error = set_ids(user);
	if (!error)
		error = drop_capabilities();
	if (!error && (!setresuid(0, 0, 0) || !is_user(user)))
		error = -EPERM;
	return error ? el_fail(err, error, "cannot become user %.128s: %s", name, strerror(-error)) : 0;
}

/* Before Linux 6.5 the kernel may refuse all calls of bpf(2), also those about a map that is open. */
int el_user_may_change_maps(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_fd = (uint32_t)-1;
	return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof attr) < 0 && errno != EPERM;
}
