/*
 * endpoint.c: queues are lists of frames through their own `next`, so an idle endpoint holds no memory.
 */
#include <errno.h>

#include "endpoint.h"

void el_endpoint_open(struct el_endpoint *ep, struct el_relay *relay, uint32_t kind, uint32_t depth, uint32_t id)
{
	ep->relay = relay;
	ep->kind = kind;
	ep->limit = depth ? depth : relay->recv_depth;
	ep->id = id;
}

void el_endpoint_drop(struct el_endpoint *ep, uint64_t *counter)
{
	el_pool_put(el_endpoint_pop(ep));
	ep->dropped++;
	++*counter;
}

void el_endpoint_close(struct el_endpoint *ep)
{
	if (ep->borrowed)
		el_pool_retire(ep->borrowed);
	ep->borrowed = NULL;
	while (ep->head)
		el_endpoint_drop(ep, &ep->relay->stats.rx_closed);
	el_endpoint_wake(ep);
	ep->relay = NULL;
}

/* ---- reading ---- */

struct el_frame *el_recv(struct el_endpoint *ep)
{
	if (!ep->head)
		return NULL;
	ep->relay->stats.rx_delivered++;
	return el_endpoint_pop(ep);
}

struct el_lent *el_borrow(struct el_endpoint *ep)
{
	struct el_frame *frame;

	if (ep->borrowed)
		el_frame_free(ep->borrowed);
	frame = el_recv(ep);
	if (frame) {
		frame->state = EL_FRAME_BORROWED;
		frame->owner = ep;
		ep->borrowed = frame;
	}
	return (struct el_lent *)frame;
}

void el_frame_free(struct el_frame *frame)
{
	if (frame->state != EL_FRAME_OWNED && frame->state != EL_FRAME_BORROWED)
		return;
	if (frame->state == EL_FRAME_BORROWED)
		frame->owner->borrowed = NULL;
	el_pool_put(frame);
}

/* ---- waiting ---- */

int el_ended(const struct el_endpoint *ep)
{
	return ep->relay ? -ep->relay->ended : -EBADF;
}

int el_wait_frame(struct el_endpoint *ep, uint32_t task, double deadline)
{
	int error = el_ended(ep);

	if (error)
		return error;
	if (ep->waiter && ep->waiter != task)
		return -EBUSY;
	if (el_timer(ep->relay->engine, task, deadline))
		return -ENOMEM;
	ep->waiter = task;
	return 0;
}

void el_unwait(struct el_endpoint *ep, uint32_t task)
{
	if (ep->waiter == task)
		ep->waiter = 0;
}

/* ---- all of them ---- */

static void visit_conn(struct el_conn *conn, void (*visit)(struct el_endpoint *ep, void *context), void *context)
{
	visit(&conn->ep, context);
	for (struct el_node *node = conn->udps; node; node = node->next)
		visit(&container_of(node, struct el_udp, by_conn)->ep, context);
}

void el_endpoints_visit(const struct el_relay *relay, void (*visit)(struct el_endpoint *ep, void *context),
                        void *context)
{
	if (relay->tap)
		visit(relay->tap, context);
	for (struct el_node *node = relay->conns; node; node = node->next)
		visit_conn(container_of(node, struct el_conn, by_relay), visit, context);
	if (relay->default_conn)
		visit_conn(relay->default_conn, visit, context);
}
