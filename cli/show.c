// SPDX-License-Identifier: BSD-2-Clause
#include "cli/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "bpf/doctor.h"
#include "cli/change.h"
#include "cli/client.h"
#include "cli/context.h"
#include "cli/remote.h"
#include "cli/inspect.h"
#include "cli/sign.h"
#include "cli/spread.h"
#include "cli/text.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/hook.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "store/bytes.h"
#include "store/checkpoint.h"

#define BPFFS_DEFAULT "/sys/fs/bpf/hotfix"

static const char *text_serial(const json_t *doc, const char *key)
{
	const json_t *v = json_object_get(doc, key);

	return json_is_integer(v) ? text_u64((uint64_t)json_integer_value(v)) : "-";
}

static void field(const char *name, const char *value)
{
	if (value && value[0])
		printf("%-12s %s\n", name, value);
}

/* The optional NAME of a command as "?name=NAME"; "" without. */
static int name_query(const struct args *a, const char *before, char *ret_query, size_t len,
		      struct fail *f)
{
	const char *name = args_at(a, 0);
	char checked[HOOK_NAME_MAX + 1];
	uint64_t serial;
	int r;

	ret_query[0] = 0;
	if (!name)
		return 0;
	r = cli_parse_version(name, checked, &serial, f);
	if (r == 0 && serial)
		r = fail_set(f, FAIL_USAGE, "a NAME is expected here, without @SERIAL");
	if (r == 0)
		snprintf(ret_query, len, "%sname=%s", before, checked);
	return r;
}

/* --- status --------------------------------------------------------------------------- */

static uint64_t sum_calls(const json_t *hotfix)
{
	const json_t *hook;
	uint64_t calls = 0;
	size_t i;

	json_array_foreach(json_object_get(hotfix, "hooks"), i, hook)
		calls += (uint64_t)json_integer_value(json_object_get(hook, "calls"));
	return calls;
}

/* One hook as "lsm/socket_bind", several as "lsm/socket_bind +2". */
static void describe_hooks(const json_t *hotfix, char *ret_line, size_t len)
{
	const json_t *hooks = json_object_get(hotfix, "hooks");
	size_t n = json_array_size(hooks);

	if (n == 0)
		snprintf(ret_line, len, "-");
	else if (n == 1)
		snprintf(ret_line, len, "%s", text_hook(json_array_get(hooks, 0)));
	else
		snprintf(ret_line, len, "%s +%zu", text_hook(json_array_get(hooks, 0)), n - 1);
}

/* What a person wants to know next: time left of a trial, why it is not live, what waits. */
static void describe_note(const json_t *hotfix, char *ret_note, size_t len)
{
	const char *state = text_of(hotfix, "state"), *reason = text_of(hotfix, "reason");
	const json_t *left = json_object_get(hotfix, "trial_left_ms");
	uint64_t newest =
		(uint64_t)json_integer_value(json_object_get(hotfix, "newest_serial"));
	uint64_t live = (uint64_t)json_integer_value(json_object_get(hotfix, "live_serial"));
	char first[256] = "";

	if (strcmp(state, "trial") == 0 && left)
		snprintf(first, sizeof(first), "%s of %s left, then it commits",
			 text_seconds((uint64_t)json_integer_value(left)),
			 text_seconds((uint64_t)json_integer_value(
				 json_object_get(hotfix, "trial_ms"))));
	else if (strcmp(state, "stored") == 0 && !reason[0])
		snprintf(first, sizeof(first), "hotfixctl apply %s", text_of(hotfix, "name"));
	else if (live && newest > live)
		snprintf(first, sizeof(first), "serial %" PRIu64 " is stored", newest);
	snprintf(ret_note, len, "%s%s%s", first, first[0] && reason[0] ? "; " : "", reason);
}

static void print_summary(const json_t *hotfixes)
{
	static const char *const order[][2] = {
		{"live", "live"},	  {"trial", "on trial"},
		{"failed", "failed"},	  {"quarantined", "quarantined"},
		{"disabled", "disabled"}, {"retired", "retired"},
		{"stored", "stored only"}};
	const char *separator = "";
	const json_t *h;
	size_t i;

	if (json_array_size(hotfixes) == 0) {
		printf("no hot-fix is stored; hotfixctl import FILE stores one\n");
		return;
	}
	for (size_t s = 0; s < ARRAY_SIZE(order); s++) {
		size_t n = 0;

		json_array_foreach(hotfixes, i, h)
			n += strcmp(text_of(h, "state"), order[s][0]) == 0;
		if (n)
			printf("%s%zu %s", separator, n, order[s][1]);
		separator = n ? ", " : separator;
	}
	putchar('\n');
}

