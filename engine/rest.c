/*
 * rest.c: how fast frames come is what relays have counted since the last look.
 */
#include "rest.h"
#include "clock.h"
#include "engine.h"
#include "kind.h"

static const double LOOK = 100e-6;    /* seconds from one look to the next */
static const double RUSH = 5000;      /* frames/s from which it rests */
static const double GATHERED = 128;   /* frames that it rests for */
static const double LONGEST = 1e-3;   /* seconds */
static const double WIDE_AWAKE = 1.0; /* seconds without a rest when frames were missed */

/* False where there is a relay that is not patient. */
static bool count_frames(const struct el_engine *engine, struct el_rest *self)
{
	self->received = self->sent = 0;
	for (const struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		if (relay->kind->recv && !relay->kind->is_patient)
			return false;
		self->received += relay->stats.rx_frames;
		self->sent += relay->stats.tx_frames;
	}
	return true;
}

/* Whether frames were missed since the last rest: another process may have had the processor when this one woke up. */
static bool has_missed(const struct el_engine *engine, struct el_rest *self)
{
	uint64_t before = self->missed;

	self->missed = 0;
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		if (relay->kind->count)
			relay->kind->count(relay);
		self->missed += relay->stats.rx_missed;
	}
	return self->missed > before;
}

double el_rest(struct el_engine *engine)
{
	struct el_rest *self = &engine->rest, before = *self;
	double now = el_clock_now(engine), rate;

	if (now - self->since < LOOK)
		return 0;
	self->since = now;
	if (!count_frames(engine, self) || self->sent != before.sent)
		return 0;
	rate = (double)(self->received - before.received) / (now - before.since);
	if (rate < RUSH || now < self->again)
		return 0;
	if (has_missed(engine, self)) {
		self->again = now + WIDE_AWAKE;
		return 0;
	}
	return rate * LONGEST > GATHERED ? GATHERED / rate : LONGEST;
}
