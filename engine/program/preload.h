/*
 * preload.h: what is inside of a program, for Lua.
 */
#pragma once

#include "program/embedded.h"

/* Modules that are inside are found by `require` before those of the same name on the disk. */
void embedded_preload(lua_State *L);
/* Sets table[name] = a function that returns the file's chunk, for each of them, in the table on top. */
void embedded_set(lua_State *L, const struct embedded *files);