/* Of a member only; and what it cannot do for the moment. */
static void print_fleet(const json_t *fleet)
{
	const char *state = text_of(fleet, "state"), *why = text_of(fleet, "why");
	const char *reached = text_of(fleet, "reached");
	bool connected = strcmp(state, "connected") == 0;
	uint64_t since_ms;

	if (!state[0])
		return;
	printf("fleet: %s", state);
	if (strcmp(state, "off") != 0)
		printf(", controller %s", text_of(fleet, "controller")[0]
						  ? text_of(fleet, "controller")
						  : "not known");
	if (!connected && reached[0] && clock_parse_timestamp(reached, &since_ms) == 0 &&
	    clock_real_ms() >= since_ms)
		printf(", last reached %s ago", text_seconds(clock_real_ms() - since_ms));
	if (!connected && why[0])
		printf(": %s", why);
	if (json_is_true(json_object_get(fleet, "frozen")))
		printf("; frozen here");
	if (text_of(fleet, "hold")[0])
		printf("; holds %s", text_of(fleet, "hold"));
	putchar('\n');
}

static void print_daemon(const json_t *doc)
{
	const json_t *d = json_object_get(doc, "daemon"), *k = json_object_get(doc, "kernel");
	const char *kill_switch = text_of(d, "kill_switch"), *lsm = text_of(k, "lsm");
	uint64_t started_ms;

	printf("hotfixd %s", text_of(d, "version"));
	if (clock_parse_timestamp(text_of(d, "started"), &started_ms) == 0 &&
	    clock_real_ms() >= started_ms)
		printf(", up %s", text_seconds(clock_real_ms() - started_ms));
	printf("; kernel %s, %s BTF%s%s\n", text_of(k, "release"),
	       json_is_true(json_object_get(k, "btf")) ? "with" : "without",
	       lsm[0] ? ", lsm " : "", lsm);
	if (kill_switch[0] && strcmp(kill_switch, "normal") != 0)
		printf(strcmp(kill_switch, "held") == 0
			       ? "held: this host went down twice within an hour, nothing is "
				 "applied until: hotfixctl resume\n"
			       : "kill switch %s: nothing is applied in this boot (kernel command "
				 "line hotfix=, or the file no-apply)\n",
		       kill_switch);
	if (text_of(doc, "trust_warning")[0])
		printf("warning: %s\n", text_of(doc, "trust_warning"));
	print_fleet(json_object_get(doc, "fleet"));
}

int show_run_status(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"HOT-FIX", 0},	      {"STATE", TEXT_COLORED},
		{"LIVE", TEXT_RIGHT}, {"COMMITTED", TEXT_RIGHT},
		{"HOOKS", 0},	      {"CALLS", TEXT_RIGHT},
		{"NOTE", TEXT_WRAP}};
	AUTO_JSON json_t *doc = NULL;
	const json_t *hotfixes, *h;
	struct text_table *t;
	size_t i;
	int r;

	(void)a;
	if (c->context)
		return remote_status(c, reterr_fail);
	r = client_get(c, &doc, reterr_fail, "/v1/status");
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	hotfixes = json_object_get(doc, "hotfixes");
	print_daemon(doc);
	print_summary(hotfixes);
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(hotfixes, i, h) {
		char hooks[300], note[1200];

		describe_hooks(h, hooks, sizeof(hooks));
		describe_note(h, note, sizeof(note));
		text_table_line(t, text_of(h, "name"), text_of(h, "state"),
				text_serial(h, "live_serial"),
				text_serial(h, "committed_serial"), hooks,
				text_count(sum_calls(h)), note);
	}
	if (text_table_lines(t))
		putchar('\n');
	text_table_print(t);
	return 0;
}

/* --- list and show -------------------------------------------------------------------- */

