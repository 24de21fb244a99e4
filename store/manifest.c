// SPDX-License-Identifier: BSD-2-Clause
#include "store/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "lib/plain.h"
#include "store/bundle.h"
#include "store/bytes.h"

#define MANIFEST "manifest"

/* ---- characters ------------------------------------------------------------- */

static const char *text(struct json_fields *f, const char *key, size_t max_bytes, bool lines,
			const char *otherwise)
{
	const char *s = json_str_or(f, key, max_bytes, otherwise);

	if (f->r == 0 && !plain_is(s, lines))
		json_bad(f, key, "has characters that a terminal or browser would obey");
	return s;
}

static bool cve_valid(const char *s)
{
	size_t digits;

	if (strncmp(s, "CVE-", 4) != 0 || strspn(s + 4, "0123456789") != 4 || s[8] != '-')
		return false;
	digits = strspn(s + 9, "0123456789");
	return digits >= 4 && digits <= 19 && !s[9 + digits];
}

/* One to four numbers with dots between them. */
static bool release_valid(const char *s)
{
	for (int i = 0; i < 4; i++) {
		size_t n = strspn(s, "0123456789");

		if (n < 1 || n > 6)
			return false;
		s += n;
		if (!*s)
			return true;
		if (*s++ != '.')
			return false;
	}
	return false;
}

static bool arch_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && n <= 16 && !s[n];
}

static bool cc_name_valid(const char *s)
{
	size_t n =
		strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");

	return n > 0 && n < HOOK_CC_NAME_BYTES && !s[n];
}

/* ---- parts ------------------------------------------------------------------ */

/* An array of distinct strings of one pattern. */
static void list(struct json_fields *f, const char *key, size_t max,
		 bool (*valid)(const char *), const char *pattern, const char **ret_items,
		 size_t *ret_n)
{
	const json_t *items = json_arr_or_null(f, key, max), *item;
	size_t i;

	*ret_n = 0;
	json_array_foreach(items, i, item) {
		const char *s = json_string_value(item);
		char why[96];

		if (!s || !valid(s)) {
			snprintf(why, sizeof(why), "must hold %s", pattern);
			json_bad(f, key, why);
			return;
		}
		for (size_t j = 0; j < i; j++)
			if (strcmp(ret_items[j], s) == 0) {
				json_bad(f, key, "names something twice");
				return;
			}
		ret_items[i] = s;
		*ret_n = i + 1;
	}
}

/* Fields of an object inside; its errors become the outer's. */
static struct json_fields inner(struct json_fields *f, const char *what, const json_t *obj)
{
	struct json_fields g = {.what = what, .obj = obj, .fail = f->fail, .r = f->r};

	if (f->r == 0)
		g = json_fields(what, obj, f->fail);
	return g;
}

static void inner_end(struct json_fields *f, struct json_fields *g)
{
	int r = json_fields_end(g);

	if (f->r == 0)
		f->r = r;
}

static void parse_object(struct json_fields *f, struct manifest *m)
{
	const json_t *obj = json_obj_or_null(f, "object");
	struct json_fields g;
	const char *sha256;

	if (!obj) {
		json_bad(f, "object", "is missing");
		return;
	}
	g = inner(f, "manifest: object", obj);
	sha256 = json_str(&g, "sha256", 64);
	m->object_bytes = json_u64(&g, "size", 1, BUNDLE_OBJECT_BYTES_MAX);
	if (g.r == 0 && bytes_from_hex(sha256, m->object_sha256, sizeof(m->object_sha256)) < 0)
		json_bad(&g, "sha256", "must be 64 lower-case hex digits");
	inner_end(f, &g);
}

