// SPDX-License-Identifier: BSD-2-Clause
#include "store/dsse.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <jansson.h>
#include <sodium.h>

#include "lib/json.h"
#include "store/bytes.h"

#define TYPE_BYTES_MAX 128
#define ID_SHOWN       16 /* digits of a key id in messages */

struct signature {
	char keyid[KEY_ID_BYTES]; /* "" when the envelope names none */
	uint8_t sig[crypto_sign_BYTES];
};

struct dsse {
	char what[32], type[TYPE_BYTES_MAX + 1];
	uint8_t *payload;
	size_t len;
	struct signature signatures[DSSE_SIGNATURES_MAX];
	size_t n_signatures;
};

static int parse_signature(const json_t *item, struct signature *ret_signature,
			   struct fail *reterr_fail)
{
	struct json_fields f = json_fields("signature", item, reterr_fail);
	const char *sig = json_str(&f, "sig", 128);
	const char *keyid = json_str_or(&f, "keyid", KEY_ID_BYTES - 1, "");
	uint8_t digest[BYTES_SHA256];
	struct signature s = {0};

	if (f.r == 0 && keyid[0] && bytes_from_hex(keyid, digest, sizeof(digest)) < 0)
		json_bad(&f, "keyid", "must be 64 lower-case hex digits");
	if (f.r == 0 && bytes_from_base64_exact(sig, s.sig, sizeof(s.sig)) < 0)
		json_bad(&f, "sig", "must be the base64 of 64 bytes");
	if (json_fields_end(&f) < 0)
		return f.r;
	memcpy(s.keyid, keyid, strlen(keyid) + 1);
	*ret_signature = s;
	return 0;
}

static int parse_envelope(const char *what, const json_t *doc, struct dsse *d,
			  struct fail *reterr_fail)
{
	struct json_fields f = json_fields(what, doc, reterr_fail);
	const char *type = json_str(&f, "payloadType", TYPE_BYTES_MAX);
	const char *payload = json_str(&f, "payload", DSSE_BYTES_MAX);
	const json_t *signatures = json_arr_or_null(&f, "signatures", DSSE_SIGNATURES_MAX),
		     *item;
	size_t i;
	int r;

	if (!signatures)
		json_bad(&f, "signatures", "is missing");
	r = json_fields_end(&f);
	if (r < 0)
		return r;
	memcpy(d->type, type, strlen(type) + 1);
	r = bytes_from_base64(payload, strlen(payload), &d->payload, &d->len);
	if (r == -ENOMEM)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (r < 0) {
		json_bad(&f, "payload", "is not base64");
		return f.r;
	}
	json_array_foreach(signatures, i, item) {
		r = parse_signature(item, &d->signatures[i], reterr_fail);
		if (r < 0)
			return r;
	}
	d->n_signatures = i;
	return 0;
}

int dsse_parse(const char *what, const void *buf, size_t len, struct dsse **ret_env,
	       struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	AUTO_JSON json_t *doc = NULL;
	int r;

	if (len == 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: empty", what);
	if (len > DSSE_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"%s: %zu bytes are more than the %u an envelope may have", what,
				len, DSSE_BYTES_MAX);
	r = json_parse(what, buf, len, &doc, reterr_fail);
	if (r < 0)
		return r;
	d = calloc(1, sizeof(*d));
	if (!d)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	snprintf(d->what, sizeof(d->what), "%s", what);
	r = parse_envelope(what, doc, d, reterr_fail);
	if (r < 0)
		return r;
	*ret_env = take_ptr(d);
	return 0;
}

struct dsse *dsse_free(struct dsse *d)
{
	if (d)
		free(d->payload);
	free(d);
	return NULL;
}

/* "DSSEv1" SP LEN(type) SP type SP LEN(payload) SP payload */
static int encode(const char *type, const void *payload, size_t len, uint8_t **ret_buf,
		  size_t *ret_len)
{
	char head[TYPE_BYTES_MAX + 64];
	int n = snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", strlen(type), type, len);
	uint8_t *buf;

	if (n < 0 || (size_t)n >= sizeof(head))
		return -EINVAL;
	buf = malloc((size_t)n + len);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, head, (size_t)n);
	if (len)
		memcpy(buf + n, payload, len);
	*ret_buf = buf;
	*ret_len = (size_t)n + len;
	return 0;
}

