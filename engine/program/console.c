/*
 * console.c: the line editor of the prompt, libedit, as the Lua module etherlua.console. There is one, as there is one
 * terminal.
 *
 * libedit waits for each key in the middle of its work. So it runs on a stack of its own, which is left when no key is
 * there, and entered again by feed(): meanwhile the loop goes on. Lua is only ever called on the program's stack. What
 * was typed can be hidden for as long as something else is printed.
 */
#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>
#include <wchar.h>

#include <lauxlib.h>
#include <lua.h>

#include "program/console.h"
#include "program/environment.h"
#include "program/line_history.h"
#include "program/terminal.h"

enum { STACK_SIZE = 256 * 1024, PROMPT_MAX = 32, READ_SIZE = 4096 };

enum state { IDLE, TYPING, COMPLETING, CANCELLED };

static struct console {
	EditLine *editor;
	struct line_history history;
	char *stack;
	ucontext_t program, editing;
	enum state state;
	bool shown;
	char prompt[PROMPT_MAX];
	int completer;    /* reference of the Lua function */
	int columns;      /* of the terminal, when it was last looked at */
	const char *line; /* what el_gets returned */
} console = {.completer = LUA_NOREF};

/* ---- where the cursor is ---- */

/* The place that is reached behind these bytes of the line, counted in columns from the prompt's beginning. */
static int place_of(const char *text, const char *end)
{
	return terminal_place(text, end, (int)strlen(console.prompt), console.columns);
}

/* ---- hiding and showing what is being typed ---- */

static void hide(void)
{
	const LineInfo *line;
	int row;

	if (console.state == IDLE || !console.shown)
		return;
	line = el_line(console.editor);
	row = place_of(line->buffer, line->cursor) / console.columns;
	fprintf(stdout, row > 0 ? "\r\033[%dA\033[J" : "\r\033[J", row);
	fflush(stdout);
	console.shown = false;
}

static void show(void)
{
	if (console.state == IDLE || console.shown)
		return;
	console.columns = terminal_columns();
	el_resize(console.editor);
	el_set(console.editor, EL_REFRESH);
	console.shown = true;
}

/* Behind the last row of what is being typed, which stays where it is. */
static void leave(void)
{
	const LineInfo *line = el_line(console.editor);
	int end = place_of(line->buffer, line->lastchar);
	int down = end / console.columns - place_of(line->buffer, line->cursor) / console.columns;

	if (console.shown && down > 0)
		fprintf(stdout, "\033[%dB", down);
	if (console.shown)
		fprintf(stdout, "\033[%dG^C\r\n", end % console.columns + 1);
	fflush(stdout);
	console.shown = false;
}

/* ---- on the editor's stack ---- */

/* Until feed() or cancel(). */
static void give_way(enum state state)
{
	console.state = state;
	swapcontext(&console.editing, &console.program);
}

/* 1; 0 at the end of input and when the line is given up. */
static int read_byte(char *byte)
{
	struct pollfd ready = {STDIN_FILENO, POLLIN, 0};

	for (;;) {
		while (console.state != CANCELLED && poll(&ready, 1, 0) <= 0)
			give_way(TYPING);
		if (console.state == CANCELLED)
			return 0;
		ssize_t count = read(STDIN_FILENO, byte, 1);

		if (count >= 0)
			return (int)count;
		if (errno != EINTR && errno != EAGAIN)
			return 0;
	}
}

/* libedit's way to read a key. What is no character in the terminal's encoding is left out. */
static int read_key(EditLine *editor, wchar_t *key)
{
	mbstate_t state = {0};
	char byte;

	(void)editor;
	while (read_byte(&byte) == 1) {
		size_t used = mbrtowc(key, &byte, 1, &state);

		if (used == (size_t)-1)
			memset(&state, 0, sizeof state);
		else if (used != (size_t)-2)
			return 1;
	}
	return 0;
}

static unsigned char complete_key(EditLine *editor, int key)
{
	(void)editor;
	(void)key;
	give_way(COMPLETING);
	return CC_REFRESH;
}

static void edit(void)
{
	int length;

	console.line = el_gets(console.editor, &length);
	console.state = IDLE;
}

/* ---- on the program's stack ---- */

static char *get_prompt(EditLine *editor)
{
	(void)editor;
	return console.prompt;
}

/* As most people's shells have it; ~/.editrc has the last word. */
static void bind_keys(EditLine *editor)
{
	static const char *const keys[][2] = {
		{"^I", "complete"},
		{"^R", "em-inc-search-prev"},
		{"^W", "ed-delete-prev-word"},
		{"\\e[3~", "ed-delete-next-char"},
		{"\\e[1;5C", "em-next-word"},
		{"\\e[1;5D", "ed-prev-word"},
	};

	el_set(editor, EL_EDITOR, "emacs");
	el_wset(editor, EL_ADDFN, L"complete", L"complete what is before the cursor", complete_key); /* el_set leaks */
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		el_set(editor, EL_BIND, keys[i][0], keys[i][1], NULL);
	if (!environment_is_secure())
		el_source(editor, NULL);
}

