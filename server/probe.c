// SPDX-License-Identifier: BSD-2-Clause
#include "server/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/io.h"
#include "lib/plain.h"
#include "server/crew.h"

#define FILE_BYTES_MAX (16U << 20)
#define MEMORY_MIB     64
#define OUTPUT_BYTES   4096
#define SYSTEMCTL      "/usr/bin/systemctl"

struct probe {
	struct probes *all;
	char name[HOOK_NAME_MAX + 1], source[HEALTH_SOURCE_BYTES];
	uint32_t index;
	uint64_t timeout_ms, every_ms, failures;
	/* the run */
	struct crew_member *member; /* NULL: none */
	int output_fd;
	struct event *readable, *deadline;
	char *output; /* the last of it */
	size_t output_len, output_max;
	bool timed_out;
	/* results */
	bool ran;
	uint64_t failed, next_ms;
	char note[HEALTH_NOTE_BYTES];
};

struct probes {
	struct event_base *base;
	struct crew *crew;
	char name[HOOK_NAME_MAX + 1]; /* of the hot-fix */
	int bundle_fd;
	size_t n;
	struct probe probe[MANIFEST_PROBES_MAX];
};

/* ---- in the process of its own ------------------------------------------------ */

static int say(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 126;
}

static void limit(int resource, uint64_t most)
{
	setrlimit(resource, &(struct rlimit){most, most});
}

static int give_up_privileges(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(PROBE_USER, PROBE_USER, PROBE_USER) < 0 ||
	    setresuid(PROBE_USER, PROBE_USER, PROBE_USER) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* Giving up the user has cleared this. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	limit(RLIMIT_NPROC, PROBE_PROCESSES);
	limit(RLIMIT_FSIZE, FILE_BYTES_MAX);
	limit(RLIMIT_CORE, 0);
	return 0;
}

static int run_command(const char *memory_mib, char *const argv[])
{
	static char path[] =
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		    lang[] = "LANG=C.UTF-8";
	char *const env[] = {path, lang, NULL};

	limit(RLIMIT_AS, strtoull(memory_mib, NULL, 10) << 20);
	execve(argv[0], argv, env);
	return say(argv[0]);
}

static int connect_to(const char *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *all, *a;
	char host[256];
	const char *colon = strrchr(address, ':'), *end = colon;
	int fd, r;

	if (!colon)
		return 2;
	if (*address == '[' && end[-1] == ']') { /* "[::1]:80" */
		address++;
		end--;
	}
	snprintf(host, sizeof(host), "%.*s", (int)(end - address), address);
	r = getaddrinfo(host, colon + 1, &hints, &all);
	if (r != 0) {
		printf("%s: %s\n", host, gai_strerror(r));
		return 1;
	}
	for (a = all; a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			return 0;
	}
	say("connect");
	return 1;
}

