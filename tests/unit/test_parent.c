// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/test_parent.c -- a loop that somebody has taken over speaks to the parent: what it
 * may ask for, and that nothing it says has anything run or loaded that the root does not sign.
 * This program is the loop, and real workers (server/work.c) are started from it.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "lib/io.h"
#include "lib/json.h"
#include "server/work.h"
#include "tests/unit/parent.h"
#include "tests/unit/signed.h"

#define USER "64242"

static int channel;
static uint32_t last_id;
static char *root_text;

static int begin(void **state)
{
	struct trust_role role = signed_role(1, 1);
	int r;

	(void)state;
	root_text = signed_root(&role, 1, 0);
	r = io_mkdir_p(unit_path("state-trust"), 0755);
	if (r == 0)
		r = io_write_file(unit_path("state-trust/" WORK_ROOT_FILE), root_text,
				  strlen(root_text), 0644);
	channel = parent_fork(USER, "/nowhere/hotfix");
	parent_hello(channel);
	return r;
}

static int end(void **state)
{
	(void)state;
	close(channel);
	parent_wait();
	free(root_text);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------ */

static struct wire_request request(const char *op, const char *name)
{
	struct wire_request q = {.ask = WIRE_START, .id = ++last_id};

	snprintf(q.op, sizeof(q.op), "%s", op);
	snprintf(q.name, sizeof(q.name), "%s", name);
	return q;
}

/* The parent's word on it; the answer's descriptor when it was started, else -1. */
static int ask(const struct wire_request *q, const int *fds, size_t n, struct fail *ret_fail)
{
	int got[WIRE_FDS_MAX];
	struct wire_event e;
	size_t n_got;

	assert_ok(wire_send(channel, q, sizeof(*q), fds, n));
	do
		assert_ok(wire_recv(channel, &e, sizeof(e), got, &n_got));
	while (e.tell != WIRE_STARTED);
	assert_int_equal(e.id, q->id);
	*ret_fail = e.fail;
	assert_int_equal(n_got, e.fail.code == FAIL_NONE);
	return n_got ? got[0] : -1;
}

static int sealed(const void *bytes, size_t len)
{
	int fd;

	assert_ok(io_memfd("bundle", bytes, len, &fd));
	return fd;
}

/* What the worker says of these bytes: the code of its error, or FAIL_NONE. */
static enum fail_code judged(const char *op, const char *name, const void *bytes, size_t len,
			     int peer)
{
	struct wire_request q = request(op, name);
	int fds[2] = {sealed(bytes, len), peer}, answer;
	AUTO_JSON json_t *doc = NULL;
	char text[65536];
	size_t got = 0;
	struct fail f;
	ssize_t n;

	q.index = 1;
	q.has = WIRE_HAS_BUNDLE | (peer >= 0 ? WIRE_HAS_PEER : 0);
	answer = ask(&q, fds, peer >= 0 ? 2 : 1, &f);
	close(fds[0]);
	if (answer < 0)
		return f.code;
	while (got < sizeof(text)) {
		struct pollfd p = {.fd = answer, .events = POLLIN};

		assert_true(poll(&p, 1, 60000) == 1);
		n = read(answer, text + got, sizeof(text) - got);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	close(answer);
	doc = json_loadb(text, got, 0, NULL);
	assert_non_null(doc);
	if (!json_object_get(doc, "error"))
		return FAIL_NONE;
	fail_from_json(doc, &f);
	return f.code;
}

static enum fail_code refused(const struct wire_request *q, const int *fds, size_t n)
{
	struct fail f;
	int answer = ask(q, fds, n, &f);

	if (answer >= 0)
		close(answer);
	return f.code;
}

/* It still does what it is for. */
static void serves(void)
{
	size_t len;
	uint8_t *good = signed_bundle("tried", 1, 1, &len);

	/* Past the signature; the object in these bundles is no ELF. */
	assert_int_equal(judged("stage", "tried", good, len, -1), FAIL_BAD_OBJECT);
	free(good);
}

/* ---- what is loaded -------------------------------------------------------------------------- */

static void a_bundle_that_the_root_signs_gets_past_the_signature(void **state)
{
	(void)state;
	serves();
}

static void an_unsigned_or_changed_bundle_is_refused_by_the_worker(void **state)
{
	struct key *first = signed_keys[0];
	uint8_t *bytes;
	size_t len;

	(void)state;
	signed_keys[0] = signed_keys[2]; /* a key of the attacker's own */
	bytes = signed_bundle("tried", 1, 1, &len);
	signed_keys[0] = first;
	for (int i = 0; i < 2; i++)
		assert_int_equal(judged(i ? "check" : "stage", "tried", bytes, len, -1),
				 FAIL_BAD_SIGNATURE);
	free(bytes);
	bytes = signed_bundle("tried", 1, 1, &len);
	bytes[len - 1] ^= 1; /* of the object */
	assert_int_equal(judged("stage", "tried", bytes, len, -1), FAIL_BAD_DIGEST);
	free(bytes);
	assert_int_equal(judged("stage", "tried", "garbage", 7, -1), FAIL_BAD_FORMAT);
	assert_int_equal(judged("stage", "tried", "", 0, -1), FAIL_BAD_FORMAT);
	serves();
}

static void the_command_of_a_probe_is_one_that_was_signed(void **state)
{
	static const char manifest[] =
		"{\"health\":{\"probes\":[{\"type\":\"exec\",\"command\":[\"/bin/true\"]}]}}";

	(void)state;
	assert_int_equal(judged("probe", "tried", manifest, strlen(manifest), -1),
			 FAIL_BAD_FORMAT);
	serves();
}

static void a_root_of_its_own_is_not_taken_and_the_file_stays(void **state)
{
	struct trust_role role = signed_role(4, 1);
	AUTO_FREE uint8_t *kept = NULL;
	char *own;
	size_t len;

	(void)state;
	role.keys[0] = role.keys[3];
	role.n_keys = 1;
	for (uint64_t version = 1; version <= 3; version++) {
		own = signed_root(&role, version, 0);
		assert_int_not_equal(judged("trust", "", own, strlen(own), -1), FAIL_NONE);
		free(own);
	}
	assert_ok(io_read_file(unit_path("state-trust/" WORK_ROOT_FILE), 1 << 20, &kept, &len));
	assert_int_equal(len, strlen(root_text));
	assert_memory_equal(kept, root_text, len);
	serves();
}

/* A connection to somebody who is root, or from ourselves, is not one from root to hotfixd. */
static void the_first_root_needs_a_connection_of_root_to_our_socket(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	unlink(unit_path("state-trust/" WORK_ROOT_FILE));
	assert_int_equal(judged("trust", "", root_text, strlen(root_text), -1),
			 FAIL_PERMISSION);
	assert_ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	assert_int_equal(judged("trust", "", root_text, strlen(root_text), pair[0]),
			 FAIL_PERMISSION);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", unit_path("other"));
	unlink(addr.sun_path);
	assert_ok(bind(listener, (struct sockaddr *)&addr, sizeof(addr)));
	assert_ok(listen(listener, 1));
	assert_ok(connect(client, (struct sockaddr *)&addr, sizeof(addr)));
	assert_int_equal(judged("trust", "", root_text, strlen(root_text), client),
			 FAIL_PERMISSION);
	assert_true(access(unit_path("state-trust/" WORK_ROOT_FILE), F_OK) < 0);
	close(pair[0]);
	close(pair[1]);
	close(listener);
	close(client);
}

static void the_root_is_where_its_user_cannot_write(void **state)
{
	struct stat st;

	(void)state;
	assert_ok(stat(unit_path("state-trust"), &st));
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 022, 0);
	assert_ok(stat(unit_path("state-trust/" WORK_ROOT_FILE), &st));
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 022, 0);
}

