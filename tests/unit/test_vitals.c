// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include "lib/cleanup.h"
#include "lib/io.h"
#include "server/vitals.h"

/* A host of files in the scratch folder. */
static void put(const char *path, const char *text)
{
	assert_ok(io_write_file(unit_path(path), text, strlen(text), 0600));
}

static void log_line(const char *text)
{
	FILE *f = fopen(unit_path("dev/kmsg"), "a");

	assert_non_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

#define SNMP                                                                         \
	"Ip: Forwarding DefaultTTL\nIp: 1 64\n"                                      \
	"Tcp: RtoAlgorithm MaxConn EstabResets OutSegs RetransSegs InErrs OutRsts\n" \
	"Tcp: 1 -1 3 5000 40 0 7\nUdp: InDatagrams\nUdp: 1\n"

static struct vitals *v;
static struct health_sample s;

static int host(void **state)
{
	static const char *const folders[] = {"sys/kernel", "proc/sys/kernel", "proc/pressure",
					      "proc/net", "dev"};

	(void)state;
	memset(&s, 0, sizeof(s));
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (io_mkdir_p(unit_path(folders[i]), 0700) < 0)
			return -1;
	put("sys/kernel/oops_count", "2\n");
	put("sys/kernel/warn_count", "17\n");
	put("proc/sys/kernel/tainted", "12801\n"); /* P, W, O and E: only W is trouble */
	put("proc/pressure/cpu", "some avg10=12.34 avg60=5.00 avg300=1.00 total=5\n"
				 "full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n");
	put("proc/pressure/io", "some avg10=1.00 avg60=5.00 avg300=1.00 total=5\n"
				"full avg10=0.50 avg60=0.00 avg300=0.00 total=0\n");
	put("proc/pressure/memory", "some avg10=1.00 avg60=5.00 avg300=1.00 total=5\n"
				    "full avg10=0.25 avg60=0.00 avg300=0.00 total=0\n");
	put("proc/net/snmp", SNMP);
	put("dev/kmsg", "6,7,100,-;all is well\n4,8,200,-;BUG: unable to handle page fault\n");
	assert_ok(vitals_new(unit_folder, -1, &v));
	return 0;
}

static int done(void **state)
{
	(void)state;
	v = vitals_free(v);
	return 0;
}

static void read_now(void)
{
	vitals_read(v, 5000000000ULL, &s);
}

static void is(enum health_check check, double value, double base)
{
	assert_int_equal(s.check[check].state, HEALTH_KNOWN);
	assert_float_equal(s.check[check].value, value, 1e-9);
	assert_float_equal(s.check[check].base, base, 1e-9);
}

static void every_fact_of_the_host_is_read(void **state)
{
	(void)state;
	read_now();
	is(HEALTH_oops, 2, 0);
	is(HEALTH_warn, 17, 0);
	is(HEALTH_taint, 512, 0);
	is(HEALTH_psi_cpu, 12.34, 0);
	is(HEALTH_psi_io, 0.5, 0);
	is(HEALTH_psi_memory, 0.25, 0);
	is(HEALTH_tcp_retrans_percent, 40, 5000);
	is(HEALTH_tcp_resets_per_s, 10, 5);
}

static void what_is_missing_or_damaged_is_not_known_and_says_why(void **state)
{
	(void)state;
	unlink(unit_path("sys/kernel/oops_count"));
	put("sys/kernel/warn_count", "many\n");
	put("proc/pressure/cpu", "full avg10=9.00\n");
	unlink(unit_path("proc/pressure/io"));
	put("proc/net/snmp", "Tcp: RetransSegs OutSegs\nTcp: 1 -\n");
	read_now();
	assert_int_equal(s.check[HEALTH_oops].state, HEALTH_UNKNOWN);
	assert_string_equal(s.check[HEALTH_oops].note,
			    "not readable: No such file or directory");
	assert_int_equal(s.check[HEALTH_warn].state, HEALTH_UNKNOWN);
	assert_int_equal(s.check[HEALTH_psi_cpu].state, HEALTH_UNKNOWN);
	assert_int_equal(s.check[HEALTH_psi_io].state, HEALTH_UNKNOWN);
	assert_int_equal(s.check[HEALTH_psi_memory].state, HEALTH_KNOWN);
	assert_int_equal(s.check[HEALTH_tcp_retrans_percent].state, HEALTH_UNKNOWN);
	assert_int_equal(s.check[HEALTH_tcp_resets_per_s].state, HEALTH_UNKNOWN);
}

static double trouble(void)
{
	read_now();
	assert_int_equal(s.check[HEALTH_kmsg].state, HEALTH_KNOWN);
	return s.check[HEALTH_kmsg].value;
}

static void each_kind_of_trouble_in_the_kernels_log_is_seen_with_its_line(void **state)
{
	static const char *const lines[] = {
		"BUG: kernel NULL pointer dereference, address: 0000000000000000",
		"Oops: 0002 [#1] PREEMPT SMP NOPTI",
		"general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
		"watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [act:411]",
		"watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3",
		"rcu: INFO: rcu_preempt self-detected stall on CPU",
		"rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-... }",
		"INFO: task jbd2/vda1-8:201 blocked for more than 120 seconds.",
		"list_add corruption. next->prev should be prev (ffff), but was 0000.",
		"list_del corruption, ffff->next is LIST_POISON1",
		"BUG kmalloc-64 (Not tainted): Poison overwritten",
	};
	double before = trouble();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char record[256];

		snprintf(record, sizeof(record), "4,%zu,%zu,-;%s", 100 + i, (i + 1) * 10000000,
			 lines[i]);
		log_line(record);
		assert_float_equal(trouble(), before + (double)i + 1, 0);
		assert_string_equal(s.check[HEALTH_kmsg].note, lines[i]);
	}
}

