// SPDX-License-Identifier: BSD-2-Clause
/*
 * The engine against a real kernel: engine [GROUP...], one line per promise. Runs in a guest,
 * and what needs no trampoline also on a host that refuses them. Its bpffs is its own and
 * goes away with it, so that nothing stays attached or registered however it ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/membarrier.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bpf/audit.h"
#include "bpf/doctor.h"
#include "bpf/engine.h"
#include "bpf/gate.h"
#include "bpf/pin.h"
#include "bpf/words.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"

#define NAME	       "engine-test"
#define SWITCHES       500
#define CALLS_A_SWITCH 60
#define THREADS	       4

static char bpffs[PATH_MAX], work[64] = "/tmp/hotfix-engine-XXXXXX";
static struct engine engine;
static int failures;
static bool guest; /* nobody else uses BPF here */

/* --- reporting ---------------------------------------------------------------------------- */

static bool check(bool ok, const char *sentence, const char *why, ...)
	__attribute__((format(printf, 3, 4)));

static bool check(bool ok, const char *sentence, const char *why, ...)
{
	va_list ap;

	if (ok) {
		printf("ok - %s\n", sentence);
	} else {
		failures++;
		printf("not ok - %s: ", sentence);
		va_start(ap, why);
		vprintf(why, ap);
		va_end(ap);
		printf("\n");
	}
	fflush(stdout);
	return ok;
}

static void skip(const char *sentence, const char *why)
{
	printf("skip - %s: %s\n", sentence, why);
}

/* --- objects ------------------------------------------------------------------------------ */

struct version {
	struct engine_version v;
	struct audit audit;
	uint8_t *elf;
};

static void version_free(struct version *v)
{
	free(v->elf);
	free(v);
}
DEFINE_AUTO(struct version, version_free)

static struct version *version_read(const char *object, uint64_t serial)
{
	struct version *v = calloc(1, sizeof(*v));
	struct fail fail = {0};
	char path[PATH_MAX];
	size_t len;
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	path[n > 0 ? n : 0] = 0;
	sprintf(strrchr(path, '/') + 1, "engine_%s.bpf.o", object);
	if (!v || io_read_file(path, AUDIT_OBJECT_BYTES_MAX, &v->elf, &len) < 0 ||
	    audit_object(v->elf, len, &v->audit, &fail) < 0) {
		fprintf(stderr, "%s: %s\n", path, fail.message);
		exit(1);
	}
	v->v = (struct engine_version){
		.name = NAME,
		.serial = serial,
		.object = v->elf,
		.object_len = len,
		.hooks = v->audit.hooks,
		.n_hooks = v->audit.n_hooks,
		.accept_preemption_leak = true,
	};
	memset(v->v.digest, serial, sizeof(v->v.digest));
	return v;
}

static bool stage(struct version *v, uint32_t index, json_t **ret_report, struct fail *fail)
{
	AUTO_JSON json_t *report = NULL;
	int r = engine_stage(&engine, &v->v, index, &report, fail);

	if (r == 0 && ret_report)
		*ret_report = json_incref(report);
	return r == 0;
}

/* Stages or ends the group: what follows makes no sense without. */
static bool must_stage(const char *object, uint64_t serial, uint32_t index)
{
	AUTO(version_freep) struct version *v = version_read(object, serial);
	struct fail fail = {0};

	return stage(v, index, NULL, &fail) || check(false, "a version is staged", "%s: %s\n%s",
						     object, fail.message, engine.log);
}

/* The last report about sockets: how many were moved, and whether they could be. */
static json_int_t moved;

static bool keep_report(const json_t *report)
{
	const json_t *sockets = json_object_get(report, "sockets");
	const char *error = json_string_value(json_object_get(sockets, "move_error"));

	moved = json_integer_value(json_object_get(sockets, "moved"));
	return !error || check(false, "sockets can be moved", "%s", error);
}

static bool settle(void)
{
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};

	if (engine_settle(&engine, NAME, &report, &fail) < 0)
		return check(false, "a version is settled", "%s", fail.message);
	return keep_report(report);
}

static int unstage(uint32_t index, struct fail *fail)
{
	AUTO_JSON json_t *report = NULL;

	return engine_unstage(&engine, NAME, index, &report, fail);
}

static int take_out(struct fail *fail)
{
	AUTO_JSON json_t *report = NULL;

	return engine_remove(&engine, NAME, &report, fail);
}

static uint64_t counter(uint32_t index, uint32_t key)
{
	uint64_t per_cpu[256] = {0}, sum = 0;
	char path[PATH_MAX], v[16];
	AUTO_CLOSE int fd = -1;

	snprintf(v, sizeof(v), "v%u", index);
	if (pin_path(path, bpffs, NAME, v, "hotfix_counters", NULL) < 0 ||
	    pin_open(PIN_MAP, path, &fd) < 0 || bpf_map_lookup_elem(fd, &key, per_cpu) < 0)
		return 0;
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += per_cpu[i];
	return sum;
}

/* --- what the kernel holds ---------------------------------------------------------------- */

static uint32_t highest[3]; /* ids of links, programs and maps before anything was loaded */

/* How many there are above those. */
static void count_ids(size_t ret_n[3])
{
	int (*const next[3])(uint32_t, uint32_t *) = {
		bpf_link_get_next_id, bpf_prog_get_next_id, bpf_map_get_next_id};

	for (int k = 0; k < 3; k++) {
		ret_n[k] = 0;
		for (uint32_t id = highest[k]; next[k](id, &id) == 0;)
			ret_n[k]++;
	}
}

static void remember_ids(void)
{
	for (uint32_t id = 0; bpf_link_get_next_id(id, &id) == 0;)
		highest[0] = id;
	for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;)
		highest[1] = id;
	for (uint32_t id = 0; bpf_map_get_next_id(id, &id) == 0;)
		highest[2] = id;
}

