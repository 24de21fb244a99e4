#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# The whole life of a real hot-fix on a real kernel, one step a test, in this order: allowed,
# applied, daemon killed, adopted, upgraded, rolled back, disabled, removed without a trace.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

name=cve-2026-31431-copyfail
trigger=$PWD/$B/patches/$name/trigger

setup() {
	use shared
	prepared
	census >"$T/census"
	trusting
}

# closed, open: what the trigger says about the hole; and that legitimate use works.
closed() { expect 0 "$trigger"; }
open() { expect 1 "$trigger"; }

test_before_the_hot_fix_the_hole_is_open() {
	open
	expect 0 "$trigger" --legit
}

test_import_stores_both_versions_and_changes_nothing() {
	expect 0 hotfixctl import "$bundles/$name@1.hotfix" "$bundles/$name@2.hotfix"
	hotfix_is "$name" stored - -
	open
}

test_a_dry_run_shows_the_hooks_and_attaches_nothing() {
	expect 0 hotfixctl apply "$name@1" --dry-run -j
	field 'lsm socket_bind true -' '.hooks[0].type' '.hooks[0].target' '.hooks[].ok' '.hooks[0].why'
	[ "$("$act" field "$out" '.hooks[0].insns')" -gt 0 ] || fail "no instructions: $(cat "$out")"
	open
	hotfix_is "$name" stored - -
}

test_apply_of_serial_1_closes_the_hole() {
	expect 0 hotfixctl apply "$name@1" --commit
	hotfix_is "$name" live 1 1
	closed
	expect 1 "$trigger" --legit
}

test_killing_the_daemon_leaves_it_closed() {
	stop KILL
	closed
	expect 10 hotfixctl status
}

test_a_restarted_daemon_adopts_what_runs() {
	hotfixd
	hotfix_is "$name" live 1 1
	says_nothing_of_failure
	field 1 .daemon.adopted
	closed
	expect 0 hotfixctl history "$name" -j
	field apply '.changes[].verb'
}

says_nothing_of_failure() {
	! grep -E 'error|failed|problem' "$log" || fail "the log complains"
}

test_a_clean_stop_leaves_it_closed_too() {
	stop TERM
	closed
	hotfixd
	hotfix_is "$name" live 1 1
}

test_apply_of_serial_2_lets_legitimate_use_through_again() {
	expect 0 hotfixctl apply "$name" --trial 60s
	hotfix_is "$name" trial 2 1 2
	closed
	expect 0 "$trigger" --legit
}

test_commit_makes_serial_2_the_one_that_stays() {
	expect 0 hotfixctl commit "$name"
	hotfix_is "$name" live 2 2
	closed
	expect 0 "$trigger" --legit
}

test_an_older_serial_is_refused_as_a_downgrade() {
	expect 4 hotfixctl apply "$name@1"
	says 'older' 'rollback'
	hotfix_is "$name" live 2 2
}

test_rollback_brings_serial_1_back() {
	expect 0 hotfixctl rollback "$name" --reason 'the test says so'
	hotfix_is "$name" live 1 1
	closed
	expect 1 "$trigger" --legit
	expect 0 hotfixctl history "$name" -j
	field 'rollback 1 2 done the test says so' '.changes[0].verb' '.changes[0].serial' \
		'.changes[0].from_serial' '.changes[0].outcome' '.changes[0].detail'
}

test_calls_were_counted() {
	expect 0 hotfixctl status -j
	[ "$("$act" field "$out" ".hotfixes[name=$name].hooks[0].calls")" -gt 0 ] || fail "no calls"
}

test_disable_opens_the_hole_again() {
	expect 0 hotfixctl disable "$name"
	hotfix_is "$name" disabled - 1
	open
}

test_a_disabled_hot_fix_stays_off_over_a_restart() {
	stop KILL
	hotfixd
	hotfix_is "$name" disabled - 1
	open
}

test_enable_closes_it_again() {
	expect 0 hotfixctl enable "$name"
	hotfix_is "$name" live 1 1
	closed
	expect 0 hotfixctl disable "$name"
}

test_remove_leaves_nothing_of_it_in_the_kernel() {
	expect 0 hotfixctl remove "$name"
	expect 3 hotfixctl show "$name"
	open
	eventually same_census "$T/census"
	same '' "$(find "$bpffs" -mindepth 1 2>/dev/null)" "what is left in bpffs"
}

test_every_step_is_in_the_audit_log_and_its_chain_holds() {
	expect 0 hotfixctl audit --verify
	expect 0 hotfixctl audit -j
	json "[.rows[] | select(.subject | startswith(\"$name\")) | .action] | unique | sort | join(\" \")" \
		'apply commit disable enable import remove rollback'
}

run_tests "$@"
