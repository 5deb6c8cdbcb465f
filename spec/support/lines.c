/*
 * lines.c: a Lua module that notes which lines are reached, for spec/fuzz/lines.lua. It is a line hook in C: one in Lua
 * makes everything fifty times as slow. Compiled code calls no hooks, so the JIT has to be off.
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCES = 1024, LINES = 1024 }; /* files are shorter */

struct source {
	const char *name; /* the chunk's own, which lives as long as its functions */
	char *copy;
	unsigned char reached[LINES];
};

static struct source sources[SOURCES];
static unsigned count;
static struct source *last;

static struct source *find(const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (sources[i].name == name && !strcmp(sources[i].copy, name))
			return &sources[i];
	if (count == SOURCES)
		return NULL;
	sources[count].name = name;
	sources[count].copy = strdup(name);
	return sources[count].copy ? &sources[count++] : NULL;
}

static void note(lua_State *lua, lua_Debug *event)
{
	lua_getinfo(lua, "S", event);
	if (event->source[0] != '@' || event->currentline < 0 || event->currentline >= LINES)
		return;
	if (!last || last->name != event->source)
		last = find(event->source);
	if (last)
		last->reached[event->currentline] = 1;
}

static int start(lua_State *lua)
{
	lua_sethook(lua, note, LUA_MASKLINE, 0);
	return 0;
}

/* Calls fn(source, line) for each line. */
static int finish(lua_State *lua)
{
	lua_sethook(lua, NULL, 0, 0);
	for (unsigned i = 0; i < count; i++) {
		for (int line = 0; line < LINES; line++) {
			if (!sources[i].reached[line])
				continue;
			lua_pushvalue(lua, 1);
			lua_pushstring(lua, sources[i].copy);
			lua_pushinteger(lua, line);
			lua_call(lua, 2, 0);
		}
	}
	return 0;
}

int luaopen_spec_lines(lua_State *lua);

int luaopen_spec_lines(lua_State *lua)
{
	static const luaL_Reg functions[] = {{"start", start}, {"finish", finish}, {NULL, NULL}};

	lua_newtable(lua);
	luaL_register(lua, NULL, functions);
	return 1;
}
