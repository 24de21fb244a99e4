// SPDX-License-Identifier: BSD-2-Clause
#include "server/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/agent_private.h"
#include "store/bundle.h" /* BUNDLE_BYTES_MAX */
#include "store/bytes.h"

#define ANSWER_BYTES_MAX    65536
#define DESIRED_BYTES_MAX   (4U << 20)
#define DOCUMENTS_BYTES_MAX (16U << 20)
#define BUNDLE_BYTES_PER_S  4096 /* slower is not waited for */
#define BUNDLE_MS	    60000
#define PART_BYTES	    65536 /* so much of a bundle is kept at once, at least */
#define PARTS_MAX	    32
#define HEARTBEAT_MS	    30000 /* until the controller says */
#define HEARTBEAT_MS_MIN    1000
#define HEARTBEAT_MS_MAX    600000
#define GRACE_MS	    5000  /* a request waits so long for another one */
#define NEAR_MS		    2000  /* a question waits so long for what the engine sees coming */
#define SOON_MS		    1000  /* and for a report that is due so soon */
#define HELD_MS		    10000 /* and for all of that no longer than this */
#define QUESTIONS_AT_ONCE   10
#define SEQ_STEP	    1024
#define NUMBER_MAX	    9007199254740991ULL /* 2^53 - 1 */
#define RENEW_AGAIN_MS	    60000
#define RENEW_AGAIN_MAX_MS  3600000
#define TOKEN_PREFIX	    "hfe1."

enum task { CA, ENROLL, REPORT, DOCUMENTS, DESIRED, RENEW, FETCH, TASKS };

struct fetched {
	struct agent_word word; /* whose bundle it is */
	uint8_t *buf;
	size_t len, kept;	      /* kept: by the engine, durably */
	unsigned int failed, spoiled; /* in a row */
	bool told;
	uint64_t at_ms; /* not before */
};

/* Documents that the engine is given, one after the other. */
struct handed {
	json_t *list; /* of [kind, text]; NULL: nothing is under way */
	size_t at;
	bool root_failed, again;
	uint64_t revocation;
};

struct agent {
	struct agent_net *net;
	const struct agent_engine *engine;
	void *cookie;
	char urls[AGENT_URLS_MAX][AGENT_URL_BYTES];
	size_t n_urls, url;
	char enroll[AGENT_URL_BYTES];
	char secret[65], pin[65];
	char *key, *name;
	bool outside;
	uint64_t backoff_ms, backoff_max_ms, answer_ms;

	char host[AGENT_ID_BYTES];
	char *certificate, *ca, *kept_url, *pinned_ca;
	struct agent_cert cert;
	uint64_t seq, seq_kept, seq_acked, revocation;
	bool must_keep;

	struct {
		struct agent *agent;
		struct agent_call *call;
	} tasks[TASKS];
	struct event *timer;
	uint64_t armed_at; /* 0: it is not */
	enum agent_state state;
	unsigned int failed, renew_failed;
	struct fail why;
	uint64_t since_ms;
	/* CLOCK_MONOTONIC: nothing before, or when; 0: not at all */
	uint64_t retry_at, report_at, question_at, renew_at;
	uint64_t answered_at, used_at; /* the last question; the connection, by anything else */
	bool reported;		       /* since the connection is there */
	uint64_t heartbeat_ms, generation;
	uint64_t wants_root, wants_catalog, wants_revocation;
	bool lags;	 /* documents are to be asked for */
	json_t *desired; /* words that wait for documents, or the last ones */
	bool undelivered;
	struct handed handed;
	struct fetched fetch;
	bool has_parts; /* the engine may have some */
};

static void run(struct agent *a);

static uint64_t mono_ms(void)
{
	return clock_mono_ns() / 1000000;
}

static uint64_t random_u64(void)
{
	uint64_t n = 0;

	return getrandom(&n, sizeof(n), 0) == sizeof(n) ? n : clock_mono_ns();
}

/* ---- pure ---------------------------------------------------------------------------------- */

uint64_t agent_backoff_ms(unsigned int failed, uint64_t base_ms, uint64_t max_ms,
			  uint64_t random)
{
	uint64_t ms = base_ms;

	while (failed > 1 && ms < max_ms) {
		ms *= 2;
		failed--;
	}
	if (ms > max_ms)
		ms = max_ms;
	return random % (ms + 1);
}

/* FNV-1a; the ids of hosts are digests, so that anything spreads them. */
static uint64_t hash(const char *text)
{
	uint64_t h = 14695981039346656037ULL;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 1099511628211ULL;
	return h ^ h >> 32;
}

uint64_t agent_phase_ms(const char *host, uint64_t heartbeat_ms, uint64_t now_ms)
{
	uint64_t phase = hash(host) % heartbeat_ms, at = now_ms % heartbeat_ms;
	uint64_t ms = (phase + heartbeat_ms - at) % heartbeat_ms;

	/* The answer comes a moment after its time: not once more for the same one. */
	return ms < heartbeat_ms / 16 ? ms + heartbeat_ms : ms;
}

static const char *const actions[] = {[AGENT_APPLY] = "apply",
				      [AGENT_WITHDRAW] = "withdraw",
				      [AGENT_END_TRIAL] = "end_trial",
				      [AGENT_ROLLBACK] = "rollback"};

const char *agent_action_name(enum agent_action action)
{
	return actions[action];
}

const char *agent_state_name(enum agent_state state)
{
	static const char *const names[] = {[AGENT_STRANGER] = "stranger",
					    [AGENT_ENROLLING] = "enrolling",
					    [AGENT_CONNECTING] = "connecting",
					    [AGENT_CONNECTED] = "connected",
					    [AGENT_WAITING] = "waiting"};

	return names[state];
}

static bool is_digest(const char *hex, uint8_t ret_raw[BYTES_SHA256])
{
	return bytes_from_hex(hex, ret_raw, BYTES_SHA256) == 0;
}

