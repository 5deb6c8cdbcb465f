/*
 * relay.c: the table of relay kinds, and what all kinds share: opening by "kind:name", the way in (filter, capture,
 * parse, demux), and the counters; transmit.c is the way out. A relay owns its frame pool; it is owned by its engine
 * until el_relay_close.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core.h"

enum {
	DEFAULT_FRAMES = 16384,
	DEFAULT_DEPTH = 1024,
	MIN_FRAMES = 2 * EL_BURST,
	MIN_FRAME_SIZE = 2048,
	MAX_FRAME_SIZE = 65536,
	MAX_LARGE_BYTES = 64 << 20, /* of frames that are too large for the pool */
};

static const double RECHECK = 0.5; /* seconds between looks at an interface that is down */

static const struct el_kind *const kinds[] = {&el_kind_afpacket, &el_kind_xdp, &el_kind_pcap, &el_kind_file};

/* ---- opening and closing ---- */

static const struct el_kind *kind_of(const char *spec, const char **name)
{
	const char *colon = strchr(spec, ':');

	*name = colon ? colon + 1 : spec;
	if (!colon)
		return kinds[0];
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (strlen(kinds[i]->name) == (size_t)(colon - spec) &&
		    !strncmp(kinds[i]->name, spec, (size_t)(colon - spec)))
			return kinds[i];
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

static int open_memory(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	uint32_t need = frame_size_for(relay), size = opts->frame_size ? opts->frame_size : need;
	uint32_t count = opts->frames ? opts->frames : DEFAULT_FRAMES;

	if (size < need || size > 2 * MAX_FRAME_SIZE)
		return el_fail(err, -EINVAL, "bad frame_size %u: %u to %u is allowed at MTU %u", size, need,
		               2 * MAX_FRAME_SIZE, relay->mtu);
	if (count < MIN_FRAMES)
		return el_fail(err, -EINVAL, "bad number of frames %u: at least %u are needed", count, MIN_FRAMES);
	if (el_pool_open(&relay->pool, count, size))
		return el_fail(err, -ENOMEM, "no memory for %u frames of %u bytes", count, size);
	return 0;
}

static int open_parts(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	int error = relay->kind->open(relay, name, opts, err);

	if (!error)
		error = open_memory(relay, opts, err);
	if (!error && opts->filter)
		error = el_relay_filter(relay, opts->filter, err);
	if (!error && relay->kind->start)
		error = relay->kind->start(relay, opts, err);
	if (!error && opts->capture && !(relay->capture = el_capture_open(opts->capture, err)))
		return -EIO;
	return error;
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
	relay->wake_at = INFINITY;
	relay->wall_offset = engine->wall_offset;
	relay->recv_depth = opts->recv_depth ? opts->recv_depth : DEFAULT_DEPTH;
	snprintf(relay->name, sizeof relay->name, "%s:%s", kind->name, name);
	relay->next = engine->relays;
	engine->relays = relay;
	if (open_parts(relay, name, opts, err)) {
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
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && used < EL_ERR_MAX; i++)
		used += (size_t)snprintf(err + used, EL_ERR_MAX - used, " %s", kinds[i]->name);
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
	pair[0]->private = pair[1];
	pair[1]->private = pair[0];
	return 0;
}

void el_relay_close(struct el_relay *relay)
{
	struct el_relay **link = &relay->engine->relays;

	while (relay->conns)
		el_conn_close(container_of(relay->conns, struct el_conn, by_relay));
	if (relay->default_conn)
		el_conn_close(relay->default_conn);
	if (relay->tap)
		el_endpoint_close(relay->tap);
	el_relay_flush(relay);
	while (*link != relay)
		link = &(*link)->next;
	*link = relay->next;
	el_unwatch_relay(relay);
	relay->kind->close(relay);
	if (relay->capture)
		el_capture_close(relay->capture);
	el_filter_close(relay->filter);
	free(relay->fragmenter);
	el_reassembly_close(relay);
	el_table_close(&relay->by_key);
	el_table_close(&relay->by_group);
	el_table_close(&relay->udps);
	el_pool_close(&relay->pool);
	live_relays--;
	free(relay);
}

/* ---- facts and counters ---- */

void el_relay_info(const struct el_relay *relay, struct el_relay_info *out)
{
	memset(out, 0, sizeof *out);
	memcpy(out->name, relay->name, sizeof out->name);
	snprintf(out->kind, sizeof out->kind, "%s", relay->kind->name);
	out->mac = relay->mac;
	out->mtu = relay->mtu;
	memcpy(out->detail, relay->detail, sizeof out->detail);
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
	out->tx_pending = relay->tx_count + relay->backlog_count + relay->tx_inflight;
}

int el_relay_filter(struct el_relay *relay, const char *text, char err[EL_ERR_MAX])
{
	struct el_filter *filter = NULL;
	int error = 0;

	if (*text && !(filter = el_filter_open(text, err)))
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
	return relay->wall_offset + llround(timestamp * 1e9);
}

/* ---- in ---- */

/* Drops the oldest frame of a queue in which one with these flags waits; false when there is none. */
static bool evict(struct el_relay *relay, uint16_t flags)
{
	struct el_frame *frame = el_pool_queued(&relay->pool, flags);

	if (frame)
		el_endpoint_drop(frame->owner, &relay->stats.rx_evicted);
	return frame != NULL;
}

struct el_frame *el_relay_frame(struct el_relay *relay)
{
	struct el_frame *frame = el_pool_get(&relay->pool);

	if (likely(frame))
		return frame;
	if (!evict(relay, 0))
		return NULL;
	return el_pool_get(&relay->pool);
}

struct el_frame *el_relay_large_frame(struct el_relay *relay, uint32_t len)
{
	struct el_frame *frame;

	if (len > relay->pool.frame_size - EL_HEADROOM)
		while (relay->pool.large + len > MAX_LARGE_BYTES)
			if (!evict(relay, EL_FRAME_LARGE))
				return NULL;
	frame = el_relay_frame(relay);
	if (!frame || len <= relay->pool.frame_size - EL_HEADROOM || !el_pool_enlarge(frame, len))
		return frame;
	el_pool_put(frame);
	return NULL;
}

struct el_frame *el_relay_copy_in(struct el_relay *relay, const uint8_t *bytes, uint32_t have, uint32_t len)
{
	struct el_frame *frame = el_relay_frame(relay);
	uint32_t kept = have < len ? have : len, room = relay->pool.frame_size - EL_HEADROOM;

	if (!frame) {
		relay->stats.rx_frames++;
		relay->stats.rx_no_memory++;
		return NULL;
	}
	if (kept > room)
		kept = room;
	memcpy(frame->data, bytes, kept);
	frame->len = kept;
	frame->cut = el_cut(len - kept);
	return frame;
}

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
		el_capture_frame(relay->capture, frame, el_relay_wall(relay, frame->timestamp));
	if (unlikely(el_frame_parse(frame, &key))) {
		el_demux_invalid(relay, frame);
		return;
	}
	el_demux(relay, frame, &key);
}

void el_relay_state(struct el_relay *relay, int state)
{
	relay->wake_at = state == ENETDOWN ? relay->engine->now + RECHECK : INFINITY;
	if (state == ENXIO)
		el_relay_end(relay, ENXIO);
}

uint32_t el_relay_pump(struct el_relay *relay)
{
	struct el_frame *frames[EL_BURST];
	uint32_t count;

	if (!relay->kind->recv || relay->ended)
		return 0;
	if (unlikely(relay->wake_at <= relay->engine->now) && relay->kind->trouble)
		relay->kind->trouble(relay);
	count = relay->kind->recv(relay, frames, EL_BURST);
	for (uint32_t i = 0; i < count; i++)
		el_relay_input(relay, frames[i]);
	return count;
}
