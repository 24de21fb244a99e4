// SPDX-License-Identifier: BSD-2-Clause
#include "cli/context.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/text.h"
#include "lib/hook.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bytes.h"

#define FILE_BYTES_MAX	(1U << 20)
#define TOKEN_BYTES_MAX 256
#define URL_BYTES_MAX	512

struct context *context_free(struct context *x)
{
	if (!x)
		return NULL;
	if (x->token)
		explicit_bzero(x->token, strlen(x->token));
	free(x->name);
	free(x->url);
	free(x->ca);
	free(x->cert);
	free(x->key);
	free(x->token);
	free(x);
	return NULL;
}

/* ---- the file ---------------------------------------------------------------------------- */

static int find_file(char out[PATH_MAX], struct fail *f)
{
	const char *given = getenv("HOTFIXCTL_CONTEXTS"), *config = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	const struct passwd *pw;
	int n;

	if (given && given[0]) {
		n = snprintf(out, PATH_MAX, "%s", given);
	} else if (config && config[0] == '/') {
		n = snprintf(out, PATH_MAX, "%s/hotfixctl/contexts.json", config);
	} else {
		if (!home || home[0] != '/') {
			pw = getpwuid(getuid());
			home = pw ? pw->pw_dir : "/";
		}
		n = snprintf(out, PATH_MAX, "%s/.config/hotfixctl/contexts.json", home);
	}
	return n < PATH_MAX ? 0
			    : fail_set(f, FAIL_USAGE, "the path of the contexts is too long");
}

/* It says whom to trust, and with which key: nobody else may have written it. */
static int check_owner(const char *path, int fd, struct fail *f)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_set(f, FAIL_INTERNAL, "%s: %s", path, strerror(errno));
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		fail_set(f, FAIL_PERMISSION,
			 "%s belongs to uid %u, who could make you trust another controller",
			 path, (unsigned int)st.st_uid);
		return fail_hint(f, "HOTFIXCTL_CONTEXTS names another file; or, when all in it "
				    "is right, chown it to you");
	}
	if (st.st_mode & 022) {
		fail_set(f, FAIL_PERMISSION,
			 "%s can be written by others (mode %04o), who could make you trust "
			 "another controller",
			 path, (unsigned int)(st.st_mode & 07777));
		return fail_hint(f, "look at what is in it, then chmod 600 %s", path);
	}
	return 0;
}

/* -errno without f: it cannot be read. */
static int read_own(const char *path, uint8_t **ret_buf, size_t *ret_len, struct fail *f)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int r;

	if (fd < 0)
		return -errno;
	r = check_owner(path, fd, f);
	return r < 0 ? r : io_read_fd(fd, FILE_BYTES_MAX, ret_buf, ret_len);
}

/* No file: no contexts. */
static int read_file(char path[PATH_MAX], json_t **ret_doc, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct fail why = {0};
	size_t len;
	int r = find_file(path, f);

	if (r < 0)
		return r;
	r = read_own(path, &buf, &len, &why);
	if (why.code != FAIL_NONE) {
		*f = why;
		return r;
	}
	if (r == -ENOENT)
		doc = json_pack("{s:{}}", "contexts");
	else if (r < 0)
		return fail_set(f, r == -EACCES ? FAIL_PERMISSION : FAIL_BAD_FORMAT, "%s: %s",
				path, strerror(-r));
	else if (json_parse("contexts", buf, len, &doc, &why) < 0)
		return fail_set(f, FAIL_BAD_FORMAT, "%s: %s", path, why.message);
	if (!doc)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	if (!json_is_object(json_object_get(doc, "contexts")))
		return fail_set(f, FAIL_BAD_FORMAT, "%s: has no \"contexts\"", path);
	*ret_doc = take_ptr(doc);
	return 0;
}

