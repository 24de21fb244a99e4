// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/json.h"
#include "store/store.h"
#include "store/store_private.h"

static struct store *store;

static int fresh_store(void **state)
{
	static int n;
	char name[32];
	struct fail f = {0};

	(void)state;
	snprintf(name, sizeof(name), "%d.db", n++);
	if (store_open(unit_path(name), &store, &f) == 0)
		return 0;
	print_error("%s\n", f.message);
	return -1;
}

static int close_store(void **state)
{
	(void)state;
	store = store_free(store);
	return 0;
}

static struct store_version version_of(const char *name, uint64_t serial)
{
	struct store_version v = {
		.serial = serial, .imported_ms = 1000 + serial, .imported_uid = 7};

	snprintf(v.name, sizeof(v.name), "%s", name);
	snprintf(v.label, sizeof(v.label), "%llu.0", (unsigned long long)serial);
	snprintf(v.title, sizeof(v.title), "the title of %s", name);
	memset(v.digest, (int)serial, sizeof(v.digest));
	memset(v.manifest_sha256, (int)serial + 100, sizeof(v.manifest_sha256));
	memset(v.object_sha256, (int)serial + 200, sizeof(v.object_sha256));
	return v;
}

static void put(const char *name, uint64_t serial)
{
	struct store_version v = version_of(name, serial);
	char bytes[64];

	snprintf(bytes, sizeof(bytes), "bundle of %s@%llu", name, (unsigned long long)serial);
	assert_ok(store_put_version(store, &v, bytes, strlen(bytes)));
}

static void bundle_is(const char *name, uint64_t serial, const char *wanted)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	assert_ok(store_get_bundle(store, name, serial, &buf, &len));
	assert_int_equal(len, strlen(wanted));
	assert_memory_equal(buf, wanted, len);
}

static void commit_serial(const char *name, uint64_t serial)
{
	struct store_hotfix h = {.committed_serial = serial, .high_water = serial};

	snprintf(h.name, sizeof(h.name), "%s", name);
	assert_ok(store_put_hotfix(store, &h));
}

/* 0: there is none */
static uint64_t previous(const char *name, uint64_t current)
{
	uint64_t serial = 0;
	int r = store_previous_serial(store, name, current, &serial);

	assert_true(r == 0 || r == -ENOENT);
	assert_true((r == 0) == (serial != 0));
	return serial;
}

static bool was_committed(const char *name, uint64_t serial)
{
	bool was = false;

	assert_ok(store_was_committed(store, name, serial, &was));
	return was;
}

/* ---- trust ------------------------------------------------------------------ */

static void the_newest_root_is_in_force(void **state)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_int_equal(store_get_root(store, &buf, &len), -ENOENT);
	assert_ok(store_put_root(store, 1, "first", 5, 1000, 0));
	assert_ok(store_put_root(store, 2, "second", 6, 1000, 0));
	assert_ok(store_get_root(store, &buf, &len));
	assert_string_equal((char *)buf, "second");
	assert_int_equal(len, 6);
}

static void a_root_never_goes_back_or_changes(void **state)
{
	(void)state;
	assert_ok(store_put_root(store, 2, "second", 6, 1000, 0));
	assert_int_equal(store_put_root(store, 2, "second", 6, 1000, 0), -EEXIST);
	assert_int_equal(store_put_root(store, 2, "twin", 4, 1000, 0), -EILSEQ);
	assert_int_equal(store_put_root(store, 1, "first", 5, 1000, 0), -ESTALE);
}

/* ---- versions --------------------------------------------------------------- */

