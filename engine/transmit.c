/*
 * transmit.c: what is pending waits in a batch, and is flushed when that is full or the turn ends. Fragments of one
 * packet are committed together: what of them does not fit the batch waits in the backlog, and nothing else is let in
 * meanwhile.
 */
#include <errno.h>

#include "capture.h"
#include "clock.h"
#include "demux.h"
#include "frame_memory.h"
#include "kind.h"
#include "pool.h"
#include "transmit.h"
#include "wire_format.h"

void el_relay_sent(struct el_relay *relay, struct el_frame *frame, int error)
{
	struct el_stats *stats = &relay->stats;

	if (likely(!error)) {
		stats->tx_sent++;
		stats->bytes_tx += frame->len;
		relay->tx_error = 0;
		if (unlikely(relay->capture))
			el_capture_frame(relay->capture, frame, el_clock_wall(relay->engine));
		if (unlikely(relay->default_conn))
			el_demux_mirror(relay, frame);
		return;
	}
	if (error == ENETDOWN || error == ENXIO) {
		stats->tx_link_down++;
		relay->tx_error = error;
	} else if (error == ENOBUFS || error == EAGAIN) {
		stats->tx_refused++;
	} else {
		stats->tx_error++;
	}
}

uint32_t el_relay_finish(struct el_relay *relay, struct el_frame **frames, uint32_t count, int error)
{
	for (uint32_t i = 0; i < count; i++) {
		el_relay_sent(relay, frames[i], error);
		el_pool_put(frames[i]);
	}
	return count;
}

uint32_t el_relay_pending(const struct el_relay *relay)
{
	return relay->tx_count + relay->backlog_count + relay->tx_inflight;
}

int el_relay_tx_error(const struct el_relay *relay)
{
	return relay->tx_error;
}

void el_relay_set_tx_error(struct el_relay *relay, int error)
{
	relay->tx_error = error;
}

/* What waits for room in tx moves there; false when nothing does. */
static bool refill(struct el_relay *relay)
{
	bool waits = relay->backlog != NULL;

	for (; relay->backlog && relay->tx_count < EL_BURST; relay->backlog_count--) {
		relay->tx[relay->tx_count++] = relay->backlog;
		relay->backlog = relay->backlog->next;
	}
	return waits;
}

int el_relay_flush(struct el_relay *relay)
{
	uint32_t done, count, sent;

	if (!relay->tx_count)
		return 0;
	do {
		count = relay->tx_count;
		for (done = 0; done < count; done += sent)
			if (!(sent = relay->kind->send(relay, relay->tx + done, count - done)))
				break;
		relay->tx_count = count - done;
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): it is pointers that move up */
		memmove(relay->tx, relay->tx + done, relay->tx_count * sizeof relay->tx[0]);
	} while (refill(relay) && done);
	return -relay->tx_error;
}

struct el_frame *el_relay_slot(struct el_relay *relay, int *error)
{
	struct el_frame *frame;

	if (unlikely(relay->tx_count == EL_BURST))
		el_relay_flush(relay);
	*error = relay->ended == ENXIO ? -ENXIO : -EAGAIN;
	if (unlikely(relay->ended == ENXIO || relay->tx_count == EL_BURST))
		return NULL;
	frame = el_relay_frame(relay);
	return frame;
}

static int committed(struct el_relay *relay, uint32_t count)
{
	relay->stats.tx_frames += count;
	if (unlikely(relay->tx_error))
		return el_relay_flush(relay);
	if (relay->tx_count == EL_BURST)
		el_relay_flush(relay);
	return 0;
}

int el_relay_commit(struct el_relay *relay, struct el_frame *frame)
{
	relay->tx[relay->tx_count++] = frame;
	return committed(relay, 1);
}

struct el_frame *el_relay_slots(struct el_relay *relay, uint32_t count, int *error)
{
	struct el_frame *list = el_relay_slot(relay, error), *last = list;

	if (!list)
		return NULL;
	while (--count && (last->next = el_relay_frame(relay)))
		last = last->next;
	last->next = NULL;
	if (!count)
		return list;
	for (struct el_frame *next; list; list = next) {
		next = list->next;
		el_pool_put(list);
	}
	*error = -EAGAIN;
	return NULL;
}

/* There was a slot for the first of them, so nothing is in the backlog yet. */
int el_relay_commit_all(struct el_relay *relay, struct el_frame *frames, uint32_t count)
{
	relay->backlog = frames;
	relay->backlog_count = count;
	refill(relay);
	return committed(relay, count);
}

int el_relay_send(struct el_relay *relay, const void *bytes, uint32_t len)
{
	struct el_frame *frame;
	int error;

	if (len < ETH_HEADER)
		return -EINVAL;
	if (len > ETH_HEADER + relay->mtu + el_spare(get16((const uint8_t *)bytes + 12)))
		return -EMSGSIZE;
	frame = el_relay_slot(relay, &error);
	if (!frame)
		return error;
	memcpy(frame->data, bytes, len);
	frame->len = len;
	return el_relay_commit(relay, frame);
}
