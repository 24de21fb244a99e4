// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory that runs out, at every allocation there is, one after the other: of what parses
 * foreign bytes, and of a whole life of the stores.  Each time a plain refusal, nothing leaked,
 * and on disk nothing half done.
 */
#include "tests/unit/signed.h"

#include "lib/json.h"
#include "store/catalog.h"
#include "store/directive.h"
#include "store/fleet.h"
#include "store/store.h"

/* A sanitizer wants to allocate itself; what leaks is counted here anyway. */
#ifdef __SANITIZE_ADDRESS__
int main(void)
{
	puts("a sanitizer has the allocator");
	return 77;
}
#else

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void __libc_free(void *p);

void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t size);
void free(void *p);

static unsigned long calls, refuse_at;
static long held;

static bool refused(void)
{
	return ++calls == refuse_at;
}

static void *hold(void *p)
{
	held += p != NULL;
	return p;
}

void *malloc(size_t size)
{
	return refused() ? NULL : hold(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return refused() ? NULL : hold(__libc_calloc(n, size));
}

void *realloc(void *p, size_t size)
{
	if (refused())
		return NULL;
	return p ? __libc_realloc(p, size) : hold(__libc_realloc(p, size));
}

void free(void *p)
{
	held -= p != NULL;
	__libc_free(p);
}

/*
 * act is called until it gets through without a refusal. It returns 0 or what it got for the
 * refusal, which it must not hide.
 */
static void at_each_allocation(int (*act)(void), unsigned long stride)
{
	long before;
	int r;

	refuse_at = 0;
	assert_ok(act()); /* libraries keep what they need once */
	for (unsigned long n = 1;; n += stride) {
		before = held;
		calls = 0;
		refuse_at = n;
		r = act();
		refuse_at = 0;
		if (held != before)
			fail_msg("%ld allocations leaked after the one refused, number %lu",
				 held - before, n);
		if (calls < n) {
			assert_ok(r);
			break;
		}
		if (r > 0)
			fail_msg("allocation %lu was refused: result %d", n, r);
	}
}

/* ---- what parses ---------------------------------------------------------------------- */

static uint8_t *bytes;
static size_t n_bytes;
static char *root;
static struct trust *trust;

static int open_root(void)
{
	AUTO(trust_freep) struct trust *t = NULL;
	struct fail f = {0};
	int r = trust_open(root, strlen(root), &t, &f);

	assert_true((r < 0) == (f.code != FAIL_NONE) && (r < 0) == (f.message[0] != 0));
	return r;
}

static void a_root(void **state)
{
	(void)state;
	at_each_allocation(open_root, 1);
}

static int open_bundle(void)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	struct fail f = {0};
	int r = bundle_open(bytes, n_bytes, trust, &b, &f);

	assert_true((r < 0) == (f.code != FAIL_NONE) && (r < 0) == (f.message[0] != 0));
	return r;
}

static void a_bundle_with_its_manifest(void **state)
{
	(void)state;
	at_each_allocation(open_bundle, 1);
}

static char *directive, *status;

static int open_directive(void)
{
	struct directive d;
	struct fail f = {0};
	int r = directive_open(directive, strlen(directive), trust, &d, &f);

	assert_true((r < 0) == (f.code != FAIL_NONE) && (r < 0) == (f.message[0] != 0));
	return r;
}

static void a_directive(void **state)
{
	(void)state;
	at_each_allocation(open_directive, 1);
}

static int open_status(void)
{
	AUTO(catalog_freep) struct catalog *c = NULL;
	struct fail f = {0};
	int r = catalog_open(status, strlen(status), trust, &c, &f);

	assert_true((r < 0) == (f.code != FAIL_NONE) && (r < 0) == (f.message[0] != 0));
	return r;
}

static void a_status_of_a_fleet(void **state)
{
	(void)state;
	at_each_allocation(open_status, 1);
}

static void sign_for_a_fleet(void)
{
	struct catalog_entry e = {.name = "one", .serial = 1, .bundle_bytes = 1};
	struct catalog c = {
		.fleet = "shop", .version = 1, .expires_ms = 1, .entries = &e, .n_entries = 1};
	struct directive d = {.fleet = "shop",
			      .name = "one",
			      .action = DIRECTIVE_ROLLBACK,
			      .from = 2,
			      .to = 1,
			      .expires_ms = 1};

	trust->director = signed_role(1, 1);
	trust->status = trust->director;
	snprintf(trust->fleet, sizeof(trust->fleet), "shop");
	assert_ok(directive_sign(&d, signed_keys, 1, &directive, NULL));
	assert_ok(catalog_sign(&c, signed_keys, 1, &status, NULL));
}

