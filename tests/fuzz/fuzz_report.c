// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a host says of itself to a controller. What is taken can be read as facts by whoever owns a
 * rollout, and stands in the database as plain JSON.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/json.h"
#include "lib/plain.h"
#include "server/controller/agents_private.h"
#include "server/controller/facts.h"

static bool is_object(const char *text)
{
	AUTO_JSON json_t *doc = NULL;

	return plain_is(text, false) && json_parse("x", text, strlen(text), &doc, NULL) == 0 &&
	       json_is_object(doc);
}

FUZZ_TARGET(report)
{
	static const struct facts_query queries[] = {
		{.hotfix = "fix", .rollout = "r1", .serial = 2, .heartbeat_ms = 30000},
		{.hotfix = "other", .rollout = "", .serial = 1, .heartbeat_ms = 30000}};
	struct fleet_host row = {.name = "web1", .labels = "{\"tier\":\"web\"}"};
	char id[65];
	struct fleet_report r;
	struct fail f = {0};
	struct facts facts;
	void *texts = NULL;

	memset(id, 'a', sizeof(id) - 1);
	id[64] = 0;
	if (agents_report_parse(id, data, size, &r, &texts, &f) < 0) {
		fuzz_must(!texts && f.code != FAIL_NONE && plain_is(f.message, false));
		return 0;
	}
	fuzz_must(strcmp(r.host, id) == 0 && r.seq > 0);
	fuzz_must(is_object(r.facts) && is_object(r.hotfixes) && is_object(r.health));
	row.id = r.host;
	row.seq = r.seq;
	row.boot_id = r.boot_id;
	row.kernel = r.kernel;
	row.arch = r.arch;
	row.zone = r.zone;
	row.facts = r.facts;
	row.hotfixes = r.hotfixes;
	row.health = r.health;
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		fuzz_must(facts_read(&row, &queries[i], &facts, &f) == 0);
		facts_clear(&facts);
	}
	agents_report_free(texts);
	return 0;
}
