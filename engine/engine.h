/*
 * engine.h: the state of an engine, the loop of one thread. A record without functions: each member belongs to the
 * unit named beside it, and the others ask that. loop.c makes and frees it.
 */
#pragma once

#include "descriptors.h"

struct task;
struct timer;
struct el_watch;

/* Whether the loop spins before it sleeps. */
struct el_spin {
	double since;           /* the last frames came then */
	bool brisk;             /* they came soon after those before */
	bool spun;              /* the loop has spun since */
	uint32_t skip, penalty; /* sleeps until spinning is tried again; how many the last failure was worth */
};

/* Whether the loop rests while frames gather. */
struct el_rest {
	double since;                    /* the last look */
	double again;                    /* no rest until then */
	uint64_t received, sent, missed; /* frames of all relays by then */
};

/* Whether relays may hand over many frames at a time. */
struct el_gathering {
	bool on;
	double looked, since;    /* the last look, and that from which frames are counted */
	uint64_t received, sent; /* frames of all relays by then */
};

struct el_engine {
	/* clock */
	double now;          /* seconds, as of this turn of the loop */
	int64_t wall_offset; /* nanoseconds: wall clock minus this one */
	int64_t wall_before; /* the same before the wall clock was set the last time */
	/* tasks */
	struct task *tasks; /* by id */
	struct timer *heap; /* earliest first */
	uint32_t *ready[2]; /* being filled, handed out */
	uint32_t task_count, timers, ready_count;
	/* watch */
	struct el_watch *watch;
	/* open */
	struct el_relay *relays;
	struct el_shelf shelf;
	/* loop */
	struct el_spin spin;
	struct el_rest rest;
	struct el_gathering gathering;
	uint32_t turn_frames; /* received in the last turn */
	double files_at;      /* files are looked at by then */
	int signals_seen;
	/* invariant: steps that may be spent on the next walk; nothing but a sanitizer's build uses it */
	uint64_t walk_credit, walk_cost;
};
