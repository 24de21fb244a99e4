// SPDX-License-Identifier: BSD-2-Clause
#include "server/controller/metrics.h"

#include <inttypes.h>
#include <string.h>

#include "lib/log.h"
#include "lib/version.h"
#include "server/controller/agents.h"
#include "server/controller/controller.h"
#include "server/controller/database.h"
#include "server/controller/owner.h"
#include "server/controller/park.h"
#include "server/controller/reports.h"
#include "server/controller/serve.h"

#define TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics {
	struct controller *c;
	struct serve *serve;
};

/* ---- the figures ----------------------------------------------------------------------- */

struct figures {
	struct owner_stats owner;
	struct agents_stats agents;
	struct reports_stats reports;
	uint64_t parked, away_ms, failing_ms, started_ms;
};

enum kind { GAUGE, COUNTER };

/* How a member is stored: it is read as that. */
enum width { SIZE, U64, UINT, FLAG, MS };

static const struct {
	const char *name, *labels; /* after "hotfix_controller_" */
	enum kind kind;
	enum width width;
	size_t offset;
	const char *help;
} figures[] = {
#define AT(member) offsetof(struct figures, member)
	{"start_time_seconds", "", GAUGE, MS, AT(started_ms), "When this process was started."},
	{"database_away_seconds", "", GAUGE, MS, AT(away_ms),
	 "For how long the database has not answered, 0 while it does."},
	{"database_failing_seconds", "", GAUGE, MS, AT(failing_ms),
	 "For how long nothing could be stored, 0 while it can."},
	{"engine_lost", "", GAUGE, FLAG, AT(owner.engine_lost),
	 "1 while rollouts pause because nothing can be written."},
	{"line_stopped", "", GAUGE, FLAG, AT(owner.line_stopped),
	 "1 while an operator has stopped the line."},
	{"leases", "", GAUGE, SIZE, AT(owner.rollouts), "Rollouts that this controller owns."},
	{"rollouts_busy", "what=\"reading\"", GAUGE, SIZE, AT(owner.reading),
	 "Rollouts of this controller that are being read, written, or wait to be read again."},
	{"rollouts_busy", "what=\"writing\"", GAUGE, SIZE, AT(owner.writing), NULL},
	{"rollouts_busy", "what=\"waiting\"", GAUGE, SIZE, AT(owner.waiting), NULL},
	{"hosts_silent", "", GAUGE, SIZE, AT(owner.silent),
	 "Hosts not heard of for so long that they count as lost."},
	{"last_write_time_seconds", "", GAUGE, MS, AT(owner.last_write_ms),
	 "When a step of a rollout was last written."},
	{"steps_total", "", COUNTER, U64, AT(owner.steps), "Steps of rollouts."},
	{"writes_total", "result=\"stored\"", COUNTER, U64, AT(owner.writes),
	 "Transactions with steps of rollouts."},
	{"writes_total", "result=\"failed\"", COUNTER, U64, AT(owner.failed_writes), NULL},
	{"words_total", "", COUNTER, U64, AT(owner.words), "Words written for hosts."},
	{"claims_total", "", COUNTER, U64, AT(owner.claims), "Rollouts claimed."},
	{"leases_lost_total", "", COUNTER, U64, AT(owner.lost),
	 "Rollouts that another controller claimed from this one."},
	{"parked", "", GAUGE, U64, AT(parked), "Requests that wait for news."},
	{"connections", "", GAUGE, UINT, AT(agents.open), "Open connections of agents."},
	{"connections_total", "", COUNTER, U64, AT(agents.connections),
	 "Connections of agents that were accepted."},
	{"handshakes_refused_total", "", COUNTER, U64, AT(agents.handshakes_refused),
	 "Connections of agents that were refused."},
	{"hosts_known", "", GAUGE, SIZE, AT(agents.hosts),
	 "Hosts that this controller has in memory."},
	{"answers_total", "what=\"desired\"", COUNTER, U64, AT(agents.desired),
	 "Requests of agents that were answered."},
	{"answers_total", "what=\"report\"", COUNTER, U64, AT(agents.reports), NULL},
	{"answers_total", "what=\"renewal\"", COUNTER, U64, AT(agents.renewals), NULL},
	{"answers_total", "what=\"documents\"", COUNTER, U64, AT(agents.documents), NULL},
	{"answers_total", "what=\"bundle\"", COUNTER, U64, AT(agents.bundles), NULL},
	{"answers_total", "what=\"refused\"", COUNTER, U64, AT(agents.refused), NULL},
	{"answers_total", "what=\"put_off\"", COUNTER, U64, AT(agents.put_off), NULL},
	{"reports_waiting", "", GAUGE, SIZE, AT(reports.waiting),
	 "Reports and heartbeats that wait to be written."},
	{"reports_total", "what=\"report\"", COUNTER, U64, AT(reports.reports),
	 "Reports and heartbeats that were written."},
	{"reports_total", "what=\"heartbeat\"", COUNTER, U64, AT(reports.heartbeats), NULL},
	{"report_batches_total", "result=\"stored\"", COUNTER, U64, AT(reports.batches),
	 "Transactions with reports."},
	{"report_batches_total", "result=\"failed\"", COUNTER, U64, AT(reports.failed), NULL},
#undef AT
};

