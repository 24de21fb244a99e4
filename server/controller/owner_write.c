// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/owner_private.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/park.h"
#include "server/controller/roots.h"

/* One transaction: everything as it was when it was begun, whatever is stepped meanwhile. */
struct write {
	char *state;
	uint64_t from, next; /* generations */
	bool active;
	uint64_t at_ms, requests_done;
	struct fleet_rollout_host *host; /* its texts are ours */
	struct rollout_word *word;	 /* by host, the newest of each */
	char **body;
	struct rollout_audit *audit;
	size_t n_hosts, n_words, n_audits, n_signed;
	bool sent;
};

bool owner_is_started(enum rollout_state state)
{
	return state >= ROLLOUT_WAVE_STARTING && !rollout_is_over(state);
}

/* ---- what steps left -------------------------------------------------------------------- */

/* Room for n more. */
static int reserve(void **array, size_t used, size_t n, size_t *room, size_t size)
{
	size_t wanted = *room ? *room : 64;
	void *grown;

	if (used + n <= *room)
		return 0;
	while (wanted < used + n)
		wanted *= 2;
	grown = realloc(*array, wanted * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = wanted;
	return 0;
}

#define RESERVE(p, what, more)                                                     \
	reserve((void **)&(p)->what, (p)->n_##what##s, more, &(p)->room_##what##s, \
		sizeof(*(p)->what))

int pending_take(struct charge *ch, const struct rollout_effects *fx)
{
	struct pending *p = &ch->pending;

	p->touched = true;
	if (RESERVE(p, host, fx->n_hosts) < 0 || RESERVE(p, word, fx->n_words) < 0 ||
	    RESERVE(p, audit, fx->n_audits) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < fx->n_hosts; i++)
		p->host[p->n_hosts++] = fx->host[i];
	for (size_t i = 0; i < fx->n_words; i++)
		p->word[p->n_words++] = fx->word[i];
	for (size_t i = 0; i < fx->n_audits; i++)
		p->audit[p->n_audits++] = fx->audit[i];
	return 0;
}

int pending_all_hosts(struct charge *ch)
{
	struct pending *p = &ch->pending;
	size_t n = rollout_n_hosts(ch->r);

	if (RESERVE(p, host, n) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		p->host[p->n_hosts++] = rollout_host_at(ch->r, i);
	return 0;
}

int pending_note(struct charge *ch, const struct rollout_audit *audit)
{
	struct pending *p = &ch->pending;

	p->touched = true;
	if (RESERVE(p, audit, 1) < 0)
		return -ENOMEM;
	p->audit[p->n_audits++] = *audit;
	return 0;
}

void pending_clear(struct pending *p)
{
	free(p->host);
	free(p->word);
	free(p->audit);
	*p = (struct pending){0};
}

/* ---- a transaction ------------------------------------------------------------------------ */

struct write *write_free(struct write *w)
{
	if (!w)
		return NULL;
	for (size_t i = 0; w->host && i < w->n_hosts; i++) {
		free((char *)(uintptr_t)w->host[i].host);
		free((char *)(uintptr_t)w->host[i].state);
	}
	for (size_t i = 0; w->body && i < w->n_words; i++)
		free(w->body[i]);
	free(w->state);
	free(w->host);
	free(w->word);
	free(w->body);
	free(w->audit);
	free(w);
	return NULL;
}

DEFINE_AUTO(struct write, write_free)

static int by_address(const void *a, const void *b)
{
	const uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

static int by_host(const void *a, const void *b)
{
	const struct fleet_rollout_host *x = a, *y = b;

	return strcmp(x->host, y->host);
}

static int by_host_and_age(const void *a, const void *b)
{
	const struct rollout_word *x = a, *y = b;
	int order = strcmp(x->host, y->host);

	return order ? order
		     : (x->generation > y->generation) - (x->generation < y->generation);
}

static char *dumped(json_t *doc)
{
	char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	json_decref(doc);
	return text;
}

static int take_hosts(struct write *w, struct pending *p, bool holds)
{
	if (p->n_hosts)
		qsort(p->host, p->n_hosts, sizeof(*p->host), by_address);
	w->host = calloc(p->n_hosts + 1, sizeof(*w->host));
	for (size_t i = 0; w->host && i < p->n_hosts; i++) {
		const struct rollout_host *h = p->host[i];
		struct fleet_rollout_host *row = &w->host[w->n_hosts];

		if (i > 0 && h == p->host[i - 1])
			continue;
		w->n_hosts++;
		row->host = strdup(rollout_host_id(h));
		row->state = dumped(rollout_host_to_json(h));
		row->held = holds && rollout_host_state(h) != HOST_EXCLUDED;
		if (!row->host || !row->state)
			return -ENOMEM;
	}
	if (!w->host)
		return -ENOMEM;
	if (w->n_hosts)
		qsort(w->host, w->n_hosts, sizeof(*w->host), by_host);
	return 0;
}

/* Of each host the newest word. */
static int take_words(struct write *w, struct pending *p)
{
	if (p->n_words)
		qsort(p->word, p->n_words, sizeof(*p->word), by_host_and_age);
	w->word = calloc(p->n_words + 1, sizeof(*w->word));
	w->body = calloc(p->n_words + 1, sizeof(*w->body));
	if (!w->word || !w->body)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_words; i++)
		if (i + 1 == p->n_words || strcmp(p->word[i].host, p->word[i + 1].host) != 0)
			w->word[w->n_words++] = p->word[i];
	return 0;
}

static int new_write(struct charge *ch, struct write **ret_write)
{
	AUTO(write_freep) struct write *w = calloc(1, sizeof(*w));
	enum rollout_state state = rollout_state(ch->r);
	struct pending *p = &ch->pending;

	if (!w)
		return -ENOMEM;
	w->from = ch->stored;
	w->next = rollout_generation(ch->r);
	w->active = !rollout_is_over(state);
	w->at_ms = ch->o->c->real_ms();
	w->requests_done = p->requests_done;
	w->state = dumped(rollout_to_json(ch->r));
	if (!w->state || take_hosts(w, p, owner_is_started(state)) < 0 || take_words(w, p) < 0)
		return -ENOMEM;
	w->audit = take_ptr(p->audit);
	w->n_audits = p->n_audits;
	*ret_write = take_ptr(w);
	return 0;
}

void write_begin(struct charge *ch)
{
	if (ch->write || !ch->pending.touched)
		return;
	if (new_write(ch, &ch->write) < 0) {
		charge_again(ch, OWNER_RETRY_MS);
		return;
	}
	pending_clear(&ch->pending);
}

/* ---- what is written down of it -------------------------------------------------------------- */

static char *detail(const struct rollout_audit *a)
{
	json_t *doc = json_pack("{s:s, s:s, s:s, s:I}", "text", a->text, "from",
				rollout_state_name(a->from), "to", rollout_state_name(a->to),
				"generation", (json_int_t)a->generation);

	if (doc && a->host[0])
		json_object_set_new(doc, "host", json_string(a->host));
	if (doc && a->asked_by[0])
		json_object_set_new(doc, "asked_by", json_string(a->asked_by));
	if (doc && a->alarm)
		json_object_set_new(doc, "alarm", json_true());
	return dumped(doc);
}

static void log_alarm(const struct charge *ch, const struct rollout_audit *a)
{
	if (a->alarm || a->from != a->to)
		log_event(a->alarm ? LOG_WARNING : LOG_INFO,
			  "%s rollout=%s state=%s host=%.16s text=\"%s\"", a->code, ch->id,
			  rollout_state_name(a->to), a->host, a->text);
}

static void on_written(struct fleet_answer *a, void *cookie);

static int submit(struct charge *ch)
{
	struct write *w = ch->write;
	AUTO_FREE struct fleet_word *words = calloc(w->n_words + 1, sizeof(*words));
	AUTO_FREE struct fleet_entry *entries = calloc(w->n_audits + 1, sizeof(*entries));
	AUTO_FREE char **details = calloc(w->n_audits + 1, sizeof(*details));
	struct fleet_step s = {.id = ch->id,
			       .name = ch->name,
			       .epoch = ch->epoch,
			       .generation = w->from,
			       .next = w->next,
			       .state = w->state,
			       .active = w->active,
			       .at_ms = w->at_ms,
			       .requests_done = w->requests_done,
			       .hosts = w->host,
			       .words = words,
			       .entries = entries,
			       .n_hosts = w->n_hosts,
			       .n_words = w->n_words,
			       .n_entries = w->n_audits};
	bool whole = words && entries && details;
	int r;

	for (size_t i = 0; whole && i < w->n_words; i++)
		words[i] = (struct fleet_word){.host = w->word[i].host,
					       .name = ch->name,
					       .rollout = ch->id,
					       .body = w->body[i],
					       .len = strlen(w->body[i])};
	for (size_t i = 0; whole && i < w->n_audits; i++) {
		const struct rollout_audit *e = &w->audit[i];

		details[i] = detail(e);
		entries[i] = (struct fleet_entry){
			.at_ms = w->at_ms,
			.actor = strcmp(e->actor, ROLLOUT_ENGINE) == 0 ? ch->o->c->actor
								       : e->actor,
			.action = e->code,
			.subject = ch->id,
			.result = e->from != e->to ? rollout_state_name(e->to) : "noted",
			.detail = details[i],
		};
		whole = details[i] != NULL;
	}
	r = whole ? fleet_step(ch->o->c->fleet, &s, on_written, ch) : -ENOMEM;
	for (size_t i = 0; details && i < w->n_audits; i++)
		free(details[i]);
	return r;
}

/* The step is lost, and comes again when the engine has heard that nobody signs: without such words. */
static void not_signed(struct charge *ch, const struct fail *fail)
{
	uint64_t wait_ms = 2 * ch->sign_wait_ms;

	wait_ms = wait_ms < OWNER_SIGN_MS ? OWNER_SIGN_MS : wait_ms;
	ch->sign_wait_ms = wait_ms < OWNER_SIGN_MAX_MS ? wait_ms : OWNER_SIGN_MAX_MS;
	ch->sign_up_ms = clock_up_ms() + ch->sign_wait_ms;
	snprintf(ch->sign_why, sizeof(ch->sign_why), "%.199s", fail->message);
	charge_again(ch, 0);
}

bool write_go(struct charge *ch)
{
	const struct trust *trust = roots_trust(ch->o->c->roots);
	struct write *w = ch->write;
	struct fail fail;

	if (w->sent)
		return false;
	for (size_t i = 0; i < OWNER_SIGNATURES && w->n_signed < w->n_words; i++) {
		int r = director_word(ch->o->c->director, trust, &ch->words,
				      &w->word[w->n_signed], w->at_ms, &w->body[w->n_signed],
				      &fail);

		if (r < 0) {
			not_signed(ch, &fail);
			return false;
		}
		w->n_signed++;
	}
	if (w->n_signed < w->n_words)
		return true;
	if (w->n_words)
		ch->sign_wait_ms = 0;
	w->sent = true;
	charge_wait(ch, submit(ch));
	return false;
}

/* ---- what became of it -------------------------------------------------------------------------- */

static void written(struct charge *ch)
{
	struct owner *o = ch->o;
	char topic[PARK_TOPIC_BYTES];
	struct write *w = ch->write;
	bool over = !w->active;

	ch->stored = w->next;
	o->stats.writes++;
	o->stats.words += w->n_words;
	o->stats.last_write_ms = w->at_ms;
	for (size_t i = 0; i < w->n_audits; i++)
		log_alarm(ch, &w->audit[i]);
	ch->write = write_free(w);
	snprintf(topic, sizeof(topic), "rollout:%s", ch->id);
	park_wake(o->c->park, topic);
	park_wake(o->c->park, "rollouts");
	if (over)
		charge_drop(ch, "it is over");
	else
		owner_go(o);
}

/* ---- hosts that another one holds ----------------------------------------------------------------- */

static void on_asked(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;

	if (!charge_answered(ch, a))
		return;
	fleet_answer_free(a);
	if (ch->phase == CHARGE_BLOCKED && --ch->holders == 0)
		charge_again(ch, 0);
}

static int ask_to_give_way(struct charge *ch, const char *holder)
{
	AUTO_FREE char *text = dumped(
		json_pack("{s:s, s:s, s:s, s:s}", "verb", "supersede", "actor", ch->o->c->actor,
			  "reason", "a newer one holds the same hosts", "by", ch->id));
	struct fleet_entry entry = {.at_ms = ch->o->c->real_ms(),
				    .actor = ch->o->c->actor,
				    .action = "ASK_SUPERSEDE",
				    .subject = holder,
				    .result = "asked",
				    .detail = text};

	return text ? fleet_ask(ch->o->c->fleet, holder, text, &entry, on_asked, ch) : -ENOMEM;
}

/* Is a host among those that this one is about to hold? */
static bool overlaps(const struct charge *ch, struct fleet_answer *rows)
{
	struct fleet_rollout_host row;
	const struct rollout_host *h;

	while (fleet_next_rollout_host(rows, &row)) {
		h = row.held ? rollout_find(ch->r, row.host) : NULL;
		if (h && rollout_host_state(h) != HOST_EXCLUDED)
			return true;
	}
	return false;
}

static bool gives_way(const char *header)
{
	AUTO_JSON json_t *doc = json_loads(header, 0, NULL);
	const char *policy =
		json_string_value(json_object_get(json_object_get(doc, "spec"), "on_newer"));
	const char *by = json_string_value(json_object_get(doc, "superseded_by"));

	return policy && strcmp(policy, "supersede") == 0 && by && !by[0];
}

static void on_holder(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;
	struct fleet_rollout row;
	char id[ROLLOUT_ID_BYTES];
	bool asks;

	if (!charge_answered(ch, a))
		return;
	asks = ch->phase == CHARGE_BLOCKED && a->r == 0 && fleet_next_rollout(a, &row) &&
	       gives_way(row.state) && overlaps(ch, a);
	if (asks)
		snprintf(id, sizeof(id), "%s", row.id);
	fleet_answer_free(a);
	if (ch->phase != CHARGE_BLOCKED)
		return;
	if (asks && ask_to_give_way(ch, id) == 0)
		ch->questions++;
	else if (--ch->holders == 0)
		charge_again(ch, 0);
}

static void on_headers(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;
	struct fleet_rollout row;

	if (!charge_answered(ch, a))
		return;
	ch->holders = 0;
	/* Ids grow with time: an older one is not undone at the cost of a newer one. */
	while (ch->phase == CHARGE_BLOCKED && fleet_next_rollout(a, &row)) {
		if (strcmp(row.id, ch->id) >= 0 || strcmp(row.name, ch->name) != 0 ||
		    fleet_rollout(ch->o->c->fleet, row.id, on_holder, ch) < 0)
			continue;
		ch->questions++;
		ch->holders++;
	}
	fleet_answer_free(a);
	if (ch->phase == CHARGE_BLOCKED && !ch->holders)
		charge_again(ch, 0);
}

/* It keeps what it would have been: to see whose hosts it would have held. */
static void blocked(struct charge *ch)
{
	log_event(LOG_NOTICE, "another rollout holds hosts of this one rollout=%s", ch->id);
	ch->blocked = true;
	ch->blocked_up_ms = clock_up_ms() + OWNER_BLOCKED_MS;
	ch->phase = CHARGE_BLOCKED;
	charge_wait(ch, fleet_rollouts(ch->o->c->fleet, true, "", OWNER_LIST, on_headers, ch));
}

static void on_written(struct fleet_answer *a, void *cookie)
{
	struct charge *ch = cookie;
	int r = a->r;

	if (!charge_answered(ch, a))
		return;
	if (ch->phase != CHARGE_RUNS || !ch->write || !ch->write->sent) {
		fleet_answer_free(a); /* of before it was read anew */
		return;
	}
	if (r < 0)
		log_event(r == -ESTALE || r == -EEXIST ? LOG_INFO : LOG_WARNING,
			  "a step was not stored rollout=%s reason=\"%s\"", ch->id,
			  a->fail.message);
	fleet_answer_free(a);
	ch->o->stats.failed_writes += r < 0;
	if (r == 0)
		written(ch);
	else if (r == -ESTALE)
		charge_drop(ch, "it is somebody else's");
	else if (r == -EEXIST && !ch->blocked)
		blocked(ch);
	else
		charge_again(ch, OWNER_RETRY_MS);
}
