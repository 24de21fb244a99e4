// SPDX-License-Identifier: BSD-2-Clause
#include "cli/build.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/sign.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bundle.h"
#include "store/bytes.h"

/* --- the manifest --------------------------------------------------------------------- */

/* SOURCE_DATE_EPOCH, else now. */
static int read_created_ms(uint64_t *ret_ms, struct fail *reterr_fail)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	uint64_t s;
	int r;

	if (!epoch || !epoch[0]) {
		*ret_ms = clock_real_ms() / 1000 * 1000;
		return 0;
	}
	r = cli_parse_u64("SOURCE_DATE_EPOCH", epoch, 0, 253402300799ULL, &s, reterr_fail);
	if (r < 0)
		return r;
	*ret_ms = s * 1000;
	return 0;
}

static const json_t *find_version(const json_t *base, uint64_t serial)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(base, "versions"), i, v)
		if ((uint64_t)json_integer_value(json_object_get(v, "serial")) == serial)
			return v;
	return NULL;
}

static int check_versions(const json_t *versions, struct fail *f)
{
	const json_t *v, *w;
	size_t i, j;

	if (!json_is_array(versions) || json_array_size(versions) == 0)
		return fail_set(
			f, FAIL_BAD_FORMAT,
			"manifest: \"versions\" must be an array with at least one item");
	json_array_foreach(versions, i, v) {
		json_int_t serial = json_integer_value(json_object_get(v, "serial"));

		if (!json_is_object(v) || serial < 1)
			return fail_set(f, FAIL_BAD_FORMAT,
					"manifest: item %zu of \"versions\" has no \"serial\" "
					"of 1 or more",
					i + 1);
		json_array_foreach(versions, j, w)
			if (j < i && json_integer_value(json_object_get(w, "serial")) == serial)
				return fail_set(f, FAIL_BAD_FORMAT,
						"manifest: serial %" JSON_INTEGER_FORMAT
						" stands twice in \"versions\"",
						serial);
	}
	return 0;
}

/*
 * The serial to build: wanted, or the highest of base's "versions" when that is 0, or
 * base's own "serial". FAIL_NOT_FOUND, FAIL_BAD_FORMAT.
 */
static int choose_serial(const json_t *base, uint64_t wanted, uint64_t *ret_serial,
			 struct fail *reterr_fail)
{
	const json_t *versions = json_object_get(base, "versions"), *v;
	uint64_t highest = 0;
	size_t i;
	int r;

	if (!versions) {
		json_int_t own = json_integer_value(json_object_get(base, "serial"));

		if (!wanted && own < 1)
			return fail_set(reterr_fail, FAIL_BAD_FORMAT,
					"manifest: neither \"versions\" nor \"serial\" says "
					"which serial this is");
		*ret_serial = wanted ? wanted : (uint64_t)own;
		return 0;
	}
	r = check_versions(versions, reterr_fail);
	if (r < 0)
		return r;
	json_array_foreach(versions, i, v) {
		uint64_t serial = (uint64_t)json_integer_value(json_object_get(v, "serial"));

		highest = serial > highest ? serial : highest;
	}
	if (wanted && !find_version(base, wanted)) {
		r = fail_set(reterr_fail, FAIL_NOT_FOUND,
			     "manifest: no serial %" PRIu64 " in \"versions\"", wanted);
		fail_hint(reterr_fail, "the highest is %" PRIu64, highest);
		return r;
	}
	*ret_serial = wanted ? wanted : highest;
	return 0;
}

static json_t *hooks_to_json(const struct audit *audit)
{
	json_t *hooks = json_array();

	for (size_t i = 0; i < audit->n_hooks; i++) {
		const struct hook *h = &audit->hooks[i];
		json_t *hook = json_pack("{s:s, s:s, s:s}", "type", hook_type_name(h->type),
					 "target", h->target, "program", h->program);

		if (h->sleepable)
			json_object_set_new(hook, "sleepable", json_true());
		if (h->cc_name[0])
			json_object_set_new(hook, "cc_name", json_string(h->cc_name));
		json_array_append_new(hooks, hook);
	}
	return hooks;
}

/*
 * The manifest of one version: base without "versions", over it the fields of that version,
 * then what is read from the object. name is used when base has none. Sorted, compact text.
 */
