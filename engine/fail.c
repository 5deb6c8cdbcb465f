/*
 * fail.c: one line about a failure.
 */
#include <stdarg.h>
#include <stdio.h>

#include "fail.h"

int el_fail(char err[EL_ERR_MAX], int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(err, EL_ERR_MAX, format, args);
	va_end(args);
	return code;
}
