// SPDX-License-Identifier: BSD-2-Clause
#include "server/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "lib/clock.h"
#include "lib/io.h"
#include "lib/json.h"
#include "lib/log.h"
#include "server/folder.h"
#include "server/wire.h"
#include "server/work.h"
#include "store/bundle.h"

#define LOCK_WAIT_MS \
	15000 /* a worker of a dead daemon is killed at once, but may be in the kernel */
#define LISTEN_WAIT_MS 1000 /* the same, of its loop */
#define LOOP_WAIT_MS   10000
#define POLL_MS	       10

struct child {
	pid_t pid; /* 0: free */
	uint32_t id;
	bool leads; /* a session of its own, which ends with it */
};

struct parent {
	const struct config *config;
	uid_t uid;
	gid_t gid;
	char trust[CONFIG_PATH_BYTES + 8];
	int lock_fd, listen_fd, signal_fd, channel, trust_fd;
	struct folder *folder;
	struct child children[PARENT_CHILDREN_MAX];
	pid_t loop;
	int loop_status;
};

/* ---- what is there before the loop ---------------------------------------------------------- */

/* The holder's pid as it wrote it; 0 unknown. */
static pid_t lock_holder(int fd)
{
	char text[24] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return (pid_t)strtol(text, NULL, 10);
}

/*
 * The lock is held by a daemon, its loop and each of its workers. A living holder refuses us;
 * a dead one whose last process is still on its way out is waited for.
 */
