/*
 * embedded.h: what a portable program has inside: Lua modules, scripts and the C libraries of modules. The file that
 * engine/package/embed.lua writes defines them; no other program has one, and there they are NULL, which is what weak
 * means.
 */
#pragma once

#include <lauxlib.h>
#include <lua.h>

#define EMBEDDED extern __attribute__((weak, visibility("hidden")))

struct embedded {
	const char *name;       /* of the module or script; NULL behind the last one */
	const char *chunk;      /* what messages call it */
	const char *text, *end; /* its source */
};

EMBEDDED const struct embedded embedded_modules[], embedded_scripts[];
EMBEDDED const luaL_Reg embedded_libraries[];
