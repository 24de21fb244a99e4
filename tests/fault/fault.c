// SPDX-License-Identifier: BSD-2-Clause
/*
 * fault.so -- loaded into hotfixd by LD_PRELOAD, which its workers inherit: names the steps
 * that change something, and strikes after the one that it is told (tests/fault/fault.h).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/gate.h"
#include "tests/fault/fault.h"

#define EXPORT	   __attribute__((visibility("default")))
#define GATES	   8
#define FD_REQUEST 3 /* of a worker */

static struct fault *fault;
static char role[32] = "daemon";
static bool is_worker;
static char last[FAULT_STEP_BYTES];
static unsigned int last_play;

/* The real function, found once. */
#define REAL(name)                                                          \
	({                                                                  \
		static __typeof__(&name) real_;                             \
		if (!real_)                                                 \
			real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
		real_;                                                      \
	})

/* ---- who we are -------------------------------------------------------------- */

/* {"op":"stage",...} */
static void read_op(void)
{
	char text[256] = "", *op;

	if (pread(FD_REQUEST, text, sizeof(text) - 1, 0) <= 0)
		return;
	op = strstr(text, "\"op\":\"");
	if (op)
		snprintf(role, sizeof(role), "worker %.*s", (int)strcspn(op + 6, "\""), op + 6);
}

