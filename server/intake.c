// SPDX-License-Identifier: BSD-2-Clause
#include "server/intake.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bpf/audit.h"
#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/policy.h"
#include "server/revoke.h"
#include "store/bundle.h"
#include "store/bytes.h"

void intake_alarm(struct hotfixes *all, const char *subject, enum fail_code code,
		  const char *message, uint32_t actor_uid)
{
	log_event(LOG_ALERT, "alarm code=%s subject=%s uid=%u why=\"%s\"", fail_name(code),
		  subject, actor_uid, message);
	events_emit(all->events,
		    json_pack("{s:s, s:s, s:s, s:s}", "kind", "alarm", "code", fail_name(code),
			      "subject", subject, "text", message));
}

/* ---- documents --------------------------------------------------------------------------- */

int intake_revocation(struct hotfixes *all, const uint8_t *bytes, size_t len,
		      uint32_t actor_uid, struct revocation *ret_revocation,
		      struct fail *reterr_fail)
{
	int r = authority_import_revocation(all->store, bytes, len, actor_uid, ret_revocation,
					    reterr_fail);

	if (r == 0)
		revoke_run(all);
	return r;
}

struct pinned {
	struct hotfixes *all;
	const struct catalog *catalog;
	uint32_t actor_uid;
};

static int on_pinned(const struct store_version *v, void *cookie)
{
	static const char why[] = "the status of the fleet names other contents for it";
	const struct pinned *p = cookie;
	const struct catalog_entry *e = catalog_find(p->catalog, v->name, v->serial);
	char subject[HOOK_NAME_MAX + 24];

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, v->name, v->serial);
	if (e && memcmp(e->manifest_sha256, v->manifest_sha256, 32) != 0)
		intake_alarm(p->all, subject, FAIL_EQUIVOCATION, why, p->actor_uid);
	return 0;
}

int intake_catalog(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		   struct catalog **ret_catalog, struct fail *reterr_fail)
{
	struct pinned p = {.all = all, .actor_uid = actor_uid};
	int r = authority_import_catalog(all->store, bytes, len, actor_uid, ret_catalog,
					 reterr_fail);

	if (r < 0)
		return r;
	p.catalog = *ret_catalog;
	store_each_version(all->store, NULL, on_pinned, &p);
	return 0;
}

int intake_root(struct hotfixes *all, const uint8_t *bytes, size_t len, int peer_fd,
		worker_done_fn done, void *cookie, struct worker **ret_worker,
		struct fail *reterr_fail)
{
	struct worker_job job = {
		.op = "trust", .bundle = bytes, .bundle_len = len, .peer_fd = peer_fd};
	int r = worker_run(all->workers, &job, done, cookie, ret_worker);

	return r == 0 ? 0
		      : fail_set(reterr_fail, FAIL_INTERNAL, "no worker could be started: %s",
				 strerror(-r));
}

int intake_root_kept(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		     struct trust **ret_trust, struct fail *reterr_fail)
{
	int r = authority_import(all->store, bytes, len, actor_uid, ret_trust, reterr_fail);

	if (r == 0 && all->changed)
		all->changed(all->changed_cookie);
	return r;
}

/* ---- bundles ------------------------------------------------------------------------------ */

static void describe(const struct bundle *b, uint32_t uid, struct store_version *ret_version)
{
	const struct manifest *m = b->manifest;

	*ret_version = (struct store_version){
		.serial = m->serial, .imported_ms = clock_real_ms(), .imported_uid = uid};
	snprintf(ret_version->name, sizeof(ret_version->name), "%s", m->name);
	snprintf(ret_version->label, sizeof(ret_version->label), "%s", m->label);
	snprintf(ret_version->title, sizeof(ret_version->title), "%s", m->title);
	memcpy(ret_version->digest, b->digest, sizeof(ret_version->digest));
	memcpy(ret_version->manifest_sha256, b->manifest_sha256,
	       sizeof(ret_version->manifest_sha256));
	memcpy(ret_version->object_sha256, m->object_sha256,
	       sizeof(ret_version->object_sha256));
}

