// SPDX-License-Identifier: BSD-2-Clause
#include "tests/fault/world.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "bpf/engine.h"
#include "bpf/gate.h"
#include "bpf/pin.h"
#include "cli/client.h"
#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "store/store.h"

#define LIMIT_NS  60000000000ULL
#define USER	  64242 /* as whom the loop runs: nobody's */
#define USER_TEXT "64242"

static bool no(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool no(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->why, sizeof(w->why), fmt, ap);
	va_end(ap);
	return false;
}

static void pause_ms(unsigned int ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void take_census(struct census *c);

/* ---- the daemon ------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

static void remove_folder(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool world_open(struct world *w)
{
	int fd;
	void *p;

	snprintf(w->state, sizeof(w->state), "%s/state", w->folder);
	snprintf(w->sock, sizeof(w->sock), "%s/sock", w->folder);
	snprintf(w->log, sizeof(w->log), "%s/log", w->folder);
	snprintf(w->file, sizeof(w->file), "%s/fault", w->folder);
	fd = open(w->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct fault)) < 0)
		return no(w, "%s: %s", w->file, strerror(errno));
	p = mmap(NULL, sizeof(struct fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return no(w, "%s: %s", w->file, strerror(errno));
	w->fault = p;
	pin_owner(USER);
	take_census(&w->before);
	return true;
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_size;
}

static bool is_ready(const char *log, off_t from)
{
	AUTO_CLOSE int fd = open(log, O_RDONLY | O_CLOEXEC);
	char text[16384];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, from);

	text[n < 0 ? 0 : n] = 0;
	return strstr(text, " ready socket=") != NULL;
}

bool world_is_dead(struct world *w)
{
	if (w->pid && waitpid(w->pid, NULL, WNOHANG) == w->pid)
		w->pid = 0;
	return !w->pid;
}

bool world_start(struct world *w)
{
	uint64_t end = clock_mono_ns() + LIMIT_NS;

	w->log_at_start = size_of(w->log);
	w->pid = fork();
	if (w->pid == 0) {
		int fd = open(w->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		setenv("LD_PRELOAD", w->library, 1);
		setenv("FAULT_FILE", w->file, 1);
		setenv("FAULT_PINS", w->bpffs, 1);
		execl(w->hotfixd, "hotfixd", "--state-dir", w->state, "--socket", w->sock,
		      "--bpffs", w->bpffs, "--user", USER_TEXT, NULL);
		_exit(127);
	}
	while (!is_ready(w->log, w->log_at_start)) {
		if (world_is_dead(w))
			return no(w, "hotfixd ended before it was ready");
		if (clock_mono_ns() > end)
			return no(w, "hotfixd is not ready after %llu s",
				  LIMIT_NS / 1000000000);
		pause_ms(3);
	}
	return true;
}

void world_mark(struct world *w)
{
	w->log_at_mark = size_of(w->log);
}

bool world_said_why(struct world *w)
{
	return size_of(w->log) > w->log_at_mark;
}

void world_kill(struct world *w)
{
	if (!w->pid)
		return;
	kill(w->pid, SIGKILL);
	waitpid(w->pid, NULL, 0);
	w->pid = 0;
}

static int unregister_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	AUTO_CLOSE int fd = -1;
	__u32 zero = 0;

	(void)st;
	if (type == FTW_F && strncmp(path + ftw->base, "ops", 3) == 0 &&
	    pin_open(PIN_MAP, path, &fd) == 0)
		bpf_map_delete_elem(fd, &zero);
	return 0;
}

void world_wipe_kernel(struct world *w)
{
	nftw(w->bpffs, unregister_one, 16, FTW_PHYS);
	remove_folder(w->bpffs);
}

void world_wipe(struct world *w)
{
	w->fault->death = FAULT_NONE;
	w->fault->nth = 0;
	world_kill(w);
	world_wipe_kernel(w);
	remove_folder(w->state);
}

/* ---- asking it ---------------------------------------------------------------------- */

static enum answer answer_of(struct world *w, const struct fail *fail)
{
	no(w, "%s", fail->message);
	return fail->code == FAIL_TIMEOUT	? ANSWER_LATE
	       : fail->code == FAIL_UNREACHABLE ? ANSWER_NONE
						: ANSWER_REFUSED;
}

enum answer world_ask(struct world *w, const char *method, const char *path, const char *body)
{
	struct client_call call = {.method = method,
				   .path = path,
				   .body = body,
				   .body_len = body ? strlen(body) : 0,
				   .timeout_ms = w->alone ? 20000 : 5000};
	struct cli c = {.socket = w->sock};
	AUTO_JSON json_t *doc = NULL;
	struct fail fail = {0};

	if (client_call(&c, &call, &doc, &fail) == 0)
		return ANSWER_OK;
	return answer_of(w, &fail);
}

static enum answer post_file(struct world *w, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static enum answer post_file(struct world *w, const char *path, const char *fmt, ...)
{
	struct cli c = {.socket = w->sock};
	AUTO_FREE uint8_t *bytes = NULL;
	struct client_call call = {.method = "POST", .path = path};
	AUTO_JSON json_t *doc = NULL;
	struct fail fail = {0};
	char file[300];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(file, sizeof(file), fmt, ap);
	va_end(ap);
	r = io_read_file(file, 16 << 20, &bytes, &call.body_len);
	if (r < 0) {
		no(w, "%s: %s", file, strerror(-r));
		return ANSWER_REFUSED;
	}
	call.body = bytes;
	call.content_type = "application/octet-stream";
	return client_call(&c, &call, &doc, &fail) == 0 ? ANSWER_OK : answer_of(w, &fail);
}

bool world_trust(struct world *w)
{
	return post_file(w, "/v1/trust", "%s/root", w->bundles) == ANSWER_OK;
}

enum answer world_import(struct world *w)
{
	enum answer first =
		post_file(w, "/v1/bundles", "%s/foreign/%s@1.hotfix", w->bundles, w->name);

	return first != ANSWER_OK ? first
				  : post_file(w, "/v1/bundles", "%s/foreign/%s@2.hotfix",
					      w->bundles, w->name);
}

static bool get_status(struct world *w, json_t **ret_doc)
{
	struct cli c = {.socket = w->sock};
	struct fail fail = {0};

	return client_get(&c, ret_doc, &fail, "/v1/status") == 0 ||
	       no(w, "no status: %s", fail.message);
}

/* NULL when it is not known. */
static const json_t *entry_of(const json_t *status, const char *name)
{
	const json_t *h;
	size_t i;

	json_array_foreach(json_object_get(status, "hotfixes"), i, h)
		if (strcmp(json_string_value(json_object_get(h, "name")), name) == 0)
			return h;
	return NULL;
}

static bool settled_status(struct world *w, json_t **ret_doc)
{
	uint64_t end = clock_mono_ns() + LIMIT_NS;

	for (;;) {
		AUTO_JSON json_t *doc = NULL;
		const json_t *h;

		if (!get_status(w, &doc))
			return false;
		h = entry_of(doc, w->name);
		if (!h || !json_is_integer(json_object_get(h, "change")) ||
		    json_integer_value(json_object_get(h, "trial_ms")) == WORLD_TRIAL_MS) {
			*ret_doc = take_ptr(doc);
			return true;
		}
		if (clock_mono_ns() > end)
			return no(w, "a change stays under way");
		pause_ms(5);
	}
}

bool world_status(struct world *w, char ret_state[24])
{
	AUTO_JSON json_t *doc = NULL;
	const char *state;

	if (!settled_status(w, &doc))
		return false;
	state = json_string_value(json_object_get(entry_of(doc, w->name), "state"));
	snprintf(ret_state, 24, "%s", state ? state : "unknown");
	return true;
}

/* ---- what runs ------------------------------------------------------------------------ */

static bool may_getsid(uid_t uid)
{
	bool may;

	if (setresuid(uid, 0, 0) < 0)
		return false;
	may = getsid(getpid()) >= 0;
	return setresuid(0, 0, 0) == 0 && may;
}

/* serial 1 denies all users, 2 nobody alone */
static int getsid_serial(struct world *w)
{
	bool user = may_getsid(1000), nobody = may_getsid(65534);

	(void)w;
	return user ? nobody ? 0 : 2 : nobody ? -1 : 1;
}

static bool is_sealed(struct world *w, int n)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/sealed-%d", w->folder, n);
	mkdir(path, 0700);
	return rmdir(path) < 0 && errno == EPERM;
}

/* serial 1 keeps sealed-1, 2 sealed-2 */
static int rmdir_serial(struct world *w)
{
	bool one = is_sealed(w, 1), two = is_sealed(w, 2);

	return one ? two ? -1 : 1 : two ? 2 : 0;
}

/* One connection over loopback with some bytes; 0 or -errno. */
static int use_cc(const char *cc)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTO_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	AUTO_CLOSE int server = -1;
	socklen_t len = sizeof(addr);
	char block[4096] = "";

	if (setsockopt(client, IPPROTO_TCP, 13 /* TCP_CONGESTION */, cc, strlen(cc)) < 0)
		return -errno;
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(client, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	server = accept(listener, NULL, NULL);
	for (int i = 0; i < 16; i++)
		if (write(client, block, sizeof(block)) < 0 ||
		    recv(server, block, sizeof(block), MSG_WAITALL) < 0)
			return -errno;
	return 0;
}

/* A registered algorithm's version is the index whose calls are counted on. */
static int cc_serial(struct world *w)
{
	uint64_t before[GATE_VERSIONS], after[GATE_VERSIONS];
	static const char slot[] = "struct_ops:tcp_congestion_ops";
	AUTO(gate_freep) struct gate *g = NULL;
	int serial = 0;
	int r;

	if (engine_calls(w->bpffs, w->name, slot, before) < 0)
		return use_cc("fgn_reno") == 0 ? -1 : 0;
	r = use_cc("fgn_reno");
	if (r == -ENOENT)
		return 0;
	if (r < 0 || engine_calls(w->bpffs, w->name, slot, after) < 0 ||
	    gate_open(w->bpffs, w->name, &g) < 0)
		return -1;
	for (uint32_t i = 0; i < GATE_VERSIONS; i++)
		if (after[i] != before[i])
			serial = serial || i == 0 ? -1 : (int)gate_version(g, i).serial;
	return serial;
}

int world_runs(struct world *w)
{
	static const struct {
		const char *name;
		int (*serial)(struct world *w);
	} ways[] = {
		{"fgn-fmod-ret-getsid", getsid_serial},
		{"fgn-lsm-sleepable-rmdir", rmdir_serial},
		{"fgn-cc-reno", cc_serial},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (strcmp(ways[i].name, w->name) == 0)
			return ways[i].serial(w);
	return -1;
}

/* ---- what the kernel holds ---------------------------------------------------------- */

static bool has(const struct ids *l, uint32_t id)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->ids[i] == id)
			return true;
	return false;
}

