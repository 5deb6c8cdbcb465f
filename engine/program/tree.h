/*
 * tree.h: where the Lua modules and scripts of the program are.
 */
#pragma once

#include <limits.h>

struct tree {
	char lua[PATH_MAX];     /* holds etherlua/program/cli.lua; "" when that is inside of the program */
	char scripts[PATH_MAX]; /* "" when there are none */
};

/* Finds what is on the disk; nothing has to be when the program is portable. 0, or -1 and a line on standard error. */
int tree_find(struct tree *tree);
