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

static int open_bytes(const void *bytes, size_t len, const struct trust *t, struct fail *f)
{
	AUTO(bundle_freep) struct bundle *b = NULL;

	memset(f, 0, sizeof(*f));
	return bundle_open(bytes, len, t, &b, f);
}

static void refuse(const void *bytes, size_t len, const char *word, const char *hint)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	struct fail f;

	assert_int_equal(open_bytes(bytes, len, t, &f), -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	if (!strstr(f.message, word))
		fail_msg("\"%s\" is not in: %s", word, f.message);
	if (!strstr(f.hint, hint))
		fail_msg("\"%s\" is not in: %s", hint, f.hint);
}

static void what_is_not_a_bundle_is_called_by_its_name(void **state)
{
	static const uint8_t bpf[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [18] = 247};
	static const uint8_t x86[64] = {0x7f, 'E', 'L', 'F', 2, 1, 1, [18] = 62};

	(void)state;
	refuse("", 0, "empty", "again");
	refuse(bpf, sizeof(bpf), "an unsigned BPF object", "hotfixctl pack");
	refuse(x86, sizeof(x86), "not even for BPF", "");
	refuse(x86, 4, "ELF", "");
	refuse("{\"payload\":1}", 13, "JSON", "trust import");
	refuse("hotfix-ed25519 AAAA", 19, "public key", "build");
	refuse("\x1f\x8b\x08", 3, "gzip", "Unpack");
	refuse("HOTFIX2\n........", 16, "not a bundle", "pack");
	refuse("hello", 5, "not a bundle", "pack");
	refuse("HOT", 3, "truncated", "again");
}

static void a_header_with_absurd_lengths_is_refused(void **state)
{
	static const uint32_t lengths[][2] = {
		{0, 1},
		{1, 0},
		{DSSE_BYTES_MAX + 1, 1},
		{1, BUNDLE_OBJECT_BYTES_MAX + 1},
		{UINT32_MAX, UINT32_MAX},
	};
	uint8_t header[20] = "HOTFIX1\n";

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (int b = 0; b < 4; b++) {
			header[8 + b] = (uint8_t)(lengths[i][0] >> (8 * b));
			header[12 + b] = (uint8_t)(lengths[i][1] >> (8 * b));
		}
		refuse(header, sizeof(header), "damaged header", "again");
	}
}

/* The length alone decides: not one of the bytes behind the header is read. */
static void a_bundle_of_1_gib_is_refused_by_its_length(void **state)
{
	uint8_t header[16] = "HOTFIX1\n";

	(void)state;
	header[8] = header[12] = 1;
	refuse(header, 1UL << 30, "too large: 1073741824 bytes", "16 MiB");
}

static void bytes_after_the_end_are_refused(void **state)
{
	AUTO_FREE uint8_t *buf = NULL, *longer = NULL;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	longer = calloc(1, len + 3);
	memcpy(longer, buf, len);
	refuse(longer, len + 3, "3 bytes follow", "unsigned");
}

static void without_a_root_nothing_opens(void **state)
{
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	assert_int_equal(open_bytes(buf, len, NULL, &f), -ENOKEY);
	assert_int_equal(f.code, FAIL_NO_TRUST);
	assert_non_null(strstr(f.hint, "trust import"));
}

/* The root that says what t does. */
static struct trust *trust_of(struct trust *t)
{
	AUTO_FREE char *text = NULL;
	struct trust *opened = NULL;

	t->version = 1;
	t->created_ms = 1000;
	assert_ok(trust_sign(t, NULL, 0, &text, NULL));
	assert_ok(trust_open(text, strlen(text), &opened, NULL));
	return opened;
}