static void print_versions(const struct cli *c, const json_t *versions)
{
	static const struct text_column columns[] = {{"HOT-FIX", 0},
						     {"SERIAL", TEXT_RIGHT},
						     {"LABEL", 0},
						     {"STATE", TEXT_COLORED},
						     {"SIZE", TEXT_RIGHT},
						     {"IMPORTED", 0},
						     {"BY", 0},
						     {"DIGEST", 0},
						     {"TITLE", TEXT_WRAP}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const json_t *v;
	size_t i;

	json_array_foreach(versions, i, v)
		text_table_line(t, text_of(v, "name"), text_of(v, "serial"),
				text_of(v, "label"), text_of(v, "state"),
				text_bytes((uint64_t)json_integer_value(
					json_object_get(v, "bundle_bytes"))),
				text_time(json_string_value(json_object_get(v, "imported"))),
				text_user(json_object_get(v, "imported_uid")),
				text_short(json_string_value(json_object_get(v, "digest"))),
				text_of(v, "reason")[0] ? text_of(v, "reason")
							: text_of(v, "title"));
	text_table_print(t);
}

int show_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	int r;

	(void)a;
	if (c->context)
		return spread_list(c, reterr_fail);
	r = client_get(c, &doc, reterr_fail, "/v1/hotfixes");
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	if (json_array_size(json_object_get(doc, "versions")) == 0)
		cli_note(c, "nothing is stored; hotfixctl import FILE");
	print_versions(c, json_object_get(doc, "versions"));
	return 0;
}

static void print_live_hooks(const struct cli *c, const json_t *hooks)
{
	static const struct text_column columns[] = {{"HOOK", 0},
						     {"KIND", 0},
						     {"CALLS", TEXT_RIGHT},
						     {"OF THE LIVE VERSION", TEXT_RIGHT},
						     {"WHILE OFF", TEXT_RIGHT}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const json_t *h;
	size_t i;

	json_array_foreach(hooks, i, h)
		text_table_line(t, text_hook(h), text_of(h, "kind"),
				text_number_or_dash(json_object_get(h, "calls")),
				text_number_or_dash(json_object_get(h, "calls_live")),
				text_number_or_dash(json_object_get(h, "calls_off")));
	if (text_table_lines(t))
		putchar('\n');
	text_table_print(t);
}

/* Before it is taken off: who would be without it. */
static void print_required_by(const json_t *names)
{
	const json_t *v;
	size_t i;

	json_array_foreach(names, i, v)
		field(i ? "" : "required by", text_safe(json_string_value(v)));
}

static void print_counters(const json_t *counters)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)counters, name, v)
		printf("%-12s %s\n", text_safe(name), text_number_or_dash(v));
}

static const char *number(const json_t *value)
{
	static char text[2][32];
	static unsigned int next;
	char *out = text[next++ % 2];

	if (!json_is_number(value))
		return "-";
	snprintf(out, sizeof(text[0]), "%.6g", json_number_value(value));
	return out;
}

/* What server/health.h found; without any, nothing. */
static void print_health(const struct cli *c, const json_t *findings)
{
	static const struct text_column columns[] = {
		{"CHECK", 0},	       {"VERDICT", TEXT_COLORED},
		{"VALUE", TEXT_RIGHT}, {"LIMIT", TEXT_RIGHT},
		{"SOURCE", 0},	       {"NOTE", TEXT_WRAP}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const json_t *f;
	size_t i;

	json_array_foreach(findings, i, f)
		text_table_line(t, text_of(f, "check"), text_of(f, "verdict"),
				number(json_object_get(f, "value")),
				number(json_object_get(f, "limit")), text_of(f, "source"),
				text_of(f, "note"));
	if (text_table_lines(t))
		putchar('\n');
	text_table_print(t);
}

/* Of the version that is live, or else of the newest. */
static void print_signers(const json_t *doc)
{
	const json_t *v;
	size_t i;

	json_array_foreach(json_object_get(doc, "signed_by"), i, v)
		printf("%-12s key %.16s, for serial %s\n", i ? "" : "signed by",
		       text_safe(json_string_value(v)),
		       text_of(json_object_get(doc, "manifest"), "serial"));
}

int show_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	char name[HOOK_NAME_MAX + 1], note[1200];
	const char *color, *state;
	const json_t *m;
	uint64_t serial;
	int r;

	r = cli_parse_version(args_at(a, 0), name, &serial, reterr_fail);
	if (r == 0 && serial)
		r = fail_set(reterr_fail, FAIL_USAGE, "show takes a NAME without @SERIAL");
	if (r == 0)
		r = client_get(c, &doc, reterr_fail, "/v1/hotfixes/%s", name);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	m = json_object_get(doc, "manifest");
	state = text_of(doc, "state");
	color = text_state_color(state);
	describe_note(doc, note, sizeof(note));
	field("name", text_of(doc, "name"));
	field("title", text_of(m, "title"));
	printf("%-12s %s%s%s\n", "state", text_color(c->color, color ? color : ""), state,
	       color ? text_color(c->color, "reset") : "");
	field("", note);
	field("live", text_serial(doc, "live_serial"));
	field("committed", text_serial(doc, "committed_serial"));
	field("trial", text_of(doc, "trial_serial"));
	field("severity", text_of(m, "severity"));
	field("impact", text_of(m, "impact"));
	field("mode", text_of(doc, "mode"));
	print_required_by(json_object_get(doc, "required_by"));
	print_signers(doc);
	print_counters(json_object_get(doc, "counters"));
	print_live_hooks(c, json_object_get(doc, "hooks"));
	print_health(c, json_object_get(doc, "health"));
	putchar('\n');
	print_versions(c, json_object_get(doc, "versions"));
	return 0;
}

