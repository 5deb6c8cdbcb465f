/*
 * environment.h: the variables of a program that has rights which its user has not: by its file's capabilities, or
 * set-uid. Then nothing that the user says there leads to a file: no program, library, module or configuration.
 */
#pragma once

#include <stdbool.h>

/* Before anybody reads one. */
void environment_clean(void);
/* Whether the program has such rights. */
bool environment_is_secure(void);
/* The folder of what the user's programs remember, or NULL (XDG base directory specification). */
const char *environment_state(void);
