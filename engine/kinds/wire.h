/*
 * wire.h: two relays joined in memory: what one flushes the other receives at once, through the same parse and demux
 * as everything else; no file descriptor, no privileges.
 */
#pragma once

#include "kind.h"

extern const struct el_kind el_kind_wire;

/* Joins two open relays of this kind, until one of them closes. */
void el_wire_join(struct el_relay *a, struct el_relay *b);