static int take_lock(const char *state_dir, int *ret_fd, struct fail *reterr_fail)
{
	uint64_t until_ns = clock_mono_ns() + LOCK_WAIT_MS * 1000000ULL;
	AUTO_CLOSE int fd = -1;
	char path[CONFIG_PATH_BYTES + 16], text[24];
	pid_t holder;

	snprintf(path, sizeof(path), "%s/lock", state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int r = -errno;

		fail_set(reterr_fail, FAIL_STORAGE, "cannot open %s: %s", path, strerror(-r));
		fail_hint(
			reterr_fail,
			"the state directory must be writable by hotfixd; what runs in the kernel is not affected");
		return r;
	}
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		holder = lock_holder(fd);
		if ((holder > 0 && kill(holder, 0) == 0) || clock_mono_ns() > until_ns) {
			fail_set(reterr_fail, FAIL_CONFLICT, "another hotfixd (pid %d) uses %s",
				 (int)holder, state_dir);
			return fail_hint(reterr_fail,
					 "stop it first, or choose another --state-dir");
		}
		usleep(POLL_MS * 1000);
	}
	snprintf(text, sizeof(text), "%d\n", getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0) {
		fail_set(reterr_fail, FAIL_STORAGE, "cannot write %s: %s", path,
			 strerror(errno));
		return fail_hint(reterr_fail, "is the disk full?");
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

static int somebody_listens(const struct sockaddr_un *addr)
{
	uint64_t until_ns = clock_mono_ns() + LISTEN_WAIT_MS * 1000000ULL;

	/* The loop of a dead daemon may be on its way out. */
	for (;;) {
		AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
			return false;
		if (clock_mono_ns() > until_ns)
			return true;
		usleep(POLL_MS * 1000);
	}
}

/* Somebody who is neither root nor in the admin group has a role. */
static bool others_may(const struct config *c)
{
	bool may = c->readers[0];

	for (size_t i = 0; i < CONFIG_ROLES; i++)
		may |= c->roles[i][0] != 0;
	return may;
}

/* Bound, and not listening: the loop does that when it is ready, so that peers see its user. */
static int bind_socket(const struct config *c, int *ret_fd, struct fail *reterr_fail)
{
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const struct group *g = getgrnam(c->admin_group);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct stat st;
	mode_t old;
	int r;

	memcpy(addr.sun_path, c->socket,
	       strlen(c->socket) + 1); /* config.c checked the length */
	if (lstat(c->socket, &st) == 0) {
		if (!S_ISSOCK(st.st_mode)) {
			fail_set(reterr_fail, FAIL_CONFLICT, "%s exists and is not a socket",
				 c->socket);
			return fail_hint(reterr_fail, "remove it, or choose another --socket");
		}
		if (somebody_listens(&addr)) {
			fail_set(reterr_fail, FAIL_CONFLICT, "another program listens on %s",
				 c->socket);
			return fail_hint(reterr_fail,
					 "stop it, or choose another --socket and --state-dir");
		}
		unlink(c->socket);
	}
	old = umask(0177);
	r = fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(old);
	if (r == 0 && g && chown(c->socket, 0, g->gr_gid) < 0)
		r = -errno;
	/* Who may do what is decided by credentials; the mode only keeps out those who may
	 * nothing. */
	if (r == 0 && chmod(c->socket, others_may(c) ? 0666 : 0660) < 0)
		r = -errno;
	if (r < 0) {
		fail_set(reterr_fail, FAIL_INTERNAL, "cannot listen on %s: %s", c->socket,
			 strerror(-r));
		return fail_hint(reterr_fail,
				 "its folder must exist and be writable by hotfixd");
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

/* -> parent's uid and gid. A default user that nobody made yet leaves the loop root. */
static int find_user(struct parent *p, struct fail *reterr_fail)
{
	const char *user = p->config->user;
	const struct passwd *pw;
	char *end;

	errno = 0;
	pw = getpwnam(user);
	if (!pw && errno && errno != ENOENT && errno != ESRCH)
		return fail_set(reterr_fail, FAIL_INTERNAL, "the user %s: %s", user,
				strerror(errno));
	if (pw) {
		p->uid = pw->pw_uid;
		p->gid = pw->pw_gid;
		return 0;
	}
	p->uid = p->gid = (uid_t)strtoul(user, &end, 10);
	if (user[0] && !*end)
		return 0;
	p->uid = p->gid = 0;
	if (strcmp(user, CONFIG_USER_DEFAULT) != 0) {
		fail_set(reterr_fail, FAIL_USAGE, "[daemon] user = %s: there is no such user",
			 user);
		return fail_hint(reterr_fail, "make it, or name another; 0 is root");
	}
	log_event(
		LOG_WARNING,
		"there is no user %s: the loop keeps all privileges of root; systemd-sysusers or "
		"useradd --system %s makes it",
		user, user);
	return 0;
}

/* Root, too, has no business at the other end when the loop is somebody else. */
static int check_peer(const struct parent *p, int channel, struct fail *reterr_fail)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;

	if (channel < 0)
		return 0;
	if (getsockopt(channel, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	    cred.uid == p->uid)
		return 0;
	fail_set(reterr_fail, FAIL_PERMISSION, "the parent serves the user %s alone",
		 p->config->user);
	return fail_hint(reterr_fail, "hotfixd.service starts the loop as that user");
}

/*
 * What root had before, or what systemd gave back to root at this start. A folder that is the
 * user's already is left alone: he could have put anything there.
 */
static int give_folder(const char *path, uid_t uid, gid_t gid)
{
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	static const char *const files[] = {"state.db",		"state.db-wal", "state.db-shm",
					    "state.db-journal", "host.key",	"no-apply"};
	struct stat st;

	if (dir < 0 || fstat(dir, &st) < 0)
		return -errno;
	if (st.st_uid == uid)
		return 0;
	if (st.st_uid != 0)
		return -EPERM;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		AUTO_CLOSE int fd = openat(dir, files[i], O_PATH | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0 && errno == ENOENT)
			continue;
		/* Whoever had the folder before may have linked somebody else's file there. */
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)
			return -EPERM;
		if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
			return -errno;
	}
	return fchown(dir, uid, gid) < 0 ? -errno : 0;
}

static int open_state(struct parent *p, struct fail *reterr_fail)
{
	const char *path = p->config->state_dir;
	int r = io_mkdir_p(path, 0700);

	if (r < 0) {
		fail_set(reterr_fail, FAIL_STORAGE, "cannot create the state directory %s: %s",
			 path, strerror(-r));
		return fail_hint(reterr_fail,
				 "--state-dir chooses another; it must be writable");
	}
	r = take_lock(path, &p->lock_fd, reterr_fail);
	if (r < 0)
		return r;
	r = p->uid ? give_folder(path, p->uid, p->gid) : 0;
	if (r < 0) {
		fail_set(reterr_fail, FAIL_STORAGE,
			 "the state directory %s cannot be given to %s: %s", path,
			 p->config->user, strerror(-r));
		return fail_hint(reterr_fail, "it must belong to root or to that user");
	}
	return 0;
}

/* Root's alone: what is in there decides what may be loaded. */
static int open_trust(struct parent *p, struct fail *reterr_fail)
{
	struct stat st;
	int r;

	if (p->config->trust_dir[0])
		snprintf(p->trust, sizeof(p->trust), "%s", p->config->trust_dir);
	else
		snprintf(p->trust, sizeof(p->trust), "%s-trust", p->config->state_dir);
	r = io_mkdir_p(p->trust, 0755);
	if (r == 0) {
		p->trust_fd = open(p->trust, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = p->trust_fd < 0 || fstat(p->trust_fd, &st) < 0 ? -errno : 0;
	}
	if (r == 0 && (st.st_uid != geteuid() || st.st_mode & 022))
		r = -EPERM;
	if (r == 0 && fchmod(p->trust_fd, 0755) < 0)
		r = -errno;
	if (r < 0) {
		fail_set(reterr_fail, FAIL_STORAGE, "the folder of the root of trust, %s: %s",
			 p->trust, strerror(-r));
		return fail_hint(reterr_fail,
				 "it must belong to root, and only root may write there");
	}
	return 0;
}

static int open_folder(struct parent *p, struct fail *reterr_fail)
{
	int r;

	if (folder_new(p->config->bpffs, p->uid, p->gid, &p->folder) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	r = folder_hold(p->folder, reterr_fail);
	if (r == 0 && !folder_held(p->folder))
		log_event(LOG_WARNING,
			  "%s is not in a bpffs: nothing can be applied until one is mounted",
			  p->config->bpffs);
	return r;
}

static int open_signals(struct parent *p)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return p->signal_fd < 0 ? -errno : 0;
}

int parent_open(const struct config *c, int channel, struct parent **ret_parent,
		struct fail *reterr_fail)
{
	AUTO(parent_freep) struct parent *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
	p->config = c;
	p->lock_fd = p->listen_fd = p->signal_fd = p->channel = p->trust_fd = -1;
	r = find_user(p, reterr_fail);
	if (r == 0)
		r = check_peer(p, channel, reterr_fail);
	if (r == 0)
		r = open_state(p, reterr_fail);
	if (r == 0)
		r = open_folder(p, reterr_fail);
	if (r == 0)
		r = open_trust(p, reterr_fail);
	if (r == 0)
		r = bind_socket(c, &p->listen_fd, reterr_fail);
	if (r < 0)
		return r;
	if (open_signals(p) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "start failed");
	*ret_parent = take_ptr(p);
	return 0;
}

struct parent *parent_free(struct parent *p)
{
	if (!p)
		return NULL;
	if (p->listen_fd >= 0) /* else the socket, if there is one, is somebody else's */
		unlink(p->config->socket);
	fd_closep(&p->listen_fd);
	fd_closep(&p->signal_fd);
	fd_closep(&p->channel);
	fd_closep(&p->trust_fd);
	folder_free(p->folder);
	fd_closep(&p->lock_fd); /* the last: who waits for it finds the rest free */
	free(p);
	return NULL;
}

/* ---- starting processes ---------------------------------------------------------------------- */

struct handed {
	int from, to;
};

/* dup2 clears close-on-exec, except onto itself: so each is moved out of the way first. */
static int spawn(char *const *argv, const struct handed *fds, size_t n, bool leads,
		 pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int moved[16], r = 0;
	sigset_t none, all;
	extern char **environ;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						(leads ? POSIX_SPAWN_SETSID : 0));
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	for (size_t i = 0; i < n; i++) {
		moved[i] = fds[i].from < 0 ? -1 : fcntl(fds[i].from, F_DUPFD_CLOEXEC, 32);
		if (moved[i] >= 0)
			posix_spawn_file_actions_adddup2(&actions, moved[i], fds[i].to);
	}
	r = -posix_spawn(ret_pid, "/proc/self/exe", &actions, &attr, argv, environ);
	for (size_t i = 0; i < n; i++)
		fd_closep(&moved[i]);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* Only what nobody can change any more is handed on, and nothing that blocks a reader. */
static bool is_sealed(int fd)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	int seals = fcntl(fd, F_GET_SEALS); /* -1: no memory at all */
	struct stat st;

	return seals >= 0 && (seals & wanted) == wanted && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size <= BUNDLE_BYTES_MAX &&
	       lseek(fd, 0, SEEK_SET) == 0;
}

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int make_request(struct parent *p, const struct wire_request *q, int *ret_fd)
{
	AUTO_JSON json_t *doc = json_pack(
		"{s:s, s:s, s:s, s:s*, s:I, s:I, s:I, s:I, s:s}", "op", q->op, "bpffs",
		folder_held(p->folder) ? WORK_FOLDER : p->config->bpffs, "shown",
		p->config->bpffs, "name", q->name[0] ? q->name : NULL, "index",
		(json_int_t)q->index, "uid", (json_int_t)p->uid, "gid", (json_int_t)p->gid,
		"parent", (json_int_t)getpid(), "socket", p->config->socket);
	AUTO_FREE char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

	return text ? io_memfd("request", text, strlen(text), ret_fd) : -ENOMEM;
}

/* A probe's output is a pipe: what it runs may open /dev/stdout once more. */
static int make_answer(bool pipe_wanted, int ret_ends[2])
{
	int r = pipe_wanted ? pipe2(ret_ends, O_CLOEXEC)
			    : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_ends);

	if (r < 0)
		return -errno;
	fcntl(ret_ends[0], F_SETFL, O_NONBLOCK); /* the loop's; who answers may block */
	return 0;
}

