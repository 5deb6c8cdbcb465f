/*
 * blast.h: the data of blast.bpf.c, as blast.c sets and reads it.
 */
#pragma once

struct blast_constants {
	__u32 endpoints; /* destination MAC addresses in turn */
	__u32 pad;
	__u64 interval; /* nanoseconds between two frames, 0: as fast as it goes */
};

struct blast_state {
	__u64 sent; /* frames */
	__u64 due;  /* when the next one may go: the kernel's monotonic clock */
	__u32 next; /* MAC address */
};
