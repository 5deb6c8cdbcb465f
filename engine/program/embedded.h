/*
 * embedded.h: what a portable program has inside: Lua modules, scripts and the C libraries of modules, in the file that
 * engine/package/embed.lua writes. In any other there is nothing: embedded.c.
 */
#pragma once

#include <lauxlib.h>
#include <lua.h>

struct embedded {
	const char *name;       /* of the module or script; NULL behind the last one */
	const char *chunk;      /* what messages call it */
	const char *text, *end; /* its source */
};

extern const struct embedded embedded_modules[], embedded_scripts[];
extern const luaL_Reg embedded_libraries[];
