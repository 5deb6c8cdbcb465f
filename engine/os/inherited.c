/*
 * inherited.c: /proc says what is mapped, and of which file.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/inherited.h"

static void unmap_sockets(FILE *maps)
{
	unsigned long begin, end;
	char line[512];

	while (fgets(line, sizeof line, maps))
		if (strstr(line, " socket:[") && sscanf(line, "%lx-%lx", &begin, &end) == 2)
			munmap((void *)begin, end - begin); /* NOLINT(performance-no-int-to-ptr) */
}

void el_inherited_drop(unsigned first)
{
	FILE *maps;

	close_range(first, ~0U, 0);
	maps = fopen("/proc/self/maps", "re");
	if (!maps)
		return;
	unmap_sockets(maps);
	fclose(maps);
}
