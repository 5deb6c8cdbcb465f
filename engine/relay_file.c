/*
 * relay_file.c: receives from a pcap or pcapng file, as fast as it is read or with its own timing, and writes what is
 * sent to another pcap file (nowhere when none is named). At the end of the file readers get what is queued, then
 * "closed". As fast as it is read means no faster than endpoints are: nothing overflows while somebody still reads.
 */
#include <errno.h>
#include <math.h>
#include <pcap/pcap.h>
#include <stdlib.h>

#include "core.h"

enum { MTU = 9216, NS = 1000000000 };

struct file {
	pcap_t *input;
	struct el_capture *output;
	bool timing;
	struct pcap_pkthdr *header; /* of the frame that is due next, NULL: not read yet */
	const uint8_t *bytes;
	bool started;
	int64_t first;      /* time stamp of the first frame, nanoseconds */
	double start;       /* engine's time that it stands for */
	uint64_t delivered; /* frames that had been read when readers were last seen to be behind */
};

static int open_file(struct el_relay *relay, const char *path, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	char reason[PCAP_ERRBUF_SIZE] = "";
	struct file *self = calloc(1, sizeof *self);

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	relay->mtu = MTU;
	relay->mac = (struct el_mac){{0x02, 0, 0, 0, 0, 'f'}};
	self->timing = opts->timing;
	self->input = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, reason);
	if (!self->input && !strncmp(reason, path, strlen(path))) /* libpcap names the file in some of its reasons */
		return el_fail(err, -EIO, "cannot read capture file %.220s", reason);
	if (!self->input)
		return el_fail(err, -EIO, "cannot read capture file %.110s: %.110s", path, reason);
	if (pcap_datalink(self->input) != DLT_EN10MB)
		return el_fail(err, -EINVAL, "%s has link type %s: only Ethernet is possible", path,
		               pcap_datalink_val_to_name(pcap_datalink(self->input)));
	if (opts->output && !(self->output = el_capture_open(opts->output, err)))
		return -EIO;
	return 0;
}

static void close_file(struct el_relay *relay)
{
	struct file *self = relay->private;

	if (!self)
		return;
	if (self->input)
		pcap_close(self->input);
	if (self->output)
		el_capture_close(self->output);
	free(self);
}

/* ---- receiving ---- */

static int64_t stamp_of(const struct pcap_pkthdr *header)
{
	return (int64_t)header->ts.tv_sec * NS + header->ts.tv_usec;
}

/* Reads the next frame, if there is none yet. False at the end, or where the file is broken. */
static bool read_next(struct el_relay *relay, struct file *self)
{
	if (self->header)
		return true;
	if (pcap_next_ex(self->input, &self->header, &self->bytes) != 1) {
		self->header = NULL;
		el_relay_end(relay, ENODATA);
		return false;
	}
	if (self->started)
		return true;
	self->started = true;
	self->first = stamp_of(self->header);
	self->start = relay->engine->now;
	return true;
}

/* What readers do at the moment. */
struct reading {
	bool waits;  /* somebody waits for a frame */
	bool is_due; /* frames are queued where somebody has been reading */
};

static void look_at(struct reading *reading, const struct el_endpoint *ep)
{
	reading->waits |= ep->waiter != 0;
	reading->is_due |= ep->count && ep->received - ep->dropped > ep->count;
}

static void look_at_conn(struct reading *reading, const struct el_conn *conn)
{
	look_at(reading, &conn->ep);
	if (conn->tap)
		look_at(reading, conn->tap);
	for (struct el_node *node = conn->udps; node; node = node->next)
		look_at(reading, &container_of(node, struct el_udp, by_conn)->ep);
}

/* Somebody waits, and what is queued is for endpoints that nobody has ever read from. */
static bool reader_starves(const struct el_relay *relay)
{
	struct reading reading = {false, false};

	for (struct el_node *node = relay->conns; node; node = node->next)
		look_at_conn(&reading, container_of(node, struct el_conn, by_relay));
	if (relay->default_conn)
		look_at_conn(&reading, relay->default_conn);
	return reading.waits && !reading.is_due;
}

/*
 * Half of what may be queued is queued, `count` frames on their way to the queues included: enough for now while frames
 * are being read, and while a timer may wake who reads them.
 */
static bool readers_are_behind(struct el_relay *relay, struct file *self, uint32_t count)
{
	uint32_t room = relay->recv_depth < relay->pool.count ? relay->recv_depth : relay->pool.count;

	if (self->timing || relay->stats.rx_queued + count < (room + 1) / 2)
		return false;
	if (count)
		return true;
	if (self->delivered != relay->stats.rx_delivered) {
		self->delivered = relay->stats.rx_delivered;
		relay->wake_at = relay->engine->now; /* look again when readers have had their turn */
		return true;
	}
	return relay->engine->timers && !reader_starves(relay);
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct file *self = relay->private;
	uint32_t count = 0;

	relay->wake_at = INFINITY;
	while (count < max && !readers_are_behind(relay, self, count) && read_next(relay, self)) {
		double due = self->start + (double)(stamp_of(self->header) - self->first) / NS;
		struct el_frame *frame;

		if (self->timing && due > relay->engine->now) {
			relay->wake_at = due;
			break;
		}
		frame = el_relay_copy_in(relay, self->bytes, self->header->caplen, self->header->len);
		self->header = NULL;
		if (!frame)
			continue;
		frame->timestamp = due;
		frames[count++] = frame;
	}
	return count;
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct file *self = relay->private;
	int64_t wall = relay->engine->wall_offset + (int64_t)(relay->engine->now * 1e9);

	for (uint32_t i = 0; self->output && i < count; i++)
		el_capture_frame(self->output, frames[i], wall);
	if (self->output)
		el_capture_flush(self->output); /* only then is it known whether there was room */
	return el_relay_finish(relay, frames, count, self->output && el_capture_error(self->output) ? EIO : 0);
}

const struct el_kind el_kind_file = {
	.name = "file",
	.open = open_file,
	.recv = recv_frames,
	.send = send_frames,
	.close = close_file,
};
