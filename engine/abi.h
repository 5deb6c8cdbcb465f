#pragma once
/*
 * abi.h: the one boundary between the C engine and Lua.
 *
 * Every struct and function that Lua may see is here and nowhere else. The library carries this very text
 * (el_abi_text) and Lua cdefs it from the loaded library, so the two sides cannot drift. It is legal C and legal
 * LuaJIT cdef: no preprocessor line but the first, constants as enums, fixed-width types.
 *
 * Conventions. Functions return 0 or a negative errno unless they say otherwise; only "open" calls fill
 * err[EL_ERR_MAX] with one line for people. Handles come first. Numbers are in host byte order, addresses as bytes on
 * the wire. Times are seconds of the engine's clock (a double: 1 ns is exact for 100 days of uptime). Nothing blocks
 * but el_wait. One engine belongs to one thread; engines share no state but the live-object counters.
 */

enum {
	EL_ERR_MAX = 256,
	EL_DETAIL_MAX = 128,
	EL_TAGS_MAX = 4,       /* VLAN tags a frame's identity can have */
	EL_ETHERTYPES_MAX = 8, /* EtherTypes one EtherConn can claim */
	EL_BURST = 64,         /* frames received or sent in one go */
	EL_HEADROOM = 64,      /* bytes kept free before a frame's data */
};

/* ---- addresses ------------------------------------------------------------------------------------------------- */

struct el_mac {
	uint8_t byte[6];
};

/* One VLAN tag: tci = PCP << 13 | DEI << 12 | VID (IEEE 802.1Q 9.6). */
struct el_tag {
	uint16_t tpid;
	uint16_t tci;
};

/* A VLAN stack, outer tag first. */
struct el_vlans {
	struct el_tag tag[EL_TAGS_MAX];
	uint32_t count;
};

/* An IP address and port. version is 4 (ip[0..3] used, the rest 0) or 6. */
struct el_addr {
	uint8_t ip[16];
	uint16_t port;
	uint16_t version;
};

/* Text to address: 4 or 6 and fills ip, or 0 when the text is not an IP address. */
int el_ip_parse(const char *text, uint8_t ip[16]);
/* Address to text (RFC 5952 for IPv6). text has room for 46 bytes; returns its length. */
int el_ip_format(const uint8_t *ip, int version, char *text);
/* "aa:bb:cc:dd:ee:ff" or with dashes to an address: 1, or 0 when it is none. */
int el_mac_parse(const char *text, struct el_mac *mac);
/* Address to "aa:bb:cc:dd:ee:ff". text has room for 18 bytes. */
void el_mac_format(const struct el_mac *mac, char *text);

/*
 * The internet checksum (RFC 1071) of some bytes, as a number: 0 if it is right in place. start: a sum of 16-bit
 * words to begin with, such as a pseudo header's.
 */
uint32_t el_checksum(const void *data, uint32_t len, uint32_t start);

/* ---- the library ----------------------------------------------------------------------------------------------- */

/* Objects that exist now, in the whole process: all zero once everything is closed and freed. */
struct el_live {
	int64_t engines, relays, conns, udps, taps;
};

const char *el_version(void);
/* Bytes of chance, from the operating system. -errno: there are none. */
int el_random(void *out, uint32_t size);
void el_live(struct el_live *out);

/* ---- engine: loop, timers, ready tasks ------------------------------------------------------------------------- */

struct el_engine;
struct el_endpoint;

/* NULL when memory or file descriptors are short. Owned by the caller; el_engine_close frees it. */
struct el_engine *el_engine_open(void);
void el_engine_close(struct el_engine *engine);

/* The engine's clock, read now. */
double el_now(struct el_engine *engine);

/*
 * Turns, until a task is ready, a signal was counted or `timeout` seconds are over (0: after one turn; < 0: never). A
 * turn sends what is pending, receives a burst from each relay, looks at timers and files. When it found nothing to
 * do, the loop looks again or sleeps until there is something. Returns the number of tasks that are ready.
 */
int el_wait(struct el_engine *engine, double timeout);

/* Hands over the ids of the ready tasks: *ids stays valid until the next call. Returns how many. */
uint32_t el_ready(struct el_engine *engine, const uint32_t **ids);

