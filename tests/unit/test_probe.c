// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "server/probe.h"
#include "server/work.h"
#include "tests/unit/parent.h"

static struct event_base *base;
static struct crew *crew;
static struct probes *probes;
static struct health_probe result[MANIFEST_PROBES_MAX];
static uint64_t now_ms;

static int begin(void **state)
{
	static int leak = -1; /* not close-on-exec; the parent has what we have */

	(void)state;
	if (leak < 0)
		leak = open("/dev/null", O_RDONLY);
	setenv("SECRET", "x", 1);
	base = event_base_new();
	crew = parent_crew(base);
	now_ms = 1000;
	return base ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	probes = probes_free(probes);
	crew_free(crew);
	parent_wait();
	event_base_free(base);
	return 0;
}

/* {"probes":[...]} with these */
__attribute__((format(printf, 1, 2))) static void with(const char *format, ...)
{
	AUTO_FREE char *text = NULL, *whole = NULL;
	AUTO_JSON json_t *health = NULL;
	struct probes_of of = {.name = "tried"};
	va_list ap;

	va_start(ap, format);
	assert_true(vasprintf(&text, format, ap) > 0);
	va_end(ap);
	assert_true(asprintf(&whole, "{\"probes\":[%s]}", text) > 0);
	health = json_loads(whole, 0, NULL);
	assert_non_null(health);
	of.health = health;
	of.bundle = (const uint8_t *)whole;
	of.bundle_len = strlen(whole);
	assert_ok(probes_new(base, crew, &of, &probes));
	probes_read(probes, result);
	assert_false(result[0].ran);
}

static bool had_enough(const char *note_has)
{
	probes_read(probes, result);
	return result[0].ran && (!note_has || strstr(result[0].note, note_has));
}

/* Runs it once more and waits for its end. */
static void run(void)
{
	uint64_t until_ns = clock_mono_ns() + 20000000000ULL;

	result[0].ran = false;
	now_ms += 3600000;
	probes_tick(probes, now_ms);
	/* An ended run leaves no event behind but the crew's. */
	while (event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED) > 1 &&
	       clock_mono_ns() < until_ns)
		event_base_loop(base, EVLOOP_ONCE);
	/* One that was killed is told of later than its deadline. */
	while (!had_enough(NULL) && clock_mono_ns() < until_ns)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(had_enough(NULL));
}

/* Seconds that only the processes of this run sleep: others may test beside it. */
static int nap;

static bool something_naps(const char *after)
{
	char command[128];

	snprintf(command, sizeof(command), "pgrep -f '^%ssleep %d' >/dev/null", after, nap);
	return system(command) == 0;
}

/* Its namespace ends with it: that is told of when it began to. */
static bool all_ends(const char *after)
{
	for (int i = 0; i < 2000 && something_naps(after); i++)
		usleep(10000);
	return !something_naps(after);
}

#define SHELL(script) "\"command\":[\"/bin/sh\",\"-c\",\"" script "\"]"

static void a_command_that_succeeds_is_good_and_its_words_are_kept(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\"," SHELL("echo all is well") "}");
	run();
	assert_int_equal(result[0].failed, 0);
	assert_string_equal(result[0].note, "all is well");
	assert_string_equal(result[0].source, "exec /bin/sh");
}

static void failures_in_a_row_are_counted_until_it_succeeds(void **state)
{
	char file[160], text[600];

	(void)state;
	snprintf(file, sizeof(file), "%s", unit_path("fine"));
	chmod(unit_folder, 0755);
	snprintf(text, sizeof(text),
		 "{\"name\":\"a\",\"type\":\"exec\",\"failures\":3,"
		 "\"command\":[\"/bin/sh\",\"-c\",\"echo no >&2; test -e %s || exit 9\"]}",
		 file);
	with("%s", text);
	run();
	run();
	assert_int_equal(result[0].failed, 2);
	assert_int_equal(result[0].failures, 3);
	assert_string_equal(result[0].note, "exit status 9: no");
	assert_ok(io_write_file(file, "", 0, 0644));
	run();
	assert_int_equal(result[0].failed, 0);
}

