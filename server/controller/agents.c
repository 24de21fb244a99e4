// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/agents_private.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>

#include <event2/keyvalq_struct.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/controller/catalogue.h"
#include "server/controller/database.h"
#include "server/controller/enrol.h"
#include "server/controller/park.h"
#include "server/controller/reports.h"
#include "server/controller/roots.h"
#include "store/bytes.h"
#include "store/trust.h"

#define PAGE		 1000
#define REVOKED_EVERY_MS 5000
#define HOLD_MS		 60000
#define AWAY_MS		 2000
#define ARRIVALS_FOR_US	 10000000 /* how long those who were put off are remembered */

static const struct timeval poll_every = {.tv_sec = 1}, soon = {0};

/* ---- hosts in memory ------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct guest *)a)->id, ((const struct guest *)b)->id);
}

static struct guest *guest_of(struct agents *a, const char *id)
{
	struct guest *g, **found, key;

	snprintf(key.id, sizeof(key.id), "%s", id);
	found = tfind(&key, &a->guests, compare);
	if (found)
		return *found;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	memcpy(g->id, key.id, sizeof(g->id));
	STAILQ_INIT(&g->calls);
	if (!tsearch(g, &a->guests, compare)) {
		free(g);
		return NULL;
	}
	a->n_guests++;
	return g;
}

static void guest_free(void *at)
{
	struct guest *g = at;
	struct call *call;

	while ((call = STAILQ_FIRST(&g->calls))) {
		STAILQ_REMOVE_HEAD(&g->calls, link);
		call->pending = false;
		agents_end(call);
	}
	free(g);
}

static const char *topic_of(const struct guest *g, char out[AGENTS_TOPIC_ROOM])
{
	snprintf(out, AGENTS_TOPIC_ROOM, "agent:%s", g->id);
	return out;
}

static void wake(struct agents *a, const struct guest *g)
{
	char topic[AGENTS_TOPIC_ROOM];

	park_wake(a->c->park, topic_of(g, topic));
}

/* ---- calls ------------------------------------------------------------------------------------- */

struct call *agents_end(struct call *call)
{
	if (!call || call->parked || call->pending)
		return NULL;
	if (call->holds_stream)
		agents_bundle_end(call);
	agents_report_free(call->report_texts);
	free(call->piece);
	free(call->text);
	free(call);
	return NULL;
}

void agents_refuse(struct agents *a, struct evhttp_request *req, const struct fail *fail)
{
	if (fail_http(fail->code) == 503)
		a->stats.put_off++;
	else
		a->stats.refused++;
	serve_refuse(req, fail);
}

void agents_then_fail(struct call *call)
{
	agents_refuse(call->a, take_ptr(call->req), &call->fail);
	agents_end(call);
}

void agents_then_text(struct call *call)
{
	serve_answer_bytes(take_ptr(call->req), 200, "application/json", call->text,
			   strlen(call->text));
	agents_end(call);
}

static void on_held(struct evhttp_request *req, enum park_end why, void *cookie)
{
	struct call *call = cookie;

	call->parked = false;
	call->req = req;
	if (req && why == PARK_WOKEN) {
		call->then(call);
		return;
	}
	if (req) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "the controller is stopping");
		agents_then_fail(call);
		return;
	}
	agents_end(call);
}

bool agents_hold(struct call *call)
{
	struct fail fail;

	snprintf(call->topic, sizeof(call->topic), "call:%" PRIu64, call->a->next_topic++);
	if (park_wait(call->a->c->park, call->req, call->topic, HOLD_MS, on_held, call, &fail) <
	    0) {
		call->fail = fail;
		agents_then_fail(call);
		return false;
	}
	call->req = NULL;
	call->parked = true;
	return true;
}

void agents_ready(struct call *call, void (*then)(struct call *call))
{
	call->pending = false;
	call->then = then;
	if (call->parked)
		park_wake(call->a->c->park, call->topic);
	else
		agents_end(call);
}

int agents_query_u64(struct evhttp_request *req, const char *key, uint64_t *ret_value)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(req));
	struct evkeyvalq all = {.tqh_first = NULL};
	const char *text;
	uint64_t n = 0;
	int r = -1;

	if (!query || evhttp_parse_query_str(query, &all) < 0)
		return -1;
	text = evhttp_find_header(&all, key);
	if (text && *text && strlen(text) < 17 && strspn(text, "0123456789") == strlen(text)) {
		n = strtoull(text, NULL, 10);
		r = 0;
	}
	evhttp_clear_headers(&all);
	if (r == 0)
		*ret_value = n;
	return r;
}

