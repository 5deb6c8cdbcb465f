/*
 * shortage.h: why something failed that a library tells in words of its own, when what it needed had run out: libbpf
 * says "No such process" or "Invalid argument" then, libpcap "Generic error".
 */
#pragma once

#include "common.h"

/*
 * -EMFILE when hardly any file descriptors are left, -ENOMEM when hardly any memory is, else the error. To be asked
 * when the failed call has given back what it had.
 */
int el_shortage(int error);
/* The reason for people; what to do about a shortage stands behind it. */
const char *el_shortage_reason(int error);
/* Returns the true cause, and fills err with the words and the reason. */
int el_shortage_fail(char err[EL_ERR_MAX], int error, const char *words, ...) __attribute__((format(printf, 3, 4)));
