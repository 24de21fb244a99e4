// SPDX-License-Identifier: BSD-2-Clause
#include "server/health.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"

enum kind {
	COUNT, /* how much it grew */
	BITS,  /* how many were set */
	RISE,  /* how far it rose */
	PEAK,  /* as it is */
	SHARE, /* growth of the value by growth of the base */
};

static const struct {
	const char *name;
	double limit;
} names[HEALTH_CHECKS_] = {
#define X(check, otherwise, bounds) [HEALTH_##check] = {#check, otherwise},
	MANIFEST_CHECKS(X)
#undef X
};

static const struct {
	enum kind kind;
	bool takes_time;
	const char *source;
	double scale, base_min; /* SHARE */
	const char *unused; /* SHARE: too small a base means this, and is no lack of evidence */
} checks[HEALTH_CHECKS_] = {
	[HEALTH_oops] = {COUNT, false, "/sys/kernel/oops_count", 0, 0, NULL},
	[HEALTH_warn] = {COUNT, false, "/sys/kernel/warn_count", 0, 0, NULL},
	[HEALTH_taint] = {BITS, false, "/proc/sys/kernel/tainted", 0, 0, NULL},
	[HEALTH_kmsg] = {COUNT, false, "/dev/kmsg", 0, 0, NULL},
	[HEALTH_lease] = {COUNT, false, "gate", 0, 0, NULL},
	[HEALTH_loop_stall_ms] = {PEAK, true, "hotfixd", 0, 0, NULL},
	[HEALTH_recursion_misses] = {COUNT, false, "BPF program info", 0, 0, NULL},
	[HEALTH_ns_per_call] = {SHARE, true, "BPF program statistics", 1, HEALTH_CALLS_MIN,
				"it was hardly called; trial.min_calls demands calls"},
	[HEALTH_cpu_percent] = {SHARE, true, "BPF program statistics", 100, HEALTH_SECONDS_MIN,
				NULL},
	[HEALTH_denials_per_s] = {SHARE, true, "hotfix_counters", 1, HEALTH_SECONDS_MIN, NULL},
	[HEALTH_psi_cpu] = {RISE, true, "/proc/pressure/cpu", 0, 0, NULL},
	[HEALTH_psi_io] = {RISE, true, "/proc/pressure/io", 0, 0, NULL},
	[HEALTH_psi_memory] = {RISE, true, "/proc/pressure/memory", 0, 0, NULL},
	[HEALTH_tcp_retrans_percent] = {SHARE, true, "/proc/net/snmp", 100, HEALTH_SEGS_MIN,
					NULL},
	[HEALTH_tcp_resets_per_s] = {SHARE, true, "/proc/net/snmp", 1, HEALTH_SECONDS_MIN,
				     NULL},
};

const char *health_check_name(enum health_check check)
{
	return names[check].name;
}

double health_default_limit(enum health_check check)
{
	return names[check].limit;
}

static const char *verdict_name(enum health_verdict verdict)
{
	static const char *const words[] = {[HEALTH_NOT_JUDGED] = "not judged",
					    [HEALTH_GOOD] = "good",
					    [HEALTH_INCONCLUSIVE] = "inconclusive",
					    [HEALTH_BAD] = "bad"};

	return words[verdict];
}

/* ---- rules ------------------------------------------------------------------- */

#define SEPARATORS ", \t"

static int find_check(const char *name, size_t len)
{
	for (int i = 0; i < HEALTH_CHECKS_; i++)
		if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0)
			return i;
	return -1;
}

/* Calls off of each check in the list; false when one is none. */
static bool each_off(const char *list, struct health_rules *rules, const char *by)
{
	for (const char *p = list; *(p += strspn(p, SEPARATORS));) {
		size_t n = strcspn(p, SEPARATORS);
		int check = find_check(p, n);

		if (check < 0)
			return false;
		if (check != HEALTH_lease) /* the kernel went back: nobody can overlook that */
			rules->check[check].off_by = by;
		p += n;
	}
	return true;
}

bool health_off_valid(const char *list)
{
	struct health_rules none;

	return each_off(list, &none, "");
}

struct health_rules health_rules_read(const json_t *manifest_health, const char *host_off)
{
	struct health_rules rules = {0};
	const json_t *limit, *off;
	size_t i;

