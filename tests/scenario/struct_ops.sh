#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
#
# Congestion controls: live sockets that follow every switch, names that clash, versions with
# other members, and a registration that outlives the daemon.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	one_cc_run_at_a_time
	use shared
	trusting
}

# --- live sockets --------------------------------------------------------------------------------

test_a_live_socket_follows_every_switch() {
	stored live-cc 1 cc_reno
	stored live-cc 2 cc_reno_v2
	expect 0 hotfixctl apply live-cc@1 --commit
	hold fgn_reno
	send 64
	expect 0 hotfixctl apply live-cc@2 --trial 60s
	ran reno_acks 1 send 64
	expect 0 hotfixctl commit live-cc
	ran reno_acks 1 send 64
	expect 0 hotfixctl rollback live-cc
	ran reno_acks 0 send 64
	[[ $answer = *'"cc":"fgn_reno"'* ]] || fail "the socket uses another: $answer"
	let_go
	expect 0 hotfixctl disable live-cc
	expect 0 hotfixctl remove live-cc
}

test_a_live_socket_survives_disable_and_remove() {
	census >"$T/census"
	stored gone-cc 1 cc_control
	expect 0 hotfixctl apply gone-cc --commit
	hold fgn_control
	send 64
	expect 0 hotfixctl disable gone-cc
	send 256
	same ENOENT "$("$act" tcp=fgn_control || :)" "a new socket"
	expect 0 hotfixctl remove gone-cc
	send 256
	let_go
	nothing_left gone-cc control_calls "$T/census"
}

test_new_sockets_cannot_use_what_was_rolled_back_before_its_first_commit() {
	stored short-cc 1 cc_reno
	expect 0 hotfixctl apply short-cc --trial 60s
	same ok "$("$act" tcp=fgn_reno)"
	expect 0 hotfixctl rollback short-cc
	hotfix_is short-cc stored - -
	same ENOENT "$("$act" tcp=fgn_reno || :)" "tcp=fgn_reno"
	expect 0 hotfixctl remove short-cc
	nothing_left short-cc reno_acks
}

test_a_name_that_the_kernel_has_already_is_refused() {
	local before

	before=$(cat /proc/sys/net/ipv4/tcp_available_congestion_control)
	stored clash 1 "$bad/cc_clash.bpf.o"
	expect 9 hotfixctl apply clash --commit
	says cubic
	hotfix_is clash failed - -
	same "$before" "$(cat /proc/sys/net/ipv4/tcp_available_congestion_control)"
	expect 0 hotfixctl remove clash
	serves
}

test_a_name_of_another_hot_fix_is_refused_and_that_one_runs_on() {
	stored first 1 cc_reno
	stored second 1 "$bad/cc_clash_foreign.bpf.o"
	expect 0 hotfixctl apply first --commit
	expect 9 hotfixctl apply second --commit
	says fgn_reno
	"$act" tcp=fgn_reno
	hotfix_is first live 1 1
	hotfix_is second failed - -
	expect 0 hotfixctl disable first
	expect 0 hotfixctl remove first
	expect 0 hotfixctl apply second --commit
	"$act" tcp=fgn_reno
	expect 0 hotfixctl disable second
	expect 0 hotfixctl remove second
}

# Our dispatchers would hide what is missing: the version itself has to be whole.
test_ops_that_the_kernel_would_not_register_are_refused() {
	stored incomplete 1 "$bad/cc_incomplete.bpf.o"
	expect 6 hotfixctl apply incomplete --commit
	says fgn_incomplete ssthresh
	hotfix_is incomplete failed - -
	same ENOENT "$("$act" tcp=fgn_incomplete || :)" "tcp=fgn_incomplete"
	expect 0 hotfixctl remove incomplete
	serves
}

test_versions_with_other_members_replace_each_other() {
	# cong_avoid and cong_control cannot be served by one registration
	stored members 1 "$foreign/cc_reno_link.bpf.o"
	stored members 2 "$PWD/$B/tests/scenario/cc_members.bpf.o"
	expect 0 hotfixctl apply members@1 --commit
	"$act" tcp=fgn_reno_link
	expect 0 hotfixctl apply members@2 --commit
	ran control_calls 0 "$act" tcp=fgn_reno_link
	expect 0 hotfixctl rollback members
	ran reno_link_acks 0 "$act" tcp=fgn_reno_link
	expect 0 hotfixctl disable members
	expect 0 hotfixctl remove members
}

# --- the daemon goes ---------------------------------------------------------------------------

test_a_congestion_control_outlives_the_daemon_and_is_adopted() {
	use outlive
	trusting
	stored outlive 1 cc_reno
	stored outlive 2 cc_reno_v2
	expect 0 hotfixctl apply outlive@1 --commit
	hold fgn_reno
	stop KILL
	send 64
	"$act" tcp=fgn_reno
	hotfixd || fail "no restart: $(cat "$err")"
	hotfix_is outlive live 1 1
	field true '.hotfixes[name=outlive].adopted'
	expect 0 hotfixctl history outlive -j
	same 0 "$(jq '[.changes[] | select(.verb == "restore")] | length' "$out")" "restores"
	expect 0 hotfixctl apply outlive@2 --commit
	ran reno_acks 1 send 64
	expect 0 hotfixctl rollback outlive
	ran reno_acks 0 send 64
	let_go
	expect 0 hotfixctl disable outlive
	same ENOENT "$("$act" tcp=fgn_reno || :)" "tcp=fgn_reno"
	expect 0 hotfixctl remove outlive
	nothing_left outlive reno_acks
}

run_tests "$@"
