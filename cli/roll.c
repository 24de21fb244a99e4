// SPDX-License-Identifier: BSD-2-Clause
#include "cli/roll.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/inspect.h"
#include "cli/remote.h"
#include "cli/text.h"
#include "cli/view.h"
#include "cli/yaml.h"
#include "lib/hook.h"
#include "lib/io.h"
#include "lib/json.h"

#define VERB_WAIT_MS 5000
#define NAMES_SHOWN  6

/* ---- what is asked for ------------------------------------------------------------------- */

static int take_spec(const struct args *a, json_t *body, struct fail *f)
{
	const char *path = args_value(a, "--spec"), *words[ARGS_MAX];
	size_t len, n = args_list(a, "--target", words);
	AUTO_JSON json_t *spec = NULL, *target = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	int r;

	if (path) {
		r = io_read_file(path, YAML_BYTES_MAX, &buf, &len);
		if (r < 0)
			return fail_set(f, r == -ENOENT ? FAIL_NOT_FOUND : FAIL_BAD_FORMAT,
					"%s: %s", path, strerror(-r));
		r = inspect_refuse_secret(path, buf, len, f);
		if (r == 0)
			r = yaml_parse(path, buf, len, &spec, f);
		if (r < 0)
			return r;
		if (!json_is_object(spec))
			return fail_set(f, FAIL_BAD_FORMAT,
					"%s: a spec is a mapping of knobs to values", path);
	}
	if (!spec)
		spec = json_object();
	r = remote_parse_labels(words, n, false, &target, f);
	if (r < 0)
		return r;
	if (n)
		json_object_set(spec, "target", target);
	if (args_value(a, "--severity"))
		json_object_set_new(spec, "severity", json_string(args_value(a, "--severity")));
	return json_object_set(body, "spec", spec) < 0
		       ? fail_set(f, FAIL_INTERNAL, "out of memory")
		       : 0;
}

static int take_version(const struct args *a, json_t **ret_body, struct fail *f)
{
	AUTO_JSON json_t *body = json_object();
	char name[HOOK_NAME_MAX + 1];
	uint64_t serial;
	int r = cli_parse_version(args_at(a, 0), name, &serial, f);

	if (r < 0)
		return r;
	json_object_set_new(body, "name", json_string(name));
	if (serial)
		json_object_set_new(body, "serial", json_integer((json_int_t)serial));
	r = take_spec(a, body, f);
	if (r == 0)
		*ret_body = take_ptr(body);
	return r;
}

/* ---- the plan ---------------------------------------------------------------------------- */

/* One line of a wave: its hosts of one kernel build in one zone. */
struct group {
	const char *build, *zone;
	size_t n;
	char names[512];
	size_t shown;
};

static int by_build(const void *a, const void *b)
{
	const struct group *x = a, *y = b;
	int r = strcmp(x->build, y->build);

	return r ? r : strcmp(x->zone, y->zone);
}

static const char *build_of(const json_t *host)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s %s", text_of(host, "kernel"), text_of(host, "arch"));
	return text;
}

static void add_name(struct group *g, const char *name, bool all)
{
	size_t len = strlen(g->names);

	if ((g->shown < NAMES_SHOWN || all) && len + strlen(name) + 2 < sizeof(g->names)) {
		snprintf(g->names + len, sizeof(g->names) - len, "%s%s", len ? " " : "", name);
		g->shown++;
	}
}

