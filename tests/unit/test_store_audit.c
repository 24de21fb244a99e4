// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/json.h"
#include "store/checkpoint.h"
#include "store/store.h"
#include "store/store_private.h"

#define ROWS 5

static struct store *store;
static char head_before[65];

static int five_rows(void **state)
{
	AUTO_JSON json_t *detail = json_pack("{s:s}", "message", "why \"it\" was refused");
	static int n;
	char name[32];
	uint64_t rows;

	(void)state;
	snprintf(name, sizeof(name), "audit%d.db", n++);
	if (store_open(unit_path(name), &store, NULL) < 0)
		return -1;
	for (int i = 1; i <= ROWS; i++)
		if (store_audit(store, 1000U + (unsigned int)i, 10, "import", "fix@1",
				i % 2 ? "done" : "refused", i % 2 ? NULL : detail) < 0)
			return -1;
	return store_audit_verify(store, &rows, head_before, NULL);
}

static int close_store(void **state)
{
	(void)state;
	store = store_free(store);
	return 0;
}

static void run(const char *statement)
{
	if (sql_run(store->q, statement, "") < 0)
		fail_msg("%s", statement);
}

/* As root with sqlite3(1) would: the triggers are no obstacle to the owner of the file. */
static void tamper(const char *statement)
{
	run("DROP TRIGGER audit_no_update");
	run("DROP TRIGGER audit_no_delete");
	run(statement);
	if (sql_changed(store->q) == 0)
		fail_msg("changed nothing: %s", statement);
}

static void breaks_at(uint64_t seq)
{
	uint64_t rows = 77, bad = 0;
	char head[65] = "untouched";

	assert_int_equal(store_audit_verify(store, &rows, head, &bad), -EUCLEAN);
	assert_int_equal(bad, seq);
	assert_int_equal(rows, 77);
	assert_string_equal(head, "untouched");
}

static void an_untouched_chain_verifies(void **state)
{
	uint64_t rows = 0, bad = 77;
	char head[65];

	(void)state;
	assert_ok(store_audit_verify(store, &rows, head, &bad));
	assert_int_equal(rows, ROWS);
	assert_int_equal(strlen(head), 64);
	assert_int_equal(bad, 77);
}

static void an_empty_chain_has_the_genesis_as_head(void **state)
{
	AUTO(store_freep) struct store *s = NULL;
	uint64_t rows = 77;
	char head[65], zeros[65];

	(void)state;
	assert_ok(store_open(unit_path("empty.db"), &s, NULL));
	assert_ok(store_audit_verify(s, &rows, head, NULL));
	assert_int_equal(rows, 0);
	memset(zeros, '0', 64);
	zeros[64] = 0;
	assert_string_equal(head, zeros);
}

static void the_head_moves_with_each_row(void **state)
{
	uint64_t rows;
	char head[65];

	(void)state;
	assert_ok(store_audit(store, 1, 0, "a", "b", "c", NULL));
	assert_ok(store_audit_verify(store, &rows, head, NULL));
	assert_int_equal(rows, ROWS + 1);
	assert_string_not_equal(head, head_before);
}

static void rows_cannot_be_changed_or_deleted(void **state)
{
	(void)state;
	assert_true(sql_run(store->q, "UPDATE audit SET result = 'done'", "") < 0);
	assert_true(sql_run(store->q, "DELETE FROM audit", "") < 0);
	assert_true(sql_run(store->q, "DELETE FROM audit WHERE seq = 5", "") < 0);
	assert_true(sql_run(store->q,
			    "INSERT OR REPLACE INTO audit VALUES(5, 1, 1, 'a', 'b', 'c', NULL,"
			    " zeroblob(32))",
			    "") < 0);
	an_untouched_chain_verifies(NULL);
}