static int manifest(const json_t *base, const char *name, uint64_t serial,
		    const struct audit *audit, const void *object, size_t object_len,
		    uint64_t created_ms, char **ret_text, struct fail *reterr_fail)
{
	static const char *const filled[] = {"object", "hooks", "created"};
	char created[CLOCK_TIMESTAMP_BYTES], hex[BYTES_SHA256_HEX];
	AUTO_JSON json_t *m = json_copy((json_t *)(uintptr_t)base); /* shallow */
	const json_t *version = find_version(base, serial);
	uint8_t digest[BYTES_SHA256];
	int bad = 0;

	if (!m)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "manifest: not a JSON object");
	json_object_del(m, "versions");
	if (version)
		bad |= json_object_update(m, (json_t *)(uintptr_t)version);
	for (size_t i = 0; i < ARRAY_SIZE(filled); i++)
		if (json_object_get(m, filled[i]))
			return fail_set(
				reterr_fail, FAIL_BAD_FORMAT,
				"manifest: \"%s\" is filled in from the object: leave it "
				"out",
				filled[i]);
	if (json_object_get(m, "format") &&
	    json_integer_value(json_object_get(m, "format")) != 1)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"manifest: \"format\" must be 1, or left out");
	if (!json_object_get(m, "name"))
		bad |= json_object_set_new(m, "name", json_string(name));
	bytes_sha256(object, object_len, digest);
	clock_format_timestamp(created_ms, created);
	memmove(strchr(created, '.'), "Z", 2); /* whole seconds */
	bad |= json_object_set_new(m, "format", json_integer(1));
	bad |= json_object_set_new(m, "serial", json_integer((json_int_t)serial));
	bad |= json_object_set_new(m, "created", json_string(created));
	bad |= json_object_set_new(m, "hooks", hooks_to_json(audit));
	bad |= json_object_set_new(m, "object",
				   json_pack("{s:s, s:I}", "sha256",
					     bytes_to_hex(digest, sizeof(digest), hex), "size",
					     (json_int_t)object_len));
	*ret_text = bad ? NULL : json_dumps(m, JSON_COMPACT | JSON_SORT_KEYS);
	return *ret_text ? 0 : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

static int read_manifest(const char *path, json_t **ret_doc, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = io_read_file(path, MANIFEST_BYTES_MAX, &buf, &len);

	if (r < 0)
		return fail_set(f, r == -ENOENT ? FAIL_NOT_FOUND : FAIL_BAD_FORMAT, "%s: %s",
				path, strerror(-r));
	r = json_parse(path, buf, len, &doc, f);
	if (r < 0)
		return r;
	if (!json_is_object(doc))
		return fail_set(f, FAIL_BAD_FORMAT, "%s: not a JSON object", path);
	*ret_doc = take_ptr(doc);
	return 0;
}

/* --- from object and manifest to the file ---------------------------------------------- */

static int make_bundle(struct cli *c, const struct args *a, const json_t *base,
		       const char *name, uint64_t serial, const void *object, size_t object_len,
		       struct fail *f)
{
	AUTO(sign_keys_clear) struct sign_keys keys = {.n = 0};
	AUTO_FREE struct audit *audit = calloc(1, sizeof(*audit));
	AUTO(bundle_freep) struct bundle *b = NULL;
	const char *out = args_value(a, "--out");
	AUTO_FREE uint8_t *bundle = NULL;
	char hex[BYTES_SHA256_HEX];
	AUTO_FREE char *text = NULL;
	uint64_t created_ms;
	size_t len;
	int r;

	if (!audit)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	r = audit_object(object, object_len, audit, f);
	if (r == 0)
		r = read_created_ms(&created_ms, f);
	if (r == 0)
		r = manifest(base, name, serial, audit, object, object_len, created_ms, &text,
			     f);
	if (r == 0)
		r = sign_load_keys(a, "--key", &keys, f);
	if (r == 0)
		r = bundle_build(text, strlen(text), object, object_len, keys.key, keys.n,
				 &bundle, &len, f);
	if (r == 0)
		r = bundle_open_unverified(bundle, len, &b, f);
	if (r == 0)
		r = sign_write_output(out, BUNDLE_MAGIC, bundle, len, f);
	if (r < 0)
		return r;
	bytes_to_hex(b->digest, sizeof(b->digest), hex);
	if (c->json) {
		AUTO_JSON json_t *doc =
			json_pack("{s:s, s:s, s:I, s:s, s:I, s:O}", "file", out, "name",
				  b->manifest->name, "serial", (json_int_t)serial, "digest",
				  hex, "bytes", (json_int_t)len, "manifest", b->manifest->doc);

		return cli_print_json(doc, f);
	}
	printf("%s: %s serial %" PRIu64 ", %s, signed by %zu key%s\n", text_safe(out),
	       text_safe(b->manifest->name), serial, text_bytes(len), keys.n,
	       keys.n == 1 ? "" : "s");
	for (size_t i = 0; i < b->manifest->n_hooks; i++)
		printf("  %s/%s  %s\n", hook_type_name(b->manifest->hooks[i].type),
		       text_safe(b->manifest->hooks[i].target),
		       text_safe(b->manifest->hooks[i].program));
	return 0;
}