static void a_version_and_its_bundle_are_kept_verbatim(void **state)
{
	struct store_version v = version_of("fix", 3), got;
	static const char bytes[] = "any\0bytes";

	(void)state;
	assert_ok(store_put_version(store, &v, bytes, sizeof(bytes)));
	assert_ok(store_get_version(store, "fix", 3, &got));
	assert_int_equal(got.bundle_bytes, sizeof(bytes));
	assert_string_equal(got.name, v.name);
	assert_int_equal(got.serial, 3);
	assert_string_equal(got.label, v.label);
	assert_string_equal(got.title, v.title);
	assert_memory_equal(got.digest, v.digest, sizeof(v.digest));
	assert_memory_equal(got.manifest_sha256, v.manifest_sha256, sizeof(v.digest));
	assert_memory_equal(got.object_sha256, v.object_sha256, sizeof(v.digest));
	assert_int_equal(got.imported_ms, v.imported_ms);
	assert_int_equal(got.imported_uid, v.imported_uid);
	assert_false(got.quarantined);
	assert_string_equal(got.reason, "");
	{
		AUTO_FREE uint8_t *buf = NULL;
		size_t len;

		assert_ok(store_get_bundle(store, "fix", 3, &buf, &len));
		assert_int_equal(len, sizeof(bytes));
		assert_memory_equal(buf, bytes, len);
	}
}

static void what_is_not_stored_is_not_found(void **state)
{
	struct store_version v;
	struct store_change c;
	struct store_hotfix h;
	uint64_t serial;
	uint8_t *buf;
	size_t len;

	(void)state;
	put("fix", 1);
	assert_int_equal(store_get_version(store, "fix", 2, &v), -ENOENT);
	assert_int_equal(store_get_version(store, "fi", 1, &v), -ENOENT);
	assert_int_equal(store_get_bundle(store, "fix", 2, &buf, &len), -ENOENT);
	assert_int_equal(store_newest_serial(store, "other", &serial), -ENOENT);
	assert_int_equal(store_delete_version(store, "fix", 2), -ENOENT);
	assert_int_equal(store_quarantine(store, "fix", 2, true, "x"), -ENOENT);
	assert_int_equal(store_get_hotfix(store, "fix", &h), -ENOENT);
	assert_int_equal(store_delete_hotfix(store, "other"), -ENOENT);
	assert_int_equal(store_get_change(store, 1, &c), -ENOENT);
	assert_int_equal(store_end_change(store, 1, 1, "done", "", "", NULL, NULL), -ENOENT);
}

static void the_same_bundle_again_is_told_from_another_one(void **state)
{
	struct store_version same = version_of("fix", 1), other = same;

	(void)state;
	put("fix", 1);
	assert_int_equal(store_put_version(store, &same, "bundle of fix@1", 15), -EEXIST);
	/* Attack 16: two manifests under one name and serial. */
	other.digest[0] ^= 1;
	other.manifest_sha256[0] ^= 1;
	assert_int_equal(store_put_version(store, &other, "twin", 4), -EILSEQ);
	bundle_is("fix", 1, "bundle of fix@1");
}

static void the_same_manifest_signed_anew_replaces_the_bundle(void **state)
{
	struct store_version v = version_of("fix", 1), got;

	(void)state;
	put("fix", 1);
	assert_ok(store_quarantine(store, "fix", 1, true, "harm"));
	memset(v.digest, 0xee, sizeof(v.digest));
	assert_ok(store_put_version(store, &v, "signed anew", 11));
	bundle_is("fix", 1, "signed anew");
	assert_ok(store_get_version(store, "fix", 1, &got));
	assert_memory_equal(got.digest, v.digest, sizeof(v.digest));
	assert_int_equal(got.bundle_bytes, 11);
	assert_true(got.quarantined);
}

static void a_manifest_digest_that_nobody_filled_in_proves_nothing(void **state)
{
	struct store_version v = version_of("fix", 1);

	(void)state;
	memset(v.manifest_sha256, 0, sizeof(v.manifest_sha256));
	assert_ok(store_put_version(store, &v, "one", 3));
	v.digest[0] ^= 1;
	assert_int_equal(store_put_version(store, &v, "two", 3), -EILSEQ);
	bundle_is("fix", 1, "one");
}

