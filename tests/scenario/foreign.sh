#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# Programs that nobody wrote for hotfixd (tests/foreign): each is packed twice, applied, seen
# to run, switched, rolled back, disabled and removed; its own maps tell which of the two
# versions ran, not only hotfixd.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
}

does() { # does RESULT DEED: as a user without privileges
	same "$1" "$("$act" --uid 65534 "$2" || :)" "$2"
}

# --- fentry and fexit ------------------------------------------------------------------------

does_getpgid() { "$act" --times 3 getpgid; }
does_statfs() { "$act" statfs; }
does_tcp() { "$act" tcp=; }
does_nice() { "$act" nice=0; }
does_fallocate() { "$act" fallocate; }

test_fentry_counts_the_states_of_tcp_sockets() {
	needs_trampolines
	cycle fentry_tcp_state tcp_states 'length >= 5 and all(. > 0)' does_tcp
}

test_fexit_sees_arguments_and_result() {
	needs_trampolines
	cycle fexit_statfs statfs_calls 'all(. > 0)' does_statfs
}

test_a_program_may_ask_the_trampoline_for_arguments_result_and_address() {
	needs_trampolines
	cycle trampoline trampoline_checks 'length == 4 and all(. > 0)' does_nice
}

test_a_helper_that_only_few_targets_allow_works_behind_the_dispatcher() {
	needs_trampolines
	cycle dpath paths_found 'all(. > 0)' does_fallocate
}

test_two_programs_on_one_target_both_run() {
	needs_trampolines
	cycle twice twice_calls '.[0] > 0 and .[0] == .[1]' does_getpgid
}

does_several() {
	"$act" getpgid && "$act" statfs && "$act" getscheduler
}

test_several_programs_of_several_types_switch_as_one() {
	needs_trampolines
	cycle several several_calls 'length == 4 and all(. > 0)' does_several
}

test_global_functions_are_called() {
	needs_trampolines
	cycle subprogs subprog_calls '.[0] > 0 and .[2] > 0' does_getpgid
}

test_callbacks_are_called() {
	needs_trampolines
	cycle loops complete_rounds 'all(. > 0)' does_getpgid
}

test_maps_of_many_kinds_and_global_data_are_there() {
	needs_trampolines
	cycle maps all_maps_used 'all(. > 0)' does_getpgid
}

does_storage() {
	"$act" --times 3 getpgid && "$act" tcp=
}

test_local_storage_of_tasks_and_sockets_works() {
	needs_trampolines
	cycle storage stored 'length == 2 and all(. > 0)' does_storage
}

test_core_relocations_are_resolved_on_this_kernel() {
	needs_trampolines
	cycle core core_checks 'length == 3 and all(. > 0)' does_getpgid
}

test_symbols_of_the_kernel_are_found() {
	needs_trampolines
	cycle externs externs_found 'length == 3 and all(. > 0)' does_getpgid
}

# --- deny hooks --------------------------------------------------------------------------------

does_getsid() {
	case $1 in
	1) does EACCES getsid && same EACCES "$("$act" --uid 1000 getsid || :)" "getsid as 1000" ;;
	2) does EACCES getsid && same ok "$("$act" --uid 1000 getsid || :)" "getsid as 1000" ;;
	off) does ok getsid ;;
	esac
}

test_fmod_ret_on_a_security_function_denies_what_the_live_version_denies() {
	needs_trampolines
	cycle fmod_ret_getsid getsid_seen 'all(. > 0)' does_getsid
}

does_setnice() {
	case $1 in
	1) does EPERM nice=10 && does ok nice=5 ;;
	2) does ok nice=10 && does EPERM nice=15 ;;
	off) does ok nice=15 ;;
	esac
}

test_lsm_denies_what_the_live_version_denies() {
	needs_trampolines
	cycle lsm_setnice setnice_seen 'length > 0 and all(. > 0)' does_setnice
}

preemptible() {
	grep -qE '\((full|lazy)\)' /sys/kernel/debug/sched/preempt
}

# fmod_ret without a twin in BPF LSM is skipped where a task was preempted inside it.
leak_is_refused_first() {
	preemptible || return 0
	stored leaky 1 "$1"
	expect 5 hotfixctl apply leaky --commit
	says preempt accept
	expect 0 hotfixctl remove leaky
}

leak='{"accept":{"preemption_leak":true}}'

does_mmap() { "$act" mmap; }

test_fmod_ret_keeps_its_own_arguments_where_the_lsm_hook_has_others() {
	needs_trampolines
	leak_is_refused_first fmod_ret_mmap
	cycle fmod_ret_mmap mmaps_seen 'all(. > 0)' does_mmap "$leak"
}

does_modify() { # what the kernel's test functions answer, changed by their hot-fix
	case $1 in
	1) "$act" modify=130100 ;;
	2) "$act" modify=130099 ;;
	off) "$act" modify=131105 ;;
	esac
}

test_fmod_ret_on_another_function_changes_its_result() {
	needs_trampolines
	if ! kernel_at_least 6 4; then	# this kernel lets security functions be modified only
		stored other 1 fmod_ret_other
		expect 5 hotfixctl apply other --commit
		says bpf_modify_return_test
		return
	fi
	leak_is_refused_first fmod_ret_other
	cycle fmod_ret_other modify_calls 'all(. > 0)' does_modify "$leak"
}

# --- sleepable ---------------------------------------------------------------------------------

does_exec() { "$act" exec; }

test_sleepable_lsm_without_a_verdict_runs() {
	needs_trampolines
	cycle lsm_sleepable_exec execs_read 'all(. > 0)' does_exec
}

does_rmdir() {
	local d

	for d in sealed-1 sealed-2; do
		mkdir -p "$T/$d"
		case $1-$d in
		1-sealed-1 | 2-sealed-2) same EPERM "$("$act" "rmdir=$T/$d" || :)" "rmdir $d" ;;
		*) same ok "$("$act" "rmdir=$T/$d" || :)" "rmdir $d" ;;
		esac
	done
}

test_sleepable_lsm_denies_what_the_live_version_denies() {
	needs_trampolines
	cycle lsm_sleepable_rmdir rmdir_seen 'all(. > 0)' does_rmdir
}

does_testrun() { "$act" testrun; }

test_sleepable_fentry_and_fexit_run() {
	needs_trampolines
	if ! kernel_at_least 6 4; then	# no function of this kernel may sleep in a fentry program
		stored sleepy 1 fentry_sleepable
		expect 5 hotfixctl apply sleepy --commit
		says bpf_fentry_test1 sleep
		return
	fi
	cycle fentry_sleepable sleepable_calls 'length == 2 and all(. > 0)' does_testrun
}

run_tests "$@"
