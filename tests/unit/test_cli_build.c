// SPDX-License-Identifier: BSD-2-Clause
/*
 * Builds real bundles with the installed clang,.
 */
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>

#include "cli/build.h"
#include "cli/command.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bundle.h"
#include "tests/unit/unit.h"

static char include[PATH_MAX];
static struct fail fail;

static const char source[] = "#include <linux/bpf.h>\n"
			     "#include <bpf/bpf_helpers.h>\n"
			     "#include <bpf/bpf_tracing.h>\n"
			     "char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n"
			     "unsigned long long serial = HOTFIX_SERIAL;\n"
			     "SEC(\"fentry/tcp_v4_connect\")\n"
			     "int BPF_PROG(watch) { return serial == 99; }\n";

static const char manifest[] =
	"{\"title\":\"base\",\"severity\":\"low\",\"trial\":{\"default_s\":30},"
	"\"versions\":[{\"serial\":2,\"label\":\"two\",\"title\":\"second\"},"
	"{\"serial\":1,\"label\":\"one\"}]}";

static const char *at(const char *name)
{
	static char paths[8][PATH_MAX];
	static unsigned int next;
	char *p = paths[next++ % 8];

	snprintf(p, PATH_MAX, "%s/%s", unit_folder, name);
	return p;
}

static void put(const char *name, const char *text)
{
	assert_int_equal(io_write_file(at(name), text, strlen(text), 0644), 0);
}

/* Runs a command line as main() does; its exit status. */
static int run(const char *first, ...)
{
	struct cli c = {.socket = "/nonexistent/hotfixd.sock", .json = true};
	AUTO(args_freep) struct args *a = NULL;
	char *argv[32];
	int argc = 0, r;
	va_list ap;

	memset(&fail, 0, sizeof(fail));
	va_start(ap, first);
	for (const char *s = first; s; s = va_arg(ap, const char *))
		argv[argc++] = (char *)(uintptr_t)s;
	va_end(ap);
	r = args_parse(argc, argv, &a, &fail);
	if (r == 0)
		r = args_command(a)->run(&c, a, &fail);
	return r < 0 ? fail_exit(fail.code) : r;
}

static int build(const char *out, const char *serial)
{
	if (serial)
		return run("build", at("fix-a"), "--include", include, "--key", at("k.sec"),
			   "--out", at(out), "--serial", serial, NULL);
	return run("build", at("fix-a"), "--include", include, "--key", at("k.sec"), "--out",
		   at(out), NULL);
}

static struct bundle *open_bundle(const char *name, uint8_t **ret_buf, size_t *ret_len)
{
	struct bundle *b = NULL;

	assert_int_equal(io_read_file(at(name), BUNDLE_BYTES_MAX, ret_buf, ret_len), 0);
	assert_int_equal(bundle_open_unverified(*ret_buf, *ret_len, &b, &fail), 0);
	return b;
}

static int set_up(void **state)
{
	char exe[PATH_MAX] = "";

	if (unit_setup(state) < 0 || readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		return -1;
	snprintf(include, sizeof(include), "%.4000s/../../include/hotfixd", dirname(exe));
	setenv("SOURCE_DATE_EPOCH", "1770000000", 1);
	mkdir(at("fix-a"), 0755);
	put("fix-a/hotfix.bpf.c", source);
	put("fix-a/manifest.json", manifest);
	return run("key", "new", "--out", at("k"), "--no-passphrase", NULL);
}

static void the_highest_serial_is_built_with_its_own_fields(void **state)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_int_equal(build("two.hotfix", NULL), 0);
	b = open_bundle("two.hotfix", &buf, &len);
	assert_string_equal(b->manifest->name, "fix-a"); /* the folder's */
	assert_int_equal(b->manifest->serial, 2);
	assert_string_equal(b->manifest->label, "two");
	assert_string_equal(b->manifest->title, "second"); /* over the base's */
	assert_string_equal(b->manifest->severity, "low"); /* from the base */
	assert_int_equal(b->manifest->trial_default_ms, 30000);
	assert_int_equal(b->manifest->created_ms, 1770000000000);
	assert_int_equal(b->manifest->n_hooks, 1);
	assert_int_equal(b->manifest->hooks[0].type, HOOK_FENTRY);
	assert_string_equal(b->manifest->hooks[0].target, "tcp_v4_connect");
	assert_string_equal(b->manifest->hooks[0].program, "watch");
}

