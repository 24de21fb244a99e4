#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 400
#
# A controller, hosts that are made up (tests/fleet/simulate), and hotfixctl with a context: what people
# do with a fleet.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

simulate=$PWD/$B/tests/fleet/simulate
export HOTFIXCTL_CONTEXTS=$T/contexts.json
unset HOTFIXCTL_CONTEXT

# Fast, for twelve hosts: what bakes for hours bakes for nothing.
spec='canary: {bake: 0}
waves: [{percent: 50, bake: 0}, {percent: 100, bake: 0}]
max_in_flight: 100%
max_per_domain: 100%
trial: 1s
progress_deadline: 10m
'

fleetctl() {
	timeout -k 5 "$LIMIT" "$bin/hotfixctl" "$@"
}

# controller [NAME]: starts the one of $T/NAME (fleet), ready when this returns; its ports are in
# $operators and $agents
controller() {
	local name=${1:-fleet} line

	cat >"$T/$name.conf" <<-END
		[controller]
		state_dir = $T/$name
		[agents]
		listen = 127.0.0.1:0
		heartbeat = 10s
		[enroll]
		listen = 127.0.0.1:0
		[operators]
		listen = 127.0.0.1:0
		[metrics]
		listen =
	END
	mkdir -p "$T/$name-controller" # where end_all finds what is to end
	[ -z "$in_test" ] || touch "$T/$name-controller/of-test"
	"$bin/hotfix-controller" --config "$T/$name.conf" >"$T/$name-controller/log" 2>&1 &
	echo $! >"$T/$name-controller/pid"
	line=$(timeout "$LIMIT" sed '/ ready /q' <(tail -F -n +1 "$T/$name-controller/log" 2>/dev/null)) ||
		fail "no controller: $(cat "$T/$name-controller/log")"
	operators=$(sed -n 's/.* operators=\([0-9]*\).*/\1/p' <<<"$line")
	agents=$(sed -n 's/.* agents=\([0-9]*\).*/\1/p' <<<"$line")
	[ -n "$operators" ] || fail "no port: $line"
}

end_controller() {
	local dir=$T/${1:-fleet}-controller pid

	pid=$(cat "$dir/pid")
	kill "$pid"
	"$act" wait $((LIMIT * 1000)) "$pid" || fail "the controller did not end"
	rm -f "$dir/pid"
}

setup() {
	keys
	expect 0 "$bin/hotfix-controller" init --state-dir "$T/fleet" --name 127.0.0.1
	controller
	expect 0 fleetctl context set fleet --url "https://127.0.0.1:$operators" \
		--ca "$T/fleet/operators-ca.crt" --cert "$T/fleet/admin.crt" --key "$T/fleet/admin.key"
	expect 0 "$bin/hotfixctl" trust init --key "$T/release.pub" --fleet shop \
		--director "$T/fleet/director.pub" --status-key "$T/fleet/status.pub" --out "$T/fleet-root"
	expect 0 fleetctl --context fleet trust import "$T/fleet-root"
	pack fix 1 cc_reno
	expect 0 fleetctl stock add "$bundle"
	pack fix 2 cc_reno_v2
	expect 0 fleetctl --context fleet import "$bundle"
	printf '%s' "$spec" >"$T/spec.yaml"
	printf '%spause_after: [canary]\n' "$spec" >"$T/gate.yaml"
	add_operators
	hosts
}

# One of each role, by token: contexts viewer, operator, approver.
add_operators() {
	local role

	for role in viewer operator approver; do
		expect 0 fleetctl operator add "$role" --role "$role" --out "$T/$role.token"
		expect 0 fleetctl context set "$role" --url "https://127.0.0.1:$operators" \
			--ca "$T/fleet/operators-ca.crt" --token-file "$T/$role.token"
	done
}

# hosts [NAME [ROOT]]: twelve of them on two kernels, which do what they are told
hosts() {
	local name=${1:-fleet} root=${2:-$T/fleet-root} dir=$T/${1:-fleet}-hosts

	mkdir "$dir"
	[ -z "$in_test" ] || touch "$dir/of-test"
	expect 0 "$simulate" prepare --state-dir "$T/$name" --database "$T/$name/fleet.db" \
		--hosts "$dir/hosts" --count 12
	mkfifo "$dir/in"
	# Open for us as well: they end when nobody can say anything to them any more.
	exec 8<>"$dir/in"
	"$simulate" run --controllers "https://127.0.0.1:$agents" --ca "$T/$name/agents-ca.crt" \
		--hosts "$dir/hosts" --root "$root" --kernels "6.1.0-50 6.12.0-1" <"$dir/in" >"$dir/log" 2>&1 &
	echo $! >"$dir/pid"
	eventually all_reported
}

