// SPDX-License-Identifier: BSD-2-Clause
#include "cli/view.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/client.h"
#include "cli/roll.h"
#include "cli/text.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"

#define POLL_MS	     20000 /* without a terminal */
#define TICK_MS	     1000  /* on one: what is left of a bake is counted down */
#define AWAY_MS	     2000  /* the controller is: look again after it */
#define AWAY_MAX_MS  120000
#define HAPPENED_MAX 8 /* shown at the bottom */
#define BAR_CELLS    24

struct watch {
	struct cli *c;
	const char *id;
	json_t *doc;		    /* as it is */
	json_t *happened;	    /* the newest rows of its history */
	uint64_t seq;		    /* of the newest */
	uint64_t until_ms, away_ms; /* since boot; 0: none */
	bool until_paused;
	size_t lines;	/* that were drawn and stand there */
	char last[256]; /* state that was told last, without a terminal */
};

/* ---- asking ------------------------------------------------------------------------------ */

static uint64_t generation_of(const json_t *doc)
{
	return doc ? (uint64_t)json_integer_value(json_object_get(doc, "generation")) : 0;
}

static int get_state(struct watch *w, uint64_t wait_ms, struct fail *f)
{
	json_t *doc;
	int r = client_get(w->c, &doc, f, "/v1/rollouts/%s?generation=%llu&wait=%llu", w->id,
			   (unsigned long long)generation_of(w->doc),
			   (unsigned long long)(w->doc ? wait_ms : 0));

	if (r < 0)
		return r;
	json_decref(w->doc);
	w->doc = doc;
	return 0;
}

static const char *text_of_row(const json_t *row)
{
	const json_t *detail = json_object_get(row, "detail");
	const char *text = text_of(detail, "text");

	if (!text[0])
		text = text_of(detail, "reason");
	return text;
}

static void tell_row(const json_t *row)
{
	const json_t *detail = json_object_get(row, "detail");
	const char *text = text_of_row(row), *host = text_of(detail, "host");
	char by[160];

	roll_describe_actor(row, by, sizeof(by));
	printf("%s %s%s%s by %s%s%s\n",
	       text_time(json_string_value(json_object_get(row, "at"))), text_of(row, "action"),
	       host[0] ? " " : "", text_short(host), by, text[0] ? ": " : "", text);
}

/* What happened since; told at once where nothing is drawn. */
static int get_history(struct watch *w, struct fail *f)
{
	size_t n;

	do {
		AUTO_JSON json_t *doc = NULL;
		const json_t *row;
		size_t i;
		int r = client_get(w->c, &doc, f, "/v1/audit?subject=%s&after=%llu&limit=1000",
				   w->id, (unsigned long long)w->seq);

		if (r < 0)
			return r;
		n = json_array_size(json_object_get(doc, "rows"));
		json_array_foreach(json_object_get(doc, "rows"), i, row) {
			w->seq = (uint64_t)json_integer_value(json_object_get(row, "seq"));
			json_array_append(w->happened, (json_t *)(uintptr_t)row);
			if (!w->c->tty && !w->c->json)
				tell_row(row);
		}
		while (json_array_size(w->happened) > HAPPENED_MAX)
			json_array_remove(w->happened, 0);
	} while (n == 1000);
	return 0;
}

/* ---- drawing ----------------------------------------------------------------------------- */

struct screen {
	FILE *out;
	size_t lines, columns, rows;
};

/* One line, cut where the terminal ends; color may be "". */
static void put(struct screen *s, const char *color, const char *text)
{
	mbstate_t state = {0};
	size_t width = 0;

	if (s->lines + 1 >= s->rows)
		return;
	fputs(color, s->out);
	while (*text) {
		wchar_t wide;
		size_t n = mbrtowc(&wide, text, strlen(text), &state);
		int w;

		if (n == 0 || n > strlen(text))
			break;
		w = wcwidth(wide);
		width += w > 0 ? (size_t)w : 0;
		if (width > s->columns)
			break;
		fwrite(text, 1, n, s->out);
		text += n;
	}
	fprintf(s->out, "%s\033[K\n", color[0] ? "\033[0m" : "");
	s->lines++;
}

