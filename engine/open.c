/*
 * open.c: the order in which a relay is put together, and taken apart.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "capture.h"
#include "clock.h"
#include "conn.h"
#include "endpoint.h"
#include "engine.h"
#include "fail.h"
#include "filter.h"
#include "fragment.h"
#include "incomplete.h"
#include "kind.h"
#include "kinds/list.h"
#include "kinds/wire.h"
#include "live.h"
#include "open.h"
#include "pool.h"
#include "relay.h"
#include "table.h"
#include "transmit.h"
#include "watch.h"
#include "wire_format.h"

enum {
	DEFAULT_FRAMES = 16384,
	DEFAULT_DEPTH = 1024,
	MIN_FRAMES = 2 * EL_BURST,
	MIN_FRAME_SIZE = 2048,
	MAX_FRAME_SIZE = 65536,
};

static const struct el_kind *kind_of(const char *spec, const char **name)
{
	const char *colon = strchr(spec, ':');

	*name = colon ? colon + 1 : spec;
	if (!colon)
		return el_kinds[0];
	for (const struct el_kind *const *kind = el_kinds; *kind; kind++)
		if (strlen((*kind)->name) == (size_t)(colon - spec) &&
		    !strncmp((*kind)->name, spec, (size_t)(colon - spec)))
			return *kind;
	return NULL;
}

static uint32_t frame_size_for(const struct el_relay *relay)
{
	uint32_t headroom = relay->headroom > EL_HEADROOM ? relay->headroom : EL_HEADROOM;
	uint32_t need = headroom + ETH_HEADER + EL_TAGS_MAX * TAG_LEN + relay->mtu, size = MIN_FRAME_SIZE;

	while (size < need)
		size *= 2;
	return size;
}

static uint32_t frames_for(const struct el_relay *relay, uint32_t frame_size)
{
	return relay->memory_wanted ? relay->memory_wanted / frame_size : DEFAULT_FRAMES;
}

static int open_memory(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	uint32_t need = frame_size_for(relay), size = opts->frame_size ? opts->frame_size : need;
	uint32_t count = opts->frames ? opts->frames : frames_for(relay, size);

	if (size < need || size > 2 * MAX_FRAME_SIZE)
		return el_fail(err, -EINVAL, "bad frame_size %u: %u to %u is allowed at MTU %u", size, need,
		               2 * MAX_FRAME_SIZE, relay->mtu);
	if (count < MIN_FRAMES)
		return el_fail(err, -EINVAL, "bad number of frames %u: at least %u are needed", count, MIN_FRAMES);
	if (el_pool_open(&relay->pool, &relay->engine->shelf, count, size))
		return el_fail(err, -ENOMEM, "no memory for %u frames of %u bytes", count, size);
	return 0;
}

/* First the interface, which tells the MTU, then what depends on it; frames come in once all is there. */
static int open_stages(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	int error = relay->kind->open(relay, name, opts, err);

	if (!error)
		error = open_memory(relay, opts, err);
	if (!error && opts->filter)
		error = el_relay_filter(relay, opts->filter, err);
	if (!error && relay->kind->start)
		error = relay->kind->start(relay, opts, err);
	if (!error && opts->capture && !(relay->capture = el_capture_open(opts->capture, relay->link_type, err)))
		return -EIO;
	return error;
}

/* The engine's list of relays can be left from its middle. */
static void join(struct el_engine *engine, struct el_relay *relay)
{
	relay->next = engine->relays;
	relay->link = &engine->relays;
	if (relay->next)
		relay->next->link = &relay->next;
	engine->relays = relay;
}

static void leave(struct el_relay *relay)
{
	*relay->link = relay->next;
	if (relay->next)
		relay->next->link = relay->link;
}

static struct el_relay *open_kind(struct el_engine *engine, const struct el_kind *kind, const char *name,
                                  const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct el_relay *relay = calloc(1, sizeof *relay);

	if (!relay) {
		el_fail(err, -ENOMEM, "out of memory");
		return NULL;
	}
	live_relays++;
	relay->kind = kind;
	relay->engine = engine;
	relay->link_type = EL_LINK_ETHERNET;
	relay->wake_at = INFINITY;
	relay->wall_offset = &engine->wall_offset;
	relay->recv_depth = opts->recv_depth ? opts->recv_depth : DEFAULT_DEPTH;
	snprintf(relay->name, sizeof relay->name, "%s:%s", kind->name, name);
	join(engine, relay);
	if (open_stages(relay, name, opts, err)) {
		el_relay_close(relay);
		return NULL;
	}
	return relay;
}

struct el_relay *el_relay_open(struct el_engine *engine, const char *spec, const struct el_relay_opts *opts,
                               char err[EL_ERR_MAX])
{
	const char *name;
	const struct el_kind *kind = kind_of(spec, &name);
	size_t used = 0;

	if (kind)
		return open_kind(engine, kind, name, opts, err);
	used += (size_t)snprintf(err, EL_ERR_MAX, "unknown relay kind in \"%.64s\": KIND:NAME with KIND one of", spec);
	for (const struct el_kind *const *one = el_kinds; *one && used < EL_ERR_MAX; one++)
		used += (size_t)snprintf(err + used, EL_ERR_MAX - used, " %s", (*one)->name);
	return NULL;
}

int el_wire_open(struct el_engine *engine, const struct el_relay_opts *opts, struct el_relay *pair[2],
                 char err[EL_ERR_MAX])
{
	struct el_relay_opts second = *opts;

	second.capture = NULL; /* the first sees everything, and a file has one writer */
	pair[0] = open_kind(engine, &el_kind_wire, "a", opts, err);
	if (!pair[0])
		return -EIO;
	pair[1] = open_kind(engine, &el_kind_wire, "b", &second, err);
	if (!pair[1]) {
		el_relay_close(pair[0]);
		return -EIO;
	}
	el_wire_join(pair[0], pair[1]);
	return 0;
}

void el_relay_close(struct el_relay *relay)
{
	while (relay->conns)
		el_conn_close(container_of(relay->conns, struct el_conn, by_relay));
	if (relay->default_conn)
		el_conn_close(relay->default_conn);
	if (relay->tap)
		el_endpoint_close(relay->tap);
	el_relay_flush(relay);
	leave(relay);
	el_unwatch_relay(relay);
	relay->kind->close(relay);
	if (relay->capture)
		el_capture_close(relay->capture);
	el_filter_close(relay->filter);
	el_fragmenter_close(relay);
	el_reassembly_close(relay);
	el_table_close(&relay->by_key);
	el_table_close(&relay->by_group);
	el_table_close(&relay->udps);
	el_pool_close(&relay->pool);
	live_relays--;
	free(relay);
}