/* Attack 31. */
static void names_are_values_never_statements(void **state)
{
	static const char *const names[] = {"x' OR '1'='1",
					    "fix'; DROP TABLE version; --",
					    "../fix",
					    "fix\"",
					    "",
					    "FIX",
					    "%",
					    "*"};
	struct store_version got;
	struct store_change c = {.verb = "apply"};
	uint64_t id;

	(void)state;
	put("fix", 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct store_version v = version_of("fix", 2);
		struct store_hotfix h = {0};

		assert_int_equal(store_get_version(store, names[i], 1, &got), -ENOENT);
		assert_int_equal(store_delete_hotfix(store, names[i]), -ENOENT);
		assert_int_equal(store_delete_version(store, names[i], 1), -ENOENT);
		snprintf(v.name, sizeof(v.name), "%s", names[i]);
		assert_int_equal(store_put_version(store, &v, "x", 1), -EINVAL);
		snprintf(h.name, sizeof(h.name), "%s", names[i]);
		assert_int_equal(store_put_hotfix(store, &h), -EINVAL);
		snprintf(c.name, sizeof(c.name), "%s", names[i]);
		if (names[i][0])
			assert_int_equal(store_begin_change(store, &c, &id), -EINVAL);
	}
	assert_ok(store_get_version(store, "fix", 1, &got));
}

static int collect(const struct store_version *v, void *cookie)
{
	char *out = cookie;

	sprintf(out + strlen(out), "%s@%llu ", v->name, (unsigned long long)v->serial);
	return v->serial == 9;
}

static void versions_are_listed_by_name_and_serial(void **state)
{
	char out[256] = "";

	(void)state;
	put("b", 10);
	put("b", 2);
	put("a", 3);
	assert_ok(store_each_version(store, NULL, collect, out));
	assert_string_equal(out, "a@3 b@2 b@10 ");
	out[0] = 0;
	assert_ok(store_each_version(store, "b", collect, out));
	assert_string_equal(out, "b@2 b@10 ");
	put("b", 9);
	out[0] = 0;
	assert_ok(store_each_version(store, NULL, collect, out)); /* stops at 9 */
	assert_string_equal(out, "a@3 b@2 b@9 ");
}

static void the_newest_serial_is_the_highest(void **state)
{
	uint64_t serial;

	(void)state;
	put("fix", 5);
	put("fix", 3);
	assert_ok(store_newest_serial(store, "fix", &serial));
	assert_int_equal(serial, 5);
	assert_ok(store_delete_version(store, "fix", 5));
	assert_ok(store_newest_serial(store, "fix", &serial));
	assert_int_equal(serial, 3);
}

static int count_rows(const char *table)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	char text[64];

	snprintf(text, sizeof(text), "SELECT count(*) FROM %s", table);
	assert_ok(sql_ask(store->q, &rows, text, ""));
	assert_int_equal(sql_next(rows), 1);
	return (int)sql_u64(rows, 0);
}

static void deleting_a_version_deletes_its_bytes(void **state)
{
	(void)state;
	put("fix", 1);
	put("fix", 2);
	assert_int_equal(count_rows("bundle"), 2);
	assert_ok(store_delete_version(store, "fix", 1));
	assert_int_equal(count_rows("bundle"), 1);
	bundle_is("fix", 2, "bundle of fix@2");
}

static void a_quarantine_keeps_its_reason_until_it_is_lifted(void **state)
{
	struct store_version v;

	(void)state;
	put("fix", 1);
	assert_ok(store_quarantine(store, "fix", 1, true, "the host crashed in its trial"));
	assert_ok(store_get_version(store, "fix", 1, &v));
	assert_true(v.quarantined);
	assert_string_equal(v.reason, "the host crashed in its trial");
	assert_ok(store_quarantine(store, "fix", 1, false, NULL));
	assert_ok(store_get_version(store, "fix", 1, &v));
	assert_false(v.quarantined);
	assert_string_equal(v.reason, "");
}

static void a_serial_above_the_databases_own_limit_is_refused(void **state)
{
	struct store_version v = version_of("fix", UINT64_MAX);

	(void)state;
	assert_int_equal(store_put_version(store, &v, "x", 1), -EINVAL);
	assert_int_equal(count_rows("version"), 0);
}

/* ---- what should run -------------------------------------------------------- */

static int take_boots(const struct store_boot *b, void *cookie)
{
	struct store_boot *boots = cookie;

	while (boots->boot_id[0])
		boots++;
	*boots = *b;
	return 0;
}

