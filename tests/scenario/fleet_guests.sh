#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 900
#
# A controller on this machine and four guests with real kernels as its hosts: canaries of each
# kernel, one on which a version does not load, a version that makes kernels complain, a host that
# loses its power in a trial, and one that starts again while a rollout goes on.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"
heartbeat=5s # a busy machine is not to lose hosts
# shellcheck source=tests/fleet/lib.sh
. "$PWD/tests/fleet/lib.sh"
# shellcheck source=tests/fleet/guests.sh
. "$PWD/tests/fleet/guests.sh"

LIMIT=240

setup() {
	fleet_new
	controller_start one
	guests_prepare
	guest_start old 6.1
	guest_start middle 6.12
	guest_start new newest
	guest_start last 6.12 --disk "$F/last.disk"
	sign fix 1 "$foreign/fmod_ret_getsid.bpf.o"
	sign fix 2 "$PWD/$B/tests/vm/fleet_kfunc.bpf.o"
	sign fix 3 "$foreign/fmod_ret_getsid.bpf.o"
	sign warns 1 "$PWD/$B/tests/harm/warn.bpf.o"
	for name in old middle new last; do eventually guest_is "$name" '.kernel != ""'; done
	cat >"$F/quick.json" <<-'END'
		{"canary": {"bake": "1s"}, "waves": [{"percent": 100, "bake": "1s"}],
		"trial": "2s", "max_in_flight": "100%", "max_per_domain": "100%", "retries": 0, "dynamic": false}
	END
}

# sign NAME SERIAL OBJECT: and put into stock
sign() {
	{
		"$bin/hotfixctl" pack --object "$3" --name "$1" --serial "$2" --key "$F/release.sec" --out "$F/$1@$2.hotfix" \
			--manifest <(echo '{"trial":{"min_s":1,"default_s":2,"max_s":120}}') &&
			fleet stock add "$F/$1@$2.hotfix"
	} >"$F/stock.log" 2>&1 || fail "no $1@$2: $(cat "$F/stock.log")"
}

# rolled NAME@SERIAL STATUS [JQ]: what becomes of a rollout by the knobs of quick.json, changed by JQ
rolled() {
	jq "${3:-.}" "$F/quick.json" >"$F/spec.json"
	expect "$2" fleet rollout start "$1" --spec "$F/spec.json" --watch --wait 200s --until-paused
}

# has GUEST SERIAL [NAME]: it is committed there and live
has() { eventually guest_is "$1" ".hotfixes[\"${3:-fix}\"] | .committed == $2 and .live == $2"; }

test_each_kernel_has_a_canary_and_then_all_hosts_have_the_version() {
	rolled fix@1 0
	for name in old middle new last; do has "$name" 1; done
	expect 0 fleet rollout show -j
	json '[.history[] | select(.action == "CANARY")] | length' 3
}

test_a_kernel_on_which_it_does_not_load_stops_and_the_others_go_on() {
	rolled fix@2 0
	for name in middle new last; do has "$name" 2; done
	has old 1
	eventually guest_is old '.hotfixes.fix | .state == "load_failed" or .state == "rejected"'
}

test_a_version_that_makes_kernels_complain_is_taken_back_by_itself() {
	rolled warns@1 7 '.on_failure = "rollback_all" | .trial = "60s"'
	for name in old middle new last; do
		eventually guest_is "$name" '(.hotfixes.warns // {committed: 0, live: 0}) | .committed == 0 and .live == 0'
	done
	fleet host list -j | jq -r '.hosts[].hotfixes.warns.code // empty' | grep -q 'HEALTH:' || fail "$(fleet host list -j | jq -c '.hosts[].hotfixes.warns')"
}

test_a_host_that_loses_its_power_in_a_trial_is_lost_then_crashed_and_quarantined() {
	jq '.trial = "60s" | .target = {"name": ["last"]} | .on_failure = "pause"' "$F/quick.json" >"$F/spec.json"
	expect 0 fleet rollout start fix@3 --spec "$F/spec.json" -j
	rollout=$(jq -r '.id // .rollout.id' "$out")
	eventually guest_is last '.hotfixes.fix | .state == "trial" and .trial == 3'
	guest_kill last
	eventually said_of last lost
	guest_start last 6.12 --disk "$F/last.disk"
	eventually guest_is last '.hotfixes.fix | .state == "crashed" and .quarantined == [3] and .committed == 2'
	# What was committed there came back by itself.
	has last 2
	expect 0 fleet rollout abort "$rollout" --reason 'the host went down'
}

said_of() {
	fleet rollout show "$rollout" -j >"$F/show" 2>&1 && grep -q "\"$2\"" "$F/show"
}

trap 'guests_end; fleet_end; end_all' EXIT
run_tests "$@"