/* ---- looking hosts up -------------------------------------------------------------------------- */

static void ask_visits(struct agents *a);
static void desired_looked_up(struct call *call);

static void refuse_unknown(struct call *call)
{
	fail_set(&call->fail, FAIL_PERMISSION, "this host is not enrolled, or was forgotten");
	fail_hint(&call->fail, "enrol it again with a new token");
	agents_ready(call, agents_then_fail);
}

static void put_off(struct guest *g)
{
	struct calls calls = STAILQ_HEAD_INITIALIZER(calls);
	struct call *call;

	STAILQ_CONCAT(&calls, &g->calls);
	while ((call = STAILQ_FIRST(&calls))) {
		STAILQ_REMOVE_HEAD(&calls, link);
		fail_set(&call->fail, FAIL_UNREACHABLE, "the database does not answer");
		agents_ready(call, agents_then_fail);
	}
}

static void queue_guest(struct agents *a, struct guest *g)
{
	if (g->queued)
		return;
	g->queued = true;
	STAILQ_INSERT_TAIL(&a->queue, g, link);
	if (!a->asking)
		event_add(a->ask_soon, &soon); /* with those that come in this turn */
}

/* Nobody is held for a database that has been away for a while: it would be for nothing. */
static bool is_away(struct call *call)
{
	struct fail why;

	if (call->a->c->fleet && database_away_ms(call->a->c->database, &why) < AWAY_MS)
		return false;
	fail_set(&call->fail, FAIL_UNREACHABLE, "the database does not answer");
	agents_then_fail(call);
	return true;
}

/* The request is held until its host has been looked up; looked_up() goes on from there. */
static void look_up(struct call *call, void (*looked_up)(struct call *call))
{
	call->looked_up = looked_up;
	if (is_away(call) || !agents_hold(call))
		return;
	call->pending = true;
	STAILQ_INSERT_TAIL(&call->g->calls, call, link);
	queue_guest(call->a, call->g);
}

static bool was_looked_up(const struct call *call)
{
	return call->g->known && memcmp(call->fingerprint, call->g->fingerprint, 32) == 0;
}

/* The same for those who need no words. */
static void admit_call(struct call *call, void (*looked_up)(struct call *call))
{
	if (!was_looked_up(call)) {
		look_up(call, looked_up);
	} else if (!is_away(call) && agents_hold(call)) {
		call->pending = true;
		looked_up(call);
	}
}

