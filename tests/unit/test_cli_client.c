// SPDX-License-Identifier: BSD-2-Clause
/*
 * hotfixctl against a daemon that says what each test wants: a child process that answers
 * on a Unix socket. Every command line runs in a process of its own.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cli/command.h"
#include "cli/context.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/key.h"
#include "tests/unit/unit.h"

struct reply {
	const char
		*request; /* beginning of "METHOD path", "1" before it: once; NULL: the end */
	int status;
	const char *body;
	bool hangs; /* after the body */
};

static char socket_path[128];
static pid_t server;
static int seen = -1; /* a byte for each request that the server took */

/* --- the daemon ----------------------------------------------------------------------- */

static void read_request(int fd, char *buf, size_t len)
{
	size_t have = 0, want = len;

	while (have < want && have < len - 1) {
		ssize_t n = read(fd, buf + have, len - 1 - have);
		const char *body, *length;

		if (n <= 0)
			break;
		have += (size_t)n;
		buf[have] = 0;
		body = strstr(buf, "\r\n\r\n");
		length = strcasestr(buf, "content-length:");
		if (body)
			want = (size_t)(body + 4 - buf) +
			       (length && length < body ? strtoul(length + 15, NULL, 10) : 0);
	}
}

static bool is_for(const struct reply *r, const char *request, bool *given)
{
	bool once = r->request[0] == '1', was = *given;

	if (strncmp(request, r->request + once, strlen(r->request + once)) != 0)
		return false;
	*given = true;
	return !once || !was;
}

static void serve_one(int fd, const struct reply *replies, int report)
{
	static char request[1 << 16];
	static const struct reply nothing = {"", 404,
					     "{\"error\":{\"code\":\"not_found\","
					     "\"message\":\"no such path\"}}",
					     false};
	static bool given[64];
	const struct reply *r;
	char head[256];

	memset(request, 0, sizeof(request));
	read_request(fd, request, sizeof(request));
	for (r = replies; r->request; r++)
		if (is_for(r, request, &given[r - replies]))
			break;
	if (!r->request)
		r = &nothing;
	if (r->hangs)
		snprintf(head, sizeof(head), "HTTP/1.1 %d x\r\nConnection: close\r\n\r\n",
			 r->status);
	else
		snprintf(head, sizeof(head),
			 "HTTP/1.1 %d x\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
			 r->status, strlen(r->body));
	io_write_all(fd, head, strlen(head));
	io_write_all(fd, r->body, strlen(r->body));
	io_write_all(report, "r", 1);
	if (r->hangs) {
		struct pollfd gone = {.fd = fd, .events = POLLIN};

		poll(&gone, 1, 20000);
	}
}

static void start_server(const struct reply *replies)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), report[2];

	memcpy(sun.sun_path, socket_path, strlen(socket_path) + 1);
	unlink(socket_path);
	assert_ok(bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
	assert_ok(listen(fd, 16));
	assert_ok(pipe2(report, O_CLOEXEC));
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		for (;;) {
			int c = accept(fd, NULL, NULL);

			if (c < 0)
				_exit(1);
			serve_one(c, replies, report[1]);
			close(c);
		}
	}
	close(fd);
	close(report[1]);
	seen = report[0];
}

static void stop_server(void)
{
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		close(seen);
		server = 0;
	}
	unlink(socket_path);
}

static int tear_down_one(void **state)
{
	(void)state;
	stop_server();
	return 0;
}

/* --- the client ----------------------------------------------------------------------- */

static char out[1 << 16], err[1 << 16];

static pid_t start(bool json, char *const *argv, int argc)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct cli c = {.socket = socket_path, .json = json};
		struct args *a = NULL;
		struct fail f = {0};
		int r;

		signal(SIGPIPE, SIG_IGN);
		if (!freopen(unit_path("out"), "w", stdout) ||
		    !freopen(unit_path("err"), "w", stderr))
			_exit(99);
		r = args_parse(argc, argv, &a, &f);
		if (r == 0)
			r = args_command(a)->run(&c, a, &f);
		if (r < 0)
			cli_print_fail(&c, &f);
		fflush(NULL);
		_exit(r < 0 ? fail_exit(f.code) : r);
	}
	return pid;
}

static void read_back(const char *name, char *buf, size_t len)
{
	AUTO_FREE uint8_t *text = NULL;
	size_t n;

	assert_ok(io_read_file(unit_path(name), len - 1, &text, &n));
	memcpy(buf, text, n + 1);
}

static int finish(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	read_back("out", out, sizeof(out));
	read_back("err", err, sizeof(err));
	return WEXITSTATUS(status);
}

