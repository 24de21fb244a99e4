// SPDX-License-Identifier: BSD-2-Clause
#include "cli/change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/context.h"
#include "cli/inspect.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "lib/plural.h"
#include "store/bundle.h"
#include "store/dsse.h"

#define POLL_S		30     /* of one long-poll; shorter on a terminal, which is redrawn */
#define STEP_LIMIT_MS	300000 /* loading and settling, with the verifier at its worst */
#define LOG_LINES_SHOWN 20

/* --- outcomes ------------------------------------------------------------------------- */

/* store/store.h: "" | done | trial | failed | rolled_back */
static const char *outcome_of(const json_t *change)
{
	const char *s = json_string_value(json_object_get(change, "outcome"));

	return s ? s : "";
}

/* The exit status that a change's outcome stands for; 0 while it has none. Fills f when bad. */
static int exit_of(const json_t *change, struct fail *f)
{
	const char *outcome = outcome_of(change);
	const char *code = json_string_value(json_object_get(change, "code"));
	const char *detail = json_string_value(json_object_get(change, "detail"));
	enum fail_code kind = FAIL_INTERNAL;

	if (strcmp(outcome, "failed") == 0)
		kind = code ? fail_by_name(code) : FAIL_INTERNAL;
	else if (strcmp(outcome, "rolled_back") == 0)
		kind = FAIL_UNHEALTHY;
	else
		return 0;
	if (kind == FAIL_NONE)
		kind = FAIL_INTERNAL;
	fail_set(f, kind, "%s",
		 detail && detail[0] ? detail
		 : code		     ? code
				     : "it failed without a reason");
	return fail_exit(kind);
}