static bool open_editor(void)
{
	console.stack = malloc(STACK_SIZE);
	console.editor = el_init("etherlua", stdin, stdout, stderr);
	if (!console.stack || !console.editor)
		return false;
	el_set(console.editor, EL_SIGNAL, 0);
	el_set(console.editor, EL_PROMPT, get_prompt);
	el_set(console.editor, EL_GETCFN, read_key);
	bind_keys(console.editor);
	line_history_open(&console.history, console.editor);
	return true;
}

/* What the Lua function wants inserted for the text up to the cursor; an error in it completes nothing. */
static void complete(lua_State *L)
{
	const LineInfo *line = el_line(console.editor);

	lua_rawgeti(L, LUA_REGISTRYINDEX, console.completer);
	lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
	if (lua_pcall(L, 1, 1, 0) == 0 && lua_isstring(L, -1))
		el_insertstr(console.editor, lua_tostring(L, -1));
	lua_pop(L, 1);
	show(); /* it may have printed what there is to choose from */
}

/* Lets the editor work until it needs a key that is not there yet. */
static int enter(lua_State *L)
{
	for (;;) {
		console.state = TYPING;
		swapcontext(&console.program, &console.editing);
		if (console.state != COMPLETING)
			break;
		complete(L);
	}
	if (console.state == TYPING) {
		lua_pushnil(L);
		return 1;
	}
	console.shown = false;
	if (console.line)
		lua_pushlstring(L, console.line, strcspn(console.line, "\r\n"));
	else
		lua_pushboolean(L, 0);
	return 1;
}

/* ---- the module ---- */

/* is_terminal(fd) -> boolean */
static int console_is_terminal(lua_State *L)
{
	lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
	return 1;
}

/* can_edit() -> boolean: standard input and output are a terminal that lines can be edited on */
static int console_can_edit(lua_State *L)
{
	lua_pushboolean(L, terminal_can_edit());
	return 1;
}

/* columns() -> integer: of the terminal */
static int console_columns(lua_State *L)
{
	lua_pushinteger(L, terminal_columns());
	return 1;
}

/* read() -> string | nil: what is there of standard input, where it is no terminal; nil at its end */
static int console_read(lua_State *L)
{
	char buffer[READ_SIZE];
	ssize_t count;

	do
		count = read(STDIN_FILENO, buffer, sizeof buffer);
	while (count < 0 && errno == EINTR);
	if (count <= 0)
		return 0;
	lua_pushlstring(L, buffer, (size_t)count);
	return 1;
}

/* open(completer) -> true | nil, reason: completer(text before the cursor) returns what to insert; it must not wait */
static int console_open(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	setlocale(LC_CTYPE, "");
	terminal_guard();
	if (!open_editor()) {
		lua_pushnil(L);
		lua_pushliteral(L, "cannot edit lines on this terminal");
		return 2;
	}
	lua_settop(L, 1);
	console.completer = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushboolean(L, 1);
	return 1;
}

static int check_is(lua_State *L, bool typing)
{
	if (!console.editor || (console.state != IDLE) != typing)
		return luaL_error(L, typing ? "no line is being typed"
		                            : "the console is not open, or a line is being typed");
	return 0;
}

/* start(prompt) -> as feed(): a new line is to be typed */
static int console_start(lua_State *L)
{
	snprintf(console.prompt, sizeof console.prompt, "%s", luaL_checkstring(L, 1));
	check_is(L, false);
	console.columns = terminal_columns();
	el_resize(console.editor);
	getcontext(&console.editing);
	console.editing.uc_stack.ss_sp = console.stack;
	console.editing.uc_stack.ss_size = STACK_SIZE;
	console.editing.uc_link = &console.program;
	makecontext(&console.editing, edit, 0);
	console.shown = true;
	return enter(L);
}

/* feed() -> string | false | nil: keys may have been typed; the line, false at the end of input, nil when it goes on */
static int console_feed(lua_State *L)
{
	check_is(L, true);
	if (terminal_was_stopped() || console.columns != terminal_columns())
		hide();
	show();
	return enter(L);
}

/* hide(): something else is to be printed; until feed() */
static int console_hide(lua_State *L)
{
	(void)L;
	hide();
	return 0;
}

/* cancel(): the line that is being typed is given up */
static int console_cancel(lua_State *L)
{
	check_is(L, true);
	leave();
	while (console.state != IDLE) {
		console.state = CANCELLED;
		swapcontext(&console.program, &console.editing);
	}
	return 0;
}

/* history() -> true | nil, reason: it is kept from now on */
static int console_history(lua_State *L)
{
	const char *folder = environment_state(), *reason = "neither XDG_STATE_HOME nor HOME is set";
	char why[256];

	if (folder)
		reason = line_history_keep(&console.history, folder, why);
	if (reason) {
		lua_pushnil(L);
		lua_pushstring(L, reason);
		return 2;
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* remember(line): in the history */
static int console_remember(lua_State *L)
{
	line_history_add(&console.history, luaL_checkstring(L, 1));
	return 0;
}

/* close(): the terminal is as it was found */
static int console_close(lua_State *L)
{
	if (console.editor)
		el_end(console.editor);
	line_history_close(&console.history);
	free(console.stack);
	luaL_unref(L, LUA_REGISTRYINDEX, console.completer);
	console = (struct console){.completer = LUA_NOREF};
	return 0;
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
		{"hide", console_hide},
		{"cancel", console_cancel},
		{"history", console_history},
		{"remember", console_remember},
		{"close", console_close},
		{NULL, NULL},
	};

	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
