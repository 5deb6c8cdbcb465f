/*
 * endpoint.h: the queue of an endpoint (EtherConn, RUDPConn or tap) and the task that waits at it. abi.h has the
 * struct, reading (el_recv, el_borrow, el_frame_free) and waiting. A queued or borrowed frame is the endpoint's; one
 * that el_recv() handed out is the reader's. Its owner owns the struct. The queue is bounded, and never refuses a
 * frame: the oldest goes. Which frames come here is the demux's business.
 *
 * What is done for each frame is inline, so that it is part of the demux.
 */
#pragma once

#include "common.h"
#include "kind.h"
#include "pool.h"
#include "tasks.h"
#include "wire_format.h"

/* depth 0: the relay's. */
void el_endpoint_open(struct el_endpoint *ep, struct el_relay *relay, uint32_t kind, uint32_t depth, uint32_t id);
/* Drops what is queued and borrowed, wakes the waiter. The struct stays. */
void el_endpoint_close(struct el_endpoint *ep);
/* Throws the oldest queued frame away, counted in *counter. */
void el_endpoint_drop(struct el_endpoint *ep, uint64_t *counter);
/* Calls visit for the tap and each EtherConn and RUDPConn of the relay. It must not close any. */
void el_endpoints_visit(const struct el_relay *relay, void (*visit)(struct el_endpoint *ep, void *context),
                        void *context);

/* The waiter becomes ready, if there is one. */
static inline void el_endpoint_wake(struct el_endpoint *ep)
{
	uint32_t task = ep->waiter;

	if (!task)
		return;
	ep->waiter = 0;
	el_task_wake(ep->relay->engine, task);
}

/* Takes the oldest frame, of which there is one, out of the queue. */
static inline struct el_frame *el_endpoint_pop(struct el_endpoint *ep)
{
	struct el_frame *frame = ep->head;

	ep->head = frame->next;
	if (!ep->head)
		ep->tail = NULL;
	ep->count--;
	ep->relay->stats.rx_queued--;
	frame->state = EL_FRAME_OWNED;
	return frame;
}

static inline void el_endpoint_set_payload(const struct el_endpoint *ep, struct el_frame *frame)
{
	if (ep->kind == EL_UDP) {
		frame->payload = (uint16_t)(frame->l4 + UDP_HEADER);
		frame->payload_len = get16(frame->data + frame->l4 + 4) - UDP_HEADER;
	} else {
		frame->payload = frame->l3;
		frame->payload_len = frame->l3_len;
	}
}

/* Takes ownership of a parsed frame; a full queue loses its oldest one. */
static inline void el_endpoint_push(struct el_endpoint *ep, struct el_frame *frame)
{
	if (unlikely(ep->count >= ep->limit))
		el_endpoint_drop(ep, &ep->relay->stats.rx_overflow);
	el_endpoint_set_payload(ep, frame);
	frame->next = NULL;
	frame->owner = ep;
	frame->state = EL_FRAME_QUEUED;
	if (ep->tail)
		ep->tail->next = frame;
	else
		ep->head = frame;
	ep->tail = frame;
	ep->count++;
	ep->received++;
	ep->relay->stats.rx_queued++;
	el_endpoint_wake(ep);
}