/* The last lines of a verifier log: where the reason stands. */
static void print_log(const char *log, uint64_t change)
{
	size_t lines = 0, n = log ? strlen(log) : 0;
	AUTO_FREE char *copy = NULL;
	const char *start;

	while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == ' '))
		n--;
	if (n == 0)
		return;
	for (start = log + n; start > log; start--)
		if (start[-1] == '\n' && ++lines == LOG_LINES_SHOWN)
			break;
	copy = strndup(start, (size_t)(log + n - start));
	if (!copy)
		return;
	plain_make(copy, true);
	fflush(stdout);
	fprintf(stderr, "%s\n", start > log ? "  ..." : "  log:");
	for (char *save, *line = strtok_r(copy, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		fprintf(stderr, "  %s\n", line);
	if (change && start > log)
		fprintf(stderr, "  the whole log: hotfixctl history --change %" PRIu64 "\n",
			change);
}

/* --- following one change -------------------------------------------------------------- */

struct follow {
	struct cli *c;
	uint64_t id;
	const char *name;
	const char *what;     /* "apply x@2" */
	uint64_t deadline_ms; /* monotonic; UINT64_MAX: none */
	bool asks_back;	      /* rolled_back is what was asked for */
	bool applies;	      /* then done means committed */
	bool drawn;	      /* a line that is to be redrawn stands there */
	bool told, told_why;  /* not a terminal: that it is on trial; what it still waits for */
};

static uint64_t now_ms(void)
{
	return clock_mono_ns() / 1000000;
}

static bool is_over(const json_t *change)
{
	const char *outcome = outcome_of(change);

	return outcome[0] && strcmp(outcome, "trial") != 0;
}

static bool redraws(const struct cli *c)
{
	return !c->json && isatty(STDERR_FILENO);
}

static void clear_line(struct follow *w)
{
	if (w->drawn)
		fputs("\r\033[K", stderr);
	w->drawn = false;
}

/*
 * "on trial: 12 s of 60 s, 3 412 calls", from the hot-fix's own document; true: its time is over, and
 * the line says what it waits for.
 */
static bool describe_trial(const struct cli *c, const char *name, char *ret_line, size_t len)
{
	AUTO_JSON json_t *doc = NULL;
	uint64_t calls = 0, whole, left;
	const json_t *hook;
	size_t i;

	snprintf(ret_line, len, "on trial");
	if (client_get(c, &doc, NULL, "/v1/hotfixes/%s", name) < 0 ||
	    !json_object_get(doc, "trial_ms"))
		return false;
	json_array_foreach(json_object_get(doc, "hooks"), i, hook)
		calls += (uint64_t)json_integer_value(json_object_get(hook, "calls_live"));
	whole = (uint64_t)json_integer_value(json_object_get(doc, "trial_ms"));
	left = (uint64_t)json_integer_value(json_object_get(doc, "trial_left_ms"));
	if (left <= whole)
		snprintf(ret_line, len, "on trial: %s of %s, %s call%s so far%s%s",
			 text_seconds(whole - left), text_seconds(whole), text_count(calls),
			 plural(calls), text_of(doc, "reason")[0] ? "; " : "",
			 text_of(doc, "reason"));
	return left == 0 && text_of(doc, "reason")[0];
}

/* No longer than the terminal is wide: what wraps is not drawn over. */
static void show_line(struct follow *w, const char *line)
{
	struct winsize size;
	int columns = 79, what = (int)strlen(w->what) + 2;

	if (!redraws(w->c))
		return;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
		columns = size.ws_col - 1;
	fprintf(stderr, "\r\033[K%s: %.*s", text_safe(w->what),
		columns > what ? columns - what : 0, line);
	fflush(stderr);
	w->drawn = true;
}

/* On a terminal one line that is redrawn, else one, and another when the trial takes longer. */
static void show_trial(struct follow *w)
{
	char line[400];
	bool waits;

	if (w->c->json || (w->told && w->told_why && !redraws(w->c)))
		return;
	waits = describe_trial(w->c, w->name, line, sizeof(line));
	show_line(w, line);
	if ((!w->told || (waits && !w->told_why)) && !w->drawn)
		fprintf(stderr, "%s: %s\n", text_safe(w->what), line);
	w->told = true;
	w->told_why = waits;
}

static int timed_out(const struct follow *w, struct fail *f)
{
	int r = fail_set(f, FAIL_TIMEOUT,
			 "%s has not ended in time; it goes on (change %" PRIu64 ")", w->what,
			 w->id);

	fail_hint(f, "hotfixctl history --change %" PRIu64 " tells how it ended", w->id);
	return r;
}

/* The change's document once it is over; -EINTR: Ctrl-C. */
static int follow(struct follow *w, json_t **ret_change, struct fail *f)
{
	for (;;) {
		AUTO_JSON json_t *change = NULL;
		uint64_t now = now_ms(), wait_s = redraws(w->c) ? 1 : POLL_S;
		char path[128];
		int r;

		if (w->deadline_ms != UINT64_MAX) {
			uint64_t left = w->deadline_ms > now ? w->deadline_ms - now : 0;

			wait_s = (left + 999) / 1000 < wait_s ? (left + 999) / 1000 : wait_s;
		}
		snprintf(path, sizeof(path), "/v1/changes/%" PRIu64 "?wait=%" PRIu64, w->id,
			 wait_s);
		r = client_call(w->c,
				&(struct client_call){.method = "GET",
						      .path = path,
						      .timeout_ms = (wait_s + 30) * 1000},
				&change, f);
		if (r == 0 && !is_over(change) && now >= w->deadline_ms)
			r = timed_out(w, f);
		if (r < 0 || is_over(change)) {
			clear_line(w);
			if (r == 0)
				*ret_change = take_ptr(change);
			return r;
		}
		show_trial(w);
	}
}

static int interrupted(const struct follow *w)
{
	cli_note(w->c, "interrupted; %s goes on", w->what);
	if (w->id)
		cli_note(
			w->c,
			"hotfixctl status shows where it is, hotfixctl history --change %" PRIu64
			" how it ended",
			w->id);
	else
		cli_note(w->c, "hotfixctl history %s shows how it ended", w->name);
	return CLI_EXIT_INTERRUPTED;
}

/* What it left behind, or goes without; in the change, or in the error that it became. */
static void print_warning(const struct cli *c, const json_t *doc)
{
	if (text_of(doc, "warning")[0])
		cli_note(c, "warning: %s", text_of(doc, "warning"));
}

/* Says how it ended. Returns the exit status. */
static int report(struct follow *w, const json_t *change, struct fail *f)
{
	const char *detail = json_string_value(json_object_get(change, "detail"));
	bool back = strcmp(outcome_of(change), "rolled_back") == 0;
	int status = back && w->asks_back ? 0 : exit_of(change, f), r;

	if (w->c->json) {
		r = cli_print_json(change, f);
		if (r < 0 || status == 0)
			return r;
		exit_of(change, f);
		cli_print_fail(w->c, f);
		return status;
	}
	print_warning(w->c, change);
	if (status == 0) {
		if (is_over(change) || !w->id)
			printf("%s: %s%s%s\n", text_safe(w->what),
			       w->applies ? "committed" : "done",
			       detail && detail[0] ? ": " : "", text_safe(detail));
		return 0;
	}
	fflush(stdout);
	fprintf(stderr, "hotfixctl: %s %s: %s\n", text_safe(w->what),
		back ? "was rolled back" : "failed", text_safe(f->message));
	print_log(json_string_value(json_object_get(change, "log")), w->id);
	return status;
}

/* *reterr_doc is what an error was answered with, if anything; body NULL: nothing to say. */
static int ask(struct cli *c, const char *method, const char *path, const json_t *body,
	       json_t **ret_doc, json_t **reterr_doc, struct fail *f)
{
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : strdup("{}");

	if (!text)
		return fail_set(f, FAIL_INTERNAL, "out of memory");
	return client_call(
		c,
		&(struct client_call){.method = method,
				      .path = path,
				      .body = strcmp(method, "POST") == 0 ? text : NULL,
				      .body_len = strlen(text),
				      .timeout_ms = STEP_LIMIT_MS,
				      .reterr_doc = reterr_doc},
		ret_doc, f);
}

/*
 * Sends the request that starts a change. hotfixd answers when the change is live or over: then
 * *ret_answer is the change, or, as far as it only says {"change":ID}, what to follow.
 * A refusal that left a change behind is shown with its log. Returns 0, an exit status or
 * -errno.
 */
static int start(struct follow *w, const char *method, const char *path, const json_t *body,
		 json_t **ret_answer, struct fail *f)
{
	AUTO_JSON json_t *error = NULL, *change = NULL;
	struct fail quiet;
	int r, status;

	cli_catch_interrupt();
	show_line(w, "under way");
	r = ask(w->c, method, path, body, ret_answer, &error, f);
	clear_line(w);
	if (r == 0)
		w->id = (uint64_t)json_integer_value(json_object_get(*ret_answer, "change"));
	if (r == -EINTR)
		return interrupted(w);
	print_warning(w->c, error);
	w->id = w->id ? w->id : (uint64_t)json_integer_value(json_object_get(error, "change"));
	if (r == 0 || !w->id ||
	    client_get(w->c, &change, &quiet, "/v1/changes/%" PRIu64, w->id) < 0 ||
	    !is_over(change))
		return r;
	/* The error's own words and code come first; the change adds the log. */
	status = fail_exit(f->code);
	if (w->c->json) {
		r = cli_print_json(change, &quiet);
		cli_print_fail(w->c, f);
		return status;
	}
	cli_print_fail(w->c, f);
	print_log(json_string_value(json_object_get(change, "log")), w->id);
	return status;
}

/* For everything but apply: these end by themselves within seconds. */
static int run(struct cli *c, const char *name, const char *what, const char *method,
	       const char *path, const json_t *body, bool asks_back, struct fail *f)
{
	struct follow w = {.c = c,
			   .name = name,
			   .what = what,
			   .deadline_ms = now_ms() + STEP_LIMIT_MS,
			   .asks_back = asks_back};
	AUTO_JSON json_t *answer = NULL, *change = NULL;
	int r = start(&w, method, path, body, &answer, f);

	if (r != 0)
		return r;
	if (w.id && !is_over(answer)) {
		r = follow(&w, &change, f);
		if (r == -EINTR)
			return interrupted(&w);
		return r < 0 ? r : report(&w, change, f);
	}
	return report(&w, answer, f);
}

/* --- import --------------------------------------------------------------------------- */

static int import_one(struct cli *c, const char *path, json_t **ret_answer, struct fail *f)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len;
	int r = inspect_read_bundle(path, &buf, &len, f);

	if (r < 0)
		return r;
	return client_call(c,
			   &(struct client_call){.method = "POST",
						 .path = "/v1/bundles",
						 .body = buf,
						 .body_len = len,
						 .content_type = "application/octet-stream"},
			   ret_answer, f);
}