/* --- build ---------------------------------------------------------------------------- */

static bool has_headers(const char *folder, char ret_path[PATH_MAX])
{
	AUTO_FREE char *probe = NULL;

	if (asprintf(&probe, "%s/bpf/bpf_helpers.h", folder) < 0) {
		probe = NULL;
		return false;
	}
	return access(probe, R_OK) == 0 && realpath(folder, ret_path);
}

/* The headers for authors: beside the program, then where packages put them. */
static int find_include(const struct args *a, char ret_path[PATH_MAX], struct fail *f)
{
	const char *given = args_value(a, "--include");
	AUTO_FREE char *beside = NULL;
	char exe[PATH_MAX] = "";
	int r;

	if (given && has_headers(given, ret_path))
		return 0;
	if (given)
		return fail_set(f, FAIL_NOT_FOUND,
				"--include: %s has no bpf/bpf_helpers.h: not the headers for "
				"hot-fixes",
				given);
	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0 ||
	    asprintf(&beside, "%s/../include/hotfixd", dirname(exe)) < 0)
		beside = NULL;
	if ((beside && has_headers(beside, ret_path)) ||
	    has_headers("/usr/local/include/hotfixd", ret_path) ||
	    has_headers("/usr/include/hotfixd", ret_path))
		return 0;
	r = fail_set(f, FAIL_NOT_FOUND,
		     "the headers for hot-fixes (hotfix.bpf.h, bpf/) are not installed beside "
		     "hotfixctl");
	fail_hint(f, "name their folder with --include DIR");
	return r;
}