static void print_wave(struct text_table *t, const json_t *plan, const json_t *wave, bool all)
{
	const json_t *hosts = json_object_get(plan, "hosts"), *members, *v;
	const char *name = json_string_value(json_object_get(wave, "name"));
	struct group *groups;
	size_t n = 0, i, k;

	members = json_object_get(wave, "members");
	groups = calloc(json_array_size(members) + 1, sizeof(*groups));
	if (!groups)
		abort();
	json_array_foreach(members, i, v) {
		const json_t *host = json_object_get(hosts, json_string_value(v));
		const char *build = build_of(host);
		const char *zone = json_string_value(json_object_get(host, "zone"));

		zone = zone ? zone : "";
		for (k = 0; k < n; k++)
			if (strcmp(groups[k].build, build) == 0 &&
			    strcmp(groups[k].zone, zone) == 0)
				break;
		if (k == n)
			groups[n++] = (struct group){.build = strdup(build), .zone = zone};
		groups[k].n++;
		add_name(&groups[k], text_of(host, "name"), all);
	}
	qsort(groups, n, sizeof(*groups), by_build);
	for (k = 0; k < n; k++) {
		struct group *g = &groups[k];
		size_t len = strlen(g->names);

		if (g->n > g->shown)
			snprintf(g->names + len, sizeof(g->names) - len, " +%zu",
				 g->n - g->shown);
		text_table_line(t, k ? "" : text_safe(name), text_safe(g->build),
				text_safe(g->zone), text_u64(g->n), g->names,
				k ? ""
				  : text_seconds((uint64_t)json_integer_value(
					    json_object_get(wave, "bake_ms"))));
		free((char *)(uintptr_t)g->build);
	}
	if (!n)
		text_table_line(t, text_safe(name), "-", "", "0", "",
				text_seconds((uint64_t)json_integer_value(
					json_object_get(wave, "bake_ms"))));
	free(groups);
}

/* Hosts by the reason for which they are left out. */
static void print_left_out(const json_t *plan, const char *key, const char *what, bool all)
{
	AUTO_JSON json_t *reasons = json_object();
	const char *host, *why;
	json_t *v, *list;

	json_object_foreach(json_object_get(plan, key), host, v) {
		list = json_object_get(reasons, json_string_value(v));
		if (!list) {
			list = json_array();
			json_object_set_new(reasons, json_string_value(v), list);
		}
		json_array_append(
			list,
			json_object_get(json_object_get(json_object_get(plan, "hosts"), host),
					"name"));
	}
	json_object_foreach(reasons, why, list) {
		size_t n = json_array_size(list);

		printf("%s, %s: %zu ", what, text_safe(why), n);
		for (size_t i = 0; i < n && (all || i < NAMES_SHOWN); i++)
			printf("%s%s", i ? " " : "(",
			       text_safe(json_string_value(json_array_get(list, i))));
		printf("%s)\n", n > NAMES_SHOWN && !all ? " ..." : "");
	}
}

