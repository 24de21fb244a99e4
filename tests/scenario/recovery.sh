#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
# kernels: 6.1 6.12-long newest
#
# Starting after something went wrong: a daemon killed in the middle of every kind of change, a
# lost database, pins that somebody removed or put there.  What status says is what runs.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	prepared
	census >"$T/census"
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/fgn-fmod-ret-getsid@[12].hotfix
}
name=fgn-fmod-ret-getsid times=$([ -n "${LONG:-}" ] && echo 20 || echo 2)

# What runs, by what it does: serial 1 denies getsid() to all users, 2 to nobody alone.
running() {
	case $("$act" --uid 1000 getsid || :)/$("$act" --uid 65534 getsid || :) in
	ok/ok) running=- ;;
	EACCES/EACCES) running=1 ;;
	ok/EACCES) running=2 ;;
	*) fail "neither of the versions behaves like this" ;;
	esac
}

consistent() { # status and kernel tell the same, and nothing is under way
	eventually idle
	running
	expect 0 hotfixctl status -j
	field "$running" ".hotfixes[name=$name].live_serial"
}

# interrupted VERB ARGUMENT...: kill -9 at some moment after it began; then a new start
interrupted() {
	local begun

	begun=$(grep -c 'change begun' "$log" || :)
	hotfixctl "$@" >"$T/interrupted" 2>&1 &
	eventually more_begun "$begun"
	sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
	stop KILL
	wait $! || :
	running
	hotfixd
	consistent
}

more_begun() {
	[ "$(grep -c 'change begun' "$log")" -gt "$1" ]
}

# be SERIAL: committed and live, whatever was before
be() {
	running
	[ "$running" != "$1" ] || return 0
	eventually idle
	lifted $name 1
	lifted $name 2
	case $running in
	-) hotfixctl enable $name >/dev/null 2>&1 || hotfixctl apply $name@1 --commit >/dev/null 2>&1 || : ;;
	esac
	running
	case $1/$running in
	1/2) expect 0 hotfixctl rollback $name ;;
	2/1) expect 0 hotfixctl apply $name@2 --commit ;;
	esac
	running
	same "$1" "$running" "the live version"
}

test_kill_9_in_an_apply() {
	for _ in $(seq $times); do
		be 1
		interrupted apply $name@2 --commit
	done
}

test_kill_9_in_a_rollback() {
	for _ in $(seq $times); do
		be 2
		interrupted rollback $name
	done
}

test_kill_9_in_a_disable_and_it_is_taken_up_again() {
	for _ in $(seq $times); do
		be 1
		interrupted disable $name
		same - "$running" "what runs after disable was begun"
		hotfix_is $name disabled - 1
	done
}

test_kill_9_in_an_enable() {
	for _ in $(seq $times); do
		be 1
		expect 0 hotfixctl disable $name
		interrupted enable $name
	done
}

test_kill_9_in_a_remove_and_it_is_taken_up_again() {
	be 1
	expect 0 hotfixctl disable $name
	interrupted remove $name
	if hotfixctl show $name >/dev/null 2>&1; then
		expect 0 hotfixctl remove $name
	fi
	eventually same_census "$T/census"
	same '' "$(find "$bpffs" -mindepth 1)" "what is left in bpffs"
	expect 0 hotfixctl audit --verify
}

test_a_lost_database_leaves_what_runs_and_it_can_be_taken_off() {
	use lost
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply $name --commit
	stop KILL
	rm -rf "$state"
	hotfixd
	running
	same 1 "$running" "what runs without a database"
	expect 0 hotfixctl status -j
	field '1 true' ".hotfixes[name=$name].live_serial" ".hotfixes[name=$name].adopted"
	[[ $("$act" field "$out" ".hotfixes[name=$name].reason") = *store* ]] || fail "it does not say so: $(cat "$out")"
	expect 0 hotfixctl disable $name
	running
	same - "$running" "what runs after disable"
	expect 3 hotfixctl remove $name
	expect 0 hotfixctl status -j
	field 0 .hotfixes.#
	eventually same_census "$T/census"
}

test_a_lost_database_can_be_filled_again() {
	use refill
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply $name --commit
	stop KILL
	rm -rf "$state"
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@[12].hotfix
	expect 0 hotfixctl apply $name@2 --commit
	hotfix_is $name live 2 2
	running
	same 2 "$running" "what runs"
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
	eventually same_census "$T/census"
}

