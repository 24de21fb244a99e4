# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/fleet/guests.sh -- sourced after tests/fleet/lib.sh: guests with real kernels as members of the
# fleet. Each is a QEMU that finds the controller at 10.0.2.2.
#
#	guests_prepare			the controller runs, and takes in who has a token
#	guest_start NAME KERNEL [OPTION...]	of tests/vm/run; the same name again is the same host,
#					when it has a --disk
#	guest_kill NAME			as if its power went
#	guest_is NAME JQ		what the controller knows of that host
#	guests_end

# shellcheck disable=SC2034,SC2154
{ also_named=10.0.2.2 enroll_listen=127.0.0.1:0; }
guests=()

guests_prepare() {
	port_agents=$(port_of "${controllers[0]}" agents)
	port_enroll=$(port_of "${controllers[0]}" enroll)
	[ -n "$port_agents" ] && [ -n "$port_enroll" ] || fail "no ports: $(cat "$F/${controllers[0]}/log")"
	fleet trust import "$F/root" >"$F/root.log" 2>&1 || fail "no root: $(cat "$F/root.log")"
}

guest_start() {
	local g=$F/guest-$1 name=$1 kernel=$2
	shift 2

	if [ ! -d "$g" ]; then
		mkdir -p "$g/given"
		fleet enroll token -j >"$g/token" 2>"$g/log" || fail "no token: $(cat "$g/log")"
		jq -r '.token' "$g/token" >"$g/given/token"
		cp "$F/root" "$g/given/root"
		echo "$name" >"$g/given/name"
		cat >"$g/given/fleet.conf" <<-END
			[trial]
			lease = 60s
			health_off = ns_per_call cpu_percent loop_stall_ms psi_cpu psi_io psi_memory tcp_retrans_percent tcp_resets_per_s
			[boot]
			delay = 0s
			[fleet]
			controller = https://10.0.2.2:$port_agents
			enroll = https://10.0.2.2:$port_enroll
			token_file = $g/given/token
			min_interval = 0s
			zone = $name
		END
		guests+=("$name")
	fi
	tests/vm/run --kernel "$kernel" --smp 1 --mem 640 --net --timeout 900 --file "$g/given" "$@" -- \
		bash tests/vm/member "$g/given" >>"$g/log" 2>&1 &
	echo $! >"$g/pid"
}

guest_kill() {
	local pid

	pid=$(cat "$F/guest-$1/pid" 2>/dev/null) || return 0
	rm -f "$F/guest-$1/pid"
	kill "$pid" 2>/dev/null
	timeout 30 tail -s 0.05 --pid="$pid" -f /dev/null
	wait "$pid" 2>/dev/null || :
}

guest_is() {
	fleet host list -j >"$F/hosts.list" 2>&1 || { cat "$F/hosts.list" && return 1; }
	jq -e --arg name "$1" ".hosts[] | select(.name == \$name) | $2" "$F/hosts.list" >/dev/null || {
		jq -c --arg name "$1" '.hosts[] | select(.name == $name)' "$F/hosts.list"
		tail -n 2 "$F/guest-$1/log"
		return 1
	}
}

guests_end() {
	local name

	for name in ${guests[@]+"${guests[@]}"}; do guest_kill "$name"; done
}
