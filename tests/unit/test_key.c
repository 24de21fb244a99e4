// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <fcntl.h>

#include "lib/io.h"
#include "store/bytes.h"
#include "store/key.h"

static const char *answer(const char *prompt, void *cookie)
{
	assert_non_null(strstr(prompt, "key "));
	return cookie;
}

static char *file_text(const char *name)
{
	AUTO_FREE uint8_t *buf = NULL;
	char *text;
	size_t len;

	assert_ok(io_read_file(unit_path(name), 1 << 20, &buf, &len));
	text = strdup((char *)buf);
	assert_non_null(text);
	return text;
}

static void write_text(const char *name, const char *text, mode_t mode)
{
	assert_ok(io_write_file(unit_path(name), text, strlen(text), mode));
}

static mode_t mode_of(const char *name)
{
	struct stat st;

	assert_ok(lstat(unit_path(name), &st));
	return st.st_mode & 07777;
}

static int load(const char *name, const char *passphrase, struct fail *f)
{
	AUTO(key_freep) struct key *k = NULL;

	memset(f, 0, sizeof(*f));
	return key_load(unit_path(name), answer, (void *)(uintptr_t)passphrase, &k, f);
}

static void a_new_key_loads_and_belongs_to_its_public_half(void **state)
{
	AUTO(key_freep) struct key *k = NULL;
	struct key_public made, read;

	(void)state;
	assert_ok(key_new(unit_path("plain"), NULL, &made, NULL));
	assert_ok(key_load(unit_path("plain.sec"), NULL, NULL, &k, NULL));
	assert_ok(key_public_load(unit_path("plain.pub"), &read, NULL));
	assert_memory_equal(&made, &read, sizeof(made));
	assert_memory_equal(&made, key_public(k), sizeof(made));
}

static void two_keys_differ(void **state)
{
	struct key_public a, b;

	(void)state;
	assert_ok(key_new(unit_path("a"), NULL, &a, NULL));
	assert_ok(key_new(unit_path("b"), NULL, &b, NULL));
	assert_memory_not_equal(&a, &b, sizeof(a));
}