test_a_pin_that_somebody_removed_is_put_back_at_the_next_start() {
	use unpinned
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply $name --commit
	stop KILL
	find "$bpffs/$name" -depth -delete
	eventually off
	hotfixd
	eventually on
	consistent
	hotfix_is $name live 1 1
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
	eventually same_census "$T/census"
}

no_reno() { [ "$("$act" tcp=fgn_reno)" = ENOENT ]; }
off() { [ "$("$act" --uid 1000 getsid)" = ok ]; }
on() { [ "$("$act" --uid 1000 getsid)" = EACCES ]; }

# Beside the gate there is more to bring into line: sleepable programs, registrations.
test_kill_9_between_the_gate_and_the_rest() {
	local sealed=fgn-lsm-sleepable-rmdir

	expect 0 hotfixctl import "$bundles"/foreign/$sealed@[12].hotfix
	expect 0 hotfixctl apply $sealed@1 --commit
	for _ in $(seq $times); do
		expect 0 hotfixctl apply $sealed@2 --commit
		interrupted_at_once rollback $sealed
		sealed_by $sealed
		eventually idle
		[ "$(live_serial $sealed)" = 1 ] || expect 0 hotfixctl rollback $sealed
		sealed_by $sealed
	done
	expect 0 hotfixctl disable $sealed
	expect 0 hotfixctl remove $sealed
}

interrupted_at_once() {
	local begun

	begun=$(grep -c 'change begun' "$log" || :)
	hotfixctl "$@" >"$T/interrupted" 2>&1 &
	until more_begun "$begun"; do :; done
	stop KILL
	wait $! || :
	hotfixd
}

live_serial() {
	hotfixctl status -j >"$T/status"
	"$act" field "$T/status" ".hotfixes[name=$1].live_serial"
}

# The live version, and it alone, keeps its directory from being removed.
sealed_by() {
	local live

	eventually idle
	live=$(live_serial "$1")
	mkdir -p "$T/sealed-1" "$T/sealed-2"
	case $live in
	1) same 'EPERM ok' "$("$act" "rmdir=$T/sealed-1" "rmdir=$T/sealed-2" | tr '\n' ' ' | sed 's/ $//')" "serial 1" ;;
	2) same 'ok EPERM' "$("$act" "rmdir=$T/sealed-1" "rmdir=$T/sealed-2" | tr '\n' ' ' | sed 's/ $//')" "serial 2" ;;
	*) fail "live is $live" ;;
	esac
}

test_a_registration_that_somebody_removed_is_put_back_at_the_next_start() {
	use unregistered
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/fgn-cc-reno@[12].hotfix
	expect 0 hotfixctl apply fgn-cc-reno@1 --commit
	"$act" tcp=fgn_reno
	stop KILL
	for pin in "$bpffs"/fgn-cc-reno/slots/struct_ops:*; do
		if [ -e "$pin/link" ]; then
			rm "$pin/link"
		else
			"$act" unregister "$pin/ops"
		fi
	done
	eventually no_reno
	hotfixd
	eventually "$act" tcp=fgn_reno
	eventually idle
	hotfix_is fgn-cc-reno live 1 1
	expect 0 hotfixctl apply fgn-cc-reno@2 --commit
	"$act" tcp=fgn_reno
	expect 0 hotfixctl disable fgn-cc-reno
	expect 0 hotfixctl remove fgn-cc-reno
	eventually same_census "$T/census"
}

test_a_link_that_somebody_removed_is_put_back_at_the_next_start() {
	use unlinked
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@[12].hotfix
	expect 0 hotfixctl apply $name@1 --commit
	expect 0 hotfixctl apply $name@2 --commit
	expect 0 hotfixctl rollback $name
	rm "$bpffs/$name"/slots/*/link
	eventually off
	stop KILL
	hotfixd
	eventually on
	consistent
	hotfix_is $name live 1 1
	# The other version is still warm, and still there.
	expect 0 hotfixctl rollback $name --to 2
	consistent
	hotfix_is $name live 2 2
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
	eventually same_census "$T/census"
}

test_strange_things_among_the_pins_are_told_of_and_stop_nobody() {
	use strange
	trusting
	expect 0 hotfixctl import "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply $name --commit
	stop KILL
	mkdir "$bpffs/empty" "$bpffs/NotAName" "$bpffs/half" "$bpffs/half/slots"
	ln -s "$bpffs/$name/gate" "$bpffs/half/gate" 2>/dev/null || :
	hotfixd
	consistent
	hotfix_is $name live 1 1
	serves
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
}

run_tests "$@"
