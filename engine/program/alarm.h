/*
 * alarm.h: calls a function while the program's thread stands still wherever it is, as a signal handler does, and
 * hears of the signals that the program catches before it does. State of the process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Where the thread is. No stack: that is not known here. */
struct alarm_place {
	uintptr_t counter;
	const uintptr_t *stack;
};

/* What is called with the thread's place. 0, or -errno. To be called by the thread itself. */
int alarm_open(void (*on_time)(const struct alarm_place *place));
void alarm_close(void);
/* It is called after so many seconds, and then every tenth of one; 0: no more. Also in a handler. */
void alarm_set(double seconds);
/*
 * Called for SIGINT, SIGTERM and SIGHUP where they are caught: true: whoever catches them is to hear of it. To be
 * called behind el_signals_catch().
 */
void alarm_watch_signals(bool (*on_signal)(int number));
/* Seconds of processor time that the process has had, and of a clock. Also in a handler. */
double alarm_processor_time(void);
double alarm_now(void);
/* Prints the text on standard error, and ends the process as that signal does. In a handler. */
void alarm_end_process(int number, const char *text) __attribute__((noreturn));