/* Attacks 9 and 29, one column at a time. */
static void a_change_of_any_column_is_found(void **state)
{
	static const char *const changes[] = {
		"UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 3",
		"UPDATE audit SET actor_uid = 0 WHERE seq = 3",
		"UPDATE audit SET action = 'apply' WHERE seq = 3",
		"UPDATE audit SET subject = 'fix@2' WHERE seq = 3",
		"UPDATE audit SET subject = '' WHERE seq = 3",
		"UPDATE audit SET result = 'refused' WHERE seq = 3",
		"UPDATE audit SET detail = '{}' WHERE seq = 3",
		"UPDATE audit SET detail = '' WHERE seq = 3",
		"UPDATE audit SET hash = zeroblob(32) WHERE seq = 3",
		/* the same letters, cut elsewhere */
		"UPDATE audit SET action = 'impor', subject = 'tfix@1' WHERE seq = 3",
		"UPDATE audit SET subject = 'fix@1done', result = '' WHERE seq = 3",
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		tamper(changes[i]);
		breaks_at(3);
		close_store(state);
		assert_ok(five_rows(state));
	}
}

static void a_detail_that_vanishes_is_found(void **state)
{
	(void)state;
	tamper("UPDATE audit SET detail = NULL WHERE seq = 4");
	breaks_at(4);
}

static void a_missing_row_is_found(void **state)
{
	(void)state;
	tamper("DELETE FROM audit WHERE seq = 2");
	breaks_at(2);
}

static void a_missing_first_row_is_found(void **state)
{
	(void)state;
	tamper("DELETE FROM audit WHERE seq = 1");
	breaks_at(1);
}

static void a_cut_tail_is_found(void **state)
{
	(void)state;
	tamper("DELETE FROM audit WHERE seq > 3");
	breaks_at(4);
}

static void an_emptied_log_is_found(void **state)
{
	(void)state;
	tamper("DELETE FROM audit");
	breaks_at(1);
}

static void swapped_rows_are_found(void **state)
{
	(void)state;
	tamper("UPDATE audit SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)");
	run("UPDATE audit SET seq = -seq WHERE seq < 0");
	breaks_at(2);
}

static void a_renumbered_tail_is_found(void **state)
{
	(void)state;
	tamper("DELETE FROM audit WHERE seq = 2");
	run("UPDATE audit SET seq = seq - 1 WHERE seq > 2");
	run("UPDATE sqlite_sequence SET seq = 4 WHERE name = 'audit'");
	breaks_at(2);
}

/*
 * Whoever owns the file can cut the tail and SQLite's own count of it: the chain is whole
 * again, and only a head that was exported before tells.
 */
static void a_perfect_cut_differs_from_the_head_exported_before(void **state)
{
	uint64_t rows;
	char head[65];

	(void)state;
	tamper("DELETE FROM audit WHERE seq > 3");
	run("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit'");
	assert_ok(store_audit_verify(store, &rows, head, NULL));
	assert_int_equal(rows, 3);
	assert_string_not_equal(head, head_before);
}

static void two_stores_with_the_same_rows_have_the_same_head(void **state)
{
	char first[65];

	memcpy(first, head_before, sizeof(first));
	close_store(state);
	assert_ok(five_rows(state));
	assert_string_equal(first, head_before);
}

static void rows_are_listed_in_order_from_a_place(void **state)
{
	AUTO_JSON json_t *list = NULL;
	AUTO_JSON json_t *none = NULL;
	const json_t *row;

	(void)state;
	assert_ok(store_audit_list(store, 2, 2, &list));
	assert_int_equal(json_array_size(list), 2);
	row = json_array_get(list, 1);
	assert_int_equal(json_integer_value(json_object_get(row, "seq")), 4);
	assert_string_equal(json_string_value(json_object_get(row, "at")),
			    "1970-01-01T00:00:01.004Z");
	assert_int_equal(json_integer_value(json_object_get(row, "actor_uid")), 10);
	assert_string_equal(json_string_value(json_object_get(row, "action")), "import");
	assert_string_equal(json_string_value(json_object_get(row, "subject")), "fix@1");
	assert_string_equal(json_string_value(json_object_get(row, "result")), "refused");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(row, "detail"), "message")),
		"why \"it\" was refused");
	assert_null(json_object_get(json_array_get(list, 0), "detail"));
	assert_ok(store_audit_list(store, ROWS, 10, &none));
	assert_int_equal(json_array_size(none), 0);
}

