#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 300
#
# A small fleet: a controller on SQLite, hosts of three kernel builds that are real agents with an engine
# of words (tests/fleet/simulate.c), and an operator with hotfixctl.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/fleet/lib.sh
. "$PWD/tests/fleet/lib.sh"

HOSTS=48
old=6.1.0-30-amd64

setup() {
	heartbeat=2s
	fleet_new
	controller_start one
	expect 0 fleet trust import "$F/root"
	sim_start $HOSTS
	for serial in 1 2 3; do fleet_stock fix $serial; done
	eventually sim_is ".reported == $HOSTS"
	cat >"$F/quick.json" <<-'EOF'
		{"canary": {"bake": "1s"}, "waves": [{"percent": 25, "bake": "1s"}, {"percent": 100, "bake": "1s"}],
		"trial": "1s", "max_in_flight": "100%", "max_per_domain": "100%", "retries": 0, "dynamic": false}
	EOF
}

# rolled NAME@SERIAL STATUS [JQ]: what becomes of a rollout by the knobs of quick.json, changed by JQ
rolled() {
	jq "${3:-.}" "$F/quick.json" >"$F/spec.json"
	expect "$2" fleet rollout start "$1" --spec "$F/spec.json" --watch --wait 80s --until-paused
}

hosts_at() { sim_is ".committed[\"fix@$1\"] == $2"; }

test_a_rollout_reaches_every_host() {
	rolled fix@1 0
	eventually hosts_at 1 $HOSTS
	sim_is '.refused == 0 and .bundle_failures == 0' || fail "$answer"
}

test_a_kernel_build_that_cannot_load_it_stops_and_the_others_go_on() {
	local here=$((HOSTS / 3))

	sim load_failed fix 2 $old
	rolled fix@2 0
	eventually hosts_at 2 $((HOSTS - here))
	# Its canary tried, and nobody of its kind after it.
	sim_is ".committed[\"fix@1\"] == $here and .states[\"fix load_failed\"] == 1" || fail "$answer"
}

test_a_version_that_harms_is_taken_back_everywhere() {
	sim unhealthy fix 3 60
	rolled fix@3 7 '.on_failure = "rollback_all" | .canary.failure_threshold = 0'
	eventually sim_is '(.committed["fix@3"] // 0) == 0 and (.states["fix trial"] // 0) == 0'
}

run_tests "$@"