static __attribute__((constructor)) void load(int argc, char **argv)
{
	const char *path = getenv("FAULT_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd < 0 || (argc > 1 && strcmp(argv[1], "guard") == 0))
		return; /* a guard acts when everybody else is dead */
	p = mmap(NULL, sizeof(*fault), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	is_worker = argc == 2 && strcmp(argv[1], "worker") == 0;
	if (is_worker)
		read_op();
	if (p == MAP_FAILED)
		return;
	fault = p;
	if (argc > 1 && strcmp(argv[1], "loop") == 0)
		fault->loop = getpid();
	else if (!is_worker)
		strcpy(role, "parent");
}

/* ---- steps --------------------------------------------------------------------- */

static void die(void)
{
	fault->struck = true;
	if (is_worker && fault->death == FAULT_ALL)
		kill(fault->loop, SIGKILL); /* a worker may not kill the parent */
	kill(getpid(), SIGKILL);
}

/* Serials, indexes and ids differ from play to play; steps do not. */
static void without_numbers(char *name)
{
	char *to = name;

	for (const char *from = name; *from; from++)
		if (*from == 'v' && from > name && strchr(" /", from[-1]) && from[1] >= '0' &&
		    from[1] <= '9') {
			*to++ = 'v';
			*to++ = 'N';
			from++;
		} else {
			*to++ = *from;
		}
	*to = 0;
}

static void step(const char *what, const char *object)
{
	char name[FAULT_STEP_BYTES - 8], numbered[FAULT_STEP_BYTES];
	unsigned int n, nth = 1;

	if (last_play != fault->play) {
		last_play = fault->play;
		last[0] = 0;
	}
	snprintf(name, sizeof(name), "%s: %s%s%s", role, what, object[0] ? " " : "", object);
	without_numbers(name);
	if (strcmp(name, last) == 0)
		return;
	strcpy(last, name);
	for (n = 0; n < fault->n_steps && n < FAULT_STEPS_MAX; n++) {
		size_t len = strlen(name);

		nth += strncmp(fault->steps[n], name, len) == 0 &&
		       (!fault->steps[n][len] || fault->steps[n][len] == ' ');
	}
	if (nth > 1)
		snprintf(numbered, sizeof(numbered), "%s #%u", name, nth % 1000);
	else
		strcpy(numbered, name);
	n = atomic_fetch_add(&fault->n_steps, 1);
	if (n < FAULT_STEPS_MAX)
		strcpy(fault->steps[n], numbered);
	if (fault->death != FAULT_NONE && strcmp(fault->at, numbered) == 0)
		die();
}

/* ---- gates: a store is no call, so each call looks whether there was one -------- */

static struct {
	volatile struct gate_value *value;
	uint64_t word, serials;
} gates[GATES];

static uint64_t serials_of(volatile struct gate_value *v)
{
	uint64_t sum = 0;

	for (int i = 0; i < GATE_VERSIONS; i++)
		sum = sum * 31 + v->version[i].serial;
	return sum;
}

static void look(void)
{
	int saved = errno;

	for (int i = 0; fault && i < GATES; i++) {
		volatile struct gate_value *v = gates[i].value;

		if (!v)
			continue;
		if (gates[i].serials != serials_of(v)) {
			gates[i].serials = serials_of(v);
			if (is_worker) /* the daemon only sees what a worker wrote */
				step("gate version", "");
		}
		if (gates[i].word != v->word) {
			gates[i].word = v->word;
			step("gate word", "");
		}
	}
	errno = saved;
}

static void watch(void *p)
{
	for (int i = 0; i < GATES; i++)
		if (!gates[i].value) {
			gates[i].value = p;
			gates[i].word = gates[i].value->word;
			gates[i].serials = serials_of(p);
			return;
		}
}

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	void *p = (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, offset);

	if (fault && p != MAP_FAILED && fd >= 0 && len == sizeof(struct gate_value) &&
	    (flags & MAP_TYPE) == MAP_SHARED && prot & PROT_WRITE)
		watch(p);
	return p;
}

EXPORT int munmap(void *addr, size_t len)
{
	look();
	for (int i = 0; i < GATES; i++)
		if (gates[i].value == addr)
			gates[i].value = NULL;
	return (int)syscall(SYS_munmap, addr, len);
}

/* ---- calls that are made to fail ------------------------------------------------- */

static bool refused(unsigned int kind)
{
	unsigned int n;

	if (!fault || !fault->nth || !(fault->kinds & kind) || fault->in_worker != is_worker)
		return false;
	n = ++fault->calls;
	if (n != fault->nth && !(fault->lasting && n > fault->nth))
		return false;
	fault->struck = true;
	errno = fault->error;
	return true;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

EXPORT void *malloc(size_t size)
{
	return refused(FAULT_MEMORY) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
	return refused(FAULT_MEMORY) ? NULL : __libc_calloc(n, size);
}

EXPORT void *realloc(void *p, size_t size)
{
	return refused(FAULT_MEMORY) ? NULL : __libc_realloc(p, size);
}

/* ---- files ------------------------------------------------------------------------ */

/* <bpffs>/<name>/slots/x as "slots/x"; other files by their last part. */
static const char *short_name(const char *path)
{
	const char *pins = getenv("FAULT_PINS"), *slash = strrchr(path, '/');
	size_t len = pins ? strlen(pins) : 0;

	if (len && strncmp(path, pins, len) == 0 && path[len] == '/') {
		path += len + 1;
		slash = strchr(path, '/');
		return slash ? slash + 1 : "folder";
	}
	return slash ? slash + 1 : path;
}

static bool is_pin(const char *path)
{
	const char *pins = getenv("FAULT_PINS");

	return pins && strncmp(path, pins, strlen(pins)) == 0;
}

static const char *name_of(int fd, char path[128])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, 127);
	path[n < 0 ? 0 : n] = 0;
	return short_name(path);
}

/* Files of ours, neither pipes nor sockets. */
static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

#define ON_PATH(kind, name, params, args, word)                    \
	EXPORT int name params                                     \
	{                                                          \
		int r;                                             \
                                                                   \
		look();                                            \
		if (refused(is_pin(path) ? FAULT_KERNEL : (kind))) \
			return -1;                                 \
		r = REAL(name) args;                               \
		if (fault && r == 0)                               \
			step(word, short_name(path));              \
		return r;                                          \
	}

ON_PATH(FAULT_SPACE, mkdir, (const char *path, mode_t mode), (path, mode), "mkdir")
ON_PATH(FAULT_DISK, rmdir, (const char *path), (path), "rmdir")
ON_PATH(FAULT_DISK, unlink, (const char *path), (path), "unlink")
ON_PATH(FAULT_DISK, chmod, (const char *path, mode_t mode), (path, mode), "chmod")
ON_PATH(FAULT_DISK, rename, (const char *path, const char *to), (path, to), "rename")

