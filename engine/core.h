/*
 * core.h: what the C files of the engine share with each other, grouped by the file that owns it. Nothing here is
 * visible outside the library; that is abi.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#pragma GCC visibility push(default)
#include "abi.h"
extern const char el_abi_text[];
#pragma GCC visibility pop

/* abi.c: the steering program as an ELF object */
extern const char el_steer_program[];
extern const uint64_t el_steer_size;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum {
	ETHERTYPE_IP4 = 0x0800,
	ETHERTYPE_ARP = 0x0806,
	ETHERTYPE_IP6 = 0x86dd,
	ETHERTYPE_DOT1Q = 0x8100,  /* IEEE 802.1Q customer tag */
	ETHERTYPE_DOT1AD = 0x88a8, /* IEEE 802.1ad service tag */
	ETHERTYPE_QINQ = 0x9100,   /* service tag before it had a number */
	PROTO_ICMP = 1,
	PROTO_UDP = 17,
	PROTO_ICMP6 = 58,
	ETH_HEADER = 14,
	IP4_HEADER = 20,
	IP6_HEADER = 40,
	UDP_HEADER = 8,
	TAG_LEN = 4,
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline bool el_is_tpid(uint16_t ethertype)
{
	return ethertype == ETHERTYPE_DOT1Q || ethertype == ETHERTYPE_DOT1AD || ethertype == ETHERTYPE_QINQ;
}

/* How struct el_frame says that so many bytes are missing. */
static inline uint16_t el_cut(uint32_t missing)
{
	return missing < UINT16_MAX ? (uint16_t)missing : UINT16_MAX;
}

static inline bool el_frame_is_tagged(const struct el_frame *frame)
{
	return frame->len >= ETH_HEADER && el_is_tpid(get16(frame->data + 12));
}

/* ---- abi.c ---- */

extern _Atomic int64_t live_engines, live_relays, live_conns, live_udps;

/* Writes a printf-like line into err and returns code, so that an open function can end with it. */
int el_fail(char err[EL_ERR_MAX], int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- pool.c: the memory that all frames of a relay live in ---- */

/* Builds with the address sanitizer also find who touches unused frames, and bytes behind a received frame. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

struct el_pool {
	uint8_t *memory; /* count * frame_size bytes, page aligned, touched only when used */
	struct el_frame *frames;
	struct el_frame *free; /* used ones that came back, last first: their memory is in the cache */
	uint32_t count, fresh; /* frames[fresh ...] have never been used */
	uint32_t frame_size;
	uint32_t hand; /* where eviction looks next */
	size_t large;  /* bytes of frames that are too large for frame_size */
};

int el_pool_open(struct el_pool *pool, uint32_t count, uint32_t frame_size);
void el_pool_close(struct el_pool *pool);
/* A frame with data set and len 0, or NULL when all are in use. */
struct el_frame *el_pool_get(struct el_pool *pool);
/* Gives a frame of el_pool_get() memory of its own for so many bytes, until el_pool_put(). */
int el_pool_enlarge(struct el_frame *frame, uint32_t len);
void el_pool_put(struct el_frame *frame);
/* For the sanitizer: the frame is complete, nobody has to touch what is behind it. */
static inline void el_pool_seal(const struct el_frame *frame)
{
	const struct el_pool *pool = frame->pool;
	uint8_t *end = pool->memory + (size_t)(frame - pool->frames + 1) * pool->frame_size;

	if (frame->flags & EL_FRAME_LARGE)
		return;
	ASAN_POISON_MEMORY_REGION(frame->data + frame->len, (size_t)(end - frame->data) - frame->len);
}
/* A frame with these flags that waits in an endpoint's queue and is the one to be evicted; NULL when none waits. */
struct el_frame *el_pool_queued(struct el_pool *pool, uint16_t flags);

/* ---- table.c: hash table and lists of nodes that are members of other structs ---- */

struct el_table {
	struct el_node **bucket;
	uint32_t mask, count;
};

/* Adds node under hash; -ENOMEM when the table cannot grow. */
int el_table_add(struct el_table *table, struct el_node *node, uint32_t hash);
void el_table_remove(struct el_table *table, struct el_node *node);
void el_table_close(struct el_table *table);
void el_list_add(struct el_node **list, struct el_node *node);
/* Takes node out of the list or chain that it is in; does nothing when it is in none. */
void el_node_unlink(struct el_node *node);

/* First of the chain in which nodes with this hash are; NULL when empty. */
static inline struct el_node *el_table_chain(const struct el_table *table, uint32_t hash)
{
	return table->bucket ? table->bucket[hash & table->mask] : NULL;
}

/* ---- parse.c: frame -> offsets and keys ---- */

/* Identity of an L2 endpoint: word 0 holds the number of tags and the MAC, words 1 and 2 TPID << 16 | VID of each. */
struct el_key {
	uint64_t word[3];
};

void el_key_make(struct el_key *key, const struct el_mac *mac, const struct el_vlans *vlans);
/* The key of the VLAN stack alone, which the index of group frames uses. */
void el_key_strip_mac(struct el_key *key);
uint32_t el_key_hash(const struct el_key *key);
enum { EXTENSION_HOP = 0, EXTENSION_ROUTING = 43, EXTENSION_FRAGMENT = 44 };

/* Whether it is the number of an IPv6 extension header that is followed. */
bool el_is_extension(uint8_t type);
/* Bytes of the one at p, of which at least 2 are there. */
uint32_t el_extension_len(uint8_t type, const uint8_t *p);
/* Fills the offsets of frame (data and len are set) and its key. -EBADMSG when a length in it cannot be. */
int el_frame_parse(struct el_frame *frame, struct el_key *key);

/* A fragment of a packet. */
struct el_fragment {
	uint32_t head_len; /* bytes of the frame that stand in front of the whole packet's data, too */
	uint32_t at, len;  /* its data: where in the frame, how many bytes */
	uint32_t offset;   /* of these in the packet's data */
	uint32_t id;
	uint32_t next;    /* IPv6: where in the head it says that a fragment header follows; 0: IPv4 */
	uint8_t protocol; /* of what its data is a part of */
	bool more;
};

/* What a frame with EL_FRAME_FRAGMENT says. -EBADMSG when its length or offset cannot be. */
int el_fragment_parse(const struct el_frame *frame, struct el_fragment *out);

/* ---- filter.c: pcap-filter text ---- */

/* Lets the kernel do what it can for the packet socket fd, from `now` on. filter NULL: lets everything in. */
int el_filter_attach(struct el_filter *filter, int fd, double now);

/* ---- netdev.c ---- */

/* Copies given to name when it can be an interface's. */
int el_interface_name(char name[16], const char *given, char err[EL_ERR_MAX]);
/* Sets *ifindex and the relay's mac and mtu; an error when there is no such interface, or it is down. fd: any socket. */
int el_interface_facts(int fd, const char *name, struct el_relay *relay, int *ifindex, char err[EL_ERR_MAX]);
/* Fails with -EPERM, and the line that says what opening the interface needs. */
int el_interface_refused(const char *name, char err[EL_ERR_MAX]);
/* 0 up, ENETDOWN down, ENXIO no more. fd: any socket of the interface's namespace. */
int el_interface_state(int fd, int ifindex);

/* ---- packet.c: an AF_PACKET socket with a receive ring ---- */

struct el_packet {
	int fd, ifindex;
	uint8_t *ring;
	uint32_t slots, slot_size, next;
	char interface[16];
};

/* Opens it, not bound yet; sets relay's mac and mtu. el_packet_close() also after a failure. */
int el_packet_open(struct el_packet *packet, struct el_relay *relay, const char *interface,
                   const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
/* Frames come in from here on. */
int el_packet_bind(struct el_packet *packet, char err[EL_ERR_MAX]);
uint32_t el_packet_recv(struct el_packet *packet, struct el_relay *relay, struct el_frame **frames, uint32_t max);
/* Frames lost by the kernel since the last call. */
uint64_t el_packet_missed(struct el_packet *packet);
/* After an error of the socket: as el_interface_state(). */
int el_packet_state(struct el_packet *packet);
void el_packet_close(struct el_packet *packet);

/* ---- offload.c: the receive offload that hides VLAN tags from XDP programs ---- */

struct el_offload {
	int keeper, pipe; /* the process that switches it on again, once this end of the pipe is closed; 0: none */
};

/* Switches it off where it is on and can be. fd: any socket of the interface's namespace. */
void el_offload_suspend(struct el_offload *offload, int fd, int ifindex);
void el_offload_restore(struct el_offload *offload);

/* ---- steer.c: the XDP program of an interface ---- */

struct bpf_object;

struct el_steer {
	struct bpf_object *object;
	int program, link;      /* file descriptors; the link is the attachment */
	int beside;             /* the program for the packet socket; -1 with a program that the user brought */
	int endpoints, sockets; /* maps; a program that the user brought may have no endpoints (-1) */
	bool native;
	char detail[56]; /* the mode that was picked, and why */
};

/* Loads and attaches to the packet's interface. el_steer_close() also after a failure. */
int el_steer_open(struct el_steer *steer, const struct el_packet *packet, const struct el_relay_opts *opts,
                  char err[EL_ERR_MAX]);
void el_steer_close(struct el_steer *steer);
/* Frames of this queue that are steered go to the AF_XDP socket. */
int el_steer_socket(const struct el_steer *steer, uint32_t queue, int fd);
/* Frames to the MAC address and VLAN stack of conn are steered, or no more. */
int el_steer_claim(const struct el_steer *steer, const struct el_conn *conn, bool on);

/* ---- relay.c ---- */

/* What a relay kind does; a new kind is a file with one of these and a line in relay.c's table. */
struct el_kind {
	const char *name;
	/* Sets relay's mac, mtu and private data. */
	int (*open)(struct el_relay *relay, const char *name, const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
	/* The frame memory is there: frames may come in now. May be NULL. */
	int (*start)(struct el_relay *relay, const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
	/*
	 * Up to max received frames, from el_relay_frame(), data and len and timestamp set, EL_FRAME_OUTGOING for those
	 * that the host sent. NULL: nothing to poll.
	 */
	uint32_t (*recv)(struct el_relay *relay, struct el_frame **frames, uint32_t max);
	/* Takes frames from the front; calls el_relay_sent() for each that it is done with; returns how many. */
	uint32_t (*send)(struct el_relay *relay, struct el_frame **frames, uint32_t count);
	/* A file descriptor reported an error: tells el_relay_state() how the interface is. */
	void (*trouble)(struct el_relay *relay);
	/* Takes the filter to the kernel (NULL: takes it away). May be NULL: relay.c filters. */
	int (*filter)(struct el_relay *relay, struct el_filter *filter);
	/* An EtherConn joins or leaves. NULL: the demux alone decides. */
	int (*claim)(struct el_relay *relay, const struct el_conn *conn, bool on);
	/* Brings relay->stats.rx_missed up to date. */
	void (*count)(struct el_relay *relay);
	void (*close)(struct el_relay *relay);
};

extern const struct el_kind el_kind_afpacket, el_kind_file, el_kind_pcap, el_kind_wire, el_kind_xdp;

struct el_relay {
	const struct el_kind *kind;
	struct el_engine *engine;
	struct el_relay *next; /* of the engine's */
	void *private;         /* the kind's */
	int ended;             /* nothing more is received: why, as el_wait_frame() says */
	double wake_at;        /* the next frame is due then, by the engine's clock; INFINITY: nothing is known */
	int64_t wall_offset; /* nanoseconds: time since 1970 of a received frame minus its time by the engine's clock */
	int tx_error;        /* of the last frame that could not be sent; 0 once one was */
	struct el_mac mac;
	uint32_t mtu, recv_depth;
	uint32_t headroom; /* bytes that the kernel needs in front of a received frame */
	char name[64], detail[64];
	struct el_pool pool;
	struct el_frame *tx[EL_BURST]; /* wait for the flush */
	uint32_t tx_count;
	struct el_frame *backlog; /* more of them, fragments of one packet; only while tx is full */
	uint32_t backlog_count;
	uint32_t tx_inflight;        /* are in a ring of the kernel's */
	struct el_table by_key;      /* EtherConns by MAC and VLAN stack */
	struct el_table by_group;    /* those that receive group frames, by VLAN stack */
	struct el_table udps;        /* RUDPConns by EtherConn, address and port */
	struct el_node *conns;       /* all EtherConns but the default one */
	struct el_node *promiscuous; /* those that receive group frames of any VLAN stack */
	struct el_conn *default_conn;
	struct el_endpoint *tap; /* NULL: none */
	struct el_stats stats;
	struct el_capture *capture;
	struct el_filter *filter;         /* NULL: none */
	struct el_fragmenter *fragmenter; /* NULL: no endpoint needs one */
	struct el_reassembly *reassembly; /* NULL: no endpoint needs one */
};

/* A frame to receive into or to send from; evicts a queued one when the pool is used up. NULL: all are borrowed. */
struct el_frame *el_relay_frame(struct el_relay *relay);
/* One for so many bytes, which may be too many for the pool. NULL also when there are too many such frames. */
struct el_frame *el_relay_large_frame(struct el_relay *relay, uint32_t len);
/* A frame with these bytes, of `len` on the wire: as many as there are and have room. One that was cut is invalid. */
struct el_frame *el_relay_copy_in(struct el_relay *relay, const uint8_t *bytes, uint32_t have, uint32_t len);
/* How the interface is: 0, ENETDOWN or ENXIO. One that is down is looked at again: nobody tells when it is deleted. */
void el_relay_state(struct el_relay *relay, int state);
/* Nothing more will be received: readers return once their queues are empty. error: see relay->ended. */
void el_relay_end(struct el_relay *relay, int error);
/* A received frame enters: counted, parsed, handed to its endpoints. Takes ownership. */
void el_relay_input(struct el_relay *relay, struct el_frame *frame);
/* One turn of the loop: a burst is received. Returns the number of frames. */
uint32_t el_relay_pump(struct el_relay *relay);

/* ---- transmit.c ---- */

/* A slot to write a frame into (data is set); NULL and *error when there is no room. el_relay_commit sends it. */
struct el_frame *el_relay_slot(struct el_relay *relay, int *error);
int el_relay_commit(struct el_relay *relay, struct el_frame *frame);
/* The same for a list of `count` of them, 1 or more: there is room for all, or NULL is returned. */
struct el_frame *el_relay_slots(struct el_relay *relay, uint32_t count, int *error);
int el_relay_commit_all(struct el_relay *relay, struct el_frame *frames, uint32_t count);
/* The kind is done with a frame of its send(): error 0 when the interface took it. Counts; the frame stays the kind's. */
void el_relay_sent(struct el_relay *relay, struct el_frame *frame, int error);
/* The same for several, which go back to the pool. Returns count. */
uint32_t el_relay_finish(struct el_relay *relay, struct el_frame **frames, uint32_t count, int error);

/* ---- relay_wire.c ---- */

/* Sets the MTU of a relay that has no interface to ask: what opts says, else the standard one. */
int el_wire_mtu(struct el_relay *relay, const struct el_relay_opts *opts, uint32_t standard, char err[EL_ERR_MAX]);

/* ---- demux.c: keys -> endpoints ---- */

/* Hands the parsed frame to whoever wants it; one that the host sent is for a mirror alone. Takes ownership. */
void el_demux(struct el_relay *relay, struct el_frame *frame, const struct el_key *key);
/* Hands a frame that does not parse to the default endpoint, if that wants such. Takes ownership. */
void el_demux_invalid(struct el_relay *relay, struct el_frame *frame);
/* Copies a frame that was sent to the mirror, if there is one. */
void el_demux_mirror(struct el_relay *relay, const struct el_frame *frame);
/* Endpoint functions: start, end, and throw away the oldest queued frame, counting it in *counter. */
void el_endpoint_open(struct el_endpoint *ep, struct el_relay *relay, uint32_t kind, uint32_t depth, uint32_t id);
void el_endpoint_close(struct el_endpoint *ep);
void el_endpoint_drop(struct el_endpoint *ep, uint64_t *counter);
/* The EtherConn with this key that claims the EtherType. */
struct el_conn *el_demux_conn(struct el_relay *relay, const struct el_key *key, uint32_t hash, uint16_t ethertype);
uint32_t el_demux_udp_hash(const struct el_conn *conn, const struct el_addr *local);
struct el_udp *el_demux_udp_exact(const struct el_conn *conn, const struct el_addr *local);

/* ---- conn.c ---- */

/* The kernel lets a frame be a tag longer than the MTU when its outer tag is an 802.1Q one (packet_snd). */
static inline uint32_t el_spare(uint16_t outer_tpid)
{
	return outer_tpid == ETHERTYPE_DOT1Q ? TAG_LEN : 0;
}

bool el_conn_claims(const struct el_conn *conn, uint16_t ethertype);
/* A slot for a frame with a payload of len bytes, Ethernet header and tags written; *body is where the payload goes. */
struct el_frame *el_conn_slot(struct el_conn *conn, uint32_t len, const struct el_mac *dst, uint16_t ethertype,
                              const struct el_send_opts *opts, uint8_t **body, int *error);
/* Bytes of payload that fit one frame with these options. */
uint32_t el_conn_room(const struct el_conn *conn, const struct el_send_opts *opts);
/* Writes the Ethernet header of a frame with a payload of len bytes; returns where that goes. */
uint8_t *el_conn_header(const struct el_conn *conn, struct el_frame *frame, uint32_t len, const struct el_mac *dst,
                        uint16_t ethertype, const struct el_send_opts *opts);

/* ---- fragment.c: IP packets that do not fit the MTU ---- */

enum { EL_IP_MAX = UINT16_MAX + IP6_HEADER }; /* bytes of the largest IP packet */

/* What a relay needs to send them. */
struct el_fragmenter {
	uint32_t seed, count;      /* for identifications */
	uint8_t packet[EL_IP_MAX]; /* one that is written before it is cut */
};

/* Gives the relay one, unless it has one: freed when the relay closes. */
int el_fragmenter_open(struct el_relay *relay);
/* An identification for IPv4 that the relay's last 65,535 packets did not have. */
uint16_t el_fragmenter_id4(struct el_fragmenter *fragmenter);
/* Sends a packet in fragments: errors as el_conn_send(), -EMSGSIZE also for what cannot be cut. */
int el_fragment_send(struct el_conn *conn, const uint8_t *packet, uint32_t len, const struct el_mac *dst,
                     uint16_t ethertype, const struct el_send_opts *opts);

/* ---- incomplete.c: packets of which fragments are missing; the rest of it is in incomplete.h ---- */

/* Makes the relay ready for them, if it is not yet. */
int el_reassembly_open(struct el_relay *relay);
/* Drops packets that have waited too long; those of an EtherConn that closes. */
void el_reassembly_expire(struct el_relay *relay);
void el_reassembly_forget(const struct el_conn *conn);
void el_reassembly_close(struct el_relay *relay);

/* ---- reassemble.c: whole packets out of fragments ---- */

/* Takes a fragment for conn. Returns the frame of the whole packet, to be parsed, when this completed it, else NULL. */
struct el_frame *el_reassemble(struct el_conn *conn, struct el_frame *frame);

/* ---- watch.c: the files that end the loop's sleep ---- */

struct pollfd;

struct el_watch {
	int epoll;                /* files that tasks wait for, and signals */
	struct pollfd *polled;    /* epoll, then files of relays */
	struct el_relay **relays; /* of the same places; NULL for epoll */
	uint32_t count;
};

/* el_watch_close() also after a failure. */
int el_watch_open(struct el_watch *watch);
void el_watch_close(struct el_watch *watch);
/* fd belongs to the relay: what happens to it ends the loop's sleep. */
int el_watch_relay(struct el_relay *relay, int fd, char err[EL_ERR_MAX]);
void el_unwatch_relay(const struct el_relay *relay);
/* The task becomes ready, once, when fd is readable. */
int el_watch_task(struct el_engine *engine, int fd, uint32_t task);
/* fd becomes readable when a signal was counted. */
int el_watch_signals(struct el_engine *engine, int fd);
/* Waits for any of them; timeout NULL: for ever. Wakes tasks, and tells relays of trouble with their files. */
void el_watch_wait(struct el_engine *engine, const struct timespec *timeout);

/* ---- loop.c ---- */

struct task;
struct timer;

/* Whether the loop spins before it sleeps. */
struct el_spin {
	double since;           /* the last frames came then */
	bool brisk;             /* they came soon after those before */
	bool spun;              /* the loop has spun since */
	uint32_t skip, penalty; /* sleeps until spinning is tried again; how many the last failure was worth */
};

struct el_engine {
	struct el_watch watch;
	struct el_spin spin;
	struct el_relay *relays;
	struct task *tasks; /* by id */
	uint32_t task_count;
	struct timer *heap; /* earliest first */
	uint32_t timers;
	uint32_t *ready[2]; /* being filled, handed out */
	uint32_t ready_count;
	double now;
	double files_at;     /* files are looked at by then */
	int64_t wall_offset; /* nanoseconds: wall clock minus the engine's clock */
	int signals_seen;
};

/* Nanoseconds since 1970, as of this turn of the loop. */
static inline int64_t el_engine_wall(const struct el_engine *engine)
{
	return engine->wall_offset + (int64_t)(engine->now * 1e9);
}
/* Makes a task ready, once. */
void el_engine_wake(struct el_engine *engine, uint32_t task);
