/*
 * pages.h: memory that takes none until it is touched, for what is large and may never be needed.
 */
#pragma once

#include <stddef.h>

/* All zero. NULL: no memory. */
void *el_pages_take(size_t size);
/* Zero again, and without memory until it is touched. */
void el_pages_clear(void *pages, size_t size);
void el_pages_give_back(void *pages, size_t size);