static void boots_are_kept_newest_first_and_updated_in_place(void **state)
{
	struct store_boot boots[4] = {0};
	struct store_boot a = {.boot_id = "a", .started_ms = 9};
	struct store_boot b = {.boot_id = "b", .started_ms = 5, .held = true};

	(void)state;
	assert_ok(store_put_boot(store, &a));
	assert_ok(store_put_boot(store, &b));
	a.stopped = true;
	a.crash_seen_ms = 7;
	assert_ok(store_put_boot(store, &a));
	assert_ok(store_each_boot(store, take_boots, boots));
	assert_memory_equal(&boots[0], &b, sizeof(b));
	assert_memory_equal(&boots[1], &a, sizeof(a));
	assert_string_equal(boots[2].boot_id, "");
	assert_int_equal(store_put_boot(store, &(struct store_boot){0}), -EINVAL);
}

static void a_hotfix_row_is_kept(void **state)
{
	struct store_hotfix h = {.name = "fix",
				 .committed_serial = 2,
				 .high_water = 5,
				 .disabled = true,
				 .observe = true,
				 .boot_id = "0123"},
			    got;

	(void)state;
	assert_ok(store_put_hotfix(store, &h));
	assert_ok(store_get_hotfix(store, "fix", &got));
	assert_string_equal(got.name, "fix");
	assert_int_equal(got.committed_serial, 2);
	assert_int_equal(got.high_water, 5);
	assert_true(got.disabled);
	assert_true(got.observe);
	assert_string_equal(got.boot_id, "0123");
}

/* Attack 10. */
static void the_high_water_mark_never_falls(void **state)
{
	struct store_hotfix h = {.name = "fix", .committed_serial = 5}, got;
	uint64_t high;

	(void)state;
	assert_ok(store_put_hotfix(store, &h));
	h.committed_serial = 2;
	h.high_water = 2;
	assert_ok(store_put_hotfix(store, &h));
	assert_ok(store_get_hotfix(store, "fix", &got));
	assert_int_equal(got.committed_serial, 2);
	assert_int_equal(got.high_water, 5);
	assert_ok(store_high_water(store, "fix", &high));
	assert_int_equal(high, 5);
	assert_int_equal(sql_run(store->q, "UPDATE hotfix SET high_water = 2", ""), -EINVAL);
}

static int collect_hotfix(const struct store_hotfix *h, void *cookie)
{
	strcat(cookie, h->name);
	return 0;
}

static void removal_forgets_versions_but_neither_marks_nor_history(void **state)
{
	struct store_change c = {.name = "fix", .verb = "apply", .serial = 3};
	char out[64] = "";
	struct store_hotfix h;
	uint64_t high, id;

	(void)state;
	for (uint64_t n = 1; n <= 3; n++) {
		put("fix", n);
		commit_serial("fix", n);
	}
	assert_ok(store_begin_change(store, &c, &id));
	assert_ok(store_delete_hotfix(store, "fix"));
	assert_int_equal(store_get_hotfix(store, "fix", &h), -ENOENT);
	assert_ok(store_each_hotfix(store, collect_hotfix, out));
	assert_string_equal(out, "");
	assert_int_equal(count_rows("version") + count_rows("bundle"), 0);
	assert_ok(store_high_water(store, "fix", &high));
	assert_int_equal(high, 3);
	assert_true(was_committed("fix", 2));
	assert_int_equal(previous("fix", 3), 0);
	assert_ok(store_get_change(store, id, &c));
	store_change_clear(&c);
	/* It comes back: the mark is still there, the way back is new. */
	put("fix", 4);
	commit_serial("fix", 4);
	assert_ok(store_get_hotfix(store, "fix", &h));
	assert_int_equal(h.high_water, 4);
	assert_int_equal(previous("fix", 4), 0);
}

static void what_was_only_imported_can_be_removed(void **state)
{
	(void)state;
	put("fix", 1);
	assert_ok(store_delete_hotfix(store, "fix"));
	assert_int_equal(count_rows("version"), 0);
	assert_int_equal(store_delete_hotfix(store, "fix"), -ENOENT);
}