static void add(struct ids *l, uint32_t id)
{
	if (id && !has(l, id) && l->n < WORLD_IDS_MAX)
		l->ids[l->n++] = id;
}

static void take_census(struct census *c)
{
	uint32_t id;

	c->programs.n = c->maps.n = c->links.n = 0;
	for (id = 0; bpf_prog_get_next_id(id, &id) == 0;)
		add(&c->programs, id);
	for (id = 0; bpf_map_get_next_id(id, &id) == 0;)
		add(&c->maps, id);
	for (id = 0; bpf_link_get_next_id(id, &id) == 0;)
		add(&c->links, id);
}

static bool maps_of(int fd, uint32_t maps[64], struct bpf_prog_info *info)
{
	uint32_t len = sizeof(*info);

	memset(info, 0, len);
	memset(maps, 0, 64 * sizeof(*maps));
	info->nr_map_ids = 64;
	info->map_ids = (uintptr_t)maps;
	return bpf_prog_get_info_by_fd(fd, info, &len) == 0;
}

static void add_program(struct census *c, int fd)
{
	struct bpf_prog_info info;
	uint32_t maps[64];

	if (!maps_of(fd, maps, &info))
		return;
	add(&c->programs, info.id);
	for (uint32_t i = 0; i < 64 && i < info.nr_map_ids; i++)
		add(&c->maps, maps[i]);
}

