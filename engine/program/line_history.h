/*
 * line_history.h: the lines that were typed at the prompt, and the file that they are kept in. The owner of the struct
 * closes it after the editor that it was opened for.
 */
#pragma once

#include <histedit.h>
#include <stdbool.h>

enum { LINE_HISTORY_PATH = 4096 };

struct line_history {
	History *lines;               /* NULL: there is none */
	char path[LINE_HISTORY_PATH]; /* "": kept in no file */
};

/* The editor's keys find lines in it from now on. */
void line_history_open(struct line_history *self, EditLine *editor);
/* Where lines are kept from now on. Reads what is there already; whether there was anything. */
bool line_history_load(struct line_history *self, const char *path);
/* Whether the line could be written. */
bool line_history_add(struct line_history *self, const char *line);
void line_history_close(struct line_history *self);
