// SPDX-License-Identifier: BSD-2-Clause
#include "cli/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "cli/client.h"
#include "cli/context.h"
#include "cli/inspect.h"
#include "cli/roll.h"
#include "cli/sign.h"
#include "cli/spread.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/hook.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/bytes.h"
#include "store/fleet.h"

#define PAGE	    "1000"
#define PEM_PRIVATE "PRIVATE KEY-----"
#define NOTE_BYTES  800 /* of a host, for people */

int remote_call(struct cli *c, const char *method, const char *path, json_t *body_or_null,
		json_t **ret_doc, struct fail *reterr_fail)
{
	AUTO_FREE char *text =
		body_or_null ? json_dumps(body_or_null, JSON_COMPACT | JSON_ENSURE_ASCII)
			     : NULL;
	struct client_call call = {.method = method,
				   .path = path,
				   .body = text,
				   .body_len = text ? strlen(text) : 0};

	if (body_or_null && !text)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	return client_call(c, &call, ret_doc, reterr_fail);
}

/* One resource that is an array: as it is with -j, else a line each. */
struct list {
	const char *path, *key;
	const struct text_column *columns;
	size_t n_columns;
	void (*line)(struct text_table *t, const json_t *one);
	const char *none; /* said of an empty one; or NULL */
};

static int show_list(struct cli *c, const struct list *l, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	struct text_table *t;
	const json_t *one;
	size_t i;
	int r = client_get(c, &doc, reterr_fail, "%s", l->path);

	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	t = text_table_new(l->columns, l->n_columns, c->color);
	json_array_foreach(json_object_get(doc, l->key), i, one)
		l->line(t, one);
	if (l->none && !text_table_lines(t))
		cli_note(c, "%s", l->none);
	text_table_print(t);
	return 0;
}

static json_t *reason_of(const struct args *a)
{
	const char *reason = args_value(a, "--reason");

	return json_string(reason ? reason : "");
}

/* ---- hosts ------------------------------------------------------------------------------- */

static char *escaped(const char *s)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	char *out = malloc(3 * strlen(s) + 1), *p = out;

	for (; out && *s; s++) {
		if (strchr(good, *s))
			*p++ = *s;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*s);
	}
	if (out)
		*p = 0;
	return out;
}

int remote_hosts(struct cli *c, const char *selector_or_null, json_t **ret_hosts,
		 struct fail *reterr_fail)
{
	AUTO_FREE char *query = escaped(selector_or_null ? selector_or_null : "");
	AUTO_JSON json_t *hosts = json_array();
	char after[65] = "";

	if (!query || !hosts)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	do {
		AUTO_JSON json_t *doc = NULL;
		AUTO_FREE char *path = NULL;
		int r;

		if (asprintf(&path, "/v1/hosts?limit=" PAGE "&after=%s%s%s", after,
			     query[0] ? "&selector=" : "", query) < 0)
			return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
		r = remote_call(c, "GET", path, NULL, &doc, reterr_fail);
		if (r < 0)
			return r;
		json_array_extend(hosts, json_object_get(doc, "hosts"));
		snprintf(after, sizeof(after), "%s", text_of(doc, "after"));
	} while (after[0]);
	*ret_hosts = take_ptr(hosts);
	return 0;
}

static int several_hosts(const char *word, const json_t *hosts, struct fail *f)
{
	fail_set(f, FAIL_CONFLICT, "%zu hosts are called %s", json_array_size(hosts), word);
	return fail_hint(f, "say which by its id: %.16s... or %.16s...",
			 text_of(json_array_get(hosts, 0), "id"),
			 text_of(json_array_get(hosts, 1), "id"));
}

int remote_find_host(struct cli *c, const char *word, char ret_id[65], struct fail *reterr_fail)
{
	size_t hex = strspn(word, "0123456789abcdef"), len = strlen(word), i;
	AUTO_JSON json_t *hosts = NULL, *fitting = json_array();
	AUTO_FREE char *selector = NULL;
	const json_t *h;
	int r = 0;

	if (hex == len && len == 64) {
		snprintf(ret_id, 65, "%s", word);
		return 0;
	}
	if (asprintf(&selector, "name=%s", word) < 0 || !fitting)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	if (!strpbrk(word, ",|="))
		r = remote_hosts(c, selector, &hosts, reterr_fail);
	if (r < 0)
		return r;
	if (json_array_size(hosts) == 0 && hex == len && len >= 4) {
		json_decref(hosts);
		hosts = NULL;
		r = remote_hosts(c, NULL, &hosts, reterr_fail);
		if (r < 0)
			return r;
		json_array_foreach(hosts, i, h)
			if (strncmp(text_of(h, "id"), word, len) == 0)
				json_array_append(fitting, (json_t *)(uintptr_t)h);
	} else {
		json_array_extend(fitting, hosts);
	}
	if (json_array_size(fitting) > 1)
		return several_hosts(word, fitting, reterr_fail);
	if (json_array_size(fitting) == 0) {
		fail_set(reterr_fail, FAIL_NOT_FOUND, "there is no host %s", word);
		return fail_hint(reterr_fail, "hotfixctl host list shows them");
	}
	snprintf(ret_id, 65, "%s", text_of(json_array_get(fitting, 0), "id"));
	return 0;
}

