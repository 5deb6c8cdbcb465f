/*
 * terminal.h: the terminal of the prompt: its settings, which are as they were found when the program ends or is
 * stopped, whatever ends it but SIGKILL; and how wide things are on it. Nothing is written here. State of the
 * process.
 */
#pragma once

#include <stdbool.h>

/* From now on. To be called before el_signals_catch(), which hands a second Ctrl-C to what is here. */
void terminal_guard(void);
/* Whether the program was stopped, and somebody else has used the terminal, since this was last asked. */
bool terminal_was_stopped(void);
/* Whether standard input and output are one that lines can be edited on. */
bool terminal_can_edit(void);
int terminal_columns(void);
/*
 * The place, counted in columns of lines that have so many, which is reached behind this text when it begins at
 * `place`. Characters are as wide as libedit shows them.
 */
int terminal_place(const char *text, const char *end, int place, int columns);