static void it_runs_as_nobody_without_privileges_files_or_environment(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\"," SHELL(
		"id -u; id -G; sed -n s/NoNewPrivs:.//p /proc/self/status;"
		"sed -n s/CapEff:.//p /proc/self/status; echo /proc/$$/fd/*; env | wc -l; pwd") "}");
	run();
	assert_int_equal(result[0].failed, 0);
	/* sh keeps PWD, OLDPWD or _ beside PATH and LANG */
	assert_non_null(strstr(result[0].note, "65534 65534 1 0000000000000000 /proc/"));
	assert_null(strstr(result[0].note, "SECRET"));
	assert_non_null(strstr(result[0].note, " /"));
}

static void no_file_of_the_daemon_is_open_in_it(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\",\"command\":[\"/bin/ls\",\"/proc/thread-self/fd\"]}");
	run();
	/* the three, and the folder that ls reads */
	assert_string_equal(result[0].note, "0 1 2 3");
}

static void one_that_takes_too_long_is_killed_with_all_it_started(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\",\"timeout_s\":1," SHELL(
		     "setsid sh -c 'sleep %d; :' & sleep %d; :") "}",
	     nap, nap);
	run();
	assert_int_equal(result[0].failed, 1);
	assert_non_null(strstr(result[0].note, "killed after 1 s"));
	assert_true(all_ends(""));
}

static void of_too_much_output_the_end_is_kept(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\",\"output_bytes\":100," SHELL(
		"seq 1 200000; echo the end; exit 1") "}");
	run();
	assert_int_equal(result[0].failed, 1);
	assert_non_null(strstr(result[0].note, "200000 the end"));
	assert_true(strlen(result[0].note) <= 100 + strlen("exit status 1: "));
}

static void memory_is_bounded(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\",\"memory_mib\":32," SHELL(
		"head -c 100M /dev/zero | tail -c 100M | wc -c") "}");
	run();
	assert_non_null(strstr(result[0].note, "memory exhausted"));
	probes = probes_free(probes);
	with("{\"name\":\"a\",\"type\":\"exec\",\"memory_mib\":512," SHELL(
		"head -c 100M /dev/zero | tail -c 100M | wc -c") "}");
	run();
	assert_string_equal(result[0].note, "104857600");
}

static void a_fork_bomb_is_contained_and_gone_afterwards(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"exec\",\"timeout_s\":2," SHELL(
		     "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep %d; :") "}",
	     nap);
	run();
	assert_int_equal(result[0].failed, 1);
	assert_true(all_ends(".*[b]omb.*"));
}

static void a_command_that_is_not_there_is_a_failure(void **state)
{
	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* its shadow does not fit into the memory that a probe may have */
#endif
	with("{\"name\":\"a\",\"type\":\"exec\",\"command\":[\"/no/such/program\"]}");
	run();
	assert_int_equal(result[0].failed, 1);
	assert_string_equal(result[0].note,
			    "exit status 126: /no/such/program: No such file or directory");
}

static void one_probe_never_runs_twice_at_once(void **state)
{
	AUTO_FREE char *text = NULL;

	(void)state;
	chmod(unit_folder, 0777);
	assert_true(
		asprintf(&text,
			 "{\"name\":\"a\",\"type\":\"exec\",\"every_s\":1,\"command\":"
			 "[\"/bin/sh\",\"-c\",\"mkdir %s/once && sleep 1; rmdir %s/once\"]}",
			 unit_folder, unit_folder) > 0);
	with("%s", text);
	for (int i = 0; i < 5; i++)
		probes_tick(probes, now_ms += 5000);
	assert_int_equal(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 3);
	run();
	assert_int_equal(result[0].failed, 0);
}

static void a_tcp_probe_connects(void **state)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[128];

	(void)state;
	assert_ok(bind(fd, (struct sockaddr *)&at, sizeof(at)));
	assert_ok(listen(fd, 8));
	assert_ok(getsockname(fd, (struct sockaddr *)&at, &len));
	snprintf(text, sizeof(text),
		 "{\"name\":\"a\",\"type\":\"tcp\",\"address\":\"127.0.0.1:%u\"}",
		 ntohs(at.sin_port));
	with("%s", text);
	run();
	assert_int_equal(result[0].failed, 0);
	close(fd);
	run();
	assert_int_equal(result[0].failed, 1);
	assert_string_equal(result[0].note, "exit status 1: connect: Connection refused");
}