/* RFC 8032, section 7.1, TEST 2. */
static void signatures_are_those_of_rfc_8032(void **state)
{
	uint8_t seed[32], public[32], wanted[64], sig[64];
	AUTO(key_freep) struct key *k = NULL;
	AUTO_FREE char *seed64 = NULL, *public64 = NULL, *text = NULL;

	(void)state;
	assert_ok(bytes_from_hex(
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", seed, 32));
	assert_ok(bytes_from_hex(
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", public,
		32));
	assert_ok(bytes_from_hex(
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
		"085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		wanted, 64));
	seed64 = bytes_to_base64(seed, 32);
	public64 = bytes_to_base64(public, 32);
	assert_true(asprintf(&text,
			     "{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\","
			     "\"public\":\"%s\",\"secret\":\"%s\"}",
			     public64, seed64) > 0);
	write_text("rfc.sec", text, 0600);
	assert_ok(key_load(unit_path("rfc.sec"), NULL, NULL, &k, NULL));
	assert_ok(key_sign(k, "\x72", 1, sig));
	assert_memory_equal(sig, wanted, sizeof(sig));
}

static void the_secret_file_is_for_its_owner_alone(void **state)
{
	mode_t old = umask(0);
	struct key_public p;

	(void)state;
	assert_ok(key_new(unit_path("modes"), NULL, &p, NULL));
	umask(old);
	assert_int_equal(mode_of("modes.sec"), 0600);
	assert_int_equal(mode_of("modes.pub"), 0644);
}

static void a_secret_that_others_may_use_is_refused(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0660, 0610, 0602};
	struct key_public p;
	struct fail f;

	(void)state;
	assert_ok(key_new(unit_path("wide"), NULL, &p, NULL));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_ok(chmod(unit_path("wide.sec"), modes[i]));
		assert_int_equal(load("wide.sec", NULL, &f), -EACCES);
		assert_int_equal(f.code, FAIL_PERMISSION);
		assert_non_null(strstr(f.hint, "chmod 600"));
	}
	assert_ok(chmod(unit_path("wide.sec"), 0400));
	assert_ok(load("wide.sec", NULL, &f));
}

static void a_key_is_never_overwritten(void **state)
{
	AUTO_FREE char *sec = NULL, *sec_after = NULL;
	struct key_public p;
	struct fail f = {0};

	(void)state;
	assert_ok(key_new(unit_path("once"), NULL, &p, NULL));
	sec = file_text("once.sec");
	assert_int_equal(key_new(unit_path("once"), NULL, &p, &f), -EBUSY);
	assert_int_equal(f.code, FAIL_CONFLICT);
	sec_after = file_text("once.sec");
	assert_string_equal(sec, sec_after);
}

static void a_public_file_in_the_way_leaves_no_secret_behind(void **state)
{
	AUTO_FREE char *pub = NULL;
	struct key_public p;
	struct fail f = {0};

	(void)state;
	write_text("way.pub", "somebody else's", 0644);
	assert_int_equal(key_new(unit_path("way"), NULL, &p, &f), -EBUSY);
	assert_int_equal(f.code, FAIL_CONFLICT);
	assert_int_equal(access(unit_path("way.sec"), F_OK), -1);
	pub = file_text("way.pub");
	assert_string_equal(pub, "somebody else's");
}

static void a_new_key_does_not_follow_a_symbolic_link(void **state)
{
	struct key_public p;
	struct fail f = {0};

	(void)state;
	assert_ok(symlink("target", unit_path("link.sec")));
	assert_int_equal(key_new(unit_path("link"), NULL, &p, &f), -EBUSY);
	assert_int_equal(access(unit_path("target"), F_OK), -1);
}

static void a_key_needs_a_folder_that_exists(void **state)
{
	struct key_public p;
	struct fail f = {0};

	(void)state;
	assert_int_equal(key_new(unit_path("no/such/folder"), NULL, &p, &f), -ENOENT);
	assert_int_equal(f.code, FAIL_NOT_FOUND);
}

static void a_passphrase_opens_its_key_and_no_other_does(void **state)
{
	AUTO(key_freep) struct key *k = NULL;
	struct key_public p;
	struct fail f;

	(void)state;
	assert_ok(key_new(unit_path("sealed"), "open sesame", &p, NULL));
	assert_ok(key_load(unit_path("sealed.sec"), answer, (void *)(uintptr_t) "open sesame",
			   &k, NULL));
	assert_memory_equal(key_public(k), &p, sizeof(p));
	assert_int_equal(load("sealed.sec", "open sesam", &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
	assert_non_null(strstr(f.message, "wrong passphrase"));
	assert_int_equal(load("sealed.sec", NULL, &f), -EINVAL);
	assert_int_equal(f.code, FAIL_USAGE);
}

static void an_empty_passphrase_is_refused(void **state)
{
	struct key_public p;
	struct fail f = {0};

	(void)state;
	assert_int_equal(key_new(unit_path("empty"), "", &p, &f), -EINVAL);
	assert_int_equal(access(unit_path("empty.sec"), F_OK), -1);
}

static void a_damaged_secret_file_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"{",
		"null",
		"[]",
		"{}",
		"{\"format\":1}",
		"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\"}",
		"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"rot13\",\"public\":\"\","
		"\"secret\":\"\"}",
		"{\"format\":\"hotfix-ed25519-secret-2\",\"kdf\":\"none\",\"public\":\"\","
		"\"secret\":\"\"}",
		"{\"format\":\"hotfix-ed25519-secret-1\",\"kdf\":\"none\",\"public\":\"AAAA\","
		"\"secret\":\"AAAA\"}",
	};
	AUTO_FREE char *text = NULL;
	struct key_public p;
	char secret[8];
	struct fail f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		write_text("bad.sec", bad[i], 0600);
		assert_int_equal(load("bad.sec", NULL, &f), -EBADMSG);
		assert_int_equal(f.code, FAIL_BAD_FORMAT);
	}
	assert_ok(key_new(unit_path("cut"), NULL, &p, NULL));
	text = file_text("cut.sec");
	snprintf(secret, sizeof(secret), "%s", strstr(text, "\"secret\":\"") + 10);
	for (size_t n = strlen(text) - 1; n-- > 0;) { /* without the newline it is whole */
		text[n] = 0;
		write_text("bad.sec", text, 0600);
		assert_int_equal(load("bad.sec", NULL, &f), -EBADMSG);
		assert_null(strstr(f.message, secret)); /* nor is a piece of it told */
	}
}

static void a_secret_beside_another_public_key_is_refused(void **state)
{
	AUTO_FREE char *text = NULL;
	struct key_public a, b;
	char base64[64], other[64], *at;
	struct fail f;

	(void)state;
	assert_ok(key_new(unit_path("mine"), NULL, &a, NULL));
	assert_ok(key_new(unit_path("other"), NULL, &b, NULL));
	text = file_text("mine.sec");
	key_public_format(&a, base64);
	key_public_format(&b, other);
	at = strstr(text, base64);
	assert_non_null(at);
	for (size_t i = 0; i < strlen(other); i++)
		at[i] = other[i];
	write_text("mixed.sec", text, 0600);
	assert_int_equal(load("mixed.sec", NULL, &f), -EBADMSG);
	assert_non_null(strstr(f.message, "does not belong"));
}

static void the_wrong_half_of_a_pair_is_named(void **state)
{
	struct key_public p;
	struct fail f;

	(void)state;
	assert_ok(key_new(unit_path("half"), NULL, &p, NULL));
	assert_int_equal(key_public_load(unit_path("half.sec"), &p, &f), -EBADMSG);
	assert_non_null(strstr(f.hint, ".pub"));
	assert_ok(chmod(unit_path("half.pub"), 0600));
	assert_int_equal(load("half.pub", NULL, &f), -EBADMSG);
	assert_non_null(strstr(f.hint, ".sec"));
}

static void a_folder_or_a_huge_file_is_no_key(void **state)
{
	AUTO_FREE char *big = calloc(1, 100001);
	struct key_public p;
	struct fail f;

	(void)state;
	memset(big, 'x', 100000);
	write_text("big.pub", big, 0644);
	assert_int_equal(key_public_load(unit_path("big.pub"), &p, &f), -EBADMSG);
	write_text("big.sec", big, 0600);
	assert_int_equal(load("big.sec", NULL, &f), -EBADMSG);
	assert_ok(mkdir(unit_path("folder.sec"), 0700));
	assert_int_equal(load("folder.sec", NULL, &f), -EBADMSG);
	assert_int_equal(load("none.sec", NULL, &f), -ENOENT);
}

static void refuse_raw(const uint8_t raw[32])
{
	AUTO_FREE char *text = bytes_to_base64(raw, 32);
	struct key_public p;
	struct fail f = {0};

	if (key_public_parse(text, &p, &f) >= 0)
		fail_msg("accepted %s", text);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
}

/* Attack 7: whoever gets such a key into a root can sign without a secret. */
static void keys_of_small_order_are_refused(void **state)
{
	static const char *const points[] = {
		/* y = 0, 1 and -1, two of order 8; then p and p + 1, other spellings of 0 and 1
		 */
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		uint8_t raw[32];

		assert_ok(bytes_from_hex(points[i], raw, 32));
		refuse_raw(raw);
		raw[31] |= 0x80; /* the other x */
		refuse_raw(raw);
	}
}

static void keys_that_are_no_point_of_the_curve_are_refused(void **state)
{
	uint8_t raw[32] = {0};

	(void)state;
	raw[0] = 2; /* y = 2 has no x */
	refuse_raw(raw);
	memset(raw, 0xff, sizeof(raw)); /* not below p */
	refuse_raw(raw);
}

static void a_public_key_has_one_spelling(void **state)
{
	AUTO_FREE char *text = NULL;
	struct key_public p, q;
	char base64[64];

	(void)state;
	assert_ok(key_new(unit_path("spelt"), NULL, &p, NULL));
	key_public_format(&p, base64);
	assert_ok(key_public_parse(base64, &q, NULL));
	assert_memory_equal(&p, &q, sizeof(p));
	for (size_t i = 0; base64[i]; i++) {
		static const char others[] = " \n-_%=\"";

		for (const char *o = others; *o; o++) {
			char bad[64];

			memcpy(bad, base64, sizeof(bad));
			if (bad[i] == *o)
				continue;
			bad[i] = *o;
			assert_int_equal(key_public_parse(bad, &q, NULL), -EBADMSG);
		}
	}
	/* The two spare bits of the last digit must be 0; 43 digits need their '='. */
	for (int spare = 1; spare < 4; spare++) {
		static const char digits[] =
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		char bad[64];

		memcpy(bad, base64, sizeof(bad));
		bad[42] = digits[(strchr(digits, bad[42]) - digits) | spare];
		assert_int_equal(key_public_parse(bad, &q, NULL), -EBADMSG);
	}
	base64[43] = 0;
	assert_int_equal(key_public_parse(base64, &q, NULL), -EBADMSG);
	assert_int_equal(key_public_parse("", &q, NULL), -EBADMSG);
}

static void a_public_file_is_one_line(void **state)
{
	static const char *const shapes[] = {
		"%s",
		"hotfix-ed25519%s",
		"ssh-ed25519 %s",
		"hotfix-ed25519 %s\nmore\n",
		"hotfix-ed25519 %s\r\n",
		"hotfix-ed25519  %s\n",
		" hotfix-ed25519 %s\n",
		"hotfix-ed25519 %s\x1b[2J\n",
	};
	struct key_public p, q;
	char base64[64], text[256];

	(void)state;
	assert_ok(key_new(unit_path("line"), NULL, &p, NULL));
	key_public_format(&p, base64);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), shapes[i], base64);