static void take(struct controller *c, struct figures *f)
{
	struct database_writes writes;
	struct fail why;

	*f = (struct figures){.started_ms = c->started_ms};
	if (c->database) {
		f->away_ms = database_away_ms(c->database, &why);
		database_writes(c->database, &writes);
		f->failing_ms = writes.failing_ms;
	}
	if (c->owner)
		owner_stats(c->owner, &f->owner);
	if (c->agents)
		f->agents = agents_stats(c->agents);
	if (c->reports)
		f->reports = reports_stats(c->reports);
	if (c->park)
		f->parked = park_count(c->park);
}

static void write_value(FILE *out, enum width width, const void *at)
{
	uint64_t ms;

	switch (width) {
	case SIZE:
		fprintf(out, "%zu\n", *(const size_t *)at);
		break;
	case U64:
		fprintf(out, "%" PRIu64 "\n", *(const uint64_t *)at);
		break;
	case UINT:
		fprintf(out, "%u\n", *(const unsigned int *)at);
		break;
	case FLAG:
		fprintf(out, "%d\n", *(const bool *)at);
		break;
	case MS:
		ms = *(const uint64_t *)at;
		fprintf(out, "%" PRIu64 ".%03" PRIu64 "\n", ms / 1000, ms % 1000);
		break;
	}
}

static void write_head(FILE *out, const char *name, enum kind kind, const char *help)
{
	fprintf(out, "# HELP hotfix_controller_%s %s\n# TYPE hotfix_controller_%s %s\n", name,
		help, name, kind == GAUGE ? "gauge" : "counter");
}

void metrics_write(struct controller *c, FILE *out)
{
	struct figures f;

	take(c, &f);
	write_head(out, "build_info", GAUGE, "Always 1; its labels say which program this is.");
	fprintf(out, "hotfix_controller_build_info{version=\"%s\",name=\"%s\"} 1\n",
		HOTFIX_VERSION, c->settings->name);
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		const char *labels = figures[i].labels;

		if (figures[i].help)
			write_head(out, figures[i].name, figures[i].kind, figures[i].help);
		fprintf(out, "hotfix_controller_%s%s%s%s ", figures[i].name,
			labels[0] ? "{" : "", labels, labels[0] ? "}" : "");
		write_value(out, figures[i].width, (const char *)&f + figures[i].offset);
	}
	write_head(out, "rollouts", GAUGE, "Rollouts of this controller by state.");
	for (int i = 0; i < ROLLOUT_STATES_; i++)
		if (!rollout_is_over((enum rollout_state)i))
			fprintf(out, "hotfix_controller_rollouts{state=\"%s\"} %zu\n",
				rollout_state_name((enum rollout_state)i), f.owner.by_state[i]);
	write_head(out, "rollout_hosts", GAUGE, "Hosts in those rollouts by state.");
	for (int i = 0; i < HOST_STATES_; i++)
		fprintf(out, "hotfix_controller_rollout_hosts{state=\"%s\"} %zu\n",
			host_state_name((enum host_state)i), f.owner.hosts[i]);
}

/* ---- the listener ------------------------------------------------------------------------- */

static void on_request(struct evhttp_request *req, const struct ca_peer *peer_or_null,
		       void *cookie)
{
	struct metrics *m = cookie;
	const char *uri = evhttp_request_get_uri(req);
	AUTO_FREE char *text = NULL;
	struct fail fail;
	size_t len = 0;
	FILE *out;

	(void)peer_or_null;
	if (evhttp_request_get_command(req) != EVHTTP_REQ_GET || strcmp(uri, "/metrics") != 0) {
		fail_set(&fail, FAIL_NOT_FOUND, "here is only GET /metrics");
		serve_refuse(req, &fail);
		return;
	}
	out = open_memstream(&text, &len);
	if (out)
		metrics_write(m->c, out);
	if (!out || fclose(out) != 0) {
		fail_set(&fail, FAIL_INTERNAL, "out of memory");
		serve_refuse(req, &fail);
		return;
	}
	serve_answer_bytes(req, 200, TYPE, text, len);
}

static void on_refused(const char *address, const struct fail *why, void *cookie)
{
	(void)cookie;
	log_event(LOG_DEBUG, "a connection for metrics was refused from=%s reason=\"%s\"",
		  address, why->message);
}

int metrics_new(struct controller *c, struct metrics **ret_metrics, struct fail *reterr_fail)
{
	AUTO(metrics_freep) struct metrics *m = calloc(1, sizeof(*m));
	const struct settings *s = c->settings;
	const struct serve_opts opts = {
		.name = "metrics",
		.address = s->metrics.address,
		.port = s->metrics.port,
		.tls = {.certificate = s->operators_certificate,
			.key = s->operators_key,
			.client = TLS_CLIENT_NONE},
		.limits = SERVE_LIMITS_FEW,
		.request = on_request,
		.refused = on_refused,
		.cookie = m,
	};
	int r;

	if (!m)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	m->c = c;
	if (s->metrics.address[0]) {
		r = serve_new(c->base, &opts, &m->serve, reterr_fail);
		if (r < 0)
			return r;
		c->port.metrics = serve_port(m->serve);
	}
	*ret_metrics = take_ptr(m);
	return 0;
}

struct metrics *metrics_free(struct metrics *m)
{
	if (!m)
		return NULL;
	serve_free(m->serve);
	free(m);
	return NULL;
}

void metrics_on_wake(struct metrics *m, const char *topic)
{
	(void)m;
	(void)topic;
}

int metrics_reload(struct metrics *m, struct fail *reterr_fail)
{
	return m->serve ? serve_reload(m->serve, reterr_fail) : 0;
}