static void what_the_kernel_said_is_told(void **state)
{
	(void)state;
	assert_int_equal(judged("records", "", "", 0, -1), FAIL_NONE);
}

/* ---- what is started ------------------------------------------------------------------------- */

static void no_other_program_can_be_named(void **state)
{
	static const char *const ops[] = {"",		"sh",	 "/bin/sh", "../../bin/sh",
					  "loop",	"guard", "worker",  "stage;sh",
					  "probe exec", "STAGE"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct wire_request q = request(ops[i], "tried");

		assert_int_equal(refused(&q, NULL, 0), FAIL_USAGE);
	}
	serves();
}

static void names_that_are_none_are_refused(void **state)
{
	static const char *const names[] = {"", "..", "../x", "a/b", "UPPER", "a b", "-x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct wire_request q = request("remove", names[i]);

		assert_int_equal(refused(&q, NULL, 0), FAIL_USAGE);
	}
	serves();
}

static void records_that_are_none_are_survived(void **state)
{
	struct wire_request q = request("doctor", ""), endless = q;
	char noise[8192];

	(void)state;
	memset(noise, 'x', sizeof(noise));
	for (size_t len = 1; len < sizeof(noise); len = len * 3 + 1)
		assert_ok(wire_send(channel, noise, len, NULL, 0));
	assert_ok(wire_send(channel, &q, sizeof(q) - 1, NULL, 0));
	memset(endless.op, 'a', sizeof(endless.op));
	assert_int_equal(refused(&endless, NULL, 0), FAIL_USAGE);
	endless = q;
	memset(endless.name, 'a', sizeof(endless.name));
	assert_int_equal(refused(&endless, NULL, 0), FAIL_USAGE);
	q.ask = 77;
	assert_ok(wire_send(channel, &q, sizeof(q), NULL, 0));
	q = request("doctor", "");
	q.id = 0;
	assert_int_equal(refused(&q, NULL, 0), FAIL_USAGE);
	serves();
}