static size_t count_of(const json_t *counts, const char *const *states, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (size_t)json_integer_value(json_object_get(counts, states[i]));
	return sum;
}

/* "###==--....": committed, under way, failed, to come. */
static void bar_of(const json_t *counts, char out[BAR_CELLS + 1])
{
	static const char *const good[] = {"committed"};
	static const char *const busy[] = {"offered",  "staged", "preflight",
					   "applying", "trial",	 "rolling_back"};
	static const char *const bad[] = {"rejected",	     "load_failed", "denied_by_lsm",
					  "attach_failed",   "unhealthy",   "lost",
					  "crashed",	     "drifted",	    "rolled_back",
					  "rollback_failed", "quarantined"};
	const char *state;
	size_t all = 0, done = 0;
	json_t *v;
	const struct {
		char mark;
		size_t n;
	} parts[] = {{'#', count_of(counts, good, ARRAY_SIZE(good))},
		     {'!', count_of(counts, bad, ARRAY_SIZE(bad))},
		     {'=', count_of(counts, busy, ARRAY_SIZE(busy))}};

	json_object_foreach((json_t *)(uintptr_t)counts, state, v)
		all += (size_t)json_integer_value(v);
	memset(out, all ? '.' : ' ', BAR_CELLS);
	out[BAR_CELLS] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(parts) && all; i++) {
		/* What there is at all has a mark. */
		size_t cells = (parts[i].n * BAR_CELLS + all - 1) / all;

		while (cells-- && done < BAR_CELLS)
			out[done++] = parts[i].mark;
	}
}

static void draw_waves(struct screen *s, const json_t *doc, bool color)
{
	size_t at = (size_t)json_integer_value(json_object_get(doc, "wave")), i;
	const json_t *w;

	json_array_foreach(json_object_get(doc, "waves"), i, w) {
		const json_t *counts = json_object_get(w, "hosts");
		char bar[BAR_CELLS + 1], states[256], line[400];

		bar_of(counts, bar);
		roll_describe_counts(counts, states, sizeof(states));
		snprintf(line, sizeof(line), "%c %-14s [%s] %s", i == at ? '>' : ' ',
			 text_of(w, "name"), bar, states[0] ? states : "to come");
		put(s, i == at ? text_color(color, "bold") : "", line);
	}
}

static void draw_strata(struct screen *s, const json_t *doc, bool color)
{
	const char *key, *tone;
	json_t *v;

	json_object_foreach(json_object_get(doc, "strata"), key, v) {
		char states[256], line[600];

		roll_describe_counts(json_object_get(v, "hosts"), states, sizeof(states));
		snprintf(line, sizeof(line), "  %-34s %-8s %s", text_safe(key),
			 text_of(v, "state"), states);
		tone = text_state_color(text_of(v, "state"));
		put(s, text_color(color, tone ? tone : ""), line);
	}
}

/* The first of those that wait, or failed, and why. */
static void draw_hosts(struct screen *s, const json_t *hosts, const char *tone)
{
	const json_t *v;
	size_t i;

	if (json_array_size(hosts))
		put(s, "", "");
	json_array_foreach(hosts, i, v) {
		char line[700], why[200];

		if (i == HAPPENED_MAX)
			break;
		roll_describe_code(v, why, sizeof(why));
		snprintf(line, sizeof(line), "  %s %s on %s: %s",
			 text_short(text_of(v, "host")), text_of(v, "state"),
			 text_of(v, "stratum"), why);
		put(s, tone, line);
	}
}

