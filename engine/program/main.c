/*
 * main.c: the etherlua program: a LuaJIT host that finds the Lua modules of the tree it belongs to, or those inside
 * of it when it is portable, and runs etherlua/program/cli.lua, which does the rest. It knows nothing of the engine:
 * Lua loads that like any other user.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "program/console.h"
#include "program/embedded.h"
#include "program/environment.h"
#include "program/interrupt.h"
#include "program/output.h"
#include "program/preload.h"
#include "program/tree.h"

enum { FAILED = 1, UNUSABLE = 2 }; /* exit status, when it is not the command's */

/* etherlua/program/places.lua says where modules are looked for; it is looked for in the tree alone. */
static const char BOOT[] =
	"local arg, lua, scripts, path, cpath, secure = ...\n"
	"local defaults = { path = package.path, cpath = package.cpath }\n"
	"local own = lua and lua .. '/?.lua;' .. lua .. '/?/init.lua;' or ''\n"
	"package.path, package.cpath = own, ''\n"
	"require('etherlua.program.places').set(own, defaults,\n"
	"  { path = path, cpath = cpath, secure = secure })\n"
	"local status = require('etherlua.program.cli').main(arg, { scripts = scripts })\n"
	"return assert(tonumber(status), 'etherlua.cli: main returned no exit status')\n";

/* Error handler: the message, whatever its type, and where it came from. */
static int traceback(lua_State *L)
{
	const char *message = lua_tostring(L, 1);

	if (!message && luaL_callmeta(L, 1, "__tostring"))
		message = lua_tostring(L, -1);
	if (!message)
		message = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
	luaL_traceback(L, L, message, 1);
	return 1;
}

static void push_arguments(lua_State *L, int argc, char **argv)
{
	lua_createtable(L, argc, 1);
	for (int i = 0; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i);
	}
}

/* The folder of the shipped scripts, a table of their loaders by name when they are inside, or nil. */
static void push_scripts(lua_State *L, const struct tree *tree)
{
	if (embedded_scripts->name) {
		lua_newtable(L);
		embedded_set(L, embedded_scripts);
	} else {
		lua_pushstring(L, tree->scripts[0] ? tree->scripts : NULL);
	}
}

/* Paths of modules that the user has chosen; environment.c has left none where they do not count. */
static void push_chosen(lua_State *L, const char *variable)
{
	lua_pushstring(L, getenv(variable));
}

/* Runs the command line in `L`; returns the exit status. */
static int run(lua_State *L, const struct tree *tree, int argc, char **argv)
{
	lua_pushboolean(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV"); /* the defaults alone: places.lua adds the environment's */
	luaL_openlibs(L);
	if (embedded_modules->name)
		embedded_preload(L);
	luaL_findtable(L, LUA_REGISTRYINDEX, "_PRELOAD", 1);
	lua_pushcfunction(L, luaopen_etherlua_console);
	lua_setfield(L, -2, "etherlua.console");
	lua_pushlightuserdata(L, L);
	lua_pushcclosure(L, luaopen_etherlua_interrupt, 1);
	lua_setfield(L, -2, "etherlua.interrupt");
	lua_settop(L, 0);
	lua_pushcfunction(L, traceback);
	if (luaL_loadbuffer(L, BOOT, sizeof BOOT - 1, "=etherlua") == 0) {
		push_arguments(L, argc, argv);
		lua_pushstring(L, tree->lua[0] ? tree->lua : NULL);
		push_scripts(L, tree);
		push_chosen(L, "LUA_PATH");
		push_chosen(L, "LUA_CPATH");
		lua_pushboolean(L, environment_is_secure());
		if (lua_pcall(L, 6, 1, 1) == 0)
			return (int)lua_tointeger(L, -1);
	}
	fprintf(stderr, "etherlua: %s\n", lua_tostring(L, -1));
	return FAILED;
}

int main(int argc, char **argv)
{
	struct tree tree;
	lua_State *L;
	int status;

	environment_clean();
	output_guard(FAILED);
	if (tree_find(&tree))
		return UNUSABLE;
	L = luaL_newstate();
	if (!L) {
		fprintf(stderr, "etherlua: not enough memory for LuaJIT\n");
		return UNUSABLE;
	}
	status = run(L, &tree, argc, argv);
	lua_close(L); /* runs the finalizers */
	return status;
}