static void print_plan(const struct cli *c, const json_t *plan, bool all)
{
	static const struct text_column columns[] = {{"WAVE", 0},  {"KERNEL BUILD", 0},
						     {"ZONE", 0},  {"HOSTS", TEXT_RIGHT},
						     {"NAMES", 0}, {"BAKES", 0}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const json_t *v;
	size_t i;

	printf("%s@%s: %s of %s, at most %s at a time\n\n", text_of(plan, "name"),
	       text_of(plan, "serial"), text_of(plan, "eligible"),
	       text_n(json_object_size(json_object_get(plan, "hosts")), "host"),
	       text_of(plan, "max_in_flight"));
	json_array_foreach(json_object_get(plan, "waves"), i, v)
		print_wave(t, plan, v, all);
	text_table_print(t);
	putchar('\n');
	print_left_out(plan, "excluded", "left out", all);
	print_left_out(plan, "deferred", "later", all);
	if (json_integer_value(json_object_get(plan, "unreported")))
		printf("not known yet, no report: %s\n", text_of(plan, "unreported"));
	json_array_foreach(json_object_get(plan, "without_canary"), i, v)
		printf("no canary can be chosen for kernel build %s\n",
		       text_safe(json_string_value(v)));
	json_array_foreach(json_object_get(plan, "supersedes"), i, v)
		printf("supersedes %s\n", text_safe(json_string_value(v)));
	json_array_foreach(json_object_get(plan, "waits"), i, v)
		printf("it would wait: %s\n", text_safe(json_string_value(v)));
	json_array_foreach(json_object_get(plan, "problems"), i, v)
		printf("%sit could not start%s: %s\n", text_color(c->color, "red"),
		       text_color(c->color, "reset"), text_safe(json_string_value(v)));
}

int roll_run_plan(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = NULL, *doc = NULL;
	int r = take_version(a, &body, reterr_fail);

	if (r == 0)
		r = remote_call(c, "POST", "/v1/plans", body, &doc, reterr_fail);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	print_plan(c, doc, args_given(a, "--hosts"));
	return 0;
}

int roll_run_start(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = NULL, *doc = NULL;
	bool draft = args_given(a, "--draft");
	const json_t *v;
	size_t i;
	int r = take_version(a, &body, reterr_fail);

	if (r == 0 && draft && args_given(a, "--watch"))
		r = fail_set(reterr_fail, FAIL_USAGE, "a --draft does nothing to --watch");
	if (r < 0)
		return r;
	json_object_set_new(body, "start", json_boolean(!draft));
	r = remote_call(c, "POST", "/v1/rollouts", body, &doc, reterr_fail);
	if (r < 0)
		return r;
	if (args_given(a, "--watch")) {
		cli_note(c, "rollout %s", text_of(doc, "id"));
		/* Not text_of(), whose texts do not last that long. */
		return view_rollout(c, json_string_value(json_object_get(doc, "id")), a,
				    reterr_fail);
	}
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	printf("%s\n", text_of(doc, "id"));
	json_array_foreach(json_object_get(doc, "supersedes"), i, v)
		cli_note(c, "%s gives way to it", text_safe(json_string_value(v)));
	cli_note(
		c,
		draft ? "a draft of %s@%s for %s of the hosts; hotfixctl rollout submit %s begins it"
		      : "%s@%s goes to %s of the hosts; hotfixctl rollout watch %s",
		text_of(doc, "name"), text_of(doc, "serial"),
		text_of(json_object_get(doc, "plan"), "eligible"), text_of(doc, "id"));
	return 0;
}

/* ---- looking ----------------------------------------------------------------------------- */

void roll_describe_state(const json_t *doc, char *out, size_t room)
{
	const json_t *pauses = json_object_get(doc, "pauses"), *v;
	size_t i, len;

	len = (size_t)snprintf(out, room, "%s", text_of(doc, "state"));
	if (text_of(doc, "ended")[0])
		return; /* what it waited for before */
	json_array_foreach(pauses, i, v)
		if (len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%s", i ? ", " : " (",
						text_safe(json_string_value(v)));
	if (json_array_size(pauses) && len < room)
		snprintf(out + len, room - len, ")");
}

void roll_describe_whys(const json_t *doc, char *out, size_t room)
{
	const char *pause;
	size_t len = 0;
	json_t *v;

	out[0] = 0;
	json_object_foreach(json_object_get(doc, "whys"), pause, v)
		if (len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%s: %s",
						len ? "; " : "", text_safe(pause),
						text_safe(json_string_value(v)));
}

void roll_describe_code(const json_t *host, char *out, size_t room)
{
	const char *waits = text_of(host, "waits");

	snprintf(out, room, "%s%s%s", text_of(host, "code"), waits[0] ? ": " : "", waits);
}

void roll_describe_counts(const json_t *counts, char *out, size_t room)
{
	const char *state;
	size_t len = 0;
	json_t *v;

	out[0] = 0;
	json_object_foreach((json_t *)(uintptr_t)counts, state, v)
		if (len < room)
			len += (size_t)snprintf(out + len, room - len, "%s%lld %s",
						len ? ", " : "", json_integer_value(v),
						text_safe(state));
}

static uint64_t left_ms(const json_t *doc, const json_t *of)
{
	json_int_t left = json_integer_value(json_object_get(of, "bake_left_ms"));
	json_int_t since = json_integer_value(json_object_get(doc, "now_ms")) -
			   json_integer_value(json_object_get(doc, "anchor_ms"));

	/* The rollout's own clock stands while it is paused. */
	if (json_array_size(json_object_get(doc, "pauses")) == 0 && since > 0)
		left -= since;
	return left > 0 ? (uint64_t)left : 0;
}

void roll_describe_wait(const json_t *doc, char *out, size_t room)
{
	uint64_t left = left_ms(doc, doc);
	const char *stratum;
	json_t *v;

	json_object_foreach(json_object_get(doc, "strata"), stratum, v)
		if (left_ms(doc, v) > left)
			left = left_ms(doc, v);
	out[0] = 0;
	if (left && !text_of(doc, "ended")[0])
		snprintf(out, room, "bakes another %s", text_seconds(left));
}

void roll_describe_finding(const json_t *doc, char *out, size_t room)
{
	const json_t *f = json_object_get(doc, "finding"), *value, *limit, *control;
	const char *metric = text_of(f, "metric");
	char figures[200] = "";

	out[0] = 0;
	if (!metric[0])
		return;
	value = json_object_get(f, "value");
	control = json_object_get(f, "control");
	limit = json_object_get(f, "limit");
	if (json_is_number(value))
		snprintf(figures, sizeof(figures), " %.4g of the others' %.4g, limit %.4g",
			 json_number_value(value), json_number_value(control),
			 json_number_value(limit));
	snprintf(out, room, "%s: %s%s%s%s%s%s", text_of(f, "verdict"), metric, figures,
		 text_of(doc, "finding_of")[0] ? " on " : "", text_of(doc, "finding_of"),
		 text_of(f, "note")[0] ? "; " : "", text_of(f, "note"));
}

int roll_exit(const json_t *doc)
{
	static const struct {
		const char *state;
		int status;
	} ends[] = {{"succeeded", 0},
		    {"failed", 1},
		    {"rolled_back", 7},
		    {"aborted", 9},
		    {"superseded", 9}};
	const char *state = text_of(doc, "state");

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (strcmp(ends[i].state, state) == 0)
			return ends[i].status;
	return -1;
}

int roll_find(struct cli *c, const char *word_or_null, char ret_id[65],
	      struct fail *reterr_fail)
{
	char after[65] = "";
	int r;

	if (word_or_null) {
		if (!hook_name_valid(word_or_null)) {
			fail_set(reterr_fail, FAIL_USAGE, "\"%s\" cannot be a rollout",
				 word_or_null);
			return fail_hint(reterr_fail, "hotfixctl rollout list shows them");
		}
		snprintf(ret_id, 65, "%s", word_or_null);
		return 0;
	}
	ret_id[0] = 0;
	do {
		AUTO_JSON json_t *doc = NULL;
		const json_t *rollouts;
		size_t n;

		r = client_get(c, &doc, reterr_fail, "/v1/rollouts?limit=1000&after=%s", after);
		if (r < 0)
			return r;
		rollouts = json_object_get(doc, "rollouts");
		n = json_array_size(rollouts);
		if (n)
			snprintf(ret_id, 65, "%s",
				 text_of(json_array_get(rollouts, n - 1), "id"));
		snprintf(after, sizeof(after), "%s", text_of(doc, "after"));
	} while (after[0]);
	if (ret_id[0])
		return 0;
	fail_set(reterr_fail, FAIL_NOT_FOUND, "there is no rollout yet");
	return fail_hint(reterr_fail, "hotfixctl rollout start NAME begins one");
}

int roll_run_list(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"ROLLOUT", 0}, {"HOT-FIX", 0}, {"STATE", TEXT_COLORED}, {"WAVE", 0}, {"BY", 0},
		{"BEGAN", 0},	{"ENDED", 0},	{"WAITS FOR", TEXT_WRAP}};
	AUTO_JSON json_t *all = json_array(), *whole = NULL;
	char after[65] = "";
	struct text_table *t;
	const json_t *v;
	size_t i;

	do {
		AUTO_JSON json_t *doc = NULL;
		int r = client_get(c, &doc, reterr_fail, "/v1/rollouts?limit=1000&after=%s%s",
				   after, args_given(a, "--active") ? "&active=1" : "");

		if (r < 0)
			return r;
		json_array_extend(all, json_object_get(doc, "rollouts"));
		snprintf(after, sizeof(after), "%s", text_of(doc, "after"));
	} while (after[0]);
	if (c->json) {
		whole = json_pack("{s:O}", "rollouts", all);
		return cli_print_json(whole, reterr_fail);
	}
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(all, i, v) {
		char what[120], waits[200] = "";
		const json_t *pause;
		size_t k;

		snprintf(what, sizeof(what), "%s@%s", text_of(v, "name"), text_of(v, "serial"));
		if (!text_of(v, "ended")[0])
			json_array_foreach(json_object_get(v, "pauses"), k, pause)
				snprintf(waits + strlen(waits), sizeof(waits) - strlen(waits),
					 "%s%s", k ? " " : "",
					 text_safe(json_string_value(pause)));
		text_table_line(t, text_of(v, "id"), what, text_of(v, "state"),
				text_of(v, "wave"), text_of(v, "author"),
				text_time(json_string_value(json_object_get(v, "created"))),
				text_time(json_string_value(json_object_get(v, "ended"))),
				waits);
	}
	if (!text_table_lines(t))
		cli_note(c, "no rollout yet; hotfixctl rollout start NAME begins one");
	text_table_print(t);
	return 0;
}

