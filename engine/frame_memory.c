/*
 * frame_memory.c: frames out of the relay's pool, by eviction if need be.
 */
#include "frame_memory.h"
#include "endpoint.h"
#include "kind.h"
#include "pool.h"

/* Drops the oldest frame of a queue in which one with these flags waits; false when there is none. */
static bool evict(struct el_relay *relay, uint16_t flags)
{
	struct el_frame *frame = el_pool_queued(&relay->pool, flags);

	if (frame)
		el_endpoint_drop(frame->owner, &relay->stats.rx_evicted);
	return frame != NULL;
}

struct el_frame *el_relay_frame(struct el_relay *relay)
{
	struct el_frame *frame = el_pool_get(&relay->pool);

	if (likely(frame))
		return frame;
	if (!evict(relay, 0))
		return NULL;
	return el_pool_get(&relay->pool);
}

struct el_frame *el_relay_large_frame(struct el_relay *relay, uint32_t len)
{
	struct el_frame *frame;

	if (len > relay->pool.frame_size - EL_HEADROOM)
		while (relay->pool.large + len > EL_LARGE_MAX)
			if (!evict(relay, EL_FRAME_LARGE))
				return NULL;
	frame = el_relay_frame(relay);
	if (!frame || len <= relay->pool.frame_size - EL_HEADROOM || !el_pool_enlarge(frame, len))
		return frame;
	el_pool_put(frame);
	return NULL;
}

void el_relay_no_frame(struct el_relay *relay)
{
	relay->stats.rx_frames++;
	relay->stats.rx_no_memory++;
}

struct el_frame *el_relay_copy_in(struct el_relay *relay, const uint8_t *bytes, uint32_t have, uint32_t len)
{
	struct el_frame *frame = el_relay_large_frame(relay, have);

	if (!frame) {
		el_relay_no_frame(relay);
		return NULL;
	}
	memcpy(frame->data, bytes, have);
	frame->len = have;
	frame->cut = len > have ? len - have : 0;
	return frame;
}