/* {"generation":..., ..., "words":[...]}: words are JSON already, of a director. */
static char *desired_text(const struct agents *a, uint64_t generation, char **words, size_t n)
{
	const struct trust *trust = roots_trust(a->c->roots);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fprintf(out,
		"{\"generation\":%" PRIu64 ",\"heartbeat_ms\":%" PRIu64 ",\"root\":%" PRIu64
		",\"catalog\":%" PRIu64 ",\"revocation\":%" PRIu64 ",\"words\":[",
		generation, a->c->settings->heartbeat_ms, trust ? trust->version : 0,
		catalogue_version(a->c->catalogue), roots_revocation(a->c->roots));
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? "," : "", words[i]);
	fputs("]}", out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static void on_certified(struct fleet_answer *answer, void *cookie)
{
	struct agents *a = cookie;

	if (answer->r < 0 && answer->r != -EEXIST && answer->r != -ECANCELED)
		log_event(LOG_WARNING, "a certificate could not be written down reason=\"%s\"",
			  answer->fail.message);
	(void)a;
	fleet_answer_free(answer);
}

/* Of a host that is known, a certificate that is not: it can be revoked from now on. */
static void certify(struct agents *a, const struct guest *g)
{
	char serial[BYTES_SHA256_HEX];
	struct fleet_certificate c = {.fingerprint = g->fingerprint,
				      .host = g->id,
				      .serial = serial,
				      .issued_ms = clock_real_ms()};
	struct fleet_entry entry = {.at_ms = c.issued_ms,
				    .actor = a->c->actor,
				    .action = "CERTIFICATE_SEEN",
				    .subject = g->id,
				    .result = "ok"};

	bytes_to_hex(g->fingerprint, 32, serial);
	c.expires_ms = c.issued_ms + a->c->settings->enroll_valid_ms;
	fleet_add_certificate(a->c->fleet, &c, &entry, on_certified, a);
}

/* Whom an outside authority vouches for is a host of the fleet. */
static void admit(struct agents *a, const struct guest *g)
{
	char serial[BYTES_SHA256_HEX];
	struct fleet_enrolment row = {.id = g->id,
				      .name = g->id,
				      .fingerprint = g->fingerprint,
				      .certificate = serial};
	struct fleet_entry entry = {.at_ms = clock_real_ms(),
				    .actor = g->id,
				    .action = "ENROLLED",
				    .subject = g->id,
				    .result = "by an outside authority"};

	bytes_to_hex(g->fingerprint, 32, serial);
	row.expires_ms = entry.at_ms + a->c->settings->enroll_valid_ms;
	fleet_enrol(a->c->fleet, &row, &entry, on_certified, a);
}

/* The words of a host are those rows, of all that were read, that name it. */
struct word_rows {
	struct fleet_answer *answer;
	struct fleet_word word;
	bool more;
};

static size_t collect_words(struct word_rows *rows, const char *host, char **words, size_t max)
{
	size_t n = 0;

	while (rows->more && strcmp(rows->word.host, host) < 0)
		rows->more = fleet_next_word(rows->answer, &rows->word);
	while (rows->more && strcmp(rows->word.host, host) == 0) {
		if (n < max && rows->word.len)
			words[n] = strndup(rows->word.body, rows->word.len);
		if (n < max && rows->word.len && words[n])
			n++;
		rows->more = fleet_next_word(rows->answer, &rows->word);
	}
	return n;
}

#define WORDS_MAX 512

static void on_visitor(struct agents *a, struct guest *g, const struct fleet_visitor *v,
		       struct word_rows *rows)
{
	struct calls calls = STAILQ_HEAD_INITIALIZER(calls);
	char *words[WORDS_MAX];
	struct call *call;
	size_t n;

	STAILQ_CONCAT(&calls, &g->calls);
	n = collect_words(rows, v->host, words, WORDS_MAX);
	/* With another certificate it may be another installation, which counts anew. */
	if (!g->known || v->seq > g->seq)
		g->seq = v->seq;
	if (!g->known)
		g->has_audit = false;
	g->known = v->known;
	if (v->generation > g->generation) {
		g->generation = v->generation;
		wake(a, g); /* who waits with an older one: on_desired() knows it already now */
	}
	if (v->audit_head && (!g->has_audit || v->audit_seq >= g->audit_seq)) {
		g->audit_seq = v->audit_seq;
		memcpy(g->audit_head, v->audit_head, 32);
		g->has_audit = true;
	}
	if (!v->known && !a->c->settings->ca_prefix[0]) {
		admit(a, g);
		g->known = true;
	} else if (v->known && !v->certified) {
		certify(a, g);
	}
	while ((call = STAILQ_FIRST(&calls))) {
		STAILQ_REMOVE_HEAD(&calls, link);
		if (memcmp(call->fingerprint, g->fingerprint, 32) != 0) {
			/* Of the two certificates that it has now, the other was asked about. */
			memcpy(g->fingerprint, call->fingerprint, 32);
			STAILQ_INSERT_TAIL(&g->calls, call, link);
			queue_guest(a, g);
		} else if (v->revoked) {
			fail_set(&call->fail, FAIL_REVOKED, "this certificate was revoked");
			agents_ready(call, agents_then_fail);
		} else if (!g->known) {
			refuse_unknown(call);
		} else {
			/* Not g->generation: it may be newer than what was read here. */
			if (call->looked_up == desired_looked_up &&
			    v->generation > call->generation)
				call->must_answer = true;
			if (call->must_answer)
				call->text = desired_text(a, v->generation, words, n);
			call->looked_up(call);
		}
	}
	while (n)
		free(words[--n]);
}

static void on_visits(struct fleet_answer *answer, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *visits = answer;
	struct word_rows rows = {.answer = answer};
	struct agents *a = cookie;
	struct fleet_visitor v;
	struct guest *g;

	a->asking = false;
	while ((g = STAILQ_FIRST(&a->asked))) {
		STAILQ_REMOVE_HEAD(&a->asked, link);
		g->queued = false;
		if (visits->r < 0)
			put_off(g);
	}
	if (visits->r == -ECANCELED)
		return;
	rows.more = fleet_next_word(answer, &rows.word);
	while (fleet_next_visitor(answer, &v)) {
		g = guest_of(a, v.host);
		if (g)
			on_visitor(a, g, &v, &rows);
	}
	if (!STAILQ_EMPTY(&a->queue))
		ask_visits(a);
}

static void ask_visits(struct agents *a)
{
	struct fleet_visit visits[AGENTS_VISITS_MAX];
	struct guest *g;
	size_t n = 0;

	while (n < AGENTS_VISITS_MAX && (g = STAILQ_FIRST(&a->queue))) {
		STAILQ_REMOVE_HEAD(&a->queue, link);
		STAILQ_INSERT_TAIL(&a->asked, g, link);
		visits[n++] =
			(struct fleet_visit){.host = g->id, .fingerprint = g->fingerprint};
	}
	if (n == 0)
		return;
	a->stats.visits += n;
	a->stats.visit_batches++;
	a->asking = true;
	if (fleet_visits(a->c->fleet, visits, n, on_visits, a) == 0)
		return;
	a->asking = false;
	while ((g = STAILQ_FIRST(&a->asked))) {
		STAILQ_REMOVE_HEAD(&a->asked, link);
		g->queued = false;
		put_off(g);
	}
}

static void on_ask_soon(evutil_socket_t fd, short what, void *cookie)
{
	struct agents *a = cookie;

	(void)fd, (void)what;
	if (!a->asking && a->c->fleet)
		ask_visits(a);
}

/* ---- desired ------------------------------------------------------------------------------------- */

static void park_it(struct call *call);

static void desired_looked_up(struct call *call)
{
	if (call->must_answer && !call->text) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "out of memory");
		agents_ready(call, agents_then_fail);
	} else if (call->must_answer) {
		call->a->stats.desired++;
		agents_ready(call, agents_then_text);
	} else {
		agents_ready(call, park_it);
	}
}