/* Fields that are not known here are a newer controller's. */
int agent_word_parse(const json_t *doc, struct agent_word *ret_word, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("word", doc, reterr_fail), b;
	struct agent_word w = {0};
	const json_t *bundle = json_obj_or_null(&f, "bundle");
	const char *name = json_str(&f, "name", HOOK_NAME_MAX);
	const char *rollout = json_str_or(&f, "rollout", sizeof(w.rollout) - 1, "");
	const char *action = json_str(&f, "action", 16);
	size_t i = 0;

	w.generation = json_u64(&f, "word", 0, NUMBER_MAX);
	w.from = json_u64_or(&f, "from", 0, NUMBER_MAX, 0);
	w.to = json_u64_or(&f, "to", 0, NUMBER_MAX, 0);
	w.retry = json_bool_or(&f, "retry", false);
	w.trial_ms = json_u64_or(&f, "trial_ms", 0, 31 * 86400000ULL, 0);
	w.min_calls = json_u64_or(&f, "min_calls", 0, NUMBER_MAX, 0);
	w.directive = json_str_or(&f, "directive", DESIRED_BYTES_MAX, NULL);
	if (f.r == 0 && !hook_name_valid(name))
		json_bad(&f, "name", "is no name of a hot-fix");
	if (f.r == 0 && rollout[0] && !hook_name_valid(rollout))
		json_bad(&f, "rollout", "is no id of a rollout");
	while (f.r == 0 && i < ARRAY_SIZE(actions) && strcmp(action, actions[i]) != 0)
		i++;
	if (f.r == 0 && i == ARRAY_SIZE(actions))
		json_bad(&f, "action", "must be apply, withdraw, end_trial or rollback");
	if (f.r < 0)
		return f.r;
	w.action = (enum agent_action)i;
	memcpy(w.name, name, strlen(name) + 1);
	memcpy(w.rollout, rollout, strlen(rollout) + 1);
	if (bundle) {
		const char *hex;

		b = json_fields("word", bundle, reterr_fail);
		hex = json_str(&b, "sha256", 64);
		w.bundle_bytes = json_u64(&b, "bytes", 1, BUNDLE_BYTES_MAX);
		if (b.r == 0 && !is_digest(hex, w.bundle_sha256))
			json_bad(&b, "sha256", "must be 64 hex digits");
		if (b.r < 0)
			return b.r;
		w.has_bundle = true;
	}
	*ret_word = w;
	return 0;
}

/* ---- what becomes of requests ---------------------------------------------------------------- */

static bool is_under_way(const struct agent *a, enum task t)
{
	return a->tasks[t].call;
}

static void cancel_all(struct agent *a)
{
	for (size_t t = 0; t < TASKS; t++)
		agent_call_cancel(take_ptr(a->tasks[t].call));
}

static void arm(struct agent *a, uint64_t at_ms)
{
	uint64_t now = mono_ms(), in = at_ms > now ? at_ms - now : 0;
	struct timeval tv = {.tv_sec = (time_t)(in / 1000),
			     .tv_usec = (suseconds_t)(in % 1000 * 1000)};

	a->armed_at = now + in;
	event_add(a->timer, &tv);
}

static bool is_denied(const struct agent_answer *answer)
{
	return answer->status == 401 || answer->status == 403;
}

/* Words of an answer that is none of those that were expected. */
static void explain(const struct agent_answer *answer, struct fail *ret_fail)
{
	AUTO_JSON json_t *doc = NULL;

	if (!answer->status) {
		*ret_fail = answer->fail;
		return;
	}
	fail_set(ret_fail,
		 is_denied(answer)	 ? FAIL_PERMISSION
		 : answer->status == 404 ? FAIL_NOT_FOUND
					 : FAIL_UNREACHABLE,
		 "the controller answers HTTP status %d", answer->status);
	if (answer->len <= ANSWER_BYTES_MAX &&
	    json_parse("answer", answer->body, answer->len, &doc, NULL) == 0 &&
	    json_is_object(json_object_get(doc, "error"))) {
		struct fail said;

		fail_from_json(doc, &said);
		fail_set(ret_fail, ret_fail->code, "the controller answers %d: %.400s",
			 answer->status, said.message);
	}
}

static void note(struct agent *a, const struct fail *why)
{
	bool is_new = a->why.code != why->code || strcmp(a->why.message, why->message) != 0;

	a->why = *why;
	if (is_new)
		log_event(a->failed > 1 ? LOG_WARNING : LOG_INFO,
			  "fleet host=%.8s state=%s failed=%u why=\"%s\"", a->host,
			  agent_state_name(a->state), a->failed, why->message);
}

/* Nothing for a while. What is parked stays, as long as its connection does. */
static void back_off(struct agent *a, const struct agent_answer *answer, const struct fail *why)
{
	uint64_t ms, jitter;

	a->failed++;
	ms = agent_backoff_ms(a->failed, a->backoff_ms, a->backoff_max_ms, random_u64());
	if (is_denied(answer)) /* it will not be forgiven by the second */
		ms = a->backoff_max_ms / 2 + ms % (a->backoff_max_ms / 2 + 1);
	if (answer->retry_after_ms) {
		jitter = answer->retry_after_ms / 4 + a->backoff_ms;
		ms = answer->retry_after_ms + random_u64() % (jitter + 1);
	}
	if (!answer->status) { /* the connection is gone */
		cancel_all(a);
		a->reported = false;
		if (a->n_urls)
			a->url = (a->url + 1) % a->n_urls;
	}
	a->retry_at = mono_ms() + ms;
	a->state = a->certificate || !is_denied(answer) ? AGENT_WAITING : AGENT_STRANGER;
	note(a, why);
}

/* It answered, and nothing that can be used. */
static void refuse(struct agent *a, const struct fail *why)
{
	back_off(a, &(struct agent_answer){.status = 200}, why);
}

/* Failures are forgotten once the controller says what it wants; until then they add up. */
static void succeed(struct agent *a, bool forget)
{
	a->retry_at = 0;
	a->since_ms = clock_real_ms();
	if (!forget)
		return;
	if (a->failed)
		log_event(LOG_INFO, "fleet host=%.8s reached controller=%s", a->host,
			  a->n_urls ? a->urls[a->url] : a->enroll);
	a->failed = 0;
	a->why.code = FAIL_NONE;
	a->why.message[0] = 0;
}

