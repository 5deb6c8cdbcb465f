/*
 * signals.h: Ctrl-C for programs. The first signal is counted and ends the loop's sleep, so that tasks can be
 * cancelled and clean up; the second one does what it did before. All of it is in abi.h (el_signals_...). This is
 * state of the process, as signals are: the one state that is no engine's, besides live.h.
 */
#pragma once

#include "common.h"
