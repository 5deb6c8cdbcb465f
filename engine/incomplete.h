/*
 * incomplete.h: packets of which fragments are missing, as incomplete.c keeps them and reassemble.c fills them. A
 * relay has one struct el_reassembly, which owns them: a copy of the data of each that came so far, and of its first
 * header. Packets and bytes are bounded: the oldest packet goes when there are more, and each when its time is over.
 * What a fragment means for its packet is not decided here.
 */
#pragma once

#include "common.h"
#include "parse.h"

/* Makes the relay ready for them, if it is not yet. */
int el_reassembly_open(struct el_relay *relay);
/* Drops packets that have waited too long. */
void el_reassembly_expire(struct el_relay *relay);
/* Drops those of an EtherConn that closes. */
void el_reassembly_forget(const struct el_conn *conn);
void el_reassembly_close(struct el_relay *relay);

/* What fragments of one packet have in common. Compared as bytes. */
struct el_incomplete_key {
	const struct el_conn *conn;
	struct el_key l2; /* of the default endpoint, which hears those of many: MAC address and VLAN stack */
	struct el_addr source, target;
	uint32_t id;
	uint32_t protocol; /* IPv4 only */
};

struct el_incomplete {
	struct el_node by_key;
	struct el_incomplete *newer, **link; /* of the same IP version */
	struct el_incomplete_key key;
	double born;
	uint64_t *bad;      /* the counter for its fragments; NULL: nothing is wrong with it */
	uint32_t fragments; /* that are in it */
	uint32_t have, end; /* bytes of data that are there; where the last of them ends */
	uint32_t total;     /* bytes that it will have, 0: not known yet */
	uint32_t capacity;  /* of data, a multiple of FRAGMENT_UNIT; map has a byte for each of these */
	uint8_t *data, *map;
	uint8_t *head; /* what stands in front of the data: frame and IP header of the first fragment */
	uint32_t head_len, l3;
};

/* The packet that a fragment for conn is of: a new one when it is the first to come. NULL: no memory. */
struct el_incomplete *el_incomplete_of(struct el_conn *conn, const struct el_frame *frame,
                                       const struct el_fragment *part);
/* Makes room for data up to `end`; the oldest packets are dropped for it when there is too much. */
bool el_incomplete_grow(struct el_relay *relay, struct el_incomplete *packet, uint32_t end);
/* Keeps a copy of what stands in front of the data in the first fragment. */
bool el_incomplete_head(struct el_relay *relay, struct el_incomplete *packet, const struct el_frame *frame,
                        const struct el_fragment *part);
/* Its fragments go into the counter. It stays, without them, so that what is still to come of it is known to be bad. */
void el_incomplete_spoil(struct el_relay *relay, struct el_incomplete *packet, uint64_t *counter);
/* Its fragments go into the counter, and it is gone. */
void el_incomplete_drop(struct el_relay *relay, struct el_incomplete *packet, uint64_t *counter);