/* Maps are freed after a grace period: what counts is that all of it goes. */
static void check_nothing_left(const char *sentence)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	uint64_t end = clock_mono_ns() + 10000000000ULL;
	size_t n[3];
	struct stat st;
	char path[PATH_MAX];

	pin_path(path, bpffs, NAME, NULL);
	if (stat(path, &st) == 0) {
		check(false, sentence, "%s is still there", path);
		return;
	}
	if (!guest) { /* others load programs here */
		check(true, sentence, " ");
		return;
	}
	do {
		count_ids(n);
		if (n[0] + n[1] + n[2] == 0)
			break;
		nanosleep(&pause, NULL);
	} while (clock_mono_ns() < end);
	check(n[0] + n[1] + n[2] == 0, sentence, "%zu links, %zu programs, %zu maps", n[0],
	      n[1], n[2]);
}

static json_t *survey(void)
{
	json_t *s = NULL, *h = NULL, *each;
	struct fail fail = {0};
	size_t i;

	if (engine_survey(&engine, &s, &fail) < 0) {
		check(false, "the survey reads", "%s", fail.message);
		return json_object();
	}
	json_array_foreach(json_object_get(s, "hotfixes"), i, each)
		if (strcmp(json_string_value(json_object_get(each, "name")), NAME) == 0)
			h = json_incref(each);
	json_decref(s);
	return h ? h : json_object();
}

static void check_survey(const char *sentence, size_t n_slots, bool settled)
{
	AUTO_JSON json_t *h = survey();
	AUTO_FREE char *text = json_dumps(h, JSON_COMPACT);
	json_t *slot;
	size_t i, attached = 0;

	json_array_foreach(json_object_get(h, "slots"), i, slot)
		attached += json_is_true(json_object_get(slot, "attached"));
	check(json_array_size(json_object_get(h, "problems")) == 0 &&
		      json_array_size(json_object_get(h, "slots")) == n_slots &&
		      (!settled || attached == n_slots) &&
		      json_is_true(json_object_get(h, "settled")) == settled,
	      sentence, "%s", text);
}

static uint64_t recursion_misses(void)
{
	AUTO_JSON json_t *h = survey();
	uint64_t sum = 0;
	json_t *slot;
	size_t i;

	json_array_foreach(json_object_get(h, "slots"), i, slot)
		sum += json_integer_value(json_object_get(slot, "recursion_misses"));
	return sum;
}

/* --- hammers ------------------------------------------------------------------------------ */

enum { WAS_ALLOWED, WAS_EACCES, WAS_EPERM, WAS_OTHER, RESULTS };

struct hammer {
	pthread_t thread;
	int cpu;
	bool rmdir; /* else getpgid */
	char folder[PATH_MAX];
	uint64_t results[RESULTS];
	uint64_t calls;
	int last;
	bool stop;
};

static void *on_hammer(void *cookie)
{
	struct hammer *h = cookie;
	cpu_set_t set;
	pid_t self = getpid();
	long r;

	CPU_ZERO(&set);
	CPU_SET(h->cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	prctl(PR_SET_NAME, "hfhammer");
	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		int result;

		r = h->rmdir ? rmdir(h->folder) : syscall(SYS_getpgid, self);
		result = r >= 0		   ? WAS_ALLOWED
			 : errno == EACCES ? WAS_EACCES
			 : errno == EPERM  ? WAS_EPERM
					   : WAS_OTHER;
		if (h->rmdir && r == 0)
			mkdir(h->folder, 0700);
		h->results[result]++;
		__atomic_store_n(&h->last, result, __ATOMIC_RELAXED);
		__atomic_store_n(&h->calls, h->calls + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

struct hammers {
	struct hammer h[THREADS];
	size_t n;
};

static void hammers_start(struct hammers *hs, bool rmdir_)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	memset(hs, 0, sizeof(*hs));
	/* Two on each CPU, so that one may be preempted in the middle of a program. */
	hs->n = 2 * cpus < THREADS ? 2 * cpus : THREADS;
	for (size_t i = 0; i < hs->n; i++) {
		hs->h[i].cpu = i % cpus;
		hs->h[i].rmdir = rmdir_;
		snprintf(hs->h[i].folder, sizeof(hs->h[i].folder), "%s/dir%zu", work, i);
		if (rmdir_)
			mkdir(hs->h[i].folder, 0700);
		pthread_create(&hs->h[i].thread, NULL, on_hammer, &hs->h[i]);
	}
}

static uint64_t hammers_calls(const struct hammers *hs)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < hs->n; i++)
		sum += __atomic_load_n(&hs->h[i].calls, __ATOMIC_ACQUIRE);
	return sum;
}

/* Returns when every hammer has made n more calls. */
static void hammers_wait(const struct hammers *hs, uint64_t n)
{
	uint64_t from[THREADS];

	for (size_t i = 0; i < hs->n; i++)
		from[i] = __atomic_load_n(&hs->h[i].calls, __ATOMIC_ACQUIRE);
	for (size_t i = 0; i < hs->n; i++)
		while (__atomic_load_n(&hs->h[i].calls, __ATOMIC_ACQUIRE) - from[i] < n)
			sched_yield();
}

static uint64_t hammers_stop(struct hammers *hs, uint64_t results[RESULTS])
{
	memset(results, 0, RESULTS * sizeof(*results));
	for (size_t i = 0; i < hs->n; i++)
		__atomic_store_n(&hs->h[i].stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < hs->n; i++) {
		pthread_join(hs->h[i].thread, NULL);
		for (int k = 0; k < RESULTS; k++)
			results[k] += hs->h[i].results[k];
		if (hs->h[i].rmdir)
			rmdir(hs->h[i].folder);
	}
	return hammers_calls(hs);
}

