/*
 * packet_socket.h: an AF_PACKET socket with a receive ring, which hands over each frame at once and needs no system
 * call while frames keep coming. The outer VLAN tag, which the kernel takes out of every frame, is put back. All that
 * is changed on the interface is a promiscuous membership of the socket, which ends with it. The relay kinds afpacket
 * and xdp own one each.
 */
#pragma once

#include <net/if.h>

#include "common.h"

struct el_packet_socket {
	int fd, ifindex;
	uint8_t *ring;
	uint32_t slots, slot_size, next;
	double empty_at; /* there was no frame then */
	char interface[IFNAMSIZ];
};

/* Opens it, not bound yet; sets relay's mac and mtu. el_packet_socket_close() also after a failure. */
int el_packet_socket_open(struct el_packet_socket *self, struct el_relay *relay, const char *interface,
                          const struct el_relay_opts *opts, char err[EL_ERR_MAX]);
/* Frames come in from here on. */
int el_packet_socket_bind(struct el_packet_socket *self, char err[EL_ERR_MAX]);
/* As recv() of struct el_kind. */
uint32_t el_packet_socket_recv(struct el_packet_socket *self, struct el_relay *relay, struct el_frame **frames,
                               uint32_t max);
/* Frames lost by the kernel since the last call. */
uint64_t el_packet_socket_missed(struct el_packet_socket *self);
/* After an error of the socket: as el_netdev_state(). */
int el_packet_socket_state(struct el_packet_socket *self);
void el_packet_socket_close(struct el_packet_socket *self);