/* Task `task` (a small positive number of the caller's choice) wants to become ready at `deadline` (< 0: never). */
int el_timer(struct el_engine *engine, uint32_t task, double deadline);

/*
 * Why nothing more can come to the endpoint, beyond what is queued; 0: more can. -EBADF: closed; -ENXIO: the relay's
 * interface is gone; -ENODATA: end of the file; -EBADMSG: the file is no pcap file from here on, or became shorter than
 * what was read of it; -ESTALE: a file that is followed was deleted or replaced.
 */
int el_ended(const struct el_endpoint *endpoint);
/*
 * Task `task` waits for a frame on the endpoint until `deadline` (< 0: for ever). -EBUSY: another task waits there;
 * other errors as el_ended. Whatever comes first makes it ready once; el_unwait withdraws it from the endpoint.
 */
int el_wait_frame(struct el_endpoint *endpoint, uint32_t task, double deadline);
void el_unwait(struct el_endpoint *endpoint, uint32_t task);

/*
 * From now on SIGINT, SIGTERM and SIGHUP are counted instead of ending the process, and end el_wait's sleep; the second
 * one does what it did before, unless it is SIGHUP, which often comes along with another. SIGHUP that is ignored, as
 * nohup(1) has it, stays so. SIGUSR1, which asks what the program is doing, is counted too and ends the sleep, each
 * time. State of the process, not of an engine: for programs, not for libraries.
 */
int el_signals_catch(struct el_engine *engine);
/* All that were caught so far. */
int el_signals_count(void);
/* How many of these are SIGUSR1. */
int el_signals_asked(void);
/* Number of the last of those that ask for the end, 0: none yet. */
int el_signals_last(void);
/* Those that were caught have been dealt with: the next one is a first one again. */
void el_signals_forget(void);

/* Makes el_wait return when `fd` is readable and task `task` ready, once. fd stays the caller's. */
int el_wait_fd(struct el_engine *engine, int fd, uint32_t task);
void el_unwait_fd(struct el_engine *engine, int fd);

/* Since when the task waits, by the engine's clock; 0 for one that never did. */
double el_waits_since(const struct el_engine *engine, uint32_t task);

/* ---- frames ---------------------------------------------------------------------------------------------------- */

enum {
	EL_FRAME_IP4 = 1,
	EL_FRAME_IP6 = 2,
	EL_FRAME_UDP = 4,
	EL_FRAME_FRAGMENT = 8,  /* one of several: no L4 header is looked for */
	EL_FRAME_GROUP = 16,    /* sent to a broadcast or multicast MAC */
	EL_FRAME_OUTGOING = 32, /* a mirror's: sent by this relay, or by the host where the relay hears that too */
	EL_FRAME_COPY = 64,     /* one more copy of a frame that has several receivers */
	EL_FRAME_LARGE = 128,   /* its bytes are not in the pool: they were too many */
	EL_FRAME_INVALID = 256, /* lengths in it cannot be, or it was cut: nothing is known but data and len */
};

/* A received frame. It belongs to the engine; offsets count from data, 0 where there is no such header. */
struct el_frame {
	uint8_t *data; /* the Ethernet header */
	struct el_frame *next;
	struct el_endpoint *owner; /* the queue it waits in */
	struct el_pool *pool;
	double timestamp; /* when the kernel got it, engine's clock */
	uint32_t len; /* of the whole frame; as all lengths here more than 65,535 when an IPv6 packet was reassembled */
	uint32_t l3_len; /* of what is at l3 */
	uint32_t payload_len;
	uint16_t payload;   /* what the endpoint's recv returns: Ethernet payload or UDP payload */
	uint16_t ethertype; /* after the last tag */
	uint16_t l3;        /* Ethernet payload, Ethernet padding not included where IP tells */
	uint16_t l4;        /* header behind the IP header and its options or extension headers */
	uint16_t flags;
	uint8_t tags;     /* VLAN tags */
	uint8_t protocol; /* of the header at l4 */
	uint32_t cut;     /* bytes behind len that are missing, which it had on the wire */
	uint32_t conn;    /* id of the EtherConn that it came to */
	uint8_t state;    /* EL_FRAME_... below: who has it */
	uint8_t pad;
	int16_t fine; /* nanoseconds that timestamp has no digits for, of a file that spans more than 100 days */
};