#pragma GCC diagnostic pop
		write_text("shape.pub", text, 0644);
		assert_int_equal(key_public_load(unit_path("shape.pub"), &q, NULL), -EBADMSG);
	}
	snprintf(text, sizeof(text), "hotfix-ed25519 %s", base64);
	write_text("shape.pub", text, 0644);
	assert_ok(key_public_load(unit_path("shape.pub"), &q, NULL));
	snprintf(text, sizeof(text), "hotfix-ed25519 %s the build machine, 2026\n", base64);
	write_text("shape.pub", text, 0644);
	assert_ok(key_public_load(unit_path("shape.pub"), &q, NULL));
	assert_memory_equal(&p, &q, sizeof(p));
}

static void a_key_id_is_the_digest_of_the_raw_key(void **state)
{
	char id[KEY_ID_BYTES], hex[BYTES_SHA256_HEX];
	uint8_t digest[BYTES_SHA256];
	struct key_public p;

	(void)state;
	assert_ok(key_new(unit_path("id"), NULL, &p, NULL));
	bytes_sha256(p.raw, sizeof(p.raw), digest);
	assert_string_equal(key_id(&p, id), bytes_to_hex(digest, sizeof(digest), hex));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_key_loads_and_belongs_to_its_public_half),
		cmocka_unit_test(two_keys_differ),
		cmocka_unit_test(signatures_are_those_of_rfc_8032),
		cmocka_unit_test(the_secret_file_is_for_its_owner_alone),
		cmocka_unit_test(a_secret_that_others_may_use_is_refused),
		cmocka_unit_test(a_key_is_never_overwritten),
		cmocka_unit_test(a_public_file_in_the_way_leaves_no_secret_behind),
		cmocka_unit_test(a_new_key_does_not_follow_a_symbolic_link),
		cmocka_unit_test(a_key_needs_a_folder_that_exists),
		cmocka_unit_test(a_passphrase_opens_its_key_and_no_other_does),
		cmocka_unit_test(an_empty_passphrase_is_refused),
		cmocka_unit_test(a_damaged_secret_file_is_refused),
		cmocka_unit_test(a_secret_beside_another_public_key_is_refused),
		cmocka_unit_test(the_wrong_half_of_a_pair_is_named),
		cmocka_unit_test(a_folder_or_a_huge_file_is_no_key),
		cmocka_unit_test(keys_of_small_order_are_refused),
		cmocka_unit_test(keys_that_are_no_point_of_the_curve_are_refused),
		cmocka_unit_test(a_public_key_has_one_spelling),
		cmocka_unit_test(a_public_file_is_one_line),
		cmocka_unit_test(a_key_id_is_the_digest_of_the_raw_key),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
