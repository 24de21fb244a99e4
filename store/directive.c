// SPDX-License-Identifier: BSD-2-Clause
#include "store/directive.h"

#include <string.h>

#include <sodium.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "store/bytes.h"
#include "store/manifest.h"

#define WHAT   "directive"
#define DAY_MS 86400000ULL

static const char *const actions[] = {
	[DIRECTIVE_APPLY] = "apply",
	[DIRECTIVE_ROLLBACK] = "rollback",
};

static void take_action(struct json_fields *f, struct directive *d)
{
	const char *action = json_str(f, "action", 16);

	if (strcmp(action, actions[DIRECTIVE_APPLY]) == 0)
		d->action = DIRECTIVE_APPLY;
	else if (strcmp(action, actions[DIRECTIVE_ROLLBACK]) == 0)
		d->action = DIRECTIVE_ROLLBACK;
	else
		json_bad(f, "action", "must be apply or rollback");
}

/* A word of the charset of names; absent: "". */
static void take_name(struct json_fields *f, const char *key, bool optional, char *out,
		      size_t room)
{
	const char *text =
		optional ? json_str_or(f, key, room - 1, "") : json_str(f, key, room - 1);

	if (f->r < 0)
		return;
	if ((text[0] || !optional || json_has(f, key)) && !hook_name_valid(text))
		json_bad(f, key, "must be lower-case letters, digits and '-'");
	else
		memcpy(out, text, strlen(text) + 1);
}

static void take_digests(struct json_fields *f, struct directive *d)
{
	const char *host = json_str_or(f, "host", KEY_ID_BYTES - 1, "");
	const char *manifest = json_str_or(f, "manifest", 64, "");
	const char *nonce = json_str(f, "nonce", 2 * DIRECTIVE_NONCE_BYTES);
	uint8_t id[BYTES_SHA256];

	if (f->r < 0)
		return;
	if (json_has(f, "host") && bytes_from_hex(host, id, sizeof(id)) < 0)
		json_bad(f, "host", "must be the 64 hex digits of a host key's id");
	d->has_manifest = json_has(f, "manifest");
	if (d->has_manifest &&
	    bytes_from_hex(manifest, d->manifest_sha256, sizeof(d->manifest_sha256)) < 0)
		json_bad(f, "manifest", "must be 64 hex digits");
	if (bytes_from_hex(nonce, d->nonce, sizeof(d->nonce)) < 0)
		json_bad(f, "nonce", "must be 32 hex digits");
	if (f->r == 0)
		memcpy(d->host, host, strlen(host) + 1);
}

static void check_sense(struct json_fields *f, const struct directive *d)
{
	if (d->host[0] && d->group[0])
		json_bad(f, "group", "goes without \"host\"");
	if (d->expires_ms <= d->created_ms ||
	    d->expires_ms - d->created_ms > DIRECTIVE_DAYS_MAX * DAY_MS)
		json_bad(f, "expires", "must be within 31 days after \"created\"");
	if (d->action == DIRECTIVE_ROLLBACK && d->to >= d->from)
		json_bad(f, "to", "of a rollback must be below \"from\"");
	if (d->action == DIRECTIVE_APPLY && !d->to)
		json_bad(f, "to", "of an apply must be a serial");
	if (!d->to && (!d->host[0] || !d->rollout[0]))
		json_bad(f, "to", "may be 0 only for one host, in a rollout");
	if (d->action == DIRECTIVE_APPLY && !d->has_manifest)
		json_bad(f, "manifest", "belongs to an apply");
}

static int parse(const void *payload, size_t len, struct directive *ret_directive,
		 struct fail *reterr_fail)
{
	struct directive d = {0};
	AUTO_JSON json_t *doc = NULL;
	struct json_fields f;
	const char *reason;
	int r = json_parse(WHAT, payload, len, &doc, reterr_fail);