enum { EL_FRAME_UNUSED, EL_FRAME_OWNED, EL_FRAME_QUEUED, EL_FRAME_BORROWED };

/*
 * A struct el_frame that is lent to a script. What a script still holds of one that was given back, or whose endpoint
 * or relay is closed, may be looked at, for its state alone: relay/frame.lua does so each time.
 */
struct el_lent;

/* Gives the frame back. One that is unused already is left alone. */
void el_frame_free(struct el_frame *frame);
/* The frame's VLAN stack, source and destination address (version 0 when it is not IP, port 0 when not UDP). */
void el_frame_vlans(const struct el_frame *frame, struct el_vlans *out);
void el_frame_source(const struct el_frame *frame, struct el_addr *out);
void el_frame_target(const struct el_frame *frame, struct el_addr *out);

/* ---- filters --------------------------------------------------------------------------------------------------- */

struct el_filter;

/* pcap-filter text compiled, to ask for one frame at a time. NULL and err when it does not compile. */
struct el_filter *el_filter_open(const char *text, char err[EL_ERR_MAX]);
void el_filter_close(struct el_filter *filter);
int el_filter_matches(const struct el_filter *filter, const struct el_frame *frame);

/* ---- captures -------------------------------------------------------------------------------------------------- */

struct el_capture;

/* A pcap file in nanoseconds, overwritten; link_type: see el_relay_info. NULL and err when it cannot be written. */
struct el_capture *el_capture_open(const char *path, uint32_t link_type, char err[EL_ERR_MAX]);
void el_capture_close(struct el_capture *capture);
/*
 * Writes one frame; wall is nanoseconds since 1970, up to the year 2106. After a write error, or a time that such a
 * file cannot hold, nothing more is written.
 */
void el_capture_frame(struct el_capture *capture, const struct el_frame *frame, int64_t wall);
/* Brings what was captured so far to the file. */
void el_capture_flush(struct el_capture *capture);
/* The errno for which it stopped, 0 while it works; EOVERFLOW: a time. */
int el_capture_error(const struct el_capture *capture);

/* ---- relays ---------------------------------------------------------------------------------------------------- */

struct el_relay;

/* How to open a relay. 0 or NULL asks for the default. */
struct el_relay_opts {
	const char *filter;   /* pcap-filter text; "" or NULL: none */
	const char *capture;  /* pcap file that gets every frame in and out */
	uint32_t recv_depth;  /* frames an endpoint queues at the most (1024) */
	uint32_t frame_size;  /* bytes of a frame's memory (2048, or what the MTU needs) */
	uint32_t frames;      /* frames of memory (16384) */
	uint32_t promiscuous; /* receive frames to any MAC address */
	uint32_t outgoing;    /* a mirror hears what the host sends on the interface, too */
	uint32_t mtu;         /* wire (1500) and file (9216) only */
	uint32_t shared;      /* afpacket, xdp: other processes have endpoints there: the kernel keeps theirs away */
	/* file only */
	const char *output; /* pcap file that gets what is sent (none), each frame when it is flushed */
	uint32_t timing;    /* receive with the timing of the file, not as fast as it is read */
	uint32_t follow;    /* receive what is appended to the file (pcap, not pcapng) too; not together with timing */
	uint32_t any_link;  /* other link types than Ethernet, too; to who asks for invalid frames alone */
	/* xdp only */
	const char *program;     /* ELF file with an XDP program to use instead of the steering program (none) */
	uint32_t queues;         /* receive queues to serve, from the first (all) */
	uint32_t part, parts;    /* shared only: of parts processes this one, from 0, serves every parts-th */
	uint32_t mode;           /* EL_XDP_... */
	uint32_t copy;           /* EL_COPY_... */
	uint32_t no_need_wakeup; /* the kernel polls the rings by itself */
	uint32_t steer_all;      /* take every frame of steer_ethertypes, not only those of registered endpoints */
	uint16_t steer_ethertypes[EL_ETHERTYPES_MAX]; /* up to the first 0 */
};