/* --- history -------------------------------------------------------------------------- */

static void print_change(const struct cli *c, const json_t *change)
{
	AUTO_JSON json_t *evidence = json_copy(json_object_get(change, "evidence"));
	AUTO_JSON json_t *health = json_incref(json_object_get(evidence, "health"));
	const char *log = json_string_value(json_object_get(change, "log"));
	const char *outcome = text_of(change, "outcome");

	printf("%-12s %s\n", "change", text_of(change, "id"));
	printf("%-12s %s %s%s%s\n", "what", text_of(change, "verb"), text_of(change, "name"),
	       text_of(change, "serial")[0] ? "@" : "", text_of(change, "serial"));
	if (text_of(change, "from_serial")[0])
		field("live before", text_of(change, "from_serial"));
	field("by", text_user(json_object_get(change, "actor_uid")));
	field("started", text_of(change, "started"));
	field("finished", text_of(change, "finished"));
	field("outcome", outcome[0] ? outcome : "under way");
	field("code", text_of(change, "code"));
	field("detail", text_of(change, "detail"));
	field("warning", text_of(change, "warning"));
	field("boot", text_of(change, "boot_id"));
	if (evidence && !json_is_null(evidence)) {
		AUTO_FREE char *text = NULL;

		json_object_del(evidence, "health");
		json_object_del(evidence, "warning");
		text = json_dumps(evidence, JSON_COMPACT | JSON_ENSURE_ASCII);
		field("evidence", text);
	}
	print_health(c, health);
	if (log && log[0]) {
		AUTO_FREE char *copy = strdup(log);

		if (copy) {
			plain_make(copy, true);
			printf("\n%s%s", copy, copy[strlen(copy) - 1] == '\n' ? "" : "\n");
		}
	}
}

static int show_change(struct cli *c, const char *value, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	uint64_t id;
	int r = cli_parse_u64("--change", value, 1, INT64_MAX, &id, f);

	if (r == 0)
		r = client_get(c, &doc, f, "/v1/changes/%" PRIu64, id);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, f);
	print_change(c, doc);
	return 0;
}

int show_run_history(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {{"CHANGE", TEXT_RIGHT},
						     {"STARTED", 0},
						     {"BY", 0},
						     {"WHAT", 0},
						     {"HOT-FIX", 0},
						     {"SERIAL", TEXT_RIGHT},
						     {"FROM", TEXT_RIGHT},
						     {"OUTCOME", TEXT_COLORED},
						     {"DETAIL", TEXT_WRAP}};
	const char *limit = args_value(a, "--limit");
	AUTO_JSON json_t *doc = NULL;
	uint64_t n = 100;
	struct text_table *t;
	const json_t *v;
	char query[128];
	size_t i;
	int r;

	if (args_given(a, "--change"))
		return show_change(c, args_value(a, "--change"), reterr_fail);
	r = name_query(a, "&", query, sizeof(query), reterr_fail);
	if (r == 0 && limit)
		r = cli_parse_u64("--limit", limit, 1, 10000, &n, reterr_fail);
	if (r == 0)
		r = client_get(c, &doc, reterr_fail, "/v1/history?limit=%" PRIu64 "%s", n,
			       query);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(json_object_get(doc, "changes"), i, v) {
		const char *outcome = text_of(v, "outcome"), *code = text_of(v, "code");
		const char *detail = text_of(v, "detail");
		char why[1200];

		snprintf(why, sizeof(why), "%s%s%s", code, code[0] && detail[0] ? ": " : "",
			 detail);
		text_table_line(t, text_of(v, "id"),
				text_time(json_string_value(json_object_get(v, "started"))),
				text_user(json_object_get(v, "actor_uid")), text_of(v, "verb"),
				text_of(v, "name"), text_serial(v, "serial"),
				text_serial(v, "from_serial"),
				outcome[0] ? outcome : "under way", why);
	}
	if (text_table_lines(t) == 0)
		cli_note(c, "nothing was changed yet");
	text_table_print(t);
	return 0;
}

