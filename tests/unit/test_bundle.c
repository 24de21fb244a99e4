// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/signed.h"

static void a_bundle_signed_by_a_trusted_key_opens(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	uint8_t digest[BYTES_SHA256];
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	assert_ok(bundle_open(buf, len, t, &b, NULL));
	assert_string_equal(b->manifest->name, "one");
	assert_int_equal(b->manifest->serial, 7);
	assert_int_equal(b->object_len, signed_object_len);
	assert_memory_equal(b->object, signed_object, signed_object_len);
	assert_ptr_equal(b->object, buf + len - signed_object_len);
	bytes_sha256(buf, len, digest);
	assert_memory_equal(b->digest, digest, sizeof(digest));
}

static void a_flip_of_any_bit_is_refused(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct bundle *b = NULL;
			struct fail f = {0};
			int r;

			buf[i] ^= (uint8_t)(1 << bit);
			r = bundle_open(buf, len, t, &b, &f);
			if (r >= 0)
				fail_msg("accepted with bit %d of byte %zu flipped", bit, i);
			assert_true(f.code == FAIL_BAD_FORMAT || f.code == FAIL_BAD_SIGNATURE ||
				    f.code == FAIL_BAD_DIGEST);
			assert_true(f.message[0]);
			assert_null(b);
			buf[i] ^= (uint8_t)(1 << bit);
		}
}

static void a_bundle_cut_at_any_length_is_refused(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	for (size_t n = 0; n < len; n++) {
		/* On the heap in its exact size, so that a sanitizer sees a read past it. */
		AUTO_FREE uint8_t *cut = malloc(n ? n : 1);
		struct bundle *b = NULL;
		struct fail f = {0};
		char missing[64];

		memcpy(cut, buf, n);
		assert_int_equal(bundle_open(cut, n, t, &b, &f), -EBADMSG);
		assert_int_equal(f.code, FAIL_BAD_FORMAT);
		assert_true(f.hint[0]);
		if (n >= 16) {
			snprintf(missing, sizeof(missing), "%zu of %zu bytes are missing",
				 len - n, len);
			assert_non_null(strstr(f.message, missing));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bundle_signed_by_a_trusted_key_opens),
		cmocka_unit_test(a_flip_of_any_bit_is_refused),
		cmocka_unit_test(a_bundle_cut_at_any_length_is_refused),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