static int parse_json(void)
{
	static const char text[] =
		"{\"a\":[1,2,{\"b\":\"text\"}],\"c\":null,\"d\":true,\"e\":\"\\u00e4\"}";
	AUTO_JSON json_t *doc = NULL;
	struct fail f = {0};
	int r = json_parse("doc", text, strlen(text), &doc, &f);

	assert_true((r < 0) == (f.code != FAIL_NONE));
	return r;
}

static void a_json_document(void **state)
{
	(void)state;
	at_each_allocation(parse_json, 1);
}

/* ---- a life of the store ---------------------------------------------------------------- */

static char path[128];

static int count(const struct store_change *c, void *cookie)
{
	(void)c;
	++*(int *)cookie;
	return 0;
}

/* As an import, an apply and a commit use it. */
static int live(struct store *s)
{
	struct store_version v = {.name = "one", .serial = 1};
	struct store_hotfix h = {.name = "one", .committed_serial = 1, .high_water = 1};
	struct store_change c = {
		.name = "one", .verb = "apply", .serial = 1, .boot_id = "boot"};
	AUTO_JSON json_t *evidence = NULL;
	AUTO_FREE uint8_t *bundle = NULL;
	uint64_t id, serial;
	size_t len;
	int n = 0, r;

	evidence = json_pack("{s:i}", "index", 1);
	if (!evidence)
		return -ENOMEM;
	r = store_put_version(s, &v, bytes, n_bytes);
	if (r == 0)
		r = store_get_bundle(s, "one", 1, &bundle, &len);
	if (r == 0)
		r = store_begin(s);
	if (r < 0)
		return r;
	c.evidence = evidence;
	r = store_begin_change(s, &c, &id);
	if (r == 0)
		r = store_audit(s, 1, 0, "apply", "one@1", "begun", evidence);
	if (r == 0)
		r = store_put_hotfix(s, &h);
	if (r == 0)
		r = store_end_change(s, id, 2, "done", "", "", "log", evidence);
	if (r == 0)
		r = store_commit(s);
	if (r < 0) {
		store_rollback(s);
		return r;
	}
	r = store_each_change(s, "one", false, 10, count, &n);
	if (r == 0)
		r = store_newest_serial(s, "one", &serial);
	return r;
}

static int whole_life(void)
{
	AUTO(store_freep) struct store *s = NULL;
	struct fail f = {0};
	int r;

	unlink(path);
	r = store_open(path, &s, &f);
	if (r < 0) {
		assert_true(f.message[0]);
		return r;
	}
	r = live(s);
	if (r < 0) {
		store_error(s, r, &f);
		assert_true(f.message[0]);
	}
	return r;
}

/* Whatever was refused: the file is sound, and has all of a change or nothing of it. */
static int life_and_after(void)
{
	int r = whole_life(), n = 0, n_open = 0;
	unsigned long keep = refuse_at;
	struct store_hotfix h;
	struct store *s = NULL;
	char head[65];
	uint64_t rows, bad;

	refuse_at = 0;
	assert_ok(store_open(path, &s, NULL));
	assert_ok(store_audit_verify(s, &rows, head, &bad));
	assert_ok(store_each_change(s, "one", false, 10, count, &n));
	assert_ok(store_each_change(s, "one", true, 10, count, &n_open));
	assert_int_equal(n_open, 0);
	assert_int_equal(store_get_hotfix(s, "one", &h), n ? 0 : -ENOENT);
	assert_int_equal(rows, n);
	store_free(s);
	refuse_at = keep;
	return r;
}

static void the_whole_life_of_a_store(void **state)
{
	(void)state;
	at_each_allocation(life_and_after, getenv("LONG") && *getenv("LONG") ? 1 : 7);
}

/* ---- a life of the controllers' state, on a file ------------------------------------------ */

static int count_off(struct fleet *f, int r, struct fleet_answer **a)
{
	r = fleet_wait(f, r, a);
	*a = fleet_answer_free(*a);
	return r;
}

