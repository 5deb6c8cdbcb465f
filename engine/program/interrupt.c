/*
 * interrupt.c: an alarm that sets LuaJIT's debug hook, as a handler may (luajit.c does). LuaJIT asks the hook
 * in interpreted code, so compiled code has to be left first. What the hook asks is a function of Lua's: whether the
 * code that runs is to end. The coroutine of the scheduler never is, and when it runs nothing else spins.
 *
 * State of the process, as signals are; one Lua state has it.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#include "program/alarm.h"
#include "program/interrupt.h"

enum { TRACES_MAX = 4096, PLACE_MAX = 96, TEXT_MAX = 256 };

static const double GRACE = 0.1;       /* s between a signal and the hook */
static const double CPU_TIME = 0.5;    /* s that compiled code keeps the processor when the hook is set */
static const double CLEANING_UP = 2;   /* the same, when tasks have been cancelled */
static const double SECOND_SIGNAL = 2; /* s in which another signal does not end a patient program */
static const int LOOK_AGAIN = 101;     /* instructions, and up to twice as many: no loop may have the same period */

static const char DECIDE[] = "etherlua.interrupt.decide"; /* in the registry */

static lua_State *scheduler;
static volatile sig_atomic_t armed, first, pending, patient;
static volatile sig_atomic_t looked; /* the hook was there since the timer was */
static double signalled_at, cpu_at, cpu_time;

/* ---- the hook ---- */

static void disarm(lua_State *L)
{
	lua_sethook(L, NULL, 0, 0);
	armed = 0;
}

/* The function answers true: not here, look again soon; false: it may go on. It raises an error where it may not. */
static void hook(lua_State *L, lua_Debug *activation)
{
	static int varied;
	int again;

	(void)activation;
	looked = 1;
	if (L == scheduler) {
		disarm(L);
		return;
	}
	lua_sethook(L, hook, LUA_MASKCOUNT, 1); /* whoever catches the error is asked at once */
	lua_getfield(L, LUA_REGISTRYINDEX, DECIDE);
	lua_pushboolean(L, first);
	first = 0;
	lua_call(L, 1, 1);
	again = lua_toboolean(L, -1);
	lua_pop(L, 1);
	if (again)
		lua_sethook(L, hook, LUA_MASKCOUNT, LOOK_AGAIN + varied++ % LOOK_AGAIN);
	else
		disarm(L);
}

/* Again and again: a handler may come in the middle of what LuaJIT itself does with hooks, and then it is lost. */
static void arm(void)
{
	if (!armed)
		first = 1;
	armed = 1;
	lua_sethook(scheduler, hook, LUA_MASKCOUNT, 1);
}

/* ---- compiled code ---- */

/* A trace, and the place in the source where it begins. */
struct trace {
	uintptr_t begin, end;
	char place[PLACE_MAX];
};

static struct trace traces[TRACES_MAX]; /* the last ones */
static unsigned int trace_count;
static const char *volatile place; /* of what ran when the timer was last there, NULL: not known */

enum { STACK_WORDS = 128 };

static const char *place_of(uintptr_t counter)
{
	unsigned int count = trace_count < TRACES_MAX ? trace_count : TRACES_MAX;

	for (unsigned int i = 0; i < count; i++)
		if (counter >= traces[i].begin && counter < traces[i].end)
			return traces[i].place;
	return NULL;
}

/* In the trace, or in a function of C that it has called: then its return address is near the top of the stack. */
static __attribute__((no_sanitize("address"))) void look_at(const struct alarm_place *at)
{
	const char *found = place_of(at->counter);

	for (int i = 0; at->stack && i < STACK_WORDS && !found; i++)
		found = place_of(at->stack[i]);
	if (found)
		place = found;
}

/* compiled(address, size, place): a trace, which is counted when it is whole; compiled(): they are all gone. */
static int compiled(lua_State *L)
{
	struct trace *trace = &traces[trace_count % TRACES_MAX];

	if (lua_isnoneornil(L, 1)) {
		trace_count = 0;
		return 0;
	}
	snprintf(trace->place, sizeof trace->place, "%s", luaL_checkstring(L, 3));
	trace->begin = (uintptr_t)luaL_checknumber(L, 1);
	trace->end = trace->begin + (uintptr_t)luaL_checknumber(L, 2);
	trace_count++;
	return 0;
}

/* ---- signals ---- */

/* Compiled code is not left. The kernel takes away what there is; what Lua deferred is lost, and so it says. */
static void end_process(void)
{
	char line[TEXT_MAX];

	snprintf(line, sizeof line,
	         "etherlua: interrupted%s%s, in compiled code that never waits: deferred functions have not run\n",
	         place ? " at " : "", place ? place : "");
	alarm_end_process(pending, line);
}

static void on_time(const struct alarm_place *at)
{
	if (pending)
		look_at(at);
	if (looked) /* LuaJIT is interpreting */
		cpu_at = alarm_processor_time();
	looked = 0;
	if (pending && !patient && alarm_processor_time() - cpu_at > cpu_time)
		end_process();
	arm();
}

/* Whoever leans on Ctrl-C at the prompt wants the line to end, and not the session. */
static bool is_repeated(int number)
{
	return number == SIGINT && pending && patient && alarm_now() - signalled_at < SECOND_SIGNAL;
}

static bool on_signal(int number)
{
	if (is_repeated(number))
		return false;
	pending = number;
	looked = 0;
	place = NULL;
	cpu_time = CPU_TIME;
	signalled_at = alarm_now();
	cpu_at = alarm_processor_time();
	alarm_set(GRACE);
	return true;
}

/* ---- the module ---- */

/* watch_signals(patient): SIGINT, SIGTERM and SIGHUP, where they are caught, have the function asked. */
static int watch_signals(lua_State *L)
{
	patient = lua_toboolean(L, 1);
	alarm_watch_signals(on_signal);
	return 0;
}

/* ask(function) */
static int ask(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TFUNCTION);
	lua_settop(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, DECIDE);
	return 0;
}

/* after(seconds, heard): the function is asked then; nil: not any more. heard: no signal is pending. */
static int after(lua_State *L)
{
	if (lua_toboolean(L, 2))
		pending = 0;
	if (!pending)
		alarm_set(luaL_optnumber(L, 1, 0));
	return 0;
}

/* cancelled(): because of the signal. The timer goes on, for those that clean up and do not end. */
static int cancelled(lua_State *L)
{
	(void)L;
	cpu_time = CLEANING_UP;
	return 0;
}

/* The Lua state is being closed, by the program or by os.exit(): there is nothing left to set a hook in. */
static int close_alarm(lua_State *L)
{
	(void)L;
	alarm_close();
	return 0;
}

static void close_with_state(lua_State *L)
{
	lua_newuserdata(L, 0);
	lua_newtable(L);
	lua_pushcfunction(L, close_alarm);
	lua_setfield(L, -2, "__gc");
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, "etherlua.interrupt.alarm");
}

int luaopen_etherlua_interrupt(lua_State *L)
{
	static const luaL_Reg functions[] = {{"watch_signals", watch_signals}, {"ask", ask},           {"after", after},
	                                     {"cancelled", cancelled},         {"compiled", compiled}, {NULL, NULL}};
	int error = alarm_open(on_time);

	if (error)
		return luaL_error(L, "cannot open a timer: %s", strerror(-error));
	close_with_state(L);
	scheduler = lua_touserdata(L, lua_upvalueindex(1));
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
