/*
 * fail.h: how a function that opens something says why it could not: a line for people, in memory of the caller's. The
 * library never prints.
 */
#pragma once

#include "common.h"

/* Writes a printf-like line into err and returns code, so that an open function can end with it. */
int el_fail(char err[EL_ERR_MAX], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