/* "my-fix@3 my-fix@4?": what is committed, and on trial; "my-fix@3 (off)": it does not run. */
static void describe_hotfixes(const json_t *host, char *out, size_t room)
{
	const char *name;
	json_t *v;
	size_t len = 0;

	out[0] = 0;
	json_object_foreach(json_object_get(host, "hotfixes"), name, v) {
		json_int_t committed = json_integer_value(json_object_get(v, "committed"));
		json_int_t trial = json_integer_value(json_object_get(v, "trial"));

		if (committed && len < room)
			len += (size_t)snprintf(
				out + len, room - len, "%s%s@%lld%s", len ? " " : "",
				text_safe(name), committed,
				json_integer_value(json_object_get(v, "live")) ? "" : " (off)");
		if (trial && len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%s@%lld?",
						len ? " " : "", text_safe(name), trial);
	}
}

static void add_note(char *out, size_t room, const char *note)
{
	size_t len = strlen(out);

	if (note[0] && len < room)
		snprintf(out + len, room - len, "%s%s", len ? "; " : "", note);
}

/* "held by ann since 2026-01-01 12:00: a ticket" */
static void describe_hold(const json_t *h, char *out, size_t room)
{
	const json_t *hold = json_object_get(h, "hold");
	const char *by = text_of(hold, "by"), *reason = text_of(hold, "reason");
	const char *since = text_time(json_string_value(json_object_get(hold, "since")));

	snprintf(out, room, "held%s%s%s%s%s%s", by[0] ? " by " : "", by,
		 since[0] ? " since " : "", since, reason[0] ? ": " : "", reason);
}

static void describe_host(const json_t *h, char *out, size_t room)
{
	json_int_t pin = json_integer_value(json_object_get(h, "max_serial"));
	const json_t *health = json_object_get(h, "health");
	char pinned[64] = "", held[400] = "";

	out[0] = 0;
	if (json_is_true(json_object_get(h, "held")))
		describe_hold(h, held, sizeof(held));
	if (pin)
		snprintf(pinned, sizeof(pinned), "pinned to serial %lld", pin);
	add_note(out, room, held);
	if (json_is_true(json_object_get(health, "hold")))
		add_note(out, room, "held by [fleet] hold there");
	if (json_is_true(json_object_get(health, "freeze")))
		add_note(out, room, "frozen by a file there");
	add_note(out, room, pinned);
	add_note(out, room, text_of(h, "unfit"));
	if (!json_integer_value(json_object_get(h, "report")))
		add_note(out, room, "has not reported");
	if (json_integer_value(json_object_get(health, "labels_left_out"))) {
		snprintf(pinned, sizeof(pinned), "labels of its own that cannot be: %s",
			 text_of(health, "labels_left_out"));
		add_note(out, room, pinned);
	}
	add_note(out, room, text_of(h, "problem"));
}

int remote_run_host_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"HOST", 0}, {"ID", 0},	       {"KERNEL", 0},	   {"ZONE", 0},
		{"SEEN", 0}, {"HOT-FIXES", 0}, {"NOTE", TEXT_WRAP}};
	AUTO_JSON json_t *all = NULL, *hosts = NULL, *doc = NULL;
	struct text_table *t;
	const json_t *h;
	size_t i;
	int r = remote_hosts(c, args_value(a, "--selector"), &all, reterr_fail);

	if (r == 0)
		r = spread_filter(all, args_value(a, "--runs"), args_value(a, "--lacks"),
				  &hosts, reterr_fail);
	if (r < 0)
		return r;
	if (c->json) {
		doc = json_pack("{s:O}", "hosts", hosts);
		return cli_print_json(doc, reterr_fail);
	}
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(hosts, i, h) {
		char kernel[200], note[NOTE_BYTES], hotfixes[300];

		snprintf(kernel, sizeof(kernel), "%s%s%s", text_of(h, "kernel"),
			 text_of(h, "arch")[0] ? " " : "", text_of(h, "arch"));
		describe_hotfixes(h, hotfixes, sizeof(hotfixes));
		describe_host(h, note, sizeof(note));
		text_table_line(t, text_of(h, "name"), text_short(text_of(h, "id")), kernel,
				text_of(json_object_get(h, "labels"), "zone"),
				text_seconds((uint64_t)json_integer_value(
					json_object_get(h, "silent_ms"))),
				hotfixes, note);
	}
	text_table_print(t);
	if (json_array_size(all) == 0)
		cli_note(c, "no hosts; hotfixctl enroll token lets one in");
	return 0;
}

