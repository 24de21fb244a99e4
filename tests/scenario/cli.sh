#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# hotfixctl at the hands of a tired person: what it says, and with which status it ends.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
	stored one 1 cc_reno
	stored gone 1 cc_reno
	expect 0 hotfixctl remove gone # an event
}

# typed KEYS COMMAND: on a terminal of its own; KEYS are typed once it asks for something
typed() {
	local keys pid

	: >"$T/terminal"
	mkfifo "$T/keys"
	exec {keys}<>"$T/keys"
	script -qfec "$2" "$T/terminal" <"$T/keys" &
	pid=$!
	eventually grep -q ': $' "$T/terminal"
	printf '%b' "$1" >&"$keys"
	wait "$pid"
}

test_words_that_do_not_arrive_are_a_failure() {
	local words

	for words in --help --version 'apply --help' help status 'status -j' events 'completion bash'; do
		# shellcheck disable=SC2086	# words
		expect 1 eval "hotfixctl $words >/dev/full"
		says 'no space'
	done
	expect 0 eval 'hotfixctl events | :'
	expect 1 eval '"$bin/hotfixd" --help >/dev/full'
	expect 1 eval '"$bin/hotfixd" -n >/dev/full'
}

test_ctrl_c_at_a_passphrase_is_an_interruption_and_leaves_no_key() {
	expect 130 typed '\003' "$bin/hotfixctl key new --out $T/interrupted"
	says interrupted
	! [ -e "$T/interrupted.sec" ] || fail "there is a key"
}

test_a_serial_where_none_is_taken_is_refused() {
	local verb

	for verb in show commit rollback disable enable history events; do
		expect 2 hotfixctl "$verb" one@1
		says 'without @SERIAL'
	done
}

test_a_duration_behind_wait_is_explained() {
	expect 2 hotfixctl apply one --wait 90s
	says '--wait=90s'
}

test_of_a_refused_file_the_name_is_told() {
	echo 'no bundle' >"$T/nobundle"
	expect 4 hotfixctl import "$T/nobundle"
	says "$T/nobundle"
}

test_without_a_daemon_importing_many_says_so_once() {
	expect 10 "$bin/hotfixctl" --socket "$T/none" import "$T/one@1.hotfix" "$T/one@1.hotfix"
	same 1 "$(grep -c 'cannot be reached' "$err")" "times told"
}

run_tests "$@"