static void the_last_listed_hash_is_the_head(void **state)
{
	AUTO_JSON json_t *list = NULL;

	(void)state;
	assert_ok(store_audit_list(store, 0, 100, &list));
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, ROWS - 1), "hash")),
		head_before);
}

/* Attack 30: whoever makes up a name writes it into the log, but not onto the terminal. */
static void rows_that_quote_a_stranger_can_be_listed(void **state)
{
	AUTO_JSON json_t *list = NULL;
	uint64_t rows;
	char head[65];

	(void)state;
	assert_ok(store_audit(store, 1, 0, "apply", "\x1b]0;owned\x07 \xff\xc0\x80 <b>",
			      "refused", NULL));
	assert_ok(store_audit_list(store, ROWS, 1, &list));
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 0), "subject")),
		"?]0;owned? ??? <b>");
	assert_ok(store_audit_verify(store, &rows, head, NULL));
}

#define WITH_ROWS(test) cmocka_unit_test_setup_teardown(test, five_rows, close_store)

/* ---- checkpoints ------------------------------------------------------------ */

static struct key *host, *stranger;

static int make_keys(void **state)
{
	struct key_public p;

	if (unit_setup(state) < 0 || key_new(unit_path("host"), NULL, &p, NULL) < 0 ||
	    key_new(unit_path("stranger"), NULL, &p, NULL) < 0 ||
	    key_load(unit_path("host.sec"), NULL, NULL, &host, NULL) < 0)
		return -1;
	return key_load(unit_path("stranger.sec"), NULL, NULL, &stranger, NULL);
}

static int free_keys(void **state)
{
	host = key_free(host);
	stranger = key_free(stranger);
	return unit_teardown(state);
}

static void two_checkpoints(void)
{
	assert_ok(store_checkpoint(store, host, 0, 5000));
	assert_ok(store_audit(store, 6000, 0, "import", "fix@2", "done", NULL));
	assert_ok(store_checkpoint(store, host, 0, 6000));
}

static void bad_checkpoint(uint64_t seq)
{
	uint64_t n = 77, bad = 0;

	assert_int_equal(store_checkpoint_verify(store, key_public(host), &n, &bad), -EUCLEAN);
	assert_int_equal(bad, seq);
}

static void a_checkpoint_signs_the_head_once(void **state)
{
	uint64_t n = 77, bad = 0;

	(void)state;
	assert_ok(store_checkpoint_verify(store, key_public(host), &n, &bad));
	assert_int_equal(n, 0);
	assert_ok(store_checkpoint(store, host, ROWS + 1, 5000)); /* too few rows yet */
	assert_ok(store_checkpoint_verify(store, key_public(host), &n, &bad));
	assert_int_equal(n, 0);
	two_checkpoints();
	assert_ok(store_checkpoint(store, host, 0, 7000));
	assert_ok(store_checkpoint_verify(store, key_public(host), &n, &bad));
	assert_int_equal(n, 2);
}

/* Attack 29: a chain that was made anew holds in itself, and is not what the host signed. */
static void a_chain_made_anew_is_not_what_was_signed(void **state)
{
	uint64_t rows;
	char head[65];

	(void)state;
	two_checkpoints();
	tamper("DELETE FROM audit");
	run("UPDATE sqlite_sequence SET seq = 0 WHERE name = 'audit'");
	for (int i = 0; i <= ROWS; i++)
		assert_ok(store_audit(store, 1, 0, "import", "fix@1", "done", NULL));
	assert_ok(store_audit_verify(store, &rows, head, NULL));
	bad_checkpoint(ROWS);
}