all_reported() {
	fleetctl -j host list >"$T/hosts.json" &&
		[ "$(jq '[.hosts[] | select(.report > 0)] | length' "$T/hosts.json")" = 12 ]
}

# fresh NAME: a hot-fix that no host has, in stock
fresh() {
	pack "$1" 1 cc_reno
	expect 0 fleetctl stock add "$bundle"
}

# started ARGUMENT...: a rollout; its id in $id
started() {
	expect 0 fleetctl rollout start "$@"
	id=$(cat "$out")
}

# state_is STATE: of the rollout $id
state_is() {
	[ "$(fleetctl -j rollout status "$id" | jq -r .state)" = "$1" ]
}

pauses() {
	fleetctl -j rollout status "$id" | jq -e --arg p "$1" '.pauses | index($p)' >/dev/null
}

# --- beginning --------------------------------------------------------------------------------

test_a_controller_without_a_fleet_says_how_one_begins() {
	mkdir "$T/bare"
	expect 3 "$bin/hotfix-controller" --state-dir "$T/bare"
	says 'no fleet in' "init --state-dir $T/bare"
	expect 2 "$bin/hotfix-controller" init --state-dir "$T/bare"
	says 'init --help'
	expect 0 "$bin/hotfix-controller" init --state-dir "$T/bare" --name 127.0.0.1
}

# --- contexts --------------------------------------------------------------------------------

test_a_context_says_where_and_as_whom() {
	export HOTFIXCTL_CONTEXTS=$T/own/contexts.json
	expect 2 fleetctl host list
	says 'No context is in use' 'context use'
	expect 2 fleetctl context set a --url http://127.0.0.1 --ca "$T/root" --token-file "$T/viewer.token"
	says 'https://'
	expect 2 fleetctl context set a --url https://127.0.0.1 --ca "$T/root"
	says token_file
	expect 3 fleetctl context set a --url https://127.0.0.1 --ca "$T/root" --token-file "$T/none"
	cp "$T/viewer.token" "$T/open.token"
	chmod 644 "$T/open.token"
	expect 11 fleetctl context set a --url https://127.0.0.1 --ca "$T/root" --token-file "$T/open.token"
	says 'can be read by others' 'chmod 600'
	! [ -e "$HOTFIXCTL_CONTEXTS" ] || fail "it was written all the same"
	cd "$T"
	expect 0 fleetctl context set one --url https://127.0.0.1:1/ --ca fleet/operators-ca.crt \
		--token-file viewer.token
	cd - >/dev/null
	same 600 "$(stat -c %a "$HOTFIXCTL_CONTEXTS")" mode
	same "$T/viewer.token" "$(jq -r .contexts.one.token_file "$HOTFIXCTL_CONTEXTS")"
	expect 0 fleetctl context set two --url https://127.0.0.1:2 --ca "$T/fleet/operators-ca.crt" \
		--cert "$T/fleet/admin.crt" --key "$T/fleet/admin.key"
	expect 0 fleetctl -j context list
	json '.current + " " + (.contexts | keys | join(","))' 'one one,two'
	expect 2 fleetctl context use tow
	says 'did you mean two'
	expect 0 fleetctl context use two
	expect 10 fleetctl host list
	says 'https://127.0.0.1:2 cannot be reached'
	HOTFIXCTL_CONTEXT=one expect 10 fleetctl host list
	says 'https://127.0.0.1:1 cannot be reached'
	expect 0 fleetctl context remove two
	expect 2 fleetctl context show
}

test_what_is_about_this_host_does_not_go_to_a_fleet() {
	expect 2 fleetctl --context fleet apply fix
	says 'does not speak to a fleet'
	expect 2 fleetctl --socket "$T/none" host list
	says 'speaks to a fleet'
	expect 2 fleetctl --socket "$T/none" --context fleet import "$T/fix@1.hotfix"
	# And what may be about either is about this host.
	expect 10 "$bin/hotfixctl" --socket "$T/none" status
	says 'hotfixd cannot be reached'
}