int change_run_import(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *all = json_array();
	AUTO_JSON json_t *doc = NULL;
	int status = 0;

	/* Whoever has a token is nobody to the controller until it has seen it. */
	if (c->context) {
		int r = client_get(c, &doc, reterr_fail, "/v1/status");

		if (r < 0)
			return r;
		json_decref(doc);
		doc = NULL;
	}
	for (size_t i = 0; i < args_count(a); i++) {
		AUTO_JSON json_t *answer = NULL;
		const char *path = args_at(a, i);
		struct fail f = {0};
		int r = import_one(c, path, &answer, &f);

		if (r < 0) {
			bool of_file = strstr(f.message, path);
			bool no_daemon = !of_file && (f.code == FAIL_UNREACHABLE ||
						      f.code == FAIL_PERMISSION);
			struct fail named = f;

			if (!no_daemon && !of_file) {
				fail_set(&named, f.code, "%s: %s", path, f.message);
				if (f.hint[0])
					fail_hint(&named, "%s", f.hint);
			}
			/* One file: as any other command fails. Or the next would fare no better. */
			if (args_count(a) == 1 || no_daemon) {
				*reterr_fail = named;
				return r;
			}
			if (!c->json)
				cli_print_fail(c, &named);
			answer = fail_to_json(&named);
			status = status ? status : fail_exit(f.code);
		} else if (!c->json) {
			printf("%s: %s serial %s %s\n", text_safe(path),
			       text_of(answer, "name"), text_of(answer, "serial"),
			       json_is_true(json_object_get(answer, "already"))
				       ? "is stored already"
				       : "stored");
		}
		json_object_set_new(answer, "file", json_string(path));
		json_array_append(all, answer);
	}
	if (!c->json)
		return status;
	doc = json_pack("{s:O}", "imported", all);
	if (cli_print_json(doc, reterr_fail) < 0)
		return -EIO;
	return status;
}

