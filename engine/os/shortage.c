/*
 * shortage.c: tries to get as much as opening a relay takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail.h"
#include "os/shortage.h"

enum { DESCRIPTORS = 16, MEMORY = 32 << 20 }; /* libbpf reads the types of the whole kernel */

static int has_descriptors(void)
{
	int fd[DESCRIPTORS], count = 0, enough;

	while (count < DESCRIPTORS && (fd[count] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
		count++;
	enough = count == DESCRIPTORS || (errno != EMFILE && errno != ENFILE);
	while (count > 0)
		close(fd[--count]);
	return enough;
}

static int has_memory(void)
{
	void *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return 0;
	munmap(memory, MEMORY);
	return 1;
}

int el_shortage(int error)
{
	if (!has_descriptors())
		return -EMFILE;
	return has_memory() ? error : -ENOMEM;
}

int el_shortage_fail(char err[EL_ERR_MAX], int error, const char *words, ...)
{
	char text[EL_ERR_MAX / 2];
	va_list args;

	va_start(args, words);
	vsnprintf(text, sizeof text, words, args);
	va_end(args);
	error = el_shortage(error);
	return el_fail(err, error, "%s: %s", text, el_shortage_reason(error));
}

const char *el_shortage_reason(int error)
{
	if (error == -EMFILE)
		return "too many open files: ulimit -n";
	if (error == -ENOMEM)
		return "out of memory: ulimit -v";
	return strerror(-error);
}