int probe_main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc < 4)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(3, ~0U, 0);
	umask(022);
	if (chdir("/") < 0)
		return say("/");
	/* Where there are no such namespaces, ending the session has to do. */
	(void)unshare(CLONE_NEWPID);
	if (give_up_privileges() < 0)
		return say("cannot become nobody");
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return say("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		status = strcmp(argv[2], "exec") == 0 ? run_command(argv[3], argv + 4)
						      : connect_to(argv[3]);
		fflush(stdout);
		_exit(status);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* ---- a run ---------------------------------------------------------------------- */

static void close_run(struct probe *p)
{
	struct event **events[] = {&p->readable, &p->deadline};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (*events[i]) {
			event_free(*events[i]);
			*events[i] = NULL;
		}
	if (p->output_fd >= 0)
		close(take_fd(&p->output_fd));
	p->member = NULL;
	p->output_len = 0;
	p->timed_out = false;
}

/* why: NULL when it went well. The end of what it printed follows. */
static void end_run(struct probe *p, const char *why)
{
	size_t tail =
		p->output_len < HEALTH_NOTE_BYTES / 2 ? p->output_len : HEALTH_NOTE_BYTES / 2;
	char last[HEALTH_NOTE_BYTES / 2 + 1];

	memcpy(last, p->output + p->output_len - tail, tail);
	while (tail && (last[tail - 1] == '\n' || last[tail - 1] == ' '))
		tail--;
	last[tail] = 0;
	plain_make(last, false);
	p->ran = true;
	p->failed = why ? p->failed + 1 : 0;
	snprintf(p->note, sizeof(p->note), "%s%s%s", why ? why : "", why && tail ? ": " : "",
		 last);
	close_run(p);
}

/* Keeps the end: what a program says last is why it failed. Returns what read() does. */
static ssize_t read_output(struct probe *p)
{
	char chunk[4096];
	ssize_t n = read(p->output_fd, chunk, sizeof(chunk));
	size_t keep, room;

	if (n <= 0)
		return n;
	keep = (size_t)n < p->output_max ? (size_t)n : p->output_max;
	room = p->output_max - keep;
	if (p->output_len > room) {
		memmove(p->output, p->output + p->output_len - room, room);
		p->output_len = room;
	}
	memcpy(p->output + p->output_len, chunk + (size_t)n - keep, keep);
	p->output_len += keep;
	return n;
}

static void on_output(evutil_socket_t fd, short what, void *cookie)
{
	struct probe *p = cookie;

	(void)fd;
	(void)what;
	if (read_output(p) == 0)
		event_del(p->readable);
}

static void on_deadline(evutil_socket_t fd, short what, void *cookie)
{
	struct probe *p = cookie;

	(void)fd;
	(void)what;
	p->timed_out = true;
	if (p->member)
		crew_kill(p->member);
}

static void on_exited(int status, void *cookie)
{
	struct probe *p = cookie;
	char why[96];

	p->member = NULL;
	for (int i = 0; i < 16 && read_output(p) > 0; i++)
		;
	if (p->timed_out)
		snprintf(why, sizeof(why), "killed after %g s", (double)p->timeout_ms / 1e3);
	else if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) > 128)
		snprintf(why, sizeof(why), "killed by signal %d", WEXITSTATUS(status) - 128);
	else
		snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
	end_run(p, WIFEXITED(status) && WEXITSTATUS(status) == 0 && !p->timed_out ? NULL : why);
}

static void start_run(struct probe *p)
{
	const struct timeval deadline = {.tv_sec = (time_t)(p->timeout_ms / 1000)};
	const struct crew_job job = {.op = "probe",
				     .name = p->all->name,
				     .index = p->index,
				     .bundle_fd = p->all->bundle_fd,
				     .peer_fd = -1};
	struct event_base *base = p->all->base;
	struct fail fail;
	int r;

	r = crew_start(p->all->crew, &job, on_exited, p, &p->member, &p->output_fd, &fail);
	if (r < 0) {
		char why[128];

		snprintf(why, sizeof(why), "could not be started: %.90s", fail.message);
		end_run(p, why);
		return;
	}
	p->readable = event_new(base, p->output_fd, EV_READ | EV_PERSIST, on_output, p);
	p->deadline = evtimer_new(base, on_deadline, p);
	if (!p->readable || !p->deadline) {
		crew_forget(p->member);
		end_run(p, "could not be started: out of memory");
		return;
	}
	event_add(p->readable, NULL);
	event_add(p->deadline, &deadline);
}

/* ---- life ------------------------------------------------------------------------ */

static uint64_t number_or(const json_t *doc, const char *key, uint64_t otherwise)
{
	const json_t *v = json_object_get(doc, key);

	return v ? (uint64_t)json_integer_value(v) : otherwise;
}

