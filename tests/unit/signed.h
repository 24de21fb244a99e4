// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/signed.h -- keys, roots, manifests and bundles for the tests of store/, made anew
 * in each program's scratch folder.
 */
#pragma once

#include "tests/unit/unit.h"

#include "store/bundle.h"
#include "store/bytes.h"

#define SIGNED_KEYS 4

static struct key *signed_keys[SIGNED_KEYS];
static const char signed_object[] = "\x7f"
				    "ELF: in these tests nobody may look inside";
static const size_t signed_object_len = sizeof(signed_object) - 1;

__attribute__((unused)) static int signed_setup(void **state)
{
	struct key_public p;

	if (unit_setup(state) < 0)
		return -1;
	for (int i = 0; i < SIGNED_KEYS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "key%d", i);
		if (key_new(unit_path(name), NULL, &p, NULL) < 0)
			return -1;
		snprintf(name, sizeof(name), "key%d.sec", i);
		if (key_load(unit_path(name), NULL, NULL, &signed_keys[i], NULL) < 0)
			return -1;
	}
	return 0;
}

__attribute__((unused)) static int signed_teardown(void **state)
{
	for (int i = 0; i < SIGNED_KEYS; i++)
		signed_keys[i] = key_free(signed_keys[i]);
	return unit_teardown(state);
}

/* The first n keys. */
__attribute__((unused)) static struct trust_role signed_role(size_t n, unsigned int threshold)
{
	struct trust_role role = {.n_keys = n, .threshold = threshold};

	for (size_t i = 0; i < n; i++)
		role.keys[i] = *key_public(signed_keys[i]);
	return role;
}

/* The text of a root in which both roles are the same, signed by the first n_sign keys. */
__attribute__((unused)) static char *signed_root(const struct trust_role *role,
						 uint64_t version, size_t n_sign)
{
	struct trust t = {
		.version = version, .created_ms = 1000, .root = *role, .release = *role};
	char *text = NULL;

	assert_ok(trust_sign(&t, signed_keys, n_sign, &text, NULL));
	return text;
}

/* A root whose release role is the first n keys with this threshold. */
__attribute__((unused)) static struct trust *signed_trust(size_t n, unsigned int threshold)
{
	struct trust_role role = signed_role(n, threshold);
	char *text = signed_root(&role, 1, 0);
	struct trust *t = NULL;

	assert_ok(trust_open(text, strlen(text), &t, NULL));
	free(text);
	return t;
}

/* A small manifest of object; more is spliced in before the end (",\"key\":value"). */
__attribute__((unused)) static char *signed_manifest(const char *name, uint64_t serial,
						     const void *object, size_t len,
						     const char *more)
{
	char hex[BYTES_SHA256_HEX], *text;
	uint8_t digest[BYTES_SHA256];

	bytes_sha256(object, len, digest);
	assert_true(
		asprintf(&text,
			 "{\"format\":1,\"name\":\"%s\",\"serial\":%llu,\"object\":{\"sha256\":"
			 "\"%s\",\"size\":%zu},\"hooks\":[{\"type\":\"lsm\",\"target\":"
			 "\"socket_bind\",\"program\":\"deny\"}]%s}",
			 name, (unsigned long long)serial,
			 bytes_to_hex(digest, sizeof(digest), hex), len, more) > 0);
	return text;
}

/* A bundle of signed_object by the first n keys. */
__attribute__((unused)) static uint8_t *signed_bundle(const char *name, uint64_t serial,
						      size_t n_keys, size_t *ret_len)
{
	char *manifest = signed_manifest(name, serial, signed_object, signed_object_len, "");
	uint8_t *buf;

	assert_ok(bundle_build(manifest, strlen(manifest), signed_object, signed_object_len,
			       signed_keys, n_keys, &buf, ret_len, NULL));
	free(manifest);
	return buf;
}