/* Waits until every hammer's last call had this result; 0 after 5 s, else the time it took. */
static uint64_t hammers_await(const struct hammers *hs, int result)
{
	uint64_t start = clock_mono_ns();
	size_t i;

	do {
		hammers_wait(hs, 1);
		for (i = 0; i < hs->n; i++)
			if (__atomic_load_n(&hs->h[i].last, __ATOMIC_RELAXED) != result)
				break;
		if (i == hs->n)
			return clock_mono_ns() - start + 1;
	} while (clock_mono_ns() - start < 5000000000ULL);
	return 0;
}

static void switch_under(const struct hammers *hs, struct gate *g)
{
	for (int i = 0; i < SWITCHES; i++) {
		gate_commit(g, 1 + (i & 1));
		hammers_wait(hs, CALLS_A_SWITCH);
	}
}

/* Does this kernel take trampolines at all? Says so for the group if not. */
static bool trampolines(const char *group)
{
	AUTO(version_freep) struct version *v = version_read("trace_1", 1);
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};

	if (engine_check(&engine, &v->v, &report, &fail) == 0)
		return true;
	if (fail.code == FAIL_INCOMPATIBLE && strstr(fail.message, "refuses BPF trampolines"))
		skip(group, fail.message);
	else
		check(false, group, "%s", fail.message);
	return false;
}

/* --- groups ------------------------------------------------------------------------------- */

static void test_trace(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	uint64_t results[RESULTS], calls, misses, sum[3], dispatched[8], n;
	struct fail fail = {0};
	struct hammers hs;
	bool ok = true;

	if (!trampolines("fentry and fexit are switched"))
		return;
	if (!must_stage("trace_1", 1, 1) || !must_stage("trace_2", 2, 2))
		return;
	check(gate_open(bpffs, NAME, &g) == 0 && gate_index_of(g, 1) == 1 &&
		      gate_index_of(g, 2) == 2 && gate_committed(g) == 0,
	      "staging enters both versions and switches nothing on", "gate");
	if (!g)
		return;
	hammers_start(&hs, false);
	hammers_wait(&hs, 1000);
	check(counter(1, 0) + counter(2, 0) == 0, "a staged version does not run",
	      "%" PRIu64 " calls", counter(1, 0) + counter(2, 0));
	hammers_stop(&hs, results);

	gate_commit(g, 1);
	misses = recursion_misses();
	hammers_start(&hs, false);
	switch_under(&hs, g);
	calls = hammers_stop(&hs, results);
	misses = recursion_misses() - misses;
	for (int k = 0; k < 3; k++)
		sum[k] = counter(1, k) + counter(2, k);
	check(calls >= 100000, "the hammer made at least 100000 calls", "%" PRIu64, calls);
	n = calls - sum[0] + calls - sum[1] + calls - sum[2];
	check(sum[0] <= calls && sum[1] <= calls && sum[2] <= calls && n == misses,
	      "fentry, fexit and a second fentry on one target each saw every call once, but for "
	      "those the kernel counts as recursion",
	      "%" PRIu64 " calls, seen %" PRIu64 " %" PRIu64 " %" PRIu64 ", misses %" PRIu64,
	      calls, sum[0], sum[1], sum[2], misses);
	printf("# %" PRIu64 " calls, %d switches, %" PRIu64 " recursion misses\n", calls,
	       SWITCHES, misses);
	check(counter(1, 0) > calls / 4 && counter(2, 0) > calls / 4,
	      "both versions had their turns", "%" PRIu64 " and %" PRIu64, counter(1, 0),
	      counter(2, 0));
	ok = engine_calls(bpffs, NAME, "fentry:security_task_getpgid:2", dispatched) == 0 &&
	     dispatched[1] >= counter(1, 2) && dispatched[2] >= counter(2, 2);
	check(ok, "the dispatcher's counters tell the calls of each version",
	      "%" PRIu64 " %" PRIu64, dispatched[1], dispatched[2]);
	check_survey("the survey finds three attached slots and no problem", 3, true);
	check(unstage(gate_committed(g), &fail) < 0 && fail.code == FAIL_CONFLICT,
	      "the live version cannot be unstaged", "%s", fail.message);
	check(unstage(3 - gate_committed(g), &fail) == 0 &&
		      gate_index_of(g, gate_committed(g)) != 0,
	      "the other one can", "%s", fail.message);
	check_survey("and leaves the slots of the live one", 3, true);
	check(take_out(&fail) == 0 && take_out(&fail) == 0, "removing twice succeeds", "%s",
	      fail.message);
	gate_freep(&g);
	g = NULL;
	check_nothing_left("removing tracing hooks leaves nothing in the kernel");
}

