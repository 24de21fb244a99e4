// SPDX-License-Identifier: BSD-2-Clause
#include "store/bundle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/plural.h"
#include "store/bytes.h"

#define MAGIC_BYTES  8
#define HEADER_BYTES 16

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static bool starts(const uint8_t *buf, size_t len, const char *with, size_t n)
{
	return len >= n && memcmp(buf, with, n) == 0;
}

/* What somebody may have taken for a bundle, by its first bytes only. */
static int not_a_bundle(const uint8_t *buf, size_t len, struct fail *f)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *is, *hint;
	} kinds[] = {
		/* clang-format off */
		{ "{", 1, "a JSON document",
		  "A root is imported with `hotfixctl trust import`; a manifest becomes a bundle with `hotfixctl build`." },
		{ "hotfix-ed25519 ", 15, "a public key", "Name a bundle: hotfixctl build or pack writes one." },
		{ "\x1f\x8b", 2, "compressed (gzip)", "Unpack it first." },
		{ "\x28\xb5\x2f\xfd", 4, "compressed (zstd)", "Unpack it first." },
		{ "\xfd" "7zXZ", 5, "compressed (xz)", "Unpack it first." },
		{ "PK\x03\x04", 4, "compressed (zip)", "Unpack it first." },
		/* clang-format on */
	};

	if (starts(buf, len,
		   "\x7f"
		   "ELF",
		   4)) {
		/* e_machine 247 is EM_BPF; nothing more of an unsigned ELF is looked at. */
		bool bpf = len >= 20 && ((buf[18] == 247 && buf[19] == 0) ||
					 (buf[18] == 0 && buf[19] == 247));

		fail_set(f, FAIL_BAD_FORMAT, "not a bundle: this is %s",
			 bpf ? "an unsigned BPF object" : "an ELF file, and not even for BPF");
		if (bpf)
			fail_hint(f, "Sign it with `hotfixctl pack --object FILE.o --name NAME "
				     "--serial N --key KEY.sec --out FILE`.");
		return -fail_errno(FAIL_BAD_FORMAT);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (starts(buf, len, kinds[i].magic, kinds[i].len)) {
			fail_set(f, FAIL_BAD_FORMAT, "not a bundle: this is %s", kinds[i].is);
			return fail_hint(f, "%s", kinds[i].hint);
		}
	fail_set(f, FAIL_BAD_FORMAT, "not a bundle: it does not start with \"HOTFIX1\"");
	return fail_hint(f, "A bundle is what `hotfixctl build` or `hotfixctl pack` wrote.");
}

static int truncated(struct fail *f, size_t len, uint64_t whole)
{
	fail_set(f, FAIL_BAD_FORMAT, "truncated: %" PRIu64 " of %" PRIu64 " bytes are missing",
		 whole - len, whole);
	return fail_hint(f, "The copy or download ended early: fetch the bundle again.");
}

/* Where envelope and object are; their lengths fill buf exactly. */
static int frame(const uint8_t *buf, size_t len, size_t *ret_envelope_len,
		 size_t *ret_object_len, struct fail *f)
{
	uint64_t envelope, object, whole;

	if (len == 0) {
		fail_set(f, FAIL_BAD_FORMAT, "empty: a bundle has at least %d bytes",
			 HEADER_BYTES);
		return fail_hint(f, "Fetch the bundle again.");
	}
	if (memcmp(buf, BUNDLE_MAGIC, len < MAGIC_BYTES ? len : MAGIC_BYTES) != 0)
		return not_a_bundle(buf, len, f);
	if (len > BUNDLE_BYTES_MAX) {
		fail_set(f, FAIL_BAD_FORMAT, "too large: %zu bytes, a bundle has at most %u",
			 len, BUNDLE_BYTES_MAX);
		return fail_hint(f, "An object may have %u MiB.",
				 BUNDLE_OBJECT_BYTES_MAX >> 20);
	}
	if (len < HEADER_BYTES) {
		fail_set(f, FAIL_BAD_FORMAT, "truncated: the header alone lacks %zu bytes",
			 HEADER_BYTES - len);
		return fail_hint(f,
				 "The copy or download ended early: fetch the bundle again.");
	}
	envelope = get_u32(buf + 8);
	object = get_u32(buf + 12);
	if (envelope == 0 || envelope > DSSE_BYTES_MAX || object == 0 ||
	    object > BUNDLE_OBJECT_BYTES_MAX) {
		fail_set(f, FAIL_BAD_FORMAT,
			 "damaged header: envelope of %" PRIu64 " bytes (1 to %u), object of "
			 "%" PRIu64 " bytes (1 to %u)",
			 envelope, DSSE_BYTES_MAX, object, BUNDLE_OBJECT_BYTES_MAX);
		return fail_hint(f, "Fetch the bundle again.");
	}
	whole = HEADER_BYTES + envelope + object;
	if (len < whole)
		return truncated(f, len, whole);
	if (len > whole) {
		fail_set(f, FAIL_BAD_FORMAT, "%" PRIu64 " bytes follow the end of the bundle",
			 len - whole);
		return fail_hint(f, "Nothing unsigned may travel in a bundle: fetch it again.");
	}
	*ret_envelope_len = envelope;
	*ret_object_len = object;
	return 0;
}

