/*
 * wire.c: relay->private is the other end, NULL once that is closed.
 */
#include <errno.h>

#include "clock.h"
#include "frame_memory.h"
#include "kind.h"
#include "kinds/wire.h"
#include "pool.h"
#include "relay.h"
#include "transmit.h"

enum { DEFAULT_MTU = 1500 };

static int open_end(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	relay->mac = (struct el_mac){{0x02, 0, 0, 0, 0, (uint8_t)name[0]}};
	return el_relay_set_mtu(relay, opts, DEFAULT_MTU, err);
}

void el_wire_join(struct el_relay *a, struct el_relay *b)
{
	a->private = b;
	b->private = a;
}

static void deliver(struct el_relay *to, struct el_frame **frames, uint32_t count)
{
	struct el_frame *copies[EL_BURST];
	uint32_t copied = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct el_frame *copy = el_relay_copy_in(to, frames[i]->data, frames[i]->len, frames[i]->len);

		if (!copy)
			continue;
		copy->timestamp = el_clock_now(to->engine);
		copies[copied++] = copy;
	}
	el_relay_input_all(to, copies, copied);
}

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct el_relay *peer = relay->private;

	if (peer)
		deliver(peer, frames, count);
	for (uint32_t i = 0; i < count; i++) {
		el_relay_sent(relay, frames[i], peer ? 0 : ENETDOWN);
		el_pool_put(frames[i]);
	}
	return count;
}

static void close_end(struct el_relay *relay)
{
	struct el_relay *peer = relay->private;

	if (peer)
		peer->private = NULL;
}

const struct el_kind el_kind_wire = {
	.name = "wire",
	.open = open_end,
	.send = send_frames,
	.close = close_end,
};
