/*
 * interrupt.c: a timer whose handler sets LuaJIT's debug hook, as a handler may (luajit.c does). LuaJIT asks the hook
 * in interpreted code, so compiled code has to be left first. What the hook asks is a function of Lua's: whether the
 * code that runs is to end. The coroutine of the scheduler never is, and when it runs nothing else spins.
 *
 * State of the process, as signals are; one Lua state has it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "program/interrupt.h"

static const long GRACE = 100000000;   /* ns between a signal and the hook, and from then on */
static const double CPU_TIME = 0.5;    /* s in which compiled code that was asked to end keeps the processor */
static const double SECOND_SIGNAL = 2; /* s in which another signal does not end a patient program */
static const int LOOK_AGAIN = 101;     /* instructions, and up to twice as many: no loop may have the same period */

static const char DECIDE[] = "etherlua.interrupt.decide"; /* in the registry */

static lua_State *scheduler;
static timer_t timer;
static struct sigaction before[NSIG];
static volatile sig_atomic_t armed, first, pending, patient, looked;
static double signalled_at, cpu_at;

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

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

static void arm(void)
{
	if (armed)
		return;
	armed = first = 1;
	lua_sethook(scheduler, hook, LUA_MASKCOUNT, 1);
}

/* ---- signals ---- */

/* After `delay`, and then every GRACE; 0: no more. */
static void set_timer(double delay)
{
	struct itimerspec when = {.it_interval.tv_nsec = delay > 0 ? GRACE : 0};

	when.it_value.tv_sec = (time_t)delay;
	when.it_value.tv_nsec = (long)((delay - (double)when.it_value.tv_sec) * 1e9);
	timer_settime(timer, 0, &when, NULL);
}

/* Compiled code is not left. The kernel takes away what there is; what Lua deferred is lost, and so it says. */
static void end_process(void)
{
	static const char words[] =
		"etherlua: interrupted in compiled code that never waits: "
		"deferred functions have not run\n";

	signal(pending, SIG_DFL);
	if (write(STDERR_FILENO, words, sizeof words - 1) >= 0)
		raise(pending);
	_exit(128 + pending);
}

static void on_time(int number)
{
	int saved = errno;

	(void)number;
	if (pending && !patient && !looked && armed && seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_at > CPU_TIME)
		end_process();
	arm();
	errno = saved;
}

/* Whoever leans on Ctrl-C at the prompt wants the line to end, and not the session. */
static int is_repeated(void)
{
	return pending && patient && seconds(CLOCK_MONOTONIC) - signalled_at < SECOND_SIGNAL;
}

static void on_signal(int number)
{
	int saved = errno;

	if (!is_repeated()) {
		pending = number;
		looked = 0;
		signalled_at = seconds(CLOCK_MONOTONIC);
		cpu_at = seconds(CLOCK_PROCESS_CPUTIME_ID);
		set_timer((double)GRACE / 1e9);
		before[number].sa_handler(number);
	}
	errno = saved;
}

static void wrap(int number)
{
	struct sigaction action;

	sigaction(number, NULL, &before[number]);
	if (before[number].sa_handler == SIG_DFL || before[number].sa_handler == SIG_IGN ||
	    before[number].sa_handler == on_signal)
		return;
	action = before[number];
	action.sa_handler = on_signal;
	sigaction(number, &action, NULL);
}

/* ---- the module ---- */

/* watch_signals(patient): SIGINT, SIGTERM and SIGHUP, where they are caught, have the function asked. */
static int watch_signals(lua_State *L)
{
	patient = lua_toboolean(L, 1);
	wrap(SIGINT);
	wrap(SIGTERM);
	wrap(SIGHUP);
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
		set_timer(luaL_optnumber(L, 1, 0));
	return 0;
}

/* Nobody who reads from a pipe expects the timer: system calls go on. */
static int open_timer(void)
{
	struct sigaction action = {.sa_handler = on_time, .sa_flags = SA_RESTART};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGALRM, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer) ? -1 : 0;
}

int luaopen_etherlua_interrupt(lua_State *L)
{
	static const luaL_Reg functions[] = {
		{"watch_signals", watch_signals}, {"ask", ask}, {"after", after}, {NULL, NULL}};

	if (open_timer())
		return luaL_error(L, "cannot open a timer: %s", strerror(errno));
	scheduler = lua_touserdata(L, lua_upvalueindex(1));
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
