#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A kernel whose LSM list lacks bpf: an lsm program would attach and never be called.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../lib.sh"

setup() {
	use shared
	trusting
}

preemptible() {
	grep -qE '\((full|lazy)\)' /sys/kernel/debug/sched/preempt
}
leak='{"accept":{"preemption_leak":true}}'

test_the_doctor_says_that_bpf_is_missing_from_the_list() {
	hotfixctl doctor -j >"$out" 2>"$err" || :
	field 'false warn' .host.can.lsm '.host.checks[name=lsm].status'
	[[ $("$act" field "$out" '.host.checks[name=lsm].value') != *bpf* ]] || fail "it lists bpf"
}

# Where a task can be preempted in it, fmod_ret lets calls through: only with the signer's word.
test_a_deny_hook_is_attached_as_fmod_ret_or_refused_without_consent() {
	stored nice 1 lsm_setnice
	if preemptible; then
		expect 5 hotfixctl apply nice --commit
		says preempt
		same ok "$("$act" --uid 65534 nice=10 || :)"
		expect 0 hotfixctl remove nice
	else
		denies nice
	fi
	stored nice-leaky 1 lsm_setnice "$leak"
	denies nice-leaky
}

denies() {
	expect 0 hotfixctl apply "$1" --dry-run -j
	field 'lsm task_setnice fmod_ret security_task_setnice' '.hooks[0].type' '.hooks[0].target' \
		'.hooks[0].attach_as' '.hooks[0].attach_target'
	expect 0 hotfixctl apply "$1" --commit
	same EPERM "$("$act" --uid 65534 nice=10 || :)"
	same ok "$("$act" --uid 65534 nice=3 || :)"
	expect 0 hotfixctl disable "$1"
	same ok "$("$act" --uid 65534 nice=10 || :)"
	expect 0 hotfixctl remove "$1"
}

test_a_sleepable_deny_hook_has_no_other_way_in() {
	stored rmdir 1 lsm_sleepable_rmdir "$leak"
	expect 5 hotfixctl apply rmdir --commit
	says 'lsm' 'sleepable'
	expect 0 hotfixctl remove rmdir
}

run_tests "$@"