enum { EL_LINK_ETHERNET = 1 };
enum { EL_XDP_AUTO, EL_XDP_NATIVE, EL_XDP_GENERIC };
enum { EL_COPY_AUTO, EL_COPY, EL_ZEROCOPY };

struct el_relay_info {
	char name[64]; /* "afpacket:eth1" */
	char kind[16];
	struct el_mac mac;
	uint16_t up;
	uint32_t mtu;               /* bytes of Ethernet payload in an untagged frame */
	char detail[EL_DETAIL_MAX]; /* what was picked on opening, for people */
	uint32_t capture_error;     /* errno for which the capture stopped, 0: none */
	uint32_t was_left;  /* xdp: rxvlan was off because a process was killed; it is on again behind this relay */
	uint32_t link_type; /* what its frames begin with: EL_LINK_ETHERNET, or another of libpcap's DLT_ numbers */
	char problem[EL_ERR_MAX]; /* of a file that is broken: why it cannot be read on; "": it breaks off, or is not */
};

/*
 * Where frames ended. At all times
 *   rx_frames + rx_copies + rx_reassembled = rx_delivered + rx_queued + rx_invalid + rx_filtered + rx_unclaimed +
 *                                            rx_overflow + rx_evicted + rx_no_memory + rx_closed + rx_fragments +
 *                                            rx_merged + rx_frag_duplicate + rx_frag_timeout + rx_frag_overlap +
 *                                            rx_frag_invalid + rx_frag_limit
 *   tx_frames = tx_sent + tx_pending + tx_link_down + tx_refused + tx_error
 */
struct el_stats {
	uint64_t rx_frames;         /* offered by the interface to this relay */
	uint64_t rx_copies;         /* further copies, for frames that several endpoints receive */
	uint64_t rx_reassembled;    /* packets that were put together out of fragments: each is one more frame */
	uint64_t rx_delivered;      /* read by an endpoint's owner */
	uint64_t rx_queued;         /* wait in an endpoint's queue now */
	uint64_t rx_invalid;        /* truncated, or with lengths that cannot be, and no endpoint asked for those */
	uint64_t rx_filtered;       /* the relay's filter did not match (relays that filter by themselves) */
	uint64_t rx_unclaimed;      /* no endpoint wanted it */
	uint64_t rx_overflow;       /* oldest of a full endpoint queue, dropped for a newer one */
	uint64_t rx_evicted;        /* dropped from a queue because the frame memory was used up */
	uint64_t rx_no_memory;      /* no frame memory at all */
	uint64_t rx_closed;         /* waited in a queue, or as a fragment, when the endpoint was closed */
	uint64_t rx_fragments;      /* fragments that wait for the rest of their packet now */
	uint64_t rx_merged;         /* fragments that became a part of one of rx_reassembled */
	uint64_t rx_frag_duplicate; /* fragments that had come before */
	uint64_t rx_frag_timeout;   /* the rest did not come in time */
	uint64_t rx_frag_overlap;   /* overlapped with another one: all fragments of the packet */
	uint64_t rx_frag_invalid; /* with lengths that cannot be; or all of a packet that is too long, or ends twice */
	uint64_t rx_frag_limit;   /* too many packets or bytes were waiting: those of the oldest; or out of memory */
	uint64_t rx_missed;       /* lost by the kernel before the relay saw them (not in rx_frames) */
	uint64_t tx_frames;       /* accepted by a send call */
	uint64_t tx_sent;         /* taken by the interface */
	uint64_t tx_pending;      /* wait for the next flush now */
	uint64_t tx_link_down;    /* lost: the link was down */
	uint64_t tx_refused;      /* lost: driver or queueing discipline had no room */
	uint64_t tx_error;        /* lost for another reason */
	uint64_t bytes_rx, bytes_tx;
};

/* spec is "kind:name". NULL on failure, err says why. The relay belongs to the engine until el_relay_close. */
struct el_relay *el_relay_open(struct el_engine *engine, const char *spec, const struct el_relay_opts *opts,
                               char err[EL_ERR_MAX]);
/* Two relays joined in memory: what one sends the other receives. */
int el_wire_open(struct el_engine *engine, const struct el_relay_opts *opts, struct el_relay *pair[2],
                 char err[EL_ERR_MAX]);