static void a_unit_probe_asks_systemctl(void **state)
{
	(void)state;
	with("{\"name\":\"a\",\"type\":\"unit\",\"unit\":\"no-such-unit.service\"}");
	run();
	assert_int_equal(result[0].failed, 1);
	assert_string_equal(result[0].source, "unit no-such-unit.service");
}

static void it_ends_with_the_daemon(void **state)
{
	pid_t daemon = fork();
	int status;

	if (daemon == 0) { /* one of its own, whose parent dies as soon as the probe runs */
		setenv("TMPDIR", "/tmp", 1);
		if (unit_setup(state) < 0 || begin(state) < 0)
			_exit(1);
		with("{\"name\":\"a\",\"type\":\"exec\",\"timeout_s\":60," SHELL(
			     "exec sleep %d") "}",
		     nap);
		probes_tick(probes, now_ms);
		while (!something_naps(""))
			;
		kill(parent_pid, SIGKILL);
		unit_teardown(state);
		_exit(0);
	}
	waitpid(daemon, &status, 0);
	assert_int_equal(status, 0);
	assert_true(all_ends(""));
}

/* As server/work.c does, but believes what it is given. */
static int become_probe(void)
{
	char *argv[PROBE_WORDS_MAX], *const env[] = {NULL};
	AUTO_FREE uint8_t *request = NULL, *bytes = NULL;
	AUTO_JSON json_t *q = NULL, *health = NULL;
	size_t len;

	if (io_read_fd(WORK_FD_REQUEST, 65536, &request, &len) < 0 ||
	    io_read_fd(WORK_FD_BUNDLE, 65536, &bytes, &len) < 0)
		return 1;
	q = json_loads((char *)request, 0, NULL);
	health = json_loads((char *)bytes, 0, NULL);
	if (probe_words(json_array_get(json_object_get(health, "probes"),
				       (size_t)json_integer_value(json_object_get(q, "index"))),
			argv) < 0 ||
	    dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		return 1;
	execve("/proc/self/exe", argv, env);
	return 1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_command_that_succeeds_is_good_and_its_words_are_kept, begin, end),
		cmocka_unit_test_setup_teardown(failures_in_a_row_are_counted_until_it_succeeds,
						begin, end),
		cmocka_unit_test_setup_teardown(
			it_runs_as_nobody_without_privileges_files_or_environment, begin, end),
		cmocka_unit_test_setup_teardown(no_file_of_the_daemon_is_open_in_it, begin,
						end),
		cmocka_unit_test_setup_teardown(
			one_that_takes_too_long_is_killed_with_all_it_started, begin, end),
		cmocka_unit_test_setup_teardown(of_too_much_output_the_end_is_kept, begin, end),
		cmocka_unit_test_setup_teardown(memory_is_bounded, begin, end),
		cmocka_unit_test_setup_teardown(a_fork_bomb_is_contained_and_gone_afterwards,
						begin, end),
		cmocka_unit_test_setup_teardown(a_command_that_is_not_there_is_a_failure, begin,
						end),
		cmocka_unit_test_setup_teardown(one_probe_never_runs_twice_at_once, begin, end),
		cmocka_unit_test_setup_teardown(a_tcp_probe_connects, begin, end),
		cmocka_unit_test_setup_teardown(a_unit_probe_asks_systemctl, begin, end),
		cmocka_unit_test_setup_teardown(it_ends_with_the_daemon, begin, end),
	};

	/* What hotfixd does for its own children. */
	if (argc > 2 && strcmp(argv[1], "probe") == 0)
		return probe_main(argc, argv);
	if (argc == 2 && strcmp(argv[1], "worker") == 0)
		return become_probe();
	nap = 100000000 + getpid();
	return cmocka_run_group_tests(tests, unit_setup, unit_teardown);
}