static void field(const char *name, const char *value)
{
	if (value && value[0])
		printf("%-12s %s\n", name, value);
}

static void print_host(const json_t *h)
{
	static const char *const keys[] = {"committed", "trial", "live", "high_water"};
	const char *key;
	char note[NOTE_BYTES];
	json_t *v;

	describe_host(h, note, sizeof(note));
	field("host", text_of(h, "name"));
	field("id", text_of(h, "id"));
	field("note", note);
	field("kernel", text_of(h, "kernel"));
	field("arch", text_of(h, "arch"));
	field("enrolled", text_time(json_string_value(json_object_get(h, "enrolled"))));
	field("seen", text_time(json_string_value(json_object_get(h, "seen"))));
	json_object_foreach(json_object_get(h, "labels"), key, v) {
		bool set = json_object_get(json_object_get(h, "set_labels"), key);

		printf("%-12s %s=%s%s\n", "label", text_safe(key),
		       text_safe(json_string_value(v)), set ? " (set by operators)" : "");
	}
	json_object_foreach(json_object_get(h, "hotfixes"), key, v) {
		const char *before = "";

		printf("%-12s %s: ", "hot-fix", text_safe(key));
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (json_integer_value(json_object_get(v, keys[i]))) {
				printf("%s%s %s", before, keys[i], text_of(v, keys[i]));
				before = " ";
			}
		if (json_is_true(json_object_get(v, "held"))) {
			printf("%sheld or disabled there", before);
			before = " ";
		}
		if (text_of(v, "rollout")[0])
			printf("%s%s in %s", before[0] ? ", " : "", text_of(v, "state"),
			       text_of(v, "rollout"));
		if (text_of(v, "code")[0])
			printf(" (%s%s%s)", text_of(v, "code"),
			       text_of(v, "text")[0] ? ": " : "", text_of(v, "text"));
		putchar('\n');
	}
}

int remote_run_host_show(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	char id[65];
	int r = remote_find_host(c, args_at(a, 0), id, reterr_fail);

	if (r == 0)
		r = client_get(c, &doc, reterr_fail, "/v1/hosts/%s", id);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	print_host(doc);
	return 0;
}

/* Consumes change. */
static int change_host(struct cli *c, const struct args *a, json_t *change, struct fail *f)
{
	AUTO_JSON json_t *body = change, *doc = NULL;
	char id[65], path[96];
	int r = remote_find_host(c, args_at(a, 0), id, f);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/v1/hosts/%s", id);
	json_object_set_new(body, "reason", reason_of(a));
	r = remote_call(c, "PATCH", path, body, &doc, f);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, f);
	print_host(doc);
	return 0;
}

int remote_parse_labels(const char *const *words, size_t n, bool may_drop, json_t **ret_labels,
			struct fail *reterr_fail)
{
	AUTO_JSON json_t *labels = json_object();

	if (!labels)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const char *is = strchr(words[i], '=');
		AUTO_FREE char *key = NULL;

		if (!is || is == words[i] || (!is[1] && !may_drop)) {
			fail_set(reterr_fail, FAIL_USAGE, "\"%s\" is not NAME=VALUE", words[i]);
			return may_drop ? fail_hint(reterr_fail,
						    "NAME= without a value takes a label off")
					: -EINVAL;
		}
		key = strndup(words[i], (size_t)(is - words[i]));
		if (!key || json_object_set_new(labels, key,
						is[1] ? json_string(is + 1) : json_null()) < 0)
			return fail_set(reterr_fail, FAIL_USAGE, "\"%s\" is not UTF-8",
					words[i]);
	}
	*ret_labels = take_ptr(labels);
	return 0;
}

