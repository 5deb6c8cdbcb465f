/*
 * pages.c: mappings of nothing.
 */
#include <string.h>
#include <sys/mman.h>

#include "os/pages.h"

void *el_pages_take(size_t size)
{
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return pages == MAP_FAILED ? NULL : pages;
}

void el_pages_clear(void *pages, size_t size)
{
	if (madvise(pages, size, MADV_DONTNEED))
		memset(pages, 0, size);
}

void el_pages_give_back(void *pages, size_t size)
{
	munmap(pages, size);
}
