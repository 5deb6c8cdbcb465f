/*
 * xdp_pieces.c: frames of several descriptors. The first one's memory is followed by that of the frame's further
 * chunks, so what comes in other chunks is copied behind it; what is sent lies there already.
 */
#include "kinds/xdp_pieces.h"
#include "pool.h"
#include "transmit.h"

/* ---- receiving ---- */

/* The first piece's frame gets the data of a later one; what has no room is cut. */
static void append(struct el_pool *pool, struct el_frame *frame, const uint8_t *data, uint32_t len)
{
	const uint8_t *end = pool->memory + (size_t)(frame - pool->frames + 1) * pool->frame_size;
	uint32_t room = (uint32_t)(end - frame->data) - frame->len, kept = len < room ? len : room;

	memcpy(frame->data + frame->len, data, kept);
	frame->len += kept;
	frame->cut += len - kept;
}

uint32_t el_xdp_join(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count, struct el_frame **frames,
                     double now)
{
	struct el_pool *pool = &relay->pool;
	uint32_t complete = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&queue->rx, at + i);
		struct el_frame *piece = el_xdp_frame_at(pool, desc->addr);
		uint8_t *data = pool->memory + desc->addr;

		if (queue->begun) {
			append(pool, queue->begun, data, desc->len);
			el_pool_put(piece);
		} else {
			queue->begun = piece;
			piece->data = data;
			piece->len = desc->len;
		}
		if (desc->options & XDP_PKT_CONTD)
			continue;
		queue->begun->timestamp = now;
		frames[complete++] = queue->begun;
		queue->begun = NULL;
	}
	return complete;
}

/* ---- sending ---- */

/* Bytes from this address of the memory to the end of its chunk. */
static uint32_t room_in_chunk(uint64_t address)
{
	return CHUNK_MAX - (uint32_t)(address % CHUNK_MAX);
}

static uint32_t pieces_of(const struct el_pool *pool, const struct el_frame *frame)
{
	uint32_t first = room_in_chunk((uint64_t)(frame->data - pool->memory));

	return frame->len <= first ? 1 : 1 + (frame->len - first + CHUNK_MAX - 1) / CHUNK_MAX;
}

static bool is_last(const struct el_pool *pool, const struct el_frame *frame, uint64_t address)
{
	uint64_t end = (uint64_t)(frame->data - pool->memory) + frame->len;

	return end - address <= room_in_chunk(address);
}

uint32_t el_xdp_return_pieces(struct el_relay *relay, struct queue *queue, uint32_t at, uint32_t count)
{
	uint32_t complete = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint64_t address = *xsk_ring_cons__comp_addr(&queue->completion, at + i);
		struct el_frame *frame = el_xdp_frame_at(&relay->pool, address);

		if (!is_last(&relay->pool, frame, address))
			continue;
		el_relay_sent(relay, frame, 0);
		el_pool_put(frame);
		complete++;
	}
	return complete;
}

static void put_pieces(const struct el_pool *pool, struct queue *queue, const struct el_frame *frame, uint32_t at)
{
	uint64_t address = (uint64_t)(frame->data - pool->memory);

	for (uint32_t left = frame->len, len; left; left -= len, address += len) {
		struct xdp_desc *desc = xsk_ring_prod__tx_desc(&queue->tx, at++);

		len = room_in_chunk(address);
		len = left < len ? left : len;
		desc->addr = address;
		desc->len = len;
		desc->options = left > len ? XDP_PKT_CONTD : 0;
	}
}

uint32_t el_xdp_submit_pieces(struct el_relay *relay, struct queue *queue, struct el_frame **frames, uint32_t count)
{
	uint32_t room = xsk_prod_nb_free(&queue->tx, UINT32_MAX), taken = 0, at, pieces;

	while (taken < count && (pieces = pieces_of(&relay->pool, frames[taken])) <= room) {
		if (!xsk_ring_prod__reserve(&queue->tx, pieces, &at))
			break;
		put_pieces(&relay->pool, queue, frames[taken++], at);
		room -= pieces;
		xsk_ring_prod__submit(&queue->tx, pieces);
	}
	return taken;
}
