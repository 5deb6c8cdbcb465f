/*
 * interrupt.h: ends Lua code that never waits, so that the scheduler never has its turn. Part of the program, not of
 * the library.
 */
#pragma once

#include <lua.h>

/* The Lua module etherlua.interrupt, for core/runaway.lua alone. Its upvalue is the main coroutine, a lua_State. */
int luaopen_etherlua_interrupt(lua_State *L);
