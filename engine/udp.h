/*
 * udp.h: RUDPConn, a UDP endpoint on an EtherConn: writes IP and UDP headers and their checksums. All of it is in
 * abi.h (struct el_udp). Any number of them share one EtherConn, which closes them when it closes. What does not fit
 * the MTU is refused, or sent in fragments where the EtherConn may. The caller owns the struct.
 */
#pragma once

#include "common.h"
