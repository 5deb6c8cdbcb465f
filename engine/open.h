/*
 * open.h: opens relays by "kind:name", from the table of all kinds, and closes them. All of it is in abi.h
 * (el_relay_open, el_wire_open, el_relay_close). A relay is its engine's until it is closed. Nothing of a relay is
 * left when opening fails.
 */
#pragma once

#include "common.h"