static void a_rollback_passes_by_what_is_barred(void **state)
{
	struct store_version v;

	(void)state;
	for (uint64_t n = 1; n <= 3; n++) {
		put("fix", n);
		commit_serial("fix", n);
	}
	assert_ok(store_bar(store, "fix", 2, "nobody trusted signed it"));
	assert_ok(store_get_version(store, "fix", 2, &v));
	assert_string_equal(v.barred, "nobody trusted signed it");
	assert_int_equal(previous("fix", 3), 1);
	assert_ok(store_bar(store, "fix", 2, ""));
	assert_int_equal(previous("fix", 3), 2);
	assert_int_equal(store_bar(store, "fix", 9, ""), -ENOENT);
}

static void the_previous_serial_follows_rollbacks(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 4; n++)
		put("fix", n);
	commit_serial("fix", 1);
	assert_int_equal(previous("fix", 1), 0);
	commit_serial("fix", 2);
	commit_serial("fix", 3);
	assert_int_equal(previous("fix", 3), 2);
	commit_serial("fix", 2); /* rollback */
	assert_int_equal(previous("fix", 2), 1);
	assert_int_equal(previous("fix", 3), 0);
	commit_serial("fix", 4);
	assert_int_equal(previous("fix", 4), 2);
	commit_serial("fix", 1); /* rollback --to 1 */
	assert_int_equal(previous("fix", 1), 0);
	commit_serial("fix", 3); /* a version that was left is taken up again */
	assert_int_equal(previous("fix", 3), 1);
	assert_int_equal(previous("fix", 4), 0);
}

static void committing_the_same_serial_again_changes_nothing(void **state)
{
	(void)state;
	put("fix", 1);
	put("fix", 2);
	commit_serial("fix", 1);
	commit_serial("fix", 2);
	commit_serial("fix", 2); /* as after a restart */
	assert_int_equal(previous("fix", 2), 1);
	commit_serial("fix", 0); /* nothing in force for a while */
	commit_serial("fix", 2);
	assert_int_equal(previous("fix", 2), 1);
	assert_int_equal(count_rows("commit_log"), 2);
}

static void the_way_back_skips_what_cannot_be_gone_back_to(void **state)
{
	(void)state;
	for (uint64_t n = 1; n <= 4; n++) {
		put("fix", n);
		commit_serial("fix", n);
	}
	assert_ok(store_delete_version(store, "fix", 3));
	assert_int_equal(previous("fix", 4), 2);
	assert_ok(store_quarantine(store, "fix", 2, true, "harm"));
	assert_int_equal(previous("fix", 4), 1);
	assert_ok(store_quarantine(store, "fix", 2, false, NULL));
	assert_int_equal(previous("fix", 4), 2);
}

static void the_ways_back_of_two_hotfixes_do_not_mix(void **state)
{
	(void)state;
	put("a", 1);
	put("b", 1);
	put("a", 2);
	commit_serial("a", 1);
	commit_serial("b", 1);
	commit_serial("a", 2);
	assert_int_equal(previous("a", 2), 1);
	assert_int_equal(previous("b", 1), 0);
	commit_serial("a", 1);
	assert_int_equal(previous("b", 1), 0);
}

static void only_what_was_committed_counts_as_committed(void **state)
{
	(void)state;
	put("fix", 1);
	put("fix", 2);
	commit_serial("fix", 1);
	assert_true(was_committed("fix", 1));
	assert_false(was_committed("fix", 2));
	assert_false(was_committed("other", 1));
	commit_serial("fix", 2);
	commit_serial("fix", 1);
	assert_true(was_committed("fix", 2));
}

/* ---- changes ---------------------------------------------------------------- */

static uint64_t begin(const char *name, const char *verb, uint64_t started_ms)
{
	struct store_change c = {.serial = 2,
				 .from_serial = 1,
				 .actor_uid = 1000,
				 .started_ms = started_ms,
				 .boot_id = "0123"};
	uint64_t id = 0;

	snprintf(c.name, sizeof(c.name), "%s", name);
	snprintf(c.verb, sizeof(c.verb), "%s", verb);
	assert_ok(store_begin_change(store, &c, &id));
	assert_true(id > 0);
	return id;
}

