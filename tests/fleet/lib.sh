# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/fleet/lib.sh -- sourced by what needs a fleet: a controller (or several on PostgreSQL) in a
# folder of its own, simulated hosts, and hotfixctl as its admin. Wants B, bin, T (a folder that
# is there) and fail().
#
#	fleet_new [DATABASE]		the folder $T/fleet: keys, authorities, root, release keys
#	controller_start NAME		its ports stay the same when it starts again
#	controller_pid NAME; controller_end NAME [SIGNAL]
#	fleet ARG...			hotfixctl at the first controller, as admin
#	fleet_stock NAME SERIAL		a signed version, in stock
#	sim_start N [ARG...]		N hosts, which ask all controllers in turn
#	sim COMMAND...			one line of JSON in $answer
#	sim_is FILTER			jq -e on the stats
#	sim_end

heartbeat=${heartbeat:-30s}
controllers=()

fleet_new() {
	F=$T/fleet
	mkdir -p "$F"
	database=${1:-$F/state/fleet.db}
	{
		"$bin/hotfix-controller" init --state-dir "$F/state" --name 127.0.0.1 ${also_named:+--name "$also_named"} ${1:+--database "$1"} &&
			"$bin/hotfixctl" key new --out "$F/release" --no-passphrase &&
			"$bin/hotfixctl" trust init --key "$F/release.pub" --fleet simulated --director "$F/state/director.pub" \
				--status-key "$F/state/status.pub" --out "$F/root"
	} >"$F/init.log" 2>&1 || fail "no fleet: $(cat "$F/init.log")"
}

# port_of NAME WHAT: as the controller said when it was ready
port_of() { sed -n "s/.* ready name=.* $2=\([0-9]*\).*/\1/p" "$F/$1/log" | tail -n 1; }

controller_pid() { cat "$F/$1/pid"; }

controller_start() {
	local c=$F/$1 agents=0 operators=0

	mkdir -p "$c"
	if [ -e "$c/ports" ]; then read -r agents operators <"$c/ports"; fi
	# One state directory for all: they share authorities and keys.
	cat >"$c/conf" <<-EOF
		[controller]
		name = $1
		state_dir = $F/state
		[database]
		where = $database
		[agents]
		listen = 127.0.0.1:$agents
		heartbeat = $heartbeat
		[enroll]
		listen = ${enroll_listen:-}
		[operators]
		listen = 127.0.0.1:$operators
		[metrics]
		listen = ${metrics_listen:-}
	EOF
	: >"$c/log"
	"$bin/hotfix-controller" --config "$c/conf" 2>>"$c/log" &
	echo $! >"$c/pid"
	disown # bash has nothing to say about a controller that is killed
	for _ in $(seq 600); do
		! grep -q ' ready name=' "$c/log" || break
		kill -0 "$(cat "$c/pid")" 2>/dev/null || fail "controller $1: $(cat "$c/log")"
		sleep 0.05
	done
	echo "$(port_of "$1" agents) $(port_of "$1" operators)" >"$c/ports"
	[[ " ${controllers[*]} " = *" $1 "* ]] || controllers+=("$1")
	cat >"$F/contexts.json" <<-EOF
		{"current": "sim", "contexts": {"sim": {"url": "https://127.0.0.1:$(port_of "${controllers[0]}" operators)",
		"ca": "$F/state/operators-ca.crt", "cert": "$F/state/admin.crt", "key": "$F/state/admin.key"}}}
	EOF
}

controller_end() {
	local pid

	pid=$(controller_pid "$1")
	kill -"${2:-TERM}" "$pid"
	timeout 30 tail -s 0.05 --pid="$pid" -f /dev/null
	rm -f "$F/$1/pid"
}

fleet() { HOTFIXCTL_CONTEXTS=$F/contexts.json timeout -k 5 "${LIMIT:-90}" "$bin/hotfixctl" --context sim "$@"; }

fleet_stock() {
	local file=$F/$1@$2.hotfix

	{
		"$bin/hotfixctl" pack --object "$B/tests/foreign/cc_reno.bpf.o" --name "$1" --serial "$2" \
			--key "$F/release.sec" --out "$file" && fleet stock add "$file"
	} >"$F/stock.log" 2>&1 || fail "no $1@$2: $(cat "$F/stock.log")"
}

sim_prepare() { # sim_prepare N
	"$B/tests/fleet/simulate" prepare --state-dir "$F/state" --database "$database" --hosts "$F/hosts.json" \
		--count "$1" >"$F/prepare.log" 2>&1 || fail "no hosts: $(cat "$F/prepare.log")"
}

sim_start() {
	local urls='' name n=$1
	shift

	[ -e "$F/hosts.json" ] || sim_prepare "$n"
	for name in "${controllers[@]}"; do urls+="https://127.0.0.1:$(port_of "$name" agents) "; done
	rm -f "$F/sim.in" "$F/sim.out"
	mkfifo "$F/sim.in" "$F/sim.out"
	"$B/tests/fleet/simulate" run --controllers "$urls" --ca "$F/state/agents-ca.crt" --hosts "$F/hosts.json" \
		--root "$F/root" --count "$n" "$@" <"$F/sim.in" >"$F/sim.out" 2>"$F/sim.err" &
	sim_pid=$!
	disown
	exec {sim_in}>"$F/sim.in" {sim_out}<"$F/sim.out"
}

sim() {
	echo "$*" >&"$sim_in"
	read -r answer <&"$sim_out" && [ -n "$answer" ] || fail "the simulator is gone: $(cat "$F/sim.err")"
}

sim_is() {
	sim stats
	jq -e "$1" <<<"$answer" >/dev/null || {
		echo "$answer"
		return 1
	}
}

sim_end() {
	[ -n "${sim_pid:-}" ] || return 0
	kill "$sim_pid" 2>/dev/null
	timeout 30 tail -s 0.05 --pid="$sim_pid" -f /dev/null
	exec {sim_in}>&- {sim_out}<&-
	sim_pid=''
}

# For those who clean up: everything that was started here. In a scenario it happens by itself.
fleet_end() {
	local name

	sim_end
	for name in "${controllers[@]}"; do
		[ ! -e "$F/$name/pid" ] || controller_end "$name" KILL
	done
}

if declare -F end_all >/dev/null; then
	eval "$(declare -f end_all | sed '1s/^end_all/end_all_else/')"
	end_all() {
		fleet_end
		end_all_else
	}
fi
