/*
 * watch.h: the files that end the loop's sleep: those of relays, those that tasks wait for, and signals. The
 * descriptors stay their owners'. abi.h has el_wait_fd() and el_unwait_fd().
 */
#pragma once

#include "common.h"

struct timespec;

/* Makes engine->watch; el_watch_close() also after a failure. */
int el_watch_open(struct el_engine *engine);
void el_watch_close(struct el_engine *engine);
/* fd belongs to the relay: what happens to it ends the loop's sleep. */
int el_watch_relay(struct el_relay *relay, int fd, char err[EL_ERR_MAX]);
void el_unwatch_relay(const struct el_relay *relay);
/* fd becomes readable when a signal was counted. */
int el_watch_signals(struct el_engine *engine, int fd);
/* Waits for any of them; timeout NULL: for ever. Wakes tasks, and tells relays of trouble with their files. */
void el_watch_wait(struct el_engine *engine, const struct timespec *timeout);
