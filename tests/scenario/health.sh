#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# kernels: 6.1 6.12-long newest
#
# Health of trials: what is shown of it, limits and probes of the manifest, checks that a host
# does without, and evidence that is missing.  What does harm is in harm.sh.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	one_cc_run_at_a_time
	use shared
	trusting
}

# on_trial NAME HEALTH [LENGTH MAX]: a congestion control, seconds.  What a busy machine makes
# large in an emulated guest has no limit, unless HEALTH says so.
on_trial() {
	local health

	health=$(jq -c '.limits = {ns_per_call: 1e9, loop_stall_ms: 1e9, psi_cpu: 100} + .limits' <<<"$2")
	stored "$1" 1 cc_reno "{\"trial\":{\"min_s\":1,\"default_s\":${3:-600},\"max_s\":${4:-600}},\"health\":$health}"
	expect 0 hotfixctl apply "$1"
}

# Segments enough to judge retransmits by; over loopback one may carry 64 KiB.
traffic() {
	hold fgn_reno
	send 20000
}

gone() {
	eventually hotfixctl remove "$1"
}

# outcome NAME: of its trial, "OUTCOME CODE"
outcome() {
	expect 0 hotfixctl history "$1" -j
	"$act" field "$out" '.changes[verb=apply].outcome' '.changes[verb=apply].code'
}

finding() { # finding NAME CHECK FIELD: in its evidence
	"$act" field "$out" ".changes[verb=apply].evidence.health[check=$2].$3"
}

judged() { # judged NAME: at least once, everything that can be
	hotfixctl show "$1" -j >"$T/judged" && jq -e '(.health | length >= 15) and
		all(.health[]; .verdict == "good" or .verdict == "not judged")' "$T/judged"
}

test_show_has_every_check_of_a_trial_with_its_value_limit_and_source() {
	on_trial shown '{}'
	traffic
	eventually judged shown
	expect 0 hotfixctl show shown -j
	field 'good 0 0 /sys/kernel/oops_count' '.health[check=oops].verdict' '.health[check=oops].value' \
		'.health[check=oops].limit' '.health[check=oops].source'
	field 'not judged' '.health[check=denials_per_s].verdict'
	jq -e '.health[] | select(.check == "ns_per_call") | .value > 0 and .limit == 1e9' "$out" >/dev/null ||
		fail "no cost: $(jq -c '.health[]' "$out")"
	expect 0 hotfixctl show shown
	says '^CHECK +VERDICT +VALUE +LIMIT +SOURCE' '^tcp_retrans_percent +good +[0-9.]+ +10 +/proc/net/snmp'
	expect 0 hotfixctl commit shown
	expect 0 hotfixctl show shown
	says_not '^CHECK +VERDICT'
	same 'done MANUAL' "$(outcome shown)"
	same good "$(finding shown cpu_percent verdict)"
	let_go
	expect 0 hotfixctl disable shown
	gone shown
}

test_a_trial_in_good_health_commits_and_keeps_the_evidence() {
	on_trial well '{"probes":[{"name":"yes","type":"exec","command":["/usr/bin/true"],"every_s":1}]}' 3
	traffic
	eventually committed well
	same 'done TRIAL_PASSED' "$(outcome well)"
	same good "$(finding well probe:yes verdict)"
	same good "$(finding well tcp_resets_per_s verdict)"
	let_go
	expect 0 hotfixctl disable well
	gone well
}

committed() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$1].committed_serial")" = 1 ]
}

test_a_value_above_the_limit_of_the_manifest_ends_the_trial_and_quarantines() {
	on_trial bounded '{"limits":{"cpu_percent":0}}'
	hold fgn_reno
	send 2000 || :
	eventually idle bounded
	same 'rolled_back HEALTH:cpu_percent' "$(outcome bounded)"
	[[ $("$act" field "$out" '.changes[verb=apply].detail') =~ ^'cpu_percent is '[0-9.e-]+', its limit is 0 (BPF program statistics)'$ ]] ||
		fail "the detail: $(cat "$out")"
	same 'bad 0' "$(finding bounded cpu_percent verdict) $(finding bounded cpu_percent limit)"
	expect 0 hotfixctl history --change "$("$act" field "$out" '.changes[verb=apply].id')"
	says '^cpu_percent +bad +[0-9.e-]+ +0 '
	hotfix_is bounded quarantined - -
	expect 4 hotfixctl apply bounded
	says 'HEALTH:cpu_percent'
	let_go
	gone bounded
}

test_a_rollback_by_hand_quarantines_nothing() {
	on_trial by-hand '{}'
	expect 0 hotfixctl rollback by-hand
	hotfix_is by-hand stored - -
	gone by-hand
}