static void parse_hook(struct json_fields *f, const json_t *item, struct hook *h)
{
	struct json_fields g = inner(f, "manifest: hook", item);
	const char *type = json_str(&g, "type", 16);
	const char *target = json_str(&g, "target", sizeof(h->target) - 1);
	const char *program = json_str(&g, "program", sizeof(h->program) - 1);
	const char *cc_name = json_str_or(&g, "cc_name", sizeof(h->cc_name) - 1, NULL);

	h->sleepable = json_bool_or(&g, "sleepable", false);
	if (g.r == 0 && hook_type_parse(type, &h->type) < 0)
		json_bad(&g, "type", "must be fentry, fexit, fmod_ret, lsm or struct_ops");
	if (g.r == 0 && !hook_symbol_valid(target, sizeof(h->target) - 1))
		json_bad(&g, "target", "must be a symbol of the kernel");
	if (g.r == 0 && !hook_symbol_valid(program, sizeof(h->program) - 1))
		json_bad(&g, "program", "must be a C identifier");
	if (g.r == 0 && h->type == HOOK_STRUCT_OPS) {
		if (strcmp(target, "tcp_congestion_ops") != 0)
			json_bad(&g, "target", "must be \"tcp_congestion_ops\" for struct_ops");
		if (h->sleepable)
			json_bad(&g, "sleepable", "is not possible for struct_ops");
		if (!cc_name || !cc_name_valid(cc_name))
			json_bad(&g, "cc_name",
				 "must be 1 to 15 letters, digits, '_', '-', '.'");
	} else if (g.r == 0 && cc_name) {
		json_bad(&g, "cc_name", "is for struct_ops only");
	}
	if (g.r == 0) {
		memcpy(h->target, target, strlen(target) + 1);
		memcpy(h->program, program, strlen(program) + 1);
		if (cc_name)
			memcpy(h->cc_name, cc_name, strlen(cc_name) + 1);
	}
	inner_end(f, &g);
}

static void parse_hooks(struct json_fields *f, struct manifest *m)
{
	const json_t *hooks = json_arr_or_null(f, "hooks", HOOK_MAX), *item;
	size_t i;

	if (f->r == 0 && json_array_size(hooks) == 0)
		json_bad(f, "hooks", "must name at least one hook");
	json_array_foreach(hooks, i, item) {
		parse_hook(f, item, &m->hooks[i]);
		for (size_t j = 0; f->r == 0 && j < i; j++)
			if (strcmp(m->hooks[j].program, m->hooks[i].program) == 0)
				json_bad(f, "hooks", "names a program twice");
		if (f->r < 0)
			return;
		m->n_hooks = i + 1;
	}
}

static void parse_ranges(struct json_fields *g, struct manifest *m)
{
	const json_t *ranges = json_arr_or_null(g, "ranges", MANIFEST_LIST_MAX), *item;
	size_t i;

	json_array_foreach(ranges, i, item) {
		struct manifest_range *r = &m->ranges[i];
		struct json_fields h = inner(g, "manifest: kernels: range", item);
		const char *from = json_str_or(&h, "from", sizeof(r->from) - 1, "");
		const char *below = json_str_or(&h, "below", sizeof(r->below) - 1, "");

		if (h.r == 0 && from[0] && !release_valid(from))
			json_bad(&h, "from", "must be a kernel release such as 6.1 or 6.12.31");
		if (h.r == 0 && below[0] && !release_valid(below))
			json_bad(&h, "below",
				 "must be a kernel release such as 6.1 or 6.12.31");
		if (h.r == 0 && from[0] && below[0] && manifest_release_cmp(from, below) >= 0)
			json_bad(&h, "below", "must be later than \"from\"");
		if (h.r == 0) {
			memcpy(r->from, from, strlen(from) + 1);
			memcpy(r->below, below, strlen(below) + 1);
		}
		inner_end(g, &h);
		m->n_ranges = i + 1;
	}
}

static void parse_kernels(struct json_fields *f, struct manifest *m)
{
	const json_t *obj = json_obj_or_null(f, "kernels");
	struct json_fields g;

	if (!obj)
		return;
	g = inner(f, "manifest: kernels", obj);
	parse_ranges(&g, m);
	list(&g, "arch", ARRAY_SIZE(m->arch), arch_valid, "names as uname -m prints them",
	     m->arch, &m->n_arch);
	list(&g, "fixed_in", MANIFEST_LIST_MAX, release_valid,
	     "kernel releases such as 6.15 or 6.12.31", m->fixed_in, &m->n_fixed_in);
	inner_end(f, &g);
}