/* The name libbpf's bpf_tracing.h uses for the host's architecture. */
static const char *target_arch(const char *machine)
{
	static const char *const names[][2] = {
		{"x86_64", "x86"},	{"aarch64", "arm64"}, {"s390x", "s390"},
		{"ppc64le", "powerpc"}, {"riscv64", "riscv"}, {"loongarch64", "loongarch"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(machine, names[i][0]) == 0)
			return names[i][1];
	return machine;
}

/* Reads a tool's messages to their end; keeps the first line that speaks of an error. */
static void keep_error(int fd, char *ret_line, size_t len)
{
	AUTO_FILE FILE *f = fdopen(fd, "r");
	char line[512];

	ret_line[0] = 0;
	while (f && fgets(line, sizeof(line), f))
		if (!ret_line[0] && strstr(line, "error"))
			snprintf(ret_line, len, "%.*s", (int)strcspn(line, "\n"), line);
}

/* Runs argv in folder. Its messages go to our stderr; with -j one line ends in f. */
static int run_tool(const struct cli *c, char *const *argv, const char *folder,
		    const char *what, struct fail *f)
{
	int messages[2] = {-1, -1}, status, r;
	char line[512] = "";
	pid_t pid;

	if (c->json && pipe2(messages, O_CLOEXEC) < 0)
		return fail_set(f, FAIL_INTERNAL, "pipe: %s", strerror(errno));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		if (c->json)
			dup2(messages[1], STDERR_FILENO);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		if (chdir(folder) == 0)
			execvp(argv[0], argv);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (c->json) {
		close(messages[1]);
		keep_error(messages[0], line, sizeof(line));
	}
	if (pid < 0)
		return fail_set(f, FAIL_INTERNAL, "fork: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return fail_set(f, FAIL_INTERNAL, "waitpid: %s", strerror(errno));
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
		r = fail_set(f, FAIL_INTERNAL, "%s is not installed", argv[0]);
		fail_hint(f, "apt-get install clang llvm");
		return r;
	}
	r = fail_set(f, FAIL_INTERNAL, "%s: %s ended with %s %d%s%s", what, argv[0],
		     WIFEXITED(status) ? "status" : "signal",
		     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		     line[0] ? ": " : "", line);
	if (!c->json)
		fail_hint(f, "its messages are above");
	return r;
}

static const char *tool(const char *variable, const char *otherwise)
{
	const char *v = getenv(variable);

	return v && v[0] ? v : otherwise;
}

/* The object of DIR/hotfix.bpf.c: with BTF, without DWARF and without our folders' names. */
static int compile(struct cli *c, const char *folder, const char *include, uint64_t serial,
		   const char *object, struct fail *f)
{
	char define[64], arch[128], map_folder[PATH_MAX + 32], map_include[PATH_MAX + 32];
	char multiarch[256];
	struct utsname u;
	char *argv[32];
	size_t n = 0;
	int r;

#define ARG(s) (argv[n++] = (char *)(uintptr_t)(s))
	uname(&u);
	snprintf(define, sizeof(define), "-DHOTFIX_SERIAL=%" PRIu64 "ULL", serial);
	snprintf(arch, sizeof(arch), "-D__TARGET_ARCH_%s", target_arch(u.machine));
	snprintf(map_folder, sizeof(map_folder), "-ffile-prefix-map=%s=.", folder);
	snprintf(map_include, sizeof(map_include), "-ffile-prefix-map=%s=hotfixd", include);
	/* <asm/types.h> is in Debian's multi-architecture folder, which -target bpf does
	 * not search. */
	snprintf(multiarch, sizeof(multiarch), "/usr/include/%.60s-linux-gnu", u.machine);
	ARG(tool("CLANG", "clang"));
	ARG("--target=bpf");
	ARG("-mcpu=v3");
	ARG("-std=gnu11");
	ARG("-O2");
	ARG("-g");
	ARG("-Wall");
	ARG(define);
	ARG(arch);
	ARG(map_folder);
	ARG(map_include);
	ARG("-I");
	ARG(include);
	if (access(multiarch, X_OK) == 0) {
		ARG("-idirafter");
		ARG(multiarch);
	}
	ARG("-c");
	ARG("hotfix.bpf.c");
	ARG("-o");
	ARG(object);
	argv[n] = NULL;
	r = run_tool(c, argv, folder, "hotfix.bpf.c does not compile", f);
	if (r < 0)
		return r;
	n = 0;
	ARG(tool("LLVM_STRIP", "llvm-strip"));
	ARG("-g");
	ARG(object);
	argv[n] = NULL;
#undef ARG
	return run_tool(c, argv, folder, "removing DWARF", f);
}

struct scratch {
	char folder[64], object[96];
};

static void scratch_remove(struct scratch *s)
{
	if (s->object[0])
		unlink(s->object);
	if (s->folder[0])
		rmdir(s->folder);
}

int build_run(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(scratch_remove) struct scratch scratch = {"", ""};
	char folder[PATH_MAX], path[PATH_MAX + 32], include[PATH_MAX];
	const char *wanted = args_value(a, "--serial");
	AUTO_FREE uint8_t *object = NULL;
	AUTO_JSON json_t *base = NULL;
	uint64_t serial = 0;
	size_t len;
	int r = 0;

	if (wanted)
		r = cli_parse_u64("--serial", wanted, 1, MANIFEST_SERIAL_MAX, &serial,
				  reterr_fail);
	if (r < 0)
		return r;
	if (!realpath(args_at(a, 0), folder))
		return fail_set(reterr_fail, errno == ENOENT ? FAIL_NOT_FOUND : FAIL_INTERNAL,
				"%s: %s", args_at(a, 0), strerror(errno));
	snprintf(path, sizeof(path), "%s/hotfix.bpf.c", folder);
	if (access(path, R_OK) < 0) {
		r = fail_set(reterr_fail, FAIL_NOT_FOUND, "%s: %s", path, strerror(errno));
		fail_hint(reterr_fail,
			  "DIR is the folder of one hot-fix, with manifest.json and "
			  "hotfix.bpf.c");
		return r;
	}
	snprintf(path, sizeof(path), "%s/manifest.json", folder);
	r = read_manifest(path, &base, reterr_fail);
	if (r == 0)
		r = choose_serial(base, serial, &serial, reterr_fail);
	if (r == 0)
		r = find_include(a, include, reterr_fail);
	if (r < 0)
		return r;
	snprintf(scratch.folder, sizeof(scratch.folder), "/tmp/hotfixctl.XXXXXX");
	if (!mkdtemp(scratch.folder)) {
		scratch.folder[0] = 0;
		return fail_set(reterr_fail, FAIL_INTERNAL, "/tmp: %s", strerror(errno));
	}
	snprintf(scratch.object, sizeof(scratch.object), "%s/object", scratch.folder);
	r = compile(c, folder, include, serial, scratch.object, reterr_fail);
	if (r < 0)
		return r;
	r = io_read_file(scratch.object, AUDIT_OBJECT_BYTES_MAX, &object, &len);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", scratch.object,
				strerror(-r));
	return make_bundle(c, a, base, basename(folder), serial, object, len, reterr_fail);
}

