/*
 * rest.c: how fast frames come is what relays have counted since the last look.
 */
#include <math.h>

#include "clock.h"
#include "engine.h"
#include "kind.h"
#include "rest.h"

static const double LOOK = 100e-6;    /* seconds from one look to the next */
static const double RUSH = 5000;      /* frames/s from which it rests */
static const double GATHERED = 128;   /* frames that it rests for */
static const double LONGEST = 1e-3;   /* seconds */
static const double WIDE_AWAKE = 1.0; /* seconds without a rest when frames were missed */
static const double WINDOW = 20e-3;   /* seconds that frames are counted for, to see whether they may gather */
static const double SURGE = 20000;    /* frames/s from which they may */
static const double SURGE_OVER = 5000;

struct counted {
	uint64_t received, sent;
	bool patient; /* there is no relay that is not */
};

static struct counted count_frames(const struct el_engine *engine)
{
	struct counted all = {.patient = true};

	for (const struct el_relay *relay = engine->relays; relay; relay = relay->next) {
		all.patient &= !relay->kind->recv || relay->kind->is_patient;
		all.received += relay->stats.rx_frames;
		all.sent += relay->stats.tx_frames;
	}
	return all;
}

/* A relay that was closed took its frames with it. */
static double rate_of(uint64_t before, uint64_t after, double seconds)
{
	return after > before ? (double)(after - before) / seconds : 0;
}

/* ---- a moment ---- */

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
	struct counted counted;

	if (now - self->since < LOOK)
		return 0;
	counted = count_frames(engine);
	self->since = now;
	self->received = counted.received;
	self->sent = counted.sent;
	if (!counted.patient || self->sent != before.sent || engine->gathering.on)
		return 0;
	rate = rate_of(before.received, self->received, now - before.since);
	if (rate < RUSH || now < self->again)
		return 0;
	if (has_missed(engine, self)) {
		self->again = now + WIDE_AWAKE;
		return 0;
	}
	return rate * LONGEST > GATHERED ? GATHERED / rate : LONGEST;
}

/* ---- for longer ---- */

static void gather(struct el_engine *engine, bool on)
{
	if (engine->gathering.on == on)
		return;
	engine->gathering.on = on;
	for (struct el_relay *relay = engine->relays; relay; relay = relay->next)
		if (relay->kind->gather)
			relay->kind->gather(relay, on);
}

/* What was not received yet says nothing about how few there are. */
void el_rest_look(struct el_engine *engine, bool received_all)
{
	struct el_gathering *self = &engine->gathering;
	double now = el_clock_now(engine), rate;
	struct counted counted;
	bool is_busy;

	if (now - self->looked < LOOK)
		return;
	self->looked = now;
	counted = count_frames(engine);
	is_busy = !counted.patient || counted.sent != self->sent;
	rate = rate_of(self->received, counted.received, now - self->since);
	if (!is_busy && (now - self->since < WINDOW || (!received_all && rate < SURGE)))
		return;
	gather(engine, !is_busy && rate >= (self->on ? SURGE_OVER : SURGE));
	self->since = now;
	self->received = counted.received;
	self->sent = counted.sent;
}

double el_rest_next(const struct el_engine *engine)
{
	return engine->gathering.on ? engine->gathering.since + WINDOW : INFINITY;
}