/* As an enrolment, a report and a step of a rollout use it. */
static int live_fleet(struct fleet *f)
{
	static const uint8_t fingerprint[32];
	struct fleet_entry e = {.actor = "a", .action = "b", .subject = "r", .detail = "{}"};
	struct fleet_enrolment en = {
		.id = "h", .name = "n", .fingerprint = fingerprint, .certificate = "1"};
	struct fleet_report report = {.host = "h", .seq = 1, .hotfixes = "[]"};
	struct fleet_rollout rollout = {.id = "r", .name = "fix", .state = "{}"};
	struct fleet_rollout_host host = {.host = "h", .state = "{}"};
	struct fleet_word word = {.host = "h", .body = "word", .len = 4};
	struct fleet_step step = {.id = "r",
				  .name = "fix",
				  .state = "{}",
				  .active = true,
				  .hosts = &host,
				  .words = &word,
				  .entries = &e,
				  .n_hosts = 1,
				  .n_words = 1,
				  .n_entries = 1};
	struct fleet_answer *a = NULL;
	int r;

	r = count_off(f, fleet_enrol(f, &en, &e, fleet_keep, &a), &a);
	if (r == 0)
		r = count_off(f, fleet_reports(f, &report, 1, fleet_keep, &a), &a);
	if (r == 0)
		r = count_off(f, fleet_new_rollout(f, &rollout, &e, fleet_keep, &a), &a);
	if (r == 0)
		r = count_off(f, fleet_step(f, &step, fleet_keep, &a), &a);
	if (r == 0)
		r = count_off(f, fleet_words(f, "h", fleet_keep, &a), &a);
	return r;
}

static int whole_fleet(void)
{
	AUTO(fleet_freep) struct fleet *f = NULL;
	struct fail fail = {0};
	int r;

	unlink(path);
	r = fleet_open(path, 0, 0, &f, &fail);
	if (r < 0) {
		assert_true(fail.message[0]);
		return r;
	}
	return live_fleet(f);
}

/* Whatever was refused: the file is sound, and each operation was stored whole or not at all. */
static int fleet_and_after(void)
{
	int r = whole_fleet();
	unsigned long keep = refuse_at;
	struct fleet_rollout rollout = {0};
	struct fleet_desired desired = {0};
	struct fleet_answer *a = NULL;
	struct fleet *f = NULL;
	uint64_t rows = 0, bad, wanted = 0;
	char head[65];

	refuse_at = 0;
	assert_ok(fleet_open(path, 0, 0, &f, NULL));
	assert_ok(fleet_audit_verify(f, &rows, head, &bad, NULL));
	if (fleet_wait(f, fleet_host(f, "h", fleet_keep, &a), &a) == 0)
		wanted++;
	a = fleet_answer_free(a);
	if (fleet_wait(f, fleet_rollout(f, "r", fleet_keep, &a), &a) == 0 &&
	    fleet_next_rollout(a, &rollout))
		wanted += 1 + rollout.generation;
	assert_int_equal(rows, wanted);
	wanted = rollout.generation;
	a = fleet_answer_free(a);
	assert_ok(fleet_wait(f, fleet_words(f, "h", fleet_keep, &a), &a));
	fleet_next_desired(a, &desired);
	assert_int_equal(desired.generation, wanted);
	fleet_answer_free(a);
	fleet_free(f);
	refuse_at = keep;
	return r;
}

static void the_whole_life_of_a_fleet(void **state)
{
	(void)state;
	at_each_allocation(fleet_and_after, getenv("LONG") && *getenv("LONG") ? 1 : 13);
}

static int setup(void **state)
{
	struct trust_role role;

	if (signed_setup(state) < 0)
		return -1;
	role = signed_role(1, 1);
	root = signed_root(&role, 1, 0);
	trust = signed_trust(1, 1);
	bytes = signed_bundle("one", 1, 1, &n_bytes);
	sign_for_a_fleet();
	/* In memory: what is asked here is not how long a disk takes. */
	snprintf(path, sizeof(path), "%s/hotfixd-unit-memory-%d.db",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : unit_folder, getpid());
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	free(root);
	free(bytes);
	free(directive);
	free(status);
	trust_free(trust);
	return signed_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_json_document),
		cmocka_unit_test(a_root),
		cmocka_unit_test(a_bundle_with_its_manifest),
		cmocka_unit_test(a_directive),
		cmocka_unit_test(a_status_of_a_fleet),
		cmocka_unit_test(the_whole_life_of_a_store),
		cmocka_unit_test(the_whole_life_of_a_fleet),
	};

	return cmocka_run_group_tests_name("memory runs out", tests, setup, teardown);
}
#endif
