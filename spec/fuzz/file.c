/*
 * file.c: capture files of any content are read: as fast as they can be, with their timing, or while they grow, are
 * cut, emptied, deleted. The same file, read at once, says how many frames there are.
 *
 * An input: options (2 bytes), the request that fails, where the file ends at first (2 bytes); then the file.
 */
#include "harness.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "savefile.h"

enum { TIMING = 1, FOLLOW = 2, OUTPUT = 4, INVALID = 8, SMALL_FRAMES = 16, SEND = 32, SPOIL = 192 };
enum { ANY_LINK = 256, KEEP = 512, CAPTURE = 1024 }; /* KEEP: the reader gives no frame back */

/* What becomes of a file that is followed. */
enum { NOTHING, DELETED = 64, EMPTIED = 128, IN_PIECES = 192 };

enum { FRAMES = 128, TURNS = 200, PIECES = 7, PATH_LEN = 64 };

static struct reader {
	struct el_engine *engine;
	struct el_relay *relay;
	struct el_conn *rest;
	char path[PATH_LEN];
	int fd;
	bool keeps, sure; /* sure: no request fails */
	struct el_frame *kept[FRAMES];
	uint32_t kept_count;
} reader;

/* ---- the file ---- */

static void write_piece(const uint8_t *bytes, size_t len)
{
	ssize_t written = write(reader.fd, bytes, len);

	assert(written == (ssize_t)len);
	world_change();
}

static void open_path(void)
{
	snprintf(reader.path, sizeof reader.path, "/dev/shm/etherlua-fuzz-%d", (int)getpid());
	reader.fd = open(reader.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert(reader.fd >= 0);
}

static uint64_t frames_in_file(void)
{
	char err[EL_ERR_MAX];
	struct el_savefile *file = el_savefile_open(reader.path, err);
	struct el_record record;
	uint64_t count = 0;

	while (file && el_savefile_next(file, &record) == 1)
		count++;
	el_savefile_close(file);
	return count;
}

/* ---- reading it ---- */

static bool open_reader(uint32_t options)
{
	struct el_relay_opts opts = {.frames = FRAMES,
	                             .timing = options & TIMING,
	                             .follow = options & FOLLOW,
	                             .any_link = options & ANY_LINK,
	                             .capture = options & CAPTURE ? "/dev/null" : NULL,
	                             .mtu = options & SMALL_FRAMES ? 100 : 0,
	                             .output = options & OUTPUT ? options & INVALID ? "/dev/full" : "/dev/null" : NULL};
	struct el_conn_opts rest = {.is_default = 1, .mirror = 1, .invalid = options & INVALID};
	char spec[PATH_LEN + 8], err[EL_ERR_MAX];

	snprintf(spec, sizeof spec, "file:%s", reader.path);
	reader.engine = el_engine_open();
	if (!reader.engine)
		return false;
	reader.relay = el_relay_open(reader.engine, spec, &opts, err);
	if (!reader.relay)
		return false;
	reader.rest = el_conn_open(reader.relay, &rest, err);
	return reader.rest != NULL;
}

static void close_reader(void)
{
	if (reader.rest)
		el_conn_free(reader.rest);
	if (reader.engine)
		el_engine_close(reader.engine);
	check_closed();
	close(reader.fd);
	unlink(reader.path);
}

static void drain(void)
{
	struct el_frame *frame;

	while ((frame = el_recv(&reader.rest->ep))) {
		check_frame(frame);
		el_frame_wall(reader.relay, frame);
		if (reader.keeps && reader.kept_count < FRAMES)
			reader.kept[reader.kept_count++] = frame;
		else
			el_frame_free(frame);
	}
}

static void free_kept(void)
{
	while (reader.kept_count)
		el_frame_free(reader.kept[--reader.kept_count]);
}

/* The loop's next turn, at the time for which it would have slept. */
static void turn(void)
{
	double wake_at = reader.relay->wake_at - el_clock_now(reader.engine);

	world_advance(wake_at > 0 && wake_at < 1e8 ? wake_at + 1e-6 : 1e-3);
	el_wait(reader.engine, 0);
	check_engine(reader.engine);
	drain();
}

static void read_to_end(void)
{
	uint64_t before;
	int turns = 0;

	do {
		before = reader.relay->stats.rx_frames;
		turn();
	} while (!reader.relay->ended && turns++ < TURNS &&
	         (reader.relay->stats.rx_frames != before || reader.relay->wake_at < INFINITY));
}

static void send_one(void)
{
	static const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};

	el_relay_send(reader.relay, frame, sizeof frame);
	el_relay_flush(reader.relay);
}

/* ---- how it grows ---- */

static void grow(const uint8_t *bytes, size_t len, uint32_t options)
{
	uint32_t pieces = (options & SPOIL) == IN_PIECES ? PIECES : 2;
	size_t size = len / pieces + 1;

	for (size_t at = 0; at < len; at += size) {
		write_piece(bytes + at, at + size < len ? size : len - at);
		read_to_end();
	}
}

static void spoil(uint32_t options)
{
	if ((options & SPOIL) == DELETED)
		unlink(reader.path);
	else if ((options & SPOIL) == EMPTIED && ftruncate(reader.fd, 0))
		abort();
	world_change();
	read_to_end();
}

static void read_file(struct input *in, size_t rest, uint32_t options)
{
	reader.keeps = options & KEEP;
	read_to_end();
	free_kept();
	if (options & FOLLOW && rest)
		grow(in->at + (in->left - rest), rest, options);
	if (options & SEND)
		send_one();
	if (!(options & TIMING) && reader.sure)
		assert(reader.relay->stats.rx_frames == frames_in_file());
	if (options & FOLLOW)
		spoil(options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint32_t options = take(&in, 2), failure = take(&in, 1), first = take(&in, 2);
	size_t rest;

	if (!(options & FOLLOW) || first > in.left)
		first = (uint32_t)in.left;
	rest = in.left - first;
	memset(&reader, 0, sizeof reader);
	reader.sure = !failure;
	world_begin(failure);
	open_path();
	write_piece(in.at, first);
	if (open_reader(options))
		read_file(&in, rest, options);
	close_reader();
	return 0;
}