static void another_serial_is_built_when_asked_for(void **state)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	assert_int_equal(build("one.hotfix", "1"), 0);
	b = open_bundle("one.hotfix", &buf, &len);
	assert_int_equal(b->manifest->serial, 1);
	assert_string_equal(b->manifest->title, "base");
	assert_int_equal(build("none.hotfix", "7"), 3);
	assert_int_equal(access(at("none.hotfix"), F_OK), -1);
}

static void equal_input_gives_equal_bytes_wherever_it_lies(void **state)
{
	AUTO_FREE uint8_t *here = NULL, *there = NULL;
	char moved[PATH_MAX];
	size_t len, len2;
	int r;

	(void)state;
	assert_int_equal(build("here.hotfix", NULL), 0);
	mkdir(at("elsewhere"), 0755);
	snprintf(moved, sizeof(moved), "%s", at("elsewhere/fix-a"));
	assert_int_equal(rename(at("fix-a"), moved), 0);
	r = run("build", moved, "--include", include, "--key", at("k.sec"), "--out",
		at("there.hotfix"), NULL);
	assert_int_equal(rename(moved, at("fix-a")), 0);
	assert_int_equal(r, 0);
	assert_int_equal(io_read_file(at("here.hotfix"), 1 << 20, &here, &len), 0);
	assert_int_equal(io_read_file(at("there.hotfix"), 1 << 20, &there, &len2), 0);
	assert_int_equal(len, len2);
	assert_memory_equal(here, there, len);
	assert_null(memmem(here, len, unit_folder, strlen(unit_folder)));
}

static void source_that_does_not_compile_names_the_error_and_writes_nothing(void **state)
{
	(void)state;
	put("fix-a/hotfix.bpf.c", "int broken(void) { return missing; }\n");
	assert_int_equal(build("broken.hotfix", NULL), 1);
	put("fix-a/hotfix.bpf.c", source);
	assert_non_null(strstr(fail.message, "missing"));
	assert_int_equal(access(at("broken.hotfix"), F_OK), -1);
}

static void fields_that_are_read_from_the_object_may_not_be_given(void **state)
{
	(void)state;
	put("fix-a/manifest.json", "{\"serial\":1,\"hooks\":[]}");
	assert_int_equal(build("bad.hotfix", NULL), 4);
	assert_non_null(strstr(fail.message, "hooks"));
	put("fix-a/manifest.json", "{\"serial\":1,\"colour\":\"red\"}");
	assert_int_equal(build("bad.hotfix", NULL), 4);
	assert_non_null(strstr(fail.message, "colour"));
	put("fix-a/manifest.json", "{\"versions\":[{\"serial\":1},{\"serial\":1}]}");
	assert_int_equal(build("bad.hotfix", NULL), 4);
	put("fix-a/manifest.json", "{\"title\":\"no serial\"}");
	assert_int_equal(build("bad.hotfix", NULL), 4);
	put("fix-a/manifest.json", manifest);
	assert_int_equal(access(at("bad.hotfix"), F_OK), -1);
}

static void an_object_of_someone_else_is_packed_with_its_own_hooks(void **state)
{
	AUTO(bundle_freep) struct bundle *own = NULL, *b = NULL;
	AUTO_FREE uint8_t *buf = NULL, *buf2 = NULL;
	size_t len;

	(void)state;
	assert_int_equal(build("own.hotfix", NULL), 0);
	own = open_bundle("own.hotfix", &buf, &len);
	assert_int_equal(io_write_file(at("x.o"), own->object, own->object_len, 0644), 0);
	assert_int_equal(run("pack", "--object", at("x.o"), "--name", "foreign", "--serial",
			     "5", "--label", "v5", "--cve", "CVE-2026-1234", "CVE-2026-1235",
			     "--severity", "critical", "--accept-preemption-leak", "--expires",
			     "2036-01-01T00:00:00Z", "--key", at("k.sec"), "--out",
			     at("p.hotfix"), NULL),
			 0);
	b = open_bundle("p.hotfix", &buf2, &len);
	assert_string_equal(b->manifest->name, "foreign");
	assert_int_equal(b->manifest->serial, 5);
	assert_int_equal(b->manifest->n_cves, 2);
	assert_string_equal(b->manifest->severity, "critical");
	assert_true(b->manifest->accept_preemption_leak);
	assert_true(b->manifest->expires_ms > 0);
	assert_string_equal(b->manifest->hooks[0].target, "tcp_v4_connect");
}

