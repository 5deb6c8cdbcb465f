/*
 * conn.h: EtherConn, an Ethernet endpoint: MAC address, VLAN stack, EtherTypes. All of it is in abi.h (struct
 * el_conn). It registers with the relay's tables and kind, and sends payloads; what it receives is the demux's
 * business. The caller owns the struct.
 */
#pragma once

#include "common.h"