static struct census *pinned; /* nftw() hands nothing on */

static int add_pin(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	AUTO_CLOSE int fd = type == FTW_F ? bpf_obj_get(path) : -1;
	struct bpf_link_info link = {0};
	struct bpf_map_info map = {0};
	uint32_t len;
	enum pin_kind kind;

	(void)st;
	(void)ftw;
	if (fd < 0 || pin_kind_of(fd, &kind) < 0)
		return 0;
	switch (kind) {
	case PIN_PROGRAM:
		add_program(pinned, fd);
		break;
	case PIN_MAP:
		len = sizeof(map);
		if (bpf_map_get_info_by_fd(fd, &map, &len) == 0)
			add(&pinned->maps, map.id);
		break;
	case PIN_LINK:
		len = sizeof(link);
		if (bpf_link_get_info_by_fd(fd, &link, &len) < 0)
			break;
		add(&pinned->links, link.id);
		add(&pinned->programs, link.prog_id);
		break;
	}
	return 0;
}

/* The dispatchers of a registration are held by its ops; each of them obeys the pinned gate. */
static void add_dispatchers(struct world *w, struct census *c)
{
	struct bpf_map_info gate = {0};
	uint32_t len = sizeof(gate), maps[64];
	AUTO_CLOSE int gate_fd = -1;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/gate", w->bpffs, w->name);
	if (pin_open(PIN_MAP, path, &gate_fd) < 0 ||
	    bpf_map_get_info_by_fd(gate_fd, &gate, &len) < 0)
		return;
	for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) {
		AUTO_CLOSE int fd = has(&c->programs, id) ? -1 : bpf_prog_get_fd_by_id(id);
		struct bpf_prog_info info;

		if (fd < 0 || !maps_of(fd, maps, &info))
			continue;
		for (uint32_t i = 0; i < 64 && i < info.nr_map_ids; i++)
			if (maps[i] == gate.id) {
				add_program(c, fd);
				break;
			}
	}
}