/* What a signature alone does not make acceptable. */
static int check_serial(struct store *s, const struct authority *a, const struct bundle *b,
			struct fail *reterr_fail)
{
	const struct manifest *m = b->manifest;
	uint64_t high_water;
	int r = store_high_water(s, m->name, &high_water);

	if (r < 0)
		return store_error(s, r, reterr_fail);
	if (authority_pins_other(a, m->name, m->serial, b->manifest_sha256)) {
		fail_set(reterr_fail, FAIL_EQUIVOCATION,
			 "%s@%" PRIu64 " is not the version of that serial which the status of "
			 "the fleet names",
			 m->name, m->serial);
		return fail_hint(reterr_fail, "compare with another host: hotfixctl inspect");
	}
	return policy_serial_jump(m->name, m->serial, high_water,
				  trust_floor(a->trust, m->name), reterr_fail);
}

static int put(struct store *s, const struct authority *a, const struct store_version *v,
	       const uint8_t *bytes, size_t len, bool *ret_already)
{
	AUTO_JSON json_t *detail = NULL;
	char subject[HOOK_NAME_MAX + 24], digest[BYTES_SHA256_HEX];
	int r;

	snprintf(subject, sizeof(subject), "%s@%" PRIu64, v->name, v->serial);
	detail = json_pack("{s:s}", "digest",
			   bytes_to_hex(v->digest, sizeof(v->digest), digest));
	*ret_already = false;
	r = store_begin(s);
	if (r == 0)
		r = store_put_version(s, v, bytes, len);
	if (r == -EEXIST) {
		*ret_already = true;
		r = 0;
	} else if (r == 0) {
		r = store_audit(s, v->imported_ms, v->imported_uid, "import", subject, "done",
				detail);
	}
	if (r == 0 && !*ret_already)
		r = authority_review(s, a, v->name, v->serial, true, v->imported_uid);
	if (r == 0)
		r = store_commit(s);
	if (r < 0)
		store_rollback(s);
	return r;
}

int intake_bundle(struct hotfixes *all, const uint8_t *bytes, size_t len, uint32_t actor_uid,
		  struct intake_bundle *ret_bundle, struct fail *reterr_fail)
{
	AUTO(bundle_freep) struct bundle *bundle = NULL;
	AUTO(authority_freep) struct authority *authority = NULL;
	struct intake_bundle b = {0};
	struct store *s = all->store;
	struct store_version v;
	struct audit audit;
	char digest[BYTES_SHA256_HEX];
	int r;

	r = authority_open(s, &authority, reterr_fail);
	if (r == 0)
		r = bundle_open(bytes, len, authority->trust, &bundle, reterr_fail);
	if (bundle)
		snprintf(b.name, sizeof(b.name), "%s", bundle->manifest->name);
	*ret_bundle = b;
	if (r == 0)
		r = audit_object(bundle->object, bundle->object_len, &audit, reterr_fail);
	if (r == 0)
		r = audit_compare(&audit, bundle->manifest->hooks, bundle->manifest->n_hooks,
				  reterr_fail);
	if (r == 0)
		r = check_serial(s, authority, bundle, reterr_fail);
	if (r < 0)
		return r;
	describe(bundle, actor_uid, &v);
	v.bundle_bytes = len;
	b.serial = v.serial;
	memcpy(b.digest, v.digest, sizeof(b.digest));
	r = put(s, authority, &v, bytes, len, &b.already);
	*ret_bundle = b;
	if (r == -EILSEQ) {
		fail_set(
			reterr_fail, FAIL_EQUIVOCATION,
			"%s@%" PRIu64
			" is stored already with other content: somebody signed two different versions under one serial",
			v.name, v.serial);
		return fail_hint(
			reterr_fail,
			"find out who signed what (hotfixctl inspect FILE); sign the right one under a new serial");
	}
	if (r < 0)
		return store_error(s, r, reterr_fail);
	if (!b.already)
		log_event(LOG_NOTICE, "imported hotfix=%s serial=%" PRIu64 " digest=%s uid=%u",
			  v.name, v.serial, bytes_to_hex(v.digest, sizeof(v.digest), digest),
			  actor_uid);
	return 0;
}