test_what_is_public_can_be_read_and_what_is_secret_only_by_its_owner() {
	same '644 644 644 644' "$(cd "$T/fleet" && stat -c %a director.pub status.pub agents-ca.crt admin.crt | xargs)"
	same '600 600 600' "$(cd "$T/fleet" && stat -c %a director.sec agents-ca.key admin.key | xargs)"
	same 700 "$(stat -c %a "$T/fleet")"
}

test_who_the_controller_is_and_who_asks_is_checked() {
	expect 0 fleetctl context set wrong --url "https://127.0.0.1:$operators" \
		--ca "$T/fleet/agents-ca.crt" --cert "$T/fleet/admin.crt" --key "$T/fleet/admin.key"
	expect 10 fleetctl --context wrong host list
	says 'is not who context wrong trusts'
	sed 's/[0-9a-f]$/x/; s/x$/0/' "$T/viewer.token" | sed 's/^hfo1\.../hfo1.00/' >"$T/bad.token"
	chmod 600 "$T/bad.token"
	expect 0 fleetctl context set wrong --url "https://127.0.0.1:$operators" \
		--ca "$T/fleet/operators-ca.crt" --token-file "$T/bad.token"
	expect 11 fleetctl --context wrong host list
	says 'nobody has this token'
	echo junk >"$T/bad.token"
	expect 4 fleetctl --context wrong host list
	says 'holds no token'
	expect 0 fleetctl context remove wrong
}

test_a_role_is_what_it_says() {
	expect 0 fleetctl --context viewer host list
	expect 11 fleetctl --context viewer rollout start fix
	says 'viewer is a viewer; for this one must be operator'
	expect 11 fleetctl --context viewer stop-the-line --reason x
	expect 11 fleetctl --context operator enroll token
	expect 0 fleetctl --context operator rollout plan fix
	expect 11 fleetctl --context operator rollout approve none
	# A token is shown once: where one is already, none is made.
	expect 9 fleetctl operator add viewer --role viewer --out "$T/viewer.token"
	expect 0 fleetctl -j operator list
	json '[.operators[] | select(.name == "viewer")] | length' 1
	expect 0 fleetctl --context fleet audit
	says DENIED
	expect 0 fleetctl --context fleet audit --verify
	says 'is whole'
}

# --- hosts and stock -------------------------------------------------------------------------

test_hosts_are_labelled_held_and_pinned_by_name() {
	local name

	name=$(fleetctl -j host list | jq -r '.hosts[0].name')
	expect 0 fleetctl host label "$name" rack=17 tier=odd
	expect 0 fleetctl -j host list --selector rack=17
	json '[.hosts[].name] | join(" ")' "$name"
	expect 0 fleetctl host hold "$name" --reason disk
	says 'held by admin since'
	expect 0 fleetctl host list
	says 'held by admin since .*: disk'
	expect 0 fleetctl -j host list
	json '[.hosts[] | select(.held) | .hold | .by, .reason] | join(" ")' 'admin disk'
	expect 0 fleetctl -j rollout plan fix
	json '[.excluded[]] | join(" ")' 'hold (operator admin)'
	expect 0 fleetctl host unhold "$name"
	expect 0 fleetctl host pin "$name" 1
	expect 0 fleetctl -j rollout plan fix@2
	json '[.excluded[]] | join(" ")' pinned
	expect 2 fleetctl host pin "$name"
	expect 0 fleetctl host pin "$name" --none
	expect 0 fleetctl host label "$name" rack= tier=
	expect 3 fleetctl host show nobody-has-this-name
	says 'host list'
}

test_a_plan_shows_each_wave_by_kernel_build_and_zone() {
	expect 0 fleetctl rollout plan fix --spec "$T/spec.yaml"
	says 'fix@2: 12 of 12 hosts' 'canary +6.1.0-50' '6.12.0-1' 'wave-2'
	expect 0 fleetctl -j rollout plan fix@1 --spec "$T/spec.yaml"
	json '[.waves[].hosts] | join(" ")' '2 4 6'
	json '[.waves[].members[]] | unique | length' 12
	json '.waves[0].strata | length' 2
	expect 2 fleetctl rollout plan fix --spec <(echo 'wavs: []')
	says wavs
	expect 4 fleetctl rollout plan fix --spec <(printf 'waves: &a []\ncanary: *a\n')
	says 'line 1'
	expect 3 fleetctl rollout plan nothing
	says 'stock list'
}

