#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# reboot.sh BOOT -- one boot of a host whose state directory is on a disk; the tests named
# test_<BOOT>_... run in it.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../lib.sh"

boot=${1//_/ }

setup() {
	use shared
	state=/state/hotfixd
	printf '[boot]\ndelay = 0s\n' >"$T/at-once"
	printf '[boot]\ndelay = 1h\n' >"$T/later"
	if [ "$boot" = first ]; then
		trusting --config "$T/at-once"
		cp "$T"/release.* "$T/root" /state/
		stored denies 1 fmod_ret_getsid
		stored denies 2 fmod_ret_getsid_v2
		stored tried 1 several
		stored off 1 twice
		stored needed 1 loops
		stored soon 1 fentry_tcp_state '{"critical":true,"requires":["needed"]}'
		stored old 1 fexit_statfs '{"kernels":{"ranges":[{"below":"6.13"}]}}'
	elif [ "$boot" = again ]; then
		hotfixd --config "$T/later" || fail "hotfixd did not start: $(cat "$err")"
	else
		hotfixd --config "$T/at-once" || fail "hotfixd did not start: $(cat "$err")"
	fi
}

nobody_gets_sid() {
	same "$1" "$("$act" --uid 1000 getsid || :)" "getsid as 1000"
}

test_first_boot_applies_and_leaves_one_of_each_kind() {
	expect 0 hotfixctl apply denies@1 --commit
	expect 0 hotfixctl apply off --commit
	expect 0 hotfixctl disable off
	expect 0 hotfixctl apply needed --commit
	expect 0 hotfixctl apply soon --commit
	expect 0 hotfixctl apply old --commit
	expect 0 hotfixctl apply tried --trial 600s
	nobody_gets_sid EACCES
	stop TERM
}

test_again_what_is_critical_is_there_when_hotfixd_is_ready() {
	hotfix_is soon live 1 1
}

test_again_what_a_critical_one_requires_is_as_critical() {
	hotfix_is needed live 1 1
	expect 0 hotfixctl history soon -j
	field 'restore -' '.changes[0].verb' '.changes[0].warning'
}

test_again_what_is_not_waits_until_the_host_can_be_reached() {
	hotfix_is denies stored - 1
	[[ $("$act" field "$out" '.hotfixes[name=denies].reason') = *'3600 s'* ]] || fail "no reason: $(cat "$out")"
	nobody_gets_sid ok
	stop TERM
	hotfixd --config "$T/at-once" || fail "hotfixd did not start: $(cat "$err")"
}

test_again_what_was_committed_is_applied_at_start() {
	eventually live denies 1
	nobody_gets_sid EACCES
	hotfix_is off disabled - 1
}

live() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$1].live_serial")" = "$2" ]
}

# A trial that a reboot ended is not started by itself, nor is its version, without a word.
test_again_what_was_only_on_trial_is_not() {
	hotfix_is tried quarantined - -
	expect 4 hotfixctl apply tried
	says quarantine
}

test_again_a_quarantine_is_lifted_at_an_operators_word() {
	expect 2 hotfixctl retry tried
	expect 9 hotfixctl retry denies@1
	expect 3 hotfixctl retry tried@9
	expect 0 hotfixctl retry tried@1 --reason 'it was the power'
	hotfix_is tried stored - -
	expect 0 hotfixctl apply tried --trial 600s
	expect 0 hotfixctl rollback tried
	expect 0 hotfixctl history tried -j
	field 'retry done' '.changes[verb=retry].verb' '.changes[verb=retry].outcome'
	stop TERM
}

test_kill_switch_keeps_everything_off_and_says_so() {
	nobody_gets_sid ok
	hotfix_is denies failed - 1
	[[ $("$act" field "$out" '.hotfixes[name=denies].reason') = *'kill switch'* ]] || fail "no reason: $(cat "$out")"
	expect 4 hotfixctl apply denies@2
	says 'hotfix=no-apply'
	expect 0 hotfixctl status -j
	field no-apply .daemon.kill_switch
	stop TERM
}

# The kernel of this boot is none that the hot-fix was made for.
test_other_kernel_retires_what_it_does_not_need() {
	eventually live denies 1
	hotfix_is old retired - 1
	[[ $("$act" field "$out" '.hotfixes[name=old].reason') = *"not for kernel"* ]] || fail "no reason: $(cat "$out")"
	expect 0 hotfixctl history old -j
	field 'retire RETIRED' '.changes[0].verb' '.changes[0].code'
	stop TERM
}

test_dies_in_the_middle_of_a_trial() {
	eventually live denies 1
	expect 0 hotfixctl apply denies@2 --trial 600s
	nobody_gets_sid ok
	echo "ok - dies in the middle of a trial" >&3
	sync
	echo c >/proc/sysrq-trigger
}

test_after_it_died_the_old_version_runs_and_the_new_one_is_quarantined() {
	eventually live denies 1
	nobody_gets_sid EACCES
	expect 0 hotfixctl list -j
	field '1 stored 2 quarantined' '.versions[0].serial' '.versions[0].state' '.versions[1].serial' '.versions[1].state'
	expect 4 hotfixctl apply denies@2
	says quarantine
	expect 0 hotfixctl history denies -j
	field 'apply failed CRASHED' '.changes[serial=2].verb' '.changes[serial=2].outcome' '.changes[serial=2].code'
}

test_after_it_died_the_audit_chain_holds() {
	expect 0 hotfixctl audit --verify
}

test_after_it_died_it_goes_down_once_more() {
	eventually live old 1
	eventually idle
	echo "ok - after it died it goes down once more" >&3
	sync
	echo c >/proc/sysrq-trigger
}

test_held_after_a_second_crash_nothing_is_applied() {
	expect 0 hotfixctl status -j
	field held .daemon.kill_switch
	nobody_gets_sid ok
	hotfix_is soon failed - 1
	expect 4 hotfixctl apply denies
	says 'went down twice' 'hotfixctl resume'
	expect 0 hotfixctl status
	says '^held: '
}

test_held_it_stays_so_over_a_restart() {
	stop TERM
	hotfixd || fail "hotfixd did not start: $(cat "$err")"
	expect 4 hotfixctl apply denies
}

test_held_until_an_operator_says_so() {
	expect 0 hotfixctl resume
	eventually live denies 1
	eventually live soon 1
	nobody_gets_sid EACCES
	expect 9 hotfixctl resume
	expect 0 hotfixctl audit -j
	field resume '.rows[action=resume].action'
}

exec 3>&1
run_tests "^$boot "
