/*
 * histogram.c: how long things took, counted by size. The buckets are log-linear: each octave of seconds is cut into
 * 2^SUB_BITS equal parts, which is how a double is made (exponent, then mantissa), so a bucket's number is the upper
 * bits of the value. The caller owns the struct; nothing here allocates, and nothing is lost but precision. Only Lua
 * asks: its contract is in abi.h.
 */
#include "common.h"

enum {
	SUB_BITS = 7,                    /* 128 buckets an octave: the upper bound is at most 1/128 above the value */
	SHIFT = 52 - SUB_BITS,           /* mantissa bits that the buckets do not tell apart (IEEE 754 binary64) */
	FIRST = (1023 - 30) << SUB_BITS, /* upper bits of 2^-30 s, where the first bucket begins */
};

#define LOWEST 0x1p-30
#define HIGHEST 0x1p14

_Static_assert(EL_HISTOGRAM_BUCKETS == ((30 + 14) << SUB_BITS) + 1, "from 2^-30 s to 2^14 s");

static uint32_t bucket_of(double seconds)
{
	uint64_t bits;

	if (seconds < LOWEST)
		return 0;
	if (seconds >= HIGHEST)
		return EL_HISTOGRAM_BUCKETS - 1;
	memcpy(&bits, &seconds, sizeof bits);
	return (uint32_t)(bits >> SHIFT) - FIRST;
}

/* What all values of the bucket are below, or the greatest value where that is less: in the last one, which is open. */
static double upper_bound(const struct el_histogram *histogram, uint32_t bucket)
{
	uint64_t bits = (uint64_t)(bucket + 1 + FIRST) << SHIFT;
	double bound;

	memcpy(&bound, &bits, sizeof bound);
	return bucket == EL_HISTOGRAM_BUCKETS - 1 || bound > histogram->highest ? histogram->highest : bound;
}

/* `count` values between lowest and highest enter the sums. */
static void take_in(struct el_histogram *histogram, uint64_t count, double sum, double lowest, double highest)
{
	if (!histogram->recorded || lowest < histogram->lowest)
		histogram->lowest = lowest;
	if (!histogram->recorded || highest > histogram->highest)
		histogram->highest = highest;
	histogram->recorded += count;
	histogram->sum += sum;
}

void el_histogram_record(struct el_histogram *histogram, double seconds)
{
	if (unlikely(!(seconds >= 0 && seconds <= __DBL_MAX__))) {
		histogram->refused++;
		return;
	}
	take_in(histogram, 1, seconds, seconds, seconds);
	histogram->bucket[bucket_of(seconds)]++;
}

void el_histogram_add(struct el_histogram *histogram, const struct el_histogram *other)
{
	histogram->refused += other->refused;
	if (!other->recorded)
		return;
	take_in(histogram, other->recorded, other->sum, other->lowest, other->highest);
	for (uint32_t i = 0; i < EL_HISTOGRAM_BUCKETS; i++)
		histogram->bucket[i] += other->bucket[i];
}

double el_histogram_percentile(const struct el_histogram *histogram, double share)
{
	/* A hair less, or 0.07 of 100 values would be 7.000000000000001 of them, so 8. */
	double wanted = share * (1 - 0x1p-53) * (double)histogram->recorded;
	uint64_t seen = 0;

	if (!(wanted > 0))
		return histogram->lowest;
	for (uint32_t i = 0; i < EL_HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if ((double)seen >= wanted)
			return upper_bound(histogram, i);
	}
	return histogram->highest;
}
