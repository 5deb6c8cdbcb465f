/*
 * tree.c: all is inside of the program.
 */
#include "program/tree.h"

int tree_find(struct tree *tree)
{
	tree->lua[0] = tree->scripts[0] = '\0';
	return 0;
}