static int tell(struct parent *p, const struct wire_event *e, const int *fds, size_t n)
{
	return wire_send(p->channel, e, sizeof(*e), fds, n);
}

static int hold_folder(struct parent *p, struct fail *reterr_fail)
{
	struct wire_event e = {.tell = WIRE_FOLDER};
	bool held = folder_held(p->folder);
	int fd, r = folder_hold(p->folder, reterr_fail);

	fd = folder_fd(p->folder);
	if (r == 0 && !held && fd >= 0)
		tell(p, &e, &fd, 1);
	return r;
}

static struct child *free_child(struct parent *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->children); i++)
		if (!p->children[i].pid)
			return &p->children[i];
	return NULL;
}

static struct child *find_child(struct parent *p, uint32_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->children); i++)
		if (p->children[i].pid && p->children[i].id == id)
			return &p->children[i];
	return NULL;
}

static int start(struct parent *p, const struct wire_request *q, int bundle, int peer,
		 int *ret_answer, struct fail *reterr_fail)
{
	char *const argv[] = {(char[]){"hotfixd"}, (char[]){"worker"}, NULL};
	const struct work_op *op = work_op_of(q->op);
	struct child *c = free_child(p);
	AUTO_CLOSE int request = -1, root = -1, there = -1, here = -1;
	int ends[2], r;

	if (!op || !q->id || find_child(p, q->id) ||
	    (q->name[0] && !hook_name_valid(q->name)) || (op->takes_name && !q->name[0]))
		return fail_set(reterr_fail, FAIL_USAGE, "the parent starts no such process");
	if (!c)
		return fail_set(reterr_fail, FAIL_INTERNAL, "too many processes at once");
	if ((bundle >= 0 && !is_sealed(bundle)) || (peer >= 0 && !is_socket(peer)))
		return fail_set(reterr_fail, FAIL_USAGE,
				"the parent hands on sealed memory and sockets only");
	if (op->changes) {
		r = hold_folder(p, reterr_fail);
		if (r < 0)
			return r;
	}
	r = make_request(p, q, &request);
	if (r == 0)
		r = make_answer(op->leads, ends);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "%s", strerror(-r));
	here = ends[0];
	there = ends[1];
	root = openat(p->trust_fd, WORK_ROOT_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	{
		const struct handed fds[] = {
			{there, WORK_FD_ANSWER},
			{request, WORK_FD_REQUEST},
			{bundle, WORK_FD_BUNDLE},
			{root, WORK_FD_ROOT},
			{p->lock_fd, WORK_FD_LOCK},
			{folder_fd(p->folder), WORK_FD_FOLDER},
			{op->writes_trust ? p->trust_fd : -1, WORK_FD_TRUST},
			{op->writes_trust ? peer : -1, WORK_FD_PEER},
		};

		r = spawn(argv, fds, ARRAY_SIZE(fds), op->leads, &c->pid);
	}
	if (r < 0) {
		c->pid = 0;
		return fail_set(reterr_fail, FAIL_INTERNAL, "no worker could be started: %s",
				strerror(-r));
	}
	c->id = q->id;
	c->leads = op->leads;
	*ret_answer = take_fd(&here);
	return 0;
}

