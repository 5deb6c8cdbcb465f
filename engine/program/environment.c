/*
 * environment.c: keeps few variables, rather than dropping what is known to be harmful: each library reads some.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "program/environment.h"

/* Words about the terminal and the language: no paths. */
static const char *const kept[] = {"TERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LC_TIME"};

enum { KEPT = sizeof kept / sizeof kept[0], WORD_MAX = 64 };

static char state[PATH_MAX];

/* What is kept is in memory of its own while all else goes. */
static bool copy_word(char to[WORD_MAX], const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.@";

	if (!text || strlen(text) >= WORD_MAX || text[strspn(text, plain)])
		return false;
	memcpy(to, text, strlen(text) + 1);
	return true;
}

/* Another user's rights are not for writing where this one says. */
static void find_state(void)
{
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	bool own = getuid() == geteuid() && getgid() == getegid();
	int length = 0;

	if (own && base && *base == '/')
		length = snprintf(state, sizeof state, "%s/etherlua", base);
	else if (own && home && *home)
		length = snprintf(state, sizeof state, "%s/.local/state/etherlua", home);
	if (length >= (int)sizeof state)
		state[0] = '\0';
}

void environment_clean(void)
{
	char words[KEPT][WORD_MAX];
	bool is_kept[KEPT];

	find_state();
	if (!environment_is_secure())
		return;
	for (size_t i = 0; i < KEPT; i++)
		is_kept[i] = copy_word(words[i], getenv(kept[i]));
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	for (size_t i = 0; i < KEPT; i++)
		if (is_kept[i])
			setenv(kept[i], words[i], 1);
}

bool environment_is_secure(void)
{
	return getauxval(AT_SECURE) != 0;
}

const char *environment_state(void)
{
	return state[0] ? state : NULL;
}
