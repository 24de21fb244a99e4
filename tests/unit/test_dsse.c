// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/signed.h"

#include "lib/json.h"

#define PAYLOAD "{\"a\":1}"

/* One entry of "signatures", made here by hand from the specification's encoding. */
static char *signature_by(int key, const char *type, const char *payload, const char *keyid)
{
	AUTO_FREE char *pae = NULL, *sig64 = NULL;
	char id[KEY_ID_BYTES], *text;
	uint8_t sig[64];

	assert_true(asprintf(&pae, "DSSEv1 %zu %s %zu %s", strlen(type), type, strlen(payload),
			     payload) > 0);
	assert_ok(key_sign(signed_keys[key], pae, strlen(pae), sig));
	sig64 = bytes_to_base64(sig, sizeof(sig));
	if (!keyid)
		keyid = key_id(key_public(signed_keys[key]), id);
	assert_true(asprintf(&text, "{\"keyid\":\"%s\",\"sig\":\"%s\"}", keyid, sig64) > 0);
	return text;
}

static char *envelope(const char *type, const char *payload, const char *signatures)
{
	AUTO_FREE char *payload64 = bytes_to_base64(payload, strlen(payload));
	char *text;

	assert_true(asprintf(&text,
			     "{\"payload\":\"%s\",\"payloadType\":\"%s\",\"signatures\":[%s]}",
			     payload64, type, signatures) > 0);
	return text;
}

/* Verifies text as a manifest by the first n_keys; 0 or -errno. */
static int verify(const char *text, size_t n_keys, unsigned int threshold, struct fail *f)
{
	struct trust_role role = signed_role(n_keys, threshold);
	AUTO(dsse_freep) struct dsse *d = NULL;
	const uint8_t *payload;
	size_t len;
	int r;

	memset(f, 0, sizeof(*f));
	r = dsse_parse("test", text, strlen(text), &d, f);
	if (r == 0)
		r = dsse_verify(d, DSSE_TYPE_MANIFEST, role.keys, role.n_keys, threshold,
				&payload, &len, f);
	if (r == 0) {
		assert_int_equal(len, strlen(PAYLOAD));
		assert_memory_equal(payload, PAYLOAD, len);
	}
	return r;
}

static int verify_signed_by(int a, int b, size_t n_keys, unsigned int threshold, struct fail *f)
{
	AUTO_FREE char *one = signature_by(a, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *two = signature_by(b, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *both = NULL, *text = NULL;

	assert_true(asprintf(&both, "%s,%s", one, two) > 0);
	text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, both);
	return verify(text, n_keys, threshold, f);
}

static void what_is_signed_verifies(void **state)
{
	AUTO_FREE char *text = NULL;
	struct fail f;

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, PAYLOAD, strlen(PAYLOAD), signed_keys, 2, &text,
			    NULL));
	assert_ok(verify(text, 1, 1, &f));
	assert_ok(verify(text, 2, 2, &f));
}

static void the_signed_bytes_are_those_of_the_specification(void **state)
{
	AUTO_FREE char *sig = signature_by(0, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *by_hand = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	AUTO_FREE char *text = NULL;

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, PAYLOAD, strlen(PAYLOAD), signed_keys, 1, &text,
			    NULL));
	assert_string_equal(text, by_hand);
}

/* Attack 2. */
static void an_unsigned_document_is_refused(void **state)
{
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, "");
	struct fail f;

	(void)state;
	assert_int_equal(verify(text, 1, 1, &f), -EKEYREJECTED);
	assert_int_equal(f.code, FAIL_BAD_SIGNATURE);
	assert_non_null(strstr(f.message, "not signed"));
	assert_true(f.hint[0]);
}

static void a_threshold_of_zero_accepts_nothing(void **state)
{
	AUTO_FREE char *unsigned_text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, "");
	struct fail f;

	(void)state;
	assert_int_equal(verify(unsigned_text, 1, 0, &f), -EKEYREJECTED);
	assert_int_equal(verify_signed_by(0, 1, 2, 0, &f), -EKEYREJECTED);
}