static void the_release_role_decides_not_the_root_role(void **state)
{
	struct trust says = {.root = signed_role(1, 1),
			     .release = {.n_keys = 1, .threshold = 1}};
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f;
	size_t len;

	(void)state;
	says.release.keys[0] = *key_public(signed_keys[1]);
	t = trust_of(&says);
	buf = signed_bundle("one", 7, 1, &len);
	assert_int_equal(open_bytes(buf, len, t, &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
}

/* Signed by the first n keys of two, of which the first has this scope. */
static int open_scoped(unsigned int threshold, size_t n, const char *pattern, const char *hook,
		       struct fail *f)
{
	struct trust says = {
		.root = signed_role(2, 1), .release = signed_role(2, threshold), .n_scopes = 1};
	AUTO(trust_freep) struct trust *t = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	assert_ok(trust_scope_parse(pattern, hook, &says.scopes[0]));
	says.scopes[0].key = *key_public(signed_keys[0]);
	t = trust_of(&says);
	buf = signed_bundle("net-one", 7, n, &len); /* an lsm hook */
	return open_bytes(buf, len, t, f);
}

static void a_key_counts_only_within_its_scopes(void **state)
{
	struct fail f;

	(void)state;
	assert_ok(open_scoped(1, 1, "net-*", "lsm", &f));
	assert_ok(open_scoped(1, 1, "*", "*", &f));
	assert_int_equal(open_scoped(1, 1, "tcp-*", "*", &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
	assert_non_null(strstr(f.message, "net-one"));
	assert_int_equal(open_scoped(1, 1, "net-*", "struct_ops", &f), -EKEYREJECTED);
	assert_int_equal(open_scoped(2, 2, "net-*", "struct_ops", &f), -EKEYREJECTED);
	assert_ok(open_scoped(1, 2, "net-*", "struct_ops", &f)); /* the other has none */
	assert_ok(open_scoped(2, 2, "net-one", "lsm", &f));
}

/* The second person gets the bundle, signs and hands on what both signed. */
static void signatures_are_added_one_after_the_other(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(2, 2);
	AUTO(bundle_freep) struct bundle *b = NULL, *both = NULL;
	AUTO_FREE uint8_t *one = NULL, *two = NULL;
	size_t one_len, two_len;
	struct fail f;

	(void)state;
	one = signed_bundle("one", 7, 1, &one_len);
	assert_int_equal(open_bytes(one, one_len, t, &f), -EKEYREJECTED);
	assert_ok(bundle_open_unverified(one, one_len, &b, NULL));
	assert_ok(dsse_add(b->envelope, signed_keys[1], NULL));
	assert_ok(bundle_format(b, &two, &two_len, NULL));
	assert_ok(bundle_open(two, two_len, t, &both, NULL));
	assert_memory_equal(both->manifest_sha256, b->manifest_sha256, 32);
}

/* Attack 24: what counts is the root in force now. */
static void a_bundle_by_a_key_that_left_the_root_is_refused(void **state)
{
	AUTO(trust_freep) struct trust *before = signed_trust(2, 1);
	AUTO(trust_freep) struct trust *after = signed_trust(1, 1);
	AUTO_FREE char *manifest = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f;
	size_t len;

	(void)state;
	manifest = signed_manifest("one", 7, signed_object, signed_object_len, "");
	assert_ok(bundle_build(manifest, strlen(manifest), signed_object, signed_object_len,
			       signed_keys + 1, 1, &buf, &len, NULL));
	assert_ok(open_bytes(buf, len, before, &f));
	assert_int_equal(open_bytes(buf, len, after, &f), -EKEYREJECTED);
}

static void a_threshold_needs_as_many_signers(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(3, 2);
	AUTO_FREE uint8_t *one = NULL, *two = NULL;
	size_t len_one, len_two;
	struct fail f;

	(void)state;
	one = signed_bundle("one", 7, 1, &len_one);
	two = signed_bundle("one", 7, 2, &len_two);
	assert_int_equal(open_bytes(one, len_one, t, &f), -EKEYREJECTED);
	assert_ok(open_bytes(two, len_two, t, &f));
}

/* Attacks 8 and 20: another object behind a good envelope is never looked into. */
static void another_object_behind_a_good_signature_is_refused(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE uint8_t *buf = NULL, *shorter = NULL;
	struct fail f;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	memset(buf + len - signed_object_len, 'x', signed_object_len);
	assert_int_equal(open_bytes(buf, len, t, &f), -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_DIGEST);
	assert_non_null(strstr(f.message, "SHA-256"));
	assert_true(f.hint[0]);

	shorter = malloc(len - 1);
	memcpy(shorter, buf, len - 1);
	shorter[12]--; /* the header agrees with the shorter object, the manifest does not */
	assert_int_equal(open_bytes(shorter, len - 1, t, &f), -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_DIGEST);
}

/* A signature is looked at before the manifest: a stranger's nonsense is never parsed. */
static void the_signature_is_judged_before_the_manifest(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE char *envelope = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f;
	size_t n;

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, "no JSON", 7, signed_keys + 3, 1, &envelope,
			    NULL));
	n = strlen(envelope);
	buf = malloc(16 + n + 1);
	memcpy(buf, "HOTFIX1\n", 8);
	for (int i = 0; i < 4; i++) {
		buf[8 + i] = (uint8_t)(n >> (8 * i));
		buf[12 + i] = i == 0;
	}
	memcpy(buf + 16, envelope, n);
	buf[16 + n] = 'x';
	assert_int_equal(open_bytes(buf, 16 + n + 1, t, &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
}

/* Attack 5. */
static void a_root_in_place_of_a_manifest_is_refused(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	struct trust_role role = signed_role(1, 1);
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE char *root = NULL;
	uint8_t buf[4096] = "HOTFIX1\n";
	struct fail f;
	size_t n;

	(void)state;
	root = signed_root(&role, 2, 1);
	n = strlen(root);
	assert_true(16 + n + 1 <= sizeof(buf));
	buf[8] = (uint8_t)n;
	buf[9] = (uint8_t)(n >> 8);
	buf[12] = 1;
	memcpy(buf + 16, root, n);
	assert_int_equal(open_bytes(buf, 16 + n + 1, t, &f), -EBADMSG);
	assert_int_equal(bundle_open_unverified(buf, 16 + n + 1, &b, NULL), -EBADMSG);
}

static void inspection_needs_no_key_but_a_sound_bundle(void **state)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct bundle *none = NULL;
	size_t len;

	(void)state;
	buf = signed_bundle("one", 7, 1, &len);
	assert_ok(bundle_open_unverified(buf, len, &b, NULL));
	assert_string_equal(b->manifest->name, "one");
	assert_int_equal(dsse_n_signatures(b->envelope), 1);
	buf[len - 1] ^= 1;
	assert_int_equal(bundle_open_unverified(buf, len, &none, NULL), -EBADMSG);
	assert_null(none);
}

static void the_manifest_digest_does_not_depend_on_who_signed(void **state)
{
	AUTO(bundle_freep) struct bundle *a = NULL;
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *one = NULL, *two = NULL;
	size_t len_one, len_two;

	(void)state;
	one = signed_bundle("one", 7, 1, &len_one);
	two = signed_bundle("one", 7, 2, &len_two);
	assert_ok(bundle_open_unverified(one, len_one, &a, NULL));
	assert_ok(bundle_open_unverified(two, len_two, &b, NULL));
	assert_memory_equal(a->manifest_sha256, b->manifest_sha256, 32);
	assert_memory_not_equal(a->digest, b->digest, 32);
}

static void what_could_not_be_opened_is_not_built(void **state)
{
	AUTO_FREE char *manifest = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail f = {0};
	size_t len;

	(void)state;
	manifest = signed_manifest("one", 7, signed_object, signed_object_len, "");
	assert_int_equal(bundle_build(manifest, strlen(manifest), signed_object,
				      signed_object_len - 1, signed_keys, 1, &buf, &len, &f),
			 -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_DIGEST);
	assert_int_equal(bundle_build(manifest, strlen(manifest), signed_object, 0, signed_keys,
				      1, &buf, &len, &f),
			 -EBADMSG);
	assert_int_equal(bundle_build(manifest, strlen(manifest), signed_object,
				      signed_object_len, signed_keys, 0, &buf, &len, &f),
			 -EINVAL);
	assert_int_equal(bundle_build("{}", 2, signed_object, signed_object_len, signed_keys, 1,
				      &buf, &len, &f),
			 -EBADMSG);
	assert_null(buf);
}

static void the_largest_object_fits(void **state)
{
	AUTO(trust_freep) struct trust *t = signed_trust(1, 1);
	AUTO_FREE uint8_t *object = calloc(1, BUNDLE_OBJECT_BYTES_MAX + 1);
	AUTO_FREE char *manifest = NULL;
	AUTO_FREE uint8_t *buf = NULL, *none = NULL;
	struct fail f;
	size_t len;

	(void)state;
	manifest = signed_manifest("one", 7, object, BUNDLE_OBJECT_BYTES_MAX, "");
	assert_ok(bundle_build(manifest, strlen(manifest), object, BUNDLE_OBJECT_BYTES_MAX,
			       signed_keys, 1, &buf, &len, NULL));
	assert_ok(open_bytes(buf, len, t, &f));
	assert_int_equal(bundle_build(manifest, strlen(manifest), object,
				      BUNDLE_OBJECT_BYTES_MAX + 1, signed_keys, 1, &none, &len,
				      NULL),
			 -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bundle_signed_by_a_trusted_key_opens),
		cmocka_unit_test(a_flip_of_any_bit_is_refused),
		cmocka_unit_test(a_bundle_cut_at_any_length_is_refused),
		cmocka_unit_test(what_is_not_a_bundle_is_called_by_its_name),
		cmocka_unit_test(a_header_with_absurd_lengths_is_refused),
		cmocka_unit_test(a_bundle_of_1_gib_is_refused_by_its_length),
		cmocka_unit_test(bytes_after_the_end_are_refused),
		cmocka_unit_test(without_a_root_nothing_opens),
		cmocka_unit_test(the_release_role_decides_not_the_root_role),
		cmocka_unit_test(a_key_counts_only_within_its_scopes),
		cmocka_unit_test(signatures_are_added_one_after_the_other),
		cmocka_unit_test(a_bundle_by_a_key_that_left_the_root_is_refused),
		cmocka_unit_test(a_threshold_needs_as_many_signers),
		cmocka_unit_test(another_object_behind_a_good_signature_is_refused),
		cmocka_unit_test(the_signature_is_judged_before_the_manifest),
		cmocka_unit_test(a_root_in_place_of_a_manifest_is_refused),
		cmocka_unit_test(inspection_needs_no_key_but_a_sound_bundle),
		cmocka_unit_test(the_manifest_digest_does_not_depend_on_who_signed),
		cmocka_unit_test(what_could_not_be_opened_is_not_built),
		cmocka_unit_test(the_largest_object_fits),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