test_stock_that_is_not_signed_for_this_fleet_stays_out() {
	expect 0 "$bin/hotfixctl" key new --out "$T/stranger" --no-passphrase
	expect 0 "$bin/hotfixctl" pack --object "$foreign/cc_reno.bpf.o" --name strange --serial 1 \
		--key "$T/stranger.sec" --out "$T/strange.hotfix"
	expect 4 fleetctl stock add "$T/strange.hotfix"
	says 'signed by'
	expect 0 fleetctl stock list
	says_not strange
	expect 3 fleetctl stock drop strange@1
}

# --- rollouts --------------------------------------------------------------------------------

test_a_rollout_goes_from_canaries_to_all_and_back() {
	expect 0 fleetctl rollout start fix@1 --spec "$T/spec.yaml" --watch --wait 5m
	says succeeded
	id=$(fleetctl -j rollout list | jq -r '.rollouts[-1].id')
	expect 0 fleetctl -j rollout show "$id"
	json '[.members[] | select(.state == "committed")] | length' 12
	json '.history | map(.action) | index("CREATED")' 0
	json '.history[] | select(.action == "SUBMITTED") | .actor' admin
	json '.history[] | select(.action == "STARTED") | [(.actor | sub(":.*"; "")), .detail.asked_by] | join(" ")' 'controller admin'
	expect 0 fleetctl rollout status "$id"
	says 'wave-2 +6 committed'
	expect 0 fleetctl host list
	says 'fix@1'
	expect 0 fleetctl --context viewer list
	says '^12 hosts' '^fix +1 +12 +0 +0 +0 +yes' '^fix +2 +0 +0 +0 +0 +yes'
	on_hosts 12 --runs fix@1
	on_hosts 0 --runs fix@2
	on_hosts 12 --lacks fix@2
	on_hosts 0 --lacks fix@1
	on_hosts 12 --lacks another
	expect 9 fleetctl rollout pause "$id"
	says 'has ended'
	started fix@2 --spec "$T/spec.yaml"
	expect 0 fleetctl rollout watch "$id" --wait 5m
	expect 0 fleetctl rollout undo "$id" --reason 'tail latency'
	expect 7 fleetctl rollout watch "$id" --wait 5m
	says 'rolled_back'
	eventually all_committed fix 1
}

# all_committed NAME SERIAL: on every host, as they report it
all_committed() {
	fleetctl -j host list |
		jq -e --arg n "$1" --argjson s "$2" 'all(.hosts[]; (.hotfixes[$n].committed // 0) == $s)' >/dev/null
}

# on_hosts N OPTION...: so many are listed
on_hosts() {
	local n=$1

	shift
	expect 0 fleetctl -j host list "$@"
	json '.hosts | length' "$n"
}

test_a_gate_waits_for_somebody_and_an_abort_is_final() {
	fresh gated
	started gated --spec "$T/gate.yaml"
	expect 9 fleetctl rollout watch "$id" --until-paused --wait 5m
	pauses gate || fail "not at its gate: $(cat "$out")"
	expect 8 fleetctl rollout watch "$id" --wait 1s
	says 'goes on'
	expect 0 fleetctl rollout pause "$id" --reason 'looking at it'
	pauses manual || fail "not paused"
	expect 0 fleetctl rollout resume "$id"
	expect 0 fleetctl --context operator rollout abort "$id" --reason 'a mistake'
	expect 9 fleetctl rollout watch "$id" --wait 5m
	expect 0 fleetctl rollout status "$id"
	says 'gated@1 by admin, aborted$' '^ended .*: [A-Z_]+, .*hosts? ha(s|ve) it'
	expect 9 fleetctl rollout resume "$id"
	says 'has ended|cannot be resumed'
}

