/*
 * random.c: the system's generator for cryptography.
 */
#include <windows.h>

#include <bcrypt.h>
#include <errno.h>

#include "common.h"

int el_random(void *out, uint32_t size)
{
	return BCryptGenRandom(NULL, out, size, BCRYPT_USE_SYSTEM_PREFERRED_RNG) ? -EIO : 0;
}
