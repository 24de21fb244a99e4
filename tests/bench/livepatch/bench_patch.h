// SPDX-License-Identifier: BSD-2-Clause
/*
 * bench_patch.h -- what hit_lsm does, as a kernel livepatch: getpgid() of one user id is
 * denied with BENCH_ERR. Only for the comparison; it takes the place of all other LSMs here.
 */
#include <linux/cred.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/uidgid.h>

#define HIT_ID 61000 /* tests/bench/hit.bpf.h */

static int bench_task_getpgid(struct task_struct *p)
{
	return __kuid_val(current_uid()) == HIT_ID ? -BENCH_ERR : 0;
}

static struct klp_func funcs[] = {
	{.old_name = "security_task_getpgid", .new_func = bench_task_getpgid},
	{},
};

static struct klp_object objects[] = {
	{.funcs = funcs}, /* without a name: vmlinux */
	{},
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objects,
	.replace = true,
};

static int __init bench_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit bench_exit(void)
{
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("comparison for tests/bench");
MODULE_LICENSE("Dual BSD/GPL");
MODULE_INFO(livepatch, "Y");
