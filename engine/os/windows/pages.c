/*
 * pages.c: committed memory: Windows, too, takes it from the machine when it is touched.
 */
#include <windows.h>

#include "os/pages.h"

void *el_pages_take(size_t size)
{
	return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void el_pages_clear(void *pages, size_t size)
{
	VirtualFree(pages, size, MEM_DECOMMIT);
	VirtualAlloc(pages, size, MEM_COMMIT, PAGE_READWRITE);
}

void el_pages_give_back(void *pages, size_t size)
{
	(void)size;
	VirtualFree(pages, 0, MEM_RELEASE);
}
