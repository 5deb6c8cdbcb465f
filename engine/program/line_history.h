/*
 * line_history.h: the lines that were typed at the prompt, and the file that they are kept in. The owner of the struct
 * closes it after the editor that it was opened for.
 */
#pragma once

#include <histedit.h>

struct line_history {
	History *lines; /* NULL: there is none */
	int file;       /* its descriptor; 0: kept in no file */
};

/* The editor's keys find lines in it from now on. */
void line_history_open(struct line_history *self, EditLine *editor);
/*
 * Lines are kept in the file `history` of the folder from now on, which is made when it is not there; those in it are
 * read. Both are for their user alone. The file stays open: later there may not be the right to open it. Returns NULL,
 * or why there is none, which is in `why` or in memory that lasts.
 */
const char *line_history_keep(struct line_history *self, const char *folder, char why[256]);
void line_history_add(struct line_history *self, const char *line);
void line_history_close(struct line_history *self);