/* Some hosts of it, and what they say. */
static void print_hosts(const struct cli *c, const json_t *hosts, const char *what)
{
	const struct text_column columns[] = {
		{"HOST", 0}, {"STATE", TEXT_COLORED}, {"KERNEL BUILD", 0}, {what, TEXT_WRAP}};
	struct text_table *t;
	const json_t *h;
	size_t i;

	if (!json_array_size(hosts))
		return;
	putchar('\n');
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(hosts, i, h) {
		char why[200];

		roll_describe_code(h, why, sizeof(why));
		text_table_line(t, text_short(text_of(h, "host")), text_of(h, "state"),
				text_of(h, "stratum"), why);
	}
	text_table_print(t);
}

static void print_counts(const json_t *counts, const char *what)
{
	char text[512];

	roll_describe_counts(counts, text, sizeof(text));
	if (text[0])
		printf("%s: %s\n", what, text);
}

static void print_status(const struct cli *c, const json_t *doc)
{
	static const struct text_column wave_columns[] = {
		{"", 0}, {"WAVE", 0}, {"HOSTS", TEXT_WRAP}};
	static const struct text_column stratum_columns[] = {{"KERNEL BUILD", 0},
							     {"STATE", TEXT_COLORED},
							     {"CANARY", 0},
							     {"HOSTS", TEXT_WRAP}};
	size_t at = (size_t)json_integer_value(json_object_get(doc, "wave")), i;
	struct text_table *t;
	const char *key;
	char text[512], waits[128];
	const json_t *w;
	json_t *v;

	roll_describe_state(doc, text, sizeof(text));
	roll_describe_wait(doc, waits, sizeof(waits));
	printf("%s: %s@%s by %s, %s%s%s%s%s\n", text_of(doc, "id"), text_of(doc, "name"),
	       text_of(doc, "serial"), text_of(doc, "author"),
	       text_color(c->color, text_state_color(text_of(doc, "state"))
					    ? text_state_color(text_of(doc, "state"))
					    : ""),
	       text, text_color(c->color, "reset"), waits[0] ? ", " : "", waits);
	roll_describe_whys(doc, text, sizeof(text));
	if (text[0])
		printf("%s\n", text);
	roll_describe_finding(doc, text, sizeof(text));
	if (text[0])
		printf("%s\n", text);
	printf("%s, %s of at most %s under way, %s failed\n",
	       text_n_of(doc, "eligible", "host"), text_of(doc, "in_flight"),
	       text_of(doc, "max_in_flight"), text_of(doc, "failed"));
	print_counts(json_object_get(doc, "excluded"), "left out");
	print_counts(json_object_get(doc, "deferred"), "later");
	putchar('\n');
	t = text_table_new(wave_columns, ARRAY_SIZE(wave_columns), c->color);
	json_array_foreach(json_object_get(doc, "waves"), i, w) {
		roll_describe_counts(json_object_get(w, "hosts"), text, sizeof(text));
		text_table_line(t, i == at && !text_of(doc, "ended")[0] ? ">" : "",
				text_of(w, "name"), text);
	}
	text_table_print(t);
	putchar('\n');
	t = text_table_new(stratum_columns, ARRAY_SIZE(stratum_columns), c->color);
	json_object_foreach(json_object_get(doc, "strata"), key, v) {
		roll_describe_counts(json_object_get(v, "hosts"), text, sizeof(text));
		text_table_line(t, text_safe(key), text_of(v, "state"),
				text_short(text_of(v, "canary")), text);
	}
	text_table_print(t);
	print_hosts(c, json_object_get(doc, "waiting"), "WAITS FOR");
	print_hosts(c, json_object_get(doc, "troubles"), "CODE");
}

