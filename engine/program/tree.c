/*
 * tree.c: looks beside the program.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "program/embedded.h"
#include "program/tree.h"

/* The folder of this program. */
static int program_folder(char folder[PATH_MAX])
{
	ssize_t len = readlink("/proc/self/exe", folder, PATH_MAX - 1);
	char *slash;

	if (len < 0)
		return -1;
	folder[len] = '\0';
	slash = strrchr(folder, '/');
	if (slash)
		*slash = '\0';
	return 0;
}

/* Joins folder and name without "..", or fails when there is no such place. */
static int resolve(const char *folder, const char *name, char out[PATH_MAX])
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return realpath(path, out) ? 0 : -1;
}

static int find_tree(const char *folder, struct tree *tree)
{
	static const struct {
		const char *lua, *scripts;
	} layout[] = {
		{"../share/lua/5.1", "../share/etherlua/scripts"}, /* installed */
		{"../lua", "../scripts"},                          /* build/ */
		{"../../lua", "../../scripts"},                    /* build/san/ */
	};
	char cli[PATH_MAX];

	for (size_t i = 0; i < sizeof layout / sizeof layout[0]; i++) {
		if (resolve(folder, layout[i].lua, tree->lua) || resolve(tree->lua, "etherlua/program/cli.lua", cli))
			continue;
		if (resolve(folder, layout[i].scripts, tree->scripts))
			tree->scripts[0] = '\0';
		return 0;
	}
	return -1;
}

int tree_find(struct tree *tree)
{
	char folder[PATH_MAX];

	tree->lua[0] = tree->scripts[0] = '\0';
	if (embedded_modules->name)
		return 0;
	if (program_folder(folder)) {
		fprintf(stderr, "etherlua: cannot read /proc/self/exe\n");
		return -1;
	}
	if (find_tree(folder, tree)) {
		fprintf(stderr, "etherlua: no etherlua/program/cli.lua in ../lua or ../share/lua/5.1 of %s\n", folder);
		return -1;
	}
	return 0;
}
