/*
 * line_history.c: libedit's history. Its file is written whole with each line.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/private_file.h"
#include "program/line_history.h"

enum { LINES_MAX = 1000, WHY_MAX = 256 };

void line_history_open(struct line_history *self, EditLine *editor)
{
	HistEvent event;

	self->lines = history_init();
	if (!self->lines)
		return;
	history(self->lines, &event, H_SETSIZE, LINES_MAX);
	history(self->lines, &event, H_SETUNIQUE, 1);
	el_set(editor, EL_HIST, history, self->lines);
}

/* What cannot be made is found out soon enough. */
static void make_folders(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, S_IRWXU);
		*slash = '/';
	}
}

const char *line_history_keep(struct line_history *self, const char *folder, char why[WHY_MAX])
{
	char path[PATH_MAX];
	HistEvent event;
	int fd;

	if (!self->lines)
		return "not enough memory";
	if (snprintf(path, sizeof path, "%s/history", folder) >= (int)sizeof path)
		return "the name of its folder is too long";
	make_folders(path);
	fd = el_private_open(path);
	if (fd < 0) {
		snprintf(why, WHY_MAX, "cannot write %.128s: %s", path, el_private_reason(fd));
		return why;
	}
	history(self->lines, &event, H_LOAD, path); /* by its name: libedit reads no open file */
	self->file = fd;
	return NULL;
}

/* libedit wants to set the mode of what it writes, which may be another user's by now. */
static void save(const struct line_history *self)
{
	HistEvent event;
	FILE *copy = fdopen(memfd_create("history", MFD_CLOEXEC), "w");
	off_t from = 0, size;

	if (!copy)
		return;
	history(self->lines, &event, H_SAVE_FP, copy);
	fflush(copy);
	size = ftello(copy);
	if (size > 0 && !ftruncate(self->file, 0) && lseek(self->file, 0, SEEK_SET) == 0)
		while (from < size && sendfile(self->file, fileno(copy), &from, (size_t)(size - from)) > 0)
			;
	fclose(copy);
}

void line_history_add(struct line_history *self, const char *line)
{
	HistEvent event;

	if (!self->lines)
		return;
	history(self->lines, &event, H_ENTER, line);
	if (self->file)
		save(self);
}

void line_history_close(struct line_history *self)
{
	if (self->lines)
		history_end(self->lines);
	if (self->file)
		close(self->file);
	*self = (struct line_history){NULL, 0};
}