int remote_run_host_label(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *words[ARGS_MAX];
	size_t n = args_count(a) - 1;
	json_t *labels;
	int r;

	for (size_t i = 0; i < n; i++)
		words[i] = args_at(a, i + 1);
	r = remote_parse_labels(words, n, true, &labels, reterr_fail);
	return r < 0 ? r : change_host(c, a, json_pack("{s:o}", "labels", labels), reterr_fail);
}

int remote_run_host_hold(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return change_host(c, a, json_pack("{s:b}", "held", 1), reterr_fail);
}

int remote_run_host_unhold(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return change_host(c, a, json_pack("{s:b}", "held", 0), reterr_fail);
}

int remote_run_host_pin(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	uint64_t serial = 0;
	int r = 0;

	if (args_given(a, "--none") == (args_count(a) == 2)) {
		fail_set(reterr_fail, FAIL_USAGE, "host pin needs HOST SERIAL, or HOST --none");
		return -EINVAL;
	}
	if (args_count(a) == 2)
		r = cli_parse_u64("SERIAL", args_at(a, 1), 1, INT64_MAX, &serial, reterr_fail);
	return r < 0 ? r
		     : change_host(c, a, json_pack("{s:I}", "max_serial", (json_int_t)serial),
				   reterr_fail);
}

/* What was asked for is done: says so, or with -j the answer. */
static int done(struct cli *c, const json_t *doc, struct fail *f, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int done(struct cli *c, const json_t *doc, struct fail *f, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (c->json)
		return cli_print_json(doc, f);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	printf("%s\n", text_safe(text));
	return 0;
}

int remote_run_host_forget(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	char id[65], path[96];
	int r = remote_find_host(c, args_at(a, 0), id, reterr_fail);

	snprintf(path, sizeof(path), "/v1/hosts/%s", id);
	if (r == 0)
		r = remote_call(c, "DELETE", path, NULL, &doc, reterr_fail);
	return r < 0 ? r
		     : done(c, doc, reterr_fail,
			    "%s is forgotten, its certificates are revoked; what runs there stays",
			    args_at(a, 0));
}

/* ---- tokens ------------------------------------------------------------------------------ */

static int duration_s(const struct args *a, const char *option, json_t *body, const char *key,
		      struct fail *f)
{
	const char *text = args_value(a, option);
	uint64_t ms;

	if (!text)
		return 0;
	if (clock_parse_duration(text, &ms) < 0 || ms < 1000)
		return fail_set(f, FAIL_USAGE,
				"%s: \"%s\" is not a duration such as 90s, 2h, 7d", option,
				text);
	json_object_set_new(body, key, json_integer((json_int_t)(ms / 1000)));
	return 0;
}

int remote_run_token(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = json_object(), *doc = NULL;
	const char *words[ARGS_MAX];
	size_t n = args_list(a, "--label", words);
	json_t *labels;
	int r = duration_s(a, "--ttl", body, "ttl_s", reterr_fail);

	if (r == 0)
		r = remote_parse_labels(words, n, false, &labels, reterr_fail);
	if (r < 0)
		return r;
	json_object_set_new(body, "labels", labels);
	r = remote_call(c, "POST", "/v1/tokens", body, &doc, reterr_fail);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	printf("%s\n", text_of(doc, "token"));
	cli_note(c, "good for one host until %s; it is not shown again",
		 text_time(json_string_value(json_object_get(doc, "expires"))));
	return 0;
}

static void token_line(struct text_table *t, const json_t *v)
{
	AUTO_FREE char *labels = json_dumps(json_object_get(v, "labels"), JSON_COMPACT);
	const char *by = text_of(v, "used_by");
	char state[100];

	snprintf(state, sizeof(state), by[0] ? "used by %s" : "%s",
		 by[0]					       ? text_short(by)
		 : json_is_true(json_object_get(v, "expired")) ? "expired"
							       : "open");
	text_table_line(t, text_of(v, "hash"), state, text_of(v, "by"),
			text_time(json_string_value(json_object_get(v, "expires"))),
			labels && strcmp(labels, "{}") != 0 ? text_safe(labels) : "");
}

int remote_run_tokens(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"TOKEN", 0}, {"STATE", 0}, {"BY", 0}, {"UNTIL", 0}, {"LABELS", TEXT_WRAP}};
	static const struct list tokens = {.path = "/v1/tokens",
					   .key = "tokens",
					   .columns = columns,
					   .n_columns = ARRAY_SIZE(columns),
					   .line = token_line};

	(void)a;
	return show_list(c, &tokens, reterr_fail);
}