static void a_manifest_is_never_written_without_a_signature(void **state)
{
	AUTO_FREE char *text = NULL;
	struct fail f = {0};

	(void)state;
	assert_int_equal(dsse_sign(DSSE_TYPE_MANIFEST, "{}", 2, NULL, 0, &text, &f), -EINVAL);
	assert_int_equal(f.code, FAIL_USAGE);
	assert_ok(dsse_sign(DSSE_TYPE_ROOT, "{}", 2, NULL, 0, &text, NULL));
}

/* On a machine that only sees the bytes: a token, a computer without a network. */
static void a_signature_made_elsewhere_is_attached(void **state)
{
	const struct key_public *by = key_public(signed_keys[1]);
	AUTO_FREE char *text = NULL;
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO_FREE uint8_t *bytes = NULL;
	uint8_t sig[64];
	struct fail f = {0};
	size_t len;

	(void)state;
	assert_ok(dsse_new("test", DSSE_TYPE_MANIFEST, PAYLOAD, strlen(PAYLOAD), &d, NULL));
	assert_ok(dsse_to_sign(d, &bytes, &len));
	assert_memory_equal(bytes, "DSSEv1 37 " DSSE_TYPE_MANIFEST " ", 48);
	assert_memory_equal(bytes + len - strlen(PAYLOAD), PAYLOAD, strlen(PAYLOAD));
	assert_ok(key_sign(signed_keys[1], bytes, len, sig));
	assert_int_equal(dsse_attach(d, key_public(signed_keys[0]), sig, &f), -EKEYREJECTED);
	assert_int_equal(dsse_n_signatures(d), 0);
	assert_ok(dsse_attach(d, by, sig, &f));
	assert_ok(dsse_attach(d, by, sig, &f));
	assert_ok(dsse_add(d, signed_keys[1], &f));
	assert_int_equal(dsse_n_signatures(d), 1);
	assert_ok(dsse_format(d, &text, NULL));
	assert_ok(verify(text, 2, 1, &f));
}

/* Attack 3. */
static void one_of_three_keys_is_below_a_threshold_of_two(void **state)
{
	AUTO_FREE char *sig = signature_by(1, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	struct fail f;

	(void)state;
	assert_int_equal(verify(text, 3, 2, &f), -EKEYREJECTED);
	assert_non_null(strstr(f.message, "1 of the trusted keys, 2 must sign"));
	assert_ok(verify_signed_by(1, 2, 3, 2, &f));
}

/* Attack 4. */
static void the_same_signature_twice_counts_once(void **state)
{
	struct fail f;

	(void)state;
	assert_int_equal(verify_signed_by(0, 0, 3, 2, &f), -EKEYREJECTED);
}

static void one_key_under_two_key_ids_counts_once(void **state)
{
	AUTO_FREE char *one = signature_by(0, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *two = signature_by(0, DSSE_TYPE_MANIFEST, PAYLOAD, "");
	AUTO_FREE char *three = NULL, *all = NULL, *text = NULL;
	char id[KEY_ID_BYTES];
	struct fail f;

	(void)state;
	three = signature_by(0, DSSE_TYPE_MANIFEST, PAYLOAD,
			     key_id(key_public(signed_keys[1]), id));
	assert_true(asprintf(&all, "%s,%s,%s", one, two, three) > 0);
	text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, all);
	assert_int_equal(verify(text, 3, 2, &f), -EKEYREJECTED);
	assert_ok(verify(text, 3, 1, &f));
}

static void one_key_listed_twice_counts_once(void **state)
{
	AUTO_FREE char *text = NULL;
	AUTO(dsse_freep) struct dsse *d = NULL;
	struct key_public keys[3];
	const uint8_t *payload;
	size_t len;

	(void)state;
	for (int i = 0; i < 3; i++)
		keys[i] = *key_public(signed_keys[0]);
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, PAYLOAD, strlen(PAYLOAD), signed_keys, 1, &text,
			    NULL));
	assert_ok(dsse_parse("test", text, strlen(text), &d, NULL));
	assert_int_equal(dsse_verify(d, DSSE_TYPE_MANIFEST, keys, 3, 2, &payload, &len, NULL),
			 -EKEYREJECTED);
}

