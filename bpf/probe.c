// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include <bpf/btf.h>

#include "bpf/ops.h"
#include "lib/io.h"

#define HINT_BTF                                                   \
	"use a kernel built with CONFIG_DEBUG_INFO_BTF=y, as the " \
	"distributions' are"

bool probe_has_cap(const struct probe *p, int cap)
{
	return p->caps >> cap & 1;
}

bool probe_may_load(const struct probe *p)
{
	return (probe_has_cap(p, CAP_BPF) && probe_has_cap(p, CAP_PERFMON)) ||
	       probe_has_cap(p, CAP_SYS_ADMIN);
}

struct probe *probe_free(struct probe *p)
{
	free(p);
	return NULL;
}

int probe_new(struct probe **ret_probe)
{
	AUTO(probe_freep) struct probe *p = calloc(1, sizeof(*p));
	AUTO_FILE FILE *f = fopen("/proc/self/status", "re");
	unsigned int inside, outside, count;
	char line[256];

	if (!p)
		return -ENOMEM;
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &p->caps) == 1)
			break;
	if (io_read_line("/proc/self/uid_map", line, sizeof(line)) == 0)
		p->namespaced = sscanf(line, "%u %u %u", &inside, &outside, &count) == 3 &&
				count != UINT32_MAX;
	if (vmlinux_get(&p->vmlinux) == -ENOMEM)
		return -ENOMEM;
	*ret_probe = take_ptr(p);
	return 0;
}

uint32_t probe_function(const struct probe *p, const char *name)
{
	return p->vmlinux ? vmlinux_id(p->vmlinux, name, BTF_KIND_FUNC) : 0;
}

int probe_program(struct probe *p, enum bpf_prog_type type, enum bpf_attach_type attach,
		  uint32_t btf_id, int btf_fd, uint32_t flags)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach,
		    .attach_btf_id = btf_id, .attach_btf_obj_fd = btf_fd, .prog_flags = flags,
		    .log_buf = p->log, .log_size = sizeof(p->log));
	int fd;

	p->log[0] = 0;
	/* With log level 0 libbpf asks again with a log when the first try fails. */
	fd = bpf_prog_load(type, "hotfix_probe", "Dual BSD/GPL", insns, ARRAY_SIZE(insns),
			   &opts);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* The kernel wants some BTF of the program's side with an ops map, whatever it says. */
static int any_btf(void)
{
	LIBBPF_OPTS(bpf_btf_load_opts, opts);
	struct btf *btf = btf__new_empty();
	const void *raw;
	uint32_t size;
	int fd = -ENOMEM;

	if (btf && btf__add_int(btf, "int", 4, BTF_INT_SIGNED) > 0) {
		raw = btf__raw_data(btf, &size);
		fd = raw ? bpf_btf_load(raw, size, &opts) : -ENOMEM;
	}
	btf__free(btf);
	return fd;
}

/* An ops map without a member; creating it registers nothing. */
static int create_ops_map(const struct vmlinux *v, uint32_t flags)
{
	uint32_t id = vmlinux_id(v, "bpf_struct_ops_" OPS_TYPE_TCP_CC, BTF_KIND_STRUCT);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags,
		    .btf_vmlinux_value_type_id = id);
	AUTO_CLOSE int btf_fd = -1;
	AUTO_CLOSE int fd = -1;

	if (!id)
		return -ENOENT;
	btf_fd = any_btf();
	if (btf_fd < 0)
		return btf_fd;
	opts.btf_fd = (uint32_t)btf_fd;
	fd = bpf_map_create(BPF_MAP_TYPE_STRUCT_OPS, "hotfix_probe", 4,
			    vmlinux_type(v, id)->size, 1, &opts);
	return fd < 0 ? fd : 0;
}

int probe_ops(struct probe *p, bool *ret_links)
{
	uint32_t id;
	int member, r;

	*ret_links = false;
	p->log[0] = 0;
	id = p->vmlinux ? vmlinux_id(p->vmlinux, OPS_TYPE_TCP_CC, BTF_KIND_STRUCT) : 0;
	member = id ? vmlinux_member(p->vmlinux, id, "ssthresh", NULL) : -1;
	if (member < 0)
		return -ENOENT;
	/* For struct_ops the attach type is the member's index. */
	r = probe_program(p, BPF_PROG_TYPE_STRUCT_OPS, (enum bpf_attach_type)member, id, 0, 0);
	if (r < 0)
		return r;
	*ret_links = create_ops_map(p->vmlinux, OPS_F_LINK) == 0;
	return *ret_links ? 0 : create_ops_map(p->vmlinux, 0);
}

/* The line of a verifier log that says why: the last one that is not statistics. */
static const char *log_reason(char *log)
{
	static const char *const statistics[] = {"processed ", "verification time ",
						 "stack depth "};
	const char *reason = NULL;

	for (char *save, *line = strtok_r(log, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		bool counted = false;

		for (size_t i = 0; i < ARRAY_SIZE(statistics); i++)
			counted |= strncmp(line, statistics[i], strlen(statistics[i])) == 0;
		if (!counted)
			reason = line;
	}
	return reason;
}

static int say(struct fail *f, const char *hint, const char *what, const char *why)
{
	int r = fail_set(f, FAIL_INCOMPATIBLE, "%s: %s", what, why);

	if (hint)
		fail_hint(f, "%s", hint);
	return r;
}

int probe_explain(struct probe *p, const char *what, int err, struct fail *reterr_fail)
{
	const char *said;

	if (err == -ENOENT || err == -ESRCH)
		return say(reterr_fail, HINT_BTF, what,
			   "the kernel's BTF has nothing to try it on");
	if ((err == -EPERM || err == -EACCES) && !p->log[0]) {
		if (!probe_may_load(p))
			return say(reterr_fail, "run as root, or with CAP_BPF and CAP_PERFMON",
				   what, "this process may not load BPF programs");
		if (p->namespaced)
			return say(
				reterr_fail, "run it outside of the container", what,
				"the capabilities are those of a user namespace, which count "
				"for nothing here");
		return say(
			reterr_fail,
			"a sandbox, hypervisor or hardening policy forbids it: nothing on "
			"this host can lift it; use another kernel, or a guest",
			what,
			"this kernel refuses such programs: EPERM with an empty verifier log, "
			"although this process has the capabilities");
	}
	said = log_reason(p->log);
	if (said)
		return say(reterr_fail, NULL, what, said);
	if (err == -ENOTSUP || err == -524) /* ENOTSUPP, which only the kernel has */
		return say(reterr_fail, "needs CONFIG_BPF_JIT=y and net.core.bpf_jit_enable=1",
			   what, "this kernel has no BPF trampolines");
	return fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s: the kernel answers %s", what,
			strerror(-err));
}
