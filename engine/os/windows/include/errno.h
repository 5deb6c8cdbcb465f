/*
 * errno.h: the C library's, but with the numbers of Linux for those that the engine returns: core/errno.lua knows these
 * alone. Numbers up to 34 are the same on both.
 */
#pragma once

#include_next <errno.h>

#undef ENOSYS
#undef ENODATA
#undef EBADMSG
#undef EOVERFLOW
#undef EMSGSIZE
#undef EPROTONOSUPPORT
#undef EAFNOSUPPORT
#undef EADDRINUSE
#undef EADDRNOTAVAIL
#undef ENETDOWN
#undef ENOBUFS
#define ENOSYS 38
#define ENODATA 61
#define EBADMSG 74
#define EOVERFLOW 75
#define EMSGSIZE 90
#define EPROTONOSUPPORT 93
#define EAFNOSUPPORT 97
#define EADDRINUSE 98
#define EADDRNOTAVAIL 99
#define ENETDOWN 100
#define ENOBUFS 105
#define ESTALE 116
