#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 600
#
# A hotfixd of this machine, with a congestion control, and a controller: from the ticket to a rollout,
# its undoing, and what happens without the controller.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"
heartbeat=2s
also_named=localhost
enroll_listen=127.0.0.1:0
# shellcheck source=tests/fleet/lib.sh
. "$PWD/tests/fleet/lib.sh"

setup() {
	one_cc_run_at_a_time
	fleet_new
	controller_start one {cc_lock}>&-
	expect 0 fleet trust import "$F/root"
	expect 0 fleet enroll token -j
	jq -r .token "$out" >"$F/token"
	chmod 644 "$F/token"
	use member
	cat >"$T/member/conf" <<-END
		[trial]
		health_off = tcp_retrans_percent tcp_resets_per_s ns_per_call cpu_percent loop_stall_ms psi_cpu psi_io psi_memory
		[fleet]
		enroll = https://localhost:$(port_of one enroll)
		controller = https://127.0.0.1:$(port_of one agents)
		token_file = $F/token
		min_interval = 0s
		labels = role=web
	END
	hotfixd --config "$T/member/conf" || fail "$(cat "$err")"
	expect 0 hotfixctl trust import "$F/root"
	for serial in 1 2; do
		"$bin/hotfixctl" pack --object "$foreign/cc_reno$([ $serial = 1 ] || echo _v2).bpf.o" --name one --serial $serial \
			--manifest <(echo '{"trial":{"min_s":1,"default_s":1,"max_s":600}}') --key "$F/release.sec" \
			--out "$F/one@$serial.hotfix" >"$T/pack.log" 2>&1 || fail "$(cat "$T/pack.log")"
	done
	expect 0 fleet stock add "$F/one@1.hotfix" "$F/one@2.hotfix"
	cat >"$F/quick.json" <<-'END'
		{"canary": {"bake": "1s"}, "waves": [{"percent": 100, "bake": "1s"}], "trial": "1s",
		"max_in_flight": "100%", "max_per_domain": "100%", "retries": 0, "dynamic": false}
	END
	eventually enrolled
}

enrolled() { fleet host list -j | jq -e '.hosts | length == 1 and .[0].kernel != "" and .[0].labels.role == "web"'; }

# rolled NAME@SERIAL STATUS
rolled() {
	use member
	expect "$2" fleet rollout start "$1" --spec "$F/quick.json" --watch --wait 80s --until-paused
}

test_a_rollout_reaches_this_machine() {
	rolled one@1 0
	hotfix_is one live 1 1
	expect 0 hotfixctl audit -j
	json '[.rows[] | select(.action == "fleet") | .result] | @csv' '"begun"'
}

test_the_next_one_comes_after_a_restart_of_both() {
	use member
	controller_end one KILL
	stop KILL
	hotfixd --config "$T/member/conf"
	hotfix_is one live 1 1
	controller_start one {cc_lock}>&-
	rolled one@2 0
	hotfix_is one live 2 2
}

test_it_is_undone_and_the_version_before_runs() {
	local id

	use member
	expect 0 fleet rollout list -j
	id=$(jq -r '[.rollouts[] | select(.serial == 2)][0].id' "$out")
	expect 0 fleet rollout undo "$id" --reason 'a test'
	eventually live_is 1
	hotfix_is one live 1 1
}

# again_with MIN_INTERVAL: this member, with another setting
again_with() {
	sed -i "s/^min_interval = .*/min_interval = $1/" "$T/member/conf"
	stop TERM
	hotfixd --config "$T/member/conf"
}

test_a_host_that_waits_is_shown_with_its_reason() {
	local host id

	use member
	host=$(fleet host list -j | jq -r '.hosts[0].name')
	again_with 1h
	expect 0 fleet rollout start one@2 --spec "$F/quick.json"
	id=$(cat "$out")
	eventually waits_for INTERVAL
	expect 0 fleet rollout status "$id"
	says 'WAITS FOR' 'staged .* INTERVAL'
	expect 0 fleet host show "$host"
	says 'min_interval since the last one has not passed'
	expect 0 fleet rollout abort "$id"
	touch "$state/freeze"
	again_with 0s
	eventually frozen_is true
	expect 0 fleet rollout plan one@2 --spec "$F/quick.json"
	says 'left out, hold \(freeze file of the host\): 1'
	expect 0 fleet host show "$host"
	says 'frozen by a file there'
	rm "$state/freeze"
	eventually frozen_is false
}

waits_for() { fleet rollout status -j "$id" | jq -e ".waiting[0].code == \"$1\""; }

frozen_is() { fleet host list -j | jq -e ".hosts[0].health.freeze == $1"; }

live_is() { hotfixctl status -j | jq -e ".hotfixes[] | select(.name == \"one\") | .live_serial == ${1:-null} and .change == null"; }

test_what_came_first_is_taken_off_when_its_rollout_is_undone() {
	local id

	use member
	# As before any of it.
	expect 0 hotfixctl disable one
	expect 0 hotfixctl remove one
	eventually told_free # what was disabled by hand is held: a plan would leave it out
	rolled one@1 0
	expect 0 fleet rollout list -j
	id=$(jq -r '[.rollouts[] | select(.serial == 1)] | sort_by(.created) | last | .id' "$out")
	expect 0 fleet rollout undo "$id" --reason 'a test'
	eventually off
	expect 0 hotfixctl history one -j
	json '.changes[0].verb' take_off
}

told_free() { fleet host list -j | jq -e '.hosts[0].hotfixes.one | .held != true and (.committed // 0) == 0'; }

off() { hotfixctl status -j | jq -e '.hotfixes[] | select(.name == "one") | .live_serial == null and (.committed_serial // 0) == 0'; }

test_without_its_controller_a_host_keeps_what_it_has_and_says_so() {
	use member
	rolled one@2 0
	controller_end one KILL
	eventually hotfixctl_says 'fleet: waiting'
	hotfix_is one live 2 2
	expect 0 hotfixctl disable one
}

hotfixctl_says() { hotfixctl status | grep -q "$1"; }

trap 'fleet_end; end_all' EXIT
run_tests "$@"
