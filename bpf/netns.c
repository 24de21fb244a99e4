// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/netns.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"

struct walk {
	void (*fn)(bool own, void *cookie);
	void *cookie;
	struct netns_count count;
	ino_t *seen; /* of one nsfs: the inode is the namespace */
	size_t n_seen;
};

static inline void dir_closep(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define AUTO_DIR AUTO(dir_closep)

static bool is_seen(const struct walk *w, ino_t ino)
{
	for (size_t i = 0; i < w->n_seen; i++)
		if (w->seen[i] == ino)
			return true;
	return false;
}

static int remember(struct walk *w, ino_t ino)
{
	ino_t *grown = reallocarray(w->seen, w->n_seen + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	w->seen = grown;
	w->seen[w->n_seen++] = ino;
	return 0;
}

/* -EACCES: who has it does not show it. */
static int visit(struct walk *w, const char *path)
{
	AUTO_CLOSE int fd = -1;
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return errno == EACCES || errno == EPERM ? -EACCES : 0; /* or it has ended */
	if (is_seen(w, st.st_ino))
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ESRCH))
		return 0;
	r = remember(w, st.st_ino);
	if (r < 0)
		return r;
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
		w->count.unreachable++;
		return 0;
	}
	w->fn(w->count.visited++ == 0, w->cookie);
	return 0;
}

/* Threads may each have a namespace of their own. */
static int visit_threads(struct walk *w, const char *process)
{
	AUTO_DIR DIR *tasks = NULL;
	char path[PATH_MAX];
	struct dirent *t;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%s/task", process);
	tasks = opendir(path);
	while (r == 0 && tasks && (t = readdir(tasks))) {
		if (!isdigit((unsigned char)t->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/task/%s/ns/net", process, t->d_name);
		r = visit(w, path);
	}
	return r;
}

static int visit_processes(struct walk *w)
{
	AUTO_DIR DIR *proc = opendir("/proc");
	struct dirent *p;
	int r = 0;

	if (!proc)
		return -errno;
	while (r == 0 && (p = readdir(proc))) {
		if (!isdigit((unsigned char)p->d_name[0]))
			continue;
		r = visit_threads(w, p->d_name);
		if (r == -EACCES) {
			w->count.unreachable++;
			r = 0;
		}
	}
	return r;
}

/* mountinfo writes blanks in a path as \040 and the like. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++)
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	*to = 0;
}

/* proc(5): id, parent, device, root (of nsfs: "net:[inode]"), mount point, ... */
static int visit_mounts(struct walk *w)
{
	AUTO_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO_FREE char *line = NULL;
	char root[PATH_MAX], point[PATH_MAX];
	size_t room = 0;
	int r = 0;

	if (!f)
		return -errno;
	while (r == 0 && getline(&line, &room, f) > 0) {
		if (sscanf(line, "%*s %*s %*s %4095s %4095s", root, point) != 2 ||
		    strncmp(root, "net:[", strlen("net:[")) != 0)
			continue;
		unescape(point);
		r = visit(w, point);
		if (r == -EACCES) {
			w->count.unreachable++;
			r = 0;
		}
	}
	return r;
}

int netns_each(void (*fn)(bool own, void *cookie), void *cookie, struct netns_count *ret_count)
{
	AUTO_CLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	struct walk w = {.fn = fn, .cookie = cookie};
	int r;

	if (own < 0)
		return -errno;
	r = visit(&w, "/proc/thread-self/ns/net");
	if (r == 0)
		r = visit(&w, "/proc/1/ns/net");
	if (r == 0 || r == -EACCES)
		r = visit_processes(&w);
	if (r == 0)
		r = visit_mounts(&w);
	free(w.seen);
	if (setns(own, CLONE_NEWNET) < 0)
		return -errno;
	if (r == 0)
		*ret_count = w.count;
	return r;
}
