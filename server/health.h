// SPDX-License-Identifier: BSD-2-Clause
/*
 * server/health.h -- does a version on trial do harm: a pure function of what was read
 * (server/vitals.h, bpf/meter.h, server/probe.h) and what the signer and this host allow.
 * Owns what the checks of MANIFEST_CHECKS mean.
 *
 *	first    read when the trial began: the base of every check
 *	window   where each check's present window began (health_roll() moves it on)
 *	now      read just now
 *
 * What was not read is inconclusive, and so is a base too small to divide by; neither ever
 * passes for good. A check that cannot exist for this hot-fix, or is turned off, is not judged.
 *
 * Context    any; no clock, no memory, no kernel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "lib/fail.h"
#include "store/manifest.h"

#define HEALTH_NOTE_BYTES   224
#define HEALTH_NAME_BYTES   80
#define HEALTH_SOURCE_BYTES 288
#define HEALTH_CODE_BYTES   32
#define HEALTH_CALLS_MIN    100 /* below, ns_per_call says nothing */
#define HEALTH_SEGS_MIN	    100 /* below, tcp_retrans_percent says nothing */
#define HEALTH_SECONDS_MIN  0.5 /* below, a rate says nothing */

enum health_check {
#define X(name, limit, bounds) HEALTH_##name,
	MANIFEST_CHECKS(X)
#undef X
		HEALTH_CHECKS_
};

/* Of one check and of all of them: the worst is the largest. */
enum health_verdict { HEALTH_NOT_JUDGED, HEALTH_GOOD, HEALTH_INCONCLUSIVE, HEALTH_BAD };

struct health_rules {
	struct {
		const char *off_by; /* NULL: judged */
		double limit;
	} check[HEALTH_CHECKS_];
};

enum health_state {
	HEALTH_UNKNOWN, /* could not be read: note says why */
	HEALTH_KNOWN,	/* note may be evidence, such as the kernel's message */
	HEALTH_ABSENT,	/* does not exist for this hot-fix, or not now: note says why */
};

/*
 * A counter, a gauge, or a share with what it is a share of:
 *	oops warn kmsg lease recursion_misses	value counts; base tells counters apart
 *	taint					value are the bits
 *	loop_stall_ms				value is the longest since the trial began
 *	psi_*					value is avg10
 *	ns_per_call				value ns, base calls
 *	cpu_percent				value seconds run, base seconds passed x CPUs
 *	denials_per_s, tcp_resets_per_s		value counts, base seconds
 *	tcp_retrans_percent			value segments sent again, base segments sent
 */
struct health_reading {
	enum health_state state;
	double value, base;
	char note[HEALTH_NOTE_BYTES];
};

struct health_sample {
	struct health_reading check[HEALTH_CHECKS_];
};

/* A probe as its last runs left it. */
struct health_probe {
	const char *name, *source;
	bool ran;
	uint64_t failed, failures; /* in a row; so many end the trial */
	const char *note;	   /* of the last run */
};

struct health_finding {
	char name[HEALTH_NAME_BYTES]; /* of the check, or "probe:NAME" */
	enum health_verdict verdict;
	double value, limit; /* NaN: none */
	char source[HEALTH_SOURCE_BYTES];
	char note[HEALTH_NOTE_BYTES];
};

#define HEALTH_FINDINGS_MAX (HEALTH_CHECKS_ + MANIFEST_PROBES_MAX)

struct health_facts {
	const struct health_rules *rules;
	const struct health_sample *first, *window, *now;
	const struct health_probe *probes;
	size_t n_probes;
	bool at_once; /* only what can be known at the moment of attaching */
};

/* Names of checks, separated by commas or blanks; "" is fine. */
bool health_off_valid(const char *list);
/* manifest_health: NULL, or checked by manifest_parse(). host_off: valid. */
struct health_rules health_rules_read(const json_t *manifest_health, const char *host_off);
double health_default_limit(enum health_check check);
const char *health_check_name(enum health_check check);

/* Every check in order, then the probes; returns the worst. GOOD needs at least one good. */
enum health_verdict health_judge(const struct health_facts *f,
				 struct health_finding ret_findings[HEALTH_FINDINGS_MAX],
				 size_t *ret_n);
/* Moves on the window of every check that has seen enough in it. */
void health_roll(struct health_sample *window, const struct health_sample *now);

/* The first bad one: "HEALTH:<check>", "OOPS" for oopses, and a sentence with the figures. */
void health_explain_bad(const struct health_finding *findings, size_t n,
			char ret_code[HEALTH_CODE_BYTES], struct fail *ret_fail);
/* What was missing, as "warn (why), psi_io (why)"; cut to len. */
void health_explain_missing(const struct health_finding *findings, size_t n, char *ret_text,
			    size_t len);
/* [{"check","verdict","value","limit","source","note"}], values that are none are null. */
json_t *health_to_json(const struct health_finding *findings, size_t n);
