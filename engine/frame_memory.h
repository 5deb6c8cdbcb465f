/*
 * frame_memory.h: frames to receive into and to send from. The relay owns its pool; a frame that is handed out here
 * is the caller's. When the pool is used up a queued frame is evicted, so that whoever is fast goes on while somebody
 * else does not read.
 */
#pragma once

#include "common.h"

enum { EL_LARGE_MAX = 64 << 20 }; /* bytes of frames that are too large for the pool, of one relay */

/* NULL: all frames are borrowed or under way. */
struct el_frame *el_relay_frame(struct el_relay *relay);
/* One for so many bytes, which may be too many for the pool. NULL also when there are too many such frames. */
struct el_frame *el_relay_large_frame(struct el_relay *relay, uint32_t len);
/* A frame with these bytes, of `len` on the wire. One of which not all are here is invalid. NULL: it was counted. */
struct el_frame *el_relay_copy_in(struct el_relay *relay, const uint8_t *bytes, uint32_t have, uint32_t len);
/* Counts a frame that came in when there was no memory for it; el_relay_copy_in() does so by itself. */
void el_relay_no_frame(struct el_relay *relay);
