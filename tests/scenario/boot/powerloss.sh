#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# powerloss.sh BOOT ID -- one boot of a host that loses its power: looks at what the boot before
# left, then applies and rolls back until a reset strikes.  ID: the last change whose success a
# client was told; 0: none so far.
#
#	acked ID SERIAL			a client was told
#	found SERIAL OPEN QUARANTINED	after the reset: what is live, changes that were open
#					then, versions in quarantine
#	not ok - WHY

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/../lib.sh"

boot=$1 acked=$2 name=denies
# As if power were lost now and then: a host that crashes again and again is another matter.
date -s "@$(($(date +%s) + boot * 7200))" >/dev/null
use powerloss
state=/state/hotfixd

wrong() {
	echo "not ok - boot $boot: $*: $(tr '\n' ' ' <"$T/why") $(tail -n 5 "$log" | tr '\n' ' ')"
	sync
	exit 1
}

# Odd serials deny getsid() to all users, even ones to nobody alone.
behaves_like() {
	local want

	case $1 in
	-) want='ok ok' ;;
	*[13579]) want='EACCES EACCES' ;;
	*) want='ok EACCES' ;;
	esac
	same "$want" "$("$act" --uid 1000 getsid || :) $("$act" --uid 65534 getsid || :)" "behaviour of $1"
}

# What a client was told is in the history as done, and nothing since then undid it unasked.
look() {
	local live committed open quarantined id serial

	sqlite3 /state/hotfixd/state.db 'PRAGMA integrity_check' >"$out" 2>&1 || fail "sqlite3: $(cat "$out")"
	same ok "$(cat "$out")" "the integrity check"
	open=$(sqlite3 /state/hotfixd/state.db "SELECT count(*) FROM change WHERE outcome = ''")
	hotfixd
	expect 0 hotfixctl audit --verify
	eventually idle
	expect 0 hotfixctl history $name -j
	if [ "$acked" != 0 ]; then
		field 'done' ".changes[id=$acked].outcome"
	fi
	# Newest first: the last that was done says what is to run.
	read -r id serial < <(jq -r '[.changes[] | select(.outcome == "done" and
		(.verb == "apply" or .verb == "rollback" or .verb == "commit"))][0] | "\(.id) \(.serial)"' "$out")
	[ "$id" -ge "$acked" ] || fail "change $acked was acknowledged, but the last one done is $id"
	same 0 "$(jq '[.changes[] | select(.outcome == "" or .detail == null)] | length' "$out")" "changes that nobody explains"
	eventually live_is "$serial"
	expect 0 hotfixctl status -j
	live=$("$act" field "$out" ".hotfixes[name=$name].live_serial")
	committed=$("$act" field "$out" ".hotfixes[name=$name].committed_serial")
	same "$serial" "$live" "the live version"
	same "$serial" "$committed" "the committed version"
	field live ".hotfixes[name=$name].state"
	behaves_like "$live"
	expect 0 hotfixctl list -j
	quarantined=$(jq '[.versions[] | select(.state == "quarantined")] | length' "$out")
	echo "found $live $open $quarantined"
}

live_is() {
	hotfixctl status -j >"$T/status" && "$act" field "$T/status" ".hotfixes[name=$name]" &&
		[ "$("$act" field "$T/status" ".hotfixes[name=$name].live_serial")" = "$1" ]
}

change() { # change SERIAL hotfixctl-ARGUMENT...
	local serial=$1
	shift

	expect 0 hotfixctl -j "$@"
	echo "acked $("$act" field "$out" .change) $serial"
}

objects=(fmod_ret_getsid_v2 fmod_ret_getsid)
critical='{"severity":"critical"}' # applied at once after a boot
(
	set -e
	if [ "$boot" = 1 ]; then
		trusting
		cp "$T"/release.* "$T/root" /state/ && sync # ours, not hotfixd's
		stored $name 1 fmod_ret_getsid "$critical"
		change 1 apply $name@1 --commit
		last=1
	else
		cp -p /state/release.* /state/root "$T/"
		look
		expect 0 hotfixctl list -j
		last=$(jq '[.versions[].serial] | max' "$out")
	fi
	live=$(hotfixctl status -j | "$act" field - ".hotfixes[name=$name].live_serial")
	# From half a second to four: in an import, an apply, a trial, a rollback or between them.
	(sleep "$((RANDOM % 4)).$((5 + RANDOM % 5))" && echo b >/proc/sysrq-trigger) &
	while :; do
		next=$((last + 1))
		stored $name $next "${objects[next % 2]}" "$critical"
		change $next apply $name@$next --commit
		change "$live" rollback $name --to "$live"
		expect 0 hotfixctl apply $name@$next --trial 60s
		change $next commit $name
		live=$next last=$next
	done
) || wrong "$(tail -n 3 "$err" 2>/dev/null | tr '\n' ' ')"