static int run_words(bool json, char *const *argv, int argc)
{
	return finish(start(json, argv, argc));
}

#define COUNT(...)    ((int)(sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *)))
#define RUN(...)      run_words(false, (char *const[]){__VA_ARGS__}, COUNT(__VA_ARGS__))
#define RUN_JSON(...) run_words(true, (char *const[]){__VA_ARGS__}, COUNT(__VA_ARGS__))
#define START(...)    start(false, (char *const[]){__VA_ARGS__}, COUNT(__VA_ARGS__))

static json_t *parse(const char *text)
{
	struct fail f = {0};
	json_t *doc = NULL;

	if (json_parse("output", text, strlen(text), &doc, &f) < 0)
		fail_msg("%s in <<%s>>", f.message, text);
	return doc;
}

static const char *error_code(void)
{
	static char code[32];
	AUTO_JSON json_t *doc = parse(err);

	snprintf(code, sizeof(code), "%s",
		 json_string_value(json_object_get(json_object_get(doc, "error"), "code")));
	return code;
}

/* --- reaching it ---------------------------------------------------------------------- */

static void a_missing_socket_exits_10_and_says_what_to_do(void **state)
{
	(void)state;
	assert_int_equal(RUN("status"), 10);
	assert_non_null(strstr(err, socket_path));
	assert_non_null(strstr(err, "hint:"));
	assert_string_equal(out, "");
	assert_int_equal(RUN_JSON("status"), 10);
	assert_string_equal(error_code(), "unreachable");
	assert_string_equal(out, "");
}

static void a_socket_without_a_listener_exits_10(void **state)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	memcpy(sun.sun_path, socket_path, strlen(socket_path) + 1);
	assert_ok(bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
	assert_int_equal(RUN("apply", "x"), 10);
	assert_non_null(strstr(err, "nobody listens"));
	close(fd);
}

static void a_socket_that_may_not_be_opened_exits_11_and_names_the_group(void **state)
{
	static const struct reply replies[] = {{"GET /v1/status", 200, "{}", false}, {0}};
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	start_server(replies);
	assert_ok(chmod(socket_path, 0600));
	assert_ok(chmod(unit_folder, 0755));
	pid = fork();
	if (pid == 0) {
		struct cli c = {.socket = socket_path};
		char *argv[] = {"status"};
		struct args *a = NULL;
		struct fail f = {0};

		if (setgid(65534) < 0 || setuid(65534) < 0 || args_parse(1, argv, &a, &f) < 0)
			_exit(99);
		if (args_command(a)->run(&c, a, &f) >= 0 || !strstr(f.hint, "hotfix"))
			_exit(98);
		_exit(fail_exit(f.code));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 11);
}

