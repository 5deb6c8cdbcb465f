/*
 * invariant.c: walks the frames of a relay's pool from every place where one can be, marks each, and then looks for
 * those that have no mark. The mark is a frame's padding, which is 0 between two walks.
 */
#include "invariant.h"

#ifdef __SANITIZE_ADDRESS__

#include <assert.h>

#include "endpoint.h"
#include "engine.h"
#include "kind.h"
#include "pool.h"
#include "transmit.h"

enum { STEPS_A_TURN = 1024 };

/* A walk over the frames of a relay. */
struct walk {
	const struct el_relay *relay;
	uint64_t steps;
	uint32_t queued;
};

/* ---- sums ---- */

static void check_sums(const struct el_relay *relay)
{
	const struct el_stats *s = &relay->stats;

	assert(s->rx_frames + s->rx_copies + s->rx_reassembled ==
	       s->rx_delivered + s->rx_queued + s->rx_invalid + s->rx_filtered + s->rx_unclaimed + s->rx_overflow +
	               s->rx_evicted + s->rx_no_memory + s->rx_closed + s->rx_fragments + s->rx_merged +
	               s->rx_frag_duplicate + s->rx_frag_timeout + s->rx_frag_overlap + s->rx_frag_invalid +
	               s->rx_frag_limit);
	assert(s->tx_frames == s->tx_sent + el_relay_pending(relay) + s->tx_link_down + s->tx_refused + s->tx_error);
}

/* ---- places ---- */

static void mark(struct walk *walk, struct el_frame *frame, uint8_t state)
{
	const struct el_pool *pool = &walk->relay->pool;

	assert(frame >= pool->frames && frame < pool->frames + pool->fresh);
	assert(frame->pool == pool);
	assert(!frame->pad && "a frame is in two places");
	assert(frame->state == state);
	frame->pad = 1;
	walk->steps++;
}

static void walk_free(struct walk *walk)
{
	for (struct el_frame *frame = walk->relay->pool.free; frame; frame = frame->next)
		mark(walk, frame, EL_FRAME_UNUSED);
	for (struct el_frame *frame = walk->relay->pool.retired; frame; frame = frame->next)
		mark(walk, frame, EL_FRAME_UNUSED);
}

static void walk_endpoint(struct el_endpoint *ep, void *context)
{
	struct walk *walk = context;
	const struct el_frame *last = NULL;
	uint32_t count = 0;

	for (struct el_frame *frame = ep->head; frame; frame = frame->next, count++) {
		mark(walk, frame, EL_FRAME_QUEUED);
		assert(frame->owner == ep);
		last = frame;
	}
	assert(ep->count == count && "an endpoint's count is not the length of its queue");
	assert(ep->tail == last);
	if (ep->borrowed) {
		mark(walk, ep->borrowed, EL_FRAME_BORROWED);
		assert(ep->borrowed->owner == ep);
	}
	walk->queued += count;
	walk->steps++;
}

static void walk_pending(struct walk *walk)
{
	const struct el_relay *relay = walk->relay;
	uint32_t backlog = 0;

	for (uint32_t i = 0; i < relay->tx_count; i++)
		mark(walk, relay->tx[i], EL_FRAME_OWNED);
	for (struct el_frame *frame = relay->backlog; frame; frame = frame->next, backlog++)
		mark(walk, frame, EL_FRAME_OWNED);
	assert(relay->backlog_count == backlog);
}

/* Frames without a mark: those that a reader took out of an endpoint's queue have an owner, the kind's have none. */
static void check_rest(struct walk *walk)
{
	const struct el_relay *relay = walk->relay;
	uint32_t held = 0;

	for (uint32_t i = 0; i < relay->pool.fresh; i++) {
		struct el_frame *frame = &relay->pool.frames[i];

		assert((frame->pad || frame->state == EL_FRAME_OWNED) && "a frame is in no place");
		if (!frame->pad && !frame->owner)
			held++;
		frame->pad = 0;
	}
	assert(held == (relay->kind->held ? relay->kind->held(relay) : 0) && "a frame is nobody's");
	walk->steps += relay->pool.fresh;
}

static uint64_t walk_relay(const struct el_relay *relay)
{
	struct walk walk = {.relay = relay};

	walk_free(&walk);
	el_endpoints_visit(relay, walk_endpoint, &walk);
	walk_pending(&walk);
	assert(relay->stats.rx_queued == walk.queued);
	check_rest(&walk);
	return walk.steps;
}

void el_invariant_check(struct el_engine *engine)
{
	for (const struct el_relay *relay = engine->relays; relay; relay = relay->next)
		check_sums(relay);
	engine->walk_credit += STEPS_A_TURN;
	if (engine->walk_credit < engine->walk_cost)
		return;
	engine->walk_credit = engine->walk_cost = 0;
	for (const struct el_relay *relay = engine->relays; relay; relay = relay->next)
		engine->walk_cost += walk_relay(relay);
}

#endif
