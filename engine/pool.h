/*
 * pool.h: the fixed memory that all frames of one relay live in. A frame is either free or somebody's: whoever got it
 * from el_pool_get() gives it to the next owner or back with el_pool_put(). Memory that was never needed is never
 * touched. Only the bytes of a frame that is too large for the pool are elsewhere, until it comes back. No locks: a
 * pool belongs to its relay's thread. It evicts nobody; it only says who would be the one.
 */
#pragma once

#include "descriptors.h"

/* Builds with the address sanitizer also find who touches unused frames, and bytes behind a received frame. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

struct el_pool {
	uint8_t *memory; /* count * frame_size bytes, page aligned, touched only when used */
	struct el_shelf *shelf;
	struct el_descriptors *descriptors;
	struct el_frame *frames; /* those of the descriptors */
	struct el_frame *free;   /* used ones that came back, last first: their memory is in the cache */
	struct el_frame *retired, *last_retired; /* oldest first, see el_pool_retire() */
	uint32_t retired_count;
	uint32_t count, fresh; /* frames[fresh ...] have never been used */
	uint32_t frame_size;
	uint32_t hand; /* where el_pool_queued() looks next */
	size_t large;  /* bytes of frames that are too large for frame_size */
};

int el_pool_open(struct el_pool *pool, struct el_shelf *shelf, uint32_t count, uint32_t frame_size);
void el_pool_close(struct el_pool *pool);
/* A frame with data set and len 0, or NULL when all are in use. */
struct el_frame *el_pool_get(struct el_pool *pool);
/* Gives a frame of el_pool_get() memory of its own for so many bytes, until el_pool_put(). */
int el_pool_enlarge(struct el_frame *frame, uint32_t len);
void el_pool_put(struct el_frame *frame);
/* The same, of a frame that a script may still hold: it is used again only after some others. */
void el_pool_retire(struct el_frame *frame);
/* Among frames that wait in queues and have these flags, the one to drop when memory runs out; NULL: there is none. */
struct el_frame *el_pool_queued(struct el_pool *pool, uint16_t flags);

/* For the sanitizer: the frame is complete, nobody has to touch what is behind it. */
static inline void el_pool_seal(const struct el_frame *frame)
{
	const struct el_pool *pool = frame->pool;
	uint8_t *end = pool->memory + (size_t)(frame - pool->frames + 1) * pool->frame_size;

	if (frame->flags & EL_FRAME_LARGE)
		return;
	ASAN_POISON_MEMORY_REGION(frame->data + frame->len, (size_t)(end - frame->data) - frame->len);
}
