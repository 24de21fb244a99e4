#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# kernels: 6.12
# timeout: 600
#
# Calls that fail, one after the other: the disk is full, a write or a sync fails, the kernel
# refuses, memory runs out in hotfixd or a worker (tests/fault/matrix.c, --errors); and another
# process holds the database.  What runs is the old version or the new one, nothing is lost,
# nothing is left, hotfixd serves on or ends with a message and starts again.
#
# Run by `make check`: about 24 calls of each kind, spread over all, here with a congestion
# control.  `make check-long`: every single call, and in the guest with a slot.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$B" = build ] || { echo "what is preloaded has the allocator, and so has a sanitizer" && exit 77; }

WHERE=${WHERE:-native}
name=$([ "$WHERE" = guest ] && echo fgn-fmod-ret-getsid || echo fgn-cc-reno)

setup() {
	prepared
	[ "$WHERE" = guest ] || one_cc_run_at_a_time
}

each_call_that_fails() {
	local options=(--errors ${LONG:+--all})

	[ "$WHERE" = native ] || options+=(--alone)
	use errors
	"$B/tests/fault/matrix" "$bin/hotfixd" "$PWD/$B/tests/fault/fault.so" "$T/errors" "$bpffs" \
		"$bundles" "$name" "${options[@]}" "$1" >"$T/lines" 2>&1 || {
		cat "$T/lines"
		fail "$(grep '^not ok' "$T/lines" | head -n 3)"
	}
	cat "$T/lines" >&3
}

verbs='import apply switch rollback disable start'
[ "$WHERE" = native ] || verbs=${LONG:+apply disable}
for verb in $verbs; do
	add_test "each call that fails in $verb" "each_call_that_fails $verb"
done

hold_database() {
	coproc SQL { exec sqlite3 -batch "$state/state.db"; }
	printf '%s\n' 'BEGIN IMMEDIATE;' 'SELECT 1;' >&"${SQL[1]}"
	read -r -t "$LIMIT" -u "${SQL[0]}" _ || fail "the database cannot be locked"
}

release_database() {
	local pid=$SQL_PID

	echo 'COMMIT;' >&"${SQL[1]}"
	eval "exec ${SQL[1]}>&-"
	wait "$pid"
}

test_another_process_that_holds_the_database_stops_changes_but_no_way_back() {
	use busy
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@[12].hotfix
	expect 0 hotfixctl apply $name@1 --commit
	hold_database
	expect 1 hotfixctl import "$bundles/foreign/$name@2.hotfix" "$bundles/foreign/fgn-loops@1.hotfix"
	says 'another process has been writing'
	expect 1 hotfixctl apply $name@2 --commit
	hotfix_is $name live 1 1
	release_database
	expect 0 hotfixctl apply $name@2 --commit
	hold_database
	expect 1 hotfixctl rollback $name
	says 'was rolled back' 'could not be written' 'tried again'
	hotfix_is $name live 1 2
	release_database
	expect 0 hotfixctl rollback $name
	hotfix_is $name live 1 1
	hold_database
	expect 1 hotfixctl disable $name
	says 'out of the kernel' 'could not be written'
	release_database
	eventually hotfix_state_is disabled
	expect 0 hotfixctl audit --verify
	expect 0 hotfixctl remove $name
}

hotfix_state_is() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$name].state")" = "$1" ]
}

test_how_a_trial_ended_while_another_process_held_the_database_is_written_when_it_lets_go() {
	use owed
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@[12].hotfix
	expect 0 hotfixctl apply $name@1 --commit
	expect 0 hotfixctl apply $name@2
	hold_database
	expect 0 hotfixctl rollback $name
	hotfix_is $name live 1 1
	expect 0 hotfixctl history --change 2
	says 'outcome +rolled_back' 'rolled back by hand'
	same '' "$(sqlite3 "$state/state.db" 'SELECT outcome FROM change WHERE id = 2')" "the outcome in the database"
	release_database
	eventually written rolled_back
	expect 0 hotfixctl audit --verify
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
}

written() {
	[ "$(sqlite3 -readonly "$state/state.db" 'SELECT outcome FROM change WHERE id = 2')" = "$1" ]
}

exec 3>&1
run_tests "$@"
