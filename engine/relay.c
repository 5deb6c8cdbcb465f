/*
 * relay.c: the way in, and facts and counters of a relay.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "ahead.h"
#include "capture.h"
#include "clock.h"
#include "demux.h"
#include "endpoint.h"
#include "fail.h"
#include "filter.h"
#include "frame_memory.h"
#include "kind.h"
#include "parse.h"
#include "pool.h"
#include "relay.h"
#include "tasks.h"
#include "transmit.h"

enum { MIN_MTU = 68, MAX_MTU = 65000 };
enum { SETTLE_PAUSE = 10000 }; /* us */

static const double RECHECK = 0.5; /* seconds between looks at an interface that is down */

/* ---- facts and counters ---- */

int el_relay_set_mtu(struct el_relay *relay, const struct el_relay_opts *opts, uint32_t standard, char err[EL_ERR_MAX])
{
	relay->mtu = opts->mtu ? opts->mtu : standard;
	if (relay->mtu < MIN_MTU || relay->mtu > MAX_MTU)
		return el_fail(err, -EINVAL, "bad MTU %u: %d to %d is allowed", relay->mtu, MIN_MTU, MAX_MTU);
	return 0;
}

int el_relay_settle(const struct el_relay *relay, double seconds)
{
	const struct el_carrier *carrier = &relay->carrier;

	for (; carrier->awaited && !el_carrier_is_there(carrier); seconds -= SETTLE_PAUSE * 1e-6) {
		if (seconds <= 0)
			return 0;
		usleep(SETTLE_PAUSE);
	}
	return 1;
}

void el_relay_info(const struct el_relay *relay, struct el_relay_info *out)
{
	memset(out, 0, sizeof *out);
	memcpy(out->name, relay->name, sizeof out->name);
	snprintf(out->kind, sizeof out->kind, "%s", relay->kind->name);
	out->mac = relay->mac;
	out->mtu = relay->mtu;
	memcpy(out->detail, relay->detail, sizeof out->detail);
	out->was_left = relay->was_left;
	memcpy(out->problem, relay->problem, sizeof out->problem);
	out->link_type = relay->link_type;
	if (relay->capture) {
		el_capture_flush(relay->capture);
		out->capture_error = (uint32_t)el_capture_error(relay->capture);
	}
	out->up = !relay->ended && !relay->tx_error;
}

void el_relay_stats(struct el_relay *relay, struct el_stats *out)
{
	if (relay->kind->count)
		relay->kind->count(relay);
	*out = relay->stats;
	out->tx_pending = el_relay_pending(relay);
}

int el_relay_filter(struct el_relay *relay, const char *text, char err[EL_ERR_MAX])
{
	struct el_filter *filter = NULL;
	int error = 0;

	if (*text && !(filter = el_filter_compile(text, relay->link_type, err)))
		return -EINVAL;
	if (relay->kind->filter)
		error = relay->kind->filter(relay, filter);
	if (error) {
		el_filter_close(filter);
		return el_fail(err, error, "filter on %s: %s", relay->name, strerror(-error));
	}
	el_filter_close(relay->filter);
	relay->filter = filter;
	return 0;
}

int64_t el_relay_wall(const struct el_relay *relay, double timestamp)
{
	return *relay->wall_offset + llround(timestamp * 1e9);
}

int64_t el_frame_wall(const struct el_relay *relay, const struct el_frame *frame)
{
	return el_relay_wall(relay, frame->timestamp) + frame->fine;
}

/* ---- in ---- */

void el_relay_input(struct el_relay *relay, struct el_frame *frame)
{
	struct el_key key;

	el_pool_seal(frame);
	relay->stats.rx_frames++;
	relay->stats.bytes_rx += frame->len;
	if (unlikely(relay->filter) && !el_filter_matches(relay->filter, frame)) {
		relay->stats.rx_filtered++;
		el_pool_put(frame);
		return;
	}
	if (unlikely(relay->capture))
		el_capture_frame(relay->capture, frame, el_frame_wall(relay, frame));
	if (unlikely(relay->link_type != EL_LINK_ETHERNET || el_frame_parse(frame, &key))) {
		el_demux_invalid(relay, frame);
		return;
	}
	el_demux(relay, frame, &key);
}

void el_relay_input_all(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	if (unlikely(relay->by_key.count >= EL_AHEAD_ENDPOINTS))
		el_ahead(relay, frames, count);
	for (uint32_t i = 0; i < count; i++)
		el_relay_input(relay, frames[i]);
}

/* ---- readers ---- */

static void wake(struct el_endpoint *ep, void *context)
{
	(void)context;
	el_endpoint_wake(ep);
}

void el_relay_end(struct el_relay *relay, int error)
{
	if (relay->ended)
		return;
	relay->ended = error;
	el_endpoints_visit(relay, wake, NULL);
}

void el_relay_set_link(struct el_relay *relay, int state)
{
	relay->wake_at = state == ENETDOWN ? el_clock_now(relay->engine) + RECHECK : INFINITY;
	if (state == ENXIO)
		el_relay_end(relay, ENXIO);
}

/* What readers do at the moment. */
struct reading {
	bool waits;  /* somebody waits for a frame */
	bool is_due; /* frames are queued where somebody has been reading */
};

static void look_at(struct el_endpoint *ep, void *context)
{
	struct reading *reading = context;

	reading->waits |= ep->waiter != 0;
	reading->is_due |= ep->count && ep->received - ep->dropped > ep->count;
}

/* Somebody waits, and what is queued is for endpoints that nobody has ever read from. */
static bool reader_starves(const struct el_relay *relay)
{
	struct reading reading = {false, false};

	el_endpoints_visit(relay, look_at, &reading);
	return reading.waits && !reading.is_due;
}

/*
 * How many frames of a paced relay readers are ready for: until half of what may be queued, or of the memory for large
 * ones, is queued. None when it is, while frames are being read, and while a timer may wake who reads them; else one.
 */
static uint32_t room_of_readers(struct el_relay *relay)
{
	uint32_t room = relay->recv_depth < relay->pool.count ? relay->recv_depth : relay->pool.count;
	uint64_t half = (room + 1) / 2, queued = relay->stats.rx_queued;

	if (queued < half && relay->pool.large < EL_LARGE_MAX / 2)
		return half - queued < EL_BURST ? (uint32_t)(half - queued) : EL_BURST;
	relay->wake_at = INFINITY;
	if (relay->seen_delivered != relay->stats.rx_delivered) {
		relay->seen_delivered = relay->stats.rx_delivered;
		relay->wake_at = el_clock_now(relay->engine); /* look again when readers have had their turn */
		return 0;
	}
	return isinf(el_tasks_next(relay->engine)) || reader_starves(relay);
}

/* ---- a turn ---- */

uint32_t el_relay_pump(struct el_relay *relay)
{
	struct el_frame *frames[EL_BURST];
	uint32_t count = EL_BURST;

	if (!relay->kind->recv || relay->ended)
		return 0;
	if (unlikely(relay->wake_at <= el_clock_now(relay->engine)) && relay->kind->trouble)
		relay->kind->trouble(relay);
	if (unlikely(relay->paced) && !(count = room_of_readers(relay)))
		return 0;
	count = relay->kind->recv(relay, frames, count);
	el_relay_input_all(relay, frames, count);
	return count;
}