static void an_intent_has_no_outcome_until_it_is_given(void **state)
{
	AUTO_JSON json_t *evidence = json_pack("{s:i}", "calls", 3);
	struct store_change c;
	uint64_t id = begin("fix", "apply", 1000);

	(void)state;
	assert_ok(store_get_change(store, id, &c));
	assert_string_equal(c.name, "fix");
	assert_string_equal(c.verb, "apply");
	assert_int_equal(c.serial, 2);
	assert_int_equal(c.from_serial, 1);
	assert_int_equal(c.actor_uid, 1000);
	assert_int_equal(c.started_ms, 1000);
	assert_string_equal(c.boot_id, "0123");
	assert_string_equal(c.outcome, "");
	assert_int_equal(c.finished_ms, 0);
	assert_null(c.log);
	assert_null(c.evidence);

	assert_ok(store_end_change(store, id, 2000, "failed", "load_failed", "no",
				   "line 1\nline 2", evidence));
	assert_ok(store_get_change(store, id, &c));
	assert_string_equal(c.outcome, "failed");
	assert_int_equal(c.finished_ms, 2000);
	assert_string_equal(c.code, "load_failed");
	assert_string_equal(c.detail, "no");
	assert_string_equal(c.log, "line 1\nline 2");
	assert_true(json_equal(c.evidence, evidence));
	store_change_clear(&c);
}

static void an_outcome_is_final_but_a_trial_ends(void **state)
{
	uint64_t id = begin("fix", "apply", 1000);
	struct store_change c;

	(void)state;
	assert_ok(store_end_change(store, id, 2000, "trial", "", "", "its log", NULL));
	assert_ok(store_end_change(store, id, 3000, "rolled_back", "HEALTH:warn", "x", NULL,
				   NULL));
	assert_ok(store_get_change(store, id, &c));
	assert_string_equal(c.outcome, "rolled_back");
	assert_string_equal(c.log, "its log"); /* what is not given stays */
	store_change_clear(&c);
	assert_int_equal(store_end_change(store, id, 4000, "done", "", "", NULL, NULL),
			 -EEXIST);
}

static void evidence_may_be_added_to_a_change_that_is_over(void **state)
{
	uint64_t id = begin("fix", "rollback", 1000);
	json_t *evidence = json_pack("{s:i}", "moved", 3);
	struct store_change c;

	(void)state;
	assert_ok(store_end_change(store, id, 2000, "done", "", "", NULL, NULL));
	assert_ok(store_set_evidence(store, id, evidence));
	assert_ok(store_get_change(store, id, &c));
	assert_string_equal(c.outcome, "done");
	assert_true(json_equal(c.evidence, evidence));
	store_change_clear(&c);
	json_decref(evidence);
}

static void an_outcome_is_one_of_the_known_words(void **state)
{
	uint64_t id = begin("fix", "apply", 1000);

	(void)state;
	assert_int_equal(store_end_change(store, id, 2000, "", "", "", NULL, NULL), -EINVAL);
	assert_int_equal(store_end_change(store, id, 2000, "great", "", "", NULL, NULL),
			 -EINVAL);
}

static void texts_of_strangers_can_always_be_shown(void **state)
{
	uint64_t id = begin("fix", "apply", 1000);
	AUTO_JSON json_t *as_json = NULL;
	struct store_change c;
	char detail[1100];

	(void)state;
	memset(detail, 'x', sizeof(detail));
	strcpy(detail + 1022, "\xc3\xa4\xc3\xa4"); /* does not fit as a whole */
	assert_ok(store_end_change(store, id, 2000, "failed", "c", detail,
				   "a\x1b[2J \xff\xfe \xc2\x9b end\n\ttwo", NULL));
	assert_ok(store_get_change(store, id, &c));
	assert_int_equal(strlen(c.detail), 1022);
	assert_string_equal(c.log, "a?[2J ?? ? end\n\ttwo");
	as_json = json_pack("{s:s, s:s}", "detail", c.detail, "log", c.log);
	assert_non_null(as_json);
	store_change_clear(&c);
}