static void parse_relations(struct json_fields *f, struct manifest *m)
{
	list(f, "requires", MANIFEST_LIST_MAX, hook_name_valid, "names of hot-fixes",
	     m->requires, &m->n_requires);
	list(f, "conflicts", MANIFEST_LIST_MAX, hook_name_valid, "names of hot-fixes",
	     m->conflicts, &m->n_conflicts);
	for (size_t i = 0; f->r == 0 && i < m->n_requires; i++) {
		if (strcmp(m->requires[i], m -> name) == 0)
			json_bad(f, "requires", "names the hot-fix itself");
		for (size_t j = 0; j < m->n_conflicts; j++)
			if (strcmp(m->requires[i], m -> conflicts[j]) == 0)
				json_bad(f, "conflicts", "names what \"requires\" names");
	}
	for (size_t i = 0; f->r == 0 && i < m->n_conflicts; i++)
		if (strcmp(m->conflicts[i], m->name) == 0)
			json_bad(f, "conflicts", "names the hot-fix itself");
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void parse_trial(struct json_fields *f, struct manifest *m)
{
	const json_t *obj = json_obj_or_null(f, "trial");
	AUTO_JSON json_t *none = json_object();
	struct json_fields g = inner(f, "manifest: trial", obj ? obj : none);
	const uint64_t limit = MANIFEST_TRIAL_LIMIT_S;
	uint64_t wanted = json_u64_or(&g, "default_s", 1, limit, 0);
	uint64_t min = json_u64_or(&g, "min_s", 1, limit, 0);
	uint64_t max = json_u64_or(&g, "max_s", 1, limit, 0);

	m->trial_min_calls = json_u64_or(&g, "min_calls", 0, MANIFEST_SERIAL_MAX, 0);
	/* What is not given makes room for what is. */
	if (!min)
		min = smaller(MANIFEST_TRIAL_MIN_S,
			      smaller(wanted ? wanted : limit, max ? max : limit));
	if (!max)
		max = larger(MANIFEST_TRIAL_MAX_S, larger(wanted, min));
	if (!wanted)
		wanted = larger(min, smaller(MANIFEST_TRIAL_DEFAULT_S, max));
	if (g.r == 0 && !(min <= wanted && wanted <= max))
		json_bad(&g, "default_s", "must lie between \"min_s\" and \"max_s\"");
	m->trial_default_ms = wanted * 1000;
	m->trial_min_ms = min * 1000;
	m->trial_max_ms = max * 1000;
	inner_end(f, &g);
}

/* ---- health: shape only; server/health knows what the checks mean ------------ */

static bool check_known(const char *name)
{
#define X(check, limit, bounds) #check,
	static const char *const checks[] = {MANIFEST_CHECKS(X)};
#undef X

	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		if (strcmp(checks[i], name) == 0)
			return true;
	return false;
}

static void parse_limits(struct json_fields *g)
{
	const json_t *limits = json_obj_or_null(g, "limits");
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)limits, name, v) {
		char why[96];
		double limit = json_number_value(v);

		if (!check_known(name)) {
			snprintf(why, sizeof(why), "names no health check: %.40s", name);
			json_bad(g, "limits", why);
		} else if (!json_is_number(v) || !isfinite(limit) || limit < 0) {
			json_bad(g, "limits", "must be numbers from 0");
		}
	}
}

static void parse_command(struct json_fields *h)
{
	const json_t *command = json_arr_or_null(h, "command", 32), *item;
	size_t i;

	if (h->r == 0 && json_array_size(command) == 0)
		json_bad(h, "command", "must be a list: path and arguments");
	json_array_foreach(command, i, item) {
		const char *s = json_string_value(item);

		if (!s || json_string_length(item) > 1024 || !plain_is(s, false) ||
		    (i == 0 && s[0] != '/'))
			json_bad(
				h, "command",
				"must hold an absolute path and arguments of up to 1024 bytes");
	}
	json_u64_or(h, "memory_mib", 1, 4096, 64);
	json_u64_or(h, "output_bytes", 0, 65536, 4096);
}

static bool address_valid(const char *s)
{
	const char *colon = strrchr(s, ':');
	size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;

	return colon && colon > s && digits >= 1 && digits <= 5 && !colon[1 + digits] &&
	       atoi(colon + 1) >= 1 && atoi(colon + 1) <= 65535 && !strpbrk(s, " /@") &&
	       plain_is(s, false);
}