/*
 * Blocks the thread, for up to so many seconds, while the link is away that was there before the relay was opened, or
 * that another process has just taken away by closing one: cards are reset for both. Returns whether it is there, or is
 * not waited for because it had been away. EL_LINK_PATIENCE seconds in all are enough.
 */
int el_relay_settle(const struct el_relay *relay, double seconds);
enum { EL_LINK_PATIENCE = 10 };
/* Closes the endpoints that are still open on it, then closes and frees the relay. */
void el_relay_close(struct el_relay *relay);
void el_relay_info(const struct el_relay *relay, struct el_relay_info *out);
void el_relay_stats(struct el_relay *relay, struct el_stats *out);
/* Replaces the filter; "" removes it. -EINVAL and err when the text does not compile. */
int el_relay_filter(struct el_relay *relay, const char *text, char err[EL_ERR_MAX]);
/*
 * When a received frame with this timestamp was on the wire, in nanoseconds since 1970: by the clock on the wall, of a
 * file by its own time stamps.
 */
int64_t el_relay_wall(const struct el_relay *relay, double timestamp);
/* The same to the last digit, of the frame itself. */
int64_t el_frame_wall(const struct el_relay *relay, const struct el_frame *frame);
/*
 * Sends one whole frame as it is, Ethernet header included. -EINVAL: shorter than that header. -EMSGSIZE: longer than
 * the MTU lets a frame be. Else errors as el_conn_send.
 */
int el_relay_send(struct el_relay *relay, const void *bytes, uint32_t len);
/* Sends what is pending now rather than at the end of the turn. 0, or the error that the interface gave. */
int el_relay_flush(struct el_relay *relay);

/* ---- endpoints ------------------------------------------------------------------------------------------------- */

/* What EtherConn and RUDPConn have in common: a bounded queue of received frames and the task that waits for one. */
struct el_endpoint {
	struct el_relay *relay; /* NULL once closed */
	struct el_frame *head, *tail;
	uint32_t count, limit;
	uint32_t waiter;           /* task that waits here, 0: none */
	uint32_t id;               /* the caller's name for it */
	uint64_t received;         /* frames queued here since it was opened */
	uint64_t dropped;          /* of these, lost to overflow or eviction */
	struct el_frame *borrowed; /* what el_borrow handed out last */
	uint32_t kind;
	uint32_t pad;
};

enum { EL_CONN = 1, EL_UDP = 2, EL_TAP = 3 };

/* The oldest queued frame, which the caller then owns until el_frame_free; NULL when there is none. */
struct el_frame *el_recv(struct el_endpoint *endpoint);
/* The same, but the frame stays the endpoint's: valid until the next el_borrow, el_frame_free or the close. */
struct el_lent *el_borrow(struct el_endpoint *endpoint);

/* Membership in a hash table or list of the engine's. */
struct el_node {
	struct el_node *next, **link;
	uint32_t hash;
	uint32_t pad;
};

/* ---- EtherConn ------------------------------------------------------------------------------------------------- */

enum { EL_MULTICAST_NONE, EL_MULTICAST_OWN, EL_MULTICAST_ALL };

struct el_conn_opts {
	struct el_mac mac;
	uint16_t is_default; /* receives what no other endpoint wants */
	struct el_vlans vlans;
	uint16_t ethertypes[EL_ETHERTYPES_MAX]; /* up to the first 0; none at all: every EtherType */
	uint32_t multicast;                     /* EL_MULTICAST_... */
	uint32_t recv_depth;                    /* 0: the relay's */
	uint32_t mirror;                        /* of the default endpoint: also a copy of every frame in and out */
	uint32_t fragment;                      /* IP packets that do not fit the MTU are sent in fragments */
	uint32_t reassemble;                    /* fragments that are received are put together */
	uint32_t invalid;                       /* of the default endpoint: also frames that are not valid */
	uint32_t id;
};