static bool is_bundle(const char *path)
{
	AUTO_FILE FILE *f = fopen(path, "re");
	char magic[sizeof(BUNDLE_MAGIC) - 1];

	return f && fread(magic, sizeof(magic), 1, f) == 1 &&
	       memcmp(magic, BUNDLE_MAGIC, sizeof(magic)) == 0;
}

int change_run_trust_import(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	const char *path = args_at(a, 0);
	AUTO_JSON json_t *answer = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	const json_t *revocation, *status;
	size_t len;
	int r;

	if (is_bundle(path)) {
		fail_set(reterr_fail, FAIL_BAD_FORMAT, "%s is a hot-fix, not a root of trust",
			 path);
		return fail_hint(reterr_fail, "hotfixctl import %s", path);
	}
	r = io_read_file(path, DSSE_BYTES_MAX, &buf, &len);
	if (r < 0)
		return fail_set(reterr_fail,
				r == -ENOENT   ? FAIL_NOT_FOUND
				: r == -EACCES ? FAIL_PERMISSION
					       : FAIL_BAD_FORMAT,
				"%s: %s", path,
				r == -EFBIG ? "larger than any root" : strerror(-r));
	r = inspect_refuse_secret(path, buf, len, reterr_fail);
	if (r < 0)
		return r;
	r = client_call(c,
			&(struct client_call){
				.method = "POST",
				.path = c->context ? "/v1/documents" : "/v1/trust",
				.body = buf,
				.body_len = len,
				.content_type = c->context ? "application/octet-stream" : NULL},
			&answer, reterr_fail);
	if (r < 0)
		return r;
	if (c->json)
		return cli_print_json(answer, reterr_fail);
	revocation = json_object_get(answer, "revocation");
	if (revocation)
		printf("%s: %s of %s, serials %s to %s\n", text_safe(path),
		       text_of(revocation, "action"), text_of(revocation, "name"),
		       text_of(revocation, "from"), text_of(revocation, "to"));
	else if ((status = json_object_get(answer, "status")))
		printf("%s: status %s of the fleet %s, good until %s\n", text_safe(path),
		       text_of(status, "version"), text_of(status, "fleet"),
		       text_of(status, "expires"));
	else if (c->context)
		printf("%s: the controller now trusts it, and hosts take it from there; "
		       "hotfixctl --context %s trust show\n",
		       text_safe(path), c->context->name);
	else
		printf("%s: this host now trusts it; hotfixctl trust show\n", text_safe(path));
	return 0;
}