int remote_run_drop_token(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	const char *hash = args_at(a, 0);
	uint8_t bytes[BYTES_SHA256];
	char path[96];
	int r;

	if (bytes_from_hex(hash, bytes, sizeof(bytes)) < 0) {
		fail_set(reterr_fail, FAIL_USAGE, "\"%s\" is not the hash of a token", hash);
		return fail_hint(reterr_fail, "hotfixctl enroll tokens shows them");
	}
	snprintf(path, sizeof(path), "/v1/tokens/%s", hash);
	r = remote_call(c, "DELETE", path, NULL, &doc, reterr_fail);
	return r < 0 ? r : done(c, doc, reterr_fail, "nobody can use it any more");
}

/* ---- freezes and the line ---------------------------------------------------------------- */

static void print_guards(const struct cli *c, const json_t *doc)
{
	static const struct text_column columns[] = {{"FREEZE", 0}, {"FROM", 0},
						     {"UNTIL", 0},  {"HOLDS", 0},
						     {"BY", 0},	    {"REASON", TEXT_WRAP}};
	const json_t *stop = json_object_get(doc, "stop_the_line"), *v;
	struct text_table *t;
	size_t i;

	if (json_is_object(stop))
		printf("%sthe line is stopped%s since %s by %s: %s\n",
		       text_color(c->color, "red"), text_color(c->color, "reset"),
		       text_time(json_string_value(json_object_get(stop, "at"))),
		       text_of(stop, "by"), text_of(stop, "reason"));
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(json_object_get(doc, "freezes"), i, v) {
		const json_t *scope = json_object_get(v, "scope");
		AUTO_FREE char *text = json_dumps(scope, JSON_COMPACT);

		text_table_line(t, text_of(v, "name"),
				text_time(json_string_value(json_object_get(v, "from"))),
				text_time(json_string_value(json_object_get(v, "until"))),
				json_object_size(scope) ? text_safe(text) : "everything",
				text_of(v, "by"), text_of(v, "reason"));
	}
	if (!text_table_lines(t) && !json_is_object(stop))
		printf("nothing is held\n");
	if (text_table_lines(t))
		text_table_print(t);
	else
		text_table_drop(t);
}

int remote_run_freeze_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	int r = client_get(c, &doc, reterr_fail, "/v1/freezes");

	(void)a;
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	print_guards(c, doc);
	return 0;
}

static int need_reason(const struct args *a, struct fail *f)
{
	const char *reason = args_value(a, "--reason");

	return reason && reason[0] ? 0
				   : fail_set(f, FAIL_USAGE,
					      "--reason TEXT is needed: others will ask why");
}

/* A timestamp, or a duration from now on. */
static int take_time(const struct args *a, const char *option, json_t *body, const char *key,
		     struct fail *f)
{
	const char *text = args_value(a, option);
	char stamp[CLOCK_TIMESTAMP_BYTES];
	uint64_t ms;

	if (!text)
		return 0;
	if (clock_parse_duration(text, &ms) == 0)
		ms += clock_real_ms();
	else if (clock_parse_timestamp(text, &ms) < 0)
		return fail_set(f, FAIL_USAGE,
				"%s: \"%s\" is neither a time (2027-05-04T10:00:00Z) nor how "
				"long from now (2h)",
				option, text);
	json_object_set_new(body, key, json_string(clock_format_timestamp(ms, stamp)));
	return 0;
}

int remote_run_freeze_add(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = json_object(), *doc = NULL;
	const char *name = args_at(a, 0), *hotfix = args_value(a, "--hotfix");
	const char *words[ARGS_MAX];
	size_t n = args_list(a, "--target", words);
	json_t *scope = json_object(), *target = NULL;
	char path[96];
	int r = need_reason(a, reterr_fail);

	json_object_set_new(body, "scope", scope);
	if (r == 0 && !hook_name_valid(name))
		r = fail_set(reterr_fail, FAIL_USAGE, "\"%s\" cannot be the name of a freeze",
			     name);
	if (r == 0)
		r = take_time(a, "--from", body, "from", reterr_fail);
	if (r == 0)
		r = take_time(a, "--until", body, "until", reterr_fail);
	if (r == 0)
		r = remote_parse_labels(words, n, false, &target, reterr_fail);
	if (r < 0)
		return r;
	if (hotfix)
		json_object_set_new(scope, "hotfix", json_string(hotfix));
	if (n)
		json_object_set_new(scope, "target", target);
	else
		json_decref(target);
	json_object_set_new(body, "reason", reason_of(a));
	snprintf(path, sizeof(path), "/v1/freezes/%s", name);
	r = remote_call(c, "PUT", path, body, &doc, reterr_fail);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	print_guards(c, doc);
	return 0;
}