	if (r < 0)
		return r;
	f = json_fields(WHAT, doc, reterr_fail);
	json_u64(&f, "format", 1, 1);
	take_name(&f, "fleet", false, d.fleet, sizeof(d.fleet));
	take_name(&f, "group", true, d.group, sizeof(d.group));
	take_name(&f, "name", false, d.name, sizeof(d.name));
	take_name(&f, "rollout", true, d.rollout, sizeof(d.rollout));
	take_action(&f, &d);
	d.from = json_u64(&f, "from", 0, MANIFEST_SERIAL_MAX);
	d.to = json_u64(&f, "to", 0, MANIFEST_SERIAL_MAX);
	take_digests(&f, &d);
	d.created_ms = json_time(&f, "created");
	d.expires_ms = json_time(&f, "expires");
	reason = json_str_or(&f, "reason", sizeof(d.reason) - 1, "");
	if (f.r == 0 && !plain_is(reason, false))
		json_bad(&f, "reason", "must be plain text");
	if (f.r == 0)
		check_sense(&f, &d);
	if (json_fields_end(&f) < 0)
		return f.r;
	memcpy(d.reason, reason, strlen(reason) + 1);
	*ret_directive = d;
	return 0;
}

int directive_open_unverified(const struct dsse *d, struct directive *ret_directive,
			      struct fail *reterr_fail)
{
	size_t len;
	const uint8_t *payload = dsse_unverified_payload(d, DSSE_TYPE_DIRECTIVE, &len);

	if (!payload)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"directive: a signed document, but not a directive");
	return parse(payload, len, ret_directive, reterr_fail);
}

int directive_open(const void *envelope, size_t len, const struct trust *trust,
		   struct directive *ret_directive, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	const struct trust_role *role = &trust->director;
	struct directive directive;
	const uint8_t *payload;
	size_t payload_len;
	int r;

	if (!role->n_keys) {
		fail_set(reterr_fail, FAIL_POLICY,
			 "directive: the root in force names no director");
		return fail_hint(reterr_fail, "hotfixctl trust rotate --director PUB");
	}
	r = dsse_parse(WHAT, envelope, len, &d, reterr_fail);
	if (r == 0)
		r = dsse_verify(d, DSSE_TYPE_DIRECTIVE, role->keys, role->n_keys,
				role->threshold, &payload, &payload_len, reterr_fail);
	if (r == 0)
		r = parse(payload, payload_len, &directive, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp(directive.fleet, trust->fleet) != 0)
		return fail_set(reterr_fail, FAIL_POLICY,
				"directive: for the fleet %s, this host belongs to %s",
				directive.fleet, trust->fleet[0] ? trust->fleet : "none");
	*ret_directive = directive;
	return 0;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

json_t *directive_to_json(const struct directive *d)
{
	char created[CLOCK_TIMESTAMP_BYTES], expires[CLOCK_TIMESTAMP_BYTES];
	char manifest[BYTES_SHA256_HEX], nonce[2 * DIRECTIVE_NONCE_BYTES + 1];

	bytes_to_hex(d->manifest_sha256, sizeof(d->manifest_sha256), manifest);
	return json_pack(
		"{s:s, s:s*, s:s*, s:s, s:s, s:I, s:I, s:s*, s:s, s:s, s:s, s:s*, s:s*}",
		"fleet", d->fleet, "host", or_null(d->host), "group", or_null(d->group), "name",
		d->name, "action", actions[d->action], "from", (json_int_t)d->from, "to",
		(json_int_t)d->to, "manifest", d->has_manifest ? manifest : NULL, "nonce",
		bytes_to_hex(d->nonce, sizeof(d->nonce), nonce), "created",
		clock_format_timestamp(d->created_ms, created), "expires",
		clock_format_timestamp(d->expires_ms, expires), "rollout", or_null(d->rollout),
		"reason", or_null(d->reason));
}

int directive_sign(struct directive *d, struct key *const *keys, size_t n_keys, char **ret_text,
		   struct fail *reterr_fail)
{
	static const uint8_t none[DIRECTIVE_NONCE_BYTES];
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE char *payload = NULL;
	struct directive again;
	int r;

	if (bytes_init() < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "libsodium cannot start");
	if (memcmp(d->nonce, none, sizeof(none)) == 0)
		randombytes_buf(d->nonce, sizeof(d->nonce));
	doc = directive_to_json(d);
	payload = dsse_payload(doc);
	if (!payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = parse(payload, strlen(payload), &again, reterr_fail);
	return r < 0 ? r
		     : dsse_sign(DSSE_TYPE_DIRECTIVE, payload, strlen(payload), keys, n_keys,
				 ret_text, reterr_fail);
}
