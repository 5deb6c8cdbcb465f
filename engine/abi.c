/*
 * abi.c: the text of abi.h, which the library carries, and the version of it all.
 */
#include "common.h"

#ifndef EL_VERSION
#define EL_VERSION "0.1.0"
#endif

/* The text of abi.h, for ffi.cdef. It ends with a NUL. */
__asm__(".section .rodata\n"
        ".globl el_abi_text\n"
        "el_abi_text:\n"
        ".incbin \"engine/abi.h\"\n"
        ".byte 0\n"
        ".text\n");

const char *el_version(void)
{
	return EL_VERSION;
}
