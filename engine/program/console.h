/*
 * console.h: the line editor of the prompt. Part of the program, not of the library.
 */
#pragma once

#include <lua.h>

/* The Lua module etherlua.console. */
int luaopen_etherlua_console(lua_State *L);