static void a_daemon_that_breaks_off_or_talks_nonsense_is_told_apart(void **state)
{
	static const struct reply replies[] = {{"GET /v1/status", 200, "<html>", false},
					       {"GET /v1/hotfixes", 500, "oops", false},
					       {0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("status"), 1);
	assert_non_null(strstr(err, "JSON"));
	assert_int_equal(RUN("list"), 1);
	assert_non_null(strstr(err, "500"));
}

static void every_code_of_the_daemon_has_the_exit_status_of_the_contract(void **state)
{
	static const struct {
		const char *code;
		int exit;
	} cases[] = {{"internal", 1},	   {"storage", 1},	{"usage", 2},
		     {"not_found", 3},	   {"bad_format", 4},	{"bad_signature", 4},
		     {"bad_digest", 4},	   {"bad_object", 4},	{"no_trust", 4},
		     {"downgrade", 4},	   {"equivocation", 4}, {"expired", 4},
		     {"policy", 4},	   {"incompatible", 5}, {"load_failed", 6},
		     {"attach_failed", 6}, {"unhealthy", 7},	{"timeout", 8},
		     {"conflict", 9},	   {"permission", 11}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char body[256];
		struct reply replies[] = {{"POST /v1/hotfixes/x/apply", 422, body, false}, {0}};

		snprintf(body, sizeof(body),
			 "{\"error\":{\"code\":\"%s\",\"message\":\"why %s\",\"hint\":\"do\"}}",
			 cases[i].code, cases[i].code);
		start_server(replies);
		assert_int_equal(RUN("apply", "x"), cases[i].exit);
		assert_non_null(strstr(err, "why "));
		assert_non_null(strstr(err, "hint: do"));
		assert_int_equal(RUN_JSON("apply", "x"), cases[i].exit);
		assert_string_equal(error_code(), cases[i].code);
		stop_server();
	}
}

/* --- looking -------------------------------------------------------------------------- */

static const char status_body[] =
	"{\"schema_version\":1,\"daemon\":{\"version\":\"0\"},"
	"\"kernel\":{\"release\":\"6.1\",\"btf\":true,\"lsm\":\"capability,bpf\"},\"hotfixes\":["
	"{\"name\":\"a-live\",\"state\":\"live\",\"committed_serial\":1,\"trial_serial\":null,"
	"\"live_serial\":1,\"newest_serial\":2,\"hooks\":[{\"type\":\"lsm\",\"target\":"
	"\"socket_bind\",\"kind\":\"dispatcher\",\"calls\":1234567}],\"reason\":null},"
	"{\"name\":\"b-trial\",\"state\":\"trial\",\"committed_serial\":null,\"trial_serial\":3,"
	"\"live_serial\":3,\"newest_serial\":3,\"hooks\":[],\"trial_ms\":60000,"
	"\"trial_left_ms\":48000,\"reason\":null},"
	"{\"name\":\"c-failed\",\"state\":\"failed\",\"committed_serial\":1,\"trial_serial\":null,"
	"\"live_serial\":null,\"newest_serial\":1,\"hooks\":[],"
	"\"reason\":\"\\u001b[2Jno \\u202efunction\"}]}";

static void status_tells_at_one_glance(void **state)
{
	static const struct reply replies[] = {{"GET /v1/status", 200, status_body, false},
					       {0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("status"), 0);
	assert_non_null(strstr(out, "1 live, 1 on trial, 1 failed"));
	assert_non_null(strstr(out, "lsm/socket_bind"));
	assert_non_null(strstr(out, "1 234 567"));
	assert_non_null(strstr(out, "48 s of 60 s left"));
	assert_non_null(strstr(out, "serial 2 is stored"));
}

static void text_of_strangers_cannot_drive_the_terminal(void **state)
{
	static const struct reply replies[] = {{"GET /v1/status", 200, status_body, false},
					       {0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("status"), 0);
	assert_non_null(strstr(out, "?[2Jno ?function"));
	assert_null(strchr(out, '\033'));
	assert_int_equal(RUN_JSON("status"), 0);
	assert_null(strchr(out, '\033'));
	assert_null(strstr(out, "\u202e"));
}

static void json_mode_prints_the_document_and_nothing_else(void **state)
{
	static const struct reply replies[] = {{"GET /v1/status", 200, status_body, false},
					       {0}};
	AUTO_JSON json_t *want = NULL, *got = NULL;

	(void)state;
	start_server(replies);
	assert_int_equal(RUN_JSON("status"), 0);
	want = parse(status_body);
	got = parse(out);
	assert_true(json_equal(want, got));
	assert_string_equal(err, "");
}

static void a_broken_audit_log_exits_4(void **state)
{
	static const struct reply good[] = {{"GET /v1/audit/verify", 200,
					     "{\"ok\":true,\"rows\":7,\"head\":\"abcd\"}",
					     false},
					    {0}};
	static const struct reply one[] = {{"GET /v1/audit/verify", 200,
					    "{\"ok\":true,\"rows\":1,\"head\":\"abcd\"}",
					    false},
					   {0}};
	static const struct reply bad[] = {
		{"GET /v1/audit/verify", 200, "{\"ok\":false,\"bad_seq\":4}", false}, {0}};

	(void)state;
	start_server(good);
	assert_int_equal(RUN("audit", "--verify"), 0);
	assert_non_null(strstr(out, "7 rows"));
	stop_server();
	start_server(one);
	assert_int_equal(RUN("audit", "--verify"), 0);
	assert_non_null(strstr(out, " 1 row, "));
	stop_server();
	start_server(bad);
	assert_int_equal(RUN("audit", "--verify"), 4);
	assert_non_null(strstr(err, "row 4"));
	assert_int_equal(RUN_JSON("audit", "--verify"), 4);
}

static void doctor_exits_5_when_the_hotfix_cannot_run_though_the_host_could(void **state)
{
#define HOST                                                                                     \
	"\"host\":{\"kernel\":{},\"checks\":[{\"name\":\"n\",\"status\":\"%s\",\"value\":\"v\"," \
	"\"how\":\"h\",\"why\":\"because\",\"hint\":\"do this\"}]}"
	static const struct {
		const char *host, *ok;
		int exit;
	} cases[] = {{"ok", "true", 0}, {"ok", "false", 5}, {"fail", "true", 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char body[1024];
		struct reply replies[] = {{"GET /v1/doctor?name=x", 200, body, false}, {0}};
		int n = snprintf(body, sizeof(body), "{" HOST ",", cases[i].host);

		snprintf(
			body + n, sizeof(body) - (size_t)n,
			"\"hooks\":[{\"type\":\"lsm\",\"target\":\"t\",\"ok\":%s,\"why\":\"no t\"}],"
			"\"bundle\":{\"name\":\"x\",\"serial\":1,\"fits\":true,\"why\":null}}",
			cases[i].ok);
		start_server(replies);
		assert_int_equal(RUN("doctor", "x"), cases[i].exit);
		if (strcmp(cases[i].host, "fail") == 0) {
			assert_non_null(strstr(out, "because"));
			assert_non_null(strstr(out, "do this"));
		}
		assert_int_equal(RUN_JSON("doctor", "x"), cases[i].exit);
		stop_server();
	}
}

static void doctor_looks_itself_when_there_is_no_daemon(void **state)
{
	AUTO_JSON json_t *doc = NULL;
	int r;

	(void)state;
	r = RUN_JSON("doctor");
	assert_true(r == 0 || r == 5);
	doc = parse(out);
	assert_string_equal(json_string_value(json_object_get(doc, "source")), "hotfixctl");
	assert_true(json_is_array(json_object_get(json_object_get(doc, "host"), "checks")));
	/* Of a stored hot-fix only the daemon knows. */
	assert_int_equal(RUN("doctor", "x"), 10);
}

/* --- changing ------------------------------------------------------------------------- */

#define TWENTY_LINES \
	"x\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\nx\\n"
#define CHANGE(outcome, code, detail)                                                  \
	"{\"id\":5,\"change\":5,\"name\":\"x\",\"verb\":\"apply\",\"serial\":2,"       \
	"\"outcome\":\"" outcome "\",\"code\":\"" code "\",\"detail\":\"" detail "\"," \
	"\"log\":\"first line\\n" TWENTY_LINES "R1 is a \\u001b bad pointer\\n\"}"
#define TRIAL "{\"name\":\"x\",\"state\":\"trial\",\"trial_ms\":60000,\"trial_left_ms\":60000}"

static void apply_ends_when_the_version_is_on_trial(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/apply", 200, CHANGE("", "", ""), false},
		{"GET /v1/hotfixes/x", 200, TRIAL, false},
		{0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("apply", "x@2"), 0);
	assert_non_null(strstr(out, "on trial for 60 s"));
	assert_non_null(strstr(out, "rollback x"));
}

static void apply_that_waits_tells_how_the_trial_ended(void **state)
{
	static const struct reply done[] = {
		{"POST /v1/hotfixes/x/apply", 200, CHANGE("", "", ""), false},
		{"GET /v1/changes/5?wait=", 200, CHANGE("done", "", ""), false},
		{0}};
	static const struct reply back[] = {
		{"POST /v1/hotfixes/x/apply", 200, CHANGE("", "", ""), false},
		{"GET /v1/changes/5?wait=", 200,
		 CHANGE("rolled_back", "oops", "the kernel warned"), false},
		{0}};

	(void)state;
	start_server(done);
	assert_int_equal(RUN("apply", "x", "--wait"), 0);
	assert_non_null(strstr(out, ": committed"));
	stop_server();
	start_server(back);
	assert_int_equal(RUN("apply", "x", "--wait"), 7);
	assert_non_null(strstr(err, "rolled back: the kernel warned"));
	assert_int_equal(RUN_JSON("apply", "x", "--wait"), 7);
	assert_string_equal(error_code(), "unhealthy");
	assert_non_null(strstr(out, "rolled_back")); /* the change itself is the document */
}

static void a_failed_load_shows_the_end_of_the_verifier_log(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/apply", 422,
		 "{\"error\":{\"code\":\"load_failed\",\"message\":\"the verifier refused\"},"
		 "\"change\":5}",
		 false},
		{"GET /v1/changes/5", 200, CHANGE("failed", "load_failed", "refused"), false},
		{0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("apply", "x"), 6);
	assert_non_null(strstr(err, "the verifier refused"));
	assert_non_null(strstr(err, "R1 is a ? bad pointer"));
	assert_null(strstr(err, "first line"));
	assert_non_null(strstr(err, "history --change 5"));
	assert_int_equal(RUN_JSON("apply", "x"), 6);
	assert_string_equal(error_code(), "load_failed");
	assert_non_null(strstr(out, "bad pointer"));
}

static void waiting_ends_when_its_time_is_over_and_the_change_goes_on(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/apply", 200, CHANGE("", "", ""), false},
		{"GET /v1/changes/5?wait=", 200, CHANGE("", "", ""), false},
		{"GET /v1/hotfixes/x", 200, TRIAL, false},
		{0}};
	uint64_t start_ms = clock_mono_ns() / 1000000, took_ms;

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("apply", "x", "--wait=300ms"), 8);
	took_ms = clock_mono_ns() / 1000000 - start_ms;
	assert_true(took_ms >= 300 && took_ms < 10000);
	assert_non_null(strstr(err, "goes on"));
}

static void ctrl_c_ends_the_waiting_and_says_that_the_change_goes_on(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/apply", 200, CHANGE("", "", ""), false},
		{"GET /v1/changes/5?wait=", 200, "", true},
		{0}};
	char two[2];
	pid_t pid;

	(void)state;
	start_server(replies);
	pid = START("apply", "x", "--wait");
	for (int i = 0; i < 2; i++) /* it waits now */
		assert_int_equal(read(seen, two, 1), 1);
	assert_ok(kill(pid, SIGINT));
	assert_int_equal(finish(pid), 130);
	assert_non_null(strstr(err, "goes on"));
	assert_non_null(strstr(err, "history --change 5"));
}

