// SPDX-License-Identifier: BSD-2-Clause
#include "server/confine.h"

#include <errno.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"

static inline void filter_freep(scmp_filter_ctx *f)
{
	if (*f)
		seccomp_release(*f);
}

/* clang-format off */
/* By name: not every architecture has each of them, nor every version of the library. */
static const char *const allowed[] = {
	/* the loop, its clock, its end */
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll",
	"ppoll", "select", "pselect6", "eventfd2", "timerfd_create", "timerfd_settime", "pipe2",
	"clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
	"restart_syscall", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
	"futex", "rseq", "set_robust_list", "sched_yield", "exit", "exit_group",
	/* memory */
	"brk", "mmap", "munmap", "mremap", "madvise", "memfd_create",
	/* files */
	"read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "pwritev", "lseek",
	"open", "openat", "close", "close_range", "dup", "dup2", "dup3", "fcntl", "ioctl",
	"fstat", "stat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access",
	"faccessat", "faccessat2", "getdents64", "readlink", "readlinkat", "getcwd", "ftruncate",
	"fallocate", "fsync", "fdatasync", "fchmod", "fchown", "unlink", "unlinkat", "rename",
	"renameat", "renameat2", "mkdir", "umask", "flock", "fadvise64",
	/* sockets */
	"listen", "accept", "accept4", "connect", "shutdown", "sendmsg", "sendto", "recvmsg",
	"recvfrom", "getsockopt", "setsockopt", "getsockname", "getpeername",
	/* who and where we are */
	"getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "uname",
	"sysinfo", "getrandom", "sched_getaffinity", "getcpu", "getrusage", "getrlimit",
};

/* No accident leads there. */
static const char *const fatal[] = {
	"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "init_module",
	"finit_module", "delete_module", "kexec_load", "kexec_file_load", "pivot_root", "chroot",
	"setns", "unshare", "userfaultfd", "perf_event_open",
};
/* clang-format on */

/* Of bpf(2): what the kernel allows to whoever has the descriptor, or may open the pin. */
static const int bpf_commands[] = {
	BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,    BPF_MAP_GET_NEXT_KEY,
	BPF_OBJ_GET,	     BPF_OBJ_GET_INFO_BY_FD,
};

static int add(scmp_filter_ctx f, uint32_t action, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(f, action, nr, 0);
}

int confine_loop(bool fleet)
{
	AUTO(filter_freep) scmp_filter_ctx f = NULL;
	int r = 0;

#ifdef __SANITIZE_ADDRESS__
	return 0; /* asks for more */
#endif
	f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!f)
		return -ENOMEM;
	r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(allowed); i++)
		r = add(f, SCMP_ACT_ALLOW, allowed[i]);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fatal); i++)
		r = add(f, SCMP_ACT_KILL_PROCESS, fatal[i]);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(bpf_commands); i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)bpf_commands[i], 0));
	/* Whatever knows users and groups may be asked over such a socket. */
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
	/* Those of a fleet also connect to its controllers, and ask for their addresses. */
	for (int i = 0; r == 0 && fleet && i < 2; i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
				     SCMP_A0(SCMP_CMP_EQ, i ? AF_INET6 : AF_INET, 0));
	if (r == 0) /* its own limits, not those of a worker */
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1,
				     SCMP_A0(SCMP_CMP_EQ, 0, 0));
	/* Memory that was written is never executed. */
	if (r == 0)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	for (int nr = 0; r == 0 && nr < 2; nr++) /* abort(3), and an end by our own hand */
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr ? SCMP_SYS(kill) : SCMP_SYS(tgkill),
				     1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return r == 0 ? seccomp_load(f) : r;
}
