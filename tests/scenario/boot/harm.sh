#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# harm.sh BOOT -- hot-fixes that do harm (tests/harm/), in a guest of their own; the tests named
# test_<BOOT>_... run in it.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../lib.sh"

boot=${1//_/ }
harm=$PWD/$B/tests/harm

setup() {
	use shared
	[ ! -d /state ] || state=/state/hotfixd
	if [ "$boot" = 'after it' ]; then
		hotfixd || fail "hotfixd did not start: $(cat "$err")"
	else
		printf '[trial]\nlease = 60s\n' >"$T/conf"	# time enough to restart
		trusting --config "$T/conf"
	fi
}

# harmful NAME OBJECT [HEALTH]: stored with a trial of half a minute
harmful() {
	stored "$1" 1 "$harm/$2.bpf.o" "{\"trial\":{\"min_s\":1,\"default_s\":30,\"max_s\":60},\"health\":${3:-{\}}}"
}

# taken_back NAME CODE DETAIL: its trial ended that way, by itself, and it is quarantined
taken_back() {
	expect 0 hotfixctl history "$1" -j
	[[ $("$act" field "$out" '.changes[verb=apply].outcome' '.changes[verb=apply].code') =~ ^rolled_back\ $2$ ]] ||
		fail "the outcome is not $2: $(cat "$out")"
	[[ $("$act" field "$out" '.changes[verb=apply].detail') =~ $3 ]] || fail "the detail does not say /$3/: $(cat "$out")"
	hotfix_is "$1" quarantined - -
	[[ $("$act" field "$out" ".hotfixes[name=$1].reason") =~ $3 ]] || fail "the reason does not say /$3/: $(cat "$out")"
	expect 4 hotfixctl apply "$1"
	says quarantine
}

# --- it makes the kernel warn ----------------------------------------------------------------

test_harms_a_congestion_control_that_makes_the_kernel_warn_is_taken_back() {
	echo 1 >/sys/kernel/debug/clear_warn_once
	harmful warns warn
	expect 0 hotfixctl apply warns
	hold harm_warn
	send 256
	eventually idle warns
	taken_back warns HEALTH:warn 'warn is 1, its limit is 0 \(/sys/kernel/warn_count\)'
	expect 0 hotfixctl history -j warns
	expect 0 hotfixctl history --change "$("$act" field "$out" '.changes[verb=apply].id')"
	says '^warn +bad +1 +0 /sys/kernel/warn_count' '^taint +bad +1 +0'
	same ENOENT "$("$act" tcp=harm_warn || :)" "a new socket"
	let_go
}

test_harms_a_warning_while_hotfixd_was_away_counts_when_it_is_back() {
	echo 1 >/sys/kernel/debug/clear_warn_once
	harmful away warn
	expect 0 hotfixctl apply away
	stop KILL
	hold harm_warn
	send 256
	hotfixd --config "$T/conf"
	eventually idle away
	taken_back away HEALTH:warn 'warn is 1, its limit is 0'
	let_go
}

test_harms_with_commit_the_kernel_is_asked_once_as_well() {
	echo 1 >/sys/kernel/debug/clear_warn_once
	harmful late-warn warn
	expect 0 hotfixctl apply late-warn --commit
	hotfix_is late-warn live 1 1
	expect 0 hotfixctl history late-warn -j
	field 'done good' '.changes[verb=apply].outcome' '.changes[verb=apply].evidence.health[check=warn].verdict'
	expect 0 hotfixctl disable late-warn
}

# --- it slows down what everybody calls ----------------------------------------------------

test_harms_a_hot_fix_that_slows_a_hot_path_is_taken_back() {
	harmful slow slow
	expect 7 hotfixctl apply slow --wait=60s
	taken_back slow 'HEALTH:(ns_per_call|cpu_percent)' '(ns_per_call|cpu_percent) is [0-9.e+]+, its limit is [0-9]+ \(BPF program statistics\)'
}

# --- it leaves user space unable to do anything ----------------------------------------------

# denied NAME: from apply to its end nothing forks here, as nothing can
denied() {
	local log_lines line hammer

	"$act" hammer exec >/dev/null &
	hammer=$!
	exec {log_lines}< <(exec tail -n 0 -f "$log")
	hotfixctl apply "$1" --wait=60s >"$out" 2>&1 &
	while IFS= read -r -t "$LIMIT" -u "$log_lines" line; do
		[[ $line = *"change ended"*"hotfix=$1"* ]] && break
	done
	[[ $line = *"change ended"* ]] || fail "it did not end: $line"
	wait $! || :
	kill -TERM "$hammer"
	wait "$hammer" || :
	exec {log_lines}<&-
	expect 0 "$act" exec
}

test_harms_a_hot_fix_that_denies_forks_and_sockets_is_taken_back_by_its_counter() {
	harmful denies deny '{"off":["ns_per_call","cpu_percent"],"limits":{"denials_per_s":5}}'
	denied denies
	taken_back denies HEALTH:denials_per_s 'denials_per_s is [0-9.e+]+, its limit is 5 \(hotfix_counters\)'
}

test_harms_a_hot_fix_that_denies_forks_is_taken_back_by_a_probe_that_cannot_start() {
	harmful probed deny '{"off":["denials_per_s"],"probes":[{"name":"fork","type":"exec","command":["/usr/bin/true"],"every_s":1}]}'
	denied probed
	taken_back probed HEALTH:probe 'probe:fork is 1, its limit is 0 \(exec /usr/bin/true\): .*Operation not permitted'
}

# --- it takes the host down --------------------------------------------------------------------

test_panics_in_its_trial() {
	echo 1 >/proc/sys/kernel/panic_on_warn
	harmful panics warn
	expect 0 hotfixctl apply panics
	sync
	"$act" tcp=harm_warn || :
	hold harm_warn
	send 256
	fail "the kernel did not panic"
}

test_after_it_panicked_the_version_is_quarantined_with_the_cause() {
	hotfix_is panics quarantined - -
	[[ $("$act" field "$out" '.hotfixes[name=panics].reason') =~ 'the host went down while change '[0-9]+' (apply)' ]] ||
		fail "no cause: $(cat "$out")"
	expect 4 hotfixctl apply panics
	says quarantine
	same ENOENT "$("$act" tcp=harm_warn || :)" "a new socket"
}

run_tests "^$boot "
