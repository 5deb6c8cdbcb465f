/*
 * pool.c: frames are handed out last in, first out, so that a lightly loaded relay works in a few cache lines.
 */
#include <errno.h>
#include <stdlib.h>

#include "os/pages.h"
#include "pool.h"

enum {
	CANDIDATES = 4, /* queued frames that are compared before one is evicted */
	RETIRED = 64,
};

int el_pool_open(struct el_pool *pool, struct el_shelf *shelf, uint32_t count, uint32_t frame_size)
{
	size_t size = (size_t)count * frame_size;

	memset(pool, 0, sizeof *pool);
	pool->shelf = shelf;
	pool->descriptors = el_descriptors_take(shelf, count);
	if (!pool->descriptors)
		return -ENOMEM;
	pool->memory = el_pages_take(size);
	if (!pool->memory) {
		el_descriptors_give_back(shelf, pool->descriptors);
		memset(pool, 0, sizeof *pool);
		return -ENOMEM;
	}
	pool->frames = pool->descriptors->frames;
	pool->count = count;
	pool->frame_size = frame_size;
	ASAN_POISON_MEMORY_REGION(pool->memory, size);
	return 0;
}

void el_pool_close(struct el_pool *pool)
{
	if (!pool->frames)
		return;
	ASAN_UNPOISON_MEMORY_REGION(pool->memory, (size_t)pool->count * pool->frame_size);
	el_pages_give_back(pool->memory, (size_t)pool->count * pool->frame_size);
	el_descriptors_give_back(pool->shelf, pool->descriptors);
	memset(pool, 0, sizeof *pool);
}

static uint8_t *memory_of(const struct el_frame *frame)
{
	const struct el_pool *pool = frame->pool;

	return pool->memory + (size_t)(frame - pool->frames) * pool->frame_size;
}

static struct el_frame *oldest_retired(struct el_pool *pool)
{
	struct el_frame *frame = pool->retired;

	if (!frame)
		return NULL;
	pool->retired = frame->next;
	pool->retired_count--;
	return frame;
}

static struct el_frame *fresh(struct el_pool *pool)
{
	struct el_frame *frame;

	if (pool->fresh == pool->count)
		return oldest_retired(pool);
	frame = &pool->frames[pool->fresh++];
	frame->pool = pool;
	return frame;
}

struct el_frame *el_pool_get(struct el_pool *pool)
{
	struct el_frame *frame = pool->free;

	if (likely(frame))
		pool->free = frame->next;
	else if (!(frame = fresh(pool)))
		return NULL;
	frame->data = memory_of(frame) + EL_HEADROOM;
	ASAN_UNPOISON_MEMORY_REGION(memory_of(frame), pool->frame_size);
	frame->owner = NULL;
	frame->len = 0;
	frame->cut = 0;
	frame->fine = 0;
	frame->flags = 0;
	frame->state = EL_FRAME_OWNED;
	return frame;
}

/* The memory of a large frame begins with its size. */
int el_pool_enlarge(struct el_frame *frame, uint32_t len)
{
	size_t size = sizeof size + EL_HEADROOM + len;

	frame->data = malloc(size);
	if (!frame->data)
		return -ENOMEM;
	memcpy(frame->data, &size, sizeof size);
	frame->data += sizeof size + EL_HEADROOM;
	frame->flags = EL_FRAME_LARGE;
	frame->pool->large += size;
	return 0;
}

static void release_large(struct el_frame *frame)
{
	size_t size;
	uint8_t *memory = frame->data - EL_HEADROOM - sizeof size;

	memcpy(&size, memory, sizeof size);
	frame->pool->large -= size;
	frame->flags = 0;
	free(memory);
}

static void clear(struct el_frame *frame)
{
	if (unlikely(frame->flags & EL_FRAME_LARGE))
		release_large(frame);
	ASAN_POISON_MEMORY_REGION(memory_of(frame), frame->pool->frame_size);
	frame->state = EL_FRAME_UNUSED;
}

void el_pool_put(struct el_frame *frame)
{
	clear(frame);
	frame->next = frame->pool->free;
	frame->pool->free = frame;
}

void el_pool_retire(struct el_frame *frame)
{
	struct el_pool *pool = frame->pool;

	clear(frame);
	frame->next = NULL;
	if (pool->retired)
		pool->last_retired->next = frame;
	else
		pool->retired = frame;
	pool->last_retired = frame;
	if (++pool->retired_count > RETIRED)
		el_pool_put(oldest_retired(pool));
}

/* Of a few frames the one in the longest queue: whoever reads has a short one, and goes on. */
struct el_frame *el_pool_queued(struct el_pool *pool, uint16_t flags)
{
	struct el_frame *best = NULL;

	for (uint32_t i = 0, seen = 0; i < pool->fresh && seen < CANDIDATES; i++) {
		struct el_frame *frame = &pool->frames[pool->hand++ % pool->fresh];

		if (frame->state != EL_FRAME_QUEUED || (frame->flags & flags) != flags)
			continue;
		if (!best || frame->owner->count > best->owner->count)
			best = frame;
		seen++;
	}
	return best;
}
