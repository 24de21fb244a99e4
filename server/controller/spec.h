// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/controller/spec.h -- what an operator decides about a rollout: the only owner of its
 * knobs, their defaults and bounds (one table in spec.c), and of selectors.
 *
 *	{"severity":"critical", "target":{"tier":["web","db"]}, "max_in_flight":"5%",
 *	 "canary":{"bake":"15m"}, "waves":[{"percent":10,"bake":"1h"}, {"percent":100}]}
 *
 * amount     5, "5%", or {"count":5,"percent":5}: the smaller one
 * duration   "90s", "15m", "1h"; a plain number means seconds
 * selector   {"label":"value"} or {"label":["a","b"]}; all labels must match
 * wave       how far it reaches: so many hosts, or percent of the eligible ones, counted with
 *            all waves before. With a selector: of those that match ("tier":"db" is short for
 *            "selector":{"tier":"db"}). The last reaches all.
 *
 * Errors     FAIL_BAD_FORMAT with the field and what is allowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/fail.h"
#include "server/controller/judge.h"

#define SPEC_WAVES_MAX	 31 /* with the canaries 32: a host's selectors fit into 32 bits */
#define SPEC_METRICS_MAX 8
#define SPEC_WORDS_MAX	 32
#define SPEC_WORD_BYTES	 64
#define SPEC_LABELS_MAX	 16 /* in a selector */

struct spec_amount {
	bool has_count, has_percent;
	uint64_t count, percent;
};

struct spec_words {
	size_t n;
	char word[SPEC_WORDS_MAX][SPEC_WORD_BYTES];
};

struct spec_wave {
	char name[SPEC_WORD_BYTES];
	struct spec_amount reach, threshold;
	const json_t *selector; /* NULL: any host */
	uint64_t bake_ms;
};

enum spec_on_failure { SPEC_PAUSE, SPEC_ROLLBACK_WAVE, SPEC_ROLLBACK_ALL };
enum spec_on_load_failure { SPEC_STOP_STRATUM, SPEC_LOAD_PAUSE };
enum spec_on_no_data { SPEC_NO_DATA_PAUSE, SPEC_NO_DATA_PASS };
enum spec_on_newer { SPEC_SUPERSEDE, SPEC_REFUSE };
enum spec_severity { SPEC_LOW, SPEC_MODERATE, SPEC_HIGH, SPEC_CRITICAL };

struct spec {
	json_t *doc;	       /* what the selectors below belong to */
	const json_t *target;  /* NULL: any host */
	const json_t *windows; /* for those who tell the rollout whether one is open; or NULL */
	struct spec_wave wave[1 + SPEC_WAVES_MAX]; /* 0: the canaries */
	size_t n_waves;
	struct judge_metric metric[SPEC_METRICS_MAX];
	size_t n_metrics;

	struct spec_words stratify_by, spread_by, pause_after;
	struct spec_amount max_in_flight, max_per_domain;
	uint64_t consecutive, lost_after, progress_deadline_ms, trial_ms, trial_calls,
		approvals;
	uint64_t retries, backoff_ms, backoff_max_ms, rollback_factor, rollback_window;
	uint64_t severity, on_failure, on_oops, on_load_failure, on_no_data, on_newer;
	bool auto_promote, dynamic;
};

int spec_parse(const json_t *doc, struct spec *ret_spec, struct fail *reterr_fail);
void spec_clear(struct spec *s);
/* Every knob by name, with what holds: a later program may have other defaults. NULL: no memory. */
json_t *spec_to_json(const struct spec *s);

uint64_t spec_at_least(struct spec_amount a, uint64_t of); /* percent rounded up */
uint64_t spec_at_most(struct spec_amount a, uint64_t of);  /* percent rounded down */
/* labels: an object of strings. */
bool spec_selects(const json_t *selector, const json_t *labels);
bool spec_has_word(const struct spec_words *words, const char *word);
