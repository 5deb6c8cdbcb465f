/*
 * inherited.h: what a process that was forked, and runs on without exec, has of its parent's: descriptors, and memory
 * that belongs to sockets. Both keep a socket open that the parent closes, and with it what the socket has of an
 * interface: its promiscuous mode, a queue.
 */
#pragma once

/* Closes all descriptors from `first` on, and unmaps what is mapped of sockets. */
void el_inherited_drop(unsigned first);