static void on_word(struct evhttp_request *req, enum park_end why, void *cookie)
{
	struct call *call = cookie;

	call->parked = false;
	call->req = req;
	if (!req) {
		agents_end(call);
	} else if (why == PARK_STOPPED) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "the controller is stopping");
		agents_then_fail(call);
	} else {
		call->must_answer = why == PARK_TIMED_OUT;
		look_up(call, desired_looked_up);
	}
}

static void park_it(struct call *call)
{
	struct agents *a = call->a;
	uint64_t now_ms = clock_up_ms();
	char topic[AGENTS_TOPIC_ROOM];

	if (call->g->generation > call->generation || call->until_ms <= now_ms) {
		call->must_answer = true;
		look_up(call, desired_looked_up);
		return;
	}
	if (park_wait(a->c->park, call->req, topic_of(call->g, topic), call->until_ms - now_ms,
		      on_word, call, &call->fail) < 0) {
		agents_then_fail(call);
		return;
	}
	call->req = NULL;
	call->parked = true;
}

static void desired(struct call *call)
{
	struct agents *a = call->a;
	uint64_t wait_ms = 0;

	if (agents_query_u64(call->req, "generation", &call->generation) < 0 ||
	    agents_query_u64(call->req, "wait", &wait_ms) < 0) {
		fail_set(&call->fail, FAIL_USAGE, "generation and wait must be numbers");
		agents_then_fail(call);
		return;
	}
	if (wait_ms > a->c->settings->heartbeat_ms)
		wait_ms = a->c->settings->heartbeat_ms;
	/* Those who came together do not go together. */
	wait_ms -= arc4random_uniform((uint32_t)(wait_ms / 16 + 1));
	call->until_ms = clock_up_ms() + wait_ms;
	reports_heartbeat(a->c->reports, call->g->id);
	if (was_looked_up(call)) {
		park_it(call);
		return;
	}
	call->must_answer = wait_ms == 0;
	look_up(call, desired_looked_up);
}

/* ---- reports --------------------------------------------------------------------------------------- */

static void then_seq(struct call *call)
{
	call->a->stats.reports++;
	serve_answer(take_ptr(call->req), 200,
		     json_pack("{s:I}", "seq", (json_int_t)call->report.seq));
	agents_end(call);
}

static void on_reported(int r, const struct fail *why, void *cookie)
{
	struct call *call = cookie;
	struct guest *g = call->g;

	if (r == -ECANCELED && !call->parked) { /* all else may be gone */
		call->pending = false;
		agents_end(call);
		return;
	}
	if (r < 0) {
		call->fail = *why;
		agents_ready(call, agents_then_fail);
		return;
	}
	if (call->report.seq > g->seq)
		g->seq = call->report.seq;
	agents_ready(call, then_seq);
}

