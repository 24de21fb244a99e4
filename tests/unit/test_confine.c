// SPDX-License-Identifier: BSD-2-Clause
/*
 * tests/unit/test_confine.c -- what the loop may still do once it is confined, and what ends it.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "server/confine.h"
#include "tests/unit/unit.h"

/* In a confined process: what do() returns, or -signal. */
static int confined_as(bool member, int (*try)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(confine_loop(member) < 0 ? 99 : try());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int confined(int (*try)(void))
{
	return confined_as(false, try);
}

static int connect_to_a_network(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0 && socket(AF_INET6, SOCK_DGRAM, 0) >= 0;
}

static int open_a_raw_socket(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0) >= 0 || socket(AF_NETLINK, SOCK_RAW, 0) >= 0;
}

static void only_a_member_of_a_fleet_reaches_a_network(void **state)
{
	(void)state;
	assert_int_equal(confined_as(false, connect_to_a_network), 0);
	assert_int_equal(confined_as(true, connect_to_a_network), 1);
	assert_int_equal(confined_as(true, open_a_raw_socket), 0);
}

static int run_a_program(void)
{
	char *const argv[] = {(char[]){"true"}, NULL};

	execv("/bin/true", argv);
	return 1;
}

static int trace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) < 0;
}

static int new_namespace(void)
{
	return unshare(CLONE_NEWUSER) < 0;
}

static void what_starts_programs_or_reaches_into_others_ends_it(void **state)
{
	(void)state;
	assert_int_equal(confined(run_a_program), -SIGSYS);
	assert_int_equal(confined(trace), -SIGSYS);
	assert_int_equal(confined(new_namespace), -SIGSYS);
}

static int fails(long r)
{
	return r < 0 && errno == EPERM;
}

static int another_process(void)
{
	return fails(fork());
}

static int internet(void)
{
	return fails(socket(AF_INET, SOCK_STREAM, 0)) && fails(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int load_bpf(void)
{
	union bpf_attr attr = {0};

	return fails(syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr))) &&
	       fails(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr))) &&
	       fails(syscall(SYS_bpf, BPF_OBJ_PIN, &attr, sizeof(attr))) &&
	       fails(syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)));
}

static int another_user(void)
{
	return fails(setuid(0)) && fails(setgid(0));
}

static int kill_others(void)
{
	return fails(kill(getppid(), 0)) && kill(getpid(), 0) == 0;
}

static int executable_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && fails(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static void what_a_loop_does_not_do_is_not_permitted(void **state)
{
	(void)state;
	assert_int_equal(confined(another_process), 1);
	assert_int_equal(confined(internet), 1);
	assert_int_equal(confined(load_bpf), 1);
	assert_int_equal(confined(another_user), 1);
	assert_int_equal(confined(kill_others), 1);
	assert_int_equal(confined(executable_memory), 1);
}

static int files_and_maps(void)
{
	union bpf_attr attr = {0};
	int fd = open("/proc/self/status", O_RDONLY);
	char text[16];

	/* Answered by the kernel itself, not by the filter. */
	return fd >= 0 && read(fd, text, sizeof(text)) > 0 &&
	       syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)) < 0 && errno != EPERM;
}

static void files_sockets_and_maps_that_are_there_are_left_to_it(void **state)
{
	(void)state;
	assert_int_equal(confined(files_and_maps), 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_member_of_a_fleet_reaches_a_network),
		cmocka_unit_test(what_starts_programs_or_reaches_into_others_ends_it),
		cmocka_unit_test(what_a_loop_does_not_do_is_not_permitted),
		cmocka_unit_test(files_sockets_and_maps_that_are_there_are_left_to_it),
	};

#ifdef __SANITIZE_ADDRESS__
	puts("sanitizers ask the kernel for more than the loop may");
	return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
