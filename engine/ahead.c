/*
 * ahead.c: goes the way of the demux for all frames of a burst together, one look-up after the other. What is first in
 * a chain is taken for the right one: it nearly always is, and asking for the wrong memory does no harm.
 */
#include "ahead.h"
#include "demux.h"
#include "kind.h"
#include "parse.h"
#include "tasks.h"

enum { LINE = 64 }; /* bytes */

/* How far the way of one frame is known. */
struct way {
	uint32_t hash;
	bool is_valid;
	const struct el_conn *conn;
	const struct el_udp *udp;
};

static void ask_for(const void *memory, size_t size)
{
	for (size_t at = 0; at < size; at += LINE)
		__builtin_prefetch((const char *)memory + at);
}

static const struct el_node *first_of(const struct el_table *table, const struct way *way)
{
	return way->is_valid ? el_table_chain(table, way->hash) : NULL;
}

static void look_for_conn(const struct el_relay *relay, struct way *way, struct el_frame *frame)
{
	struct el_key key;

	way->is_valid = !el_frame_parse(frame, &key);
	if (!way->is_valid)
		return;
	way->hash = el_key_hash(&key);
	el_table_ahead(&relay->by_key, way->hash);
}

static void take_conn(const struct el_relay *relay, struct way *way)
{
	const struct el_node *node = first_of(&relay->by_key, way);

	way->conn = node ? container_of(node, struct el_conn, by_key) : NULL;
	if (way->conn)
		ask_for(way->conn, sizeof *way->conn);
}

static void look_for_udp(const struct el_relay *relay, struct way *way, const struct el_frame *frame)
{
	struct el_addr target;

	if (!way->conn || !way->conn->udps || !(frame->flags & EL_FRAME_UDP)) {
		way->is_valid = false;
		return;
	}
	el_frame_target(frame, &target);
	way->hash = el_demux_udp_hash(way->conn, &target);
	el_table_ahead(&relay->udps, way->hash);
}

static void take_udp(const struct el_relay *relay, struct way *way)
{
	const struct el_node *node = first_of(&relay->udps, way);

	way->udp = node ? container_of(node, struct el_udp, by_key) : NULL;
	if (way->udp)
		ask_for(way->udp, sizeof *way->udp);
}

static void take_task(const struct el_relay *relay, const struct way *way)
{
	if (way->udp)
		el_task_ahead(relay->engine, way->udp->ep.waiter);
	else if (way->conn)
		el_task_ahead(relay->engine, way->conn->ep.waiter);
}

/* Whether it is for one endpoint, whose memory is there from the second frame on. */
static bool is_for_one(struct el_frame *const *frames, uint32_t count)
{
	return !memcmp(frames[0]->data, frames[count - 1]->data, sizeof(struct el_mac));
}

void el_ahead(const struct el_relay *relay, struct el_frame *const *frames, uint32_t count)
{
	struct way ways[EL_BURST];

	if (count < 2 || is_for_one(frames, count))
		return;
	for (uint32_t i = 0; i < count; i++)
		look_for_conn(relay, &ways[i], frames[i]);
	for (uint32_t i = 0; i < count; i++)
		take_conn(relay, &ways[i]);
	for (uint32_t i = 0; i < count; i++)
		look_for_udp(relay, &ways[i], frames[i]);
	for (uint32_t i = 0; i < count; i++)
		take_udp(relay, &ways[i]);
	for (uint32_t i = 0; i < count; i++)
		take_task(relay, &ways[i]);
}