static void draw_all(struct screen *s, const struct watch *w)
{
	const json_t *doc = w->doc, *v;
	const char *tone = text_state_color(text_of(doc, "state"));
	char state[200], waits[128], line[700];
	bool color = w->c->color;
	size_t i;

	roll_describe_state(doc, state, sizeof(state));
	roll_describe_wait(doc, waits, sizeof(waits));
	snprintf(line, sizeof(line), "%s  %s@%s by %s", text_of(doc, "id"),
		 text_of(doc, "name"), text_of(doc, "serial"), text_of(doc, "author"));
	put(s, text_color(color, "bold"), line);
	snprintf(line, sizeof(line), "%s%s%s", state, waits[0] ? ", " : "", waits);
	put(s, text_color(color, tone ? tone : ""), line);
	snprintf(line, sizeof(line), "%s, %s of at most %s under way, %s failed%s",
		 text_n_of(doc, "eligible", "host"), text_of(doc, "in_flight"),
		 text_of(doc, "max_in_flight"), text_of(doc, "failed"),
		 w->away_ms ? "   (the controller does not answer)" : "");
	put(s, "", line);
	roll_describe_whys(doc, line, sizeof(line));
	if (line[0])
		put(s, text_color(color, "yellow"), line);
	roll_describe_finding(doc, line, sizeof(line));
	if (line[0])
		put(s, text_color(color, "yellow"), line);
	put(s, "", "");
	draw_waves(s, doc, color);
	put(s, "", "");
	draw_strata(s, doc, color);
	draw_hosts(s, json_object_get(doc, "waiting"), text_color(color, "yellow"));
	draw_hosts(s, json_object_get(doc, "troubles"), text_color(color, "red"));
	put(s, "", "");
	json_array_foreach(w->happened, i, v) {
		const char *text = text_of_row(v);
		char by[160];

		roll_describe_actor(v, by, sizeof(by));
		snprintf(line, sizeof(line), "  %s  %s by %s%s%s",
			 text_time(json_string_value(json_object_get(v, "at"))),
			 text_of(v, "action"), by, text[0] ? ": " : "", text);
		put(s, "", line);
	}
}

/* Over what stands there, in one write: nothing flickers, and nothing is left of longer lines. */
static void draw(struct watch *w)
{
	struct screen s = {.columns = 80, .rows = 24};
	struct winsize size;
	char *text = NULL;
	size_t len;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
		s.columns = size.ws_col;
		s.rows = size.ws_row;
	}
	s.out = open_memstream(&text, &len);
	if (!s.out)
		return;
	if (w->lines)
		fprintf(s.out, "\033[%zuA\r", w->lines);
	draw_all(&s, w);
	fputs("\033[J", s.out);
	if (fclose(s.out) == 0) {
		fflush(stdout);
		io_write_all(STDOUT_FILENO, text, len);
	}
	w->lines = s.lines;
	free(text);
}

/* ---- without a terminal ------------------------------------------------------------------ */