test_a_probe_that_fails_as_often_as_it_may_ends_the_trial() {
	on_trial probed '{"probes":[{"name":"web","type":"exec","failures":2,"every_s":1,
		"command":["/bin/sh","-c","echo as $(id -un); exit 3"]}]}'
	eventually idle probed
	same 'rolled_back HEALTH:probe' "$(outcome probed)"
	field 'probe:web is 2, its limit is 1 (exec /bin/sh): exit status 3: as nobody' '.changes[verb=apply].detail'
	gone probed
}

test_a_tcp_probe_that_nobody_answers_ends_the_trial() {
	on_trial unheard '{"probes":[{"name":"port","type":"tcp","address":"127.0.0.1:1"}]}'
	eventually idle unheard
	same 'rolled_back HEALTH:probe' "$(outcome unheard)"
	gone unheard
}

test_a_check_that_this_host_does_without_is_not_judged() {
	printf '[trial]\nhealth_off = psi_cpu cpu_percent\n' >"$T/conf"
	use without
	trusting --config "$T/conf"
	on_trial free '{"limits":{"cpu_percent":0}}' 2
	traffic
	eventually committed free
	same 'done TRIAL_PASSED' "$(outcome free)"
	same 'not judged' "$(finding free cpu_percent verdict)"
	same 'turned off by this host' "$(finding free cpu_percent note)"
	let_go
	expect 0 hotfixctl disable free
	gone free
}

test_who_waits_for_a_trial_is_told_what_it_waits_for() {
	stored rarely 1 cc_reno '{"trial":{"min_s":1,"default_s":1,"max_s":600,"min_calls":1000000},"health":{"off":["tcp_resets_per_s","tcp_retrans_percent","psi_cpu","psi_io","psi_memory","loop_stall_ms","cpu_percent","ns_per_call"]}}'
	script -qefc "stty cols 60; '$bin/hotfixctl' --socket '$sock' apply rarely --wait" "$T/rarely" </dev/null >/dev/null 2>&1 &
	eventually grep -q 'on trial: .*waits' "$T/rarely"
	expect 0 hotfixctl rollback rarely
	wait $! || :
	tr '\r' '\n' <"$T/rarely" | sed 's/\x1b\[K//' | grep 'on trial:' >"$T/drawn"
	! grep -E '.{60}' "$T/drawn" || fail 'wider than the terminal'
	gone rarely
}

test_evidence_that_is_missing_ends_the_longest_trial_and_is_named() {
	mount --bind /dev/null /proc/pressure/io
	trap 'umount /proc/pressure/io' EXIT
	on_trial blind '{}' 1 15
	traffic
	eventually waits
	eventually idle blind
	same 'rolled_back NO_EVIDENCE' "$(outcome blind)"
	[[ $("$act" field "$out" '.changes[verb=apply].detail') = *'psi_io (/proc/pressure/io: not understood'* ]] ||
		fail "not named: $(cat "$out")"
	same inconclusive "$(finding blind psi_io verdict)"
	hotfix_is blind quarantined - -
	let_go
	gone blind
}

waits() {
	hotfixctl status -j >"$T/status" &&
		[[ $("$act" field "$T/status" '.hotfixes[name=blind].reason') = 'waits for evidence: psi_io '* ]]
}

test_with_commit_what_needs_no_time_must_be_known() {
	mount --bind /dev/null /sys/kernel/oops_count
	trap 'umount /sys/kernel/oops_count' EXIT
	stored blind-too 1 cc_reno
	expect 7 hotfixctl apply blind-too --commit
	says 'oops \(/sys/kernel/oops_count: '
	same 'rolled_back NO_EVIDENCE' "$(outcome blind-too)"
	gone blind-too
}

test_what_is_only_observed_is_evidence_and_not_judged() {
	expect 0 hotfixctl import "$bundles/cve-2026-31431-copyfail@1.hotfix"
	expect 0 hotfixctl apply cve-2026-31431-copyfail@1 --observe --trial 600s
	same ok "$("$act" --uid 65534 bind)"
	eventually observed
	expect 0 hotfixctl rollback cve-2026-31431-copyfail
	expect 0 hotfixctl history cve-2026-31431-copyfail -j
	same 'not judged' "$(finding x denials_per_s verdict)"
	gone cve-2026-31431-copyfail
}

observed() {
	hotfixctl show cve-2026-31431-copyfail -j >"$T/observed" &&
		jq -e 'any(.health[]; .check == "denials_per_s" and
			(.note | test("^observed only: [1-9][0-9]* would have been denied$")))' "$T/observed"
}

# What this machine itself may not take, or not allow.
[ "${WHERE:-native}" = guest ] || unset -f test_evidence_that_is_missing_ends_the_longest_trial_and_is_named \
	test_with_commit_what_needs_no_time_must_be_known \
	test_what_is_only_observed_is_evidence_and_not_judged

run_tests "$@"