static void rows_cut_off_below_a_checkpoint_are_missed(void **state)
{
	uint64_t rows;
	char head[65];

	(void)state;
	two_checkpoints();
	tamper("DELETE FROM audit WHERE seq > 5");
	run("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'audit'");
	assert_ok(store_audit_verify(store, &rows, head, NULL));
	bad_checkpoint(ROWS + 1);
}

static void a_checkpoint_by_another_key_does_not_count(void **state)
{
	(void)state;
	assert_ok(store_checkpoint(store, stranger, 0, 5000));
	bad_checkpoint(ROWS);
}

static void a_checkpoint_moved_to_another_row_is_found(void **state)
{
	(void)state;
	two_checkpoints();
	run("DROP TRIGGER checkpoint_no_update");
	run("UPDATE checkpoint SET seq = 3 WHERE seq = 5");
	bad_checkpoint(3);
}

static void checkpoints_cannot_be_changed_or_deleted(void **state)
{
	static const char *const statements[] = {
		"UPDATE checkpoint SET seq = 3 WHERE seq = 5",
		"DELETE FROM checkpoint",
		"INSERT OR REPLACE INTO checkpoint(seq, envelope) VALUES(5, x'00')",
		"INSERT INTO checkpoint(seq, envelope) VALUES(4, x'00')",
	};

	(void)state;
	two_checkpoints();
	for (size_t i = 0; i < ARRAY_SIZE(statements); i++)
		assert_true(sql_run(store->q, statements[i], "") < 0);
}

static int told;

static void on_audit(void *cookie)
{
	(void)cookie;
	told++;
}

static void only_what_is_committed_is_told(void **state)
{
	(void)state;
	told = 0;
	store_on_audit(store, on_audit, NULL);
	assert_ok(store_audit(store, 1, 0, "import", "fix@1", "done", NULL));
	assert_int_equal(told, 1);
	assert_ok(store_begin(store));
	assert_ok(store_audit(store, 1, 0, "import", "fix@1", "done", NULL));
	assert_ok(store_audit(store, 1, 0, "import", "fix@1", "done", NULL));
	assert_int_equal(told, 1);
	assert_ok(store_commit(store));
	assert_int_equal(told, 2);
	assert_ok(store_begin(store));
	assert_ok(store_audit(store, 1, 0, "import", "fix@1", "done", NULL));
	store_rollback(store);
	assert_ok(store_quarantine(store, "fix", 1, true, "") == -ENOENT ? 0 : -1);
	assert_int_equal(told, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROWS(an_untouched_chain_verifies),
		WITH_ROWS(an_empty_chain_has_the_genesis_as_head),
		WITH_ROWS(the_head_moves_with_each_row),
		WITH_ROWS(rows_cannot_be_changed_or_deleted),
		WITH_ROWS(a_change_of_any_column_is_found),
		WITH_ROWS(a_detail_that_vanishes_is_found),
		WITH_ROWS(a_missing_row_is_found),
		WITH_ROWS(a_missing_first_row_is_found),
		WITH_ROWS(a_cut_tail_is_found),
		WITH_ROWS(an_emptied_log_is_found),
		WITH_ROWS(swapped_rows_are_found),
		WITH_ROWS(a_renumbered_tail_is_found),
		WITH_ROWS(a_perfect_cut_differs_from_the_head_exported_before),
		WITH_ROWS(two_stores_with_the_same_rows_have_the_same_head),
		WITH_ROWS(rows_are_listed_in_order_from_a_place),
		WITH_ROWS(the_last_listed_hash_is_the_head),
		WITH_ROWS(rows_that_quote_a_stranger_can_be_listed),
		WITH_ROWS(a_checkpoint_signs_the_head_once),
		WITH_ROWS(a_chain_made_anew_is_not_what_was_signed),
		WITH_ROWS(rows_cut_off_below_a_checkpoint_are_missed),
		WITH_ROWS(a_checkpoint_by_another_key_does_not_count),
		WITH_ROWS(a_checkpoint_moved_to_another_row_is_found),
		WITH_ROWS(checkpoints_cannot_be_changed_or_deleted),
		WITH_ROWS(only_what_is_committed_is_told),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