/* --- pack ----------------------------------------------------------------------------- */

/* Options over the base manifest; NULL: not given. */
static int options_to_manifest(const struct args *a, json_t *m, struct fail *f)
{
	static const char *const texts[][2] = {{"--name", "name"},
					       {"--label", "label"},
					       {"--title", "title"},
					       {"--severity", "severity"},
					       {"--expires", "expires"}};
	const char *cves[ARGS_MAX], *state = args_value(a, "--state");
	size_t n = args_list(a, "--cve", cves);
	json_t *list, *ops;
	int bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (args_value(a, texts[i][0]))
			bad |= json_object_set_new(m, texts[i][1],
						   json_string(args_value(a, texts[i][0])));
	if (n > 0) {
		list = json_array();
		for (size_t i = 0; i < n; i++)
			bad |= json_array_append_new(list, json_string(cves[i]));
		bad |= json_object_set_new(m, "cves", list);
	}
	if (args_given(a, "--accept-preemption-leak"))
		bad |= json_object_set_new(m, "accept",
					   json_pack("{s:b}", "preemption_leak", 1));
	if (state || args_given(a, "--default")) {
		ops = json_object();
		if (json_object_get(m, "struct_ops"))
			bad |= json_object_update(ops, json_object_get(m, "struct_ops"));
		if (state)
			bad |= json_object_set_new(ops, "state", json_string(state));
		if (args_given(a, "--default"))
			bad |= json_object_set_new(ops, "default", json_true());
		bad |= json_object_set_new(m, "struct_ops", ops);
	}
	return bad ? fail_set(f, FAIL_USAGE, "an option's value is not UTF-8 text") : 0;
}

int build_run_pack(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *path = args_value(a, "--object"), *file = args_value(a, "--manifest");
	const char *wanted = args_value(a, "--serial");
	AUTO_FREE uint8_t *object = NULL;
	AUTO_JSON json_t *base = NULL;
	uint64_t serial = 0;
	size_t len;
	int r = 0;

	if (!file && (!args_value(a, "--name") || !wanted))
		r = fail_set(reterr_fail, FAIL_USAGE,
			     "pack needs --name and --serial, or a --manifest that has them");
	if (r == 0 && wanted)
		r = cli_parse_u64("--serial", wanted, 1, MANIFEST_SERIAL_MAX, &serial,
				  reterr_fail);
	if (r == 0 && file)
		r = read_manifest(file, &base, reterr_fail);
	if (r < 0)
		return r;
	if (!base)
		base = json_object();
	r = choose_serial(base, serial, &serial, reterr_fail);
	if (r == 0)
		r = options_to_manifest(a, base, reterr_fail);
	if (r < 0)
		return r;
	if (!json_object_get(base, "name"))
		return fail_set(reterr_fail, FAIL_USAGE, "%s has no \"name\": give --name",
				file);
	r = io_read_file(path, AUDIT_OBJECT_BYTES_MAX, &object, &len);
	if (r < 0)
		return fail_set(reterr_fail,
				r == -ENOENT  ? FAIL_NOT_FOUND
				: r == -EFBIG ? FAIL_BAD_OBJECT
					      : FAIL_INTERNAL,
				"%s: %s", path,
				r == -EFBIG ? "larger than any object may be (16 MiB)"
					    : strerror(-r));
	return make_bundle(c, a, base, NULL, serial, object, len, reterr_fail);
}
