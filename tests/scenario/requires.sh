#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# A hot-fix that requires another: neither is kept from going, and who is left behind is told.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

without='needs requires base, and runs on without it'
missing='requires base, which is not live'

setup() {
	one_cc_run_at_a_time
	use shared
	trusting
	stored base 1 cc_min_tso
	stored needs 1 cc_reno '{"requires":["base"]}'
	expect 4 hotfixctl apply needs --commit
	says 'needs requires base' 'hotfixctl apply base'
	expect 0 hotfixctl apply base --commit
	expect 0 hotfixctl apply needs --commit
	says_not warning
}

test_who_requires_a_hot_fix_shows_before_it_goes() {
	expect 0 hotfixctl status -j
	field '["needs"]' '.hotfixes[name=base].required_by'
	field - '.hotfixes[name=needs].reason'
	expect 0 hotfixctl show base
	says 'required by +needs'
}

# reason_of NAME
reason_of() {
	hotfixctl status -j >"$T/status" && "$act" field "$T/status" ".hotfixes[name=$1].reason"
}

test_disabling_what_is_required_is_done_with_a_warning() {
	expect 0 hotfixctl disable base
	says "warning: $without" 'disable base: done'
	hotfix_is base disabled - 1
	hotfix_is needs live 1 1
	same "$missing" "$(reason_of needs)"
	expect 0 hotfixctl show needs
	says "$missing"
}

test_audit_log_and_history_have_the_warning() {
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "disable" and .result == "begun")][-1].detail.warning' "$without"
	expect 0 hotfixctl history base -j
	json '.changes[0].warning' "$without"
}

test_who_was_left_behind_comes_back_after_a_reboot_and_what_is_off_does_not() {
	all_out_of_the_kernel
	hotfixd || fail "no restart: $(cat "$err")"
	eventually is_live needs
	hotfix_is base disabled - 1
	same "$missing" "$(reason_of needs)"
}

test_when_the_required_one_is_back_nothing_is_missing() {
	expect 0 hotfixctl enable base
	says_not warning
	same - "$(reason_of needs)"
}

test_after_a_reboot_both_come_back() {
	all_out_of_the_kernel
	hotfixd || fail "no restart: $(cat "$err")"
	eventually is_live needs
	hotfix_is base live 1 1
	same - "$(reason_of needs)"
	# In their order: the one that requires began when the other was there.
	expect 0 hotfixctl history -j
	json '[.changes[] | select(.verb == "restore")] | .[0:2] | map(.name + "=" + .outcome + "=" + (.warning // "")) | join(" ")' \
		'needs=done= base=done='
}

test_removing_what_is_required_is_done_with_a_warning() {
	expect 0 hotfixctl disable base
	expect 0 hotfixctl remove base -j
	field "$without" .warning
	same "$missing" "$(reason_of needs)"
}

test_a_trial_that_is_taken_back_warns_as_well() {
	stored base 1 cc_min_tso
	expect 0 hotfixctl apply base --trial 600s
	same - "$(reason_of needs)"
	expect 0 hotfixctl rollback base
	says "warning: $without"
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "rollback")][-1].detail.warning' "$without"
}

# As a boot finds it.
all_out_of_the_kernel() {
	stop TERM
	unregister_all "$bpffs" || : # a registration with a link goes with its pins
	find "$bpffs" -mindepth 1 -depth -delete
}

is_live() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$1].state")" = live ] && idle
}

run_tests "$@"