static void the_end_of_a_long_log_is_kept(void **state)
{
	uint64_t id = begin("fix", "apply", 1000);
	AUTO_FREE char *log = malloc(STORE_LOG_BYTES_MAX + 101);
	struct store_change c;

	(void)state;
	memset(log, 'a', STORE_LOG_BYTES_MAX + 100);
	memcpy(log, "START", 5);
	strcpy(log + STORE_LOG_BYTES_MAX + 97, "END");
	assert_ok(store_end_change(store, id, 2000, "failed", "", "", log, NULL));
	assert_ok(store_get_change(store, id, &c));
	assert_int_equal(strlen(c.log), STORE_LOG_BYTES_MAX);
	assert_null(strstr(c.log, "START"));
	assert_string_equal(c.log + STORE_LOG_BYTES_MAX - 3, "END");
	store_change_clear(&c);
}

static int collect_change(const struct store_change *c, void *cookie)
{
	char *out = cookie;

	sprintf(out + strlen(out), "%s%llu ", c->name, (unsigned long long)c->started_ms);
	return 0;
}

static void history_is_newest_first_and_open_intents_oldest_first(void **state)
{
	char out[256] = "";
	uint64_t id;

	(void)state;
	begin("a", "apply", 1);
	id = begin("a", "commit", 2);
	begin("b", "apply", 3);
	begin("a", "apply", 4);
	assert_ok(store_end_change(store, id, 2, "done", "", "", NULL, NULL));

	assert_ok(store_each_change(store, NULL, false, 100, collect_change, out));
	assert_string_equal(out, "a4 b3 a2 a1 ");
	out[0] = 0;
	assert_ok(store_each_change(store, "a", false, 2, collect_change, out));
	assert_string_equal(out, "a4 a2 ");
	out[0] = 0;
	assert_ok(store_each_change(store, NULL, true, UINT32_MAX, collect_change, out));
	assert_string_equal(out, "a1 b3 a4 ");
	out[0] = 0;
	assert_ok(store_each_change(store, "a", true, 100, collect_change, out));
	assert_string_equal(out, "a1 a4 ");
}

static int end_it(const struct store_change *c, void *cookie)
{
	(void)cookie;
	return store_end_change(store, c->id, 5, "failed", "INTERRUPTED", "", NULL, NULL);
}

static void open_intents_can_be_ended_while_they_are_listed(void **state)
{
	char out[64] = "";

	(void)state;
	for (uint64_t n = 1; n <= 20; n++)
		begin("a", "apply", n);
	assert_ok(store_each_change(store, NULL, true, 100, end_it, NULL));
	assert_ok(store_each_change(store, NULL, true, 100, collect_change, out));
	assert_string_equal(out, "");
}

/* ---- transactions ----------------------------------------------------------- */

static void a_transaction_is_all_or_nothing(void **state)
{
	(void)state;
	assert_ok(store_begin(store));
	put("fix", 1);
	commit_serial("fix", 1);
	begin("fix", "apply", 1);
	assert_ok(store_audit(store, 1, 0, "apply", "fix@1", "done", NULL));
	store_rollback(store);
	assert_int_equal(count_rows("version") + count_rows("bundle") + count_rows("hotfix") +
				 count_rows("commit_log") + count_rows("change") +
				 count_rows("audit"),
			 0);
	assert_ok(store_begin(store));
	put("fix", 1);
	commit_serial("fix", 1);
	assert_ok(store_commit(store));
	assert_int_equal(count_rows("version") + count_rows("hotfix"), 2);
}

static void a_write_that_failed_cannot_be_committed_around(void **state)
{
	struct store_version bad = version_of("fix", 2);

	(void)state;
	bad.imported_ms = UINT64_MAX; /* out of the database's range */
	assert_ok(store_begin(store));
	put("fix", 1);
	assert_true(store_put_version(store, &bad, "x", 1) < 0);
	assert_true(store_commit(store) < 0);
	assert_int_equal(count_rows("version"), 0);
	put("fix", 1); /* and the next one is not held back */
	assert_int_equal(count_rows("version"), 1);
}

