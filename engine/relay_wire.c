/*
 * relay_wire.c: two relays joined in memory. What one flushes the other receives at once, through the same parse and
 * demux as everything else; no file descriptor, no privileges. relay->private is the other end, NULL once it is closed.
 */
#include <errno.h>

#include "core.h"

enum { DEFAULT_MTU = 1500, MIN_MTU = 68, MAX_MTU = 65000 };

int el_wire_mtu(struct el_relay *relay, const struct el_relay_opts *opts, uint32_t standard, char err[EL_ERR_MAX])
{
	relay->mtu = opts->mtu ? opts->mtu : standard;
	if (relay->mtu < MIN_MTU || relay->mtu > MAX_MTU)
		return el_fail(err, -EINVAL, "bad MTU %u: %d to %d is allowed", relay->mtu, MIN_MTU, MAX_MTU);
	return 0;
}

static int open_end(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	relay->mac = (struct el_mac){{0x02, 0, 0, 0, 0, (uint8_t)name[0]}};
	return el_wire_mtu(relay, opts, DEFAULT_MTU, err);
}

static void deliver(struct el_relay *to, const struct el_frame *frame)
{
	struct el_frame *copy = el_relay_copy_in(to, frame->data, frame->len, frame->len);

	if (!copy)
		return;
	copy->timestamp = to->engine->now;
	el_relay_input(to, copy);
}

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct el_relay *peer = relay->private;

	for (uint32_t i = 0; i < count; i++) {
		if (peer)
			deliver(peer, frames[i]);
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