/* What led to the state in which it ended: the last row of its history that has it. */
static int print_end(struct cli *c, const char *id, const json_t *doc, struct fail *f)
{
	const char *state = json_string_value(json_object_get(doc, "state"));
	AUTO_JSON json_t *end = NULL;
	uint64_t seq = 0;
	size_t n;

	do {
		AUTO_JSON json_t *audit = NULL;
		json_t *row;
		size_t i;
		int r = client_get(c, &audit, f,
				   "/v1/audit?subject=%s&after=%" PRIu64 "&limit=1000", id,
				   seq);

		if (r < 0)
			return r;
		n = json_array_size(json_object_get(audit, "rows"));
		json_array_foreach(json_object_get(audit, "rows"), i, row) {
			seq = (uint64_t)json_integer_value(json_object_get(row, "seq"));
			if (strcmp(text_of(row, "result"), state) != 0)
				continue;
			json_decref(end);
			end = json_incref(row);
		}
	} while (n == 1000);
	if (end)
		printf("\nended %s by %s: %s, %s\n",
		       text_time(json_string_value(json_object_get(end, "at"))),
		       text_of(end, "actor"), text_of(end, "action"),
		       text_of(json_object_get(end, "detail"), "text"));
	return 0;
}

int roll_run_status(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *doc = NULL;
	char id[65];
	int r = roll_find(c, args_at(a, 0), id, reterr_fail);

	if (r == 0)
		r = client_get(c, &doc, reterr_fail, "/v1/rollouts/%s", id);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	print_status(c, doc);
	return text_of(doc, "ended")[0] ? print_end(c, id, doc, reterr_fail) : 0;
}

