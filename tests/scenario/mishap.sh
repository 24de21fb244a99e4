#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
# kernels: newest
#
# README.md, "When a hot-fix does harm": its commands as they are written, in their order.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

id=cve-2026-31431-copyfail
section='When a hot-fix does harm'

setup() {
	prepared
	printf '[trial]\nlease = 2s\n' >"$T/short"
	use shared
	trusting --config "$T/short"
	expect 0 hotfixctl import "$bundles"/$id@[12].hotfix
	expect 0 hotfixctl apply $id@1 --commit
	commands >"$T/commands"
	[ "$(wc -l <"$T/commands")" -ge 10 ] || fail "README has only: $(cat "$T/commands")"
}

commands() {
	awk -v s="## $section" '/^## / { on = $0 == s } on && /^    hotfixctl/' README.md |
		sed 's/^    //; s/[[:space:]]*#.*//'
}

trigger() { "$PWD/$B/patches/$id/trigger" "$@"; }

# Serial 1 denies what serial 2 lets through.
back_to_1() { ! trigger --legit; }

judged() {
	[ "$(hotfixctl show $id -j | "$act" field - '.health[check=oops].verdict')" = good ]
}

# run VERB [STATUS]: the README's line with that verb
run() {
	local line

	line=$(grep -m 1 "^hotfixctl $1\b" "$T/commands") || fail "README has no $1"
	sed -i "0,/^hotfixctl $1\b/{/^hotfixctl $1\b/d}" "$T/commands"
	HOTFIXD_SOCKET=$sock PATH=$bin:$PATH expect "${2:-0}" bash -c "$line"
}

test_what_happened_and_why() {
	expect 0 hotfixctl apply $id@2 --trial 600s
	run status
	says "$id +trial"
	eventually judged
	run show
	says '^oops +good' '/proc/pressure/io'
	run history
	run 'history --change'
	says committed
}

test_by_hand_the_mildest_first() {
	run observe
	expect 1 trigger
	run rollback
	hotfix_is $id live 1 1
	run disable
	expect 1 trigger
	run enable
	expect 0 trigger
}

test_a_quarantine_is_lifted_and_nothing_was_held_back() {
	expect 0 hotfixctl apply $id@2 --trial 600s
	stop KILL
	eventually back_to_1 # the lease ended
	hotfixd --config "$T/short" || fail "hotfixd did not start: $(cat "$err")"
	eventually idle
	expect 4 hotfixctl apply $id@2
	says quarantine
	run retry
	expect 0 hotfixctl apply $id@2 --commit
	run resume 9
}

test_no_command_is_left_out() {
	local verb

	for verb in status show history 'history --change' observe rollback disable enable retry resume; do
		sed -i "0,/^hotfixctl $verb\b/{/^hotfixctl $verb\b/d}" "$T/commands"
	done
	same '' "$(cat "$T/commands")" "commands that nothing tests:"
}

run_tests "$@"