test_the_same_version_is_not_started_twice() {
	fresh twice
	started twice@1 --spec "$T/gate.yaml"
	expect 9 fleetctl rollout start twice
	says "rollout $id brings twice@1 already" "rollout watch $id"
	expect 0 fleetctl rollout plan twice
	says "it could not start.* $id brings"
	expect 9 fleetctl rollout watch "$id" --until-paused --wait 5m
	pauses gate || fail "not at its gate: $(cat "$out")"
	pack twice 2 cc_reno_v2
	expect 0 fleetctl stock add "$bundle"
	expect 0 fleetctl rollout start twice@2 --draft
	expect 0 fleetctl rollout abort "$id"
	expect 9 fleetctl rollout watch "$id" --wait 5m
	started twice@1 --spec "$T/gate.yaml"
	expect 0 fleetctl rollout abort "$id"
}

test_an_abort_takes_back_even_a_first_version() {
	fresh taken
	started taken --spec "$T/gate.yaml"
	expect 9 fleetctl rollout watch "$id" --until-paused --wait 5m
	expect 0 fleetctl rollout abort "$id" --rollback --reason latency
	expect 7 fleetctl rollout watch "$id" --wait 5m
	eventually all_committed taken 0
}

test_who_wrote_a_rollout_does_not_approve_it() {
	fresh approved
	printf '%sapprovals: 1\n' "$spec" >"$T/approve.yaml"
	expect 0 fleetctl --context approver rollout start approved --spec "$T/approve.yaml"
	id=$(cat "$out")
	expect 9 fleetctl rollout watch "$id" --until-paused --wait 1m
	eventually state_is pending_approval
	expect 11 fleetctl --context approver rollout approve "$id"
	says 'cannot approve it'
	expect 0 fleetctl rollout approve "$id"
	expect 0 fleetctl rollout abort "$id"
	expect 9 fleetctl rollout watch "$id" --wait 5m
}

test_the_line_and_freezes_hold_rollouts() {
	fresh frozen
	expect 0 fleetctl stop-the-line --reason 'oopses in zone b'
	expect 0 fleetctl --context viewer status
	says 'the line is stopped' 'oopses in zone b'
	started frozen --spec "$T/spec.yaml"
	eventually pauses stop_the_line
	expect 0 fleetctl rollout plan frozen
	says 'it would wait: the line is stopped by admin: oopses in zone b'
	expect 11 fleetctl --context operator stop-the-line --clear
	expect 0 fleetctl freeze add release-day --until 1h --reason 'not today' --hotfix frozen
	expect 0 fleetctl stop-the-line --clear
	eventually pauses window
	expect 0 fleetctl rollout status "$id"
	says 'window: freeze release-day by admin until .*: not today'
	expect 0 fleetctl --context viewer status
	says "rollout $id: frozen@1, scheduled .window"
	expect 2 fleetctl freeze add release-day --reason ''
	expect 11 fleetctl --context operator freeze remove release-day
	expect 0 fleetctl --context approver freeze remove release-day
	expect 0 fleetctl rollout watch "$id" --wait 5m
}

test_ctrl_c_leaves_a_rollout_alone() {
	local pid

	fresh interrupted
	started interrupted --spec "$T/gate.yaml"
	"$bin/hotfixctl" rollout watch "$id" >"$T/watched" 2>&1 &
	pid=$!
	eventually grep -q "^$id: " "$T/watched"
	kill -INT "$pid"
	wait "$pid" && fail "it ended with 0" || same 130 $?
	grep -q 'goes on' "$T/watched" || fail "$(cat "$T/watched")"
	expect 0 fleetctl -j rollout status "$id"
	json .active true
	expect 0 fleetctl rollout abort "$id"
}

test_a_terminal_is_drawn_over() {
	fresh drawn
	started drawn --spec "$T/gate.yaml"
	script -qec "stty cols 100 rows 40; $bin/hotfixctl rollout watch $id --until-paused --wait 2m" "$T/terminal" \
		</dev/null >/dev/null 2>&1 || :
	grep -q 'canary' "$T/terminal" || fail "$(cat "$T/terminal")"
	grep -q $'\033\[[0-9]*A' "$T/terminal" || [ "$(grep -c "$id" "$T/terminal")" = 1 ] ||
		fail "it was not drawn over"
	expect 0 fleetctl rollout abort "$id"
}

# --- the manual ------------------------------------------------------------------------------

# The commands of README.md's chapter, each on one line, without comments.
commands_of() {
	awk -v s="## $1" '/^##* / { if (on) exit; on = $0 == s } on && /^    / { sub(/^    /, ""); print }' README.md |
		sed -e ':join' -e '/\\$/{N;s/\\\n *//;b join' -e '}' | grep -E '^(hotfix|ID=)' | sed 's/[[:space:]]*#.*//'
}

