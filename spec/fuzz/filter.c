/*
 * filter.c: texts of any kind as filters, alone and on a relay; and what compiles is asked for frames of any kind. What
 * a relay lets in is what the filter matches.
 *
 * An input: the length of the text (1 byte), the text; then steps with frames. Names are looked up nowhere.
 */
#include "harness.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frame_memory.h"
#include "kinds/socket_filter.h"
#include "relay.h"

enum { FRAMES = 128, TEXT_MAX = 256 };

/* libpcap asks these for words that it does not know. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	(void)node, (void)service, (void)hints, (void)out;
	return EAI_NONAME;
}

struct netent *getnetbyname(const char *name)
{
	(void)name;
	return NULL;
}

int getnetbyname_r(const char *name, struct netent *out, char *buffer, size_t size, struct netent **result, int *error)
{
	(void)name, (void)out, (void)buffer, (void)size, (void)error;
	*result = NULL;
	return 0;
}

/* What the kernel is asked to do with it must not end in anything but an errno. */
static void attach(const char *text)
{
	char err[EL_ERR_MAX];
	struct el_filter *filter = el_filter_open(text, err);
	int ends[2];

	if (filter && !socketpair(AF_UNIX, SOCK_DGRAM, 0, ends)) {
		el_filter_attach(filter, ends[0], 0);
		el_filter_attach(NULL, ends[0], 0);
		close(ends[0]);
		close(ends[1]);
	}
	el_filter_close(filter);
}

static void receive(struct el_relay *relay, const struct el_filter *filter, const struct step *step)
{
	uint64_t filtered = relay->stats.rx_filtered;
	struct el_frame *frame = el_relay_copy_in(relay, step->bytes, step->len, step->len);
	bool matches;

	assert(frame);
	el_pool_seal(frame);
	matches = !filter || el_filter_matches(filter, frame);
	el_relay_input(relay, frame);
	assert(relay->stats.rx_filtered == filtered + !matches);
}

static void filter_frames(struct input *in, const char *text)
{
	struct el_relay_opts opts = {.frames = FRAMES};
	struct el_engine *engine = el_engine_open();
	struct el_relay *pair[2];
	char err[EL_ERR_MAX];
	struct el_filter *filter = el_filter_open(text, err);
	struct step step;
	int error;

	assert(engine && !el_wire_open(engine, &opts, pair, err));
	error = el_relay_filter(pair[0], text, err);
	assert(!error == (filter != NULL));
	assert(filter || strlen(err) < EL_ERR_MAX);
	while (!error && next_step(in, &step))
		receive(pair[0], *text ? filter : NULL, &step);
	check_engine(engine);
	el_filter_close(filter);
	el_engine_close(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char text[TEXT_MAX] = "";
	uint32_t len = take(&in, 1);

	for (uint32_t i = 0; i < len && in.left; i++)
		text[i] = (char)take(&in, 1);
	world_begin(0);
	attach(text);
	filter_frames(&in, text);
	check_closed();
	return 0;
}