/* --- apply ---------------------------------------------------------------------------- */

static const char *text_yes(const json_t *v)
{
	return json_is_true(v) ? "yes" : "no";
}

static int print_dry_run(struct cli *c, const char *what, const json_t *doc, struct fail *f)
{
	static const struct text_column columns[] = {
		{"HOOK", 0},	      {"PROGRAM", 0},	     {"ATTACH AS", 0},
		{"KIND", 0},	      {"INSNS", TEXT_RIGHT}, {"JITED", TEXT_RIGHT},
		{"OK", TEXT_COLORED}, {"WHY", TEXT_WRAP},
	};
	const json_t *hooks = json_object_get(doc, "hooks"), *h;
	struct text_table *t;
	bool able = true;
	size_t i;

	json_array_foreach(hooks, i, h)
		able &= !json_is_false(json_object_get(h, "ok"));
	if (c->json) {
		int r = cli_print_json(doc, f);

		return r < 0 ? r : able ? 0 : fail_exit(FAIL_INCOMPATIBLE);
	}
	t = text_table_new(columns, ARRAY_SIZE(columns), c->color);
	json_array_foreach(hooks, i, h) {
		const char *as = text_of(h, "attach_as"), *target = text_of(h, "attach_target");
		char where[300];

		snprintf(where, sizeof(where), "%s%s%s", as, target[0] ? "/" : "", target);
		text_table_line(t, text_hook(h), text_of(h, "program"), where,
				text_of(h, "kind"),
				text_number_or_dash(json_object_get(h, "insns")),
				text_number_or_dash(json_object_get(h, "jited_bytes")),
				text_yes(json_object_get(h, "ok")), text_of(h, "why"));
	}
	text_table_print(t);
	printf("%s: %s; loaded in %s ms, nothing was attached\n", text_safe(what),
	       able ? "would be applied" : "cannot be applied here",
	       text_number_or_dash(json_object_get(doc, "load_ms")));
	return able ? 0 : fail_exit(FAIL_INCOMPATIBLE);
}

static int dry_run(struct cli *c, const char *path, const char *what, const json_t *body,
		   struct fail *f)
{
	AUTO_JSON json_t *doc = NULL, *error = NULL;
	int r = ask(c, "POST", path, body, &doc, &error, f);
	if (r == 0)
		return print_dry_run(c, what, doc, f);
	if (!error || c->json)
		return r;
	cli_print_fail(c, f);
	print_log(json_string_value(json_object_get(error, "log")), 0);
	return fail_exit(f->code);
}