/* A host's audit log only grows: who cuts it off, or writes it anew, shows by this. */
static void watch_audit(struct agents *a, struct guest *g, const struct fleet_report *r)
{
	struct fleet_entry entry = {.at_ms = clock_real_ms(),
				    .actor = g->id,
				    .action = "HOST_AUDIT_CHANGED",
				    .subject = g->id,
				    .result = "alarm"};
	char was[BYTES_SHA256_HEX], is[BYTES_SHA256_HEX], detail[256];

	if (!r->audit_head)
		return;
	if (g->has_audit &&
	    (r->audit_seq < g->audit_seq ||
	     (r->audit_seq == g->audit_seq && memcmp(r->audit_head, g->audit_head, 32) != 0))) {
		snprintf(detail, sizeof(detail),
			 "{\"was\":%" PRIu64 ",\"was_head\":\"%s\",\"is\":%" PRIu64
			 ",\"is_head\":\"%s\"}",
			 g->audit_seq, bytes_to_hex(g->audit_head, 32, was), r->audit_seq,
			 bytes_to_hex(r->audit_head, 32, is));
		entry.detail = detail;
		log_event(LOG_ALERT, "the audit log of a host lost rows host=%s", g->id);
		fleet_audit(a->c->fleet, &entry, on_certified, a);
	}
	g->audit_seq = r->audit_seq;
	memcpy(g->audit_head, r->audit_head, 32);
	g->has_audit = true;
}

static void report_looked_up(struct call *call)
{
	struct agents *a = call->a;
	struct guest *g = call->g;

	if (call->report.seq <= g->seq) {
		/* Said already, or by a host that lost count, which goes on from there. */
		call->report.seq = g->seq;
		agents_ready(call, then_seq);
		return;
	}
	watch_audit(a, g, &call->report);
	if (reports_put(a->c->reports, &call->report, on_reported, call, &call->fail) < 0)
		agents_ready(call, agents_then_fail);
}

static void report(struct call *call)
{
	size_t len;
	const uint8_t *body = serve_body(call->req, &len);

	if (agents_report_parse(call->g->id, body, len, &call->report, &call->report_texts,
				&call->fail) < 0)
		agents_then_fail(call);
	else
		admit_call(call, report_looked_up);
}

/* ---- renewal ------------------------------------------------------------------------------------- */

static void on_renewed(struct fleet_answer *answer, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *stored = answer;
	struct call *call = cookie;

	if (stored->r < 0) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "the database does not answer");
		agents_ready(call, agents_then_fail);
		return;
	}
	call->a->stats.renewals++;
	agents_ready(call, agents_then_text);
}

static void renewal_looked_up(struct call *call)
{
	struct agents *a = call->a;
	struct fleet_certificate c = {.host = call->g->id, .issued_ms = clock_real_ms()};
	struct fleet_entry entry = {.at_ms = c.issued_ms,
				    .actor = call->g->id,
				    .action = "CERTIFICATE_RENEWED",
				    .subject = call->g->id,
				    .result = "ok"};
	AUTO_FREE char *request = take_ptr(call->text), *pem = NULL;
	struct ca_written written;
	AUTO_JSON json_t *doc = NULL;

	if (call->g->renewed_ms && clock_up_ms() < call->g->renewed_ms + AGENTS_RENEW_MS) {
		fail_set(&call->fail, FAIL_UNREACHABLE,
			 "this host has renewed its certificate just now");
		agents_ready(call, agents_then_fail);
		return;
	}
	if (enrol_sign(a->c->enrol, call->g->id, request, &pem, &written, &call->fail) < 0) {
		agents_ready(call, agents_then_fail);
		return;
	}
	doc = json_pack("{s:s, s:s}", "certificate", pem, "ca", enrol_ca_text(a->c->enrol));
	call->text = doc ? json_text(doc) : NULL;
	c.fingerprint = written.fingerprint;
	c.serial = written.serial;
	c.expires_ms = written.not_after_s * 1000;
	if (!call->text ||
	    fleet_add_certificate(a->c->fleet, &c, &entry, on_renewed, call) < 0) {
		fail_set(&call->fail, FAIL_UNREACHABLE, "out of memory");
		agents_ready(call, agents_then_fail);
		return;
	}
	call->g->renewed_ms = clock_up_ms();
}

static void renew(struct call *call)
{
	AUTO_JSON json_t *doc = NULL;
	const uint8_t *body;
	struct json_fields f;
	const char *request;
	size_t len;

	body = serve_body(call->req, &len);
	if (json_parse("request", body, len, &doc, &call->fail) < 0) {
		agents_then_fail(call);
		return;
	}
	f = json_fields("request", doc, &call->fail);
	request = json_str(&f, "request", CA_REQUEST_BYTES_MAX);
	if (json_fields_end(&f) < 0) {
		agents_then_fail(call);
		return;
	}
	call->text = strdup(request);
	if (call->text) {
		admit_call(call, renewal_looked_up);
		return;
	}
	fail_set(&call->fail, FAIL_UNREACHABLE, "out of memory");
	agents_then_fail(call);
}

