/*
 * preload.c: files are compiled when they are wanted.
 */
#include "program/preload.h"

/* The chunk of the file that is the upvalue. */
static int load_embedded(lua_State *L)
{
	const struct embedded *file = lua_touserdata(L, lua_upvalueindex(1));

	if (luaL_loadbuffer(L, file->text, (size_t)(file->end - file->text), file->chunk))
		return lua_error(L);
	return 1;
}

/* The same for `require`, which wants to have it run, with the module's name. */
static int require_embedded(lua_State *L)
{
	load_embedded(L);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

/* Sets table[name] = function for each file, in the table on top. */
static void set_embedded(lua_State *L, const struct embedded *files, lua_CFunction function)
{
	for (const struct embedded *file = files; file->name; file++) {
		lua_pushlightuserdata(L, (void *)file);
		lua_pushcclosure(L, function, 1);
		lua_setfield(L, -2, file->name);
	}
}

void embedded_preload(lua_State *L)
{
	lua_getglobal(L, "package");
	lua_getfield(L, -1, "preload");
	set_embedded(L, embedded_modules, require_embedded);
	luaL_register(L, NULL, embedded_libraries);
	lua_pop(L, 2);
}

void embedded_set(lua_State *L, const struct embedded *files)
{
	set_embedded(L, files, load_embedded);
}