static int apply_body(const struct args *a, uint64_t serial, json_t **ret_body, struct fail *f)
{
	static const char *const flags[][2] = {
		{"--commit", "commit"}, {"--observe", "observe"}, {"--dry-run", "dry_run"}};
	const char *trial = args_value(a, "--trial");
	AUTO_JSON json_t *body = json_object();
	uint64_t ms;

	if (trial && args_given(a, "--commit"))
		return fail_set(f, FAIL_USAGE, "--trial and --commit contradict each other");
	if (serial)
		json_object_set_new(body, "serial", json_integer((json_int_t)serial));
	if (trial) {
		if (clock_parse_duration(trial, &ms) < 0 || ms == 0)
			return fail_set(f, FAIL_USAGE,
					"--trial: \"%s\" is not a duration like 90s, 5m, 2h",
					trial);
		json_object_set_new(body, "trial_ms", json_integer((json_int_t)ms));
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (args_given(a, flags[i][0]))
			json_object_set_new(body, flags[i][1], json_true());
	*ret_body = take_ptr(body);
	return 0;
}

/* On trial, and nobody waits for its end. */
static void explain_trial(struct cli *c, const char *name, const char *what)
{
	AUTO_JSON json_t *doc = NULL;
	const json_t *left = NULL;

	if (client_get(c, &doc, NULL, "/v1/hotfixes/%s", name) == 0)
		left = json_object_get(doc, "trial_left_ms");
	if (left)
		printf("%s: live, on trial for %s\n", text_safe(what),
		       text_seconds((uint64_t)json_integer_value(left)));
	else
		printf("%s: live, on trial\n", text_safe(what));
	printf("It commits by itself when the trial ends well (hotfixctl status); "
	       "hotfixctl commit %s or hotfixctl rollback %s ends it now.\n",
	       name, name);
}

int change_run_apply(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *answer = NULL, *change = NULL, *body = NULL;
	const char *limit = args_value(a, "--wait");
	char name[HOOK_NAME_MAX + 1], what[128], path[128];
	struct follow w = {
		.c = c, .name = name, .what = what, .deadline_ms = UINT64_MAX, .applies = true};
	uint64_t serial, wait_ms = 0;
	int r;

	r = cli_parse_version(args_at(a, 0), name, &serial, reterr_fail);
	if (r == 0)
		r = apply_body(a, serial, &body, reterr_fail);
	if (r < 0)
		return r;
	if (limit && clock_parse_duration(limit, &wait_ms) < 0)
		return fail_set(reterr_fail, FAIL_USAGE,
				"--wait: \"%s\" is not a duration like 90s, 5m, 2h", limit);
	snprintf(what, sizeof(what), serial ? "apply %s@%" PRIu64 : "apply %s", name, serial);
	snprintf(path, sizeof(path), "/v1/hotfixes/%s/apply", name);
	if (args_given(a, "--dry-run"))
		return dry_run(c, path, what, body, reterr_fail);
	if (limit)
		w.deadline_ms = now_ms() + wait_ms;
	r = start(&w, "POST", path, body, &answer, reterr_fail);
	if (r != 0)
		return r;
	if (!is_over(answer) && args_given(a, "--wait")) {
		r = follow(&w, &change, reterr_fail);
		if (r == -EINTR)
			return interrupted(&w);
		return r < 0 ? r : report(&w, change, reterr_fail);
	}
	r = report(&w, answer, reterr_fail);
	if (r == 0 && !c->json && !is_over(answer))
		explain_trial(c, name, what);
	return r;
}

/* --- the rest ------------------------------------------------------------------------- */

static int simple(struct cli *c, const struct args *a, const char *verb, const json_t *body,
		  bool asks_back, struct fail *f)
{
	char name[HOOK_NAME_MAX + 1], what[128], path[128];
	uint64_t serial;
	int r;

	r = cli_parse_version(args_at(a, 0), name, &serial, f);
	if (r < 0)
		return r;
	if (serial)
		return fail_set(f, FAIL_USAGE, "%s takes a NAME without @SERIAL", verb);
	snprintf(what, sizeof(what), "%s %s", verb, name);
	snprintf(path, sizeof(path), "/v1/hotfixes/%s/%s", name, verb);
	return run(c, name, what, "POST", path, body, asks_back, f);
}

static json_t *reason_body(const struct args *a)
{
	json_t *body = json_object();

	if (args_value(a, "--reason"))
		json_object_set_new(body, "reason", json_string(args_value(a, "--reason")));
	return body;
}

int change_run_commit(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return simple(c, a, "commit", NULL, false, reterr_fail);
}

/* What never ran here is on trial then, as after an apply. */
static int roll_back_as_directed(struct cli *c, const char *arg, const char *file,
				 struct fail *f)
{
	AUTO_JSON json_t *answer = NULL, *envelope = NULL, *body = NULL;
	char name[HOOK_NAME_MAX + 1], what[128], path[128];
	struct follow w = {.c = c, .name = name, .what = what, .deadline_ms = UINT64_MAX};
	AUTO_FREE uint8_t *buf = NULL;
	uint64_t serial;
	size_t len;
	int r = cli_parse_version(arg, name, &serial, f);

	if (r == 0 && serial)
		r = fail_set(f, FAIL_USAGE, "rollback takes a NAME without @SERIAL");
	if (r == 0)
		r = inspect_read_bundle(file, &buf, &len, f);
	if (r == 0)
		r = json_parse("directive", buf, len, &envelope, f);
	if (r < 0)
		return r;
	body = json_pack("{s:O}", "directive", envelope);
	snprintf(what, sizeof(what), "rollback %s", name);
	snprintf(path, sizeof(path), "/v1/hotfixes/%s/rollback", name);
	r = start(&w, "POST", path, body, &answer, f);
	if (r != 0)
		return r;
	r = report(&w, answer, f);
	if (r == 0 && !c->json && !is_over(answer))
		explain_trial(c, name, what);
	return r;
}

int change_run_rollback(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = reason_body(a);
	const char *to = args_value(a, "--to"), *directive = args_value(a, "--directive");
	uint64_t serial;
	int r;

	if (directive) {
		if (to || args_given(a, "--reason"))
			return fail_set(reterr_fail, FAIL_USAGE,
					"--directive says where to and why, alone");
		return roll_back_as_directed(c, args_at(a, 0), directive, reterr_fail);
	}
	if (to) {
		r = cli_parse_u64("--to", to, 1, INT64_MAX, &serial, reterr_fail);
		if (r < 0)
			return r;
		json_object_set_new(body, "to", json_integer((json_int_t)serial));
	}
	return simple(c, a, "rollback", body, true, reterr_fail);
}

/* ---- disable --all ---- */

/* It runs, is being changed, or would come again by itself. */
static bool is_on(const json_t *hotfix)
{
	return json_is_integer(json_object_get(hotfix, "live_serial")) ||
	       json_object_get(hotfix, "change") ||
	       (json_is_integer(json_object_get(hotfix, "committed_serial")) &&
		strcmp(text_of(hotfix, "state"), "disabled") != 0);
}

static bool names_any(const json_t *names, const json_t *left)
{
	const json_t *name;
	size_t i;

	json_array_foreach(names, i, name)
		if (json_object_get(left, json_string_value(name)))
			return true;
	return false;
}

/* The next one that nobody requires who is left; of those that require each other, the first. */
static const char *next_of(const json_t *left)
{
	const char *name, *first = NULL;
	json_t *required_by;

	json_object_foreach((json_t *)(uintptr_t)left, name, required_by) {
		if (!names_any(required_by, left))
			return name;
		first = first ? first : name;
	}
	return first;
}

/*
 * Through the same door as any other. *ret_doc is the change, or the error that it was answered with.
 * Returns 0, an exit status or -errno with f, as a handler does; what is for people is said.
 */
static int disable_one(struct cli *c, const char *name, const json_t *body, json_t **ret_doc,
		       struct fail *f)
{
	char what[128], path[128];
	struct follow w = {.c = c,
			   .name = name,
			   .what = what,
			   .deadline_ms = now_ms() + STEP_LIMIT_MS,
			   .asks_back = true};
	AUTO_JSON json_t *answer = NULL, *error = NULL;
	int r;

	snprintf(what, sizeof(what), "disable %s", name);
	snprintf(path, sizeof(path), "/v1/hotfixes/%s/disable", name);
	show_line(&w, "under way");
	r = ask(c, "POST", path, body, &answer, &error, f);
	clear_line(&w);
	if (r == 0)
		w.id = (uint64_t)json_integer_value(json_object_get(answer, "change"));
	if (r == 0 && w.id && !is_over(answer)) {
		json_decref(answer);
		answer = NULL;
		r = follow(&w, &answer, f);
	}
	if (r == -EINTR)
		return interrupted(&w);
	if (r < 0) {
		print_warning(c, error);
		*ret_doc = error ? take_ptr(error) : fail_to_json(f);
		return r;
	}
	*ret_doc = json_incref(answer);
	if (!c->json)
		return report(&w, answer, f);
	return strcmp(outcome_of(answer), "rolled_back") == 0 ? 0 : exit_of(answer, f);
}

/* What is being loaded cannot be switched off before it is live, or failed. */
static void await_loading(struct cli *c, const char *name)
{
	const struct timespec pause = {.tv_nsec = 100000000};
	uint64_t end_ms = now_ms() + STEP_LIMIT_MS;
	bool loads = true;

	while (loads && now_ms() < end_ms && !cli_interrupted()) {
		AUTO_JSON json_t *h = NULL;
		struct fail why;

		loads = client_get(c, &h, &why, "/v1/hotfixes/%s", name) == 0 &&
			json_object_get(h, "change") &&
			strcmp(text_of(h, "state"), "trial") != 0;
		if (loads)
			nanosleep(&pause, NULL);
	}
}

static int disable_all(struct cli *c, const struct args *a, struct fail *f)
{
	AUTO_JSON json_t *doc = NULL, *left = json_object(), *done = json_array();
	AUTO_JSON json_t *body = reason_body(a), *loading = json_object();
	const json_t *h;
	const char *next;
	int status = 0, ended = 0, r;
	size_t i;

	cli_catch_interrupt();
	r = client_get(c, &doc, f, "/v1/status");
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(doc, "hotfixes"), i, h)
		if (is_on(h))
			json_object_set(left, text_of(h, "name"),
					json_object_get(h, "required_by")
						? json_object_get(h, "required_by")
						: json_null());
	if (!c->json && !json_object_size(left))
		printf("nothing runs on this host\n");
	while (!ended && ((next = next_of(left)) || (next = next_of(loading)))) {
		AUTO_JSON json_t *one = NULL;
		char name[HOOK_NAME_MAX + 1];
		struct fail why = {0};
		bool again = !json_object_get(left, next);

		snprintf(name, sizeof(name), "%s", next);
		json_object_del(again ? loading : left, name);
		if (again)
			await_loading(c, name);
		r = disable_one(c, name, body, &one, &why);
		if (r < 0 && why.code == FAIL_CONFLICT && !again) {
			json_object_set_new(loading, name, json_null()); /* the others first */
			continue;
		}
		if (r < 0 && why.code == FAIL_UNREACHABLE) {
			*f = why; /* nor would it be for the others */
			ended = r;
			break;
		}
		if (r == CLI_EXIT_INTERRUPTED)
			ended = r;
		if (r < 0 && !c->json) {
			struct fail named = {0};

			fail_set(&named, why.code, "disable %s: %s", name, why.message);
			if (why.hint[0])
				fail_hint(&named, "%s", why.hint);
			cli_print_fail(c, &named);
		}
		if (r && !status)
			status = r < 0 ? fail_exit(why.code) : r;
		if (one) {
			json_object_set_new(one, "name", json_string(name));
			json_array_append(done, one);
		}
	}
	json_decref(doc);
	doc = c->json ? json_pack("{s:O}", "changes", done) : NULL;
	if (doc && cli_print_json(doc, ended ? &(struct fail){0} : f) < 0 && !ended)
		return -EIO;
	return ended ? ended : status;
}

