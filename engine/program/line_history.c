/*
 * line_history.c: libedit's history. Its file is written whole with each line.
 */
#include <stdio.h>

#include "program/line_history.h"

enum { LINES_MAX = 1000 };

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

bool line_history_load(struct line_history *self, const char *path)
{
	HistEvent event;

	snprintf(self->path, sizeof self->path, "%s", path);
	return self->lines && history(self->lines, &event, H_LOAD, self->path) >= 0;
}

bool line_history_add(struct line_history *self, const char *line)
{
	HistEvent event;

	if (!self->lines)
		return false;
	history(self->lines, &event, H_ENTER, line);
	return self->path[0] && history(self->lines, &event, H_SAVE, self->path) >= 0;
}

void line_history_close(struct line_history *self)
{
	if (self->lines)
		history_end(self->lines);
	self->lines = NULL;
}