static int write_file(const char *path, const json_t *doc, struct fail *f)
{
	AUTO_FREE char *text = json_dumps(doc, JSON_INDENT(2) | JSON_SORT_KEYS), *folder = NULL;
	char *slash;
	int r = 0;

	folder = strdup(path);
	if (!text || !folder)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	slash = strrchr(folder, '/');
	if (slash && slash != folder) {
		*slash = 0;
		r = io_mkdir_p(folder, 0700);
	}
	if (r == 0)
		r = io_write_file(path, text, strlen(text), 0600);
	return r < 0 ? fail_set(f, r == -EACCES ? FAIL_PERMISSION : FAIL_INTERNAL, "%s: %s",
				path, strerror(-r))
		     : 0;
}

/* ---- one context ------------------------------------------------------------------------- */

static int check_secret(const char *path, struct fail *f)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return fail_set(f, errno == EACCES ? FAIL_PERMISSION : FAIL_NOT_FOUND, "%s: %s",
				path, strerror(errno));
	if (st.st_mode & 077) {
		fail_set(f, FAIL_PERMISSION, "%s can be read by others (mode %04o)", path,
			 st.st_mode & 07777);
		return fail_hint(f, "chmod 600 %s", path);
	}
	return 0;
}

static int take_token(const char *path, char **ret_token, struct fail *f)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = check_secret(path, f);

	if (r < 0)
		return r;
	r = io_read_file(path, TOKEN_BYTES_MAX, &buf, &len);
	if (r < 0)
		return fail_set(f, FAIL_BAD_FORMAT, "%s: %s", path, strerror(-r));
	while (len && strchr(" \t\r\n", buf[len - 1]))
		buf[--len] = 0;
	/* It becomes a header: nothing else may come in with it. */
	if (strncmp((char *)buf, "hfo1.", 5) != 0 ||
	    strspn((char *)buf + 5, "0123456789abcdef") != 64 || len != 69)
		return fail_set(f, FAIL_BAD_FORMAT, "%s holds no token of an operator", path);
	*ret_token = (char *)take_ptr(buf);
	return 0;
}

static bool is_url(const char *url)
{
	return strncmp(url, "https://", 8) == 0 && url[8] && url[8] != '/' &&
	       strlen(url) < URL_BYTES_MAX &&
	       strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			   "0123456789.-_~:/[]%") == strlen(url);
}

static int parse_context(const char *name, const json_t *doc, struct context *x, struct fail *f)
{
	struct json_fields fields = json_fields("context", doc, f);
	const char *url = json_str(&fields, "url", URL_BYTES_MAX);
	const char *ca = json_str(&fields, "ca", PATH_MAX);
	const char *cert = json_str_or(&fields, "cert", PATH_MAX, "");
	const char *key = json_str_or(&fields, "key", PATH_MAX, "");
	const char *token_file = json_str_or(&fields, "token_file", PATH_MAX, "");
	size_t len;
	int r;

	if (fields.r == 0 && !is_url(url))
		json_bad(&fields, "url", "must be https://HOST:PORT");
	if (fields.r == 0 && !cert[0] != !key[0])
		json_bad(&fields, "key", "and \"cert\" belong together");
	if (fields.r == 0 && !cert[0] == !token_file[0])
		json_bad(&fields, "token_file", "or \"cert\" and \"key\" must be there");
	r = json_fields_end(&fields);
	if (r == 0 && key[0])
		r = check_secret(key, f);
	if (r == 0 && token_file[0])
		r = take_token(token_file, &x->token, f);
	if (r < 0)
		return r;
	x->name = strdup(name);
	x->url = strdup(url);
	x->ca = strdup(ca);
	x->cert = cert[0] ? strdup(cert) : NULL;
	x->key = key[0] ? strdup(key) : NULL;
	if (!x->name || !x->url || !x->ca || (cert[0] && (!x->cert || !x->key)))
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	for (len = strlen(x->url); x->url[len - 1] == '/'; len--)
		x->url[len - 1] = 0;
	return 0;
}

