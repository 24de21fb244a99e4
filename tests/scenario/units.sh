#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
#
# Loop and parent as two units of systemd start them: the loop as its user, with nothing, and a
# parent for each connection of it; the units themselves, as systemd-analyze judges them.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	one_cc_run_at_a_time
	keys
}

# units NAME: from here on hotfixd is the loop of this instance, and a parent is there for it
units() {
	use "$1"
	parents=$T/$1/parent real=$bin
	mkdir "$T/$1/bin"
	cat >"$T/$1/bin/hotfixd" <<-END
		#!/bin/sh
		exec setpriv --reuid $user --regid $user --clear-groups --inh-caps=-all --bounding-set=-all \\
			"$real/hotfixd" loop --parent-socket "$parents" "\$@"
	END
	chmod +x "$T/$1/bin/hotfixd"
	ln -s "$bin/hotfixctl" "$T/$1/bin/"
	setpriv --pdeathsig KILL "$act" activate "$user" "$parents" "$bin/hotfixd" parent --state-dir "$state" --socket "$sock" \
		--bpffs "$bpffs" --user "$user" >>"$log" 2>&1 {cc_lock}>&- &
	eventually test -S "$parents"
	bin=$T/$1/bin
}

parent_pid() {
	expect 0 hotfixctl status -j
	"$act" field "$out" .daemon.pid
}

ended() {
	"$act" wait "$((LIMIT * 1000))" "$1" || fail "pid $1 did not end"
}

live() {
	hotfixctl status -j >"$T/status" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$1].live_serial")" = "$2" ]
}

test_a_loop_that_has_nothing_connects_and_all_of_it_works() {
	local field loop
	units whole
	trusting
	loop=$(daemon_pid)
	expect 0 hotfixctl status -j
	json .daemon.user "$user"
	json .daemon.loop_pid "$loop"
	for field in "Uid:$user" CapEff:0000000000000000 CapPrm:0000000000000000 NoNewPrivs:1 Seccomp:2; do
		same "${field#*:}" "$(awk -v k="${field%%:*}:" '$1 == k { print $2 }' "/proc/$loop/status")" "$field"
	done
	same 0 "$(stat -c %u "/proc/$(parent_pid)")" "the parent's user"
	stored both 1 cc_reno
	expect 0 hotfixctl apply both --commit
	hotfix_is both live 1 1
	same ok "$("$act" tcp=fgn_reno || :)"
	expect 0 hotfixctl disable both
	expect 0 hotfixctl remove both
}

test_whichever_of_them_ends_the_next_ones_adopt_what_runs() {
	local before loop parent
	units again
	trusting
	stored again 1 cc_reno
	stored again 2 cc_reno_v2
	expect 0 hotfixctl apply again@1 --commit
	expect 0 hotfixctl apply again@2 --trial 600s
	before=$(find "$bpffs" -exec stat -c '%n %i' {} + | sort)

	loop=$(daemon_pid)
	parent=$(parent_pid)
	kill -9 "$loop"
	ended "$parent"
	hotfixd
	eventually live again 2
	parent=$(parent_pid)
	kill -9 "$parent"
	ended "$(daemon_pid)"
	hotfixd
	eventually live again 2
	hotfix_is again trial 2 1 2
	same "$before" "$(find "$bpffs" -exec stat -c '%n %i' {} + | sort)" "what is pinned"
	expect 0 hotfixctl rollback again
	expect 0 hotfixctl disable again
	expect 0 hotfixctl remove again
}

test_who_is_asked_to_stop_has_the_other_stop_as_well() {
	local parent
	units stops
	hotfixd
	parent=$(parent_pid)
	kill -TERM "$parent"
	wait "$(daemon_pid)" || fail "exit status $? of the loop"
	ended "$parent"
	[ ! -e "$sock" ] || fail "the socket is still there"
	rm "$T/stops/pid"
	hotfixd
	parent=$(parent_pid)
	kill -TERM "$(daemon_pid)"
	wait "$(daemon_pid)" || fail "exit status $? of the loop"
	ended "$parent"
	[ ! -e "$sock" ] || fail "the socket is still there"
}

test_the_parent_serves_nobody_but_its_user() {
	local other
	units others
	chmod 666 "$parents"
	for other in 0 64243; do
		expect 11 setpriv --reuid "$other" --regid "$other" --clear-groups "$real/hotfixd" loop \
			--parent-socket "$parents" --state-dir "$state" --socket "$sock" --bpffs "$bpffs" --user "$user"
		says "serves the user $user alone"
	done
	[ ! -e "$state" ] || fail "it made a state directory for a stranger"
	hotfixd
	serves
}

test_a_second_loop_is_refused_and_the_first_serves_on() {
	local first
	units second
	hotfixd
	first=$(daemon_pid)
	expect 9 "$bin/hotfixd" --state-dir "$state" --socket "$sock" --bpffs "$bpffs" --user "$user"
	says 'another hotfixd'
	echo "$first" >"$T/second/pid"
	serves
}

test_without_anybody_to_connect_to_it_says_what_is_missing() {
	use nobody
	expect 10 "$bin/hotfixd" loop --parent-socket "$T/nobody/parent" --state-dir "$state"
	says hotfixd-parent.socket
	expect 2 "$bin/hotfixd" parent --state-dir "$state"
	says 'not by hand'
}

# --- the units ------------------------------------------------------------------------------

analyze() {
	command -v systemd-analyze >/dev/null || skip 'no systemd-analyze here'
	install -D -t "$T/installed/usr/local/sbin" "$bin/hotfixd"
	install -D -m 644 -t "$T/installed/usr/lib/systemd/system" server/*.service server/*.socket
}

# exposure UNIT TENTHS: is not above that many tenths
exposure() {
	systemd-analyze --no-pager --root="$T/installed" security --offline=true --threshold="$2" "$1" >"$out" 2>&1 ||
		fail "$(grep -a 'Overall exposure' "$out")"
}

test_the_unit_of_the_loop_is_exposed_to_2_at_most() {
	analyze
	exposure hotfixd.service 20
}

test_the_units_say_nothing_that_systemd_does_not_know() {
	analyze
	systemd-analyze --no-pager --root="$T/installed" verify --man=no hotfixd.service hotfixd-parent.socket \
		hotfixd-parent@1.service >"$out" 2>&1 || fail "$(cat "$out")"
	! grep -F hotfixd "$out" || fail "$(cat "$out")"
}

run_tests "$@"
