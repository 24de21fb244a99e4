#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# Observe before enforce: a version that only counts what it would deny, and is switched to
# denying, and back, without a reload.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

id=cve-2026-31431-copyfail
trigger() { "$PWD/$B/patches/$id/trigger" "$@"; }

setup() {
	prepared
	use shared
	trusting
	expect 0 hotfixctl import "$bundles"/$id@[12].hotfix "$bundles"/foreign/fgn-fmod-ret-getsid@1.hotfix
}

counted() { # counted NAME
	expect 0 hotfixctl show $id -j
	"$act" field "$out" ".counters.$1"
}

mode_is() {
	expect 0 hotfixctl show $id -j
	field "$1" .mode
}

test_an_observed_version_denies_nothing_and_counts_what_it_would() {
	expect 0 hotfixctl apply $id@1 --observe --trial 600s
	mode_is observe
	expect 1 trigger
	[ "$(counted would_deny)" -gt 0 ] || fail "nothing was counted"
	same 0 "$(counted denied)" "denied"
}

test_enforce_makes_it_deny_within_the_trial_whose_length_begins_anew() {
	expect 0 hotfixctl history $id -j
	began=$("$act" field "$out" '.changes[verb=apply].evidence.started_mono_ms')
	expect 0 hotfixctl enforce $id
	mode_is enforce
	expect 0 trigger
	# What is left of the trial is counted from here, by a restarted daemon as well.
	expect 0 hotfixctl history $id -j
	[ "$("$act" field "$out" '.changes[verb=apply].evidence.started_mono_ms')" -gt "$began" ] ||
		fail "the record still has the first beginning"
	[ "$(counted denied)" -gt 0 ] || fail "nothing was denied"
	hotfix_is $id trial 1 - 1
}

test_the_mode_outlives_the_trial_and_the_daemon() {
	expect 0 hotfixctl observe $id
	expect 0 hotfixctl commit $id
	stop KILL
	hotfixd || fail "hotfixd did not start: $(cat "$err")"
	mode_is observe
	expect 1 trigger
}

test_the_mode_outlives_disable_and_enable() {
	expect 0 hotfixctl disable $id
	expect 0 hotfixctl enable $id
	mode_is observe
	expect 1 trigger
	expect 0 hotfixctl enforce $id
	expect 0 hotfixctl disable $id
	expect 0 hotfixctl enable $id
	mode_is enforce
	expect 0 trigger
}

test_history_tells_who_switched_it() {
	expect 0 hotfixctl history $id -j
	field 'enforce done 0' '.changes[verb=enforce].verb' '.changes[verb=enforce].outcome' '.changes[verb=enforce].actor_uid'
	field 'observe done' '.changes[verb=observe].verb' '.changes[verb=observe].outcome'
}

test_an_object_without_the_switch_says_so() {
	expect 4 hotfixctl apply fgn-fmod-ret-getsid@1 --observe
	says HOTFIX_CONTROL
	expect 0 hotfixctl apply fgn-fmod-ret-getsid@1 --commit
	expect 4 hotfixctl observe fgn-fmod-ret-getsid
	says HOTFIX_CONTROL
	expect 3 hotfixctl enforce nobody-knows
	expect 2 hotfixctl enforce $id@1
}

run_tests "$@"