int remote_run_freeze_remove(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	char path[96];
	int r;

	if (!hook_name_valid(args_at(a, 0)))
		return fail_set(reterr_fail, FAIL_USAGE,
				"\"%s\" cannot be the name of a freeze", args_at(a, 0));
	snprintf(path, sizeof(path), "/v1/freezes/%s", args_at(a, 0));
	r = remote_call(c, "DELETE", path, NULL, &doc, reterr_fail);
	return r < 0 ? r : done(c, doc, reterr_fail, "%s is lifted", args_at(a, 0));
}

int remote_run_line(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	bool clear = args_given(a, "--clear");
	AUTO_JSON json_t *body = NULL, *doc = NULL;
	int r = clear ? 0 : need_reason(a, reterr_fail);

	if (r == 0 && !clear)
		body = json_pack("{s:o}", "reason", reason_of(a));
	if (r == 0)
		r = remote_call(c, clear ? "DELETE" : "PUT", "/v1/line", body, &doc,
				reterr_fail);
	return r < 0 ? r
		     : done(c, doc, reterr_fail,
			    clear ? "the line runs; rollouts that waited for it go on"
				  : "the line is stopped: every rollout pauses. Rollbacks go on. "
				    "hotfixctl stop-the-line --clear ends it");
}

/* ---- stock ------------------------------------------------------------------------------- */

static void bundle_line(struct text_table *t, const json_t *b)
{
	text_table_line(t, text_of(b, "name"), text_of(b, "serial"),
			text_bytes((uint64_t)json_integer_value(json_object_get(b, "bytes"))),
			text_time(json_string_value(json_object_get(b, "imported"))),
			text_of(b, "by"), text_of(b, "digest"));
}

int remote_run_stock_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {{"HOT-FIX", 0},
						     {"SERIAL", TEXT_RIGHT},
						     {"SIZE", TEXT_RIGHT},
						     {"IN STOCK SINCE", 0},
						     {"BY", 0},
						     {"DIGEST", 0}};
	static const struct list bundles = {
		.path = "/v1/bundles",
		.key = "bundles",
		.columns = columns,
		.n_columns = ARRAY_SIZE(columns),
		.line = bundle_line,
		.none = "no bundle is in stock; hotfixctl stock add FILE brings one"};

	(void)a;
	return show_list(c, &bundles, reterr_fail);
}

/* NAME@SERIAL, with as many signatures as were handed in; or a digest. */
static int find_bundles(struct cli *c, const char *word, json_t **ret_digests, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL, *digests = json_array();
	uint8_t bytes[BYTES_SHA256];
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial = 0;
	const json_t *b;
	size_t i;
	int r;

	if (bytes_from_hex(word, bytes, sizeof(bytes)) == 0) {
		*ret_digests = json_pack("[s]", word);
		return 0;
	}
	r = cli_parse_version(word, name, &serial, f);
	if (r == 0 && !serial)
		r = fail_set(f, FAIL_USAGE, "which one? NAME@SERIAL, or a digest");
	if (r == 0)
		r = client_get(c, &doc, f, "/v1/bundles");
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(doc, "bundles"), i, b)
		if (strcmp(text_of(b, "name"), name) == 0 &&
		    (uint64_t)json_integer_value(json_object_get(b, "serial")) == serial)
			json_array_append(digests, json_object_get(b, "digest"));
	if (json_array_size(digests) == 0)
		return fail_set(f, FAIL_NOT_FOUND, "no bundle of %s is in stock", word);
	*ret_digests = take_ptr(digests);
	return 0;
}

int remote_run_stock_drop(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *digests = NULL, *all = json_array(), *doc = NULL;
	const json_t *v;
	size_t i;
	int r = find_bundles(c, args_at(a, 0), &digests, reterr_fail);

	json_array_foreach(digests, i, v) {
		AUTO_JSON json_t *answer = NULL;
		char path[96];

		snprintf(path, sizeof(path), "/v1/bundles/%.64s", json_string_value(v));
		r = remote_call(c, "DELETE", path, NULL, &answer, reterr_fail);
		if (r < 0)
			return r;
		json_array_append(all, json_object_get(answer, "dropped"));
	}
	doc = json_pack("{s:O}", "dropped", all);
	return r < 0 ? r
		     : done(c, doc, reterr_fail,
			    "%s is not handed out any more; hosts that "
			    "have it keep it",
			    args_at(a, 0));
}