#define ON_FD(kind, type, name, params, args, word)    \
	EXPORT type name params                        \
	{                                              \
		char path[128];                        \
		type r;                                \
                                                       \
		look();                                \
		if (refused(kind))                     \
			return -1;                     \
		r = REAL(name) args;                   \
		if (fault && r >= 0)                   \
			step(word, name_of(fd, path)); \
		return r;                              \
	}

ON_FD(FAULT_SPACE, int, fsync, (int fd), (fd), "fsync")
ON_FD(FAULT_SPACE, int, fdatasync, (int fd), (fd), "fdatasync")
ON_FD(FAULT_DISK, int, ftruncate, (int fd, off_t len), (fd, len), "ftruncate")
ON_FD(FAULT_DISK, int, ftruncate64, (int fd, off_t len), (fd, len), "ftruncate")
ON_FD(FAULT_DISK, int, flock, (int fd, int how), (fd, how), "flock")
ON_FD(FAULT_SPACE, ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at),
      "pwrite")
ON_FD(FAULT_SPACE, ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t at),
      (fd, p, n, at), "pwrite")

static int opened(const char *name, const char *path, int flags, mode_t mode)
{
	bool makes = flags & O_CREAT && faccessat(AT_FDCWD, path, F_OK, 0) < 0;
	int fd;

	look();
	if (makes && refused(FAULT_SPACE))
		return -1;
	fd = strcmp(name, "open64") == 0 ? REAL(open64)(path, flags, mode)
					 : REAL(open)(path, flags, mode);
	if (fault && makes && fd >= 0 && is_file(fd))
		step("create", short_name(path));
	return fd;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | __O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return opened("open", path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return opened("open64", path, flags, mode);
}

/* ---- processes and sockets -------------------------------------------------------- */

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	int r;

	look();
	r = REAL(posix_spawn)(pid, path, actions, attr, argv, envp);
	if (fault && r == 0)
		step("spawn", "");
	return r;
}

EXPORT int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	int r = REAL(bind)(fd, addr, len);

	if (fault && r == 0)
		step("bind", "");
	return r;
}

EXPORT ssize_t write(int fd, const void *p, size_t n)
{
	ssize_t r;

	look();
	r = REAL(write)(fd, p, n);
	if (fault && is_worker && fd == STDOUT_FILENO)
		step("answer", "");
	return r;
}

/* libevent answers clients with it. */
EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
	ssize_t r;

	look();
	r = REAL(writev)(fd, iov, n);
	if (fault && fault->answers && r > 0)
		step("answer", "");
	return r;
}

EXPORT int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
	look();
	return REAL(epoll_wait)(fd, events, n, timeout);
}

/* ---- bpf(2) ------------------------------------------------------------------------- */

static const char *map_name(int fd, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_map_info info = {0};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	REAL(syscall)(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	memcpy(name, info.name, BPF_OBJ_NAME_LEN);
	return name;
}

/*
 * What only a file descriptor holds ends with the process: of loading, one step is enough, and
 * the maps that libbpf fills while it loads (.rodata and its kin) are none.
 */
static void bpf_step(long cmd, const union bpf_attr *attr)
{
	char name[BPF_OBJ_NAME_LEN];

	switch (cmd) {
	case BPF_PROG_LOAD:
		step("load", "");
		break;
	case BPF_MAP_UPDATE_ELEM:
	case BPF_MAP_DELETE_ELEM:
		if (!strchr(map_name((int)attr->map_fd, name), '.'))
			step(cmd == BPF_MAP_UPDATE_ELEM ? "update" : "delete", name);
		break;
	case BPF_OBJ_PIN:
		step("pin", short_name((const char *)(uintptr_t)attr->pathname));
		break;
	case BPF_RAW_TRACEPOINT_OPEN:
	case BPF_LINK_CREATE:
		step("attach", "");
		break;
	case BPF_LINK_UPDATE:
		step("update link", "");
		break;
	case BPF_LINK_DETACH:
		step("detach", "");
		break;
	default:
		break;
	}
}

EXPORT long syscall(long nr, ...)
{
	long a[6], r;
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_bpf) {
		look();
		if (refused(FAULT_KERNEL))
			return -1;
	}
	r = REAL(syscall)(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (nr == SYS_bpf && fault && r >= 0)
		bpf_step(a[0], (const union bpf_attr *)a[1]);
	return r;
}