static void what_follows_the_first_line_of_trouble_is_not_the_evidence(void **state)
{
	double before = trouble();

	(void)state;
	log_line("1,20,9000000,-;BUG: kernel NULL pointer dereference, address: 0");
	log_line(" SUBSYSTEM=cpu");
	log_line("1,21,9000100,-;Oops: 0002 [#1] SMP");
	assert_float_equal(trouble(), before + 2, 0);
	assert_string_equal(s.check[HEALTH_kmsg].note,
			    "BUG: kernel NULL pointer dereference, address: 0");
}

static void words_of_processes_are_no_trouble(void **state)
{
	double before = trouble();

	(void)state;
	log_line("12,30,0,-;BUG: written to /dev/kmsg by somebody");
	log_line("6,31,0,-;BUG: [4711]: segfault at 0 ip 0 sp 0 error 4 in BUG: [400000+1000]");
	log_line("6,32,0,-;Oops[12]: segfault at 0");
	log_line("6,33,0,-;debugging: BUG: in the middle of a line");
	log_line("4,34,0,-;WARNING: CPU: 0 PID: 1 at kernel/x.c:1 (has a check of its own)");
	assert_float_equal(trouble(), before, 0);
}

static void trouble_since_a_record_is_found_again_after_a_restart(void **state)
{
	uint64_t seq = vitals_log_seq(v);

	(void)state;
	assert_int_equal(seq, 8);
	assert_int_equal(vitals_log_trouble_since(v, seq), 0);
	log_line("4,9,5000000,-;BUG: soft lockup");
	log_line("6,10,5000000,-;nothing");
	vitals_free(v);
	assert_ok(vitals_new(unit_folder, -1, &v));
	assert_int_equal(vitals_log_seq(v), 10);
	assert_int_equal(vitals_log_trouble_since(v, seq), 1);
	assert_float_equal(trouble(), 2, 0);
}

static void without_the_log_nothing_is_known_of_it(void **state)
{
	(void)state;
	vitals_free(v);
	unlink(unit_path("dev/kmsg"));
	assert_ok(vitals_new(unit_folder, -1, &v));
	read_now();
	assert_int_equal(s.check[HEALTH_kmsg].state, HEALTH_UNKNOWN);
	assert_non_null(strstr(s.check[HEALTH_kmsg].note, "No such file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_fact_of_the_host_is_read, host, done),
		cmocka_unit_test_setup_teardown(
			what_is_missing_or_damaged_is_not_known_and_says_why, host, done),
		cmocka_unit_test_setup_teardown(
			each_kind_of_trouble_in_the_kernels_log_is_seen_with_its_line, host,
			done),
		cmocka_unit_test_setup_teardown(
			what_follows_the_first_line_of_trouble_is_not_the_evidence, host, done),
		cmocka_unit_test_setup_teardown(words_of_processes_are_no_trouble, host, done),
		cmocka_unit_test_setup_teardown(
			trouble_since_a_record_is_found_again_after_a_restart, host, done),
		cmocka_unit_test_setup_teardown(without_the_log_nothing_is_known_of_it, host,
						done),
	};

	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