struct el_conn {
	struct el_endpoint ep;
	struct el_node by_key, by_group, by_relay;
	struct el_node *udps;
	struct el_udp *any; /* the RUDPConn that accepts any */
	uint64_t key[3];    /* MAC and VLAN stack as the demux compares them */
	uint16_t ethertypes[EL_ETHERTYPES_MAX];
	struct el_mac mac;
	uint8_t multicast, is_default, mirror, invalid;
	uint8_t tapped; /* EL_TAP_... */
	uint8_t fragment, reassemble;
	uint8_t header_len;
	uint8_t header[12 + 4 * EL_TAGS_MAX]; /* template: MACs and tags */
	struct el_vlans vlans;
	uint32_t ip6_mtu; /* el_conn_limit_ip6() */
};

/* NULL and err: -EADDRINUSE in words when MAC, VLAN stack and EtherType are taken. Free it after close. */
struct el_conn *el_conn_open(struct el_relay *relay, const struct el_conn_opts *opts, char err[EL_ERR_MAX]);
/* Leaves the relay, drops its queue, makes its waiter ready. The struct stays valid until el_conn_free. */
void el_conn_close(struct el_conn *conn);
void el_conn_free(struct el_conn *conn);
/* Which frames to groups an open one receives from now on: EL_MULTICAST_.... -ENOMEM: none. */
int el_conn_multicast(struct el_conn *conn, uint32_t multicast);
/* One of those that are open on the relay, the default one last; NULL: there is none. */
struct el_conn *el_relay_conn(const struct el_relay *relay);

/* Departures from the endpoint's own addresses for one frame; a zeroed field keeps the endpoint's. */
struct el_send_opts {
	struct el_mac src_mac;
	uint16_t has_src_mac;
	struct el_vlans vlans;
	uint32_t has_vlans;
};

/* Bytes of payload that fit one frame of this endpoint. */
uint32_t el_conn_mtu(const struct el_conn *conn);
/* Bytes of the largest IP packet of the version that fits one frame. */
uint32_t el_conn_packet_mtu(const struct el_conn *conn, int version);
/* From now on no IPv6 packet of it is longer, as routers may say of a link (RFC 4861 6.3.4); 0: what the link takes. */
void el_conn_limit_ip6(struct el_conn *conn, uint32_t mtu);
/* Bytes of the largest IP packet of the version, without options, that it can send: in fragments when it may. */
uint32_t el_conn_ip_mtu(const struct el_conn *conn, int version);

/*
 * Sends one Ethernet payload. ethertype 0: IPv4 or IPv6 by the version nibble (-EPROTONOSUPPORT when it is neither).
 * -EMSGSIZE: does not fit the MTU. -EAGAIN: no room until the next turn. -ENETDOWN, -ENXIO: link down, interface
 * gone. -EADDRNOTAVAIL: its own MAC is a group address and opts has no other. opts may be NULL. With the option
 * `fragment` an IP packet whose length is what it says, and without DF, is sent in fragments when it does not fit,
 * all of them or none.
 */
int el_conn_send(struct el_conn *conn, const void *payload, uint32_t len, const struct el_mac *dst, uint32_t ethertype,
                 const struct el_send_opts *opts);

/* What a relay's tap receives of an EtherConn. */
enum {
	EL_TAP_NEIGHBOUR = 1, /* ARP and ICMPv6 */
	EL_TAP_ICMP = 2,
	EL_TAP_UDP = 4,  /* UDP that no RUDPConn claims */
	EL_TAP_COPY = 8, /* a copy: the EtherConn receives these as well */
};

/*
 * One reader on behalf of many EtherConns, so that ten thousand hosts are answered for by one task; frame->conn says
 * to which EtherConn a frame came. NULL: out of memory, or the relay has a tap. It ends with the relay; the struct
 * stays valid until el_tap_free.
 */
struct el_endpoint *el_tap_open(struct el_relay *relay, uint32_t recv_depth, uint32_t id);
void el_tap_free(struct el_endpoint *tap);
/*
 * What the tap receives of the EtherConn's frames from now on (EL_TAP_..., 0: nothing). A frame to a group reaches
 * many EtherConns, so the tap gets it only from those whose own MAC address is a group's.
 */
void el_conn_tap(struct el_conn *conn, uint32_t what);

/* ---- RUDPConn -------------------------------------------------------------------------------------------------- */

