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
	if [ "$boot" = first ]; then
		trusting
		cp "$T"/release.* "$T/root" /state/
		stored denies 1 fmod_ret_getsid
		stored denies 2 fmod_ret_getsid_v2
		stored tried 1 several
		stored off 1 twice
	else
		hotfixd || fail "hotfixd did not start: $(cat "$err")"
	fi
}

nobody_gets_sid() {
	same "$1" "$("$act" --uid 1000 getsid || :)" "getsid as 1000"
}

test_first_boot_applies_and_leaves_one_of_each_kind() {
	expect 0 hotfixctl apply denies@1 --commit
	expect 0 hotfixctl apply off --commit
	expect 0 hotfixctl disable off
	expect 0 hotfixctl apply tried --trial 600s
	nobody_gets_sid EACCES
	stop TERM
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

test_kill_switch_keeps_everything_off_and_says_so() {
	nobody_gets_sid ok
	hotfix_is denies failed - 1
	[[ $("$act" field "$out" '.hotfixes[name=denies].reason') = *'kill switch'* ]] || fail "no reason: $(cat "$out")"
	expect 4 hotfixctl apply denies@2
	says 'hotfix=no-apply'
	expect 0 hotfixctl status -j
	field no-apply .daemon.kill_switch
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

exec 3>&1
run_tests "^$boot "
