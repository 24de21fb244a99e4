#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# Trials: they end well by themselves, badly when nobody is left to renew the lease, and at an
# operator's word; and one hot-fix is changed by one at a time.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	printf '[trial]\nlease = 6s\nhealth_off = ns_per_call cpu_percent loop_stall_ms psi_cpu\n' >"$T/conf"
	use shared
	trusting --config "$T/conf"
	stored sid 1 fmod_ret_getsid "$short"
	stored sid 2 fmod_ret_getsid_v2 "$short"
}
short='{"trial":{"min_s":1,"default_s":2,"max_s":600}}'

# Serial 1 denies getsid() to all but root, serial 2 to nobody (65534) alone.
live_is() {
	local as_1000 as_nobody

	as_1000=$("$act" --uid 1000 getsid || :)
	as_nobody=$("$act" --uid 65534 getsid || :)
	case $as_1000/$as_nobody in
	ok/ok) same "$1" off "the live version" ;;
	EACCES/EACCES) same "$1" 1 "the live version" ;;
	ok/EACCES) same "$1" 2 "the live version" ;;
	*) fail "getsid gives $as_1000 and $as_nobody" ;;
	esac
}

test_a_trial_that_goes_well_commits_by_itself() {
	expect 0 hotfixctl apply sid@1 --trial 1s --wait=60s
	hotfix_is sid live 1 1
	live_is 1
	expect 0 hotfixctl history sid -j
	field 'apply done' '.changes[0].verb' '.changes[0].outcome'
}

test_waiting_for_a_trial_can_time_out_and_the_trial_goes_on() {
	expect 8 hotfixctl apply sid@2 --trial 600s --wait=1s
	hotfix_is sid trial 2 1 2
	live_is 2
}

test_a_second_change_during_a_trial_is_a_conflict() {
	expect 9 hotfixctl apply sid@2
	says trial 'commit|rollback'
	expect 9 hotfixctl enable sid
	expect 9 hotfixctl remove sid@2
	live_is 2
}

test_rollback_ends_a_trial_at_once() {
	expect 0 hotfixctl rollback sid --reason 'not what we want'
	hotfix_is sid live 1 1
	live_is 1
	expect 0 hotfixctl history sid -j
	field rolled_back '.changes[verb=apply].outcome'
}

test_commit_without_a_trial_is_a_conflict() {
	expect 9 hotfixctl commit sid
	says 'not on trial'
	expect 3 hotfixctl rollback nosuch
}

test_a_trial_outside_the_bounds_of_the_manifest_is_refused() {
	expect 2 hotfixctl apply sid@2 --trial 20m
	says bounds
	expect 2 hotfixctl apply sid@2 --trial nonsense
	live_is 1
}

# Nobody renews the lease: the kernel goes back to the committed version by itself.
test_kill_9_in_a_trial_ends_it_inside_the_kernel() {
	expect 0 hotfixctl apply sid@2 --trial 600s
	live_is 2
	stop KILL
	expect 0 "$act" --uid 1000 until 30000 EACCES getsid
	live_is 1
	hotfixd --config "$T/conf"
	hotfix_is sid live 1 1
	eventually idle sid
	live_is 1
	expect 0 hotfixctl history sid -j
	field '2 rolled_back LEASE_EXPIRED' '.changes[verb=apply].serial' '.changes[verb=apply].outcome' \
		'.changes[verb=apply].code'
	expect 4 hotfixctl apply sid@2
	says 'quarantine.*LEASE_EXPIRED'
	lifted sid 2
}

test_a_daemon_that_hangs_in_a_trial_loses_it_and_knows_when_it_is_back() {
	local loop
	expect 0 hotfixctl apply sid@2 --trial 600s
	live_is 2
	loop=$(loop_pid)
	kill -STOP "$loop"
	expect 0 "$act" --uid 1000 until 30000 EACCES getsid
	live_is 1
	kill -CONT "$loop"
	eventually idle sid
	hotfix_is sid live 1 1
	live_is 1
	expect 0 hotfixctl history sid -j
	field rolled_back '.changes[verb=apply].outcome'
	lifted sid 2
}

test_a_daemon_that_is_back_before_the_lease_ends_goes_on_with_the_trial() {
	expect 0 hotfixctl apply sid@2 --trial 600s
	stop KILL
	hotfixd --config "$T/conf"
	# An emulated start may have taken longer than the lease; then it must be over.
	if expect_trial; then
		live_is 2
		expect 0 hotfixctl rollback sid
	fi
	live_is 1
	lifted sid 2
}