static void signing_twice_with_a_key_makes_one_signature(void **state)
{
	struct key *twice[] = {signed_keys[0], signed_keys[0]};
	AUTO_FREE char *text = NULL;
	AUTO(dsse_freep) struct dsse *d = NULL;

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, "{}", 2, twice, 2, &text, NULL));
	assert_ok(dsse_parse("test", text, strlen(text), &d, NULL));
	assert_int_equal(dsse_n_signatures(d), 1);
}

static void a_signature_without_key_id_is_tried_with_every_key(void **state)
{
	AUTO_FREE char *sig = signature_by(2, DSSE_TYPE_MANIFEST, PAYLOAD, "");
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	struct fail f;

	(void)state;
	assert_ok(verify(text, 3, 1, &f));
}

static void a_signature_under_the_id_of_another_key_does_not_count(void **state)
{
	AUTO_FREE char *sig = NULL, *text = NULL;
	char id[KEY_ID_BYTES];
	struct fail f;

	(void)state;
	sig = signature_by(0, DSSE_TYPE_MANIFEST, PAYLOAD,
			   key_id(key_public(signed_keys[1]), id));
	text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	assert_int_equal(verify(text, 3, 1, &f), -EKEYREJECTED);
}

static void an_unknown_key_is_named_beside_the_trusted_ones(void **state)
{
	AUTO_FREE char *sig = signature_by(3, DSSE_TYPE_MANIFEST, PAYLOAD, NULL);
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	char id[KEY_ID_BYTES];
	struct fail f;

	(void)state;
	assert_int_equal(verify(text, 2, 1, &f), -EKEYREJECTED);
	for (int i = 0; i < SIGNED_KEYS; i++) {
		key_id(key_public(signed_keys[i]), id);
		id[16] = 0;
		if (i != 2)
			assert_non_null(strstr(f.message, id));
		else
			assert_null(strstr(f.message, id));
	}
	assert_non_null(strstr(f.hint, "trust show"));
}

static void an_altered_document_is_told_from_an_unknown_key(void **state)
{
	AUTO_FREE char *sig = signature_by(0, DSSE_TYPE_MANIFEST, "{\"a\":2}", NULL);
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	struct fail f;

	(void)state;
	assert_int_equal(verify(text, 1, 1, &f), -EKEYREJECTED);
	assert_non_null(strstr(f.message, "does not fit the contents"));
}

/* Attack 5: the type is part of what is signed. */
static void a_signature_of_one_type_is_worth_nothing_for_another(void **state)
{
	AUTO_FREE char *sig = signature_by(0, DSSE_TYPE_ROOT, PAYLOAD, NULL);
	AUTO_FREE char *relabelled = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	AUTO_FREE char *honest = envelope(DSSE_TYPE_ROOT, PAYLOAD, sig);
	struct fail f;

	(void)state;
	assert_int_equal(verify(relabelled, 1, 1, &f), -EKEYREJECTED);
	assert_int_equal(verify(honest, 1, 1, &f), -EBADMSG);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	assert_non_null(strstr(f.message, DSSE_TYPE_ROOT));
}

static void unverified_payloads_are_handed_out_by_type_only(void **state)
{
	AUTO_FREE char *text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, "");
	AUTO(dsse_freep) struct dsse *d = NULL;
	size_t len;

	(void)state;
	assert_ok(dsse_parse("test", text, strlen(text), &d, NULL));
	assert_non_null(dsse_unverified_payload(d, DSSE_TYPE_MANIFEST, &len));
	assert_null(dsse_unverified_payload(d, DSSE_TYPE_ROOT, &len));
}

