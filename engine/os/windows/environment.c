/*
 * environment.c: no program has rights by its file here.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "program/environment.h"

static char state[1024];

void environment_clean(void)
{
	const char *base = getenv("LOCALAPPDATA");

	if (base && *base && snprintf(state, sizeof state, "%s\\etherlua", base) >= (int)sizeof state)
		state[0] = '\0';
}

bool environment_is_secure(void)
{
	return false;
}

const char *environment_state(void)
{
	return state[0] ? state : NULL;
}