static void tell(struct watch *w)
{
	const json_t *waves = json_object_get(w->doc, "waves");
	char state[200], counts[256], line[512];

	if (w->c->json) {
		json_dumpf(w->doc, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
		fflush(stdout);
		return;
	}
	roll_describe_state(w->doc, state, sizeof(state));
	roll_describe_counts(json_object_get(w->doc, "hosts"), counts, sizeof(counts));
	snprintf(line, sizeof(line), "%s, wave %s: %s", state,
		 text_of(json_array_get(waves, (size_t)json_integer_value(
						       json_object_get(w->doc, "wave"))),
			 "name"),
		 counts);
	if (strncmp(line, w->last, sizeof(w->last) - 1) != 0)
		printf("%s: %s\n", w->id, line);
	snprintf(w->last, sizeof(w->last), "%.*s", (int)sizeof(w->last) - 1, line);
	fflush(stdout);
}

/* ---- until it ends ----------------------------------------------------------------------- */

/* What ends by itself (a window, the line, a controller that was away) is nothing to decide. */
static bool waits_for_people(const json_t *doc)
{
	static const char *const pauses[] = {"manual", "gate", "inconclusive", "budget",
					     "progress"};
	const json_t *v;
	size_t i;

	if (strcmp(text_of(doc, "state"), "pending_approval") == 0 ||
	    strcmp(text_of(doc, "state"), "rollback_incomplete") == 0)
		return true;
	json_array_foreach(json_object_get(doc, "pauses"), i, v)
		for (size_t k = 0; k < ARRAY_SIZE(pauses); k++)
			if (strcmp(pauses[k], json_string_value(v)) == 0)
				return true;
	return false;
}

/* One look; r < 0: it failed. */
static int look(struct watch *w, struct fail *f)
{
	uint64_t wait_ms = w->c->tty && !w->c->json ? TICK_MS : POLL_MS;
	uint64_t before = generation_of(w->doc), now_ms = clock_up_ms();
	bool first = !w->doc;
	int r;

	if (w->until_ms && w->until_ms - now_ms < wait_ms)
		wait_ms = w->until_ms > now_ms ? w->until_ms - now_ms : 0;
	r = get_state(w, wait_ms, f);
	if (r == 0 && (first || generation_of(w->doc) != before))
		r = get_history(w, f);
	if (r < 0)
		return r;
	w->away_ms = 0;
	if (w->c->tty && !w->c->json)
		draw(w);
	else if (first || generation_of(w->doc) != before)
		tell(w);
	return 0;
}

/* Away: a controller that restarts, or another one that takes over, is worth a little patience. */
static bool is_patient(struct watch *w, const struct fail *f)
{
	struct timespec pause = {.tv_sec = AWAY_MS / 1000};

	if (!w->doc || (f->code != FAIL_UNREACHABLE && f->code != FAIL_TIMEOUT))
		return false;
	if (!w->away_ms)
		w->away_ms = clock_up_ms();
	if (clock_up_ms() - w->away_ms > AWAY_MAX_MS)
		return false;
	if (w->c->tty && !w->c->json)
		draw(w);
	nanosleep(&pause, NULL);
	return true;
}

static int follow(struct watch *w, struct fail *f)
{
	for (;;) {
		int r = look(w, f), end = w->doc ? roll_exit(w->doc) : -1;

		if (cli_interrupted())
			return CLI_EXIT_INTERRUPTED;
		if (r < 0 && !is_patient(w, f))
			return r;
		if (r == 0 && end >= 0)
			return end;
		if (r == 0 && w->until_paused && waits_for_people(w->doc))
			return fail_exit(FAIL_CONFLICT);
		if (w->until_ms && clock_up_ms() >= w->until_ms)
			return fail_exit(FAIL_TIMEOUT);
	}
}

int view_rollout(struct cli *c, const char *id, const struct args *a, struct fail *reterr_fail)
{
	const char *wait = args_value(a, "--wait");
	struct watch w = {.c = c, .id = id, .happened = json_array()};
	uint64_t ms;
	int r;

	if (wait && clock_parse_duration(wait, &ms) < 0)
		return fail_set(reterr_fail, FAIL_USAGE,
				"--wait: \"%s\" is not a duration such as 90s, 5m, 2h", wait);
	if (wait)
		w.until_ms = clock_up_ms() + ms;
	w.until_paused = args_given(a, "--until-paused");
	cli_catch_interrupt();
	r = follow(&w, reterr_fail);
	if (r == CLI_EXIT_INTERRUPTED)
		cli_note(c, "rollout %s goes on", id);
	else if (r == fail_exit(FAIL_TIMEOUT))
		cli_note(c, "the time to wait is over; rollout %s goes on", id);
	json_decref(w.doc);
	json_decref(w.happened);
	return r;
}

int view_run(struct cli *c, const struct args *a, struct fail *reterr_fail)
{
	char id[65];
	int r = roll_find(c, args_at(a, 0), id, reterr_fail);

	return r < 0 ? r : view_rollout(c, id, a, reterr_fail);
}