/* 200 and JSON; else a back-off. */
static json_t *take_json(struct agent *a, const struct agent_answer *answer)
{
	struct fail why;
	json_t *doc;

	if (answer->status != 200) {
		explain(answer, &why);
		back_off(a, answer, &why);
		return NULL;
	}
	if (json_parse("the controller's answer", answer->body, answer->len, &doc, &why) < 0) {
		refuse(a, &why);
		return NULL;
	}
	return doc;
}

static int ask(struct agent *a, enum task t, struct agent_request *rq, agent_done_fn done)
{
	int r;

	if (!rq->url) {
		rq->url = a->urls[a->url];
		rq->certificate = a->certificate;
		rq->key = a->key;
		rq->ca = a->ca;
	}
	if (!rq->deadline_ms)
		rq->deadline_ms = a->answer_ms;
	if (!rq->bytes_max)
		rq->bytes_max = ANSWER_BYTES_MAX;
	a->tasks[t].agent = a;
	if (t != DESIRED)
		a->used_at = mono_ms();
	r = agent_call_start(a->net, rq, done, &a->tasks[t], &a->tasks[t].call);
	if (r < 0) {
		struct fail why;

		fail_set(&why, FAIL_INTERNAL, "out of memory");
		a->tasks[t].call = NULL;
		refuse(a, &why);
	}
	return r;
}

/* The first line of each of the functions that get an answer. */
static struct agent *of(void *cookie, enum task t)
{
	struct agent *a = *(struct agent **)cookie;

	a->tasks[t].call = NULL;
	return a;
}

/* ---- what outlasts a restart ---------------------------------------------------------------- */

static void keep(struct agent *a)
{
	const struct agent_kept kept = {
		.seq = a->seq_kept,
		.revocation = a->revocation,
		.certificate = a->certificate ? a->certificate : "",
		.ca = a->ca ? a->ca : "",
		.url = a->kept_url ? a->kept_url : "",
	};

	a->must_keep = a->engine->keep(&kept, a->cookie) < 0;
}

static uint64_t next_seq(struct agent *a)
{
	if (a->seq < NUMBER_MAX)
		a->seq++;
	if (a->seq >= a->seq_kept) {
		a->seq_kept = a->seq + SEQ_STEP;
		keep(a);
	}
	return a->seq;
}

/*
 * Anew with each heartbeat: a clock that was wrong at the start, and set since, must not put it
 * off for years.
 */
static void plan_renewal(struct agent *a)
{
	uint64_t now_s = clock_real_ms() / 1000, life, at;

	if (is_under_way(a, RENEW) || a->renew_failed)
		return; /* it has a time of its own */
	a->renew_at = 0;
	if (a->outside || !a->certificate)
		return;
	life = a->cert.not_after_s - a->cert.not_before_s;
	at = a->cert.not_before_s + life / 3 * 2;
	at += life / 64 ? hash(a->host) % (life / 64) : 0; /* not all of a fleet at once */
	a->renew_at = mono_ms() + (at > now_s ? at - now_s : 0) * 1000 + 1;
}

static char *replace(char **text, const char *with)
{
	char *copy = strdup(with);

	if (copy) {
		free(*text);
		*text = copy;
	}
	return copy;
}

/* {"certificate","ca"}, of enrolment or renewal. */
static int take_certificate(struct agent *a, const json_t *doc, struct fail *reterr_fail)
{
	struct json_fields f = json_fields("the controller's answer", doc, reterr_fail);
	const char *pem = json_str(&f, "certificate", ANSWER_BYTES_MAX);
	const char *ca = json_str(&f, "ca", ANSWER_BYTES_MAX);
	struct agent_cert cert;
	int r;

	if (f.r < 0)
		return f.r;
	r = agent_cert_read(pem, a->key, &cert, reterr_fail);
	if (r < 0)
		return r;
	if (strcmp(cert.host, a->host) != 0)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"the certificate is for another host");
	if (!strstr(ca, "-----BEGIN CERTIFICATE-----"))
		return fail_set(reterr_fail, FAIL_BAD_FORMAT, "the answer names no authority");
	if (!replace(&a->certificate, pem) || !replace(&a->ca, ca))
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	a->cert = cert;
	plan_renewal(a);
	return 0;
}

/* ---- enrolment ------------------------------------------------------------------------------ */

static void on_enrolled(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, ENROLL);
	AUTO_JSON json_t *doc = take_json(a, answer);
	struct json_fields f;
	struct fail why;
	char url[AGENT_URL_BYTES];
	const char *agents, *host;
	int r;

	if (!doc) {
		run(a);
		return;
	}
	f = json_fields("the controller's answer", doc, &why);
	host = json_str(&f, "host", AGENT_ID_BYTES - 1);
	agents = json_str(&f, "agents", AGENT_URL_BYTES - 1);
	r = f.r;
	if (r == 0 && strcmp(host, a->host) != 0)
		r = fail_set(&why, FAIL_BAD_FORMAT, "it enrolled another host than this one");
	if (r == 0)
		r = agent_url_parse(agents, url, &why);
	if (r == 0)
		r = take_certificate(a, doc, &why);
	if (r == 0 && !replace(&a->kept_url, url))
		r = fail_set(&why, FAIL_INTERNAL, "out of memory");
	if (r < 0) {
		refuse(a, &why);
	} else {
		if (!a->n_urls) {
			memcpy(a->urls[0], url, sizeof(url));
			a->n_urls = 1;
		}
		succeed(a, true);
		a->state = AGENT_CONNECTING;
		keep(a);
		log_event(LOG_NOTICE, "fleet enrolled host=%s controller=%s", a->host, url);
	}
	run(a);
}

static void ask_enroll(struct agent *a)
{
	AUTO_FREE char *request = NULL, *body = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct agent_request rq = {.url = a->enroll, .path = "/v1/enroll", .ca = a->pinned_ca};
	struct fail why = {0};

	if (agent_cert_request(a->key, &request, &why) < 0) {
		refuse(a, &why);
		return;
	}
	doc = json_pack("{s:s, s:s, s:s}", "token", a->secret, "request", request, "name",
			a->name);
	body = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	rq.body = body ? body : "{}";
	ask(a, ENROLL, &rq, on_enrolled);
}