struct el_udp_opts {
	struct el_addr local; /* address 0.0.0.0 or :: receives what is sent to the port at any address */
	uint32_t accept_any;  /* receive all UDP that no other RUDPConn of the EtherConn claims */
	uint32_t ttl;         /* 64 */
	uint32_t tos;
	uint32_t no_checksum; /* send UDP over IPv4 with checksum 0 (RFC 768: none) */
	uint32_t recv_depth;  /* 0: the relay's */
	uint32_t id;
};

struct el_udp {
	struct el_endpoint ep;
	struct el_node by_key, by_conn;
	struct el_conn *owner;
	struct el_addr local;
	struct el_addr peer; /* after connect: receive from it alone; version 0: from all */
	uint16_t ip_id;
	uint8_t ttl, tos;
	uint8_t accept_any, no_checksum;
	uint8_t pad[2];
};

struct el_udp *el_udp_open(struct el_conn *conn, const struct el_udp_opts *opts, char err[EL_ERR_MAX]);
void el_udp_close(struct el_udp *udp);
void el_udp_free(struct el_udp *udp);
/* Gives it another local address; -EADDRINUSE when another RUDPConn of the EtherConn has it. */
int el_udp_rebind(struct el_udp *udp, const struct el_addr *local);
/*
 * Bytes of UDP payload that fit a datagram to an address of the given IP version, in fragments when the conn may; 0:
 * at most an empty one.
 */
uint32_t el_udp_mtu(const struct el_udp *udp, int version);

/*
 * Sends one datagram. from NULL: the local address. mac NULL: the group MAC of a multicast address (RFC 1112 6.4, RFC
 * 2464 7), else broadcast. Errors as el_conn_send, and -EAFNOSUPPORT when to and from are of different IP versions.
 */
int el_udp_send(struct el_udp *udp, const void *payload, uint32_t len, const struct el_addr *to,
                const struct el_addr *from, const struct el_mac *mac);

/* ---- network devices and namespaces ---------------------------------------------------------------------------- */

enum { EL_INTERFACE_ADDRS = 8 };

/* A network interface, as far as the system tells. Each of its texts is a name of it for relays of the kind pcap. */
struct el_interface {
	char name[128];        /* "eth1", "Ethernet 2" */
	char description[128]; /* Windows: such as the card's maker and model; else "" */
	char device[128];      /* Windows: Npcap's name; else "" */
	struct el_mac mac;
	uint16_t up;
	uint16_t ethernet; /* it has a MAC address */
	uint16_t pad;
	uint32_t mtu;
	uint32_t addr_count;
	struct el_addr addrs[EL_INTERFACE_ADDRS]; /* the first ones */
};

/* The interfaces that are there, max of them at most. How many, or -errno and a line in err. */
int el_interfaces(struct el_interface *out, uint32_t max, char err[EL_ERR_MAX]);
/* What relays of the kind pcap work with, in a line; -errno, and why there is nothing. */
int el_pcap_about(char line[EL_ERR_MAX]);

/*
 * A file descriptor of a network namespace, or -errno: NAME under /run/netns, a path when the name contains a slash,
 * the namespace of a process when it is a number, the one that the thread is in when it is NULL. -EINVAL: the file is
 * there but is no network namespace. All namespace descriptors are close-on-exec.
 */
int el_netns_open(const char *name);
/* A new network namespace, kept alive by the returned file descriptor alone; the thread stays where it was. */
int el_netns_new(void);
/* Moves the thread into the namespace. */
int el_netns_enter(int fd);
/*
 * Moves the process into a user namespace of its own in which it is root, and into a new network namespace. There is
 * no way back. Only while it has a single thread (-EINVAL). -EPERM, -ENOSPC: the kernel's settings do not allow it.
 */
int el_userns_enter(void);
void el_fd_close(int fd);
/* Whether the process may become this user: a line in err and -errno when not. */
int el_user_check(const char *name, char err[EL_ERR_MAX]);
/*
 * Becomes it for good: its groups, its ids, no capability, and none by files that are run later. Only while the process
 * has a single thread. After an error it may have some of the rights still, and should end.
 */
