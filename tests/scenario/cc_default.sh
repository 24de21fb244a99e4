#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# Congestion controls that become the host's default, and that go again; and sockets that stay
# with the version which initialised them.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

default=/proc/sys/net/ipv4/tcp_congestion_control
becomes_default='{"struct_ops":{"default":true}}'
own='{"struct_ops":{"state":"own"}}'

setup() {
	printf '[trial]\nlease = 2s\n' >"$T/conf"
	echo reno >$default
	use shared
	trusting --config "$T/conf"
	stored becomes 1 cc_reno "$becomes_default"
	stored becomes 2 cc_reno_v2 "$becomes_default"
	stored owns 1 cc_control "$own"
	stored owns 2 cc_control_v2 "$own"
}

is_default() { # is_default NAME: and new sockets use it, in their own words
	same "$1" "$(cat $default)" "the default"
	hold ''
	send 16
	let_go
	[[ $answer = *"\"cc\":\"$1\""* ]] || fail "a new socket says $answer"
}

test_a_hot_fix_that_says_so_becomes_the_default() {
	expect 0 hotfixctl apply becomes@1 --trial 600s
	is_default fgn_reno
	expect 0 hotfixctl commit becomes
	is_default fgn_reno
}

test_a_trial_on_top_of_it_keeps_the_default_and_a_rollback_too() {
	expect 0 hotfixctl apply becomes@2 --trial 600s
	is_default fgn_reno
	ran reno_acks 1 "$act" tcp=
	expect 0 hotfixctl rollback becomes
	is_default fgn_reno
	ran reno_acks 0 "$act" tcp=
}

test_a_restarted_daemon_still_knows_what_was_the_default_before() {
	stop KILL
	is_default fgn_reno
	hotfixd --config "$T/conf"
	hotfix_is becomes live 1 1
	expect 0 hotfixctl disable becomes
	is_default reno
}

test_a_rolled_back_first_trial_restores_the_default() {
	expect 0 hotfixctl remove becomes
	stored becomes-too 1 cc_reno "$becomes_default"
	expect 0 hotfixctl apply becomes-too --trial 600s
	is_default fgn_reno
	expect 0 hotfixctl rollback becomes-too
	is_default reno
}

test_a_trial_whose_daemon_died_gives_the_default_back_when_there_is_one_again() {
	expect 0 hotfixctl apply becomes-too --trial 600s
	is_default fgn_reno
	stop KILL
	hotfixd --config "$T/conf"
	# Either it was fast enough to go on with the trial, or the trial is over.
	eventually idle_or_trial
	if [ "$("$act" field "$T/status" '.hotfixes[name=becomes-too].state')" = trial ]; then
		is_default fgn_reno
		# Not before the restarted daemon has settled what its predecessor left.
		eventually hotfixctl rollback becomes-too
	fi
	is_default reno
	expect 0 hotfixctl remove becomes-too
}

idle_or_trial() {
	idle becomes-too || [ "$("$act" field "$T/status" '.hotfixes[name=becomes-too].state')" = trial ]
}

test_a_default_that_somebody_else_changed_is_left_alone() {
	stored polite 1 cc_reno "$becomes_default"
	expect 0 hotfixctl apply polite --commit
	is_default fgn_reno
	echo cubic >$default
	expect 0 hotfixctl disable polite
	is_default cubic
	echo reno >$default
	expect 0 hotfixctl remove polite
}

test_sockets_stay_with_the_version_that_initialised_them_where_it_owns_their_state() {
	expect 0 hotfixctl apply owns@1 --commit
	hold fgn_control
	send 64
	expect 0 hotfixctl apply owns@2 --commit
	ran control_calls 0 send 64
	ran control_calls 1 "$act" tcp=fgn_control
	ran control_calls 0 send 64
	let_go
	expect 0 hotfixctl disable owns
	expect 0 hotfixctl remove owns
}

run_tests "$@"