/* --- events --------------------------------------------------------------------------- */

/* What no other column of the line says, as key=value. */
static void print_rest(const json_t *event)
{
	static const char *const said[] = {"time", "hotfix", "kind", "serial",
					   "schema_version"};
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)event, key, v) {
		AUTO_FREE char *text = NULL;
		bool skip = json_is_null(v) || (json_is_string(v) && !json_string_length(v));

		for (size_t i = 0; i < ARRAY_SIZE(said); i++)
			skip |= strcmp(key, said[i]) == 0;
		if (skip)
			continue;
		if (json_is_string(v)) {
			const char *s = text_safe(json_string_value(v));

			printf(strchr(s, ' ') ? " %s=\"%s\"" : " %s=%s", text_safe(key), s);
			continue;
		}
		text = json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
		printf(" %s=%s", text_safe(key), text ? text : "");
	}
}

struct watch {
	const struct cli *c;
	int err; /* of writing to stdout */
};

static int on_event(const char *line, size_t len, void *cookie)
{
	struct watch *w = cookie;
	AUTO_JSON json_t *event = NULL;

	if (json_parse("event", line, len, &event, NULL) < 0)
		return 0; /* one bad line does not end the watch */
	if (w->c->json) {
		json_dumpf(event, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	} else {
		printf("%s %s%s%s %s",
		       text_time(json_string_value(json_object_get(event, "time"))),
		       text_of(event, "hotfix"), text_of(event, "serial")[0] ? "@" : "",
		       text_of(event, "serial"), text_of(event, "kind"));
		print_rest(event);
	}
	putchar('\n');
	if (fflush(stdout) != 0)
		w->err = errno;
	return w->err;
}

int show_run_events(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	bool follow = args_given(a, "--follow");
	struct watch w = {.c = c};
	char path[256], query[128];
	int r;

	r = name_query(a, "&", query, sizeof(query), reterr_fail);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/v1/events?follow=%d%s", follow, query);
	cli_catch_interrupt();
	r = client_stream(c, path, on_event, &w, reterr_fail);
	if (w.err && w.err != EPIPE)
		return fail_set(reterr_fail, FAIL_INTERNAL, "writing to stdout: %s",
				strerror(w.err));
	clearerr(stdout); /* a closed pipe is a clean end */
	return r;
}

/* --- audit ---------------------------------------------------------------------------- */

/* A head that was saved before: by this host, and its row is there and the same. */
static int compare_head(struct cli *c, const char *path, const json_t *verified, struct fail *f)
{
	const json_t *host = json_object_get(verified, "host");
	AUTO_JSON json_t *doc = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct key_public by;
	struct checkpoint head;
	char hex[BYTES_SHA256_HEX];
	const char *hash;
	size_t len;
	int r = inspect_read_bundle(path, &buf, &len, f);

	if (r == 0 && json_is_null(host))
		r = fail_set(f, FAIL_NO_TRUST, "the host has no key to compare %s with", path);
	if (r == 0)
		r = key_public_parse(text_of(host, "public"), &by, f);
	if (r == 0)
		r = checkpoint_open(buf, len, &by, &head, f);
	if (r == 0 && head.seq > 0)
		r = client_get(c, &doc, f, "/v1/audit?after=%" PRIu64 "&limit=1", head.seq - 1);
	if (r < 0 || head.seq == 0)
		return r;
	hash = text_of(json_array_get(json_object_get(doc, "rows"), 0), "hash");
	bytes_to_hex(head.head, sizeof(head.head), hex);
	if (!hash[0]) {
		fail_set(f, FAIL_BAD_DIGEST,
			 "the end of the audit log was cut off: it has %s, and row %" PRIu64
			 " was there when %s was saved",
			 text_n_of(verified, "rows", "row"), head.seq, path);
		return fail_hint(f, "keep a copy of the database, and what was exported");
	}
	if (strcmp(hash, hex) != 0)
		return fail_set(f, FAIL_BAD_DIGEST,
				"the audit log is another one: row %" PRIu64
				" is not what it was when %s was saved",
				head.seq, path);
	return 0;
}

static int refuse_audit(const json_t *doc, struct fail *f)
{
	if (text_of(doc, "bad_checkpoint")[0])
		fail_set(
			f, FAIL_BAD_DIGEST,
			"the audit log was changed: its row %s is not what the host key signed",
			text_of(doc, "bad_checkpoint"));
	else
		fail_set(
			f, FAIL_BAD_DIGEST,
			"the audit log was changed: row %s does not follow from the one before",
			text_of(doc, "bad_seq"));
	return fail_hint(f, "rows before it are sound; keep a copy of the database and compare "
			    "with an exported log");
}

static int verify_audit(struct cli *c, const char *saved, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	bool ok;
	int r = client_get(c, &doc, f, "/v1/audit/verify");

	if (r < 0)
		return r;
	ok = json_is_true(json_object_get(doc, "ok"));
	if (ok && saved)
		r = compare_head(c, saved, doc, f);
	if (r < 0)
		return r;
	if (c->json) {
		r = cli_print_json(doc, f);
		return r < 0 ? r : ok ? 0 : fail_exit(FAIL_BAD_SIGNATURE);
	}
	if (!ok)
		return refuse_audit(doc, f);
	if (c->context)
		printf("the audit log is whole: %s, head %s\n", text_n_of(doc, "rows", "row"),
		       text_of(doc, "head"));
	else
		printf("the audit log is whole: %s, head %s, %s of them signed for by %.16s\n",
		       text_n_of(doc, "rows", "row"), text_of(doc, "head"),
		       text_of(doc, "checkpoints"),
		       text_of(json_object_get(doc, "host"), "id"));
	return 0;
}

static int save_head(struct cli *c, const char *path, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL;
	const char *text;
	int r = client_get(c, &doc, f, "/v1/audit/head");

	if (r < 0)
		return r;
	text = json_string_value(json_object_get(doc, "checkpoint"));
	if (!text)
		return fail_set(f, FAIL_INTERNAL, "the answer carries no checkpoint");
	r = sign_write_output(path, NULL, text, strlen(text), f);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, f);
	printf("%s: the head, signed by the host key %.16s\n"
	       "keep it elsewhere; later: hotfixctl audit --verify --head %s\n",
	       text_safe(path), text_of(json_object_get(doc, "host"), "id"), text_safe(path));
	return 0;
}

