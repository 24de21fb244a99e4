// SPDX-License-Identifier: BSD-2-Clause
#include "store/revocation.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "lib/plural.h"
#include "store/bytes.h"
#include "store/manifest.h"

#define WHAT "revocation"

static const char *const actions[] = {"no-new-apply", "force-rollback"};

static int parse(const void *payload, size_t len, struct revocation *ret_revocation,
		 struct fail *reterr_fail)
{
	const char *name, *action, *reason;
	struct revocation v = {0};
	AUTO_JSON json_t *doc = NULL;
	struct json_fields f;
	int r = json_parse(WHAT, payload, len, &doc, reterr_fail);

	if (r < 0)
		return r;
	f = json_fields(WHAT, doc, reterr_fail);
	json_u64(&f, "format", 1, 1);
	v.created_ms = json_time(&f, "created");
	name = json_str(&f, "name", HOOK_NAME_MAX);
	v.from = json_u64(&f, "from", 1, MANIFEST_SERIAL_MAX);
	v.to = json_u64(&f, "to", v.from, MANIFEST_SERIAL_MAX);
	action = json_str(&f, "action", 32);
	reason = json_str(&f, "reason", sizeof(v.reason) - 1);
	if (f.r == 0 && !hook_name_valid(name))
		json_bad(&f, "name", "is not the name of a hot-fix");
	if (f.r == 0 && strcmp(action, actions[0]) != 0 && strcmp(action, actions[1]) != 0)
		json_bad(&f, "action", "must be no-new-apply or force-rollback");
	if (f.r == 0 && !plain_is(reason, false))
		json_bad(&f, "reason", "must be plain text");
	if (json_fields_end(&f) < 0)
		return f.r;
	memcpy(v.name, name, strlen(name) + 1);
	memcpy(v.reason, reason, strlen(reason) + 1);
	v.rollback = strcmp(action, actions[1]) == 0;
	bytes_sha256(payload, len, v.sha256);
	*ret_revocation = v;
	return 0;
}

int revocation_open_unverified(const struct dsse *d, struct revocation *ret_revocation,
			       struct fail *reterr_fail)
{
	size_t len;
	const uint8_t *payload = dsse_unverified_payload(d, DSSE_TYPE_REVOCATION, &len);

	if (!payload)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"revocation: a signed document, but not a revocation");
	return parse(payload, len, ret_revocation, reterr_fail);
}

int revocation_open(const void *envelope, size_t len, const struct trust *trust,
		    struct revocation *ret_revocation, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	struct revocation v;
	struct trust_role role = trust->release;
	const uint8_t *payload;
	size_t payload_len;
	int r = dsse_parse(WHAT, envelope, len, &d, reterr_fail);

	if (r == 0)
		r = dsse_verify(d, DSSE_TYPE_REVOCATION, role.keys, role.n_keys, role.threshold,
				&payload, &payload_len, reterr_fail);
	if (r == 0)
		r = parse(payload, payload_len, &v, reterr_fail);
	if (r < 0)
		return r;
	role = trust_release_for(trust, v.name, NULL, 0);
	if (dsse_verify(d, DSSE_TYPE_REVOCATION, role.keys, role.n_keys, role.threshold,
			&payload, &payload_len, NULL) < 0)
		return fail_set(reterr_fail, FAIL_BAD_SIGNATURE,
				"revocation: signed by fewer than %u key%s whose scopes fit %s",
				role.threshold, plural(role.threshold), v.name);
	*ret_revocation = v;
	return 0;
}

bool revocation_covers(const struct revocation *v, const char *name, uint64_t serial)
{
	return serial >= v->from && serial <= v->to && strcmp(v->name, name) == 0;
}

json_t *revocation_to_json(const struct revocation *v)
{
	char created[CLOCK_TIMESTAMP_BYTES], sha256[BYTES_SHA256_HEX];

	return json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:s}", "name", v->name, "from",
			 (json_int_t)v->from, "to", (json_int_t)v->to, "action",
			 actions[v->rollback], "reason", v->reason, "created",
			 clock_format_timestamp(v->created_ms, created), "sha256",
			 bytes_to_hex(v->sha256, sizeof(v->sha256), sha256));
}

int revocation_sign(const struct revocation *v, struct key *const *keys, size_t n_keys,
		    char **ret_text, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = revocation_to_json(v);
	AUTO_FREE char *payload = dsse_payload(doc);
	struct revocation again;
	int r;

	if (!payload)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = parse(payload, strlen(payload), &again, reterr_fail);
	return r < 0 ? r
		     : dsse_sign(DSSE_TYPE_REVOCATION, payload, strlen(payload), keys, n_keys,
				 ret_text, reterr_fail);
}