static int no_context(const char *name, const json_t *contexts, const char *path,
		      struct fail *f)
{
	const char *names[64], *key, *nearest;
	json_t *v;
	size_t n = 0;

	fail_set(f, FAIL_USAGE, "there is no context %s in %s", name, path);
	json_object_foreach((json_t *)(uintptr_t)contexts, key, v)
		if (n < ARRAY_SIZE(names))
			names[n++] = key;
	nearest = args_nearest(name, names, n);
	if (nearest)
		return fail_hint(f, "did you mean %s?", nearest);
	return fail_hint(f, "hotfixctl context list shows them, context set makes one");
}

static const char *chosen(const char *name, const json_t *doc)
{
	const char *env = getenv("HOTFIXCTL_CONTEXT");

	if (name)
		return name;
	if (env && env[0])
		return env;
	return json_string_value(json_object_get(doc, "current"));
}

int context_load(const char *name, struct context **ret_context, struct fail *reterr_fail)
{
	AUTO(context_freep) struct context *x = calloc(1, sizeof(*x));
	AUTO_JSON json_t *doc = NULL;
	const json_t *contexts, *one;
	struct fail why = {0};
	char path[PATH_MAX];
	int r = read_file(path, &doc, reterr_fail);

	if (r < 0)
		return r;
	name = chosen(name, doc);
	contexts = json_object_get(doc, "contexts");
	if (!name || !x) {
		fail_set(reterr_fail, FAIL_USAGE, "which fleet? No context is in use");
		return fail_hint(reterr_fail, "--context NAME, or hotfixctl context use NAME");
	}
	one = json_object_get(contexts, name);
	if (!one)
		return no_context(name, contexts, path, reterr_fail);
	r = parse_context(name, one, x, &why);
	if (r < 0) {
		fail_set(reterr_fail, why.code, "context %s: %s", name, why.message);
		if (why.hint[0])
			fail_hint(reterr_fail, "%s", why.hint);
		return r;
	}
	*ret_context = take_ptr(x);
	return 0;
}

/* ---- commands ---------------------------------------------------------------------------- */

int context_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"", 0}, {"CONTEXT", 0}, {"URL", 0}, {"AS", TEXT_WRAP}};
	AUTO_JSON json_t *doc = NULL;
	const char *name, *current;
	struct text_table *t;
	char path[PATH_MAX];
	json_t *one;
	int r = read_file(path, &doc, reterr_fail);

	(void)a;
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	current = chosen(NULL, doc);
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_object_foreach(json_object_get(doc, "contexts"), name, one) {
		const char *cert = text_of(one, "cert");

		text_table_line(t, current && strcmp(current, name) == 0 ? "*" : "",
				text_safe(name), text_of(one, "url"),
				cert[0] ? cert : text_of(one, "token_file"));
	}
	if (!text_table_lines(t))
		cli_note(c, "no contexts in %s; hotfixctl context set makes one", path);
	text_table_print(t);
	return 0;
}

int context_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL, *shown = NULL;
	const char *name, *key;
	char path[PATH_MAX];
	json_t *one, *v;
	int r = read_file(path, &doc, reterr_fail);

	if (r < 0)
		return r;
	name = chosen(args_at(a, 0), doc);
	one = name ? json_object_get(json_object_get(doc, "contexts"), name) : NULL;
	if (!one)
		return no_context(name ? name : "in use", json_object_get(doc, "contexts"),
				  path, reterr_fail);
	shown = json_pack("{s:s, s:O}", "name", name, "context", one);
	if (c->json)
		return cli_print_json(shown, reterr_fail);
	printf("%-12s %s\n", "context", text_safe(name));
	json_object_foreach(one, key, v)
		printf("%-12s %s\n", text_safe(key), text_safe(json_string_value(v)));
	return 0;
}