void roll_describe_actor(const json_t *row, char *out, size_t room)
{
	const char *asked_by = text_of(json_object_get(row, "detail"), "asked_by");

	snprintf(out, room, "%s%s%s", text_of(row, "actor"), asked_by[0] ? " for " : "",
		 asked_by);
}

static void print_history(const struct cli *c, const json_t *rows)
{
	static const struct text_column columns[] = {
		{"TIME", 0}, {"BY", 0}, {"ACTION", 0}, {"RESULT", 0}, {"DETAIL", TEXT_WRAP}};
	struct text_table *t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const json_t *detail = json_object_get(row, "detail");
		AUTO_FREE char *whole = NULL;
		const char *text = text_of(detail, "text");
		char by[160];

		roll_describe_actor(row, by, sizeof(by));
		if (!text[0])
			text = text_of(detail, "reason");
		if (!text[0] && detail && !json_is_null(detail)) {
			whole = json_dumps(detail, JSON_COMPACT | JSON_ENCODE_ANY);
			text = text_safe(whole);
		}
		text_table_line(t, text_time(json_string_value(json_object_get(row, "at"))), by,
				text_of(row, "action"), text_of(row, "result"), text);
	}
	text_table_print(t);
}

int roll_run_show(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	static const struct text_column columns[] = {
		{"HOST", 0}, {"WAVE", 0},	  {"STATE", TEXT_COLORED},
		{"WHY", 0},  {"KERNEL BUILD", 0}, {"CODE", TEXT_WRAP}};
	AUTO_JSON json_t *doc = NULL, *audit = NULL;
	struct text_table *t;
	const json_t *v;
	size_t i;
	char id[65];
	int r = roll_find(c, args_at(a, 0), id, reterr_fail);

	if (r == 0)
		r = client_get(c, &doc, reterr_fail, "/v1/rollouts/%s?hosts=1", id);
	if (r == 0)
		r = client_get(c, &audit, reterr_fail, "/v1/audit?subject=%s", id);
	if (r < 0)
		return r;
	if (c->json) {
		json_object_set(doc, "history", json_object_get(audit, "rows"));
		return cli_print_json(doc, reterr_fail);
	}
	print_status(c, doc);
	putchar('\n');
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(json_object_get(doc, "members"), i, v) {
		const json_t *wave =
			json_array_get(json_object_get(doc, "waves"),
				       (size_t)json_integer_value(json_object_get(v, "wave")));

		text_table_line(t, text_short(text_of(v, "id")), text_of(wave, "name"),
				text_of(v, "state"),
				text_of(v, text_of(v, "held_by")[0] ? "held_by" : "why"),
				text_of(v, "stratum"), text_of(v, "code"));
	}
	text_table_print(t);
	putchar('\n');
	print_history(c, json_object_get(audit, "rows"));
	return 0;
}

