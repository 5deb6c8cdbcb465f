/*
 * savefile.c: a record of pcap, or the next block of pcapng that is a packet. Blocks of other kinds are passed over.
 */
#include <errno.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdlib.h>

#include "clock.h"
#include "fail.h"
#include "savefile.h"

enum {
	PCAP_US = 0xa1b2c3d4,
	PCAP_NS = 0xa1b23c4d,
	EXTENDED = 0xa1b2cd34, /* microseconds, and 8 more octets in front of each frame */
	SECTION = 0x0a0d0d0a,  /* the same in either byte order */
	ORDER_MAGIC = 0x1a2b3c4d,
	INTERFACE = 1,
	OLD_PACKET = 2,
	SIMPLE_PACKET = 3,
	ENHANCED_PACKET = 6,
	OPTION_RESOLUTION = 9,
	OPTION_OFFSET = 14,
	LINKTYPE_RAW = 101,
	LONGEST_FRAME = 262144,
	LONGEST_BLOCK = 16 << 20,
};

/*
 * Seconds, up to the year 2112: two times of a file may be so far from 1970, and their distance still is a number of
 * nanoseconds, also when some years of the engine's time are added to it.
 */
static const int64_t FARTHEST = 4500000000;

struct el_savefile_interface {
	uint32_t link_type, snaplen;
	int64_t offset; /* seconds that are added to its times */
	uint8_t digits; /* of a second: that many decimal, or, with the highest bit, binary ones */
};

/* A block of pcapng without its lengths, in the buffer. */
struct block {
	uint32_t type, size;
};

/* ---- octets ---- */

static uint32_t word(const struct el_savefile *self, const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return self->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t half(const struct el_savefile *self, const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof value);
	return self->swapped ? __builtin_bswap16(value) : value;
}

static int64_t wide(const struct el_savefile *self, const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof value);
	return (int64_t)(self->swapped ? __builtin_bswap64(value) : value);
}

/* Reads octets with which something begins: 1, 0 when the file ends in front of them, -EAGAIN in their middle. */
static int get_first(struct el_savefile *self, void *to, size_t size)
{
	size_t got = fread(to, 1, size, self->stream);

	return got == size ? 1 : got ? -EAGAIN : 0;
}

static int get(struct el_savefile *self, void *to, size_t size)
{
	return fread(to, 1, size, self->stream) == size ? 1 : -EAGAIN;
}

__attribute__((format(printf, 2, 3))) static int fails(struct el_savefile *self, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(self->problem, sizeof self->problem, format, args);
	va_end(args);
	return -EBADMSG;
}

/* Brings octets into the buffer, as get(). There is one, also for none. */
static int fill(struct el_savefile *self, size_t size)
{
	if (size > self->capacity || !self->buffer) {
		uint8_t *more = realloc(self->buffer, size ? size : 1);

		if (!more)
			return fails(self, "no memory for %u bytes", (uint32_t)size);
		self->buffer = more;
		self->capacity = size;
	}
	return get(self, self->buffer, size);
}

static int64_t stamp_of(int64_t seconds, int64_t nanoseconds)
{
	if (seconds > FARTHEST || seconds < -FARTHEST)
		seconds = seconds < 0 ? -FARTHEST : FARTHEST;
	return seconds * NS + nanoseconds;
}

/* libpcap's number for the one of a file; of those that we know one differs. */
static uint32_t dlt_of(uint32_t link_type)
{
	return link_type == LINKTYPE_RAW ? DLT_RAW : link_type;
}

static void set_link_type(struct el_savefile *self, uint32_t link_type)
{
	self->link_type = link_type;
	self->has_link_type = true;
}

/* ---- pcap ---- */

static void set_pcap(struct el_savefile *self, uint32_t magic)
{
	self->nanoseconds = magic == PCAP_NS;
	self->extra = magic == EXTENDED ? 8 : 0;
}

/* Behind the magic number; the upper bits of the link type are about a frame check sequence (draft 4). */
static int open_pcap(struct el_savefile *self)
{
	uint8_t header[20];

	if (get(self, header, sizeof header) != 1)
		return -EAGAIN;
	if (half(self, header) != PCAP_VERSION_MAJOR)
		return fails(self, "pcap files of version %u are not known", half(self, header));
	set_link_type(self, dlt_of(word(self, header + 16) & 0x03ffffff));
	return 0;
}

