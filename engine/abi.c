/*
 * abi.c: what belongs to the library as a whole: the text of abi.h, its version, and the counters of open objects.
 */
#include <stdarg.h>
#include <stdio.h>

#include "core.h"

#ifndef EL_VERSION
#define EL_VERSION "0.1.0"
#endif

#ifndef STEER_OBJECT
#define STEER_OBJECT "build/steer.bpf.o"
#endif

/* The text of abi.h, for ffi.cdef. It ends with a NUL. */
__asm__(".pushsection .rodata\n"
        ".globl el_abi_text\n"
        ".type el_abi_text, @object\n"
        "el_abi_text:\n"
        ".incbin \"engine/abi.h\"\n"
        ".byte 0\n"
        ".size el_abi_text, . - el_abi_text\n"
        ".popsection\n");

/* The steering program of xdp relays, which libbpf reads from memory. */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        ".globl el_steer_program, el_steer_size\n"
        ".hidden el_steer_program\n"
        ".hidden el_steer_size\n"
        "el_steer_program:\n"
        ".incbin \"" STEER_OBJECT
        "\"\n"
        "1: .balign 8\n"
        "el_steer_size: .quad 1b - el_steer_program\n"
        ".popsection\n");

_Atomic int64_t live_engines, live_relays, live_conns, live_udps;

const char *el_version(void)
{
	return EL_VERSION;
}

void el_live(struct el_live *out)
{
	out->engines = live_engines;
	out->relays = live_relays;
	out->conns = live_conns;
	out->udps = live_udps;
}

int el_fail(char err[EL_ERR_MAX], int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, EL_ERR_MAX, format, args);
	va_end(args);
	return code;
}