int context_run_use(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *name = args_at(a, 0);
	AUTO_JSON json_t *doc = NULL;
	char path[PATH_MAX];
	int r = read_file(path, &doc, reterr_fail);

	if (r == 0 && !json_object_get(json_object_get(doc, "contexts"), name))
		r = no_context(name, json_object_get(doc, "contexts"), path, reterr_fail);
	if (r < 0)
		return r;
	json_object_set_new(doc, "current", json_string(name));
	r = write_file(path, doc, reterr_fail);
	if (r == 0 && !c->json)
		printf("%s is in use\n", text_safe(name));
	return r == 0 && c->json ? cli_print_json(doc, reterr_fail) : r;
}

/* An option's file, as it is found from any folder. */
static int set_file(json_t *one, const struct args *a, const char *option, const char *key,
		    struct fail *f)
{
	const char *value = args_value(a, option);
	char path[PATH_MAX];

	if (!value)
		return 0;
	if (!realpath(value, path))
		return fail_set(f, FAIL_NOT_FOUND, "%s %s: %s", option, value, strerror(errno));
	return json_object_set_new(one, key, json_string(path)) < 0
		       ? fail_set(f, FAIL_INTERNAL, "out of memory")
		       : 0;
}

int context_run_set(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO(context_freep) struct context *x = calloc(1, sizeof(*x));
	const char *name = args_at(a, 0), *url = args_value(a, "--url");
	AUTO_JSON json_t *doc = NULL;
	char path[PATH_MAX];
	json_t *one;
	int r = read_file(path, &doc, reterr_fail);

	if (r < 0)
		return r;
	if (!x)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (!hook_name_valid(name))
		return fail_set(reterr_fail, FAIL_USAGE,
				"a context's name has lower case letters, digits and '-'");
	one = json_object_get(json_object_get(doc, "contexts"), name);
	one = one ? json_deep_copy(one) : json_object();
	if (json_object_set_new(json_object_get(doc, "contexts"), name, one) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (url)
		json_object_set_new(one, "url", json_string(url));
	if (args_given(a, "--token-file")) {
		json_object_del(one, "cert");
		json_object_del(one, "key");
	} else if (args_given(a, "--cert")) {
		json_object_del(one, "token_file");
	}
	if (set_file(one, a, "--ca", "ca", reterr_fail) < 0 ||
	    set_file(one, a, "--cert", "cert", reterr_fail) < 0 ||
	    set_file(one, a, "--key", "key", reterr_fail) < 0 ||
	    set_file(one, a, "--token-file", "token_file", reterr_fail) < 0)
		return -fail_errno(reterr_fail->code);
	r = parse_context(name, one, x, reterr_fail);
	if (r < 0) {
		if (reterr_fail->code == FAIL_BAD_FORMAT) {
			reterr_fail->code = FAIL_USAGE;
			fail_hint(reterr_fail,
				  "a context has --url, --ca, and --cert with --key "
				  "or --token-file");
		}
		return r;
	}
	if (!json_object_get(doc, "current"))
		json_object_set_new(doc, "current", json_string(name));
	r = write_file(path, doc, reterr_fail);
	if (r == 0 && !c->json)
		printf("%s is in %s\n", text_safe(name), text_safe(path));
	return r == 0 && c->json ? cli_print_json(doc, reterr_fail) : r;
}

int context_run_remove(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *name = args_at(a, 0), *current;
	AUTO_JSON json_t *doc = NULL;
	char path[PATH_MAX];
	int r = read_file(path, &doc, reterr_fail);

	if (r == 0 && json_object_del(json_object_get(doc, "contexts"), name) < 0)
		r = no_context(name, json_object_get(doc, "contexts"), path, reterr_fail);
	if (r < 0)
		return r;
	current = json_string_value(json_object_get(doc, "current"));
	if (current && strcmp(current, name) == 0)
		json_object_del(doc, "current");
	r = write_file(path, doc, reterr_fail);
	if (r == 0 && !c->json)
		printf("%s is gone\n", text_safe(name));
	return r == 0 && c->json ? cli_print_json(doc, reterr_fail) : r;
}
