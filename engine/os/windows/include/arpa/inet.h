/*
 * inet.h: what addr.c needs of it.
 */
#pragma once

#include <winsock2.h>
#include <ws2tcpip.h>