static void on_ca(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, CA);
	AUTO_JSON json_t *doc = take_json(a, answer);
	struct json_fields f;
	struct fail why;
	const char *pem;

	if (doc) {
		f = json_fields("the controller's answer", doc, &why);
		pem = json_str(&f, "ca", ANSWER_BYTES_MAX);
		if (f.r < 0 || agent_cert_pinned(pem, a->pin, &a->pinned_ca, &why) < 0)
			refuse(a, &why);
	}
	run(a);
}

static void enroll(struct agent *a, uint64_t now)
{
	struct agent_request rq = {.url = a->enroll, .path = "/v1/ca", .once = true};

	if (!a->secret[0] || !a->enroll[0]) {
		a->state = AGENT_STRANGER;
		return;
	}
	if (is_under_way(a, CA) || is_under_way(a, ENROLL))
		return;
	if (now < a->retry_at) {
		arm(a, a->retry_at);
		return;
	}
	a->state = AGENT_ENROLLING;
	if (a->pinned_ca)
		ask_enroll(a);
	else /* whoever answers is believed only what the pin bears out */
		ask(a, CA, &rq, on_ca);
}

static void on_renewed(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, RENEW);
	AUTO_JSON json_t *doc = NULL;
	struct fail why = {0};
	uint64_t ms;
	int r;

	if (answer->status != 200) {
		explain(answer, &why);
		r = -EIO;
	} else {
		r = json_parse("the controller's answer", answer->body, answer->len, &doc,
			       &why);
	}
	if (r == 0)
		r = take_certificate(a, doc, &why);
	if (r == 0) {
		a->renew_failed = 0;
		keep(a);
		log_event(LOG_NOTICE, "fleet certificate renewed host=%.8s", a->host);
	} else {
		a->renew_failed++;
		ms = agent_backoff_ms(a->renew_failed, RENEW_AGAIN_MS, RENEW_AGAIN_MAX_MS,
				      random_u64());
		a->renew_at = mono_ms() + RENEW_AGAIN_MS + ms;
		log_event(LOG_WARNING, "fleet certificate not renewed host=%.8s why=\"%s\"",
			  a->host, why.message);
	}
	run(a);
}

static void renew(struct agent *a)
{
	AUTO_FREE char *request = NULL, *body = NULL;
	AUTO_JSON json_t *doc = NULL;
	struct agent_request rq = {.path = "/v1/agent/renew", .once = true};

	a->renew_at = mono_ms() + RENEW_AGAIN_MAX_MS;
	if (agent_cert_request(a->key, &request, NULL) < 0)
		return;
	doc = json_pack("{s:s}", "request", request);
	body = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	rq.body = body;
	if (body)
		ask(a, RENEW, &rq, on_renewed);
}

/* ---- reports -------------------------------------------------------------------------------- */

static void on_reported(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, REPORT);
	AUTO_JSON json_t *doc = NULL;
	struct json_fields f;
	struct fail why;
	uint64_t seq;

	/* A report that this controller does not understand is no reason not to listen to it. */
	if (answer->status >= 400 && answer->status < 500 && !is_denied(answer) &&
	    answer->status != 408 && answer->status != 429) {
		explain(answer, &why);
		note(a, &why);
		a->reported = true;
		a->report_at = mono_ms() + a->backoff_max_ms;
		run(a);
		return;
	}
	doc = take_json(a, answer);
	if (!doc) {
		if (!a->report_at)
			a->report_at = a->retry_at;
		run(a);
		return;
	}
	f = json_fields("the controller's answer", doc, &why);
	seq = json_u64(&f, "seq", 0, NUMBER_MAX);
	if (f.r < 0) {
		refuse(a, &why);
		run(a);
		return;
	}
	succeed(a, false);
	a->reported = true;
	a->seq_acked = seq;
	/* It knows later ones of this host: our database is older than that. */
	if (seq > a->seq && seq < NUMBER_MAX / 2) {
		a->seq = seq;
		a->report_at = mono_ms() + GRACE_MS;
	}
	run(a);
}

static void report(struct agent *a)
{
	AUTO_JSON json_t *doc = a->engine->report(a->cookie);
	AUTO_FREE char *body = NULL;
	struct agent_request rq = {.path = "/v1/agent/report"};

	a->report_at = 0;
	if (doc && json_object_set_new(doc, "seq", json_integer((json_int_t)next_seq(a))) == 0)
		body = json_dumps(doc, JSON_COMPACT);
	rq.body = body;
	if (body)
		ask(a, REPORT, &rq, on_reported);
	else
		a->report_at = mono_ms() + a->backoff_ms;
}

/* ---- what the controller wants --------------------------------------------------------------- */

static const struct agent_word *find_bundle(const struct agent_word *words, size_t n,
					    const uint8_t sha256[32])
{
	for (size_t i = 0; i < n; i++)
		if (words[i].has_bundle && memcmp(words[i].bundle_sha256, sha256, 32) == 0)
			return &words[i];
	return NULL;
}

static void fetch_clear(struct fetched *f)
{
	free(f->buf);
	*f = (struct fetched){0};
}

static void drop_parts(struct agent *a)
{
	if (a->has_parts && a->engine->drop_parts)
		a->engine->drop_parts(a->cookie);
	a->has_parts = false;
	a->fetch.kept = 0;
}

/* The last part is never kept by itself: what is whole goes to the engine. */
static void keep_part(struct agent *a, uint64_t at, const uint8_t *bytes, size_t len)
{
	struct fetched *f = &a->fetch;

	if (!a->engine->keep_part || at > f->kept || at + len <= f->kept ||
	    at + len >= f->word.bundle_bytes)
		return;
	a->has_parts = true;
	if (a->engine->keep_part(f->word.bundle_sha256, f->kept, bytes + (f->kept - at),
				 at + len - f->kept, a->cookie) == 0)
		f->kept = at + len;
}

