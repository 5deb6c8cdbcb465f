/*
 * console.h: the line editor of the prompt, for main.c.
 */
#pragma once

#include <lua.h>

/* The Lua module etherlua.console. */
int luaopen_etherlua_console(lua_State *L);
