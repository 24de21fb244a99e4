// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* fmod_ret on a security function: refuses getsid(). Which uids, says REFUSE. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifndef REFUSE
#define REFUSE(uid) ((uid) != 0)
#endif
#define EACCES 13

struct task_struct;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} getsid_seen SEC(".maps");

SEC("fmod_ret/security_task_getsid")
int BPF_PROG(refuse_getsid, struct task_struct *p, int ret)
{
	__u32 zero = 0, uid = (__u32)bpf_get_current_uid_gid();
	__u64 *seen = bpf_map_lookup_elem(&getsid_seen, &zero);

	if (seen)
		*seen += 1;
	if (ret)
		return ret;
	return REFUSE(uid) ? -EACCES : 0;
}

char _license[] SEC("license") = "GPL";
