// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/director.h"

#include <errno.h>
#include <string.h>

#include "lib/json.h"
#include "server/controller/controller.h"
#include "store/bytes.h"
#include "store/catalog.h"
#include "store/directive.h"

struct director {
	const struct settings *settings;
	struct key *director, *status;
};

static const char *nobody_to_ask(const char *prompt, void *cookie)
{
	(void)prompt;
	(void)cookie;
	return NULL;
}

int director_reload(struct director *d, struct fail *reterr_fail)
{
	AUTO(key_freep) struct key *director = NULL, *status = NULL;
	int r = key_load(d->settings->director_key, nobody_to_ask, NULL, &director,
			 reterr_fail);

	if (r == 0)
		r = key_load(d->settings->status_key, nobody_to_ask, NULL, &status,
			     reterr_fail);
	if (r < 0)
		return fail_hint(reterr_fail, "hotfix-controller init makes both keys");
	key_free(d->director);
	key_free(d->status);
	d->director = take_ptr(director);
	d->status = take_ptr(status);
	return 0;
}

int director_new(struct controller *c, struct director **ret_director, struct fail *reterr_fail)
{
	AUTO(director_freep) struct director *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	d->settings = c->settings;
	r = director_reload(d, reterr_fail);
	if (r == 0)
		*ret_director = take_ptr(d);
	return r;
}

struct director *director_free(struct director *d)
{
	if (!d)
		return NULL;
	key_free(d->director);
	key_free(d->status);
	free(d);
	return NULL;
}

void director_on_wake(struct director *d, const char *topic)
{
	(void)d;
	(void)topic;
}

static bool names(const struct trust_role *role, const struct key *key)
{
	for (size_t i = 0; i < role->n_keys; i++)
		if (memcmp(&role->keys[i], key_public(key), sizeof(role->keys[i])) == 0)
			return role->threshold == 1;
	return false;
}

int director_ready(const struct director *d, const struct trust *trust,
		   struct fail *reterr_fail)
{
	if (!trust || !trust->fleet[0]) {
		fail_set(reterr_fail, FAIL_NO_TRUST, "%s",
			 trust ? "the root of trust names no fleet"
			       : "no root of trust was handed in yet");
		return fail_hint(reterr_fail,
				 "hotfixctl trust init --fleet makes one that names "
				 "the director, which init has printed");
	}
	if (!names(&trust->director, d->director)) {
		fail_set(reterr_fail, FAIL_POLICY,
			 "root %llu does not let this director's key sign alone",
			 (unsigned long long)trust->version);
		return fail_hint(reterr_fail, "a root that names it makes hosts obey");
	}
	return 0;
}

static int sign(const struct director *d, const struct trust *trust,
		const struct director_rollout *r, const struct rollout_word *w, uint64_t now_ms,
		char **ret_text, struct fail *reterr_fail)
{
	struct directive o = {
		.action = w->action == ROLLOUT_APPLY ? DIRECTIVE_APPLY : DIRECTIVE_ROLLBACK,
		.from = w->from,
		.to = w->to,
		.created_ms = now_ms,
		.expires_ms = now_ms + d->settings->director_valid_ms,
	};

	if (w->action == ROLLOUT_APPLY && !r->has_bundle)
		return fail_set(reterr_fail, FAIL_NOT_FOUND, "no bundle of %s@%llu is here",
				r->name, (unsigned long long)w->to);
	snprintf(o.fleet, sizeof(o.fleet), "%s", trust->fleet);
	snprintf(o.host, sizeof(o.host), "%s", w->host);
	snprintf(o.name, sizeof(o.name), "%s", r->name);
	snprintf(o.rollout, sizeof(o.rollout), "%s", r->id);
	snprintf(o.reason, sizeof(o.reason), "%s", r->reason ? r->reason : "");
	o.has_manifest = w->action == ROLLOUT_APPLY;
	if (o.has_manifest)
		memcpy(o.manifest_sha256, r->manifest_sha256, sizeof(o.manifest_sha256));
	return directive_sign(&o, &d->director, 1, ret_text, reterr_fail);
}

int director_word(const struct director *d, const struct trust *trust,
		  const struct director_rollout *r, const struct rollout_word *w,
		  uint64_t now_ms, char **ret_body, struct fail *reterr_fail)
{
	AUTO_FREE char *directive = NULL;
	AUTO_JSON json_t *doc = NULL;
	char hex[2 * BYTES_SHA256 + 1];
	int res;

	doc = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:b, s:I, s:I}", "name", r->name,
			"rollout", r->id, "word", (json_int_t)w->generation, "action",
			rollout_action_name(w->action), "from", (json_int_t)w->from, "to",
			(json_int_t)w->to, "retry", w->retry, "trial_ms",
			(json_int_t)r->trial_ms, "min_calls", (json_int_t)r->min_calls);
	if (w->action == ROLLOUT_APPLY || w->action == ROLLOUT_ROLLBACK) {
		res = director_ready(d, trust, reterr_fail);
		if (res == 0)
			res = sign(d, trust, r, w, now_ms, &directive, reterr_fail);
		if (res < 0)
			return res;
		json_object_set_new(doc, "directive", json_string(directive));
	}
	if (w->action == ROLLOUT_APPLY)
		json_object_set_new(doc, "bundle",
				    json_pack("{s:s, s:I}", "sha256",
					      bytes_to_hex(r->bundle_sha256, BYTES_SHA256, hex),
					      "bytes", (json_int_t)r->bundle_bytes));
	*ret_body = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	return *ret_body ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

int director_catalog(const struct director *d, const struct catalog *c, char **ret_envelope,
		     struct fail *reterr_fail)
{
	return catalog_sign(c, &d->status, 1, ret_envelope, reterr_fail);
}
