/*
 * packet_socket.h: an AF_PACKET socket with a receive ring, which hands over each frame at once and needs no system
 * call while frames keep coming. The outer VLAN tag, which the kernel takes out of every frame, is put back. All that
 * is changed on the interface is a promiscuous membership of the socket, which ends with it. The relay kinds afpacket
 * and xdp own one each.
 */
#pragma once

#include <linux/if_packet.h>
#include <net/if.h>

#include "common.h"

struct el_packet_socket {
	int fd, ifindex;
	uint8_t *ring;
	uint32_t slots, slot_size, next;
	double empty_at; /* there was no frame then */
	bool outgoing;   /* what others send through the interface is wanted, too */
	char interface[IFNAMSIZ];
};

/* A received frame as the kernel tells it, in any kind of ring. */
struct el_packet_slot {
	const uint8_t *data;
	const struct sockaddr_ll *address;
	int64_t stamp;              /* nanoseconds since 1970 */
	double since;               /* it came later, by the engine's clock */
	uint32_t kept, len, status; /* bytes that are here, and that it had; TP_STATUS_ flags */
	uint16_t tci, tpid;         /* of the tag that was taken out, as status says */
};

/* Any packet socket, not bound yet, and frames of the interface from then on. As socket() and bind(), errno set. */
int el_packet_socket_new(void);
int el_packet_socket_bind_to(int fd, int ifindex);
/* Opens it, not bound yet; sets relay's mac and mtu. el_packet_socket_close() also after a failure. */
int el_packet_socket_open(struct el_packet_socket *self, struct el_relay *relay, const char *interface,
                          const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
/* Frames come in from here on. */
int el_packet_socket_bind(struct el_packet_socket *self, char err[EL_ERR_MAX]);
/* As recv() of struct el_kind. */
uint32_t el_packet_socket_recv(struct el_packet_socket *self, struct el_relay *relay, struct el_frame **frames,
                               uint32_t max);
/* A frame of the relay's with what is in the slot; NULL when it is not wanted, or lost and counted. */
struct el_frame *el_packet_socket_frame(const struct el_packet_socket *self, struct el_relay *relay,
                                        const struct el_packet_slot *slot);
/* Frames lost by the kernel since the last call, of any packet socket with a ring. */
uint64_t el_packet_socket_missed(int fd);
/* The error of a packet socket has been seen: it is reported no more. */
void el_packet_socket_take_error(int fd);
/* After an error of the socket: as el_netdev_state(). */
int el_packet_socket_state(const struct el_packet_socket *self);
void el_packet_socket_close(struct el_packet_socket *self);