static void begin_fetch(struct agent *a, const struct agent_word *w)
{
	struct fetched *f = &a->fetch;

	f->word = *w;
	f->word.directive = NULL;
	if (!a->engine->kept_part ||
	    a->engine->kept_part(w->bundle_sha256, &f->buf, &f->len, a->cookie) < 0)
		return;
	f->kept = f->len;
	if (f->len < w->bundle_bytes) {
		log_event(LOG_INFO, "fleet bundle of %s goes on host=%.8s bytes=%zu", w->name,
			  a->host, f->len);
		return;
	}
	f->len = 0; /* it was said to be longer before */
	drop_parts(a);
}

/* One at a time; what is half there is gone on with as long as it is wanted. */
static void plan_fetch(struct agent *a, const struct agent_word *words, size_t n)
{
	const struct agent_word *w;

	if (is_under_way(a, FETCH))
		return;
	if (a->fetch.word.has_bundle) {
		w = find_bundle(words, n, a->fetch.word.bundle_sha256);
		if (w && w->bundle_bytes == a->fetch.word.bundle_bytes &&
		    !a->engine->has_bundle(w->bundle_sha256, a->cookie)) {
			a->fetch.word = *w;
			a->fetch.word.directive = NULL;
			return;
		}
		fetch_clear(&a->fetch);
	}
	for (size_t i = 0; i < n; i++)
		if (words[i].has_bundle &&
		    !a->engine->has_bundle(words[i].bundle_sha256, a->cookie)) {
			begin_fetch(a, &words[i]);
			return;
		}
	drop_parts(a);
}

static struct agent_word *read_words(struct agent *a, size_t *ret_n)
{
	const json_t *list = json_object_get(a->desired, "words"), *doc;
	struct agent_word *words = calloc(json_array_size(list) + 1, sizeof(*words));
	struct fail why;
	size_t i;

	*ret_n = 0;
	json_array_foreach(list, i, doc) {
		if (!words)
			break;
		if (agent_word_parse(doc, &words[*ret_n], &why) == 0)
			++*ret_n;
		else
			note(a, &why);
	}
	return words;
}

static void deliver(struct agent *a)
{
	AUTO_FREE struct agent_word *words = NULL;
	size_t n;

	a->undelivered = false;
	words = read_words(a, &n);
	if (!words)
		return;
	a->engine->words(words, n, a->cookie);
	plan_fetch(a, words, n);
}

static uint64_t u64_of(const json_t *doc, const char *key)
{
	const json_t *n = json_object_get(doc, key);

	return json_is_integer(n) && json_integer_value(n) > 0 ? (uint64_t)json_integer_value(n)
							       : 0;
}

static void compare_versions(struct agent *a)
{
	struct agent_versions have = {0};

	a->engine->versions(&have, a->cookie);
	a->lags = a->wants_root > have.root || a->wants_catalog > have.catalog ||
		  a->wants_revocation > a->revocation;
}

static void on_desired(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, DESIRED);
	json_t *doc = take_json(a, answer);
	struct json_fields f;
	struct fail why;
	uint64_t generation, heartbeat_ms;

	if (!doc) {
		run(a);
		return;
	}
	f = json_fields("the controller's answer", doc, &why);
	generation = json_u64(&f, "generation", 0, NUMBER_MAX);
	heartbeat_ms = json_u64(&f, "heartbeat_ms", 1, NUMBER_MAX);
	if (!json_arr_or_null(&f, "words", AGENT_WORDS_MAX) && f.r == 0)
		json_bad(&f, "words", "is missing");
	if (f.r < 0) {
		json_decref(doc);
		refuse(a, &why);
		run(a);
		return;
	}
	succeed(a, true);
	a->state = AGENT_CONNECTED;
	a->generation = generation;
	a->heartbeat_ms = heartbeat_ms < HEARTBEAT_MS_MIN   ? HEARTBEAT_MS_MIN
			  : heartbeat_ms > HEARTBEAT_MS_MAX ? HEARTBEAT_MS_MAX
							    : heartbeat_ms;
	a->wants_root = u64_of(doc, "root");
	a->wants_catalog = u64_of(doc, "catalog");
	a->wants_revocation = u64_of(doc, "revocation");
	json_decref(a->desired);
	a->desired = doc;
	a->undelivered = true;
	a->answered_at = mono_ms();
	compare_versions(a);
	plan_renewal(a);
	run(a);
}

/* ends_ms: when something will have to be reported. The question is back by then. */
static void ask_desired(struct agent *a, uint64_t now, uint64_t ends_ms)
{
	uint64_t wait =
		a->heartbeat_ms ? agent_phase_ms(a->host, a->heartbeat_ms, clock_real_ms()) : 0;
	char path[128];
	struct agent_request rq = {.path = path, .bytes_max = DESIRED_BYTES_MAX};

	if (ends_ms && ends_ms < wait)
		wait = ends_ms;
	rq.deadline_ms = wait + a->answer_ms;
	/* One a second, and a few more: who answers at once is not asked all the time. */
	if (a->question_at + QUESTIONS_AT_ONCE * 1000 < now)
		a->question_at = now - QUESTIONS_AT_ONCE * 1000;
	a->question_at += 1000;
	snprintf(path, sizeof(path), "/v1/agent/desired?generation=%" PRIu64 "&wait=%" PRIu64,
		 a->generation, wait);
	ask(a, DESIRED, &rq, on_desired);
}

/* ---- documents -------------------------------------------------------------------------------- */

static bool is_passing(int r)
{
	return r == -ENOMEM || r == -ENOSPC || r == -EIO || r == -EROFS || r == -EBUSY;
}

static void log_refused(const struct agent *a, enum agent_document kind, const struct fail *why)
{
	static const char *const names[] = {[AGENT_ROOT] = "root",
					    [AGENT_CATALOG] = "catalog",
					    [AGENT_REVOCATION] = "revocation"};

	log_event(LOG_WARNING, "fleet %s not taken in host=%.8s why=\"%s\"", names[kind],
		  a->host, why->message);
}