/* ---- operators --------------------------------------------------------------------------- */

static int take_file(const struct args *a, const char *option, json_t *body, const char *key,
		     struct fail *f)
{
	const char *path = args_value(a, option);
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r;

	if (!path)
		return 0;
	r = io_read_file(path, 16384, &buf, &len);
	if (r < 0)
		return fail_set(f, r == -ENOENT ? FAIL_NOT_FOUND : FAIL_BAD_FORMAT, "%s: %s",
				path, strerror(-r));
	r = inspect_refuse_secret(path, buf, len, f);
	if (r < 0)
		return r;
	if (memmem(buf, len, PEM_PRIVATE, strlen(PEM_PRIVATE))) {
		explicit_bzero(buf, len);
		return fail_set(f, FAIL_BAD_FORMAT,
				"%s: this is a private key, and goes nowhere", path);
	}
	return json_object_set_new(body, key, json_string((char *)buf)) < 0
		       ? fail_set(f, FAIL_BAD_FORMAT, "%s: is no PEM text", path)
		       : 0;
}

int remote_run_operator_add(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = json_object(), *doc = NULL;
	const char *name = args_at(a, 0), *role = args_value(a, "--role");
	const char *out = args_value(a, "--out"), *secret;
	int r = 0;

	json_object_set_new(body, "name", json_string(name));
	json_object_set_new(body, "role", json_string(role));
	r = duration_s(a, "--valid", body, "valid_s", reterr_fail);
	/* Before there is a token: it is shown once. */
	if (r == 0 && out)
		r = sign_check_output(out, NULL, reterr_fail);
	if (r == 0)
		r = take_file(a, "--request", body, "request", reterr_fail);
	if (r == 0)
		r = take_file(a, "--certificate", body, "certificate", reterr_fail);
	if (r == 0)
		r = remote_call(c, "POST", "/v1/operators", body, &doc, reterr_fail);
	if (r < 0)
		return r;
	secret = json_string_value(json_object_get(doc, "token"));
	if (!secret)
		secret = json_string_value(json_object_get(doc, "certificate"));
	if (out && secret) {
		r = io_write_file(out, secret, strlen(secret), 0600);
		if (r < 0) {
			fail_set(reterr_fail, FAIL_INTERNAL, "%s: %s", out, strerror(-r));
			return fail_hint(reterr_fail,
					 "nobody has what was made: hotfixctl operator revoke "
					 "%s, and again",
					 name);
		}
	}
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	if (!out)
		printf("%s%s", secret ? secret : "",
		       secret && strncmp(secret, "hfo1.", 5) == 0 ? "\n" : "");
	cli_note(c, "%s is %s%s%s", text_safe(name), text_of(doc, "role"),
		 text_of(doc, "expires")[0] ? " until " : "",
		 text_time(json_string_value(json_object_get(doc, "expires"))));
	return 0;
}

static void operator_line(struct text_table *t, const json_t *o)
{
	text_table_line(t, text_of(o, "name"), text_of(o, "role"), text_of(o, "good"),
			text_time(json_string_value(json_object_get(o, "created"))),
			text_time(json_string_value(json_object_get(o, "expires"))),
			text_time(json_string_value(json_object_get(o, "revoked"))),
			text_short(text_of(o, "credential")));
}

int remote_run_operator_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"OPERATOR", 0}, {"ROLE", 0},	 {"GOOD", TEXT_COLORED}, {"SINCE", 0},
		{"UNTIL", 0},	 {"REVOKED", 0}, {"CREDENTIAL", 0}};
	static const struct list operators = {.path = "/v1/operators",
					      .key = "operators",
					      .columns = columns,
					      .n_columns = ARRAY_SIZE(columns),
					      .line = operator_line};

	(void)a;
	return show_list(c, &operators, reterr_fail);
}