int change_run_disable(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	AUTO_JSON json_t *body = NULL;

	if (args_given(a, "--all") && args_count(a))
		return fail_set(reterr_fail, FAIL_USAGE, "--all or a NAME, not both");
	if (args_given(a, "--all"))
		return disable_all(c, a, reterr_fail);
	if (!args_count(a)) {
		fail_set(reterr_fail, FAIL_USAGE, "disable needs NAME");
		return fail_hint(reterr_fail, "or --all; hotfixctl status shows what runs");
	}
	body = reason_body(a);
	return simple(c, a, "disable", body, true, reterr_fail);
}

int change_run_enable(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return simple(c, a, "enable", NULL, false, reterr_fail);
}

int change_run_enforce(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return simple(c, a, "enforce", NULL, false, reterr_fail);
}

int change_run_observe(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	return simple(c, a, "observe", NULL, false, reterr_fail);
}

int change_run_retry(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	char name[HOOK_NAME_MAX + 1], what[128], path[128];
	AUTO_JSON json_t *body = reason_body(a);
	uint64_t serial;
	int r;

	r = cli_parse_version(args_at(a, 0), name, &serial, reterr_fail);
	if (r < 0)
		return r;
	if (!serial)
		return fail_set(reterr_fail, FAIL_USAGE,
				"retry takes NAME@SERIAL: one version is quarantined, not all");
	snprintf(what, sizeof(what), "retry %s@%" PRIu64, name, serial);
	snprintf(path, sizeof(path), "/v1/hotfixes/%s/%" PRIu64 "/retry", name, serial);
	return run(c, name, what, "POST", path, body, false, reterr_fail);
}

int change_run_resume(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	(void)a;
	return run(c, "", "resume", "POST", "/v1/resume", NULL, false, reterr_fail);
}

int change_run_remove(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	char name[HOOK_NAME_MAX + 1], what[128], path[128];
	uint64_t serial;
	int r;

	r = cli_parse_version(args_at(a, 0), name, &serial, reterr_fail);
	if (r < 0)
		return r;
	snprintf(what, sizeof(what), serial ? "remove %s@%" PRIu64 : "remove %s", name, serial);
	snprintf(path, sizeof(path), serial ? "/v1/hotfixes/%s/%" PRIu64 : "/v1/hotfixes/%s",
		 name, serial);
	return run(c, name, what, "DELETE", path, NULL, true, reterr_fail);
}
