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
	printf '[worker]\ndeadline = 10s\n' >"$T/conf"
	trusting --config "$T/conf"
	stored good 1 twice
	expect 0 hotfixctl apply good --commit
	census >"$T/before"
}

# refused OBJECT STATUS REGEX...: by apply and, before, by its dry run
refused() {
	local object=$1 want=$2 name=bad-${1//_/-}
	shift 2

	stored "$name" 1 "$bad/$object.bpf.o"
	[ -n "${dry_run_passes:-}" ] || {
		expect "$want" hotfixctl apply "$name" --dry-run
		says "$@"
	}
	expect "$want" hotfixctl apply "$name" --commit
	says "$@"
	hotfix_is "$name" '[.state, .live_serial] | @csv' '"failed",'
	harmless "$name"
	expect 0 hotfixctl remove "$name"
}

harmless() {
	[ ! -e "$bpffs/$1" ] || fail "pins are left: $(find "$bpffs/$1")"
	eventually same_census "$T/before"
	hotfix_is good '[.state, .live_serial] | @csv' '"live",1'
	serves
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
	refused not_modifiable 5 tcp_v4_connect
}

test_a_target_that_could_hang_the_host_is_refused_before_the_kernel_sees_it() {
	refused rcu_read_lock 5 __rcu_read_lock 'every BPF program'
}

test_a_missing_field_is_named() {
	refused core_missing 6 hotfix_no_such_field
}

test_the_verifiers_last_words_are_shown_and_its_log_is_kept() {
	local id

	stored bad-bounds 1 "$bad/out_of_bounds.bpf.o"
	expect 6 hotfixctl apply bad-bounds --commit
	says 'R[0-9] unbounded memory access|min value is outside|out of bounds|exceeds|access to map value'
	expect 0 hotfixctl history bad-bounds -j
	json '.changes[0] | [.verb, .outcome, .code] | @csv' '"apply","failed","load_failed"'
	id=$(jq '.changes[0].id' "$out")
	expect 0 hotfixctl history --change "$id" -j
	jq -r .log "$out" | grep -q 'processed [0-9]* insns' || fail "the log is not kept: $(head -c 300 "$out")"
	harmless bad-bounds
	expect 0 hotfixctl remove bad-bounds
}

test_an_endless_loop_is_refused_by_the_verifier() {
	refused endless 6 'infinite loop'
}

test_a_helper_for_gpl_programs_needs_such_a_license() {
	refused not_gpl 6 GPL
}

test_while_the_verifier_is_kept_busy_the_daemon_serves_and_a_deadline_ends_it() {
	local pid rc=0

	stored bad-long 1 "$bad/too_long.bpf.o"
	hotfixctl apply bad-long --commit >"$out" 2>"$err" &
	pid=$!
	eventually grep -q 'change begun.*hotfix=bad-long' "$log"
	serves
	expect 9 hotfixctl apply bad-long
	wait "$pid" || rc=$?
	# Which of the two comes first depends on the machine.
	case $rc in
	6) jq -n '1' >/dev/null ;;
	8) ;;
	*) fail "exit status $rc instead of 6 (too large) or 8 (deadline)" ;;
	esac
	eventually idle
	harmless bad-long
	expect 0 hotfixctl remove bad-long
}

idle() {
	hotfixctl status -j | jq -e '[.hotfixes[] | has("change")] | any | not'
}

test_more_programs_than_a_function_can_take_leave_none_attached() {
	dry_run_passes=1 refused crowd 6 security_task_getsid
	"$act" getsid
}

test_a_version_that_cannot_be_loaded_leaves_the_old_one_running() {
	stored upgrade 1 several
	stored upgrade 2 "$bad/out_of_bounds.bpf.o"
	expect 0 hotfixctl apply upgrade@1 --commit
	expect 6 hotfixctl apply upgrade@2
	hotfix_is upgrade '[.state, .live_serial, .committed_serial] | @csv' '"live",1,1'
	ran several_calls 0 1 does_getpgid
	expect 0 hotfixctl disable upgrade
	expect 0 hotfixctl remove upgrade
	harmless upgrade
}

does_getpgid() { "$act" getpgid; }

test_an_unknown_name_and_an_unknown_serial_are_not_found() {
	expect 3 hotfixctl apply nosuch
	says nosuch list
	expect 3 hotfixctl apply good@99
	says 'good@99'
	for verb in commit rollback disable enable remove show; do
		rc=0
		hotfixctl $verb nosuch >"$out" 2>"$err" || rc=$?
		[ $rc = 3 ] || [ $rc = 9 ] || fail "$verb nosuch: exit status $rc"
	done
	harmless nosuch
}

run_tests "$@"