static void deny(const char *kind, const char *object1, const char *object2)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO(version_freep) struct version *v1 = version_read(object1, 1);
	AUTO_JSON json_t *report = NULL;
	uint64_t results[RESULTS], calls, misses, counted;
	struct fail fail = {0};
	struct hammers hs;
	const char *as;
	char sentence[256];

	snprintf(sentence, sizeof(sentence), "%s hooks are switched", kind);
	if (!trampolines(sentence))
		return;
	if (!stage(v1, 1, &report, &fail)) {
		check(false, sentence, "%s", fail.message);
		return;
	}
	as = json_string_value(json_object_get(
		json_array_get(json_object_get(report, "hooks"), 0), "attach_as"));
	printf("# %s is attached as %s\n", kind, as);
	if (!must_stage(object2, 2, 2) || gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	hammers_start(&hs, false);
	hammers_await(&hs, WAS_EACCES);
	hammers_stop(&hs, results);
	misses = recursion_misses();
	counted = counter(1, 0) + counter(2, 0);
	hammers_start(&hs, false);
	switch_under(&hs, g);
	calls = hammers_stop(&hs, results);
	misses = recursion_misses() - misses;
	counted = counter(1, 0) + counter(2, 0) - counted;
	printf("# %" PRIu64 " calls, %d switches, %" PRIu64 " missed, %" PRIu64
	       " recursion misses\n",
	       calls, SWITCHES, results[WAS_ALLOWED], misses);
	snprintf(sentence, sizeof(sentence),
		 "%s: of all calls none was let through during the switches%s", kind,
		 strcmp(as, "lsm") == 0 ? "" : ", but for those counted as recursion");
	check(calls >= 100000 && results[WAS_ALLOWED] == misses && results[WAS_OTHER] == 0 &&
		      (strcmp(as, "lsm") != 0 || misses == 0),
	      sentence, "%" PRIu64 " calls, %" PRIu64 " allowed, misses %" PRIu64, calls,
	      results[WAS_ALLOWED], misses);
	snprintf(sentence, sizeof(sentence), "%s: none was answered by two versions", kind);
	check(counted == calls - misses, sentence,
	      "%" PRIu64 " calls, versions counted %" PRIu64, calls, counted);

	hammers_start(&hs, false);
	gate_commit(g, 0);
	snprintf(sentence, sizeof(sentence), "%s: index 0 switches the hot-fix off", kind);
	check(hammers_await(&hs, WAS_ALLOWED) != 0, sentence, "still denied");
	gate_commit(g, 2);
	snprintf(sentence, sizeof(sentence), "%s: and an index switches it on again", kind);
	check(hammers_await(&hs, WAS_EPERM) != 0, sentence, "not denied");
	check(take_out(&fail) == 0, "a hot-fix is removed under load", "%s", fail.message);
	snprintf(sentence, sizeof(sentence), "%s: nothing is denied once remove has returned",
		 kind);
	hammers_wait(&hs, 2);
	memset(results, 0, sizeof(results));
	for (size_t i = 0; i < hs.n; i++)
		results[__atomic_load_n(&hs.h[i].last, __ATOMIC_RELAXED)]++;
	check(results[WAS_ALLOWED] == hs.n, sentence, "still denied");
	hammers_stop(&hs, results);
	gate_freep(&g);
	g = NULL;
	snprintf(sentence, sizeof(sentence), "%s: removing leaves nothing in the kernel", kind);
	check_nothing_left(sentence);
}

static void test_fmod_ret(void)
{
	deny("fmod_ret", "deny_1", "deny_2");
}

static void test_lsm(void)
{
	deny("lsm", "lsm_1", "lsm_2");
}