static int check_object(const struct manifest *m, const void *object, size_t len,
			struct fail *f)
{
	char is[BYTES_SHA256_HEX], signed_as[BYTES_SHA256_HEX];
	uint8_t digest[BYTES_SHA256];

	if (len != m->object_bytes) {
		fail_set(f, FAIL_BAD_DIGEST,
			 "the object has %zu bytes, the manifest signs %" PRIu64, len,
			 m->object_bytes);
		return fail_hint(f,
				 "The object is not the one that was signed: fetch the bundle "
				 "again or build it anew.");
	}
	bytes_sha256(object, len, digest);
	if (memcmp(digest, m->object_sha256, sizeof(digest)) != 0) {
		fail_set(f, FAIL_BAD_DIGEST,
			 "the object's SHA-256 is %s, the manifest signs %s",
			 bytes_to_hex(digest, sizeof(digest), is),
			 bytes_to_hex(m->object_sha256, sizeof(digest), signed_as));
		return fail_hint(f,
				 "The object is not the one that was signed: fetch the bundle "
				 "again or build it anew.");
	}
	return 0;
}

/* Of those whose signatures held, enough must be allowed to sign what the manifest says. */
static int check_scopes(const struct bundle *b, const struct trust *trust, struct fail *f)
{
	const struct manifest *m = b->manifest;
	struct trust_role role = trust_release_for(trust, m->name, m->hooks, m->n_hooks);
	const uint8_t *payload;
	size_t len;

	if (role.n_keys == trust->release.n_keys ||
	    dsse_verify(b->envelope, DSSE_TYPE_MANIFEST, role.keys, role.n_keys, role.threshold,
			&payload, &len, NULL) == 0)
		return 0;
	fail_set(f, FAIL_BAD_SIGNATURE,
		 "bundle: signed by fewer than %u key%s that may sign %s with its hooks",
		 role.threshold, plural(role.threshold), m->name);
	return fail_hint(f, "`hotfixctl trust show` lists the scopes of the release keys.");
}

/* trust NULL: signatures are not checked. */
static int open_bundle(const void *buf, size_t len, const struct trust *trust,
		       struct bundle **ret_bundle, struct fail *reterr_fail)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	const uint8_t *bytes = buf, *payload;
	size_t envelope_len = 0, object_len = 0, payload_len;
	int r;

	r = frame(bytes, len, &envelope_len, &object_len, reterr_fail);
	if (r < 0)
		return r;
	b = calloc(1, sizeof(*b));
	if (!b)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = dsse_parse("bundle", bytes + HEADER_BYTES, envelope_len, &b->envelope, reterr_fail);
	if (r < 0)
		return r;
	if (trust) {
		r = dsse_verify(b->envelope, DSSE_TYPE_MANIFEST, trust->release.keys,
				trust->release.n_keys, trust->release.threshold, &payload,
				&payload_len, reterr_fail);
		if (r < 0)
			return r;
	} else {
		payload =
			dsse_unverified_payload(b->envelope, DSSE_TYPE_MANIFEST, &payload_len);
		if (!payload)
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"bundle: its envelope holds no manifest");
	}
	r = manifest_parse(payload, payload_len, &b->manifest, reterr_fail);
	if (r == 0 && trust)
		r = check_scopes(b, trust, reterr_fail);
	if (r < 0)
		return r;
	b->object = bytes + HEADER_BYTES + envelope_len;
	b->object_len = object_len;
	r = check_object(b->manifest, b->object, b->object_len, reterr_fail);
	if (r < 0)
		return r;
	bytes_sha256(payload, payload_len, b->manifest_sha256);
	bytes_sha256(buf, len, b->digest);
	*ret_bundle = take_ptr(b);
	return 0;
}

