/*
 * capture.h: writes frames to a pcap file with nanosecond timestamps. All of it is in abi.h (struct el_capture).
 * Whoever opened a capture owns it. It never disturbs traffic: after a write error (a full disk) it says so once to
 * whoever asks and writes no more. Nothing is on the disk before el_capture_flush().
 */
#pragma once

#include "common.h"