static int add_document(struct handed *h, enum agent_document kind, const json_t *text)
{
	return json_is_string(text)
		       ? json_array_append_new(h->list, json_pack("[i, O]", (int)kind, text))
		       : 0;
}

static void end_documents(struct agent *a)
{
	struct handed *h = &a->handed;

	json_decref(h->list);
	h->list = NULL;
	if (!h->again && a->revocation != h->revocation) {
		a->revocation = h->revocation;
		keep(a);
	}
	agent_changed(a);
}

/* In their order: what follows is judged by the root before it. */
static void hand_in(struct agent *a)
{
	struct handed *h = &a->handed;

	for (; h->at < json_array_size(h->list); h->at++) {
		const json_t *one = json_array_get(h->list, h->at),
			     *text = json_array_get(one, 1);
		enum agent_document kind =
			(enum agent_document)json_integer_value(json_array_get(one, 0));
		struct fail why = {0};
		int r;

		if (kind == AGENT_ROOT && h->root_failed)
			continue;
		r = a->engine->document(kind, json_string_value(text), json_string_length(text),
					&why, a->cookie);
		if (r == -EINPROGRESS)
			return;
		if (r < 0)
			log_refused(a, kind, &why);
		h->root_failed = h->root_failed || (kind == AGENT_ROOT && r < 0);
		h->again = h->again || (kind == AGENT_REVOCATION && is_passing(r));
	}
	end_documents(a);
}

void agent_document_done(struct agent *a, int r, const struct fail *why)
{
	struct handed *h = &a->handed;
	enum agent_document kind = (enum agent_document)json_integer_value(
		json_array_get(json_array_get(h->list, h->at), 0));

	if (!h->list)
		return;
	if (r < 0)
		log_refused(a, kind, why);
	h->root_failed = h->root_failed || (kind == AGENT_ROOT && r < 0);
	h->at++;
	hand_in(a);
	run(a);
}

static void on_documents(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, DOCUMENTS);
	struct handed *h = &a->handed;
	AUTO_JSON json_t *doc = take_json(a, answer);
	const json_t *text;
	size_t i;

	a->lags = false; /* whatever it was: asked again after the next heartbeat */
	if (doc) {
		succeed(a, false);
		*h = (struct handed){.list = json_array(), .revocation = a->wants_revocation};
		json_array_foreach(json_object_get(doc, "roots"), i, text)
			add_document(h, AGENT_ROOT, text);
		add_document(h, AGENT_CATALOG, json_object_get(doc, "catalog"));
		json_array_foreach(json_object_get(doc, "revocations"), i, text)
			add_document(h, AGENT_REVOCATION, text);
		hand_in(a);
	}
	run(a);
}

static void ask_documents(struct agent *a)
{
	struct agent_versions have = {0};
	char path[160];
	struct agent_request rq = {.path = path, .bytes_max = DOCUMENTS_BYTES_MAX};

	a->engine->versions(&have, a->cookie);
	snprintf(path, sizeof(path),
		 "/v1/agent/documents?root=%" PRIu64 "&catalog=%" PRIu64 "&revocation=%" PRIu64,
		 have.root, have.catalog, a->revocation);
	ask(a, DOCUMENTS, &rq, on_documents);
}

/* ---- bundles ---------------------------------------------------------------------------------- */

static void fetch_later(struct agent *a, const struct fail *why)
{
	struct fetched *f = &a->fetch;

	f->failed++;
	f->at_ms = mono_ms() +
		   agent_backoff_ms(f->failed, a->backoff_ms, a->backoff_max_ms, random_u64());
	log_event(LOG_INFO, "fleet bundle of %s not fetched host=%.8s bytes=%zu why=\"%s\"",
		  f->word.name, a->host, f->len, why->message);
	/* A connection that breaks now and then is nobody's concern. */
	if (f->failed < 3 && !f->spoiled && why->code != FAIL_NOT_FOUND)
		return;
	if (!f->told)
		a->engine->bundle(&f->word, NULL, 0, why, a->cookie);
	f->told = true;
}

static int add_bytes(struct fetched *f, const uint8_t *bytes, size_t len)
{
	uint8_t *grown;

	if (len > f->word.bundle_bytes - f->len)
		return -EFBIG;
	grown = realloc(f->buf, f->len + len + 1);
	if (!grown)
		return -ENOMEM;
	f->buf = grown;
	memcpy(f->buf + f->len, bytes, len);
	f->len += len;
	return 0;
}

static void on_part(const struct agent_answer *so_far, void *cookie)
{
	struct agent *a = *(struct agent **)cookie;
	const struct fetched *f = &a->fetch;

	if (so_far->begun == 200)
		keep_part(a, 0, so_far->body, so_far->len);
	else if (so_far->begun == 206 && so_far->has_range && so_far->range_at == f->len)
		keep_part(a, f->len, so_far->body, so_far->len);
}

static void on_fetched(const struct agent_answer *answer, void *cookie)
{
	struct agent *a = of(cookie, FETCH);
	struct fetched *f = &a->fetch;
	uint8_t digest[BYTES_SHA256];
	AUTO_FREE struct agent_word *words = NULL;
	struct fail why;
	size_t n;
	int r = 0;

	/* A part of it is kept when its connection breaks. */
	if (answer->begun == 200)
		f->len = 0;
	if (!answer->status && answer->fail.code == FAIL_BAD_FORMAT)
		r = -EBADMSG; /* longer than it can be, or another part */
	else if (answer->begun == 200 ||
		 (answer->begun == 206 && answer->has_range && answer->range_at == f->len))
		r = add_bytes(f, answer->body, answer->len);
	else if (answer->begun == 206 || answer->begun == 416)
		r = -EBADMSG;
	if (r == 0 && f->len == f->word.bundle_bytes) {
		bytes_sha256(f->buf, f->len, digest);
		if (memcmp(digest, f->word.bundle_sha256, sizeof(digest)) == 0) {
			a->engine->bundle(&f->word, f->buf, f->len, NULL, a->cookie);
			fetch_clear(f);
			words = read_words(a, &n);
			if (words)
				plan_fetch(a, words, n);
			run(a);
			return;
		}
		r = -EBADMSG;
	}
	if (r == 0)
		keep_part(a, 0, f->buf, f->len);
	if (r < 0) {
		f->len = 0;
		drop_parts(a);
		f->spoiled++;
		fail_set(&why, FAIL_BAD_DIGEST,
			 "what was fetched is not the bundle that was named");
	} else if (answer->status == 200 || answer->status == 206) {
		fail_set(&why, FAIL_BAD_FORMAT, "a part of the bundle came, and no more");
	} else {
		explain(answer, &why);
	}
	fetch_later(a, &why);
	if (answer->retry_after_ms)
		f->at_ms = mono_ms() + answer->retry_after_ms + random_u64() % 1000;
	run(a);
}

