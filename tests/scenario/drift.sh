#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
# kernels: 6.1 6.12-long newest
#
# Somebody else changes in the kernel what hotfixd put there: it is put right or reported, as
# [drift] policy says.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

name=fgn-fmod-ret-getsid
sid() { [ "$("$act" --uid 1000 getsid)" = "$1" ]; }

setup() {
	prepared
	printf '[drift]\ncheck = 500ms\npolicy = report\n' >"$T/report"
	printf '[drift]\ncheck = 500ms\n' >"$T/repair"
	use shared
	trusting --config "$T/repair"
	expect 0 hotfixctl import "$bundles"/foreign/$name@[12].hotfix "$bundles"/foreign/fgn-cc-reno-link@1.hotfix
	expect 0 hotfixctl apply $name@1 --commit
	expect 0 hotfixctl apply $name@2 --commit
	sid ok || fail "serial 2 is not live"
}

# told WHAT: the newest event of drift says so
told() {
	hotfixctl events $name -j | grep '"drift"' | tail -n 1 | grep -q "$1"
}

restored() { # restored N [NAME]: times so far
	hotfixctl history "${2:-$name}" -j >"$T/history" &&
		[ "$("$act" field "$T/history" '.changes[].verb' | tr ' ' '\n' | grep -c restore)" = "$1" ] && idle
}

test_a_gate_that_was_changed_shows_the_committed_version_again() {
	expect 0 "$act" tamper "$bpffs/$name/gate" 1
	eventually told 'serial 1 instead of 2' # maybe it is put right already
	eventually sid ok
	eventually restored 1
	hotfix_is $name live 2 2
}

test_a_link_that_was_removed_is_attached_again() {
	expect 0 hotfixctl rollback $name --to 1
	sid EACCES || fail "serial 1 is not live"
	rm "$bpffs/$name"/slots/*/link
	"$act" --uid 1000 until 20000 ok getsid >"$T/ok" || fail "the link is still there"
	eventually sid EACCES
	eventually told 'not attached'
	eventually restored 2
	expect 0 hotfixctl status -j
	field - ".hotfixes[name=$name].reason"
}

test_what_is_changed_again_is_put_right_again() {
	for n in 3 4 5; do
		rm "$bpffs/$name"/slots/*/link
		eventually restored $n
		sid EACCES || fail "serial 1 is not live after repair $n"
	done
}

test_all_of_it_that_was_removed_is_put_back() {
	find "$bpffs/$name" -depth -delete
	eventually in_force
	hotfix_is $name live 1 1
}

# A survey may have come in the middle of the removal, and another one after it.
in_force() {
	local reason=- lacks=''

	hotfixctl status -j >"$T/status" && reason=$("$act" field "$T/status" ".hotfixes[name=$name].reason")
	idle || lacks+=', not idle'
	sid EACCES || lacks+=', serial 1 is not live'
	[ "$reason" = - ] || lacks+=", $reason"
	[ -e "$bpffs/$name/gate" ] || lacks+=', no gate'
	[ -e "$(echo "$bpffs/$name"/slots/*/link)" ] || lacks+=', no link'
	[ -z "$lacks" ] || { echo "${lacks#, }: $(find "$bpffs/$name" | wc -l) pins" && return 1; }
}

test_a_congestion_control_that_was_taken_off_is_registered_again() {
	expect 0 hotfixctl apply fgn-cc-reno-link --commit
	pins=$bpffs/fgn-cc-reno-link/slots/struct_ops:tcp_congestion_ops
	if [ -e "$pins/link" ]; then
		expect 0 "$act" unregister "$pins/link"
	else
		expect 0 "$act" unregister "$pins/ops"
	fi
	eventually restored 1 fgn-cc-reno-link
	expect 0 "$act" tcp=fgn_reno_link
	hotfix_is fgn-cc-reno-link live 1 1
	expect 0 hotfixctl disable fgn-cc-reno-link
}

test_the_audit_log_has_each_of_them() {
	expect 0 hotfixctl audit -j
	[ "$("$act" field "$out" '.rows[].action' | tr ' ' '\n' | grep -c drift)" -ge 4 ] || fail "$(cat "$out")"
}

test_with_policy_report_it_is_only_said() {
	stop TERM
	hotfixd --config "$T/report" || fail "hotfixd did not start: $(cat "$err")"
	rm "$bpffs/$name"/slots/*/link
	eventually told '"repair": *false'
	hotfixctl status -j >"$out"
	[[ $("$act" field "$out" ".hotfixes[name=$name].reason") = *'not attached'* ]] || fail "$(cat "$out")"
	sid ok || fail "it was put right"
	stop TERM
	hotfixd --config "$T/repair" || fail "hotfixd did not start: $(cat "$err")"
	eventually sid EACCES
}

test_with_the_kill_switch_what_runs_is_no_drift() {
	use switched
	trusting --config "$T/repair"
	expect 0 hotfixctl import "$bundles"/foreign/fgn-lsm-setnice@1.hotfix "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply fgn-lsm-setnice --commit
	expect 0 hotfixctl apply $name --commit
	stop TERM
	touch "$state/no-apply"
	hotfixd --config "$T/repair" || fail "hotfixd did not start: $(cat "$err")"
	# A survey that finds this has seen the other as well.
	rm "$bpffs/$name"/slots/*/link
	eventually told 'not attached'
	hotfixctl events fgn-lsm-setnice -j >"$out"
	says_not drift
	hotfix_is fgn-lsm-setnice live 1 1
}

# What is done and not written must not be taken for something that others did.
test_a_rollback_on_a_full_disk_stays_and_is_written_when_there_is_room() {
	use full
	mkdir -p "$state"
	mount -t tmpfs -o size=4m none "$state"
	trusting --config "$T/repair"
	expect 0 hotfixctl import "$bundles"/foreign/fgn-lsm-setnice@[12].hotfix "$bundles"/foreign/$name@1.hotfix
	expect 0 hotfixctl apply $name --commit
	expect 0 hotfixctl apply fgn-lsm-setnice@1 --commit
	expect 0 hotfixctl apply fgn-lsm-setnice@2 --commit
	head -c 16m /dev/zero >"$state/filler" 2>/dev/null || :
	expect 1 hotfixctl rollback fgn-lsm-setnice
	says 'could not be written'
	# A survey that finds this has seen the other as well.
	rm "$bpffs/$name"/slots/*/link
	eventually told 'not attached'
	hotfix_is fgn-lsm-setnice live 1 2
	rm "$state/filler"
	eventually committed_is 1
	hotfix_is fgn-lsm-setnice live 1 1
	stop KILL
	hotfixd || fail "hotfixd did not start: $(cat "$err")"
	hotfix_is fgn-lsm-setnice live 1 1
}

committed_is() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" '.hotfixes[name=fgn-lsm-setnice].committed_serial')" = "$1" ]
}

test_nothing_of_all_that_is_left() {
	expect 0 hotfixctl disable $name
	expect 0 hotfixctl remove $name
	expect 0 hotfixctl remove fgn-cc-reno-link
	same '' "$(find "$bpffs" -mindepth 1)" "what is left in bpffs"
}

run_tests "$@"
