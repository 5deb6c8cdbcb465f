/*
 * pcap.c: the relay kind pcap by Npcap, or what has its functions. What passes on an interface is heard both ways, own
 * frames too: so frames that were just sent are known again.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "fail.h"
#include "frame_memory.h"
#include "kind.h"
#include "os/windows/interfaces.h"
#include "os/windows/npcap.h"
#include "relay.h"
#include "transmit.h"
#include "watch.h"
#include "wire_format.h"

enum { BUFFER_BYTES = 16 << 20, LOOK_MS = 1, SENT_MAX = 256 };

static const double LOOK = LOOK_MS * 1e-3; /* seconds between two looks where no event tells of frames */

struct live {
	const struct npcap *npcap;
	pcap_t *handle;
	bool is_told;            /* there is an event */
	bool outgoing;           /* what the host sends is heard */
	int unit;                /* nanoseconds, of what stands behind the second of a time stamp */
	double empty_at;         /* there was no frame then */
	uint64_t sent[SENT_MAX]; /* digests of the last frames, 0: came back, or never was */
	uint32_t sent_count;
};

/* ---- own frames ---- */

/* FNV-1a, never 0. */
static uint64_t digest_of(const uint8_t *bytes, uint32_t len)
{
	uint64_t digest = 0xcbf29ce484222325;

	for (uint32_t i = 0; i < len; i++)
		digest = (digest ^ bytes[i]) * 0x100000001b3;
	return digest ? digest : 1;
}

static void remember(struct live *self, const struct el_frame *frame)
{
	self->sent[self->sent_count++ % SENT_MAX] = digest_of(frame->data, frame->len);
}

static bool is_own(struct live *self, const uint8_t *bytes, uint32_t len)
{
	uint64_t digest = self->sent_count ? digest_of(bytes, len) : 0;

	for (uint32_t i = 0; i < SENT_MAX && i < self->sent_count; i++) {
		if (self->sent[i] != digest)
			continue;
		self->sent[i] = 0;
		return true;
	}
	return false;
}

static bool is_of_host(const struct el_relay *relay, const uint8_t *bytes, uint32_t len)
{
	return len >= ETH_HEADER && !memcmp(bytes + 6, relay->mac.byte, 6);
}

/* ---- opening ---- */

static int activate(struct live *self, const struct el_interface *facts, char err[EL_ERR_MAX])
{
	const struct npcap *npcap = self->npcap;
	char reason[PCAP_ERRBUF_SIZE] = "";
	int error;

	self->handle = npcap->create(facts->device, reason);
	if (!self->handle)
		return el_fail(err, -EINVAL, "%s: %.150s", facts->name, reason);
	npcap->set_snaplen(self->handle, (int)(ETH_HEADER + EL_TAGS_MAX * TAG_LEN + facts->mtu));
	npcap->set_buffer_size(self->handle, BUFFER_BYTES);
	npcap->set_promisc(self->handle, 1); /* its addresses are no card's */
	npcap->set_timeout(self->handle, LOOK_MS);
	if (npcap->set_immediate_mode)
		npcap->set_immediate_mode(self->handle, 1);
	self->unit = 1000;
	if (npcap->set_tstamp_precision && !npcap->set_tstamp_precision(self->handle, PCAP_TSTAMP_PRECISION_NANO))
		self->unit = 1;
	error = npcap->activate(self->handle);
	if (error < 0)
		return el_fail(err, -EIO, "%s: %.150s", facts->name,
		               error == PCAP_ERROR ? npcap->geterr(self->handle) : npcap->statustostr(error));
	if (npcap->setnonblock(self->handle, 1, reason))
		return el_fail(err, -EIO, "%s: %.150s", facts->name, reason);
	return 0;
}

static int open_interface(struct el_relay *relay, const char *name, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct live *self = calloc(1, sizeof *self);
	struct el_interface facts;
	int error;

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	self->outgoing = opts->outgoing;
	self->empty_at = el_clock_now(relay->engine);
	self->npcap = el_npcap(err);
	if (!self->npcap)
		return -ENODEV;
	error = el_interface_find(&facts, name, err);
	if (error)
		return error;
	relay->mac = facts.mac;
	relay->mtu = facts.mtu;
	error = activate(self, &facts, err);
	if (error || !self->npcap->getevent)
		return error;
	self->is_told = true;
	return el_watch_relay(relay, (int)(intptr_t)self->npcap->getevent(self->handle), err);
}

static void close_interface(struct el_relay *relay)
{
	struct live *self = relay->private;

	if (!self)
		return;
	if (self->handle)
		self->npcap->close(self->handle);
	free(self);
}

/* ---- receiving ---- */

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct live *self = relay->private;
	struct pcap_pkthdr *header;
	const uint8_t *bytes;
	uint32_t count = 0;
	int got = 0;

	while (count < max && (got = self->npcap->next_ex(self->handle, &header, &bytes)) == 1) {
		int64_t wall = (int64_t)header->ts.tv_sec * NS + (int64_t)header->ts.tv_usec * self->unit;
		bool is_outgoing = is_of_host(relay, bytes, header->caplen);
		struct el_frame *frame;

		if (is_own(self, bytes, header->caplen) || (is_outgoing && !self->outgoing))
			continue;
		frame = el_relay_copy_in(relay, bytes, header->caplen, header->len);
		if (!frame)
			continue;
		frame->flags |= is_outgoing ? EL_FRAME_OUTGOING : 0;
		frame->timestamp = el_clock_from_stamp(relay->engine, wall, self->empty_at);
		frames[count++] = frame;
	}
	relay->wake_at = self->is_told ? INFINITY : el_clock_now(relay->engine) + LOOK;
	if (got == 0)
		self->empty_at = el_clock_now(relay->engine);
	if (got == PCAP_ERROR)
		el_relay_set_link(relay, ENXIO);
	return count;
}

static void count_missed(struct el_relay *relay)
{
	struct live *self = relay->private;
	struct pcap_stat stats = {0};

	if (!self->npcap->stats(self->handle, &stats))
		relay->stats.rx_missed = stats.ps_drop;
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct live *self = relay->private;

	for (uint32_t i = 0; i < count; i++) {
		int error = self->npcap->sendpacket(self->handle, frames[i]->data, (int)frames[i]->len);

		if (!error)
			remember(self, frames[i]);
		el_relay_finish(relay, frames + i, 1, error ? EIO : 0);
	}
	return count;
}

const struct el_kind el_kind_pcap = {
	.name = "pcap",
	.open = open_interface,
	.recv = recv_frames,
	.send = send_frames,
	.count = count_missed,
	.close = close_interface,
};