/* All rows after one, a document a line. */
static int print_lines(struct cli *c, uint64_t after, struct fail *f)
{
	size_t n;

	do {
		AUTO_JSON json_t *doc = NULL;
		const json_t *row;
		size_t i;
		int r = client_get(c, &doc, f, "/v1/audit?after=%" PRIu64 "&limit=1000", after);

		if (r < 0)
			return r;
		n = json_array_size(json_object_get(doc, "rows"));
		json_array_foreach(json_object_get(doc, "rows"), i, row) {
			json_dumpf(row, stdout, JSON_COMPACT);
			putchar('\n');
			after = (uint64_t)json_integer_value(json_object_get(row, "seq"));
		}
	} while (n == 1000);
	return 0;
}

int show_run_audit(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"ROW", TEXT_RIGHT},  {"TIME", 0},    {"BY", 0},
		{"ACTION", 0},	      {"SUBJECT", 0}, {"RESULT", 0},
		{"DETAIL", TEXT_WRAP}};
	const char *after_arg = args_value(a, "--after"), *limit_arg = args_value(a, "--limit");
	uint64_t after = 0, limit = 1000;
	AUTO_JSON json_t *doc = NULL;
	struct text_table *t;
	const json_t *row;
	size_t i;
	int r = 0;

	if (c->context && (args_given(a, "--head") || args_given(a, "--save-head")))
		return fail_set(reterr_fail, FAIL_USAGE,
				"the head of a fleet's log has no host key to sign it: keep "
				"that of audit --verify");
	if (args_given(a, "--head") && !args_given(a, "--verify"))
		return fail_set(reterr_fail, FAIL_USAGE, "--head FILE belongs to --verify");
	if (args_given(a, "--verify"))
		return verify_audit(c, args_value(a, "--head"), reterr_fail);
	if (args_given(a, "--save-head"))
		return save_head(c, args_value(a, "--save-head"), reterr_fail);
	if (after_arg)
		r = cli_parse_u64("--after", after_arg, 0, INT64_MAX, &after, reterr_fail);
	if (r == 0 && args_given(a, "--lines"))
		return print_lines(c, after, reterr_fail);
	if (r == 0 && limit_arg)
		r = cli_parse_u64("--limit", limit_arg, 1, c->context ? 1000 : 10000, &limit,
				  reterr_fail);
	if (r == 0)
		r = client_get(c, &doc, reterr_fail,
			       "/v1/audit?after=%" PRIu64 "&limit=%" PRIu64, after, limit);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(json_object_get(doc, "rows"), i, row) {
		const json_t *detail = json_object_get(row, "detail");
		AUTO_FREE char *text =
			detail && !json_is_null(detail)
				? json_dumps(detail, JSON_COMPACT | JSON_ENCODE_ANY)
				: NULL;
		const char *message = text_of(detail, "message");

		text_table_line(t, text_of(row, "seq"),
				text_time(json_string_value(json_object_get(row, "at"))),
				c->context ? text_of(row, "actor")
					   : text_user(json_object_get(row, "actor_uid")),
				text_of(row, "action"), text_of(row, "subject"),
				text_of(row, "result"), message[0] ? message : text_safe(text));
	}
	text_table_print(t);
	if (json_array_size(json_object_get(doc, "rows")) == limit)
		cli_note(c, "there may be more: --after %s",
			 text_of(json_array_get(json_object_get(doc, "rows"), limit - 1),
				 "seq"));
	return 0;
}