int remote_run_operator_revoke(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_FREE char *name = escaped(args_at(a, 0)), *path = NULL;
	AUTO_JSON json_t *doc = NULL;
	int r;

	if (!name || asprintf(&path, "/v1/operators/%s", name) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = remote_call(c, "DELETE", path, NULL, &doc, reterr_fail);
	return r < 0 ? r
		     : done(c, doc, reterr_fail, "%s may not come in any more", args_at(a, 0));
}

/* ---- status ------------------------------------------------------------------------------ */

static void print_database(const struct cli *c, const json_t *database)
{
	bool fails = text_of(database, "why")[0];

	printf("%sdatabase %s: %s%s", fails ? text_color(c->color, "red") : "",
	       text_of(database, "engine"), text_of(database, "state"),
	       fails ? text_color(c->color, "reset") : "");
	if (fails)
		printf(" since %s: %s. %s",
		       text_time(json_string_value(json_object_get(database, "since"))),
		       text_of(database, "why"), text_of(database, "hint"));
	putchar('\n');
}

static void print_rollouts(const json_t *rollouts)
{
	const json_t *v;
	size_t i;

	if (!json_array_size(rollouts))
		printf("no rollout is under way\n");
	json_array_foreach(rollouts, i, v) {
		char state[200];

		roll_describe_state(v, state, sizeof(state));
		printf("rollout %s: %s@%s, %s\n", text_of(v, "id"), text_of(v, "name"),
		       text_of(v, "serial"), state);
	}
}

int remote_status(struct cli *c, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL, *active = NULL;
	const json_t *controller, *database, *you;
	int r = client_get(c, &doc, reterr_fail, "/v1/status");

	if (r == 0)
		r = client_get(c, &active, reterr_fail, "/v1/rollouts?active=1&limit=1000");
	if (r < 0)
		return r;
	json_object_set(doc, "rollouts", json_object_get(active, "rollouts"));
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	controller = json_object_get(doc, "controller");
	database = json_object_get(doc, "database");
	you = json_object_get(doc, "you");
	printf("controller %s, hotfix-controller %s, since %s\n", text_of(controller, "name"),
	       text_of(controller, "version"),
	       text_time(json_string_value(json_object_get(controller, "started"))));
	print_database(c, database);
	printf("you are %s, %s\n", text_of(you, "name"), text_of(you, "role"));
	if (json_is_null(json_object_get(doc, "root")))
		printf("no root of trust yet: hotfixctl trust import ROOT\n");
	else
		printf("root of trust: version %s\n", text_of(doc, "root"));
	print_rollouts(json_object_get(doc, "rollouts"));
	print_guards(c, doc);
	return 0;
}

/* ---- migration --------------------------------------------------------------------------- */

static int open_database(const char *where, struct fleet **ret_fleet, struct fail *f)
{
	struct fail why = {0};
	int r = fleet_open(where, 600000, 900000, ret_fleet, &why);

	if (r < 0)
		fail_set(f, why.code, "%s: %s", db_names_server(where) ? "the server" : where,
			 why.message);
	return r;
}

int remote_run_migrate(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *from = args_value(a, "--from"), *to = args_value(a, "--to");
	AUTO(fleet_freep) struct fleet *source = NULL, *target = NULL;
	AUTO_JSON json_t *doc = NULL;
	uint8_t digest[2][BYTES_SHA256];
	char hex[BYTES_SHA256_HEX];
	uint64_t rows;
	int r;

	if (strcmp(from, to) == 0)
		return fail_set(reterr_fail, FAIL_USAGE, "--from and --to are the same");
	/* It would be made, empty, and then be what was migrated. */
	if (!db_names_server(from) && access(from, R_OK) < 0)
		return fail_set(reterr_fail, errno == EACCES ? FAIL_PERMISSION : FAIL_NOT_FOUND,
				"%s: %s", from, strerror(errno));
	r = open_database(from, &source, reterr_fail);
	if (r == 0)
		r = open_database(to, &target, reterr_fail);
	if (r == 0) {
		cli_note(c, "copying; no controller may run on either meanwhile");
		r = fleet_migrate(source, target, &rows, reterr_fail);
	}
	if (r == -EEXIST)
		fail_hint(reterr_fail, "the database to migrate to must be an empty one");
	if (r == 0)
		r = fleet_digest(source, digest[0], reterr_fail);
	if (r == 0)
		r = fleet_digest(target, digest[1], reterr_fail);
	if (r < 0)
		return r;
	if (memcmp(digest[0], digest[1], BYTES_SHA256) != 0)
		return fail_set(
			reterr_fail, FAIL_STORAGE,
			"the copy is not what it was copied from: somebody wrote to one "
			"of them meanwhile");
	bytes_to_hex(digest[0], BYTES_SHA256, hex);
	doc = json_pack("{s:I, s:s}", "rows", (json_int_t)rows, "sha256", hex);
	return done(c, doc, reterr_fail,
		    "copied %s; both have the digest %s. Start the controllers "
		    "on the new one, and keep the old one away from them",
		    text_n(rows, "row"), hex);
}
