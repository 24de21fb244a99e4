// SPDX-License-Identifier: BSD-2-Clause
/*
 * A bundle: as it comes; with its two lengths made to fit ('L'); and all the way of an import,
 * with a manifest signed here for the object that the bytes are ('O', up to a NUL the hooks).
 */
#include "tests/fuzz/fuzz.h"

#include "bpf/audit.h"
#include "store/bundle.h"

static void open_both_ways(const uint8_t *data, size_t size)
{
	AUTO(bundle_freep) struct bundle *b = NULL, *verified = NULL;
	struct fail f = {0};
	int r = bundle_open_unverified(data, size, &b, &f);

	fuzz_must((r < 0) == (f.code != FAIL_NONE));
	if (bundle_open(data, size, fuzz_trust(), &verified, &f) == 0)
		fuzz_must(b && memcmp(b->digest, verified->digest, sizeof(b->digest)) == 0);
	if (b)
		fuzz_must(b->object > data && b->object + b->object_len == data + size);
}

/* Envelope, NUL, object. */
static void framed(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	uint32_t envelope = (uint32_t)(end ? (size_t)(end - data) : size);
	uint32_t object = (uint32_t)(size - envelope - !!end);
	AUTO_FREE uint8_t *buf = calloc(1, 16 + (size_t)envelope + object);

	fuzz_must(buf);
	memcpy(buf, BUNDLE_MAGIC, 8);
	for (int i = 0; i < 4; i++) {
		buf[8 + i] = (uint8_t)(envelope >> 8 * i);
		buf[12 + i] = (uint8_t)(object >> 8 * i);
	}
	memcpy(buf + 16, data, envelope);
	if (object)
		memcpy(buf + 16 + envelope, end + 1, object);
	open_both_ways(buf, 16 + (size_t)envelope + object);
}

static void imported(const uint8_t *data, size_t size)
{
	AUTO_FREE char *hooks = fuzz_part(&data, &size, 0, NULL);
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE struct audit *audit = calloc(1, sizeof(*audit));
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f = {0};
	size_t len;

	fuzz_must(audit);
	if (!size)
		return;
	buf = fuzz_bundle("fuzz", 7, data, size, hooks, "", &len);
	if (!buf)
		return;
	fuzz_must(bundle_open(buf, len, fuzz_trust(), &b, &f) == 0);
	fuzz_must(b->object_len == size && memcmp(b->object, data, size) == 0);
	if (audit_object(b->object, b->object_len, audit, &f) == 0)
		audit_compare(audit, b->manifest->hooks, b->manifest->n_hooks, &f);
}

FUZZ_TARGET(bundle)
{
	if (size && data[0] == 'L')
		framed(data + 1, size - 1);
	else if (size && data[0] == 'O')
		imported(data + 1, size - 1);
	else
		open_both_ways(data, size);
	return 0;
}