static void a_base_manifest_gives_the_fields_that_no_option_gives(void **state)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	put("base.json",
	    "{\"name\":\"from-base\",\"serial\":3,\"title\":\"t\",\"impact\":\"i\"}");
	assert_int_equal(run("pack", "--object", at("x.o"), "--manifest", at("base.json"),
			     "--title", "option", "--key", at("k.sec"), "--out", at("q.hotfix"),
			     NULL),
			 0);
	b = open_bundle("q.hotfix", &buf, &len);
	assert_string_equal(b->manifest->name, "from-base");
	assert_int_equal(b->manifest->serial, 3);
	assert_string_equal(b->manifest->title, "option");
	assert_string_equal(b->manifest->impact, "i");
}

static void nothing_is_made_unsigned(void **state)
{
	(void)state;
	assert_int_equal(
		run("build", at("fix-a"), "--include", include, "--out", at("u"), NULL), 2);
	assert_int_equal(run("pack", "--object", at("x.o"), "--name", "n", "--serial", "1",
			     "--out", at("u"), NULL),
			 2);
	assert_int_equal(access(at("u"), F_OK), -1);
}

static void a_secret_key_is_never_overwritten(void **state)
{
	AUTO_FREE uint8_t *before = NULL, *after = NULL;
	size_t len, len2;

	(void)state;
	assert_int_equal(io_read_file(at("k.sec"), 1 << 16, &before, &len), 0);
	assert_int_equal(build("k.sec", NULL), 9);
	assert_int_equal(run("key", "new", "--out", at("k"), "--no-passphrase", NULL), 9);
	assert_int_equal(run("trust", "init", "--key", at("k.pub"), "--out", at("k.sec"), NULL),
			 9);
	assert_int_equal(io_read_file(at("k.sec"), 1 << 16, &after, &len2), 0);
	assert_int_equal(len, len2);
	assert_memory_equal(before, after, len);
	/* A bundle is made anew in place. */
	assert_int_equal(build("again.hotfix", "1"), 0);
	assert_int_equal(build("again.hotfix", "2"), 0);
}

static void verify_says_yes_only_under_the_right_root(void **state)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;

	(void)state;
	unsetenv("HOTFIX_ROOT");
	assert_int_equal(build("v.hotfix", NULL), 0);
	assert_int_equal(run("trust", "init", "--key", at("k.pub"), "--out", at("root"), NULL),
			 0);
	assert_int_equal(run("key", "new", "--out", at("other"), "--no-passphrase", NULL), 0);
	assert_int_equal(
		run("trust", "init", "--key", at("other.pub"), "--out", at("other-root"), NULL),
		0);
	assert_int_equal(run("verify", at("v.hotfix"), "--root", at("root"), NULL), 0);
	assert_int_equal(run("verify", at("v.hotfix"), "--root", at("other-root"), NULL), 4);
	assert_int_equal(fail.code, FAIL_BAD_SIGNATURE);
	assert_int_equal(run("verify", at("v.hotfix"), "--root", at("absent"), NULL), 3);
	assert_int_equal(run("verify", at("absent"), "--root", at("root"), NULL), 3);
	setenv("HOTFIX_ROOT", at("root"), 1);
	assert_int_equal(run("verify", at("v.hotfix"), NULL), 0);
	unsetenv("HOTFIX_ROOT");
	/* One byte of the object. */
	assert_int_equal(io_read_file(at("v.hotfix"), BUNDLE_BYTES_MAX, &buf, &len), 0);
	buf[len - 100] ^= 1;
	assert_int_equal(io_write_file(at("flipped.hotfix"), buf, len, 0644), 0);
	assert_int_equal(run("verify", at("flipped.hotfix"), "--root", at("root"), NULL), 4);
	assert_int_equal(fail.code, FAIL_BAD_DIGEST);
	put("empty.hotfix", "");
	assert_int_equal(run("verify", at("empty.hotfix"), "--root", at("root"), NULL), 4);
	assert_int_equal(fail.code, FAIL_BAD_FORMAT);
}