/* ---- serving ---------------------------------------------------------------------------------- */

static void end_child(const struct child *c)
{
	kill(c->leads ? -c->pid : c->pid, SIGKILL);
}

static bool is_text(const char *s, size_t room)
{
	return memchr(s, 0, room) != NULL;
}

static void obey(struct parent *p, const struct wire_request *q, const int *fds, size_t n_fds)
{
	struct wire_event e = {.tell = WIRE_STARTED, .id = q->id};
	size_t wanted = !!(q->has & WIRE_HAS_BUNDLE) + !!(q->has & WIRE_HAS_PEER), k = 0;
	AUTO_CLOSE int answer = -1;
	int bundle = -1, peer = -1;
	struct child *c;

	switch (q->ask) {
	case WIRE_START:
		if (n_fds != wanted || !is_text(q->op, sizeof(q->op)) ||
		    !is_text(q->name, sizeof(q->name))) {
			fail_set(&e.fail, FAIL_USAGE, "the parent understands no such request");
		} else {
			if (q->has & WIRE_HAS_BUNDLE)
				bundle = fds[k++];
			if (q->has & WIRE_HAS_PEER)
				peer = fds[k++];
			start(p, q, bundle, peer, &answer, &e.fail);
		}
		tell(p, &e, &answer, answer >= 0);
		return;
	case WIRE_KILL:
		c = find_child(p, q->id);
		if (c)
			end_child(c);
		return;
	default:
		log_event(LOG_WARNING, "the loop asks for what the parent does not do ask=%u",
			  q->ask);
	}
}

