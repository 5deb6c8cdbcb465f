/*
 * input.h: standard input, which nothing can wait for here: a thread of its own reads it, a piece at a time, when it is
 * asked to. State of the process.
 */
#pragma once

#include <stddef.h>

enum { INPUT_MAX = 4096, INPUT_AGAIN = -1 };

/* A handle that is set when there is something to take. Asks the thread to read if there is nothing. */
void *input_event(void);
/*
 * What was read: bytes in UTF-8, at most INPUT_MAX, or INPUT_AGAIN while there is nothing. 0: the end. Of a console it
 * is a line, or what was typed so far and a tab.
 */
int input_take(char *out);
/* The next line that is typed at a console begins with this text, which is on it already. */
void input_begin_with(const char *text, size_t len);