static uint32_t stray(const struct ids *now, const struct ids *known, const struct ids *before)
{
	for (size_t i = 0; i < now->n; i++)
		if (!has(known, now->ids[i]) && !has(before, now->ids[i]))
			return now->ids[i];
	return 0;
}

/* Whatever a pin does not account for must go, as soon as the kernel's grace periods end. */
static bool no_orphans(struct world *w)
{
	uint64_t end = clock_mono_ns() + LIMIT_NS / 6;
	struct census known, now;
	uint32_t program, map, link;

	for (;;) {
		memset(&known, 0, sizeof(known));
		pinned = &known;
		nftw(w->bpffs, add_pin, 16, FTW_PHYS);
		add_dispatchers(w, &known);
		take_census(&now);
		program = stray(&now.programs, &known.programs, &w->before.programs);
		map = stray(&now.maps, &known.maps, &w->before.maps);
		link = stray(&now.links, &known.links, &w->before.links);
		if (!program && !map && !link)
			return true;
		if (clock_mono_ns() > end)
			return no(w, "orphans: program %u, map %u, link %u (0: none)", program,
				  map, link);
		pause_ms(5);
	}
}

/* An empty folder is nobody's pin. */
static bool is_there(struct world *w, const char *what)
{
	AUTO_NAMES char **names = NULL;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s%s%s", w->bpffs, w->name, what[0] ? "/" : "", what);
	return pin_names(path, &names) == 0 && names[0];
}

/* The pins of a hot-fix that runs are those of a whole one, in their places. */
static bool pins_hold(struct world *w, int runs, const char *state)
{
	static char log[ENGINE_LOG_BYTES];
	struct engine e = {.bpffs = w->bpffs, .log = log};
	AUTO(gate_freep) struct gate *g = NULL;
	AUTO_JSON json_t *doc = NULL;
	const json_t *h, *slot, *problems;
	struct fail fail = {0};
	char folder[8];
	size_t i;

	if (!is_there(w, ""))
		return runs == 0 || no(w, "serial %d runs without a pin", runs);
	if (runs == 0)
		return no(w, "nothing runs, state is %s, but pins are left", state);
	if (engine_survey(&e, &doc, &fail) < 0)
		return no(w, "no survey: %s", fail.message);
	h = entry_of(doc, w->name);
	problems = json_object_get(h, "problems");
	if (json_array_size(problems))
		return no(w, "survey: %s", json_string_value(json_array_get(problems, 0)));
	if (!json_is_true(json_object_get(h, "settled")))
		return no(w, "survey: not settled");
	json_array_foreach(json_object_get(h, "slots"), i, slot)
		if (json_array_size(json_object_get(slot, "indexes")) == 0)
			return no(w, "survey: a slot that no version uses");
	if (gate_open(w->bpffs, w->name, &g) < 0)
		return no(w, "no gate");
	if ((int)gate_version(g, gate_live(g, clock_mono_ns())).serial != runs)
		return no(w, "the gate says another serial runs");
	if (gate_trial(g) && strcmp(state, "trial") != 0)
		return no(w, "the gate is on trial, the state is %s", state);
	for (uint32_t v = 1; v < GATE_VERSIONS; v++) {
		snprintf(folder, sizeof(folder), "v%u", v);
		if (is_there(w, folder) != (gate_version(g, v).serial != 0))
			return no(w, "index %u: pins and gate do not agree", v);
	}
	return true;
}