/* ---- documents ----------------------------------------------------------------------------------- */

static void then_documents(struct call *call)
{
	struct agents *a = call->a;
	uint64_t root = 0, catalog = 0, revocation = 0;
	const char *text;
	bool newer;

	agents_query_u64(call->req, "root", &root);
	agents_query_u64(call->req, "catalog", &catalog);
	agents_query_u64(call->req, "revocation", &revocation);
	newer = catalogue_version(a->c->catalogue) > catalog;
	text = catalogue_text(a->c->catalogue);
	a->stats.documents++;
	serve_answer(take_ptr(call->req), 200,
		     json_pack("{s:o, s:s?, s:o}", "roots", roots_after(a->c->roots, root),
			       "catalog", newer ? text : NULL, "revocations",
			       roots_revocations_after(a->c->roots, revocation)));
	agents_end(call);
}

static void documents_looked_up(struct call *call)
{
	agents_ready(call, then_documents);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static const struct route {
	enum evhttp_cmd_type verb;
	const char *path;
	void (*fn)(struct call *call);
} routes[] = {
	{EVHTTP_REQ_GET, "/v1/agent/desired", desired},
	{EVHTTP_REQ_POST, "/v1/agent/report", report},
	{EVHTTP_REQ_POST, "/v1/agent/renew", renew},
};

/*
 * Who was not heard of lately costs more than who was. Each that is let in moves next_us on by its
 * share of a second; who is put off is given a time by how many others were, at random.
 */
static unsigned int seconds_to_wait(struct agents *a, struct guest *g)
{
	uint64_t now_ms = clock_up_ms(), now_us = clock_mono_ns() / 1000, was_ms = g->heard_ms,
		 each_us = 1000000 / a->per_s;

	g->heard_ms = now_ms;
	if (was_ms && now_ms - was_ms < 2 * a->c->settings->heartbeat_ms)
		return 0;
	if (a->next_us < now_us)
		a->next_us = now_us;
	if (a->next_us - now_us <= a->burst * each_us) {
		a->next_us += each_us;
		return 0;
	}
	g->heard_ms = 0;
	if (now_us - a->refused_us > ARRIVALS_FOR_US) {
		a->refused_us = now_us;
		a->refused_n = 0;
	}
	a->refused_n++;
	return 1 + arc4random_uniform(1 + 2 * (a->refused_n + a->burst) / a->per_s);
}

static bool find_bundle(struct call *call, const char *path)
{
	static const char prefix[] = "/v1/agent/bundles/";
	const char *range =
		evhttp_find_header(evhttp_request_get_input_headers(call->req), "Range");
	size_t len = sizeof(prefix) - 1;

	if (strncmp(path, prefix, len) != 0 ||
	    bytes_from_hex(path + len, call->digest, sizeof(call->digest)) < 0)
		return false;
	/* A range that is none of ours is as if it had not been asked for. */
	if (range && strncmp(range, "bytes=", 6) == 0 && strlen(range) < 24 && range[6] &&
	    range[6 + strspn(range + 6, "0123456789")] == '-' &&
	    !range[6 + strspn(range + 6, "0123456789") + 1]) {
		call->offset = strtoull(range + 6, NULL, 10);
		call->ranged = true;
	}
	return true;
}

static void route(struct call *call)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(call->req));
	enum evhttp_cmd_type verb = evhttp_request_get_command(call->req);

	for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
		if (verb == routes[i].verb && strcmp(path, routes[i].path) == 0) {
			routes[i].fn(call);
			return;
		}
	if (verb == EVHTTP_REQ_GET && strcmp(path, "/v1/agent/documents") == 0) {
		admit_call(call, documents_looked_up);
	} else if (verb == EVHTTP_REQ_GET && find_bundle(call, path)) {
		admit_call(call, agents_bundle);
	} else {
		fail_set(&call->fail, FAIL_NOT_FOUND, "there is nothing here");
		agents_then_fail(call);
	}
}

