/*
 * signals.h: Ctrl-C for programs. The first signal is counted and ends the loop's sleep, so that tasks can be
 * cancelled and clean up; the second one does what it did before. SIGUSR1 only asks a question: it is counted apart and
 * ends the sleep, no more. All of it is in abi.h (el_signals_...). This is state of the process, as signals are: the
 * one state that is no engine's, besides live.h.
 */
#pragma once

#include "common.h"
