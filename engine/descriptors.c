/*
 * descriptors.c: what lies on the shelf holds its addresses and the page of its first bytes, no other memory.
 */
#include "descriptors.h"
#include "os/pages.h"

enum { REST = 32 }; /* of one size that stay on the shelf */

static size_t size_of(uint32_t count)
{
	return sizeof(struct el_descriptors) + count * sizeof(struct el_frame);
}

static struct el_descriptors *fresh(uint32_t count)
{
	struct el_descriptors *descriptors = el_pages_take(size_of(count));

	if (descriptors)
		descriptors->count = count;
	return descriptors;
}

static struct el_descriptors *unlink_next(struct el_shelf *shelf, struct el_descriptors *before)
{
	struct el_descriptors *taken = before ? before->next : shelf->oldest;

	if (before)
		before->next = taken->next;
	else
		shelf->oldest = taken->next;
	if (shelf->newest == taken)
		shelf->newest = before;
	return taken;
}

struct el_descriptors *el_descriptors_take(struct el_shelf *shelf, uint32_t count)
{
	struct el_descriptors *before = NULL, *last = NULL;
	uint32_t fitting = 0;

	for (struct el_descriptors *at = shelf->oldest; at; last = at, at = at->next)
		if (at->count == count && fitting++ == 0)
			before = last;
	return fitting > REST ? unlink_next(shelf, before) : fresh(count);
}

/* Unused is 0. */
void el_descriptors_give_back(struct el_shelf *shelf, struct el_descriptors *descriptors)
{
	uint32_t count = descriptors->count;

	el_pages_clear(descriptors, size_of(count));
	descriptors->count = count;
	if (shelf->newest)
		shelf->newest->next = descriptors;
	else
		shelf->oldest = descriptors;
	shelf->newest = descriptors;
}

void el_shelf_close(struct el_shelf *shelf)
{
	while (shelf->oldest) {
		struct el_descriptors *gone = unlink_next(shelf, NULL);

		el_pages_give_back(gone, size_of(gone->count));
	}
}