/* Seconds have no sign. */
static int next_pcap(struct el_savefile *self, struct el_record *out)
{
	uint8_t header[16];
	int got = get_first(self, header, sizeof header);

	if (got != 1)
		return got;
	out->have = word(self, header + 8);
	out->len = word(self, header + 12);
	if (out->have > LONGEST_FRAME)
		return fails(self, "a frame of %u bytes cannot be", out->have);
	got = fill(self, self->extra + out->have);
	if (got != 1)
		return got;
	out->bytes = self->buffer + self->extra;
	out->stamp = stamp_of(word(self, header), word(self, header + 4) * (self->nanoseconds ? 1LL : 1000LL));
	return 1;
}

/* ---- pcapng ---- */

/* The value of an option of `len` octets, in an interface's block of `size` octets; NULL: there is none. */
static const uint8_t *option_of(const struct el_savefile *self, uint32_t size, uint16_t wanted, uint16_t len)
{
	for (uint32_t at = 8; at + 4 <= size;) {
		uint16_t code = half(self, self->buffer + at), have = half(self, self->buffer + at + 2);

		if (!code || have > size - at - 4)
			break;
		if (code == wanted && have == len)
			return self->buffer + at + 4;
		at += 4 + (have + 3U) / 4 * 4;
	}
	return NULL;
}

static int add_interface(struct el_savefile *self, uint32_t size)
{
	struct el_savefile_interface *list, *one;
	const uint8_t *digits, *offset;

	if (size < 8)
		return fails(self, "interface %u has no description", self->count);
	list = realloc(self->interfaces, (self->count + 1) * sizeof *list);
	if (!list)
		return fails(self, "no memory for %u interfaces", self->count + 1);
	self->interfaces = list;
	one = &list[self->count];
	digits = option_of(self, size, OPTION_RESOLUTION, 1);
	offset = option_of(self, size, OPTION_OFFSET, 8);
	*one = (struct el_savefile_interface){dlt_of(half(self, self->buffer)), word(self, self->buffer + 4),
	                                      offset ? wide(self, offset) : 0, digits ? *digits : 6};
	if ((one->digits & 0x7f) > (one->digits & 0x80 ? 63 : 19))
		return fails(self, "interface %u counts time in units that cannot be", self->count);
	if (!self->has_link_type)
		set_link_type(self, one->link_type);
	self->count++;
	return 0;
}

/* A section begins: 1, or what get() says. Its byte order says how its own length is to be read. */
static int begin_section(struct el_savefile *self, const uint8_t *length)
{
	uint8_t order[4];
	uint32_t magic;

	if (get(self, order, sizeof order) != 1)
		return -EAGAIN;
	memcpy(&magic, order, sizeof magic);
	if (magic != ORDER_MAGIC && magic != __builtin_bswap32(ORDER_MAGIC))
		return fails(self, "a section has no byte order: 0x%x", magic);
	self->swapped = magic != ORDER_MAGIC;
	self->count = 0;
	return word(self, length) < 28 ? fails(self, "a section of %u bytes cannot be", word(self, length)) : 1;
}

/* Reads a block, as get_first(). */
static int next_block(struct el_savefile *self, struct block *block)
{
	uint8_t header[8] = {0};
	uint32_t length, before = 8;
	int got = get_first(self, header + self->peeked, sizeof header - self->peeked);

	if (got != 1)
		return got;
	block->type = self->peeked ? SECTION : word(self, header);
	self->peeked = 0;
	if (block->type == SECTION) {
		got = begin_section(self, header + 4);
		before = 12;
	}
	length = word(self, header + 4);
	if (got == 1 && (length < before + 4 || length > LONGEST_BLOCK))
		return fails(self, "a block of %u bytes cannot be", length);
	if (got == 1)
		got = fill(self, (length + 3) / 4 * 4 - before);
	block->size = length - before - 4;
	return got;
}

/* A time of an interface: whole seconds, and what is left of one. */
static int64_t time_of(const struct el_savefile_interface *one, uint64_t time)
{
	uint64_t second = 1;

	if (one->digits & 0x80)
		second <<= one->digits & 0x7f;
	for (int i = 0; !(one->digits & 0x80) && i < one->digits; i++)
		second *= 10;
	if (one->offset > FARTHEST || one->offset < -FARTHEST || time / second > (uint64_t)FARTHEST)
		return stamp_of(one->offset < 0 ? -INT64_MAX : INT64_MAX, 0);
	return stamp_of(one->offset + (int64_t)(time / second),
	                (int64_t)((unsigned __int128)(time % second) * NS / second));
}

