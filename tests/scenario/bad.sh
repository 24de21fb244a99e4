#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# Objects that are signed and declared as they should be, and that a kernel refuses: each with
# its message and exit status, nothing left in the kernel, and the daemon serving on.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	prepared
	trusting
	stored good 1 twice
	expect 0 hotfixctl apply good --commit
	census >"$T/census"
}

# refused OBJECT STATUS REGEX...: by apply, with these words
refused() {
	local want=$2 name=bad-${1//_/-}
	shift 2

	expect 0 hotfixctl import "$bundles/bad/$name@1.hotfix"
	expect "$want" hotfixctl apply "$name" --commit
	says "$@"
	harmless "$name"
	expect 0 hotfixctl remove "$name"
}

# Nothing of it is left, what ran runs, and the daemon says so.
harmless() {
	hotfix_is "$1" failed - -
	field 'live 1' '.hotfixes[name=good].state' '.hotfixes[name=good].live_serial'
	[ ! -e "$bpffs/$1" ] || fail "pins are left: $(find "$bpffs/$1")"
	eventually same_census "$T/census"
}

test_an_unknown_function_is_named() {
	refused unknown_function 5 hotfix_no_such_function
}

test_an_unknown_lsm_hook_is_named() {
	refused unknown_lsm_hook 5 hotfix_no_such_hook
}

test_a_function_that_cannot_be_traced_is_named() {
	refused notrace 5 native_sched_clock 'trace'
}

test_a_function_that_fmod_ret_may_not_change_is_named() {
	refused not_modifiable 5 tcp_v4_connect modifiable
}

test_a_target_that_could_hang_the_host_is_refused_before_the_kernel_sees_it() {
	refused rcu_read_lock 5 __rcu_read_lock 'every BPF program'
}

test_a_missing_field_is_named() {
	refused core_missing 6 hotfix_no_such_field
}

test_a_dry_run_ends_as_the_apply_would() {
	expect 0 hotfixctl import "$bundles/bad/bad-core-missing@1.hotfix" "$bundles/bad/bad-notrace@1.hotfix"
	expect 6 hotfixctl apply bad-core-missing --dry-run
	says hotfix_no_such_field
	expect 5 hotfixctl apply bad-notrace --dry-run
	says native_sched_clock
	hotfix_is bad-core-missing stored - -
	expect 0 hotfixctl remove bad-core-missing
	expect 0 hotfixctl remove bad-notrace
}

test_the_verifiers_last_words_are_shown_and_its_log_is_kept() {
	local id

	expect 0 hotfixctl import "$bundles/bad/bad-out-of-bounds@1.hotfix"
	expect 6 hotfixctl apply bad-out-of-bounds --commit
	says 'R[0-9] unbounded memory access|min value is outside|out of bounds|exceeds|access to map value'
	expect 0 hotfixctl history bad-out-of-bounds -j
	field 'apply failed load_failed' '.changes[0].verb' '.changes[0].outcome' '.changes[0].code'
	id=$("$act" field "$out" '.changes[0].id')
	expect 0 hotfixctl history --change "$id" -j
	"$act" field "$out" .log .changes[0].log | grep -q 'processed [0-9]* insns' || fail "the log is not kept: $(head -c 300 "$out")"
	harmless bad-out-of-bounds
	expect 0 hotfixctl remove bad-out-of-bounds
}

test_an_endless_loop_is_refused_by_the_verifier() {
	refused endless 6 'infinite loop'
}

test_a_helper_for_gpl_programs_needs_such_a_license() {
	refused not_gpl 6 GPL
}

test_while_the_verifier_is_kept_busy_the_daemon_serves_and_a_deadline_ends_it() {
	local pid rc=0

	use impatient
	printf '[worker]\ndeadline = 8s\n' >"$T/conf"
	trusting --config "$T/conf"
	expect 0 hotfixctl import "$bundles/bad/bad-too-long@1.hotfix"
	hotfixctl apply bad-too-long --commit >"$T/apply" 2>&1 &
	pid=$!
	eventually grep -q 'change begun.*hotfix=bad-too-long' "$log"
	api /hotfixes/bad-too-long/apply -X POST -d '{}'
	same 409 "$status" "a second apply meanwhile"
	serves
	wait "$pid" || rc=$?
	# Which of the two ends comes first depends on the machine.
	case $rc in
	6) grep -q 'too large' "$T/apply" || fail "no reason: $(cat "$T/apply")" ;;
	8) grep -q 'within 8 s' "$T/apply" || fail "no reason: $(cat "$T/apply")" ;;
	*) fail "exit status $rc instead of 6 or 8: $(cat "$T/apply")" ;;
	esac
	eventually idle
	hotfix_is bad-too-long failed - -
	expect 0 hotfixctl remove bad-too-long
	[ ! -e "$bpffs/bad-too-long" ] || fail "pins are left: $(find "$bpffs")"
	stop TERM
	eventually same_census "$T/census"
}

test_more_programs_than_a_function_can_take_leave_none_attached() {
	refused crowd 6 security_task_getsid
	"$act" getsid
}

test_a_version_that_cannot_be_loaded_leaves_the_old_one_running() {
	stored upgrade 1 several
	stored upgrade 2 "$bad/out_of_bounds.bpf.o"
	expect 0 hotfixctl apply upgrade@1 --commit
	expect 6 hotfixctl apply upgrade@2
	hotfix_is upgrade live 1 1
	ran several_calls 0 "$act" getpgid
	expect 0 hotfixctl disable upgrade
	expect 0 hotfixctl remove upgrade
	eventually same_census "$T/census"
}

test_an_unknown_name_and_an_unknown_serial_are_not_found() {
	expect 3 hotfixctl apply nosuch
	says nosuch list
	expect 3 hotfixctl apply good@99
	says 'good@99'
	for verb in commit rollback disable enable remove show; do
		rc=0
		hotfixctl $verb nosuch >"$out" 2>"$err" || rc=$?
		[ $rc = 3 ] || fail "$verb nosuch: exit status $rc"
	done
	serves
}

run_tests "$@"
