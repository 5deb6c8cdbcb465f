/*
 * process.c: programs started beside us, for labs: a DHCP server in a namespace, a capture, a load generator. Only Lua
 * asks: the contract is in abi.h.
 *
 * A started program is a child in a session of its own, so that Ctrl-C at the terminal reaches us alone and we decide
 * when it ends; the kernel kills it when we are gone, SIGKILL included. The caller owns the process id and has to ask
 * for its status until it has ended, else a zombie stays. Nothing here waits without a limit, no handler is installed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"
#include "fail.h"
#include "os/private_file.h"

#define BLIND_WAIT 0.005 /* seconds of waiting for a process that cannot be watched */

struct start {
	const char *const *argv;
	const char *log;
	int netns;
	int inherited;    /* descriptor that it gets, -1: none */
	int parent_ended; /* signal that it gets then */
	pid_t parent;
};

/* fd is what open() has just returned. */
static int redirect(int fd, int to)
{
	return fd < 0 || dup2(fd, to) < 0 ? -errno : 0;
}

static int open_log(const char *path)
{
	int fd = el_private_open(path);

	if (fd >= 0)
		fcntl(fd, F_SETFL, O_APPEND);
	return fd;
}

static int redirect_all(const char *log)
{
	int fd = log ? open_log(log) : 0, error;

	if (fd < 0)
		return fd;
	error = redirect(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	if (!error && log)
		error = redirect(fd, STDOUT_FILENO);
	if (!error && log && dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		error = -errno;
	return error;
}

/*
 * The caller's handlers, ignored signals and mask are no business of the program. What has come meanwhile was for all
 * of the caller's group, such as Ctrl-C, before the session was another: ignoring it throws it away.
 */
static void reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++) {
		signal(number, SIG_IGN);
		signal(number, SIG_DFL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child. Returns the error of what failed; not at all when the program runs. */
static int become_program(const struct start *start)
{
	int error;

	setsid();
	if (prctl(PR_SET_PDEATHSIG, start->parent_ended))
		return -errno;
	if (getppid() != start->parent) /* it died before that call: the signal will never come */
		return -ESRCH;
	if (start->netns >= 0 && setns(start->netns, CLONE_NEWNET))
		return -errno;
	error = redirect_all(start->log);
	if (error)
		return error;
	/* Files that others opened without close-on-exec. Kernels before 5.11 cannot, which is no reason to fail. */
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	if (start->inherited >= 0 && fcntl(start->inherited, F_SETFD, 0))
		return -errno;
	reset_signals();
	execvp(start->argv[0], (char *const *)start->argv);
	return -errno;
}

/* The child: becomes the program, or writes why it cannot. A failed write leaves nobody to tell but the exit status. */
static void run_program(const struct start *start, int report)
{
	int error = become_program(start);

	_exit(write(report, &error, sizeof error) < 0 ? 126 : 127);
}

/*
 * Signals stay blocked meanwhile: a handler of the caller must not run in the child. vfork, since fork copies the page
 * tables of all that is mapped, which with rings, or with the tables of a sanitizer, takes longer than all the rest. So
 * the child runs in our memory until it is another program, and only makes system calls.
 */
static pid_t fork_program(const struct start *start, const int report[2])
{
	sigset_t all, before;
	pid_t pid;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
	if (pid == 0)
		run_program(start, report[1]); /* NOLINT(clang-analyzer-unix.Vfork) */
	if (pid < 0)
		pid = -errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* The pipe is closed by a successful exec, so end of file means that the program runs. */
static int read_report(int fd)
{
	int error = 0;
	ssize_t count;

	do
		count = read(fd, &error, sizeof error);
	while (count < 0 && errno == EINTR);
	return count == sizeof error ? error : 0;
}

static int start_program(const struct start *start)
{
	int report[2], error;
	pid_t pid;

	if (!start->argv[0])
		return -EINVAL;
	if (pipe2(report, O_CLOEXEC))
		return -errno;
	pid = fork_program(start, report);
	close(report[1]);
	error = pid > 0 ? read_report(report[0]) : pid;
	close(report[0]);
	if (pid > 0 && error)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return error ? error : pid;
}

int el_process_start(const char *const *argv, int netns, const char *log)
{
	return start_program(&(struct start){argv, log, netns, -1, SIGKILL, getpid()});
}

int el_process_start_rank(const char *const *argv, int fd)
{
	return start_program(&(struct start){argv, NULL, -1, fd, SIGTERM, getpid()});
}

int el_process_check_log(const char *path, char err[EL_ERR_MAX])
{
	int fd = open_log(path);

	if (fd < 0)
		return el_fail(err, fd, "cannot write the log %.128s: %s", path, el_private_reason(fd));
	close(fd);
	return 0;
}

int el_process_log(void)
{
	int fd = memfd_create("etherlua log", MFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int el_process_status(int pid)
{
	int status;
	pid_t ended = waitpid(pid, &status, WNOHANG);

	if (ended == 0)
		return -EAGAIN;
	if (ended < 0)
		return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int el_process_fd(int pid)
{
	int fd = pidfd_open(pid, 0);

	return fd < 0 ? -errno : fd;
}

int el_process_wait(int pid, double seconds)
{
	struct pollfd ended = {.fd = pidfd_open(pid, 0), .events = POLLIN};

	if (ended.fd < 0 && errno == ESRCH)
		return -ECHILD;
	if (ended.fd < 0 && seconds > BLIND_WAIT) /* no descriptor is left, or the kernel is older than 5.3 */
		seconds = BLIND_WAIT;
	/* Cut short by a signal it says "still running", which the caller has to expect anyway. */
	poll(&ended, 1, (int)(seconds * 1000));
	if (ended.fd >= 0)
		close(ended.fd);
	return el_process_status(pid);
}

int el_process_signal(int pid, int number)
{
	if (pid <= 1) /* kill(-1) would be everybody */
		return -EINVAL;
	return kill(-pid, number) ? -errno : 0;
}