/* "0123456789abcdef, ..." of up to eight, for a message. */
static void list_ids(char *out, size_t room, const char *id, size_t i)
{
	size_t n = strlen(out);

	if (i > 8)
		return;
	if (i == 8)
		snprintf(out + n, room - n, ", ...");
	else
		snprintf(out + n, room - n, "%s%.*s", i ? ", " : "", ID_SHOWN,
			 id[0] ? id : "unnamed");
}

static int refuse(const struct dsse *d, const struct key_public *keys, size_t n_keys,
		  unsigned int threshold, unsigned int good, struct fail *f)
{
	char seen[8 * (ID_SHOWN + 2) + 8] = "", trusted[sizeof(seen)] = "", id[KEY_ID_BYTES];
	bool claimed = false;

	for (size_t i = 0; i < n_keys; i++) {
		key_id(&keys[i], id);
		list_ids(trusted, sizeof(trusted), id, i);
		for (size_t s = 0; s < d->n_signatures; s++)
			claimed |= strcmp(id, d->signatures[s].keyid) == 0;
	}
	for (size_t s = 0; s < d->n_signatures; s++)
		list_ids(seen, sizeof(seen), d->signatures[s].keyid, s);

	if (d->n_signatures == 0) {
		fail_set(f, FAIL_BAD_SIGNATURE,
			 "%s: not signed; %u of the trusted keys %s must sign", d->what,
			 threshold, trusted);
		fail_hint(f,
			  "Sign it with a trusted key; there is no way to load unsigned code.");
	} else if (good > 0) {
		fail_set(
			f, FAIL_BAD_SIGNATURE,
			"%s: signed by %u of the trusted keys, %u must sign (signed by %s; trusted "
			"are %s)",
			d->what, good, threshold, seen, trusted);
		fail_hint(f,
			  "Let more holders of trusted keys sign. The same key counts once.");
	} else if (claimed) {
		fail_set(
			f, FAIL_BAD_SIGNATURE,
			"%s: the signature by %s does not fit the contents: altered or damaged",
			d->what, seen);
		fail_hint(f, "Fetch it again from where it was signed and compare checksums.");
	} else {
		fail_set(f, FAIL_BAD_SIGNATURE, "%s: signed by %s, trusted are %s", d->what,
			 seen, trusted);
		fail_hint(f, "`hotfixctl trust show` lists the trusted keys; only a root that "
			     "names the signer's key makes this acceptable.");
	}
	return -fail_errno(FAIL_BAD_SIGNATURE);
}

/* The key that made s, or NULL. The key id helps nobody in: all keys are tried. */
static const struct key_public *signer(const struct signature *s, const uint8_t *msg,
				       size_t len, const struct key_public *keys, size_t n_keys)
{
	char id[KEY_ID_BYTES];

	for (size_t k = 0; k < n_keys; k++)
		if (crypto_sign_verify_detached(s->sig, msg, len, keys[k].raw) == 0)
			/* One that names another key than its own has been tampered with. */
			return !s->keyid[0] || strcmp(s->keyid, key_id(&keys[k], id)) == 0
				       ? &keys[k]
				       : NULL;
	return NULL;
}

int dsse_verify(const struct dsse *d, const char *type, const struct key_public *keys,
		size_t n_keys, unsigned int threshold, const uint8_t **ret_payload,
		size_t *ret_len, struct fail *reterr_fail)
{
	const struct key_public *counted[DSSE_SIGNATURES_MAX];
	AUTO_FREE uint8_t *msg = NULL;
	unsigned int good = 0;
	size_t len;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (threshold < 1)
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
				"%s: a threshold of 0 would accept everything", d->what);
	if (strcmp(d->type, type) != 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s: this is %s, not %s", d->what,
				d->type, type);
	if (encode(d->type, d->payload, d->len, &msg, &len) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (size_t s = 0; s < d->n_signatures; s++) {
		const struct key_public *k = signer(&d->signatures[s], msg, len, keys, n_keys);
		size_t c = 0;

		if (!k)
			continue;
		while (c < good && memcmp(counted[c]->raw, k->raw, sizeof(k->raw)) != 0)
			c++;
		if (c == good)
			counted[good++] = k;
	}
	if (good < threshold)
		return refuse(d, keys, n_keys, threshold, good, reterr_fail);
	*ret_payload = d->payload;
	*ret_len = d->len;
	return 0;
}

const uint8_t *dsse_unverified_payload(const struct dsse *d, const char *type, size_t *ret_len)
{
	if (strcmp(d->type, type) != 0)
		return NULL;
	*ret_len = d->len;
	return d->payload;
}

size_t dsse_n_signatures(const struct dsse *d)
{
	return d->n_signatures;
}

