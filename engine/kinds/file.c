/*
 * file.c: receives from a pcap or pcapng file, and writes what is sent to another pcap file (nowhere when none is
 * named).
 *
 *                      what is received            when readers are slow     how it ends
 *   as fast as read    the next frame              it waits for them         at the end of the file, "closed"
 *   timing             a frame when it is due      their queues overflow     at the end of the file, "closed"
 *   follow             what is appended            their queues overflow     the file is deleted, replaced, or shorter
 *
 * In each way it also ends, with "file broken", where the file is no pcap file any more. Readers get what is queued
 * first.
 *
 * A file that is followed is waited at, for what this machine writes. Before the first frame it may become shorter: a
 * writer that starts empties its file. One that is emptied and grows past the place that was reached, before it is
 * looked at again, is not noticed: then records are read from the middle.
 */
#include <errno.h>
#include <math.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "clock.h"
#include "fail.h"
#include "frame_memory.h"
#include "kind.h"
#include "os/file_changes.h"
#include "relay.h"
#include "savefile.h"
#include "transmit.h"
#include "watch.h"

enum { MTU = 9216 };

/* The longest part of a second that is a whole number of nanoseconds and that doubles add up without rounding. */
static const double STEP = 1.0 / 512;
static const double LOOK = 0.02; /* seconds between two looks at a file of which nothing tells that it has changed */

struct file {
	struct el_savefile *input;
	struct el_capture *output;
	bool timing, follow;
	bool at_end;  /* of a file that is followed */
	int changes;  /* tells that it has changed; -1: nothing tells */
	bool is_read; /* the frame that is due next: */
	struct el_record record;
	bool started;
	int64_t first; /* a time stamp, nanoseconds */
	double start;  /* engine's time that it stands for, a multiple of STEP */
	int64_t wall_offset;
};

/* A record of a pcap file can be read again; pcapng's blocks depend on each other. */
static int check_followed(const struct el_savefile *input, const char *path, const struct el_relay_opts *opts,
                          char err[EL_ERR_MAX])
{
	struct stat facts;

	if (opts->timing)
		return el_fail(err, -EINVAL, "cannot follow %.180s with its timing: follow or timing is possible",
		               path);
	if (fstat(fileno(input->stream), &facts) || !S_ISREG(facts.st_mode))
		return el_fail(err, -EINVAL, "cannot follow %.180s: it is no regular file", path);
	if (input->is_pcapng)
		return el_fail(err, -EINVAL, "cannot follow %.180s: it is a pcapng file, only pcap is possible", path);
	return 0;
}

static int open_changes(struct el_relay *relay, const char *path, const struct el_relay_opts *opts,
                        char err[EL_ERR_MAX])
{
	struct file *self = relay->private;
	int error = check_followed(self->input, path, opts, err), changes;

	if (error)
		return error;
	changes = el_file_changes_open(self->input->stream);
	if (changes == -ENOSYS)
		return 0;
	if (changes < 0)
		return el_fail(err, changes, "cannot follow %.110s: inotify: %.110s", path, strerror(-changes));
	self->changes = changes;
	return el_watch_relay(relay, changes, err);
}

static int open_output(struct file *self, const char *path, char err[EL_ERR_MAX])
{
	self->output = el_capture_open(path, EL_LINK_ETHERNET, err);
	if (!self->output)
		return -EIO;
	el_capture_flush(self->output); /* who follows it finds a header */
	return 0;
}

static int set_link_type(struct el_relay *relay, struct file *self, const char *path, const struct el_relay_opts *opts,
                         char err[EL_ERR_MAX])
{
	uint32_t number = self->input->link_type;
	const char *name = pcap_datalink_val_to_name((int)number);
	char unknown[16];

	if (!name) {
		snprintf(unknown, sizeof unknown, "%u", number);
		name = unknown;
	}
	if (number != EL_LINK_ETHERNET && !opts->any_link)
		return el_fail(err, -EINVAL, "%.180s has link type %s: only Ethernet is possible", path, name);
	if (number != EL_LINK_ETHERNET)
		snprintf(relay->detail, sizeof relay->detail, "link type %s", name);
	relay->link_type = number;
	return 0;
}