static void finding_it_there_already_is_no_failed_write(void **state)
{
	struct store_version v = version_of("fix", 1);

	(void)state;
	put("fix", 1);
	assert_ok(store_begin(store));
	assert_int_equal(store_put_version(store, &v, "bundle of fix@1", 15), -EEXIST);
	assert_ok(store_audit(store, 1, 0, "import", "fix@1", "already", NULL));
	assert_ok(store_commit(store));
	assert_int_equal(count_rows("audit"), 1);
}

static void transactions_do_not_nest(void **state)
{
	(void)state;
	assert_ok(store_begin(store));
	assert_true(store_begin(store) < 0);
	store_rollback(store);
	assert_true(store_commit(store) < 0);
	put("fix", 1);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fresh_store, close_store)

static void what_an_intent_needs_to_go_on_after_a_crash_is_kept_with_it(void **state)
{
	struct store_change c = {.name = "x", .verb = "apply", .serial = 1, .started_ms = 5};
	struct store *s = NULL;
	struct store_change back;
	struct fail fail;
	uint64_t id;

	(void)state;
	assert_ok(store_open(unit_path("intent.db"), &s, &fail));
	c.evidence = json_pack("{s:i}", "trial_ms", 600000);
	assert_ok(store_begin_change(s, &c, &id));
	json_decref(c.evidence);
	store_free(s);
	assert_ok(store_open(unit_path("intent.db"), &s, &fail));
	assert_ok(store_get_change(s, id, &back));
	assert_int_equal(json_integer_value(json_object_get(back.evidence, "trial_ms")),
			 600000);
	store_change_clear(&back);
	store_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_intent_needs_to_go_on_after_a_crash_is_kept_with_it),
		WITH_STORE(the_newest_root_is_in_force),
		WITH_STORE(a_root_never_goes_back_or_changes),
		WITH_STORE(a_version_and_its_bundle_are_kept_verbatim),
		WITH_STORE(what_is_not_stored_is_not_found),
		WITH_STORE(the_same_bundle_again_is_told_from_another_one),
		WITH_STORE(the_same_manifest_signed_anew_replaces_the_bundle),
		WITH_STORE(a_manifest_digest_that_nobody_filled_in_proves_nothing),
		WITH_STORE(names_are_values_never_statements),
		WITH_STORE(versions_are_listed_by_name_and_serial),
		WITH_STORE(the_newest_serial_is_the_highest),
		WITH_STORE(deleting_a_version_deletes_its_bytes),
		WITH_STORE(a_quarantine_keeps_its_reason_until_it_is_lifted),
		WITH_STORE(a_serial_above_the_databases_own_limit_is_refused),
		WITH_STORE(boots_are_kept_newest_first_and_updated_in_place),
		WITH_STORE(a_hotfix_row_is_kept),
		WITH_STORE(the_high_water_mark_never_falls),
		WITH_STORE(removal_forgets_versions_but_neither_marks_nor_history),
		WITH_STORE(what_was_only_imported_can_be_removed),
		WITH_STORE(the_previous_serial_follows_rollbacks),
		WITH_STORE(a_rollback_passes_by_what_is_barred),
		WITH_STORE(committing_the_same_serial_again_changes_nothing),
		WITH_STORE(the_way_back_skips_what_cannot_be_gone_back_to),
		WITH_STORE(the_ways_back_of_two_hotfixes_do_not_mix),
		WITH_STORE(only_what_was_committed_counts_as_committed),
		WITH_STORE(an_intent_has_no_outcome_until_it_is_given),
		WITH_STORE(an_outcome_is_final_but_a_trial_ends),
		WITH_STORE(evidence_may_be_added_to_a_change_that_is_over),
		WITH_STORE(an_outcome_is_one_of_the_known_words),
		WITH_STORE(texts_of_strangers_can_always_be_shown),
		WITH_STORE(the_end_of_a_long_log_is_kept),
		WITH_STORE(history_is_newest_first_and_open_intents_oldest_first),
		WITH_STORE(open_intents_can_be_ended_while_they_are_listed),
		WITH_STORE(a_transaction_is_all_or_nothing),
		WITH_STORE(a_write_that_failed_cannot_be_committed_around),
		WITH_STORE(finding_it_there_already_is_no_failed_write),
		WITH_STORE(transactions_do_not_nest),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
