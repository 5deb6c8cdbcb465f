/*
 * file_changes.h: to hear when a file has changed. Only what this machine writes is heard of.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

/* A descriptor, the caller's, that is readable when the open file has changed. -ENOSYS: this system does not tell. */
int el_file_changes_open(FILE *file);
/* Whether it has changed since this was asked last. */
bool el_file_changes_came(int descriptor);
