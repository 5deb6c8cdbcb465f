/*
 * output.c: output that could not be written is told when the program exits.
 */
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/output.h"

static int lost_status;

static void check(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return;
	if (errno == EPIPE || errno == EINVAL) /* its reader is gone */
		return;
	fprintf(stderr, "etherlua: cannot write the output: %s\n", strerror(errno));
	_exit(lost_status);
}

/* Lines end as everywhere: what is written is bytes. */
void output_guard(int status)
{
	_setmode(_fileno(stdout), _O_BINARY);
	_setmode(_fileno(stderr), _O_BINARY);
	lost_status = status;
	atexit(check);
}
