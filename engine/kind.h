/*
 * kind.h: what a relay kind does, and the relay that it does it for: a record without functions, whose members belong
 * to the unit named beside them. A kind is a file in kinds/ with one struct el_kind. It moves frames between the
 * relay's memory and an interface, a file or another relay. It knows nothing of endpoints, tasks or other kinds: it
 * receives when it is asked to, and calls what frame_memory.h, transmit.h, relay.h and watch.h offer.
 */
#pragma once

#include "common.h"
#include "os/carrier.h"
#include "pool.h"
#include "table.h"

struct el_kind {
	const char *name;
	/* A frame that waits is stamped, and has room: nothing is lost by looking a moment later. */
	bool is_patient;
	/* Sets relay's mac, mtu and private data. close() is called also after a failure. */
	int (*open)(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
	/* The frame memory is there: frames may come in now. May be NULL. */
	int (*start)(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
	/*
	 * From now on frames may come some milliseconds late, if that makes many of them cheaper, or no more. May be
	 * NULL.
	 */
	void (*gather)(struct el_relay *relay, bool on);
	/*
	 * Up to max received frames, from el_relay_frame(), data and len and timestamp set, EL_FRAME_OUTGOING for
	 * those that the host sent. NULL: nothing to poll.
	 */
	uint32_t (*recv)(struct el_relay *relay, struct el_frame **frames, uint32_t max);
	/* Takes frames from the front; calls el_relay_sent() for each that it is done with; returns how many. */
	uint32_t (*send)(struct el_relay *relay, struct el_frame **frames, uint32_t count);
	/* A file descriptor reported an error: tells el_relay_set_link() how the interface is. */
	void (*trouble)(struct el_relay *relay);
	/* Takes the filter to the kernel (NULL: takes it away). May be NULL: relay.c filters. */
	int (*filter)(struct el_relay *relay, struct el_filter *filter);
	/*
	 * Frames to this MAC address and VLAN stack are wanted, or no more; mac NULL: everything is. May be NULL: all
	 * frames are taken, and the demux alone decides.
	 */
	int (*claim)(struct el_relay *relay, const struct el_mac *mac, const struct el_vlans *vlans, bool on);
	/* Brings relay->stats.rx_missed up to date. May be NULL. */
	void (*count)(struct el_relay *relay);
	/* How many frames it holds: in rings of the kernel's, say. NULL: none between two calls. For invariant.c. */
	uint32_t (*held)(const struct el_relay *relay);
	void (*close)(struct el_relay *relay);
};

struct el_relay {
	/* the kind */
	const struct el_kind *kind;
	void *private;
	struct el_mac mac;
	uint32_t mtu;
	uint32_t link_type;     /* EL_LINK_ETHERNET, unless the kind says otherwise */
	uint32_t headroom;      /* bytes that the kernel needs in front of a received frame */
	uint32_t memory_wanted; /* bytes of all frames, unless their number is given; 0: the usual number of frames */
	uint32_t tx_inflight;   /* frames that were sent and are in a ring of the kernel's */
	struct el_carrier carrier; /* of kinds with an interface */
	char detail[EL_DETAIL_MAX];
	bool was_left;            /* see struct el_relay_info */
	char problem[EL_ERR_MAX]; /* see el_relay_info */
	double wake_at;           /* the next frame is due then, by the engine's clock; INFINITY: nothing is known */
	/* nanoseconds: time since 1970 of a received frame minus its time by the engine's clock */
	const int64_t *wall_offset;
	bool paced; /* nothing is lost by receiving later: no more than readers read, so nothing overflows */
	/* open */
	struct el_engine *engine;
	struct el_relay *next, **link; /* of the engine's */
	char name[64];
	uint32_t recv_depth;
	struct el_pool pool;
	/* relay */
	int ended;                  /* nothing more is received: why, as el_wait_frame() says */
	uint64_t seen_delivered;    /* paced: frames that had been read when readers were last seen to be behind */
	struct el_filter *filter;   /* NULL: none */
	struct el_capture *capture; /* NULL: none */
	struct el_stats stats;      /* everybody counts */
	/* transmit */
	int tx_error;                  /* of the last frame that could not be sent; 0 once one was */
	struct el_frame *tx[EL_BURST]; /* wait for the flush */
	uint32_t tx_count;
	struct el_frame *backlog; /* more of them, fragments of one packet; only while tx is full */
	uint32_t backlog_count;
	/* conn, udp and tap; the demux looks things up here */
	struct el_table by_key;      /* EtherConns by MAC and VLAN stack */
	struct el_table by_group;    /* those that receive group frames, by VLAN stack */
	struct el_table udps;        /* RUDPConns by EtherConn, address and port */
	struct el_node *conns;       /* all EtherConns but the default one */
	struct el_node *promiscuous; /* those that receive group frames of any VLAN stack */
	struct el_conn *default_conn;
	struct el_endpoint *tap; /* NULL: none */
	/* fragment, incomplete */
	struct el_fragmenter *fragmenter; /* NULL: no endpoint needs one */
	struct el_reassembly *reassembly; /* NULL: no endpoint needs one */
};