static void what_was_asked_for_is_sent(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/rollback", 200,
		 "{\"change\":6,\"outcome\":\"done\",\"detail\":\"serial 1 is live\"}", false},
		{"DELETE /v1/hotfixes/x/3 ", 200, "{\"change\":0}", false},
		{"DELETE /v1/hotfixes/x ", 200, "{\"change\":7,\"outcome\":\"done\"}", false},
		{0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("rollback", "x", "--to", "1", "--reason", "slow"), 0);
	assert_non_null(strstr(out, "serial 1 is live"));
	assert_int_equal(RUN("remove", "x@3"), 0);
	assert_int_equal(RUN("remove", "x"), 0);
	assert_int_equal(RUN("rollback", "x@2"), 2);
	assert_int_equal(RUN("apply", "x", "--trial", "soon"), 2);
	assert_int_equal(RUN("apply", "x", "--trial", "5m", "--commit"), 2);
}

static void a_rollback_that_ends_a_trial_is_what_was_asked_for(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/hotfixes/x/rollback", 200,
		 CHANGE("rolled_back", "MANUAL", "by hand"), false},
		{"POST /v1/hotfixes/x/disable", 200, CHANGE("rolled_back", "MANUAL", "by hand"),
		 false},
		{"POST /v1/hotfixes/x/commit", 200, CHANGE("rolled_back", "oops", "too late"),
		 false},
		{0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("rollback", "x"), 0);
	assert_int_equal(RUN("disable", "x"), 0);
	assert_int_equal(RUN("commit", "x"), 7);
}