/* The process that holds the trial is killed: the lease ends it, with nobody's help. */
static void test_lease(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	uint64_t results[RESULTS], back_ns;
	const uint64_t lease_ns = 4000000000; /* an emulated guest is slow to see it begin */
	struct fail fail = {0};
	struct hammers hs;
	pid_t pid;

	if (!trampolines("a trial ends with its lease"))
		return;
	if (!must_stage("lsm_1", 1, 1) || !must_stage("lsm_2", 2, 2) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	hammers_start(&hs, false);
	hammers_await(&hs, WAS_EACCES);
	for (size_t i = 0; i < hs.n; i++)
		hs.h[i].results[WAS_ALLOWED] = 0; /* from before the commit */
	pid = fork();
	if (pid == 0) {
		struct gate *child = NULL;

		if (gate_open(bpffs, NAME, &child) == 0)
			gate_begin_trial(child, 2, clock_mono_ns() + lease_ns);
		raise(SIGSTOP);
		_exit(0);
	}
	check(hammers_await(&hs, WAS_EPERM) != 0, "a trial is live at once", "not live");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	check(hammers_await(&hs, WAS_EACCES) != 0,
	      "after kill -9 of its holder the committed version is live again", "it is not");
	back_ns = clock_mono_ns();
	check(back_ns >= gate_deadline_ns(g), "when the lease ended, not before",
	      "%" PRIu64 " ms early", (gate_deadline_ns(g) - back_ns) / 1000000);
	hammers_stop(&hs, results);
	check(results[WAS_ALLOWED] == 0, "and no call was let through meanwhile", "%" PRIu64,
	      results[WAS_ALLOWED]);
	check(gate_renew(g, clock_mono_ns(), 0, clock_mono_ns() + lease_ns) == -ETIME,
	      "an ended trial is not renewed", "it was");
	take_out(&fail);
}

static void test_overlap(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	uint64_t results[RESULTS];
	struct fail fail = {0};
	struct hammers hs;

	if (!trampolines("sleepable programs overlap"))
		return;
	if (!doctor_lsm_has_bpf(NULL, 0)) {
		skip("sleepable programs overlap", "bpf is not in this kernel's LSM list");
		return;
	}
	if (!must_stage("sleep_1", 1, 1) || !must_stage("sleep_2", 2, 2) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	if (!settle() || !settle())
		return;
	check_survey("a settled sleepable version is attached", 1, true);
	hammers_start(&hs, true);
	hammers_await(&hs, WAS_EACCES);
	for (size_t i = 0; i < hs.n; i++)
		memset(hs.h[i].results, 0, sizeof(hs.h[i].results));
	for (int i = 0; i < 6; i++) {
		gate_commit(g, 2 - (i & 1));
		settle();
		hammers_wait(&hs, 100);
	}
	gate_commit(g, 2);
	check_survey("the survey tells when settling is due", 1, false);
	settle();
	check(hammers_await(&hs, WAS_EPERM) != 0, "the other sleepable version is live",
	      "it is not");
	hammers_stop(&hs, results);
	check(results[WAS_ALLOWED] == 0 && results[WAS_EACCES] && results[WAS_EPERM],
	      "replacing a sleepable version lets no call through", "%" PRIu64 " of %" PRIu64,
	      results[WAS_ALLOWED], hammers_calls(&hs));
	gate_commit(g, 0);
	settle();
	hammers_start(&hs, true);
	check(hammers_await(&hs, WAS_ALLOWED) != 0, "settling on 0 detaches it",
	      "still denied");
	hammers_stop(&hs, results);
	check(take_out(&fail) == 0, "a sleepable hot-fix is removed", "%s", fail.message);
	gate_freep(&g);
	g = NULL;
	check_nothing_left("removing a sleepable hot-fix leaves nothing in the kernel");
}

/* --- tampering ------------------------------------------------------------------------------ */

static bool surveyed_problem(const char *words)
{
	AUTO_JSON json_t *h = survey();
	json_t *problem;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(h, "problems"), i, problem)
		found |= strstr(json_string_value(problem), words) != NULL;
	if (!found) {
		AUTO_FREE char *text = json_dumps(json_object_get(h, "problems"), 0);

		printf("# problems: %s\n", text);
	}
	return found;
}

static int open_pin(enum pin_kind kind, const char *a, const char *b, const char *c)
{
	char path[PATH_MAX];
	int fd = -1;

	pin_path(path, bpffs, NAME, a, b, c, NULL);
	return pin_open(kind, path, &fd) < 0 ? -1 : fd;
}

static void pin_over(int fd, const char *a, const char *b, const char *c)
{
	char path[PATH_MAX];

	pin_path(path, bpffs, NAME, a, b, c, NULL);
	pin_replace(fd, path);
}

static void test_tamper(void)
{
	static const char slot[] = "lsm:task_getpgid";
	AUTO(version_freep) struct version *v = version_read("lsm_2", 3);
	AUTO(gate_freep) struct gate *g = NULL;
	struct fail fail = {0};
	uint32_t one = 1;
	int versions, first, second, dispatcher, array, gate;

	if (!trampolines("what somebody else pins is noticed"))
		return;
	if (!must_stage("lsm_1", 1, 1) || !must_stage("lsm_2", 2, 2) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	versions = open_pin(PIN_MAP, "slots", slot, "versions");
	dispatcher = open_pin(PIN_PROGRAM, "slots", slot, "dispatcher");
	first = open_pin(PIN_PROGRAM, "v1", "deny", NULL);
	second = open_pin(PIN_PROGRAM, "v2", "deny", NULL);
	gate = open_pin(PIN_MAP, "gate", NULL, NULL);
	check_survey("before, the survey has no problem", 1, true);

	bpf_map_update_elem(versions, &one, &second, 0);
	check(surveyed_problem("is not the version's"),
	      "the survey sees that a slot calls another program", "it does not");
	bpf_map_delete_elem(versions, &one);
	check(surveyed_problem("is in no slot"), "or none", "it does not");
	bpf_map_update_elem(versions, &one, &first, 0);
	pin_over(second, "slots", slot, "dispatcher");
	check(surveyed_problem("not the dispatcher"), "that the link runs another program",
	      "it does not");
	pin_over(dispatcher, "slots", slot, "dispatcher");
	array = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "other", 4, 4, GATE_VERSIONS, NULL);
	pin_over(array, "slots", slot, "versions");
	check(surveyed_problem("another array"), "that the dispatcher calls another array",
	      "it does not");
	pin_over(dispatcher, "slots", slot, "versions");
	check(surveyed_problem("no array"), "that there is none", "it does not");
	pin_over(versions, "slots", slot, "versions");
	pin_over(array, "gate", NULL, NULL);
	check(surveyed_problem("the gate is something else"), "that the gate is none",
	      "it does not");
	check(!stage(v, 3, NULL, &fail) && fail.code == FAIL_CONFLICT,
	      "and the engine does not work with such a gate", "%s", fail.message);
	pin_over(gate, "gate", NULL, NULL);
	check_survey("put right again, there is no problem", 1, true);

	pin_over(array, "gate", NULL, NULL);
	pin_over(second, "slots", slot, "dispatcher");
	close(versions);
	close(dispatcher);
	close(first);
	close(second);
	close(array);
	close(gate);
	gate_freep(&g);
	g = NULL;
	check(take_out(&fail) == 0, "the worst of it can be removed", "%s", fail.message);
	check_nothing_left("and leaves nothing in the kernel");
}

/* --- killed workers ----------------------------------------------------------------------- */

typedef void (*deed_fn)(void);

static void deed_stage(void)
{
	AUTO(version_freep) struct version *v = version_read("lsm_2", 2);
	struct fail fail = {0};

	stage(v, 2, NULL, &fail);
}

static void deed_stage_more(void)
{
	AUTO(version_freep) struct version *v = version_read("trace_1", 2);
	struct fail fail = {0};

	stage(v, 2, NULL, &fail);
}

static void deed_unstage(void)
{
	struct fail fail = {0};

	unstage(2, &fail);
}

static void deed_remove(void)
{
	struct fail fail = {0};

	take_out(&fail);
}

static void kill_within(deed_fn deed, uint64_t delay_ns)
{
	const struct timespec pause = {.tv_sec = delay_ns / 1000000000,
				       .tv_nsec = delay_ns % 1000000000};
	pid_t pid = fork();

	if (pid == 0) {
		deed();
		_exit(0);
	}
	nanosleep(&pause, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static uint64_t duration(deed_fn deed)
{
	uint64_t start = clock_mono_ns();
	pid_t pid = fork();

	if (pid == 0) {
		deed();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return clock_mono_ns() - start;
}

static void test_kill(void)
{
	static const struct {
		const char *what;
		deed_fn deed, back;
	} deeds[] = {
		{"staging over a live version", deed_stage, deed_unstage},
		{"staging new slots beside a live version", deed_stage_more, deed_unstage},
		{"unstaging beside a live version", deed_unstage, deed_stage},
	};
	AUTO(gate_freep) struct gate *g = NULL;
	uint64_t results[RESULTS], took;
	struct fail fail = {0};
	char sentence[256];
	struct hammers hs;
	const int rounds = 12;

	if (!trampolines("a worker may be killed at any point"))
		return;
	if (!must_stage("lsm_1", 1, 1) || gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	for (size_t d = 0; d < sizeof(deeds) / sizeof(deeds[0]); d++) {
		deeds[d].back();
		took = duration(deeds[d].deed);
		hammers_start(&hs, false);
		hammers_wait(&hs, 1);
		for (int i = 0; i < rounds; i++) {
			kill_within(deeds[d].deed, took * i / rounds);
			if (i % 3 == 0)
				deeds[d].back();
		}
		hammers_stop(&hs, results);
		snprintf(sentence, sizeof(sentence), "kill -9 while %s uncovers no call",
			 deeds[d].what);
		check(results[WAS_ALLOWED] == 0, sentence, "%" PRIu64, results[WAS_ALLOWED]);
		snprintf(sentence, sizeof(sentence), "and the next worker cleans up after %s",
			 deeds[d].what);
		check(unstage(2, &fail) == 0, sentence, "%s", fail.message);
		check_survey("so that the survey finds the one live version alone", 1, true);
	}
	gate_freep(&g);
	g = NULL;
	took = duration(deed_remove);
	for (int i = 0; i < rounds && must_stage("trace_1", 1, 1); i++)
		kill_within(deed_remove, took * i / rounds);
	check(take_out(&fail) == 0, "a removal that was killed is finished", "%s",
	      fail.message);
	check_nothing_left("and leaves nothing in the kernel");
}

/* --- congestion control ------------------------------------------------------------------- */

#define CC     "hf_test_cc"
#define SYSCTL "/proc/sys/net/ipv4/tcp_congestion_control"

struct flow {
	int client, server;
	pthread_t drain;
};

static void *on_drain(void *cookie)
{
	struct flow *f = cookie;
	char buf[65536];

	while (read(f->server, buf, sizeof(buf)) > 0)
		;
	return NULL;
}

/* cc NULL: whatever is the default. */
static bool flow_open(struct flow *f, const char *cc)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	AUTO_CLOSE int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	f->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(l, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(l, 1) < 0 ||
	    getsockname(l, (struct sockaddr *)&a, &len) < 0)
		return false;
	if (cc && setsockopt(f->client, IPPROTO_TCP, TCP_CONGESTION, cc, strlen(cc)) < 0)
		return false;
	if (connect(f->client, (struct sockaddr *)&a, sizeof(a)) < 0)
		return false;
	f->server = accept(l, NULL, NULL);
	return pthread_create(&f->drain, NULL, on_drain, f) == 0;
}

/*
 * Sends until the peer has acknowledged it all, and what the last acknowledgement called is
 * over: that runs with the socket's lock held, which TIOCOUTQ does not take and TCP_INFO does.
 */
static bool flow_send(struct flow *f)
{
	static char buf[1 << 20];
	uint64_t end = clock_mono_ns() + 10000000000ULL;
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int queued;

	for (int i = 0; i < 4; i++)
		for (size_t at = 0; at < sizeof(buf);) {
			ssize_t n = write(f->client, buf + at, sizeof(buf) - at);

			if (n < 0)
				return false;
			at += n;
		}
	do {
		if (ioctl(f->client, TIOCOUTQ, &queued) < 0)
			return false;
		sched_yield();
	} while (queued && clock_mono_ns() < end);
	return queued == 0 && getsockopt(f->client, IPPROTO_TCP, TCP_INFO, &info, &len) == 0;
}

static void flow_close(struct flow *f)
{
	close(f->client);
	pthread_join(f->drain, NULL);
	close(f->server);
}

static void flow_cc(const struct flow *f, char name[HOOK_CC_NAME_BYTES])
{
	socklen_t len = HOOK_CC_NAME_BYTES;

	memset(name, 0, HOOK_CC_NAME_BYTES);
	getsockopt(f->client, IPPROTO_TCP, TCP_CONGESTION, name, &len);
}

static bool default_is(const char *cc)
{
	char name[64] = "";

	return io_read_line(SYSCTL, name, sizeof(name)) == 0 && strcmp(name, cc) == 0;
}

static bool is_available(const char *cc)
{
	char list[1024] = "";
	bool found = false;

	io_read_line("/proc/sys/net/ipv4/tcp_available_congestion_control", list, sizeof(list));
	for (char *save, *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save))
		found |= strcmp(w, cc) == 0;
	return found;
}

/* Which of the indexes had calls (of key) since the last time? A mask. */
static uint32_t ran(uint64_t last[8], uint32_t key)
{
	uint32_t mask = 0;

	for (uint32_t i = 1; i < 8; i++) {
		uint64_t now = counter(i, key);

		mask |= (now > last[i]) << i; /* less: staged anew, or gone */
		last[i] = now;
	}
	return mask;
}

static bool stage_cc(const char *object, uint32_t index, bool own, bool take_default)
{
	AUTO(version_freep) struct version *v = version_read(object, index);
	struct fail fail = {0};

	v->v.cc_own_state = own;
	v->v.cc_default = take_default;
	return stage(v, index, NULL, &fail) ||
	       check(false, "a congestion control is staged", "%s: %s\n%s", object,
		     fail.message, engine.log);
}

static void test_cc(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO(version_freep) struct version *clash = version_read("cc_clash", 9);
	uint64_t last[8] = {0}, dispatched[8] = {0};
	struct fail fail = {0};
	char name[HOOK_CC_NAME_BYTES], old_default[64] = "";
	struct flow f, fresh;
	bool ok = true;

	io_read_line(SYSCTL, old_default, sizeof(old_default));
	if (!stage_cc("cc_1", 1, false, false) || !stage_cc("cc_2", 2, false, false) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	check(!is_available(CC), "staging registers nothing", "%s is there", CC);
	gate_commit(g, 1);
	if (!settle())
		return;
	check(is_available(CC) && default_is(old_default),
	      "settling registers it and leaves the default alone", "no %s", CC);
	check_survey("the survey finds the registration and no problem", 1, true);
	if (!check(flow_open(&f, CC), "a socket can choose it", "%s", strerror(errno)))
		return;
	ok = flow_send(&f);
	check(ok && ran(last, 2) == 1 << 1, "its members are those of version 1",
	      "%" PRIu64 " %" PRIu64, last[1], last[2]);
	for (int i = 0; i < 6 && ok; i++) {
		uint32_t index = 2 - (i & 1);

		gate_commit(g, index);
		/* Calls that began before the store end: a grace period of RCU. */
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
		ran(last, 2);
		ok = flow_send(&f) && ran(last, 2) == 1U << index;
	}
	check(ok, "one store moves the live socket to version 2, and back, six times",
	      "%" PRIu64 " %" PRIu64, last[1], last[2]);
	check(engine_calls(bpffs, NAME, "struct_ops:tcp_congestion_ops", dispatched) == 0 &&
		      dispatched[1] && dispatched[2],
	      "the dispatchers count its calls", "%" PRIu64, dispatched[1]);
	gate_commit(g, 2);
	settle();
	check_survey("versions of one shape share the registration", 1, true);

	gate_commit(g, 0);
	ran(last, 2);
	ok = flow_send(&f);
	check(ok && ran(last, 2) == 0,
	      "switched off, the live socket goes on without a version", "it does not");
	settle();
	check(!is_available(CC), "settling on 0 unregisters it", "still there");
	ok = flow_send(&f);
	flow_cc(&f, name);
	check(ok && moved == 1 && strcmp(name, old_default) == 0,
	      "and its one live socket gets the default", "%s, %" PRIu64, name,
	      (uint64_t)moved);
	gate_commit(g, 1);
	settle();
	flow_close(&f);
	ok = flow_open(&f, CC) && flow_send(&f);
	check(ok && ran(last, 2) == 1 << 1, "switched on again, sockets can choose it",
	      "%" PRIu64, last[1]);

	/* The default. */
	if (!stage_cc("cc_2", 3, false, true))
		return;
	gate_commit(g, 3);
	settle();
	check(default_is(CC), "a version may become the default", "it did not");
	ran(last, 2); /* the socket that was closed had its last word */
	ok = flow_open(&fresh, NULL);
	flow_cc(&fresh, name);
	ok = ok && strcmp(name, CC) == 0 && flow_send(&fresh) && ran(last, 2) == 1 << 3;
	check(ok, "and new sockets get it", "%s", name);
	check_survey("the survey agrees with it", 1, true);
	gate_commit(g, 1);
	settle();
	check(default_is(old_default) && is_available(CC),
	      "rolled back to a version that is not, the default is given back", "it is not");

	/* Another shape under the same name. */
	if (!stage_cc("cc_control", 4, false, true))
		return;
	gate_commit(g, 4);
	settle();
	flow_close(&fresh);
	ran(last, 2);
	ok = flow_open(&fresh, NULL) && flow_send(&fresh);
	check(ok && ran(last, 2) == 1 << 4 && default_is(CC),
	      "a version with other members is registered in place and is the default",
	      "%" PRIu64, last[4]);
	check_survey("with the new shape in the survey", 1, true);
	ok = flow_send(&f);
	check(ok && ran(last, 2) == 1 << 4, "and a socket of the old shape is one of it",
	      "%" PRIu64, last[4]);
	gate_begin_trial(g, 1, clock_mono_ns() + 60000000000ULL);
	ok = flow_send(&f);
	flow_cc(&f, name);
	check(ok && ran(last, 2) == 1 << 4 && strcmp(name, CC) == 0,
	      "until a trial of another shape is settled, the committed version goes on",
	      "%" PRIu64 " %s", last[4], name);
	gate_commit(g, 1);
	ok = flow_send(&fresh);
	flow_cc(&fresh, name);
	check(ok && strcmp(name, "reno") == 0,
	      "a socket whose members have no version any more moves to Reno", "%s", name);
	settle();
	ran(last, 2);
	ok = flow_send(&f) && ran(last, 2) == 1 << 1 && flow_send(&fresh) &&
	     ran(last, 2) == 1 << 1;
	flow_cc(&fresh, name);
	check(ok && strcmp(name, CC) == 0, "settled, both sockets run version 1",
	      "%" PRIu64 " %s", last[1], name);

	/* Another name. */
	if (!stage_cc("cc_name", 5, false, true))
		return;
	gate_commit(g, 5);
	settle();
	check(is_available(CC "2") && !is_available(CC) && default_is(CC "2"),
	      "a version of another name is registered beside, then the old name goes",
	      "it is not");
	check_survey("and the survey knows the name", 1, true);
	gate_commit(g, 0);
	settle();
	check(default_is(old_default) && !is_available(CC "2"),
	      "switched off, the default is given back and the name is gone", "it is not");

	check(!stage(clash, 6, NULL, &fail) && fail.code == FAIL_CONFLICT &&
		      strstr(fail.message, "reno"),
	      "a name that the kernel has is refused, and named", "%s", fail.message);
	flow_close(&f);
	flow_close(&fresh);
	check(take_out(&fail) == 0, "a congestion control is removed", "%s", fail.message);
	gate_freep(&g);
	g = NULL;
	check_nothing_left("removing a congestion control leaves nothing in the kernel");
}

static void test_cc_own(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	struct fail fail = {0};
	uint64_t last[8] = {0};
	struct flow a, b;
	bool ok;

	if (!stage_cc("cc_1", 1, true, false) || !stage_cc("cc_2", 2, true, false) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	if (!settle() ||
	    !check(flow_open(&a, CC), "a socket can choose it", "%s", strerror(errno)))
		return;
	ok = flow_send(&a) && ran(last, 2) == 1 << 1;
	gate_commit(g, 2);
	ok = ok && flow_send(&a) && ran(last, 2) == 1 << 1;
	check(ok,
	      "with state of its own a live socket stays with the version that initialised it",
	      "%" PRIu64 " %" PRIu64, last[1], last[2]);
	ok = flow_open(&b, CC) && flow_send(&b) && ran(last, 2) == 1 << 2;
	check(ok, "and a new one runs the live version", "%" PRIu64 " %" PRIu64, last[1],
	      last[2]);
	check(unstage(1, &fail) == 0 && flow_send(&a) && ran(last, 2) == 1 << 2,
	      "when its version goes, a socket is initialised by the live one", "%s",
	      fail.message);
	gate_commit(g, 0);
	ok = flow_send(&b);
	check(ok && ran(last, 2) == 0, "switching off holds for every socket", "it does not");
	flow_close(&a);
	flow_close(&b);
	check(take_out(&fail) == 0, "it is removed", "%s", fail.message);
	gate_freep(&g);
	g = NULL;
	check_nothing_left("removing it leaves nothing in the kernel");
}

static void settle_on(uint32_t index)
{
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_JSON json_t *report = NULL;
	struct fail fail = {0};

	if (gate_open(bpffs, NAME, &g) == 0)
		gate_commit(g, index);
	engine_settle(&engine, NAME, &report, &fail);
}

static void deed_settle_1(void)
{
	settle_on(1);
}

static void deed_settle_2(void)
{
	settle_on(2);
}

static void test_cc_kill(void)
{
	AUTO(gate_freep) struct gate *g = NULL;
	struct fail fail = {0};
	char old_default[64] = "";
	const int rounds = 16;
	uint64_t took, last[8] = {0};
	struct flow f;
	int lost = 0;
	bool ok;

	io_read_line(SYSCTL, old_default, sizeof(old_default));
	if (!stage_cc("cc_1", 1, false, true) || !stage_cc("cc_control", 2, false, true) ||
	    gate_open(bpffs, NAME, &g) < 0)
		return;
	gate_commit(g, 1);
	if (!settle() ||
	    !check(flow_open(&f, CC), "a socket can choose it", "%s", strerror(errno)))
		return;
	took = duration(deed_settle_2);
	deed_settle_1();
	for (int i = 0; i < rounds; i++) {
		kill_within(i & 1 ? deed_settle_1 : deed_settle_2, took * i / rounds);
		lost += !is_available(CC);
	}
	/* Without links the name is away for a moment, in which a worker may be killed. */
	if (lost)
		printf("# the name was gone after %d of %d kills\n", lost, rounds);
	gate_commit(g, 1);
	check(settle() && is_available(CC) && default_is(CC),
	      "after kill -9 while re-registering the next worker settles it", "it does not");
	check_survey("and the survey has no problem with it", 1, true);
	ran(last, 2);
	ok = flow_send(&f);
	check(ok && ran(last, 2) == 1 << 1, "and a live socket runs it", "%" PRIu64, last[1]);
	for (int i = 0; i < rounds; i++) {
		kill_within(deed_remove, took * i / rounds);
		gate_freep(&g);
		g = NULL;
		if (gate_open(bpffs, NAME, &g) < 0 || gate_committed(g) == 0) {
			gate_freep(&g);
			g = NULL;
			if (!stage_cc("cc_1", 1, false, true) || gate_open(bpffs, NAME, &g) < 0)
				return;
		}
		gate_commit(g, 1);
		settle();
	}
	flow_close(&f);
	ok = flow_open(&f, CC);
	check(take_out(&fail) == 0 && ok && flow_send(&f) && default_is(old_default) &&
		      !is_available(CC),
	      "a removal that was killed is finished: name gone, default given back", "%s",
	      fail.message);
	gate_freep(&g);
	g = NULL;
	check_nothing_left("and nothing is left in the kernel, with a connection open");
	flow_close(&f);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} groups[] = {
		{"trace", test_trace},	   {"fmod_ret", test_fmod_ret},
		{"lsm", test_lsm},	   {"lease", test_lease},
		{"overlap", test_overlap}, {"tamper", test_tamper},
		{"kill", test_kill},	   {"cc", test_cc},
		{"cc_own", test_cc_own},   {"cc_kill", test_cc_kill},
	};
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	struct fail fail = {0};
	char host[64] = "";

	signal(SIGPIPE, SIG_IGN);
	words_quiet();
	gethostname(host, sizeof(host) - 1);
	guest = strcmp(host, "guest") == 0;
	/* On a host the sysctl of our own network namespace is changed, not everybody's. */
	if (!mkdtemp(work) || unshare(CLONE_NEWNS | (guest ? 0 : CLONE_NEWNET)) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("bpf", work, "bpf", 0, "mode=0700") < 0) {
		skip("the engine", "no bpffs can be mounted here");
		return 77;
	}
	if (!guest)
		ioctl(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), SIOCSIFFLAGS, &lo);
	snprintf(bpffs, sizeof(bpffs), "%s/hotfix", work);
	engine = (struct engine){.bpffs = bpffs, .log = calloc(1, ENGINE_LOG_BYTES)};
	remember_ids();
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		bool wanted = argc < 2;

		for (int k = 1; k < argc; k++)
			wanted |= strcmp(argv[k], groups[i].name) == 0;
		if (!wanted)
			continue;
		printf("# %s\n", groups[i].name);
		groups[i].run();
		take_out(&fail);
	}
	umount(work);
	rmdir(work);
	free(engine.log);
	return failures != 0;
}