/* ---- verbs ------------------------------------------------------------------------------- */

/* "pause" of "rollout pause" */
static const char *verb_of(const struct args *a)
{
	return strchr(args_command(a)->words, ' ') + 1;
}

static int take_verb(struct cli *c, const struct args *a, const char *verb, json_t *body,
		     struct fail *f)
{
	const char *reason = args_value(a, "--reason"), *word = NULL;
	char host[65];
	int r;

	json_object_set_new(body, "reason", json_string(reason ? reason : ""));
	if (strcmp(verb, "abort") == 0 && args_given(a, "--rollback")) {
		word = args_value(a, "--rollback");
		json_object_set_new(body, "scope", json_string(word ? word : "all"));
	}
	if (strcmp(verb, "retry") == 0 && args_value(a, "--host")) {
		r = remote_find_host(c, args_value(a, "--host"), host, f);
		if (r < 0)
			return r;
		json_object_set_new(body, "host", json_string(host));
	}
	return 0;
}

int roll_run_verb(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = json_object(), *asked = NULL, *doc = NULL;
	const char *verb = verb_of(a);
	char id[65], path[160], state[200];
	int r = roll_find(c, args_at(a, 0), id, reterr_fail);

	if (r == 0)
		r = take_verb(c, a, verb, body, reterr_fail);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/v1/rollouts/%s/%s", id, verb);
	r = remote_call(c, "POST", path, body, &asked, reterr_fail);
	if (r < 0)
		return r;
	r = client_get(c, &doc, reterr_fail, "/v1/rollouts/%s?generation=%s&wait=%d", id,
		       text_of(asked, "generation"), VERB_WAIT_MS);
	if (r < 0)
		return r;
	json_object_set_new(doc, "asked", json_string(verb));
	if (c->json)
		return cli_print_json(doc, reterr_fail);
	roll_describe_state(doc, state, sizeof(state));
	if (json_integer_value(json_object_get(doc, "generation")) ==
	    json_integer_value(json_object_get(asked, "generation")))
		printf("%s: asked for, but no controller has taken it up yet; it is %s\n", id,
		       state);
	else
		printf("%s: %s\n", id, state);
	return 0;
}