	for (i = 0; i < HEALTH_CHECKS_; i++) {
		limit = json_object_get(json_object_get(manifest_health, "limits"),
					names[i].name);
		rules.check[i].limit = limit ? json_number_value(limit) : names[i].limit;
	}
	json_array_foreach(json_object_get(manifest_health, "off"), i, off)
		each_off(json_string_value(off), &rules, "the manifest");
	each_off(host_off, &rules, "this host");
	return rules;
}

/* ---- one check --------------------------------------------------------------- */

static void note(struct health_finding *f, enum health_verdict verdict, const char *text)
{
	f->verdict = verdict;
	snprintf(f->note, sizeof(f->note), "%s", text);
}

/* The growth from then to now; false when there was not enough to divide by. */
static bool share(const struct health_reading *then, const struct health_reading *now,
		  double scale, double base_min, double *ret_share)
{
	double base = now->base - then->base;

	if (!(base >= base_min) || !(base > 0))
		return false;
	*ret_share = scale * (now->value - then->value) / base;
	return true;
}

static bool went_back(const struct health_reading *then, const struct health_reading *now)
{
	return now->value < then->value || now->base < then->base;
}

/* The larger one of the window and the whole trial: neither a burst nor a drip hides. */
static void judge_share(struct health_finding *f, int i, const struct health_facts *facts)
{
	const struct health_reading *first = &facts->first->check[i];
	const struct health_reading *window = &facts->window->check[i];
	const struct health_reading *now = &facts->now->check[i];
	double whole, recent;

	if (went_back(first, now)) {
		note(f, HEALTH_INCONCLUSIVE, "the counter went backwards");
		return;
	}
	if (!share(first, now, checks[i].scale, checks[i].base_min, &whole)) {
		note(f, checks[i].unused ? HEALTH_NOT_JUDGED : HEALTH_INCONCLUSIVE,
		     checks[i].unused ? checks[i].unused
				      : "too little happened so far to judge by");
		return;
	}
	f->value = whole;
	if (!went_back(window, now) &&
	    share(window, now, checks[i].scale, checks[i].base_min, &recent) && recent > whole)
		f->value = recent;
}

static void judge_check(struct health_finding *f, int i, const struct health_facts *facts)
{
	const struct health_reading *first = &facts->first->check[i];
	const struct health_reading *now = &facts->now->check[i];
	char text[HEALTH_NOTE_BYTES];

	*f = (struct health_finding){.value = NAN, .limit = facts->rules->check[i].limit};
	snprintf(f->source, sizeof(f->source), "%s", checks[i].source);
	snprintf(f->name, sizeof(f->name), "%s", names[i].name);
	if (now->state == HEALTH_ABSENT) {
		note(f, HEALTH_NOT_JUDGED, now->note);
		return;
	}
	if (facts->rules->check[i].off_by) {
		snprintf(text, sizeof(text), "turned off by %s", facts->rules->check[i].off_by);
		note(f, HEALTH_NOT_JUDGED, text);
		return;
	}
	if (facts->at_once && checks[i].takes_time) {
		note(f, HEALTH_NOT_JUDGED, "takes time");
		return;
	}
	if (now->state == HEALTH_UNKNOWN || first->state == HEALTH_UNKNOWN) {
		note(f, HEALTH_INCONCLUSIVE,
		     now->state == HEALTH_UNKNOWN ? now->note : first->note);
		return;
	}
	if (!isfinite(now->value) || !isfinite(now->base) || !isfinite(first->value) ||
	    !isfinite(first->base)) {
		note(f, HEALTH_INCONCLUSIVE, "what was read is not a number");
		return;
	}
	switch (checks[i].kind) {
	case COUNT:
		if (now->base != first->base || now->value < first->value)
			note(f, HEALTH_INCONCLUSIVE,
			     "the counter is not the one it was when the trial began");
		else
			f->value = now->value - first->value;
		break;
	case BITS:
		f->value = __builtin_popcountll((uint64_t)now->value & ~(uint64_t)first->value);
		break;
	case RISE:
		f->value = now->value > first->value ? now->value - first->value : 0;
		break;
	case PEAK:
		f->value = now->value;
		break;
	case SHARE:
		judge_share(f, i, facts);
		break;
	}
	if (f->note[0])
		return;
	note(f, f->value <= f->limit ? HEALTH_GOOD : HEALTH_BAD, now->note);
}

