// SPDX-License-Identifier: BSD-2-Clause
/*
 * The controller's authority: what it signs, what it refuses to sign, and whom it believes.
 */
#include "tests/unit/certify.h"

#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

static struct fail fail;

static struct ca_bundle *bundle_of(const char *file)
{
	struct ca_bundle *b;

	assert_ok(ca_bundle_load(unit_path(file), &b, NULL));
	return b;
}

/* ---- the authority itself ------------------------------------------------------------------- */

static void the_key_of_an_authority_is_its_owners_alone(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("own", SOME_DAY, DAY_S), *again = NULL;
	struct stat st;

	(void)state;
	assert_ok(stat(unit_path("own.key"), &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_ok(stat(unit_path("own.crt"), &st));
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_ok(chmod(unit_path("own.key"), 0640));
	assert_true(ca_load(unit_path("own"), &again, &fail) < 0);
	assert_int_equal(fail.code, FAIL_PERMISSION);
	assert_non_null(strstr(fail.hint, "chmod 600"));
}

static void an_authority_is_never_overwritten(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("first", SOME_DAY, DAY_S), *again = NULL;
	char before[CA_NAME_BYTES], after[CA_NAME_BYTES];

	(void)state;
	ca_fingerprint(ca, before);
	assert_true(ca_new(unit_path("first"), "first", SOME_DAY, DAY_S, &fail) < 0);
	assert_int_equal(fail.code, FAIL_CONFLICT);
	assert_ok(ca_load(unit_path("first"), &again, NULL));
	assert_string_equal(ca_fingerprint(again, after), before);
	assert_int_equal(strlen(before), 64);
}

static void a_key_that_does_not_belong_to_the_certificate_is_noticed(void **state)
{
	AUTO(ca_freep)
	struct ca *a = certify_ca("mixed", SOME_DAY, DAY_S),
		  *b = certify_ca("other", SOME_DAY, DAY_S), *both = NULL;

	(void)state;
	certify_write("mixed.crt", ca_pem(b), "");
	assert_true(ca_load(unit_path("mixed"), &both, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_SIGNATURE);
}

static void a_certificate_of_a_host_is_no_authority(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("above", SOME_DAY, DAY_S), *host = NULL;
	struct ca_bundle *b;

	(void)state;
	certify_client(ca, "below", CA_HOST, host_a, SOME_DAY, DAY_S);
	assert_true(ca_load(unit_path("below"), &host, &fail) < 0);
	assert_int_equal(fail.code, FAIL_POLICY);
	assert_true(ca_bundle_load(unit_path("below.crt"), &b, &fail) < 0);
	assert_int_equal(fail.code, FAIL_POLICY);
}

/* ---- requests --------------------------------------------------------------------------------- */

static void nothing_of_a_request_but_its_key_gets_into_a_certificate(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("strict", SOME_DAY, 365 * DAY_S);
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	AUTO_FREE char *request = certify_request(key, key, NULL), *pem = NULL;
	AUTO(ca_bundle_freep) struct ca_bundle *b = bundle_of("strict.crt");
	struct ca_peer peer;
	X509 *c;

	(void)state;
	assert_ok(ca_sign(ca, CA_HOST, host_a, request, strlen(request), SOME_DAY, 30 * DAY_S,
			  &pem, NULL));
	c = certify_parse(pem);
	assert_int_equal(X509_pubkey_digest(c, EVP_sha256(), (uint8_t[32]){0}, NULL), 1);
	assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(c), key), 1);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(c)), 1);
	assert_int_equal(X509_check_ca(c), 0);
	assert_int_equal(X509_get_extended_key_usage(c), XKU_SSL_CLIENT);
	assert_int_equal(X509_get_key_usage(c), KU_DIGITAL_SIGNATURE);
	assert_int_equal(X509_get_ext_by_NID(c, NID_subject_alt_name, -1), -1);
	assert_ok(ca_verify(b, CA_HOST, pem, strlen(pem), SOME_DAY, &peer, NULL));
	assert_string_equal(peer.name, host_a);
	assert_int_equal(peer.not_after_s, SOME_DAY + 30 * DAY_S);
	assert_int_equal(strlen(peer.fingerprint), 64);
	X509_free(c);
	EVP_PKEY_free(key);
}