/* false: nobody asks any more. */
static bool on_asked(struct parent *p)
{
	int fds[WIRE_FDS_MAX];
	struct wire_request q;
	size_t n = 0;
	int r = wire_recv(p->channel, &q, sizeof(q), fds, &n);

	if (r == -EBADMSG) {
		log_event(LOG_WARNING, "the loop sent what is no request");
		return true;
	}
	if (r < 0)
		return false;
	obey(p, &q, fds, n);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return true;
}

static void reap(struct parent *p)
{
	siginfo_t info = {0};

	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
		struct wire_event e = {.tell = WIRE_EXITED};
		struct child *c = NULL;

		for (size_t i = 0; i < ARRAY_SIZE(p->children); i++)
			if (p->children[i].pid == info.si_pid)
				c = &p->children[i];
		if (c && c->leads)
			end_child(c); /* what it may have left in its session */
		waitpid(info.si_pid, &e.status, 0);
		if (info.si_pid == p->loop) {
			p->loop = 0;
			p->loop_status = e.status;
		}
		if (c) {
			e.id = c->id;
			c->pid = 0;
			tell(p, &e, NULL, 0);
		}
		info.si_pid = 0;
	}
}

static void on_signal(struct parent *p)
{
	struct signalfd_siginfo s;

	while (read(p->signal_fd, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGCHLD)
			reap(p);
		else
			tell(p, &(struct wire_event){.tell = WIRE_STOP}, NULL, 0);
	}
}

static void end_all(struct parent *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->children); i++)
		if (p->children[i].pid) {
			end_child(&p->children[i]);
			waitpid(p->children[i].pid, NULL, 0);
			p->children[i].pid = 0;
		}
}

static void greet(struct parent *p)
{
	struct wire_event hello = {
		.tell = WIRE_HELLO, .uid = p->uid, .gid = p->gid, .pid = (uint32_t)getpid()};
	AUTO_CLOSE int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	const int open_fds[WIRE_GIVEN] = {
		[WIRE_LISTEN_FD - WIRE_LISTEN_FD] = p->listen_fd,
		[WIRE_KMSG_FD - WIRE_LISTEN_FD] = kmsg,
		[WIRE_FOLDER_FD - WIRE_LISTEN_FD] = folder_fd(p->folder),
		[WIRE_LOCK_FD - WIRE_LISTEN_FD] = p->lock_fd,
	};
	int fds[WIRE_GIVEN];
	size_t n = 0;

	for (int i = 0; i < WIRE_GIVEN; i++)
		if (open_fds[i] >= 0) {
			hello.given |= 1U << i;
			fds[n++] = open_fds[i];
		}
	tell(p, &hello, fds, n);
}

