// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A sleepable program: no dispatcher can call it. */
#include "tests/vm/engine_hook.bpf.h"

struct inode;
struct dentry;

SEC("lsm.s/inode_rmdir")
int BPF_PROG(deny_rmdir, struct inode *dir, struct dentry *dentry, int ret)
{
	char byte;

	if (!is_hammer())
		return 0;
	bpf_copy_from_user(&byte, 1, 0);
	count(0);
	return -VERDICT;
}