static void on_request(struct evhttp_request *req, const struct ca_peer *peer, void *cookie)
{
	struct agents *a = cookie;
	struct guest *g = guest_of(a, peer->name);
	struct call *call = g ? calloc(1, sizeof(*call)) : NULL;
	unsigned int seconds;
	struct fail fail;

	if (!call || !a->words.done || !a->revoked.done) {
		a->stats.put_off++;
		fail_set(&fail, FAIL_UNREACHABLE, "%s",
			 call ? "the controller has just started" : "out of memory");
		serve_refuse_for(req, &fail, 1 + arc4random_uniform(5));
		free(call);
		return;
	}
	seconds = seconds_to_wait(a, g);
	if (seconds) {
		a->stats.put_off++;
		fail_set(&fail, FAIL_UNREACHABLE, "many hosts come at once");
		serve_refuse_for(req, &fail, seconds);
		free(call);
		return;
	}
	call->a = a;
	call->g = g;
	call->req = req;
	bytes_from_hex(peer->fingerprint, call->fingerprint, sizeof(call->fingerprint));
	if (!g->queued && memcmp(g->fingerprint, call->fingerprint, 32) != 0) {
		memcpy(g->fingerprint, call->fingerprint, 32);
		g->known = false;
	}
	route(call);
}

/* ---- what is followed --------------------------------------------------------------------------- */

static void follow_words(struct agents *a);
static void follow_revoked(struct agents *a);

static void on_desired(struct fleet_answer *answer, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *rows = answer;
	struct agents *a = cookie;
	struct fleet_desired d;
	struct guest *g;
	size_t n = 0;

	a->words.busy = false;
	if (rows->r < 0)
		return; /* the timer asks again */
	while (fleet_next_desired(rows, &d)) {
		n++;
		a->words.change = d.change;
		snprintf(a->words.host, sizeof(a->words.host), "%s", d.host);
		g = guest_of(a, d.host);
		if (!g || d.generation <= g->generation)
			continue;
		g->generation = d.generation;
		wake(a, g);
	}
	if (n < PAGE)
		a->words.done = true;
	if (n == PAGE || a->words.again) {
		a->words.again = false;
		follow_words(a);
	}
}

static void follow_words(struct agents *a)
{
	if (a->words.busy) {
		a->words.again = true;
		return;
	}
	a->words.busy = fleet_desired_changed(a->c->fleet, a->words.change, a->words.host, PAGE,
					      on_desired, a) == 0;
}

static int compare_hashes(const void *a, const void *b)
{
	return memcmp(a, b, 32);
}

static bool is_revoked(const struct agents *a, const uint8_t fingerprint[32])
{
	return a->revoked.n &&
	       bsearch(fingerprint, a->revoked.fingerprint, a->revoked.n, 32, compare_hashes);
}

static void on_revoked(struct fleet_answer *answer, void *cookie)
{
	AUTO(fleet_answer_freep) struct fleet_answer *rows = answer;
	struct agents *a = cookie;
	uint8_t(*all)[32] = NULL;
	struct fleet_certificate c;
	char(*hosts)[AGENTS_ID_BYTES] = NULL;
	size_t n = 0, room = 0, n_hosts = 0;
	struct guest *g;

	a->revoked.busy = false;
	if (rows->r < 0)
		return;
	while (fleet_next_certificate(rows, &c)) {
		if (n == room) {
			void *bigger = reallocarray(all, room = room * 2 + 64, 32);

			if (!bigger) {
				free(all);
				free(hosts);
				return;
			}
			all = bigger;
		}
		if (!c.fingerprint)
			continue;
		memcpy(all[n++], c.fingerprint, 32);
		if (a->revoked.done && !is_revoked(a, c.fingerprint)) {
			void *bigger = reallocarray(hosts, n_hosts + 1, sizeof(*hosts));

			if (bigger) {
				hosts = bigger;
				snprintf(hosts[n_hosts++], sizeof(*hosts), "%s", c.host);
			}
		}
	}
	if (n)
		qsort(all, n, 32, compare_hashes);
	free(a->revoked.fingerprint);
	a->revoked.fingerprint = all;
	a->revoked.n = n;
	a->revoked.done = true;
	for (size_t i = 0; i < n_hosts; i++) { /* park.c asks whether they may stay */
		g = guest_of(a, hosts[i]);
		if (!g)
			continue;
		g->known = false;
		wake(a, g);
	}
	free(hosts);
	if (a->revoked.again) {
		a->revoked.again = false;
		follow_revoked(a);
	}
}

static void follow_revoked(struct agents *a)
{
	if (a->revoked.busy) {
		a->revoked.again = true;
		return;
	}
	a->revoked.asked_ms = clock_up_ms();
	a->revoked.busy = fleet_certificates(a->c->fleet, NULL, on_revoked, a) == 0;
}

