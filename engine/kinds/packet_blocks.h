/*
 * packet_blocks.h: a second AF_PACKET socket beside one of packet_socket.h, for times when frames come fast. The kernel
 * hands over whole blocks of them (TPACKET_V3), which costs it a third of what a ring does that shows each frame at
 * once, but a frame may wait for its block for some milliseconds. Both sockets are a fanout group: each frame goes to
 * one of them, which a word in memory that the kernel's program for the group reads tells, so changing it takes nothing
 * and loses nothing.
 */
#pragma once

#include "kinds/packet_socket.h"

struct el_packet_blocks {
	int fd;           /* -1: there are none */
	int word;         /* the map that has the word */
	uint32_t *chosen; /* the word: which socket of the group gets frames */
	uint8_t *ring;
	uint32_t next;     /* block that is read, or will be */
	uint32_t left;     /* frames of it that are not read yet */
	const uint8_t *at; /* the first of these */
	double empty_at;   /* no block waited then */
};

/*
 * Opens them beside a socket that is bound; frames go to that. Where it is not possible (CAP_BPF is missing, or memory)
 * there are none, which is no error. el_packet_blocks_close() in any case.
 */
void el_packet_blocks_open(struct el_packet_blocks *self, const struct el_packet_socket *socket);
/* From now on frames come in blocks, or to the socket again. */
void el_packet_blocks_choose(struct el_packet_blocks *self, bool on);
/* As recv() of struct el_kind. */
uint32_t el_packet_blocks_recv(struct el_packet_blocks *self, const struct el_packet_socket *socket,
                               struct el_relay *relay, struct el_frame **frames, uint32_t max);
/* Whether no frame waits, not even in a block that the kernel has not handed over yet. */
bool el_packet_blocks_is_empty(const struct el_packet_blocks *self);
void el_packet_blocks_close(struct el_packet_blocks *self);