static void parse_probe(struct json_fields *g, const json_t *item)
{
	struct json_fields h = inner(g, "manifest: health: probe", item);
	const char *name = json_str(&h, "name", HOOK_NAME_MAX);
	const char *type = json_str(&h, "type", 16);

	if (h.r == 0 && !hook_name_valid(name))
		json_bad(&h, "name", "must be lower-case letters, digits and '-'");
	json_u64_or(&h, "timeout_s", 1, 60, 5);
	json_u64_or(&h, "every_s", 1, 3600, 10);
	json_u64_or(&h, "failures", 1, 100, 1);
	if (h.r == 0 && strcmp(type, "exec") == 0) {
		parse_command(&h);
	} else if (h.r == 0 && strcmp(type, "tcp") == 0) {
		if (!address_valid(json_str(&h, "address", 255)))
			json_bad(&h, "address", "must be host:port");
	} else if (h.r == 0 && strcmp(type, "unit") == 0) {
		const char *unit = json_str(&h, "unit", 255);

		if (h.r == 0 && (!unit[0] || unit[0] == '-' || strpbrk(unit, " /") ||
				 !plain_is(unit, false)))
			json_bad(&h, "unit", "must be the name of a systemd unit");
	} else {
		json_bad(&h, "type", "must be exec, tcp or unit");
	}
	inner_end(g, &h);
}

static void parse_health(struct json_fields *f, struct manifest *m)
{
	const char *off[MANIFEST_LIST_MAX];
	const json_t *probes, *item;
	struct json_fields g;
	size_t n_off, i;

	m->health = json_obj_or_null(f, "health");
	if (!m->health)
		return;
	g = inner(f, "manifest: health", m->health);
	list(&g, "off", ARRAY_SIZE(off), check_known, "names of health checks", off, &n_off);
	parse_limits(&g);
	probes = json_arr_or_null(&g, "probes", MANIFEST_PROBES_MAX);
	json_array_foreach(probes, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));

		parse_probe(&g, item);
		for (size_t j = 0; g.r == 0 && j < i; j++)
			if (strcmp(name, json_string_value(json_object_get(
						 json_array_get(probes, j), "name"))) == 0)
				json_bad(&g, "probes", "has a name twice");
	}
	inner_end(f, &g);
}

static void parse_struct_ops(struct json_fields *f, struct manifest *m)
{
	const json_t *obj = json_obj_or_null(f, "struct_ops");
	bool has_hook = false;
	struct json_fields g;
	const char *state;

	if (!obj)
		return;
	g = inner(f, "manifest: struct_ops", obj);
	state = json_str_or(&g, "state", 16, "compatible");
	if (strcmp(state, "compatible") != 0 && strcmp(state, "own") != 0)
		json_bad(&g, "state", "must be \"compatible\" or \"own\"");
	m->cc_own_state = strcmp(state, "own") == 0;
	m->cc_default = json_bool_or(&g, "default", false);
	inner_end(f, &g);
	for (size_t i = 0; i < m->n_hooks; i++)
		has_hook |= m->hooks[i].type == HOOK_STRUCT_OPS;
	if (!has_hook)
		json_bad(f, "struct_ops", "needs a hook of type struct_ops");
}

static bool severity_valid(const char *s)
{
	return strcmp(s, "low") == 0 || strcmp(s, "medium") == 0 || strcmp(s, "high") == 0 ||
	       strcmp(s, "critical") == 0;
}

static int parse_all(struct manifest *m, struct fail *reterr_fail)
{
	struct json_fields f = json_fields(MANIFEST, m->doc, reterr_fail);
	const json_t *accept;

	json_u64(&f, "format", 1, 1);
	m->name = json_str(&f, "name", HOOK_NAME_MAX);
	if (f.r == 0 && !hook_name_valid(m->name))
		json_bad(&f, "name", "must be lower-case letters, digits and '-'");
	m->serial = json_u64(&f, "serial", 1, MANIFEST_SERIAL_MAX);
	m->label = text(&f, "label", 64, false, "");
	m->title = text(&f, "title", 200, false, m->name);
	m->description = text(&f, "description", 8192, true, "");
	m->impact = text(&f, "impact", 1024, true, "");
	m->severity = json_str_or(&f, "severity", 16, "medium");
	if (f.r == 0 && !severity_valid(m->severity))
		json_bad(&f, "severity", "must be low, medium, high or critical");
	list(&f, "cves", MANIFEST_LIST_MAX, cve_valid, "ids such as CVE-2026-31431", m->cves,
	     &m->n_cves);
	m->created_ms = json_time_or_zero(&f, "created");
	m->expires_ms = json_time_or_zero(&f, "expires");
	if (f.r == 0 && m->expires_ms && m->expires_ms <= m->created_ms)
		json_bad(&f, "expires", "must be later than \"created\"");
	parse_object(&f, m);
	parse_hooks(&f, m);
	parse_kernels(&f, m);
	parse_relations(&f, m);
	parse_trial(&f, m);
	parse_health(&f, m);
	parse_struct_ops(&f, m);
	m->critical = json_bool_or(&f, "critical", false);
	accept = json_obj_or_null(&f, "accept");
	if (accept) {
		struct json_fields g = inner(&f, "manifest: accept", accept);

		m->accept_preemption_leak = json_bool_or(&g, "preemption_leak", false);
		inner_end(&f, &g);
	}
	return json_fields_end(&f);
}