/* ---- what the database says ------------------------------------------------------------ */

static int count_open(const struct store_change *c, void *cookie)
{
	(void)c;
	++*(int *)cookie;
	return 0;
}

static bool store_holds(struct world *w, int runs, const char *state)
{
	AUTO(store_freep) struct store *s = NULL;
	struct store_hotfix row = {0};
	struct fail fail = {0};
	uint64_t rows, bad;
	char path[300], head[65];
	int open_changes = 0, r;

	snprintf(path, sizeof(path), "%s/state.db", w->state);
	if (store_open(path, &s, &fail) < 0)
		return no(w, "database: %s", fail.message);
	if (store_audit_verify(s, &rows, head, &bad) < 0)
		return no(w, "the audit chain is broken");
	r = store_get_hotfix(s, w->name, &row);
	if (r < 0 && r != -ENOENT)
		return no(w, "database: no row: %s", strerror(-r));
	store_each_change(s, w->name, true, UINT32_MAX, count_open, &open_changes);
	if (open_changes != (strcmp(state, "trial") == 0))
		return no(w, "%d changes without an outcome, state is %s", open_changes, state);
	if (strcmp(state, "live") == 0 && ((int)row.committed_serial != runs || row.disabled))
		return no(w, "serial %d is live, but %d is committed%s", runs,
			  (int)row.committed_serial, row.disabled ? " and disabled" : "");
	if (strcmp(state, "disabled") == 0 && !row.disabled)
		return no(w, "disabled, but the database does not say so");
	return true;
}

/* The database is read by whose it is. */
static bool looks_as_user(struct world *w, int runs, const char *state)
{
	bool ok;

	if (seteuid(USER) < 0)
		return no(w, "seteuid: %s", strerror(errno));
	ok = store_holds(w, runs, state);
	return seteuid(0) == 0 && ok;
}

static bool status_holds(struct world *w, const json_t *doc, int runs, char ret_state[24])
{
	const json_t *h = entry_of(doc, w->name);
	const char *state = json_string_value(json_object_get(h, "state"));
	int live = (int)json_integer_value(json_object_get(h, "live_serial"));

	snprintf(ret_state, 24, "%s", state ? state : "unknown");
	if (live != runs)
		return no(w, "serial %d runs, status says %d (%s)", runs, live, ret_state);
	if (runs ? strcmp(ret_state, "live") != 0 && strcmp(ret_state, "trial") != 0
		 : strcmp(ret_state, "live") == 0 || strcmp(ret_state, "trial") == 0)
		return no(w, "serial %d runs, status says it is %s", runs, ret_state);
	return true;
}

static bool holds(struct world *w, int *ret_runs, char ret_state[24])
{
	AUTO_JSON json_t *doc = NULL;
	int runs;

	if (!settled_status(w, &doc))
		return false;
	runs = world_runs(w);
	*ret_runs = runs;
	if (runs < 0)
		return no(w, "what runs behaves like neither version");
	return status_holds(w, doc, runs, ret_state) && pins_hold(w, runs, ret_state) &&
	       looks_as_user(w, runs, ret_state);
}

bool world_holds(struct world *w, int *ret_runs, char ret_state[24])
{
	uint64_t end = clock_mono_ns() + LIMIT_NS / 6;

	/* A trial that goes on after a restart may still be settling; status does not tell. */
	while (!holds(w, ret_runs, ret_state))
		if (strcmp(ret_state, "trial") != 0 || clock_mono_ns() > end)
			return false;
	return !w->alone || no_orphans(w);
}