const char *dsse_keyid(const struct dsse *d, size_t i)
{
	return i < d->n_signatures ? d->signatures[i].keyid : "";
}

/* ---- writing ---------------------------------------------------------------- */

int dsse_new(const char *what, const char *type, const void *payload, size_t len,
	     struct dsse **ret_dsse, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = calloc(1, sizeof(*d));

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (d)
		d->payload = malloc(len + 1);
	if (!d || !d->payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	snprintf(d->what, sizeof(d->what), "%s", what);
	snprintf(d->type, sizeof(d->type), "%s", type);
	memcpy(d->payload, payload, len);
	d->len = len;
	*ret_dsse = take_ptr(d);
	return 0;
}

int dsse_to_sign(const struct dsse *d, uint8_t **ret_bytes, size_t *ret_len)
{
	return encode(d->type, d->payload, d->len, ret_bytes, ret_len);
}

int dsse_attach(struct dsse *d, const struct key_public *by, const uint8_t sig[64],
		struct fail *reterr_fail)
{
	struct signature *s = &d->signatures[d->n_signatures];
	AUTO_FREE uint8_t *msg = NULL;
	size_t len;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (dsse_to_sign(d, &msg, &len) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (crypto_sign_verify_detached(sig, msg, len, by->raw) != 0) {
		fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
			 "%s: the signature is not one by this key over these contents",
			 d->what);
		return fail_hint(reterr_fail,
				 "Ed25519 signs the very bytes that `hotfixctl sign --export` "
				 "writes, not a hash of them.");
	}
	for (size_t i = 0; i < d->n_signatures; i++)
		if (signer(&d->signatures[i], msg, len, by, 1))
			return 0;
	if (d->n_signatures == DSSE_SIGNATURES_MAX)
		return fail_set(reterr_fail, FAIL_USAGE, "%s: has %d signatures, no more fit",
				d->what, DSSE_SIGNATURES_MAX);
	key_id(by, s->keyid);
	memcpy(s->sig, sig, sizeof(s->sig));
	d->n_signatures++;
	return 0;
}

int dsse_add(struct dsse *d, const struct key *k, struct fail *reterr_fail)
{
	AUTO_FREE uint8_t *msg = NULL;
	uint8_t sig[crypto_sign_BYTES];
	size_t len;

	if (dsse_to_sign(d, &msg, &len) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (key_sign(k, msg, len, sig) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "cannot sign");
	return dsse_attach(d, key_public(k), sig, reterr_fail);
}

static json_t *signature_json(const struct signature *s)
{
	AUTO_FREE char *sig64 = bytes_to_base64(s->sig, sizeof(s->sig));

	return sig64 ? json_pack("{s:s*, s:s}", "keyid", s->keyid[0] ? s->keyid : NULL, "sig",
				 sig64)
		     : NULL;
}

int dsse_format(const struct dsse *d, char **ret_text, struct fail *reterr_fail)
{
	AUTO_FREE char *payload64 = bytes_to_base64(d->payload, d->len), *text = NULL;
	AUTO_JSON json_t *signatures = json_array();
	AUTO_JSON json_t *doc = NULL;

	for (size_t i = 0; i < d->n_signatures; i++)
		if (json_array_append_new(signatures, signature_json(&d->signatures[i])) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (payload64)
		doc = json_pack("{s:s, s:s, s:O}", "payload", payload64, "payloadType", d->type,
				"signatures", signatures);
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	if (!text)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (strlen(text) > DSSE_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_USAGE,
				"the signed document has %zu bytes, more than %u", strlen(text),
				DSSE_BYTES_MAX);
	*ret_text = take_ptr(text);
	return 0;
}

char *dsse_payload(json_t *shown)
{
	if (!shown || json_object_set_new(shown, "format", json_integer(1)) < 0)
		return NULL;
	json_object_del(shown, "sha256");
	return json_dumps(shown, JSON_COMPACT);
}

int dsse_sign(const char *type, const void *payload, size_t len, struct key *const *keys,
	      size_t n_keys, char **ret_text, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	int r;

	if (n_keys == 0 && strcmp(type, DSSE_TYPE_MANIFEST) == 0)
		return fail_set(reterr_fail, FAIL_USAGE, "no key to sign with");
	r = dsse_new("document", type, payload, len, &d, reterr_fail);
	for (size_t i = 0; r == 0 && i < n_keys; i++)
		r = dsse_add(d, keys[i], reterr_fail);
	return r < 0 ? r : dsse_format(d, ret_text, reterr_fail);
}