static void serials_are_random_and_a_renewal_is_another_certificate(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("serials", SOME_DAY, 365 * DAY_S);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *request = certify_request(key, key, EVP_sha256()), *one = NULL,
		       *two = NULL;
	X509 *a, *b;

	(void)state;
	assert_ok(ca_sign(ca, CA_HOST, host_a, request, strlen(request), SOME_DAY, DAY_S, &one,
			  NULL));
	assert_ok(ca_sign(ca, CA_HOST, host_a, request, strlen(request), SOME_DAY + 100, DAY_S,
			  &two, NULL));
	a = certify_parse(one);
	b = certify_parse(two);
	assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(a)), 20);
	assert_true(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)));
	X509_free(a);
	X509_free(b);
	EVP_PKEY_free(key);
}

static void a_certificate_ends_with_its_authority_at_the_latest(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("short", SOME_DAY, 10 * DAY_S);
	AUTO(ca_bundle_freep) struct ca_bundle *b = bundle_of("short.crt");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *request = certify_request(key, key, EVP_sha256()), *pem = NULL;
	struct ca_peer peer;

	(void)state;
	assert_ok(ca_sign(ca, CA_HOST, host_a, request, strlen(request), SOME_DAY, UINT64_MAX,
			  &pem, NULL));
	assert_ok(ca_verify(b, CA_HOST, pem, strlen(pem), SOME_DAY, &peer, NULL));
	assert_int_equal(peer.not_after_s, SOME_DAY + 10 * DAY_S);
	free(take_ptr(pem));
	assert_true(ca_sign(ca, CA_HOST, host_a, request, strlen(request),
			    SOME_DAY + 11 * DAY_S, DAY_S, &pem, &fail) < 0);
	assert_int_equal(fail.code, FAIL_EXPIRED);
	EVP_PKEY_free(key);
}

static EVP_PKEY *ed25519(const uint8_t raw[32])
{
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, raw, 32);
}

/* P-256 with its parameters written out. */
static EVP_PKEY *explicit_key(void)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0),
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_EC_ENCODING, "explicit", 0),
		OSSL_PARAM_construct_end()};
	EVP_PKEY *key = NULL;

	assert_int_equal(EVP_PKEY_keygen_init(context), 1);
	assert_int_equal(EVP_PKEY_CTX_set_params(context, params), 1);
	assert_int_equal(EVP_PKEY_generate(context, &key), 1);
	EVP_PKEY_CTX_free(context);
	return key;
}

static void keys_that_anybody_could_have_are_refused(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("keys", SOME_DAY, DAY_S);
	EVP_PKEY *p256 = EVP_EC_gen("P-256"), *p384 = EVP_EC_gen("P-384");
	struct {
		EVP_PKEY *key, *signer;
		const EVP_MD *md;
		enum fail_code code;
	} cases[] = {
		{EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), NULL, NULL, FAIL_NONE},
		{EVP_EC_gen("P-256"), NULL, EVP_sha256(), FAIL_NONE},
		{EVP_EC_gen("P-384"), NULL, EVP_sha384(), FAIL_NONE},
		{EVP_EC_gen("P-224"), NULL, EVP_sha256(), FAIL_POLICY},
		{EVP_EC_gen("secp256k1"), NULL, EVP_sha256(), FAIL_POLICY},
		{EVP_RSA_gen(1024), NULL, EVP_sha256(), FAIL_POLICY},
		{EVP_RSA_gen(2048), NULL, EVP_sha256(), FAIL_POLICY},
		{explicit_key(), NULL, EVP_sha256(), FAIL_POLICY},
		{EVP_EC_gen("P-256"), NULL, EVP_sha1(), FAIL_POLICY},
		{EVP_EC_gen("P-256"), p256, EVP_sha256(), FAIL_BAD_SIGNATURE},
		{EVP_EC_gen("P-256"), p384, EVP_sha256(), FAIL_BAD_SIGNATURE},
		{ed25519((uint8_t[32]){0}), p256, EVP_sha256(), FAIL_BAD_FORMAT},
		{ed25519((uint8_t[32]){1}), p256, EVP_sha256(), FAIL_BAD_FORMAT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		EVP_PKEY *signer = cases[i].signer ? cases[i].signer : cases[i].key;
		AUTO_FREE char *request = certify_request(cases[i].key, signer, cases[i].md),
			       *pem = NULL;
		int r = ca_sign(ca, CA_HOST, host_a, request, strlen(request), SOME_DAY, DAY_S,
				&pem, &fail);

		if ((r < 0 ? fail.code : FAIL_NONE) != cases[i].code)
			fail_msg("case %zu: %d %s", i, r, fail.message);
		EVP_PKEY_free(cases[i].key);
	}
	EVP_PKEY_free(p256);
	EVP_PKEY_free(p384);
}