/* --- trust show ----------------------------------------------------------------------- */

int show_run_trust(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	const json_t *link;
	size_t i;
	int r;

	(void)a;
	r = client_get(c, &doc, reterr_fail, "/v1/trust");
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	if (text_of(doc, "warning")[0])
		printf("warning: %s\n", text_of(doc, "warning"));
	inspect_print_root(json_object_get(doc, "root"));
	json_array_foreach(json_object_get(doc, "chain"), i, link)
		printf("%-12s %s  %.16s  imported %s by %s\n", i ? "" : "chain",
		       text_of(link, "version"), text_of(link, "sha256"),
		       text_time(json_string_value(json_object_get(link, "imported"))),
		       text_user(json_object_get(link, "imported_uid")));
	return 0;
}

/* --- doctor --------------------------------------------------------------------------- */

static bool print_host(const struct cli *c, const json_t *host)
{
	static const struct text_column columns[] = {
		{"CHECK", 0},
		{"STATUS", TEXT_COLORED},
		{"FINDING, AND HOW IT IS KNOWN", TEXT_WRAP}};
	const json_t *k = json_object_get(host, "kernel"), *v;
	struct text_table *t;
	bool able = true;
	size_t i;

	json_array_foreach(json_object_get(host, "checks"), i, v)
		able &= strcmp(text_of(v, "status"), "fail") != 0;
	if (c->json)
		return able;
	printf("kernel %s %s\n\n", text_of(k, "release"), text_of(k, "arch"));
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(json_object_get(host, "checks"), i, v) {
		const char *value = text_of(v, "value"), *how = text_of(v, "how");
		char finding[1024];

		snprintf(finding, sizeof(finding), how[0] ? "%s (%s)" : "%s",
			 value[0] ? value : "not known", how);
		text_table_line(t, text_of(v, "name"), text_of(v, "status"), finding);
	}
	text_table_print(t);
	json_array_foreach(json_object_get(host, "checks"), i, v) {
		const char *why = text_of(v, "why"), *hint = text_of(v, "hint");

		if (strcmp(text_of(v, "status"), "ok") == 0 || !why[0])
			continue;
		printf("\n%s: %s\n", text_of(v, "name"), why);
		if (hint[0])
			printf("  hint: %s\n", hint);
	}
	return able;
}

static bool print_hooks(const struct cli *c, const json_t *hooks)
{
	static const struct text_column columns[] = {
		{"HOOK", 0}, {"OK", TEXT_COLORED},	 {"ATTACHED TO", 0},
		{"KIND", 0}, {"FREE SLOTS", TEXT_RIGHT}, {"WHY", TEXT_WRAP}};
	struct text_table *t;
	bool able = true;
	const json_t *h;
	size_t i;

	json_array_foreach(hooks, i, h)
		able &= json_is_true(json_object_get(h, "ok"));
	if (c->json || json_array_size(hooks) == 0)
		return able;
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(hooks, i, h) {
		char where[300];

		snprintf(where, sizeof(where), "%s %s", text_of(h, "attach_as"),
			 text_of(h, "attach_target"));
		text_table_line(t, text_hook(h), text_of(h, "ok"), where, text_of(h, "kind"),
				text_number_or_dash(json_object_get(h, "free_slots")),
				text_of(h, "why"));
	}
	putchar('\n');
	text_table_print(t);
	json_array_foreach(hooks, i, h)
		if (text_of(h, "hint")[0])
			printf("  hint: %s: %s\n", text_hook(h), text_of(h, "hint"));
	return able;
}

