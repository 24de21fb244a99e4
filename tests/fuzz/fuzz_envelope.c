// SPDX-License-Identifier: BSD-2-Clause
/*
 * An envelope: as it comes; made of the bytes as payload, which must come out again; and
 * a signed one in which the bytes say what to change, which must verify to the same or not.
 */
#include "tests/fuzz/fuzz.h"

#include "store/dsse.h"

static const char *const types[] = {DSSE_TYPE_MANIFEST, DSSE_TYPE_ROOT};

static void as_it_comes(const void *data, size_t size)
{
	struct trust_role role = fuzz_role(FUZZ_KEYS, 1);
	AUTO(dsse_freep) struct dsse *d = NULL;
	const uint8_t *payload;
	struct fail f = {0};
	size_t len;

	if (dsse_parse("fuzz", data, size, &d, &f) < 0) {
		fuzz_must(f.code != FAIL_NONE && f.message[0]);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		bool named = dsse_unverified_payload(d, types[i], &len) != NULL;
		int one =
			dsse_verify(d, types[i], role.keys, role.n_keys, 1, &payload, &len, &f);
		int two =
			dsse_verify(d, types[i], role.keys, role.n_keys, 2, &payload, &len, &f);

		fuzz_must(one < 0 || (named && dsse_n_signatures(d) >= 1));
		fuzz_must(two < 0 || (one == 0 && dsse_n_signatures(d) >= 2));
		fuzz_must(dsse_verify(d, types[i], role.keys, 0, 1, &payload, &len, &f) < 0);
		fuzz_must(dsse_verify(d, types[i], role.keys, role.n_keys, 0, &payload, &len,
				      &f) < 0);
	}
	for (size_t i = 0; i < dsse_n_signatures(d); i++)
		fuzz_must(strlen(dsse_keyid(d, i)) < KEY_ID_BYTES);
}

/* By n keys; the payload is data. */
static char *sign(const char *type, const void *data, size_t size, size_t n)
{
	struct key *keys[FUZZ_KEYS] = {0};
	char *text = NULL;

	for (size_t i = 0; i < n; i++)
		keys[i] = fuzz_key(i);
	fuzz_must(dsse_sign(type, data, size, keys, n, &text, NULL) == 0);
	return text;
}

static void there_and_back(const uint8_t *data, size_t size)
{
	struct trust_role role = fuzz_role(FUZZ_KEYS, 2);
	AUTO_FREE char *text = sign(DSSE_TYPE_ROOT, data, size, 2);
	AUTO(dsse_freep) struct dsse *d = NULL;
	const uint8_t *payload;
	size_t len;

	fuzz_must(dsse_parse("fuzz", text, strlen(text), &d, NULL) == 0);
	fuzz_must(dsse_verify(d, DSSE_TYPE_ROOT, role.keys, role.n_keys, 2, &payload, &len,
			      NULL) == 0);
	fuzz_must(len == size && memcmp(payload, data, len) == 0);
	fuzz_must(dsse_verify(d, DSSE_TYPE_ROOT, role.keys, role.n_keys, 3, &payload, &len,
			      NULL) < 0);
	fuzz_must(dsse_verify(d, DSSE_TYPE_MANIFEST, role.keys, role.n_keys, 1, &payload, &len,
			      NULL) < 0);
}

/* Pairs of where and what. */
static void altered(const uint8_t *data, size_t size)
{
	static const char signed_payload[] = "{\"what\":\"was signed\"}";
	struct trust_role role = fuzz_role(1, 1);
	AUTO_FREE char *text =
		sign(DSSE_TYPE_MANIFEST, signed_payload, strlen(signed_payload), 1);
	AUTO(dsse_freep) struct dsse *d = NULL;
	size_t len = strlen(text);
	const uint8_t *payload;

	for (size_t i = 0; i + 3 <= size; i += 3)
		text[(data[i] << 8 | data[i + 1]) % len] = (char)data[i + 2];
	if (dsse_parse("fuzz", text, len, &d, NULL) < 0 ||
	    dsse_verify(d, DSSE_TYPE_MANIFEST, role.keys, role.n_keys, 1, &payload, &len,
			NULL) < 0)
		return;
	fuzz_must(len == strlen(signed_payload) && memcmp(payload, signed_payload, len) == 0);
}

FUZZ_TARGET(envelope)
{
	if (size && data[0] == 'P')
		there_and_back(data + 1, size - 1);
	else if (size && data[0] == 'A')
		altered(data + 1, size - 1);
	else
		as_it_comes(data, size);
	return 0;
}