static int open_file(struct el_relay *relay, const char *path, const struct el_relay_opts *opts, char err[EL_ERR_MAX])
{
	struct file *self = calloc(1, sizeof *self);
	int error;

	if (!self)
		return el_fail(err, -ENOMEM, "out of memory");
	relay->private = self;
	self->changes = -1;
	error = el_relay_set_mtu(relay, opts, MTU, err);
	if (error)
		return error;
	relay->mac = (struct el_mac){{0x02, 0, 0, 0, 0, 'f'}};
	self->timing = opts->timing;
	self->follow = opts->follow;
	relay->paced = !self->timing && !self->follow;
	self->input = el_savefile_open(path, err);
	if (!self->input)
		return -EIO;
	error = set_link_type(relay, self, path, opts, err);
	if (!error && self->follow)
		error = open_changes(relay, path, opts, err);
	if (!error && opts->output)
		error = open_output(self, opts->output, err);
	return error;
}

static void close_file(struct el_relay *relay)
{
	struct file *self = relay->private;

	if (!self)
		return;
	el_savefile_close(self->input);
	if (self->changes >= 0)
		close(self->changes);
	if (self->output)
		el_capture_close(self->output);
	free(self);
}

/* ---- receiving ---- */

/* Back to where the record starts of which not all is there; feof() is false again. What is written now is a change. */
static void wait_for_more(struct el_relay *relay, struct file *self, off_t record)
{
	FILE *file = self->input->stream;
	off_t end = ftello(file);
	struct stat facts;

	if (fseeko(file, record, SEEK_SET) || fstat(fileno(file), &facts) || (facts.st_size < record && self->started))
		el_relay_end(relay, EBADMSG);
	else if (!facts.st_nlink && facts.st_size <= end)
		el_relay_end(relay, ESTALE);
	else
		self->at_end = true;
}

/* False at the end, or where the file is broken. */
static bool read_record(struct el_relay *relay, struct file *self)
{
	off_t record = self->follow ? ftello(self->input->stream) : 0;
	int got = el_savefile_next(self->input, &self->record);

	if (got == 1)
		return self->is_read = true;
	snprintf(relay->problem, sizeof relay->problem, "%s", self->input->problem);
	if (self->follow && got != -EBADMSG)
		wait_for_more(relay, self, record);
	else
		el_relay_end(relay, got ? EBADMSG : ENODATA);
	return false;
}

/* What the time stamps mean: of a file that is followed they are of the clock on the wall, else the first is now. */
static void set_clock(struct el_relay *relay, struct file *self)
{
	double start = el_clock_now(relay->engine);

	self->first = self->record.stamp;
	if (self->follow)
		start = el_clock_from_wall(relay->engine, self->first);
	self->start = ceil(start / STEP) * STEP;
	if (self->follow)
		self->first = el_clock_wall_offset(relay->engine) + llround(self->start * NS);
	self->wall_offset = self->first - llround(self->start * NS);
	relay->wall_offset = &self->wall_offset;
}

/* Reads the next frame, if there is none yet. */
static bool read_next(struct el_relay *relay, struct file *self)
{
	if (self->is_read)
		return true;
	if (!read_record(relay, self))
		return false;
	if (self->started)
		return true;
	self->started = true;
	set_clock(relay, self);
	return true;
}

/* Whether the end of the file may be behind us no more. */
static bool has_changed(struct file *self)
{
	if (self->changes >= 0 && !el_file_changes_came(self->changes))
		return false;
	self->at_end = false;
	return true;
}

static uint32_t recv_frames(struct el_relay *relay, struct el_frame **frames, uint32_t max)
{
	struct file *self = relay->private;
	uint32_t count = 0;

	relay->wake_at = INFINITY;
	if (self->at_end && !has_changed(self))
		return 0;
	while (count < max && read_next(relay, self)) {
		double due = self->start + (double)(self->record.stamp - self->first) / NS;
		struct el_frame *frame;

		if (self->timing && due > el_clock_now(relay->engine)) {
			relay->wake_at = due;
			break;
		}
		frame = el_relay_copy_in(relay, self->record.bytes, self->record.have, self->record.len);
		self->is_read = false;
		if (!frame)
			continue;
		frame->timestamp = due;
		frame->fine = (int16_t)(self->record.stamp - el_relay_wall(relay, due));
		frames[count++] = frame;
	}
	if (self->at_end && self->changes < 0)
		relay->wake_at = el_clock_now(relay->engine) + LOOK;
	return count;
}

/* ---- sending ---- */

static uint32_t send_frames(struct el_relay *relay, struct el_frame **frames, uint32_t count)
{
	struct file *self = relay->private;
	int64_t wall = el_clock_wall(relay->engine);

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