static void verify_without_any_root_refuses_and_says_how(void **state)
{
	(void)state;
	if (access("/etc/hotfixd/root.json", F_OK) == 0)
		skip();
	unsetenv("HOTFIX_ROOT");
	assert_int_equal(run("verify", at("v.hotfix"), NULL), 4);
	assert_int_equal(fail.code, FAIL_NO_TRUST);
	assert_non_null(strstr(fail.hint, "--root"));
}

static void a_file_of_a_gibibyte_is_refused_without_reading_it(void **state)
{
	(void)state;
	put("huge", "x");
	assert_int_equal(truncate(at("huge"), 1L << 30), 0);
	assert_int_equal(run("inspect", at("huge"), NULL), 4);
	assert_int_equal(run("import", at("huge"), NULL), 4);
	assert_int_equal(run("pack", "--object", at("huge"), "--name", "n", "--serial", "1",
			     "--key", at("k.sec"), "--out", at("h.hotfix"), NULL),
			 4);
}

static void passphrases_come_through_a_descriptor(void **state)
{
	static const char pass[] = "correct horse\n", wrong[] = "wrong\n";
	int fd[2];
	char n[16];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], pass, strlen(pass)), strlen(pass));
	close(fd[1]);
	snprintf(n, sizeof(n), "%d", fd[0]);
	assert_int_equal(run("key", "new", "--out", at("sealed"), "--passphrase-fd", n, NULL),
			 0);
	close(fd[0]);

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], pass, strlen(pass)), strlen(pass));
	close(fd[1]);
	snprintf(n, sizeof(n), "%d", fd[0]);
	assert_int_equal(run("pack", "--object", at("x.o"), "--name", "n", "--serial", "1",
			     "--key", at("sealed.sec"), "--passphrase-fd", n, "--out",
			     at("s.hotfix"), NULL),
			 0);
	close(fd[0]);

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], wrong, strlen(wrong)), strlen(wrong));
	close(fd[1]);
	snprintf(n, sizeof(n), "%d", fd[0]);
	assert_int_equal(run("pack", "--object", at("x.o"), "--name", "n", "--serial", "1",
			     "--key", at("sealed.sec"), "--passphrase-fd", n, "--out",
			     at("t.hotfix"), NULL),
			 4);
	close(fd[0]);
	assert_int_equal(access(at("t.hotfix"), F_OK), -1);
}

static void a_threshold_counts_signatures_of_distinct_keys(void **state)
{
	(void)state;
	assert_int_equal(run("trust", "init", "--key", at("k.pub"), at("other.pub"),
			     "--threshold", "2", "--out", at("root2"), NULL),
			 0);
	assert_int_equal(run("trust", "init", "--key", at("k.pub"), at("k.pub"), "--threshold",
			     "2", "--out", at("root3"), NULL),
			 2);
	assert_int_equal(run("trust", "init", "--key", at("k.pub"), "--threshold", "2", "--out",
			     at("root3"), NULL),
			 2);
	assert_int_equal(run("verify", at("v.hotfix"), "--root", at("root2"), NULL), 4);
	assert_int_equal(run("build", at("fix-a"), "--include", include, "--key", at("k.sec"),
			     at("other.sec"), "--out", at("both.hotfix"), NULL),
			 0);
	assert_int_equal(run("verify", at("both.hotfix"), "--root", at("root2"), NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_highest_serial_is_built_with_its_own_fields),
		cmocka_unit_test(another_serial_is_built_when_asked_for),
		cmocka_unit_test(equal_input_gives_equal_bytes_wherever_it_lies),
		cmocka_unit_test(
			source_that_does_not_compile_names_the_error_and_writes_nothing),
		cmocka_unit_test(fields_that_are_read_from_the_object_may_not_be_given),
		cmocka_unit_test(an_object_of_someone_else_is_packed_with_its_own_hooks),
		cmocka_unit_test(a_base_manifest_gives_the_fields_that_no_option_gives),
		cmocka_unit_test(nothing_is_made_unsigned),
		cmocka_unit_test(a_secret_key_is_never_overwritten),
		cmocka_unit_test(verify_says_yes_only_under_the_right_root),
		cmocka_unit_test(verify_without_any_root_refuses_and_says_how),
		cmocka_unit_test(a_file_of_a_gibibyte_is_refused_without_reading_it),
		cmocka_unit_test(passphrases_come_through_a_descriptor),
		cmocka_unit_test(a_threshold_counts_signatures_of_distinct_keys),
	};

	return cmocka_run_group_tests(tests, set_up, unit_teardown);
}
