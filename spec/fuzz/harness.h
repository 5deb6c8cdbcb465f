/*
 * harness.h: what the fuzz targets share: how an input is read, the world around the engine, and what has to be true
 * after each input. A target is one file beside this one; it has LLVMFuzzerTestOneInput() and calls these.
 *
 * The engine's objects are linked as they are, but their calls of a few functions of libc go to the ones here (see the
 * Makefile: fuzz_NAME instead of NAME). So time stands still until a target moves it, chance is always the same, and
 * one request, that which the input names, fails.
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "clock.h"
#include "engine.h"
#include "frame.h"
#include "invariant.h"
#include "kind.h"
#include "pool.h"
#include "wire_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the world ---- */

/* Nanoseconds of the engine's clock; how many requests until one fails, 0: none; what stands for inotify, -1: no. */
static struct {
	int64_t now;
	uint32_t failure;
	int changes;
} world;

static inline void world_begin(uint32_t failure)
{
	world.now = (int64_t)1000 * NS;
	world.failure = failure;
	world.changes = -1;
}

static inline void world_advance(double seconds)
{
	world.now += (int64_t)(seconds * NS);
}

/* The file that is watched has changed. */
static inline void world_change(void)
{
	if (world.changes >= 0 && eventfd_write(world.changes, 1))
		abort();
}

static inline bool fails(void)
{
	if (!world.failure || --world.failure)
		return false;
	errno = EMFILE;
	return true;
}

int fuzz_clock_gettime(clockid_t clock, struct timespec *out);
ssize_t fuzz_getrandom(void *buffer, size_t size, unsigned flags);
void *fuzz_malloc(size_t size);
void *fuzz_calloc(size_t count, size_t size);
void *fuzz_realloc(void *memory, size_t size);
int fuzz_fstat(int fd, struct stat *out);
int fuzz_inotify_init1(int flags);
int fuzz_inotify_add_watch(int fd, const char *path, uint32_t mask);

int fuzz_clock_gettime(clockid_t clock, struct timespec *out)
{
	int64_t now = world.now + (clock == CLOCK_REALTIME ? (int64_t)1700000000 * NS : 0);

	out->tv_sec = now / NS;
	out->tv_nsec = now % NS;
	return 0;
}

ssize_t fuzz_getrandom(void *buffer, size_t size, unsigned flags)
{
	(void)flags;
	memset(buffer, 0x5a, size);
	return fails() ? -1 : (ssize_t)size;
}

void *fuzz_malloc(size_t size)
{
	return fails() ? NULL : malloc(size);
}

void *fuzz_calloc(size_t count, size_t size)
{
	return fails() ? NULL : calloc(count, size);
}

void *fuzz_realloc(void *memory, size_t size)
{
	return fails() ? NULL : realloc(memory, size);
}

int fuzz_fstat(int fd, struct stat *out)
{
	return fails() ? -1 : fstat(fd, out);
}

/* The kernel's own takes a millisecond to close. */
int fuzz_inotify_init1(int flags)
{
	(void)flags;
	return fails() ? -1 : (world.changes = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

int fuzz_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	(void)fd, (void)path, (void)mask;
	return fails() ? -1 : 1;
}

/* ---- the input ---- */

struct input {
	const uint8_t *at;
	size_t left;
};

/* A number of so many bytes; those that the input has no more are 0. */
static inline uint32_t take(struct input *in, uint32_t bytes)
{
	uint32_t number = 0;

	for (; bytes; bytes--) {
		number = number << 8 | (in->left ? *in->at : 0);
		in->at += in->left != 0;
		in->left -= in->left != 0;
	}
	return number;
}

/* One thing to do, and the bytes to do it with: op, arg, a length of two bytes, so many bytes. */
enum { STEP_HEADER = 4 };

struct step {
	uint8_t op, arg;
	uint32_t len;
	const uint8_t *bytes;
};

/* The next one; the last may be shorter than it says. False: there is none. */
static inline bool next_step(struct input *in, struct step *out)
{
	if (in->left < STEP_HEADER)
		return false;
	out->op = (uint8_t)take(in, 1);
	out->arg = (uint8_t)take(in, 1);
	out->len = take(in, 2);
	if (out->len > in->left)
		out->len = (uint32_t)in->left;
	out->bytes = in->at;
	in->at += out->len;
	in->left -= out->len;
	return true;
}

/* ---- what has to be true ---- */

/* All sums, and every frame in its place, however long that takes. */
static inline void check_engine(struct el_engine *engine)
{
	engine->walk_credit = UINT32_MAX;
	el_invariant_check(engine);
}

/* All of its bytes may be read, but none behind: pool.h. */
static inline void check_bytes(const struct el_frame *frame)
{
#ifdef __SANITIZE_ADDRESS__
	assert(!__asan_region_is_poisoned(frame->data, frame->len));
	if (frame->len != frame->pool->frame_size - EL_HEADROOM) /* else what is behind is another frame's */
		assert(__asan_address_is_poisoned(frame->data + frame->len));
#else
	(void)frame;
#endif
}

/* Its parts are inside of it. */
static inline void check_parts(const struct el_frame *frame)
{
	uint32_t end = frame->l3 + frame->l3_len;

	assert(frame->tags <= EL_TAGS_MAX);
	assert(frame->l3 == (frame->flags & EL_FRAME_INVALID ? 0 : ETH_HEADER + frame->tags * TAG_LEN));
	assert(end <= frame->len);
	assert(frame->payload >= frame->l3 && frame->payload + frame->payload_len <= end);
	assert(!frame->l4 || (frame->l4 >= frame->l3 + IP4_HEADER && frame->l4 <= end));
	assert(!(frame->flags & EL_FRAME_UDP) ||
	       (!(frame->flags & EL_FRAME_FRAGMENT) && frame->l4 + UDP_HEADER <= (int64_t)end));
}

/* A frame that came out. */
static inline void check_frame(const struct el_frame *frame)
{
	struct el_vlans vlans;
	struct el_addr source, target;

	check_parts(frame);
	check_bytes(frame);
	if (frame->flags & EL_FRAME_INVALID)
		return;
	el_frame_vlans(frame, &vlans);
	el_frame_source(frame, &source);
	el_frame_target(frame, &target);
	assert(vlans.count == frame->tags && source.version == target.version);
}

/* Nothing is open any more: for the end of an input. */
static inline void check_closed(void)
{
	struct el_live live;

	el_live(&live);
	assert(!live.engines && !live.relays && !live.conns && !live.udps && !live.taps);
}
