/*
 * console.c: the prompt on a Windows console, which edits lines by itself, as the Lua module etherlua.console. What is
 * printed meanwhile comes in the middle of what is being typed.
 */
#include <windows.h>

#include <io.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "os/windows/input.h"
#include "program/console.h"

enum { PROMPT_MAX = 32, COLUMNS = 80 };

static struct console {
	char prompt[PROMPT_MAX];
	int completer; /* reference of the Lua function */
} console = {.completer = LUA_NOREF};

static int console_is_terminal(lua_State *L)
{
	lua_pushboolean(L, _isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

static int console_can_edit(lua_State *L)
{
	lua_pushboolean(L, _isatty(0) && _isatty(1));
	return 1;
}

static int console_columns(lua_State *L)
{
	CONSOLE_SCREEN_BUFFER_INFO info;
	int known = GetConsoleScreenBufferInfo(GetStdHandle(STD_OUTPUT_HANDLE), &info);

	lua_pushinteger(L, known ? info.srWindow.Right - info.srWindow.Left + 1 : COLUMNS);
	return 1;
}

static int console_read(lua_State *L)
{
	char buffer[INPUT_MAX];
	int count = input_take(buffer);

	if (count <= 0)
		return 0;
	lua_pushlstring(L, buffer, (size_t)count);
	return 1;
}

static int console_open(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	console.completer = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushboolean(L, 1);
	return 1;
}

static void show(const char *text, size_t len)
{
	fwrite(console.prompt, 1, strlen(console.prompt), stdout);
	fwrite(text, 1, len, stdout);
	fflush(stdout);
}

static int console_start(lua_State *L)
{
	snprintf(console.prompt, sizeof console.prompt, "%s", luaL_checkstring(L, 1));
	show("", 0);
	return 0;
}

/* The text in front of a tab; what the Lua function wants inserted stands behind it from now on. */
static void complete(lua_State *L, const char *text, size_t len)
{
	lua_rawgeti(L, LUA_REGISTRYINDEX, console.completer);
	lua_pushlstring(L, text, len);
	lua_pushvalue(L, -1);
	lua_insert(L, -3);
	if (lua_pcall(L, 1, 1, 0) != 0 || !lua_isstring(L, -1)) {
		lua_pop(L, 1);
		lua_pushliteral(L, "");
	}
	lua_concat(L, 2);
	text = lua_tolstring(L, -1, &len);
	fputc('\r', stdout);
	show(text, len);
	input_begin_with(text, len);
	lua_pop(L, 1);
}

/* feed() -> string | false | nil, as on Linux. The end of the input is Ctrl-Z in an empty line. */
static int console_feed(lua_State *L)
{
	char text[INPUT_MAX];
	int count = input_take(text);
	const char *tab = count > 0 ? memchr(text, '\t', (size_t)count) : NULL;

	if (count == INPUT_AGAIN)
		return 0;
	if (tab) {
		complete(L, text, (size_t)(tab - text));
		return 0;
	}
	if (count == 0 || text[0] == 0x1a)
		lua_pushboolean(L, 0);
	else
		lua_pushlstring(L, text, strcspn(text, "\r\n"));
	return 1;
}

static int nothing(lua_State *L)
{
	(void)L;
	return 0;
}

/* The console has a history of its own, for as long as it is open. */
static int console_history(lua_State *L)
{
	lua_pushboolean(L, 1);
	return 1;
}

int luaopen_etherlua_console(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"is_terminal", console_is_terminal},
		{"can_edit", console_can_edit},
		{"columns", console_columns},
		{"read", console_read},
		{"open", console_open},
		{"start", console_start},
		{"feed", console_feed},
		{"hide", nothing},
		{"cancel", nothing},
		{"history", console_history},
		{"remember", nothing},
		{"close", nothing},
		{NULL, NULL},
	};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