int probe_words(const json_t *doc, char *ret_argv[PROBE_WORDS_MAX])
{
	const char *type = json_string_value(json_object_get(doc, "type"));
	const char *words[PROBE_WORDS_MAX] = {"hotfixd", "probe", "exec"};
	char memory[24];
	size_t n = 4, i;
	json_t *word;

	if (!type)
		return -EINVAL;
	snprintf(memory, sizeof(memory), "%llu",
		 (unsigned long long)number_or(doc, "memory_mib", MEMORY_MIB));
	words[3] = memory;
	if (strcmp(type, "tcp") == 0) {
		words[2] = type;
		words[3] = json_string_value(json_object_get(doc, "address"));
	} else if (strcmp(type, "unit") == 0) {
		words[n++] = SYSTEMCTL;
		words[n++] = "is-active";
		words[n++] = "--quiet";
		words[n++] = json_string_value(json_object_get(doc, "unit"));
	} else {
		json_array_foreach(json_object_get(doc, "command"), i, word)
			if (n < PROBE_WORDS_MAX - 1)
				words[n++] = json_string_value(word);
	}
	for (i = 0; i < n; i++) {
		ret_argv[i] = strdup(words[i]);
		if (!ret_argv[i])
			return -ENOMEM;
	}
	ret_argv[n] = NULL;
	return 0;
}

static void describe(struct probe *p, const json_t *doc)
{
	const char *type = json_string_value(json_object_get(doc, "type"));
	const json_t *what = json_object_get(doc, strcmp(type, "tcp") == 0    ? "address"
						  : strcmp(type, "unit") == 0 ? "unit"
									      : "command");

	snprintf(p->source, sizeof(p->source), "%s %s", type,
		 json_string_value(json_is_array(what) ? json_array_get(what, 0) : what));
}

int probes_new(struct event_base *base, struct crew *crew, const struct probes_of *of,
	       struct probes **ret_probes)
{
	AUTO(probes_freep) struct probes *all = calloc(1, sizeof(*all));
	const json_t *doc;
	size_t i;

	if (!all)
		return -ENOMEM;
	all->base = base;
	all->crew = crew;
	all->bundle_fd = -1;
	snprintf(all->name, sizeof(all->name), "%s", of->name);
	if (json_array_size(json_object_get(of->health, "probes"))) {
		int r = io_memfd("bundle", of->bundle, of->bundle_len, &all->bundle_fd);

		if (r < 0)
			return r;
	}
	json_array_foreach(json_object_get(of->health, "probes"), i, doc) {
		struct probe *p = &all->probe[all->n++];

		p->all = all;
		p->index = (uint32_t)i;
		p->output_fd = -1;
		snprintf(p->name, sizeof(p->name), "%s",
			 json_string_value(json_object_get(doc, "name")));
		p->timeout_ms = number_or(doc, "timeout_s", 5) * 1000;
		p->every_ms = number_or(doc, "every_s", 10) * 1000;
		p->failures = number_or(doc, "failures", 1);
		p->output_max = number_or(doc, "output_bytes", OUTPUT_BYTES);
		p->output = malloc(p->output_max + 1);
		if (!p->output)
			return -ENOMEM;
		describe(p, doc);
	}
	*ret_probes = take_ptr(all);
	return 0;
}

struct probes *probes_free(struct probes *all)
{
	if (!all)
		return NULL;
	for (size_t i = 0; i < all->n; i++) {
		struct probe *p = &all->probe[i];

		crew_forget(p->member);
		close_run(p);
		free(p->output);
	}
	fd_closep(&all->bundle_fd);
	free(all);
	return NULL;
}

void probes_tick(struct probes *all, uint64_t now_ms)
{
	for (size_t i = 0; i < all->n; i++) {
		struct probe *p = &all->probe[i];

		if (p->member || now_ms < p->next_ms)
			continue;
		p->next_ms = now_ms + p->every_ms;
		start_run(p);
	}
}

size_t probes_read(const struct probes *all, struct health_probe ret[MANIFEST_PROBES_MAX])
{
	for (size_t i = 0; i < all->n; i++)
		ret[i] = (struct health_probe){.name = all->probe[i].name,
					       .source = all->probe[i].source,
					       .ran = all->probe[i].ran,
					       .failed = all->probe[i].failed,
					       .failures = all->probe[i].failures,
					       .note = all->probe[i].note};
	return all->n;
}