int manifest_parse(const void *payload, size_t len, struct manifest **ret_manifest,
		   struct fail *reterr_fail)
{
	AUTO(manifest_freep) struct manifest *m = NULL;
	int r;

	if (len > MANIFEST_BYTES_MAX)
		return fail_set(reterr_fail, FAIL_BAD_FORMAT,
				"manifest: %zu bytes are more than the %u it may have", len,
				MANIFEST_BYTES_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = json_parse(MANIFEST, payload, len, &m->doc, reterr_fail);
	if (r == 0)
		r = parse_all(m, reterr_fail);
	if (r < 0)
		return r;
	*ret_manifest = take_ptr(m);
	return 0;
}

struct manifest *manifest_free(struct manifest *m)
{
	if (m)
		json_decref(m->doc);
	free(m);
	return NULL;
}

/* ---- kernels ---------------------------------------------------------------- */

#define RELEASE_NUMBERS 4

/* "6.12.107-cloud-amd64" -> 6 12 107 0; returns how many there were. */
static int numbers(const char *s, unsigned long out[RELEASE_NUMBERS])
{
	int n = 0;

	memset(out, 0, RELEASE_NUMBERS * sizeof(out[0]));
	while (n < RELEASE_NUMBERS && isdigit((unsigned char)*s)) {
		char *end;

		out[n++] = strtoul(s, &end, 10);
		s = end;
		if (*s != '.')
			break;
		s++;
	}
	return n;
}

int manifest_release_cmp(const char *a, const char *b)
{
	unsigned long x[RELEASE_NUMBERS], y[RELEASE_NUMBERS];

	numbers(a, x);
	numbers(b, y);
	for (int i = 0; i < RELEASE_NUMBERS; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

/* "6.12.31" speaks for its own series, "6.15" for everything from there on. */
static bool has_fix(const char *release, const char *fixed_in)
{
	unsigned long r[RELEASE_NUMBERS], f[RELEASE_NUMBERS];

	numbers(release, r);
	if (numbers(fixed_in, f) > 2 && (r[0] != f[0] || r[1] != f[1]))
		return false;
	return manifest_release_cmp(release, fixed_in) >= 0;
}

static bool in_range(const struct manifest_range *range, const char *release)
{
	return (!range->from[0] || manifest_release_cmp(release, range->from) >= 0) &&
	       (!range->below[0] || manifest_release_cmp(release, range->below) < 0);
}

int manifest_fits_kernel(const struct manifest *m, const char *release, const char *machine,
			 struct fail *reterr_fail)
{
	bool fits = m->n_arch == 0;

	for (size_t i = 0; i < m->n_arch; i++)
		fits |= strcmp(m->arch[i], machine) == 0;
	if (!fits) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s@%llu is not for %s", m->name,
			 (unsigned long long)m->serial, machine);
		return fail_hint(reterr_fail, "`hotfixctl inspect` shows what it is for.");
	}
	for (size_t i = 0; i < m->n_fixed_in; i++)
		if (has_fix(release, m->fixed_in[i])) {
			fail_set(
				reterr_fail, FAIL_INCOMPATIBLE,
				"%s@%llu is not needed: kernel %s has the fix itself (since %s)",
				m->name, (unsigned long long)m->serial, release,
				m->fixed_in[i]);
			return fail_hint(reterr_fail,
					 "Nothing to do; the hot-fix can be removed.");
		}
	fits = m->n_ranges == 0;
	for (size_t i = 0; i < m->n_ranges; i++)
		fits |= in_range(&m->ranges[i], release);
	if (!fits) {
		fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s@%llu is not for kernel %s",
			 m->name, (unsigned long long)m->serial, release);
		return fail_hint(reterr_fail,
				 "`hotfixctl inspect` shows what it is for; its author "
				 "tested no other releases.");
	}
	return 0;
}