static void what_is_no_request_is_refused(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("noise", SOME_DAY, DAY_S);
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *request = certify_request(key, key, EVP_sha256()), *pem = NULL;
	size_t len = strlen(request);
	AUTO_FREE char *long_one = calloc(1, CA_REQUEST_BYTES_MAX + len);

	(void)state;
	/* Every bit of it counts, but for where base64 has room to spare. */
	for (size_t i = 40; i < len - 40; i += 7) {
		AUTO_FREE char *bad = strdup(request);

		if (!strchr("\n=", bad[i]) && !strchr("\n=", bad[i + 1])) {
			bad[i] = bad[i] == 'A' ? 'B' : 'A';
			assert_true(ca_sign(ca, CA_HOST, host_a, bad, len, SOME_DAY, DAY_S,
					    &pem, &fail) < 0);
		}
		assert_true(ca_sign(ca, CA_HOST, host_a, request, i, SOME_DAY, DAY_S, &pem,
				    &fail) < 0);
	}
	assert_true(ca_sign(ca, CA_HOST, host_a, ca_pem(ca), strlen(ca_pem(ca)), SOME_DAY,
			    DAY_S, &pem, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_FORMAT);
	memset(long_one, ' ', CA_REQUEST_BYTES_MAX);
	memcpy(long_one + CA_REQUEST_BYTES_MAX, request, len);
	assert_true(ca_sign(ca, CA_HOST, host_a, long_one, CA_REQUEST_BYTES_MAX + len, SOME_DAY,
			    DAY_S, &pem, &fail) < 0);
	EVP_PKEY_free(key);
}

static void a_user_cannot_be_named_like_a_host_nor_a_host_like_a_user(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("names", SOME_DAY, DAY_S);
	AUTO(ca_bundle_freep) struct ca_bundle *b = bundle_of("names.crt");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	AUTO_FREE char *request = certify_request(key, key, EVP_sha256()), *host = NULL,
		       *user = NULL, *bad = NULL;
	struct ca_peer peer;
	size_t len = strlen(request);

	(void)state;
	static const struct {
		enum ca_kind kind;
		const char *name;
	} refused[] = {
		{CA_HOST, "alice"}, {CA_HOST, ""},	{CA_USER, host_a},
		{CA_USER, ""},	    {CA_USER, "a b"},	{CA_USER, "a,CN=b"},
		{CA_USER, "-a"},    {CA_SERVER, "srv"}, {CA_HOST, "AAAAAAAAAAAAAAAAAAAAAAAA"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		assert_true(ca_sign(ca, refused[i].kind, refused[i].name, request, len,
				    SOME_DAY, DAY_S, &bad, &fail) < 0);
		assert_int_equal(fail.code, FAIL_USAGE);
	}
	assert_ok(ca_sign(ca, CA_HOST, host_a, request, len, SOME_DAY, DAY_S, &host, NULL));
	assert_ok(ca_sign(ca, CA_USER, "alice@example.org", request, len, SOME_DAY, DAY_S,
			  &user, NULL));
	assert_ok(ca_verify(b, CA_USER, user, strlen(user), SOME_DAY, &peer, NULL));
	assert_string_equal(peer.name, "alice@example.org");
	assert_true(ca_verify(b, CA_USER, host, strlen(host), SOME_DAY, &peer, &fail) < 0);
	assert_int_equal(fail.code, FAIL_POLICY);
	assert_true(ca_verify(b, CA_HOST, user, strlen(user), SOME_DAY, &peer, &fail) < 0);
	assert_non_null(strstr(fail.message, "alice@example.org"));
	EVP_PKEY_free(key);
}

/* ---- believing -------------------------------------------------------------------------------- */

static void a_certificate_is_good_in_its_time_and_from_a_trusted_authority_only(void **state)
{
	AUTO(ca_freep)
	struct ca *ours = certify_ca("ours", SOME_DAY, 365 * DAY_S),
		  *theirs = certify_ca("theirs", SOME_DAY, 365 * DAY_S);
	AUTO(ca_bundle_freep) struct ca_bundle *b = bundle_of("ours.crt");
	AUTO_FREE char *request = NULL, *good = NULL, *foreign = NULL;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct ca_peer peer;
	size_t len;

	(void)state;
	request = certify_request(key, key, EVP_sha256());
	len = strlen(request);
	assert_ok(ca_sign(ours, CA_HOST, host_a, request, len, SOME_DAY, DAY_S, &good, NULL));
	assert_ok(ca_sign(theirs, CA_HOST, host_a, request, len, SOME_DAY, DAY_S, &foreign,
			  NULL));
	assert_ok(ca_verify(b, CA_HOST, good, strlen(good), SOME_DAY, &peer, NULL));
	assert_ok(ca_verify(b, CA_HOST, good, strlen(good), SOME_DAY - CA_SKEW_S, &peer, NULL));
	assert_true(ca_verify(b, CA_HOST, good, strlen(good), SOME_DAY - CA_SKEW_S - 1, &peer,
			      &fail) < 0);
	assert_int_equal(fail.code, FAIL_EXPIRED);
	assert_non_null(strstr(fail.message, "not yet valid"));
	assert_true(ca_verify(b, CA_HOST, good, strlen(good), SOME_DAY + DAY_S + 1, &peer,
			      &fail) < 0);
	assert_int_equal(fail.code, FAIL_EXPIRED);
	assert_non_null(strstr(fail.message, "expired"));
	assert_true(ca_verify(b, CA_HOST, foreign, strlen(foreign), SOME_DAY, &peer, &fail) <
		    0);
	assert_int_equal(fail.code, FAIL_BAD_SIGNATURE);
	assert_true(ca_verify(b, CA_HOST, "nothing", 7, SOME_DAY, &peer, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_FORMAT);
	EVP_PKEY_free(key);
}

static void the_controllers_own_certificate_is_no_client(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("server", SOME_DAY, 365 * DAY_S);
	AUTO(ca_bundle_freep) struct ca_bundle *b = bundle_of("server.crt");
	static const char *const names[] = {"controller.example", "192.0.2.1", "2001:db8::1"};
	static const char *const bad[] = {"a.example,DNS:b.example"};
	AUTO_FREE uint8_t *pem = NULL;
	struct ca_peer peer;
	struct stat st;
	size_t len;
	X509 *c;

	(void)state;
	assert_ok(ca_sign_server(ca, names, 3, unit_path("listener"), SOME_DAY, DAY_S, NULL));
	assert_ok(stat(unit_path("listener.key"), &st));
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_ok(io_read_file(unit_path("listener.crt"), 1 << 16, &pem, &len));
	c = certify_parse((char *)pem);
	assert_int_equal(X509_check_host(c, names[0], 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(c, names[1], 0), 1);
	assert_int_equal(X509_check_ip_asc(c, names[2], 0), 1);
	assert_int_equal(X509_get_extended_key_usage(c), XKU_SSL_SERVER);
	X509_free(c);
	assert_true(ca_verify(b, CA_USER, pem, len, SOME_DAY, &peer, &fail) < 0);
	assert_int_equal(fail.code, FAIL_POLICY);
	assert_true(ca_sign_server(ca, bad, 1, unit_path("listener"), SOME_DAY, DAY_S, &fail) <
		    0);
	assert_int_equal(fail.code, FAIL_USAGE);
}

static void two_authorities_are_trusted_during_a_rollover(void **state)
{
	/* The same name, as it would be: they are told apart by their keys. */
	AUTO(ca_freep) struct ca *old = NULL, *new = NULL;
	AUTO(ca_bundle_freep) struct ca_bundle *both = NULL, *after = NULL;
	AUTO_FREE char *request = NULL, *by_old = NULL, *by_new = NULL;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct ca_peer peer;
	size_t len;

	(void)state;
	assert_ok(ca_new(unit_path("old"), "fleet", SOME_DAY, 365 * DAY_S, NULL));
	assert_ok(ca_new(unit_path("new"), "fleet", SOME_DAY, 365 * DAY_S, NULL));
	assert_ok(ca_load(unit_path("old"), &old, NULL));
	assert_ok(ca_load(unit_path("new"), &new, NULL));
	request = certify_request(key, key, EVP_sha256());
	len = strlen(request);
	assert_ok(ca_sign(old, CA_HOST, host_a, request, len, SOME_DAY, DAY_S, &by_old, NULL));
	assert_ok(ca_sign(new, CA_HOST, host_a, request, len, SOME_DAY, DAY_S, &by_new, NULL));
	certify_write("both.crt", ca_pem(old), ca_pem(new));
	both = bundle_of("both.crt");
	after = bundle_of("new.crt");
	assert_int_equal(ca_bundle_count(both), 2);
	assert_ok(ca_verify(both, CA_HOST, by_old, strlen(by_old), SOME_DAY, &peer, NULL));
	assert_ok(ca_verify(both, CA_HOST, by_new, strlen(by_new), SOME_DAY, &peer, NULL));
	assert_ok(ca_verify(after, CA_HOST, by_new, strlen(by_new), SOME_DAY, &peer, NULL));
	assert_true(ca_verify(after, CA_HOST, by_old, strlen(by_old), SOME_DAY, &peer, &fail) <
		    0);
	assert_int_equal(fail.code, FAIL_BAD_SIGNATURE);
	EVP_PKEY_free(key);
}

static void a_bundle_is_good_as_a_whole_or_not_at_all(void **state)
{
	AUTO(ca_freep) struct ca *ca = certify_ca("whole", SOME_DAY, DAY_S);
	AUTO(ca_bundle_freep) struct ca_bundle *twice = NULL;
	struct ca_bundle *b = NULL;

	(void)state;
	certify_write("broken.crt", ca_pem(ca),
		      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	assert_true(ca_bundle_load(unit_path("broken.crt"), &b, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_FORMAT);
	certify_write("empty.crt", "", "\n");
	assert_true(ca_bundle_load(unit_path("empty.crt"), &b, &fail) < 0);
	assert_int_equal(fail.code, FAIL_BAD_FORMAT);
	assert_true(ca_bundle_load(unit_path("absent.crt"), &b, &fail) < 0);
	assert_int_equal(fail.code, FAIL_NOT_FOUND);
	certify_write("twice.crt", ca_pem(ca), ca_pem(ca));
	twice = bundle_of("twice.crt");
	assert_int_equal(ca_bundle_count(twice), 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_key_of_an_authority_is_its_owners_alone),
		cmocka_unit_test(an_authority_is_never_overwritten),
		cmocka_unit_test(a_key_that_does_not_belong_to_the_certificate_is_noticed),
		cmocka_unit_test(a_certificate_of_a_host_is_no_authority),
		cmocka_unit_test(nothing_of_a_request_but_its_key_gets_into_a_certificate),
		cmocka_unit_test(serials_are_random_and_a_renewal_is_another_certificate),
		cmocka_unit_test(a_certificate_ends_with_its_authority_at_the_latest),
		cmocka_unit_test(keys_that_anybody_could_have_are_refused),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_user_cannot_be_named_like_a_host_nor_a_host_like_a_user),
		cmocka_unit_test(
			a_certificate_is_good_in_its_time_and_from_a_trusted_authority_only),
		cmocka_unit_test(the_controllers_own_certificate_is_no_client),
		cmocka_unit_test(two_authorities_are_trusted_during_a_rollover),
		cmocka_unit_test(a_bundle_is_good_as_a_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