/* Attack 7: S and S + L fit the same equation; only the small one is a signature. */
static void a_signature_has_one_form(void **state)
{
	static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a,	      0x63,
					  0x12, 0x58, 0xd6, 0x9c, 0xf7,	      0xa2,
					  0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
	AUTO_FREE char *text = NULL;
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *sig64 = NULL, *malleable = NULL;
	unsigned int carry = 0;
	struct fail f;
	uint8_t sig[64];
	json_t *entry;

	(void)state;
	assert_ok(dsse_sign(DSSE_TYPE_MANIFEST, PAYLOAD, strlen(PAYLOAD), signed_keys, 1, &text,
			    NULL));
	assert_ok(json_parse("test", text, strlen(text), &doc, NULL));
	entry = json_array_get(json_object_get(doc, "signatures"), 0);
	assert_ok(bytes_from_base64_exact(json_string_value(json_object_get(entry, "sig")), sig,
					  sizeof(sig)));
	for (int i = 0; i < 32; i++) {
		carry += sig[32 + i] + order[i];
		sig[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	sig64 = bytes_to_base64(sig, sizeof(sig));
	json_object_set_new(entry, "sig", json_string(sig64));
	malleable = json_dumps(doc, JSON_COMPACT);
	assert_int_equal(verify(malleable, 1, 1, &f), -EKEYREJECTED);
}

/* Attack 7: were such a key in a root all the same, R = -A and S = 0 would fit anything. */
static void a_small_order_key_verifies_nothing(void **state)
{
	static const struct key_public identity = {.raw = {1}};
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO_FREE char *text = NULL, *sig64 = NULL, *sig = NULL;
	uint8_t forged[64] = {1};
	const uint8_t *payload;
	size_t len;

	(void)state;
	sig64 = bytes_to_base64(forged, sizeof(forged));
	assert_true(asprintf(&sig, "{\"sig\":\"%s\"}", sig64) > 0);
	text = envelope(DSSE_TYPE_MANIFEST, PAYLOAD, sig);
	assert_ok(dsse_parse("test", text, strlen(text), &d, NULL));
	assert_int_equal(
		dsse_verify(d, DSSE_TYPE_MANIFEST, &identity, 1, 1, &payload, &len, NULL),
		-EKEYREJECTED);
}

static void refuse_text(const char *text, size_t len)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	struct fail f = {0};

	if (dsse_parse("test", text, len, &d, &f) >= 0)
		fail_msg("accepted %.200s", text);
	assert_int_equal(f.code, FAIL_BAD_FORMAT);
	assert_true(f.message[0]);
	assert_null(d);
}

#define T "\"payloadType\":\"t\""
#define P "\"payload\":\"e30=\""
#define S "\"signatures\":[]"
#define SIG \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void envelopes_are_parsed_strictly(void **state)
{
	static const char *const bad[] = {
		"",
		" ",
		"x",
		"{",
		"[]",
		"{}",
		"\"text\"",
		"12",
		"null",
		"{" P "," S "}",
		"{" T "," S "}",
		"{" T "," P "}",
		"{" T "," P "," S "}x",
		"{" T "," P "," S "}{}",
		"{" T "," P "," S ",}",
		"{" T "," P "," S ",\"more\":1}",
		"{" T "," P "," P "," S "}",
		"\xef\xbb\xbf{" T "," P "," S "}",
		"{\"payloadType\":1," P "," S "}",
		"{" T ",\"payload\":null," S "}",
		"{" T ",\"payload\":\"e30\"," S "}",
		"{" T ",\"payload\":\"e31=\"," S "}",
		"{" T ",\"payload\":\"e30=\\n\"," S "}",
		"{" T ",\"payload\":\"e3_=\"," S "}",
		"{" T ",\"payload\":\" e30=\"," S "}",
		"{" T "," P ",\"signatures\":{}}",
		"{" T "," P ",\"signatures\":[1]}",
		"{" T "," P ",\"signatures\":[{}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"\"}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"AAAA\"}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"x\":1}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"keyid\":\"abc\"}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"keyid\":\"" ID "0\"}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"keyid\":\"0123456789ABCDEF"
		"0123456789abcdef0123456789abcdef0123456789abcdef\"}]}",
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"keyid\":1}]}",
	};
	static const char good[] =
		"{" T "," P ",\"signatures\":[{\"sig\":\"" SIG "\",\"keyid\":\"" ID "\"}]}";
	AUTO(dsse_freep) struct dsse *d = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refuse_text(bad[i], strlen(bad[i]));
	refuse_text(good, sizeof(good)); /* with its NUL */
	assert_ok(dsse_parse("test", good, strlen(good), &d, NULL));
	assert_string_equal(dsse_keyid(d, 0), ID);
	assert_string_equal(dsse_keyid(d, 1), "");
}

static void envelopes_are_bounded(void **state)
{
	AUTO_FREE char *big = malloc(DSSE_BYTES_MAX + 2);
	AUTO_FREE char *many = malloc(100000);
	size_t n;

	(void)state;
	memset(big, ' ', DSSE_BYTES_MAX + 2);
	memcpy(big, "{" T "," P "," S "}", strlen("{" T "," P "," S "}"));
	refuse_text(big, DSSE_BYTES_MAX + 1);
	n = (size_t)sprintf(many, "{" T "," P ",\"signatures\":[");
	for (int i = 0; i <= DSSE_SIGNATURES_MAX; i++)
		n += (size_t)sprintf(many + n, "%s{\"sig\":\"" SIG "\"}", i ? "," : "");
	sprintf(many + n, "]}");
	refuse_text(many, strlen(many));
}

static void a_payload_too_large_for_an_envelope_is_not_signed(void **state)
{
	AUTO_FREE char *big = calloc(1, DSSE_BYTES_MAX);
	AUTO_FREE char *text = NULL;
	struct fail f = {0};

	(void)state;
	assert_int_equal(
		dsse_sign(DSSE_TYPE_MANIFEST, big, DSSE_BYTES_MAX, signed_keys, 1, &text, &f),
		-EINVAL);
	assert_int_equal(f.code, FAIL_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_signed_verifies),
		cmocka_unit_test(the_signed_bytes_are_those_of_the_specification),
		cmocka_unit_test(an_unsigned_document_is_refused),
		cmocka_unit_test(a_threshold_of_zero_accepts_nothing),
		cmocka_unit_test(a_manifest_is_never_written_without_a_signature),
		cmocka_unit_test(a_signature_made_elsewhere_is_attached),
		cmocka_unit_test(one_of_three_keys_is_below_a_threshold_of_two),
		cmocka_unit_test(the_same_signature_twice_counts_once),
		cmocka_unit_test(one_key_under_two_key_ids_counts_once),
		cmocka_unit_test(one_key_listed_twice_counts_once),
		cmocka_unit_test(signing_twice_with_a_key_makes_one_signature),
		cmocka_unit_test(a_signature_without_key_id_is_tried_with_every_key),
		cmocka_unit_test(a_signature_under_the_id_of_another_key_does_not_count),
		cmocka_unit_test(an_unknown_key_is_named_beside_the_trusted_ones),
		cmocka_unit_test(an_altered_document_is_told_from_an_unknown_key),
		cmocka_unit_test(a_signature_of_one_type_is_worth_nothing_for_another),
		cmocka_unit_test(unverified_payloads_are_handed_out_by_type_only),
		cmocka_unit_test(a_signature_has_one_form),
		cmocka_unit_test(a_small_order_key_verifies_nothing),
		cmocka_unit_test(envelopes_are_parsed_strictly),
		cmocka_unit_test(envelopes_are_bounded),
		cmocka_unit_test(a_payload_too_large_for_an_envelope_is_not_signed),
	};

	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