static void judge_probe(struct health_finding *f, const struct health_probe *p, bool at_once)
{
	*f = (struct health_finding){.value = NAN, .limit = (double)p->failures - 1};
	snprintf(f->source, sizeof(f->source), "%s", p->source);
	snprintf(f->name, sizeof(f->name), "probe:%s", p->name);
	if (at_once) {
		note(f, HEALTH_NOT_JUDGED, "takes time");
		return;
	}
	if (!p->ran) {
		note(f, HEALTH_INCONCLUSIVE, "it has not ended once yet");
		return;
	}
	f->value = (double)p->failed;
	note(f,
	     p->failed == 0 ? HEALTH_GOOD
			    : (p->failed >= p->failures ? HEALTH_BAD : HEALTH_INCONCLUSIVE),
	     p->note);
}

enum health_verdict health_judge(const struct health_facts *f,
				 struct health_finding ret_findings[HEALTH_FINDINGS_MAX],
				 size_t *ret_n)
{
	enum health_verdict worst = HEALTH_NOT_JUDGED;
	size_t n = 0;

	for (int i = 0; i < HEALTH_CHECKS_; i++)
		judge_check(&ret_findings[n++], i, f);
	for (size_t i = 0; i < f->n_probes && i < MANIFEST_PROBES_MAX; i++)
		judge_probe(&ret_findings[n++], &f->probes[i], f->at_once);
	for (size_t i = 0; i < n; i++)
		if (ret_findings[i].verdict > worst)
			worst = ret_findings[i].verdict;
	*ret_n = n;
	return worst;
}

void health_roll(struct health_sample *window, const struct health_sample *now)
{
	double any;

	for (int i = 0; i < HEALTH_CHECKS_; i++) {
		const struct health_reading *from = &window->check[i], *to = &now->check[i];

		if (checks[i].kind == SHARE && to->state != HEALTH_UNKNOWN &&
		    (from->state == HEALTH_UNKNOWN || went_back(from, to) ||
		     share(from, to, 1, checks[i].base_min, &any)))
			window->check[i] = *to;
	}
}

/* ---- words ------------------------------------------------------------------- */

void health_explain_bad(const struct health_finding *findings, size_t n,
			char ret_code[HEALTH_CODE_BYTES], struct fail *ret_fail)
{
	const struct health_finding *f = NULL;

	for (size_t i = 0; i < n && !f; i++)
		if (findings[i].verdict == HEALTH_BAD)
			f = &findings[i];
	if (!f)
		return;
	if (strcmp(f->name, names[HEALTH_oops].name) == 0)
		snprintf(ret_code, HEALTH_CODE_BYTES, "OOPS");
	else
		snprintf(ret_code, HEALTH_CODE_BYTES, "HEALTH:%.*s", (int)strcspn(f->name, ":"),
			 f->name);
	fail_set(ret_fail, FAIL_UNHEALTHY, "%s is %.6g, its limit is %.6g (%s)%s%s", f->name,
		 f->value, f->limit, f->source, f->note[0] ? ": " : "", f->note);
}

void health_explain_missing(const struct health_finding *findings, size_t n, char *ret_text,
			    size_t len)
{
	size_t at = 0;

	ret_text[0] = 0;
	for (size_t i = 0; i < n && at < len; i++)
		if (findings[i].verdict == HEALTH_INCONCLUSIVE)
			at += (size_t)snprintf(ret_text + at, len - at, "%s%s (%s: %s)",
					       at ? ", " : "", findings[i].name,
					       findings[i].source, findings[i].note);
}

static json_t *number_or_null(double value)
{
	if (!isfinite(value))
		return json_null();
	return value == floor(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value)
							   : json_real(value);
}

json_t *health_to_json(const struct health_finding *findings, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct health_finding *f = &findings[i];

		json_array_append_new(array,
				      json_pack("{s:s, s:s, s:o, s:o, s:s, s:s}", "check",
						f->name, "verdict", verdict_name(f->verdict),
						"value", number_or_null(f->value), "limit",
						number_or_null(f->limit), "source", f->source,
						"note", f->note));
	}
	return array;
}