/* Exit 0 or 5: without a hot-fix the host decides, else whether that hot-fix can run. */
static int print_doctor(struct cli *c, const json_t *doc, struct fail *f)
{
	const json_t *bundle = json_object_get(doc, "bundle");
	bool named = json_is_object(bundle);
	bool host = print_host(c, json_object_get(doc, "host"));
	bool hooks = print_hooks(c, json_object_get(doc, "hooks"));
	bool fits = !named || json_is_true(json_object_get(bundle, "fits"));
	bool able = named ? hooks && fits : host;
	int r;

	if (c->json) {
		r = cli_print_json(doc, f);
		return r < 0 ? r : able ? 0 : fail_exit(FAIL_INCOMPATIBLE);
	}
	if (named && !fits)
		printf("\n%s\n", text_of(bundle, "why"));
	if (named)
		printf("\n%s@%s %s here\n", text_of(bundle, "name"), text_of(bundle, "serial"),
		       able ? "can run" : "cannot run");
	return able ? 0 : fail_exit(FAIL_INCOMPATIBLE);
}

/* The same without a daemon: signatures are not looked at, nothing is attached. */
static int doctor_here(struct cli *c, const struct bundle *b, json_t **ret_doc, struct fail *f)
{
	json_t *host = NULL, *hooks = NULL, *bundle = NULL;
	char release[DOCTOR_RELEASE_BYTES];
	struct fail why = {0};
	struct utsname u;

	cli_note(c, "hotfixd is not there: this process looks itself%s",
		 b ? "; nobody's signature is checked" : "");
	uname(&u);
	if (doctor_host(BPFFS_DEFAULT, &host) < 0 ||
	    (b && doctor_hooks(b->manifest->hooks, b->manifest->n_hooks,
			       b->manifest->accept_preemption_leak, &hooks) < 0))
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	if (b) {
		doctor_release(release);
		manifest_fits_kernel(b->manifest, release, u.machine, &why);
		bundle = json_pack("{s:s, s:I, s:b, s:s?}", "name", b->manifest->name, "serial",
				   (json_int_t)b->manifest->serial, "fits",
				   why.code == FAIL_NONE, "why",
				   why.code == FAIL_NONE ? NULL : why.message);
	}
	*ret_doc = json_pack("{s:s, s:o, s:o?, s:o?}", "source", "hotfixctl", "host", host,
			     "hooks", hooks, "bundle", bundle);
	return *ret_doc ? 0 : fail_set(f, FAIL_INTERNAL, "out of memory");
}

static bool is_absent(const struct fail *f)
{
	return f->code == FAIL_UNREACHABLE;
}

static int doctor_file(struct cli *c, const char *path, json_t **ret_doc, struct fail *f)
{
	AUTO(bundle_freep) struct bundle *b = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r;

	r = inspect_read_bundle(path, &buf, &len, f);
	if (r == 0)
		r = client_call(
			c,
			&(struct client_call){.method = "POST",
					      .path = "/v1/doctor",
					      .body = buf,
					      .body_len = len,
					      .content_type = "application/octet-stream"},
			ret_doc, f);
	if (r == 0 || !is_absent(f))
		return r;
	r = bundle_open_unverified(buf, len, &b, f);
	return r < 0 ? r : doctor_here(c, b, ret_doc, f);
}

int show_run_doctor(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *arg = args_at(a, 0);
	AUTO_JSON json_t *doc = NULL;
	int r;

	/* Names have neither dots nor slashes: "./x" is always a file. */
	if (arg && !hook_name_valid(arg))
		r = doctor_file(c, arg, &doc, reterr_fail);
	else if (arg)
		r = client_get(c, &doc, reterr_fail, "/v1/doctor?name=%s", arg);
	else
		r = client_get(c, &doc, reterr_fail, "/v1/doctor");
	if (r < 0 && !arg && is_absent(reterr_fail))
		r = doctor_here(c, NULL, &doc, reterr_fail);
	return r < 0 ? r : print_doctor(c, doc, reterr_fail);
}