static void fetch(struct agent *a)
{
	struct fetched *f = &a->fetch;
	uint64_t left = f->word.bundle_bytes - f->len, from = f->len;
	char path[128], hex[BYTES_SHA256_HEX];
	struct agent_request rq = {
		.path = path,
		.range_at = from ? &from : NULL,
		.bytes_max = left,
		.deadline_ms = BUNDLE_MS + left * 1000 / BUNDLE_BYTES_PER_S,
		.once = is_under_way(a, DESIRED),
		.progress = on_part,
		.progress_bytes = f->word.bundle_bytes / PARTS_MAX,
	};

	if (rq.progress_bytes < PART_BYTES)
		rq.progress_bytes = PART_BYTES;
	/* The whole of it comes from who knows no ranges. */
	if (from)
		rq.bytes_max = f->word.bundle_bytes;
	snprintf(path, sizeof(path), "/v1/agent/bundles/%s",
		 bytes_to_hex(f->word.bundle_sha256, BYTES_SHA256, hex));
	ask(a, FETCH, &rq, on_fetched);
}

/* ---- what is next ------------------------------------------------------------------------------ */

static void earlier(uint64_t *at, uint64_t than)
{
	if (than && (!*at || than < *at))
		*at = than;
}

/*
 * What two requests at once need is another connection, whose handshake costs a controller more than both:
 * one waits for the other, unless that takes long.
 */
static bool is_taken(const struct agent *a, uint64_t now)
{
	return (is_under_way(a, REPORT) || is_under_way(a, DOCUMENTS) ||
		is_under_way(a, FETCH)) &&
	       now < a->used_at + GRACE_MS;
}

/* Nor is a question parked when a report is to be expected; but nobody reports for ever. */
static uint64_t ask_at(const struct agent *a, uint64_t now, uint64_t ends_ms)
{
	uint64_t at = 0;

	if (is_taken(a, now))
		at = a->used_at + GRACE_MS;
	else if (ends_ms < NEAR_MS)
		at = a->answered_at + NEAR_MS;
	else if (a->report_at && a->report_at < now + SOON_MS)
		at = a->report_at + 1;
	if (at > a->answered_at + HELD_MS)
		at = a->answered_at + HELD_MS;
	return at > a->question_at ? at : a->question_at;
}

static void converse(struct agent *a, uint64_t now)
{
	struct fetched *f = &a->fetch;
	uint64_t next = 0, ends_ms, at;

	if (a->renew_at && now >= a->renew_at && !is_under_way(a, RENEW))
		renew(a);
	if (!a->reported && !is_under_way(a, REPORT)) {
		report(a);
		arm(a, now + a->backoff_ms);
	}
	if (!a->reported)
		return; /* until that is over */
	if (a->lags && !is_taken(a, now) && !is_under_way(a, DOCUMENTS) && !a->handed.list)
		ask_documents(a);
	if (a->undelivered && !a->lags && !is_under_way(a, DOCUMENTS) && !a->handed.list)
		deliver(a);
	if (a->report_at && now >= a->report_at && !is_taken(a, now) &&
	    !is_under_way(a, REPORT))
		report(a);
	if (f->word.has_bundle && now >= f->at_ms && !is_taken(a, now) &&
	    !is_under_way(a, FETCH))
		fetch(a);
	if (now < a->retry_at) { /* one of these has just failed */
		arm(a, a->retry_at);
		return;
	}
	if (!is_under_way(a, DESIRED) && !is_under_way(a, DOCUMENTS)) {
		ends_ms = a->engine->ends_ms ? a->engine->ends_ms(a->cookie) : UINT64_MAX;
		at = ask_at(a, now, ends_ms);
		if (now >= at)
			ask_desired(a, now, ends_ms);
		else
			earlier(&next, at);
	}
	if (is_taken(a, now)) {
		earlier(&next, a->used_at + GRACE_MS);
	} else {
		if (!is_under_way(a, REPORT))
			earlier(&next, a->report_at);
		if (f->word.has_bundle && !is_under_way(a, FETCH))
			earlier(&next, f->at_ms + 1);
	}
	earlier(&next, a->renew_at);
	if (next)
		arm(a, next);
}

static void run(struct agent *a)
{
	uint64_t now = mono_ms();

	event_del(a->timer);
	a->armed_at = 0;
	if (a->must_keep)
		keep(a);
	if (a->certificate && a->cert.not_after_s * 1000 <= clock_real_ms() && a->secret[0] &&
	    a->enroll[0] && !a->outside) {
		/* It came to its end while nobody could be reached. */
		free(take_ptr(a->certificate));
		a->cert = (struct agent_cert){0};
	}
	if (!a->certificate) {
		enroll(a, now);
		return;
	}
	if (now < a->retry_at) {
		arm(a, a->retry_at);
		return;
	}
	if (a->state != AGENT_CONNECTED)
		a->state = AGENT_CONNECTING;
	converse(a, now);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd, (void)what;
	run(cookie);
}

void agent_changed(struct agent *a)
{
	uint64_t at = mono_ms() + AGENT_COALESCE_MS;

	if (!a->reported && !is_under_way(a, REPORT)) /* the first one will have it */
		return;
	if (!a->report_at || a->report_at > at)
		a->report_at = at;
	if (at >= a->retry_at && (!a->armed_at || a->armed_at > at))
		arm(a, at);
}