void agents_on_wake(struct agents *a, const char *topic)
{
	if (!*topic || strcmp(topic, FLEET_TOPIC_WORDS) == 0)
		follow_words(a);
	if (!*topic || strcmp(topic, FLEET_TOPIC_ACCESS) == 0)
		follow_revoked(a);
}

static void on_timer(evutil_socket_t fd, short what, void *cookie)
{
	struct agents *a = cookie;

	(void)fd, (void)what;
	if (!a->c->fleet)
		return;
	follow_words(a);
	if (!a->revoked.done || clock_up_ms() - a->revoked.asked_ms >= REVOKED_EVERY_MS)
		follow_revoked(a);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static int on_permit(const struct ca_peer *peer, struct fail *reterr_fail, void *cookie)
{
	struct agents *a = cookie;
	uint8_t fingerprint[32];

	bytes_from_hex(peer->fingerprint, fingerprint, sizeof(fingerprint));
	if (!is_revoked(a, fingerprint))
		return 0;
	fail_set(reterr_fail, FAIL_REVOKED, "this certificate was revoked");
	return fail_hint(reterr_fail, "enrol the host again with a new token");
}

/* A line a second: others would drown in those of a herd, or of somebody who means it. */
static void on_refused(const char *address, const struct fail *why, void *cookie)
{
	struct agents *a = cookie;
	uint64_t now_ms = clock_up_ms();

	a->unsaid++;
	if (a->said_ms && now_ms - a->said_ms < 1000)
		return;
	log_event(LOG_INFO, "an agent was refused address=%s reason=\"%s\" refusals=%u",
		  address, why->message, a->unsaid);
	a->said_ms = now_ms;
	a->unsaid = 0;
}

struct agents_stats agents_stats(const struct agents *a)
{
	struct agents_stats s = a->stats;
	struct serve_stats serve = serve_stats(a->serve);

	s.hosts = a->n_guests;
	s.open = serve.open;
	s.connections = serve.accepted;
	s.handshakes_refused = serve.refused;
	return s;
}

void agents_set_arrivals(struct agents *a, unsigned int per_s, unsigned int burst)
{
	a->per_s = per_s;
	a->burst = burst;
	a->next_us = 0;
}

int agents_reload(struct agents *a, struct fail *reterr_fail)
{
	return serve_reload(a->serve, reterr_fail);
}

int agents_new(struct controller *c, struct agents **ret_agents, struct fail *reterr_fail)
{
	const struct settings *s = c->settings;
	AUTO(agents_freep) struct agents *a = calloc(1, sizeof(*a));
	struct serve_opts opts = {.name = "agents",
				  .address = s->agents.address,
				  .port = s->agents.port,
				  .tls = {.certificate = s->agents_certificate,
					  .key = s->agents_key,
					  .trust = s->agents_trust,
					  .client = TLS_CLIENT_REQUIRED,
					  .kind = CA_HOST},
				  .limits = SERVE_LIMITS_AGENTS,
				  .request = on_request,
				  .permit = on_permit,
				  .refused = on_refused,
				  .cookie = a};
	int r;

	if (!a)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	a->c = c;
	a->per_s = AGENTS_ARRIVALS_PER_S;
	a->burst = AGENTS_ARRIVALS_BURST;
	STAILQ_INIT(&a->queue);
	STAILQ_INIT(&a->asked);
	STAILQ_INIT(&a->streams_waiting);
	a->timer = event_new(c->base, -1, EV_PERSIST, on_timer, a);
	a->ask_soon = evtimer_new(c->base, on_ask_soon, a);
	if (!a->timer || !a->ask_soon || event_add(a->timer, &poll_every) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = serve_new(c->base, &opts, &a->serve, reterr_fail);
	if (r < 0)
		return r;
	c->port.agents = serve_port(a->serve);
	follow_words(a);
	follow_revoked(a);
	*ret_agents = take_ptr(a);
	return 0;
}

struct agents *agents_free(struct agents *a)
{
	struct call *call;

	if (!a)
		return NULL;
	serve_free(a->serve);
	while ((call = STAILQ_FIRST(&a->streams_waiting))) {
		STAILQ_REMOVE_HEAD(&a->streams_waiting, link);
		call->pending = false;
		agents_end(call);
	}
	if (a->timer)
		event_free(a->timer);
	if (a->ask_soon)
		event_free(a->ask_soon);
	tdestroy(a->guests, guest_free);
	free(a->revoked.fingerprint);
	free(a);
	return NULL;
}