expect_trial() {
	hotfixctl status -j >"$T/status" && [ "$("$act" field "$T/status" '.hotfixes[name=sid].state')" = trial ]
}

test_no_call_is_missed_while_versions_switch_under_load() {
	local hammer pid counts

	coproc HAMMER { exec "$act" --uid 65534 hammer getsid; }
	pid=$HAMMER_PID hammer=${HAMMER[0]}
	read -r -t "$LIMIT" -u "$hammer" counts
	same ready "$counts"
	expect 0 hotfixctl apply sid@2 --trial 600s
	expect 0 hotfixctl commit sid
	expect 0 hotfixctl rollback sid
	expect 0 hotfixctl rollback sid --to 2
	expect 0 hotfixctl rollback sid --to 1
	kill -TERM "$pid"
	read -r -t "$LIMIT" -u "$hammer" counts
	[[ $counts =~ ^'{"ok":0,"EACCES":'[0-9]{4,}',"other":0}'$ ]] || fail "calls got through: $counts"
	live_is 1
}

test_two_applies_at_once_one_wins_and_the_other_is_a_conflict() {
	local i pids=() codes=()

	stored race 1 several
	for i in 1 2; do
		hotfixctl apply race@1 --commit >"$T/race.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		rc=0
		wait "$i" || rc=$?
		codes+=("$rc")
	done
	same '0 9' "$(printf '%s\n' "${codes[@]}" | sort -n | tr '\n' ' ' | sed 's/ $//')" "exit statuses"
	hotfix_is race live 1 1
	expect 0 hotfixctl disable race
	expect 0 hotfixctl remove race
}

test_two_hot_fixes_are_changed_at_the_same_time() {
	local a b

	stored par-a 1 several
	stored par-b 1 twice
	hotfixctl apply par-a --commit >"$T/par-a" 2>&1 &
	a=$!
	hotfixctl apply par-b --commit >"$T/par-b" 2>&1 &
	b=$!
	wait "$a" || fail "par-a: $(cat "$T/par-a")"
	wait "$b" || fail "par-b: $(cat "$T/par-b")"
	hotfix_is par-a live 1 1
	hotfix_is par-b live 1 1
	for a in par-a par-b; do
		expect 0 hotfixctl disable $a
		expect 0 hotfixctl remove $a
	done
}

test_too_few_calls_end_a_trial_as_unhealthy() {
	stored idle-fix 1 dpath '{"trial":{"min_s":1,"default_s":1,"max_s":2,"min_calls":1000000}}'
	expect 7 hotfixctl apply idle-fix --wait=60s
	hotfix_is idle-fix quarantined - -
	expect 0 hotfixctl remove idle-fix
}

test_enough_calls_end_a_trial_well() {
	stored busy-fix 1 twice '{"trial":{"min_s":1,"default_s":1,"max_s":600,"min_calls":100}}'
	expect 0 hotfixctl apply busy-fix
	expect 0 "$act" --times 200 getpgid
	eventually committed_is busy-fix 1
	expect 0 hotfixctl disable busy-fix
	expect 0 hotfixctl remove busy-fix
}

committed_is() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$1].committed_serial" ".hotfixes[name=$1].state")" = "$2 live" ]
}

test_disable_ends_a_trial_too() {
	expect 0 hotfixctl apply sid@2 --trial 600s
	expect 0 hotfixctl disable sid
	live_is off
	hotfix_is sid disabled - 1
	expect 0 hotfixctl enable sid
	live_is 1
}

test_kill_9_while_a_version_is_loading_leaves_the_old_one_and_a_later_apply_works() {
	for _ in 1 2 3; do
		grep -c "$begun" "$log" >"$T/begun" || :
		hotfixctl apply sid@2 --trial 600s >"$T/apply" 2>&1 &
		eventually begun
		stop KILL
		wait $! || :
		live_is_one_of 1 2
		expect 0 "$act" --uid 1000 until 30000 EACCES getsid
		live_is 1
		hotfixd --config "$T/conf"
		eventually idle sid
		hotfix_is sid live 1 1
		lifted sid 2
	done
	expect 0 hotfixctl apply sid@2 --commit
	live_is 2
}

begun='change begun.*verb=apply.*serial=2'
begun() {
	[ "$(grep -c "$begun" "$log")" -gt "$(cat "$T/begun")" ]
}

live_is_one_of() {
	local as_1000

	as_1000=$("$act" --uid 1000 getsid || :)
	[ "$as_1000" = ok ] || [ "$as_1000" = EACCES ] || fail "getsid gives $as_1000"
	same EACCES "$("$act" --uid 65534 getsid || :)" "nobody is denied by both versions"
}

run_tests "$@"
