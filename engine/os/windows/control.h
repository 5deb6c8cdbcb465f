/*
 * control.h: what a console asks of its programs, as numbers of signals, which Lua knows.
 */
#pragma once

#include <windows.h>

enum { SIGNAL_HUP = 1, SIGNAL_INT = 2, SIGNAL_TERM = 15 };

/* Ctrl-C, the end of the console, and all else. */
static inline int signal_of_control(DWORD kind)
{
	return kind == CTRL_C_EVENT ? SIGNAL_INT : kind == CTRL_CLOSE_EVENT ? SIGNAL_HUP : SIGNAL_TERM;
}
