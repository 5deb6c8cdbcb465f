/*
 * file_changes.c: inotify.
 */
#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "os/file_changes.h"

/* By the descriptor: its path may be another file by now. */
int el_file_changes_open(FILE *file)
{
	int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), error;
	char opened[32];

	if (descriptor < 0)
		return -errno;
	snprintf(opened, sizeof opened, "/proc/self/fd/%d", fileno(file));
	if (inotify_add_watch(descriptor, opened, IN_MODIFY | IN_ATTRIB) >= 0)
		return descriptor;
	error = -errno;
	close(descriptor);
	return error;
}

bool el_file_changes_came(int descriptor)
{
	char events[4096]; /* what they say is of no interest */

	return read(descriptor, events, sizeof events) >= 0;
}
