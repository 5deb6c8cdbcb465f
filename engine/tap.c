/*
 * tap.c: a tap is an endpoint and nothing more; what it is to get is noted in the EtherConns.
 */
#include <stdlib.h>

#include "endpoint.h"
#include "kind.h"
#include "live.h"
#include "tap.h"

struct el_endpoint *el_tap_open(struct el_relay *relay, uint32_t recv_depth, uint32_t id)
{
	struct el_endpoint *tap = relay->tap ? NULL : calloc(1, sizeof *tap);

	if (!tap)
		return NULL;
	el_endpoint_open(tap, relay, EL_TAP, recv_depth, id);
	relay->tap = tap;
	live_taps++;
	return tap;
}

void el_tap_free(struct el_endpoint *tap)
{
	if (tap->relay) {
		tap->relay->tap = NULL;
		el_endpoint_close(tap);
	}
	live_taps--;
	free(tap);
}

void el_conn_tap(struct el_conn *conn, uint32_t what)
{
	conn->tapped = (uint8_t)what;
}
