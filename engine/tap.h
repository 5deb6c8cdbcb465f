/*
 * tap.h: one reader on behalf of many EtherConns. All of it is in abi.h (el_tap_..., el_conn_tap). A relay has one at
 * the most; it closes with the relay, and the caller owns the struct until el_tap_free(). What an EtherConn's tap gets
 * the demux decides.
 */
#pragma once

#include "common.h"