void agent_status(const struct agent *a, struct agent_status *ret_status)
{
	uint64_t now = mono_ms();

	*ret_status = (struct agent_status){
		.state = a->state,
		.host = a->host,
		.url = a->certificate && a->n_urls ? a->urls[a->url] : a->enroll,
		.since_ms = a->since_ms,
		.failed = a->failed,
		.retry_in_ms = a->retry_at > now ? a->retry_at - now : 0,
		.not_after_s = a->cert.not_after_s,
		.heartbeat_ms = a->heartbeat_ms,
		.generation = a->generation,
		.seq = a->seq_acked,
		.why = &a->why,
	};
}

/* ---- begin and end ------------------------------------------------------------------------------ */

static int take_urls(struct agent *a, const char *text, struct fail *reterr_fail)
{
	char word[AGENT_URL_BYTES];
	int r = 0;

	for (text += strspn(text, " "); r == 0 && *text; text += strspn(text, " ")) {
		size_t len = strcspn(text, " ");

		if (a->n_urls == AGENT_URLS_MAX || len >= sizeof(word))
			return fail_set(reterr_fail, FAIL_USAGE,
					"too many controllers, or too long a name");
		snprintf(word, len + 1, "%s", text);
		r = agent_url_parse(word, a->urls[a->n_urls], reterr_fail);
		a->n_urls += r == 0;
		text += len;
	}
	return r;
}

/* "hfe1." SECRET "." PIN */
static int take_token(struct agent *a, const char *text, struct fail *reterr_fail)
{
	const size_t prefix = sizeof(TOKEN_PREFIX) - 1;
	uint8_t raw[BYTES_SHA256];

	if (strlen(text) != prefix + 64 + 1 + 64 || strncmp(text, TOKEN_PREFIX, prefix) != 0 ||
	    text[prefix + 64] != '.')
		return fail_set(reterr_fail, FAIL_USAGE,
				"what [fleet] token_file has is no enrolment token");
	snprintf(a->secret, sizeof(a->secret), "%s", text + prefix);
	snprintf(a->pin, sizeof(a->pin), "%s", text + prefix + 65);
	if (!is_digest(a->secret, raw) || !is_digest(a->pin, raw))
		return fail_set(reterr_fail, FAIL_USAGE,
				"what [fleet] token_file has is no enrolment token");
	return 0;
}

static int take_kept(struct agent *a, const struct agent_kept *kept, struct fail *reterr_fail)
{
	int r;

	a->seq = a->seq_kept = kept->seq;
	a->revocation = kept->revocation;
	if (kept->url && kept->url[0]) {
		a->kept_url = strdup(kept->url);
		if (!a->n_urls && agent_url_parse(kept->url, a->urls[0], NULL) == 0)
			a->n_urls = 1;
	}
	if (!kept->certificate || !kept->certificate[0])
		return a->outside ? fail_set(reterr_fail, FAIL_USAGE, "there is no certificate")
				  : 0;
	r = agent_cert_read(kept->certificate, a->key, &a->cert, reterr_fail);
	if (r < 0)
		return r;
	if (!a->n_urls || !kept->ca || !kept->ca[0])
		return fail_set(reterr_fail, FAIL_USAGE,
				"there is a certificate, but no %s to show it to",
				a->n_urls ? "authority of a controller" : "controller");
	memcpy(a->host, a->cert.host, sizeof(a->host));
	a->certificate = strdup(kept->certificate);
	a->ca = strdup(kept->ca);
	if (!a->certificate || !a->ca)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	return 0;
}

int agent_new(struct agent_net *net, const struct agent_opts *opts, struct agent **ret_agent,
	      struct fail *reterr_fail)
{
	AUTO(agent_freep) struct agent *a = calloc(1, sizeof(*a));
	struct fail stranger = {0};
	int r;

	if (!a)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	a->net = net;
	a->engine = opts->engine;
	a->cookie = opts->cookie;
	a->outside = opts->outside;
	a->has_parts = true;
	a->backoff_ms = opts->backoff_ms ? opts->backoff_ms : AGENT_BACKOFF_MS;
	a->backoff_max_ms = opts->backoff_max_ms ? opts->backoff_max_ms : AGENT_BACKOFF_MAX_MS;
	a->answer_ms = opts->answer_ms ? opts->answer_ms : AGENT_ANSWER_MS;
	a->key = strdup(opts->key);
	a->name = strdup(opts->name ? opts->name : "");
	a->timer = evtimer_new(agent_net_base(net), on_timer, a);
	if (!a->key || !a->name || !a->timer)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = take_urls(a, opts->controllers ? opts->controllers : "", reterr_fail);
	if (r == 0 && opts->enroll && opts->enroll[0])
		r = agent_url_parse(opts->enroll, a->enroll, reterr_fail);
	if (r == 0 && opts->token && opts->token[0])
		r = take_token(a, opts->token, reterr_fail);
	if (r == 0)
		r = take_kept(a, &opts->kept, reterr_fail);
	if (r == 0 && !a->certificate)
		r = agent_cert_host(a->key, a->host, reterr_fail);
	if (r < 0)
		return r;
	if (!a->certificate && !a->secret[0]) {
		fail_set(&stranger, FAIL_USAGE, "it needs an enrolment token%s%s",
			 opts->no_token ? ": " : "", opts->no_token ? opts->no_token : "");
		note(a, &stranger);
	}
	/* Hosts spread over the controllers. */
	a->url = a->n_urls ? hash(a->host) % a->n_urls : 0;
	plan_renewal(a);
	arm(a, 0);
	*ret_agent = take_ptr(a);
	return 0;
}

struct agent *agent_free(struct agent *a)
{
	if (!a)
		return NULL;
	cancel_all(a);
	if (a->timer)
		event_free(a->timer);
	fetch_clear(&a->fetch);
	json_decref(a->desired);
	json_decref(a->handed.list);
	if (a->key)
		explicit_bzero(a->key, strlen(a->key));
	explicit_bzero(a->secret, sizeof(a->secret));
	free(a->key);
	free(a->name);
	free(a->certificate);
	free(a->ca);
	free(a->kept_url);
	free(a->pinned_ca);
	free(a);
	return NULL;
}