/* A packet of an interface, whose octets are at `at` in the buffer. */
static int take(struct el_savefile *self, const struct block *block, uint32_t number, uint32_t at, uint64_t time,
                struct el_record *out)
{
	const struct el_savefile_interface *one;

	if (number >= self->count)
		return fails(self, "a packet is of interface %u, which the section does not have", number);
	one = &self->interfaces[number];
	if (one->link_type != self->link_type)
		return fails(self, "a packet has a link type that is not the first interface's: %u", one->link_type);
	if (block->type == SIMPLE_PACKET && one->snaplen && out->have > one->snaplen)
		out->have = one->snaplen;
	if (block->size < at || out->have > block->size - at || out->have > LONGEST_FRAME)
		return fails(self, "a packet of %u bytes cannot be", out->have);
	out->bytes = self->buffer + at;
	out->stamp = block->type == SIMPLE_PACKET ? 0 : time_of(one, time);
	return 1;
}

static int take_packet(struct el_savefile *self, const struct block *block, struct el_record *out)
{
	const uint8_t *body = self->buffer;
	uint32_t number;
	uint64_t time;

	if (block->size < 20)
		return fails(self, "a packet of %u bytes cannot be", block->size);
	number = block->type == OLD_PACKET ? half(self, body) : word(self, body);
	time = (uint64_t)word(self, body + 4) << 32 | word(self, body + 8);
	out->have = word(self, body + 12);
	out->len = word(self, body + 16);
	return take(self, block, number, 20, time, out);
}

/* It has no time, and as many octets as there were or the interface takes. */
static int take_simple(struct el_savefile *self, const struct block *block, struct el_record *out)
{
	if (block->size < 4)
		return fails(self, "a packet of %u bytes cannot be", block->size);
	out->have = out->len = word(self, self->buffer);
	return take(self, block, 0, 4, 0, out);
}

/* The next packet; with `out` NULL, what comes before the first interface is read. */
static int next_pcapng(struct el_savefile *self, struct el_record *out)
{
	struct block block = {0, 0};
	int got;

	while ((got = next_block(self, &block)) == 1) {
		if (block.type == INTERFACE && (got = add_interface(self, block.size)))
			return got;
		if (block.type == INTERFACE && !out)
			return 1;
		if (block.type == ENHANCED_PACKET || block.type == OLD_PACKET)
			return out ? take_packet(self, &block, out) : fails(self, "a packet is before all interfaces");
		if (block.type == SIMPLE_PACKET)
			return out ? take_simple(self, &block, out) : fails(self, "a packet is before all interfaces");
	}
	return got;
}

static int open_pcapng(struct el_savefile *self)
{
	int got = next_pcapng(self, NULL);

	return got ? (got == 1 ? 0 : got) : fails(self, "it has no interface");
}

/* ---- either ---- */

static int open_stream(struct el_savefile *self)
{
	uint32_t magic;

	if (get(self, &magic, sizeof magic) != 1)
		return -EAGAIN;
	if (magic == SECTION) {
		self->is_pcapng = true;
		self->peeked = sizeof magic;
		return open_pcapng(self);
	}
	for (int i = 0; i < 2; i++, magic = __builtin_bswap32(magic)) {
		self->swapped = i;
		if (magic == PCAP_US || magic == PCAP_NS || magic == EXTENDED) {
			set_pcap(self, magic);
			return open_pcap(self);
		}
	}
	return fails(self, "unknown file format");
}

struct el_savefile *el_savefile_open(const char *path, char err[EL_ERR_MAX])
{
	struct el_savefile *self = calloc(1, sizeof *self);
	const char *reason = "truncated";

	errno = 0;
	if (self)
		self->stream = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	if (self && self->stream && !open_stream(self))
		return self;
	if (self && *self->problem)
		reason = self->problem;
	else if (!self || !self->stream || ferror(self->stream))
		reason = strerror(errno);
	el_fail(err, -EIO, "cannot read capture file %.110s: %.110s", path, reason);
	el_savefile_close(self);
	return NULL;
}

void el_savefile_close(struct el_savefile *self)
{
	if (!self)
		return;
	if (self->stream && self->stream != stdin)
		fclose(self->stream);
	free(self->interfaces);
	free(self->buffer);
	free(self);
}

int el_savefile_next(struct el_savefile *self, struct el_record *out)
{
	return self->is_pcapng ? next_pcapng(self, out) : next_pcap(self, out);
}