# What it says of careful.yaml.
careful() {
	awk '/^`careful.yaml`/ { on = 1; next } on && /^    / { sub(/^    /, ""); print; seen = 1; next } on && seen { exit }' README.md
}

test_from_one_host_to_a_fleet_goes_as_written() {
	local line ran=0 rc top=$PWD log=$T/chapter.log

	export HOTFIXCTL_CONTEXTS=$T/chapter.json PATH=$bin:$PATH ID=
	mkdir "$T/desk"
	cp "$T"/release.* "$T/desk/"
	pack cve-2026-31431-copyfail 2 cc_reno
	cp "$bundle" "$T/desk/copyfail.hotfix"
	unset -f hotfixctl
	commands_of 'From one host to a fleet' >"$T/commands"
	careful >"$T/careful.yaml"
	cd "$T/desk"
	while read -r line <&7; do
		ran=$((ran + 1))
		line=${line//\/var\/lib\/hotfix-controller/$T/chapter}
		line=${line//ctl.example:7445/127.0.0.1:${operators:-}}
		line=${line//ctl.example/127.0.0.1}
		case $line in
		'hotfix-controller &')
			controller chapter
			continue
			;;
		*'store migrate'*)
			end_controller chapter
			line=${line//postgresql:\/\/\/fleet/$T/moved.db}
			;;
		*'rollout plan'*) # as the README has it, for all that it takes days
			expect 0 fleetctl rollout plan cve-2026-31431-copyfail --spec "$T/careful.yaml"
			{ printf 'target: {role: [web, db]}\n' && cat "$T/spec.yaml"; } >careful.yaml
			for name in $(jq -r '.hosts[].name' "$T/hosts.json"); do fleetctl host label "$name" role=web; done >/dev/null
			;;
		esac
		rc=0
		if [[ $line = ID=* ]]; then
			eval "$line" >"$out" 2>"$err" || rc=$?
		else
			timeout "$LIMIT" bash -c "$line" </dev/null >"$out" 2>"$err" || rc=$?
		fi
		cat "$out" "$err" >>"$log"
		export ID
		[ "$rc" = 0 ] || [[ $rc = 7 && $line = *' watch '* ]] || fail "'$line' ended with $rc: $(cat "$err")"
		case $line in *'trust import'*)
			hosts chapter "$T/desk/root.json"
			;;
		esac
	done 7<"$T/commands"
	cd "$top"
	[ $ran -ge 18 ] || fail "only $ran commands found"
	grep -q succeeded "$log" || fail "no rollout went through: $(cat "$log")"
	grep -q rolled_back "$log" || fail "none was undone: $(cat "$log")"
	grep -q 'is whole' "$log" || fail "no audit: $(cat "$log")"
}

# --- the database ----------------------------------------------------------------------------

test_a_database_moves_to_postgresql_and_back() {
	end_controller
	expect 0 tests/pg/run -- bash -c "
		set -e
		'$bin/hotfixctl' -j store migrate --from '$T/fleet/fleet.db' --to \"\$PG_URL\" >'$T/there.json'
		! '$bin/hotfixctl' store migrate --from '$T/fleet/fleet.db' --to \"\$PG_URL\" 2>'$T/again'
		'$bin/hotfixctl' -j store migrate --from \"\$PG_URL\" --to '$T/back.db' >'$T/back.json'"
	same "$(jq -c . "$T/there.json")" "$(jq -c . "$T/back.json")"
	[ "$(jq .rows "$T/there.json")" -gt 20 ] || fail "$(cat "$T/there.json")"
	grep -q 'empty' "$T/again" || fail "$(cat "$T/again")"
	expect 3 fleetctl store migrate --from "$T/none.db" --to "$T/more.db"
	! [ -e "$T/none.db" ] || fail "it was made"
	cp "$T/back.db" "$T/fleet/fleet.db"
	rm -f "$T"/fleet/fleet.db-*
	controller
	expect 0 fleetctl context set fleet --url "https://127.0.0.1:$operators"
	expect 0 fleetctl --context fleet audit --verify
	expect 0 fleetctl stock list
	says 'fix +2'
}

run_tests "$@"
