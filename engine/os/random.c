/*
 * random.c: the kernel's numbers. While the machine starts they may be poor ones: nobody here keeps secrets by them.
 */
#include <errno.h>
#include <sys/random.h>

#include "common.h"

int el_random(void *out, uint32_t size)
{
	return getrandom(out, size, GRND_INSECURE) == (ssize_t)size ? 0 : -errno;
}