void parent_serve(struct parent *p, int channel)
{
	bool asked = true;

	p->channel = channel;
	greet(p);
	while (asked) {
		struct pollfd fds[] = {{.fd = p->channel, .events = POLLIN},
				       {.fd = p->signal_fd, .events = POLLIN}};

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			on_signal(p);
		if (fds[0].revents)
			asked = on_asked(p);
	}
	/* Who comes next need not be refused for our sake, but wait. */
	if (ftruncate(p->lock_fd, 0) < 0)
		log_event(LOG_WARNING, "the state lock: %s", strerror(errno));
	end_all(p);
}

/* All it is given is the other end; the rest of ours closes by itself. */
static int start_loop(int argc, char **argv, int channel, pid_t *ret_pid)
{
	AUTO_FREE char **words = calloc((size_t)argc + 2, sizeof(*words));
	const struct handed fds[] = {{channel, WIRE_FD}};

	if (!words)
		return -ENOMEM;
	words[0] = (char[]){"hotfixd"};
	words[1] = (char[]){"loop"};
	for (int i = 1; i < argc; i++)
		words[i + 1] = argv[i];
	return spawn(words, fds, ARRAY_SIZE(fds), false, ret_pid);
}

int parent_run(const struct config *c, int argc, char **argv, struct fail *reterr_fail)
{
	AUTO(parent_freep) struct parent *p = NULL;
	AUTO_CLOSE int here = -1, there = -1;
	int ends[2], r;
	pid_t loop;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "no way to speak to the loop: %s",
				strerror(errno));
	here = ends[0];
	there = ends[1];
	r = start_loop(argc, argv, there, &loop);
	if (r < 0)
		return fail_set(reterr_fail, FAIL_INTERNAL, "the loop could not be started: %s",
				strerror(-r));
	fd_closep(&there);
	/* It gets ready meanwhile, and waits for what we open. */
	r = parent_open(c, -1, &p, reterr_fail);
	if (r < 0) {
		kill(loop, SIGKILL);
		waitpid(loop, NULL, 0);
		return r;
	}
	p->loop = loop;
	parent_serve(p, take_fd(&here));
	/* It closed its end: it is about to end, or means harm. */
	for (int i = 0; p->loop && i < LOOP_WAIT_MS / POLL_MS; i++)
		if (waitpid(p->loop, &p->loop_status, WNOHANG) == p->loop)
			p->loop = 0;
		else
			usleep(POLL_MS * 1000);
	if (p->loop) {
		kill(p->loop, SIGKILL);
		waitpid(p->loop, &p->loop_status, 0);
	}
	if (WIFEXITED(p->loop_status)) {
		/* Out of memory, libseccomp makes filters that refuse all: no word came through. */
		if (WEXITSTATUS(p->loop_status))
			log_event(LOG_ERR, "the loop ended with status %d",
				  WEXITSTATUS(p->loop_status));
		return WEXITSTATUS(p->loop_status);
	}
	log_event(LOG_ERR, "the loop was killed by signal %d (%s)", WTERMSIG(p->loop_status),
		  strsignal(WTERMSIG(p->loop_status)));
	return 128 + WTERMSIG(p->loop_status);
}

int parent_answer(const struct config *c, int channel)
{
	AUTO(parent_freep) struct parent *p = NULL;
	struct wire_event no = {.tell = WIRE_HELLO};

	if (parent_open(c, channel, &p, &no.fail) == 0) {
		parent_serve(p, channel);
		return 0;
	}
	log_event(LOG_ERR, "%s%s%s", no.fail.message, no.fail.hint[0] ? "; " : "",
		  no.fail.hint);
	wire_send(channel, &no, sizeof(no), NULL, 0);
	return fail_exit(no.fail.code);
}
