/*
 * list.h: the relay kinds that a name stands for.
 */
#pragma once

#include "kind.h"

/* Up to NULL; the first one is meant where no kind is named. */
extern const struct el_kind *const el_kinds[];