static void only_sealed_memory_is_handed_on(void **state)
{
	const char *const paths[] = {"/proc/self/mem", "/dev/zero", "/etc/passwd", "/"};
	struct wire_request q;
	int ends[2], fd;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		fd = open(paths[i], O_RDONLY);
		assert_true(fd >= 0);
		q = request("stage", "tried");
		q.has = WIRE_HAS_BUNDLE;
		assert_int_equal(refused(&q, &fd, 1), FAIL_USAGE);
		close(fd);
	}
	assert_ok(pipe(ends));
	q = request("stage", "tried");
	q.has = WIRE_HAS_BUNDLE;
	assert_int_equal(refused(&q, &ends[0], 1), FAIL_USAGE);
	close(ends[0]);
	close(ends[1]);
	fd = memfd_create("open", MFD_ALLOW_SEALING); /* it could still change */
	q = request("stage", "tried");
	q.has = WIRE_HAS_BUNDLE;
	assert_int_equal(refused(&q, &fd, 1), FAIL_USAGE);
	assert_ok(ftruncate(fd, BUNDLE_BYTES_MAX + 1));
	assert_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
	q = request("stage", "tried");
	q.has = WIRE_HAS_BUNDLE;
	assert_int_equal(refused(&q, &fd, 1), FAIL_USAGE);
	close(fd);
	serves();
}

static void as_many_descriptors_come_as_were_announced(void **state)
{
	int fds[WIRE_FDS_MAX];
	struct wire_request q;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = sealed("x", 1);
	q = request("doctor", "");
	assert_int_equal(refused(&q, fds, 1), FAIL_USAGE);
	q = request("stage", "tried");
	q.has = WIRE_HAS_BUNDLE;
	assert_int_equal(refused(&q, NULL, 0), FAIL_USAGE);
	q = request("stage", "tried");
	q.has = WIRE_HAS_BUNDLE;
	assert_int_equal(refused(&q, fds, WIRE_FDS_MAX), FAIL_USAGE);
	q = request("trust", "");
	q.has = WIRE_HAS_BUNDLE | WIRE_HAS_PEER; /* no socket */
	assert_int_equal(refused(&q, fds, 2), FAIL_USAGE);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	serves();
}

static void it_kills_only_what_it_had_started(void **state)
{
	struct wire_request q = {.ask = WIRE_KILL};
	const uint32_t ids[] = {0, 1, (uint32_t)getpid(), (uint32_t)parent_pid, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		q.id = ids[i];
		assert_ok(wire_send(channel, &q, sizeof(q), NULL, 0));
	}
	serves();
	assert_ok(kill(parent_pid, 0));
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(a_bundle_that_the_root_signs_gets_past_the_signature),
		TEST(an_unsigned_or_changed_bundle_is_refused_by_the_worker),
		TEST(the_command_of_a_probe_is_one_that_was_signed),
		TEST(a_root_of_its_own_is_not_taken_and_the_file_stays),
		TEST(the_first_root_needs_a_connection_of_root_to_our_socket),
		TEST(the_root_is_where_its_user_cannot_write),
		TEST(what_the_kernel_said_is_told),
		TEST(no_other_program_can_be_named),
		TEST(names_that_are_none_are_refused),
		TEST(records_that_are_none_are_survived),
		TEST(only_sealed_memory_is_handed_on),
		TEST(as_many_descriptors_come_as_were_announced),
		TEST(it_kills_only_what_it_had_started),
	};

	if (argc == 2 && strcmp(argv[1], "worker") == 0)
		return work_main();
	if (geteuid() != 0) {
		puts("the parent is root: run as root");
		return 77;
	}
	return cmocka_run_group_tests(tests, signed_setup, signed_teardown);
}