int el_user_become(const char *name, char err[EL_ERR_MAX]);
/* Whether the process may change BPF maps that are open, as xdp relays do for new endpoints. */
int el_user_may_change_maps(void);
/*
 * Starts the program argv[0] (looked up in PATH; argv ends with NULL) in the network namespace netns (-1: this one),
 * in a session of its own, standard input empty, output and errors appended to the file `log` (NULL: inherited), no
 * other file inherited. It is killed when the calling thread ends, however that ends. Returns its process id or
 * -errno, the program's own failure to start included.
 */
int el_process_start(const char *const *argv, int netns, const char *log);
/*
 * Starts a program likewise, as one of the processes of one run: it has the caller's standard output and errors, and
 * the descriptor fd under the same number. When the calling thread ends it is asked to end (SIGTERM).
 */
int el_process_start_rank(const char *const *argv, int fd);
/*
 * Whether this file can be such a log: -errno and a line in err when not. It is made when it is not there, for its
 * owner alone (mode 0600); no link is followed in a folder that others may write to.
 */
int el_process_check_log(const char *path, char err[EL_ERR_MAX]);
/*
 * A file in memory for the log of a command, or -errno. Its path is /proc/self/fd/NUMBER, here and for
 * el_process_start; it is gone with the descriptor, however the process ends.
 */
int el_process_log(void);
/*
 * The process's state, without blocking: -EAGAIN while it runs, then once its exit status (128 + number when a signal
 * ended it), -ECHILD after that.
 */
int el_process_status(int pid);
/* The same, after waiting for its end at most so long; less when a signal comes. Blocks the whole thread. */
int el_process_wait(int pid, double seconds);
/* A file descriptor, the caller's, that is readable from the process's end on, or -errno: for el_wait_fd. */
int el_process_fd(int pid);
/* Sends a signal to the process and those it has started (0: none, just asks whether one is there). */
int el_process_signal(int pid, int number);

/* ---- connections ----------------------------------------------------------------------------------------------- */

/*
 * Between the processes of one run, on the network of the machine itself. Nothing here blocks; descriptors are
 * close-on-exec, the caller's, and for el_wait_fd. Errors are -errno.
 */

/* Two that are connected. */
int el_socket_pair(int fds[2]);
/* One that takes connections at every address of this machine, at *port, which is set. */
int el_socket_listen(uint16_t *port);
/* The next connection to such a one. -EAGAIN: there is none. */
int el_socket_accept(int fd);
/* One that is being connected: it is readable when it has failed, or when the other end has said something. */
int el_socket_connect(const struct el_addr *to);
/* The addresses of this machine that are not of a link alone, max of them at most. Returns how many. */
uint32_t el_socket_addrs(struct el_addr *out, uint32_t max);
/* How many bytes have come, at most size; 0: the other end has closed. -EAGAIN: none yet. */
int el_socket_read(int fd, void *buffer, uint32_t size);
/* How many of the bytes were taken. -EAGAIN: none, as the other end does not read. */
int el_socket_write(int fd, const void *bytes, uint32_t len);

/* ---- histograms ------------------------------------------------------------------------------------------------ */

enum { EL_HISTOGRAM_BUCKETS = 44 * 128 + 1 };

/*
 * How often which time was recorded, in log-linear buckets: 128 an octave, from 2^-30 s (1 ns) to 2^14 s (4.5 hours),
 * so a bucket's bounds are less than 0.8 % apart. Shorter times are in the first bucket, longer ones in one more at
 * the end. The caller's memory; all zero is empty. lowest and highest are exact, and 0 while nothing is recorded.
 */
struct el_histogram {
	uint64_t recorded;
	uint64_t refused; /* that were no times: negative, infinite, not a number */
	double lowest, highest, sum;
	uint64_t bucket[EL_HISTOGRAM_BUCKETS];
};

void el_histogram_record(struct el_histogram *histogram, double seconds);
/* Adds what `other` has recorded and refused. */
void el_histogram_add(struct el_histogram *histogram, const struct el_histogram *other);
/*
 * The time that `share` (0 to 1) of the values do not exceed, as the upper bound of its bucket, but never more than
 * highest. 0: lowest. 1: highest.
 */
double el_histogram_percentile(const struct el_histogram *histogram, double share);