int bundle_open(const void *buf, size_t len, const struct trust *trust,
		struct bundle **ret_bundle, struct fail *reterr_fail)
{
	if (!trust) {
		fail_set(reterr_fail, FAIL_NO_TRUST, "no root is trusted yet");
		return fail_hint(reterr_fail, "Import one: hotfixctl trust import ROOT");
	}
	return open_bundle(buf, len, trust, ret_bundle, reterr_fail);
}

int bundle_open_unverified(const void *buf, size_t len, struct bundle **ret_bundle,
			   struct fail *reterr_fail)
{
	return open_bundle(buf, len, NULL, ret_bundle, reterr_fail);
}

bool bundle_signed_by(const struct bundle *b, const struct key_public *key)
{
	const uint8_t *payload;
	size_t len;

	return dsse_verify(b->envelope, DSSE_TYPE_MANIFEST, key, 1, 1, &payload, &len, NULL) ==
	       0;
}

struct bundle *bundle_free(struct bundle *b)
{
	if (b) {
		dsse_free(b->envelope);
		manifest_free(b->manifest);
	}
	free(b);
	return NULL;
}

static int assemble(const char *envelope, const void *object, size_t object_len,
		    uint8_t **ret_buf, size_t *ret_len, struct fail *reterr_fail)
{
	size_t envelope_len = strlen(envelope), len = HEADER_BYTES + envelope_len + object_len;
	uint8_t *buf = malloc(len);

	if (!buf)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	memcpy(buf, BUNDLE_MAGIC, MAGIC_BYTES);
	put_u32(buf + 8, (uint32_t)envelope_len);
	put_u32(buf + 12, (uint32_t)object_len);
	memcpy(buf + HEADER_BYTES, envelope, envelope_len);
	memcpy(buf + HEADER_BYTES + envelope_len, object, object_len);
	*ret_buf = buf;
	*ret_len = len;
	return 0;
}

int bundle_format(const struct bundle *b, uint8_t **ret_buf, size_t *ret_len,
		  struct fail *reterr_fail)
{
	AUTO_FREE char *envelope = NULL;
	int r = dsse_format(b->envelope, &envelope, reterr_fail);

	return r < 0 ? r
		     : assemble(envelope, b->object, b->object_len, ret_buf, ret_len,
				reterr_fail);
}

int bundle_build(const void *manifest_text, size_t manifest_len, const void *object,
		 size_t object_len, struct key *const *keys, size_t n_keys, uint8_t **ret_buf,
		 size_t *ret_len, struct fail *reterr_fail)
{
	AUTO(manifest_freep) struct manifest *m = NULL;
	AUTO_FREE char *envelope = NULL;
	int r;

	if (object_len == 0 || object_len > BUNDLE_OBJECT_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the object has %zu bytes; 1 to %u are possible", object_len,
				BUNDLE_OBJECT_BYTES_MAX);
	r = manifest_parse(manifest_text, manifest_len, &m, reterr_fail);
	if (r == 0)
		r = check_object(m, object, object_len, reterr_fail);
	if (r == 0)
		r = dsse_sign(DSSE_TYPE_MANIFEST, manifest_text, manifest_len, keys, n_keys,
			      &envelope, reterr_fail);
	return r < 0 ? r
		     : assemble(envelope, object, object_len, ret_buf, ret_len, reterr_fail);
}
