/*
 * output.c: stdout as a stream with a write function of ours. stdio drops what it could not write, and its reason; a
 * signal that is caught is such a reason, too. Lost output is told when the process exits, behind everybody who may
 * still print.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/output.h"

static int lost_status;
static int lost; /* errno of the first failure */

/* Another process may have made the file one that does not block. */
static int wait_for_room(void)
{
	struct pollfd output = {STDOUT_FILENO, POLLOUT, 0};

	return poll(&output, 1, -1) >= 0 || errno == EINTR;
}

static ssize_t write_all(void *cookie, const char *text, size_t length)
{
	size_t done = 0;

	(void)cookie;
	while (done < length) {
		ssize_t count = write(STDOUT_FILENO, text + done, length - done);

		if (count >= 0)
			done += (size_t)count;
		else if (errno != EINTR && !(errno == EAGAIN && wait_for_room()))
			break;
	}
	if (done < length && !lost)
		lost = errno;
	return (ssize_t)done;
}

/* _exit: the other functions of atexit() have run. */
static void check(void)
{
	if (fflush(stdout) && !lost)
		lost = errno;
	if (!lost || lost == EPIPE)
		return;
	fprintf(stderr, "etherlua: cannot write the output: %s\n", strerror(lost));
	_exit(lost_status);
}

void output_guard(int status)
{
	static const int mode[] = {[STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_RDONLY};
	FILE *guarded = NULL;

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode[fd]) != fd)
			_exit(status);
	if (!isatty(STDOUT_FILENO))
		guarded = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_all});
	if (guarded)
		stdout = guarded;
	lost_status = status;
	atexit(check);
}
