/*
 * host.c: LuaJIT with the engine inside, and nothing of the program, for specs: host.exe SCRIPT [ARGUMENTS].
 */
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "program/output.h"
#include "program/preload.h"

int luaopen_lfs(lua_State *L);

int main(int argc, char **argv)
{
	lua_State *L = luaL_newstate();

	output_guard(1);
	luaL_openlibs(L);
	embedded_preload(L);
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	lua_pushcfunction(L, luaopen_lfs); /* busted wants it */
	lua_setfield(L, -2, "lfs");
	lua_createtable(L, argc, 0);
	for (int i = 1; i < argc; i++) {
		lua_pushstring(L, argv[i]);
		lua_rawseti(L, -2, i - 1);
	}
	lua_setglobal(L, "arg");
	if (argc > 1 && !luaL_dofile(L, argv[1]))
		return 0;
	fprintf(stderr, "%s\n", lua_tostring(L, -1));
	return 1;
}