static void disabling_all_goes_on_behind_one_that_fails_and_leaves_nobody_behind(void **state)
{
	static const struct reply replies[] = {
		{"GET /v1/status", 200,
		 "{\"hotfixes\":["
		 "{\"name\":\"base\",\"state\":\"live\",\"live_serial\":1,"
		 "\"required_by\":[\"needs\",\"off\"]},"
		 "{\"name\":\"busy\",\"state\":\"stored\",\"change\":3},"
		 "{\"name\":\"needs\",\"state\":\"trial\",\"live_serial\":2,\"required_by\":[]},"
		 "{\"name\":\"off\",\"state\":\"disabled\",\"committed_serial\":2},"
		 "{\"name\":\"only-stored\",\"state\":\"stored\",\"committed_serial\":null},"
		 "{\"name\":\"later\",\"state\":\"stored\",\"committed_serial\":2}]}",
		 false},
		{"POST /v1/hotfixes/busy/disable", 409,
		 "{\"error\":{\"code\":\"conflict\",\"message\":\"busy is being changed\"}}",
		 false},
		{"POST /v1/hotfixes/off", 500, "{}", false},
		{"POST /v1/hotfixes/only", 500, "{}", false},
		{"POST /v1/hotfixes/", 200, CHANGE("done", "", ""), false},
		{0}};
	static const struct reply none[] = {{"GET /v1/status", 200, "{\"hotfixes\":[]}", false},
					    {0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("disable", "--all", "--reason", "is it one of ours?"), 9);
	assert_string_equal(out,
			    "disable needs: done\ndisable base: done\ndisable later: done\n");
	assert_non_null(strstr(err, "disable busy: busy is being changed"));
	assert_int_equal(RUN_JSON("disable", "--all"), 9);
	assert_non_null(strstr(out, "\"conflict\""));
	assert_int_equal(RUN("disable", "--all", "base"), 2);
	assert_int_equal(RUN("disable"), 2);
	stop_server();
	start_server(none);
	assert_int_equal(RUN("disable", "--all"), 0);
	assert_non_null(strstr(out, "nothing runs"));
}

static void disabling_all_waits_for_what_is_being_loaded(void **state)
{
	static const struct reply replies[] = {
		{"GET /v1/status", 200,
		 "{\"hotfixes\":["
		 "{\"name\":\"loads\",\"state\":\"stored\",\"change\":3},"
		 "{\"name\":\"runs\",\"state\":\"live\",\"live_serial\":1}]}",
		 false},
		{"1POST /v1/hotfixes/loads/disable", 409,
		 "{\"error\":{\"code\":\"conflict\",\"message\":\"loads is being changed\"}}",
		 false},
		{"1GET /v1/hotfixes/loads", 200,
		 "{\"name\":\"loads\",\"state\":\"stored\",\"change\":3}", false},
		{"GET /v1/hotfixes/loads", 200,
		 "{\"name\":\"loads\",\"state\":\"trial\",\"change\":3}", false},
		{"POST /v1/hotfixes/", 200, CHANGE("done", "", ""), false},
		{0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("disable", "--all"), 0);
	assert_string_equal(out, "disable runs: done\ndisable loads: done\n");
}

static char *path_of(const char *name)
{
	return (char *)(uintptr_t)unit_path(name);
}

/* The base64 behind "secret", which nothing may show. */
static void read_secret(const char *name, char *ret_secret, size_t len)
{
	AUTO_FREE uint8_t *text = NULL;
	const char *at;
	size_t n;

	assert_ok(io_read_file(unit_path(name), 4096, &text, &n));
	at = strstr((char *)text, "\"secret\":\"");
	assert_non_null(at);
	snprintf(ret_secret, len, "%.20s", at + 10);
}

static void of_a_secret_key_is_told_which_one_it_is_and_nothing_secret(void **state)
{
	char id[KEY_ID_BYTES], public[64], secret[32];
	struct key_public p;

	(void)state;
	assert_ok(key_new(unit_path("open"), NULL, &p, NULL));
	assert_int_equal(RUN("inspect", path_of("open.sec")), 0);
	assert_non_null(strstr(out, "not encrypted"));
	assert_non_null(strstr(out, key_id(&p, id)));
	assert_non_null(strstr(out, key_public_format(&p, public)));
	read_secret("open.sec", secret, sizeof(secret));
	assert_null(strstr(out, secret));
	assert_int_equal(RUN_JSON("inspect", path_of("open.sec")), 0);
	assert_non_null(strstr(out, "\"encrypted\": false"));
	assert_null(strstr(out, secret));
	assert_int_equal(RUN("inspect", path_of("open.pub")), 0);
	assert_non_null(strstr(out, "public key"));
	assert_non_null(strstr(out, id));

	assert_ok(key_new(unit_path("sealed"), "open sesame", &p, NULL));
	assert_ok(chmod(unit_path("sealed.sec"), 0644));
	assert_int_equal(RUN("inspect", path_of("sealed.sec")), 0);
	assert_non_null(strstr(out, " encrypted"));
	assert_null(strstr(out, "not encrypted"));
	assert_non_null(strstr(out, key_id(&p, id)));
	assert_non_null(strstr(err, "chmod 600"));
}

static void contexts_that_somebody_else_may_have_written_are_refused(void **state)
{
	static const char text[] = "{\"contexts\":{\"mine\":{\"url\":\"https://ctl:7445\","
				   "\"ca\":\"/ca\",\"token_file\":\"/token\"}}}";
	static const mode_t wide[] = {0620, 0602, 0666};
	struct context *context;
	struct fail f;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s", unit_path("contexts.json"));
	assert_ok(io_write_file(path, text, strlen(text), 0600));
	assert_ok(setenv("HOTFIXCTL_CONTEXTS", path, 1));
	assert_ok(chmod(path, 0644)); /* others may read it */
	assert_int_equal(RUN("context", "list"), 0);
	assert_non_null(strstr(out, "mine"));
	for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
		assert_ok(chmod(path, wide[i]));
		assert_int_equal(RUN("context", "list"), 11);
		assert_non_null(strstr(err, "can be written by others"));
		assert_non_null(strstr(err, "chmod 600"));
		assert_int_equal(RUN("context", "use", "mine"), 11);
		assert_int_equal(context_load("mine", &context, &f),
				 -fail_errno(FAIL_PERMISSION));
	}
	assert_ok(chmod(path, 0600));
	if (geteuid() == 0) {
		assert_ok(chown(path, 65534, (gid_t)-1));
		assert_int_equal(RUN("context", "list"), 11);
		assert_non_null(strstr(err, "belongs to uid 65534"));
		assert_ok(chown(path, 0, (gid_t)-1));
	}
	assert_int_equal(RUN("context", "list"), 0);
	unsetenv("HOTFIXCTL_CONTEXTS");
}

static void a_secret_key_is_sent_nowhere(void **state)
{
	static const struct reply replies[] = {{"", 200, "{}", false}, {0}};
	static const char pem[] = "-----BEGIN PRIVATE KEY-----\nMC4CAQ==\n";
	struct pollfd asked = {.events = POLLIN};
	AUTO_FREE uint8_t *text = NULL;
	struct key_public p;
	char blank[4096] = " ";
	size_t len;

	(void)state;
	assert_ok(key_new(unit_path("mine"), NULL, &p, NULL));
	start_server(replies);
	assert_int_equal(RUN("import", path_of("mine.sec")), 4);
	assert_non_null(strstr(err, "secret key"));
	assert_int_equal(RUN("trust", "import", path_of("mine.sec")), 4);
	assert_int_equal(RUN("doctor", path_of("mine.sec")), 4);
	assert_int_equal(RUN("operator", "add", "ann", "--role", "viewer", "--certificate",
			     path_of("mine.sec")),
			 4);
	assert_int_equal(RUN("rollout", "plan", "x@1", "--spec", path_of("mine.sec")), 4);
	assert_ok(io_read_file(unit_path("mine.sec"), sizeof(blank) - 1, &text, &len));
	memcpy(blank + 1, text, len);
	assert_ok(io_write_file(unit_path("blank.sec"), blank, len + 1, 0600));
	assert_int_equal(RUN("import", path_of("blank.sec")), 4);
	assert_ok(io_write_file(unit_path("ann.key"), pem, strlen(pem), 0600));
	assert_int_equal(RUN("operator", "add", "ann", "--role", "viewer", "--certificate",
			     path_of("ann.key")),
			 4);
	assert_non_null(strstr(err, "private key"));
	asked.fd = seen;
	assert_int_equal(poll(&asked, 1, 0), 0);
}

static void a_dry_run_shows_hooks_and_exits_5_when_one_cannot_attach(void **state)
{
	static const struct reply good[] = {
		{"POST /v1/hotfixes/x/apply", 200,
		 "{\"hooks\":[{\"type\":\"lsm\",\"target\":\"socket_bind\",\"program\":\"p\","
		 "\"attach_as\":\"lsm\",\"attach_target\":\"bpf_lsm_socket_bind\",\"kind\":"
		 "\"dispatcher\",\"insns\":412,\"jited_bytes\":900,\"ok\":true,\"why\":null}],"
		 "\"load_ms\":12,\"needs_settle\":false}",
		 false},
		{0}};
	static const struct reply bad[] = {
		{"POST /v1/hotfixes/x/apply", 200,
		 "{\"hooks\":[{\"type\":\"fentry\",\"target\":\"f\",\"program\":\"p\",\"ok\":false,"
		 "\"why\":\"notrace\"}],\"load_ms\":12}",
		 false},
		{0}};

	(void)state;
	start_server(good);
	assert_int_equal(RUN("apply", "x", "--dry-run"), 0);
	assert_non_null(strstr(out, "412"));
	assert_non_null(strstr(out, "lsm/bpf_lsm_socket_bind"));
	stop_server();
	start_server(bad);
	assert_int_equal(RUN("apply", "x", "--dry-run"), 5);
	assert_non_null(strstr(out, "notrace"));
}

static void importing_goes_on_behind_a_bad_file_and_exits_with_its_code(void **state)
{
	static const struct reply replies[] = {
		{"POST /v1/bundles", 422,
		 "{\"error\":{\"code\":\"bad_signature\",\"message\":\"nobody signed it\"}}",
		 false},
		{0}};

	(void)state;
	assert_ok(io_write_file(unit_path("a.hotfix"), "a", 1, 0644));
	assert_ok(io_write_file(unit_path("b.hotfix"), "b", 1, 0644));
	start_server(replies);
	assert_int_equal(RUN("import", (char *)(uintptr_t)unit_path("a.hotfix"),
			     (char *)(uintptr_t)unit_path("b.hotfix")),
			 4);
	assert_non_null(strstr(err, "a.hotfix: nobody signed it"));
	assert_non_null(strstr(err, "b.hotfix: nobody signed it"));
	assert_int_equal(RUN("import", (char *)(uintptr_t)unit_path("absent")), 3);
}

/* --- events --------------------------------------------------------------------------- */

static const char two_events[] =
	"{\"time\":\"2026-05-04T10:11:12.345Z\",\"hotfix\":\"x\",\"serial\":2,\"kind\":\"event\","
	"\"pid\":7,\"uid\":1000,\"comm\":\"e\\u001bvil one\",\"text\":\"\"}\n"
	"not json\n"
	"{\"time\":\"2026-05-04T10:11:13.345Z\",\"hotfix\":\"x\",\"kind\":\"change\"}\n";

static void events_are_lines(void **state)
{
	static const struct reply replies[] = {
		{"GET /v1/events?follow=0", 200, two_events, false}, {0}};

	(void)state;
	start_server(replies);
	assert_int_equal(RUN("events"), 0);
	assert_string_equal(out,
			    "2026-05-04T10:11:12Z x@2 event pid=7 uid=1000 comm=\"e?vil one\"\n"
			    "2026-05-04T10:11:13Z x change\n");
	assert_int_equal(RUN_JSON("events"), 0);
	assert_non_null(strstr(out, "\"pid\":7"));
}

static void following_events_ends_cleanly_on_ctrl_c(void **state)
{
	static const struct reply replies[] = {
		{"GET /v1/events?follow=1", 200, two_events, true}, {0}};
	char one;
	pid_t pid;

	(void)state;
	start_server(replies);
	pid = START("events", "--follow");
	assert_int_equal(read(seen, &one, 1), 1);
	assert_ok(kill(pid, SIGINT));
	assert_int_equal(finish(pid), 0);
	assert_string_equal(err, "");
}

static void following_events_ends_when_nobody_reads_them(void **state)
{
	static const struct reply replies[] = {{"GET /v1/events?follow=1", 200, "", true}, {0}};
	uint64_t start_ms = clock_mono_ns() / 1000000;
	int fd[2], status;
	pid_t pid;

	(void)state;
	start_server(replies);
	assert_ok(pipe(fd));
	pid = fork();
	if (pid == 0) {
		struct cli c = {.socket = socket_path};
		char *argv[] = {"events", "-f"};
		struct args *a = NULL;
		struct fail f = {0};

		close(fd[0]);
		dup2(fd[1], STDOUT_FILENO);
		close(fd[1]);
		if (args_parse(2, argv, &a, &f) < 0)
			_exit(99);
		_exit(args_command(a)->run(&c, a, &f) == 0 ? 0 : 98);
	}
	close(fd[1]);
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* The daemon would go on for 20 s. */
	assert_true(clock_mono_ns() / 1000000 - start_ms < 10000);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int set_up(void **state)
{
	if (unit_setup(state) < 0)
		return -1;
	snprintf(socket_path, sizeof(socket_path), "%s/sock", unit_folder);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, tear_down_one)
	const struct CMUnitTest tests[] = {
		T(a_missing_socket_exits_10_and_says_what_to_do),
		T(a_socket_without_a_listener_exits_10),
		T(a_socket_that_may_not_be_opened_exits_11_and_names_the_group),
		T(a_daemon_that_breaks_off_or_talks_nonsense_is_told_apart),
		T(every_code_of_the_daemon_has_the_exit_status_of_the_contract),
		T(status_tells_at_one_glance),
		T(text_of_strangers_cannot_drive_the_terminal),
		T(json_mode_prints_the_document_and_nothing_else),
		T(a_broken_audit_log_exits_4),
		T(doctor_exits_5_when_the_hotfix_cannot_run_though_the_host_could),
		T(doctor_looks_itself_when_there_is_no_daemon),
		T(apply_ends_when_the_version_is_on_trial),
		T(apply_that_waits_tells_how_the_trial_ended),
		T(a_failed_load_shows_the_end_of_the_verifier_log),
		T(waiting_ends_when_its_time_is_over_and_the_change_goes_on),
		T(ctrl_c_ends_the_waiting_and_says_that_the_change_goes_on),
		T(what_was_asked_for_is_sent),
		T(a_rollback_that_ends_a_trial_is_what_was_asked_for),
		T(disabling_all_goes_on_behind_one_that_fails_and_leaves_nobody_behind),
		T(disabling_all_waits_for_what_is_being_loaded),
		T(of_a_secret_key_is_told_which_one_it_is_and_nothing_secret),
		T(contexts_that_somebody_else_may_have_written_are_refused),
		T(a_secret_key_is_sent_nowhere),
		T(a_dry_run_shows_hooks_and_exits_5_when_one_cannot_attach),
		T(importing_goes_on_behind_a_bad_file_and_exits_with_its_code),
		T(events_are_lines),
		T(following_events_ends_cleanly_on_ctrl_c),
		T(following_events_ends_when_nobody_reads_them),
	};

	return cmocka_run_group_tests(tests, set_up, unit_teardown);
}
