# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/scenario/lib.sh -- sourced by every scenario: a real hotfixd with a state directory,
# socket and bpffs folder of its own, hotfixctl beside it, assertions, and one line per test.
#
#	tests/scenario/FILE.sh [PATTERN]	runs the test_* functions whose sentence matches
#
# A scenario defines, maybe, setup (once, before the tests) and functions test_<sentence>;
# its last line is run_tests "$@".  Each test runs in a subshell: variables it sets are gone
# after it, daemons it started are ended.  What setup started lives until the end.
#
#	ok - sentence | not ok - sentence: why | skip - sentence: why

set -u
export LC_ALL=C.UTF-8
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
unset HOTFIXD_SOCKET NOTIFY_SOCKET JOURNAL_STREAM NO_COLOR

B=${B:-$([ -n "${SAN:-}" ] && echo build-san || echo build)}
bin=$PWD/$B/bin
act=$PWD/$B/tests/scenario/act
forge=$PWD/$B/tests/scenario/forge
foreign=$PWD/$B/tests/foreign
bad=$PWD/$B/tests/bad

# How long anything may take before it counts as hanging; guests are emulated.
LIMIT=${LIMIT:-90}

T=$(mktemp -d "${TMPDIR:-/tmp}/hotfixd-test.XXXXXX") || exit 1
chmod 755 "$T"			# tests look in as other users

# A bpffs of its own, so that none of it stays; not every machine has one mounted, either.
pins=$T.bpffs
mkdir "$pins" && mount -t bpf bpf "$pins" || exit 1

# --- ending --------------------------------------------------------------------------------

fail() {
	printf '%s' "$*" >"$T/why"
	exit 1
}

skip() {
	printf '%s' "$*" >"$T/why"
	exit 77
}

# end_daemon NAME: kill -9 and wait until it is gone
end_daemon() {
	local pid

	pid=$(cat "$T/$1/pid" 2>/dev/null) || return 0
	rm -f "$T/$1/pid"
	kill -9 "$pid" 2>/dev/null || return 0
	"$act" wait 20000 "$pid"
}

# What an ended test left in the kernel: struct_ops without a link would outlive its pins.
scrub() {
	local name

	end_daemon "$1"
	awk -v t="$T/$1/" 'index($2, t) == 1 { print $2 }' /proc/mounts | tac |
		while read -r name; do umount -l "$name"; done
	[ -d "$pins/$1" ] || return 0
	for name in "$pins/$1"/*/slots/struct_ops:*; do
		[ -e "$name/registered" ] && "$act" unregister "$name/registered"
	done
	find "$pins/$1" -depth -delete 2>/dev/null
}

end_all() {
	local d

	trap - EXIT
	set +e
	exec 2>/dev/null	# what bash has to say about killed daemons
	for d in "$T"/*/; do
		[ -d "$d" ] && scrub "$(basename "$d")"
	done
	umount -l "$pins" && rmdir "$pins"
	rm -rf "$T"
}
trap end_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- the daemon ----------------------------------------------------------------------------

# use NAME: from here on, hotfixd and hotfixctl mean this instance
use() {
	instance=$1
	state=$T/$1/state
	sock=$T/$1/sock
	bpffs=$pins/$1
	log=$T/$1/log
	mkdir -p "$T/$1"
	touch "$log"
	[ -n "${in_test:-}" ] && [ ! -e "$T/$1/of-setup" ] && touch "$T/$1/of-test"
	[ -n "${in_test:-}" ] || touch "$T/$1/of-setup"
	return 0
}

# hotfixd FLAG...: starts this instance and returns when it is ready; its pid is in $pid.
# When it refuses to start: its exit status, its words in $err.
hotfixd() {
	local fifo=$T/$instance/ready answer

	rm -f "$fifo"
	mkfifo "$fifo"
	: >"$err"
	"$bin/hotfixd" --state-dir "$state" --socket "$sock" --bpffs "$bpffs" "$@" \
		> >(sed -u 's/^/stdout: /' >>"$log") 2> >(
			told=
			while IFS= read -r line; do
				printf '%s\n' "$line" >>"$log"
				[ -n "$told" ] || printf '%s\n' "$line" >>"$err"
				case $line in *"ready socket="*)
					[ -n "$told" ] || echo ready >"$fifo"
					told=1
					;;
				esac
			done
			[ -n "$told" ] || echo ended >"$fifo"
		) &
	pid=$!
	echo "$pid" >"$T/$instance/pid"
	exec {fd}<>"$fifo"
	read -r -t "$LIMIT" -u "$fd" answer || answer="not ready within $LIMIT s"
	exec {fd}>&-
	case $answer in
	ready) return 0 ;;
	ended)
		rm -f "$T/$instance/pid"
		wait "$pid"
		return $?
		;;
	esac
	fail "hotfixd: $answer: $(tail -n 3 "$log")"
}

daemon_pid() {
	cat "$T/$instance/pid"
}

# stop [SIGNAL]: and wait until it is gone
stop() {
	local pid

	pid=$(daemon_pid)
	kill "-${1:-TERM}" "$pid"
	"$act" wait "$((LIMIT * 1000))" "$pid" || fail "hotfixd (pid $pid) did not end after SIG${1:-TERM}"
	rm -f "$T/$instance/pid"
}

hotfixctl() {
	timeout -k 5 "$LIMIT" "$bin/hotfixctl" --socket "$sock" "$@"
}

api() { # api PATH [CURL-ARGUMENT...]: body to $out, its HTTP status to $status
	local path=$1
	shift

	status=$(timeout -k 5 "$LIMIT" curl -sS --unix-socket "$sock" -o "$out" -w '%{http_code}' \
		"$@" "http://hotfixd/v1$path" 2>"$err") || fail "curl $path: $(cat "$err")"
}

# keys: a release key and a root that trusts it, made once
keys() {
	[ -e "$T/root" ] && return 0
	"$bin/hotfixctl" key new --out "$T/release" --no-passphrase >"$T/keys.log" 2>&1 &&
		"$bin/hotfixctl" trust init --key "$T/release.pub" --out "$T/root" >>"$T/keys.log" 2>&1 ||
		fail "no keys: $(cat "$T/keys.log")"
}

# trusting [FLAG...]: this instance, started, and trusting the key
trusting() {
	keys
	hotfixd "$@" || fail "hotfixd did not start: $(cat "$err")"
	hotfixctl trust import "$T/root" >"$out" 2>&1 || fail "trust import: $(cat "$out")"
}

# --- bundles -------------------------------------------------------------------------------

# pack NAME SERIAL OBJECT [FIELDS]: signs it into $bundle; FIELDS are more of the manifest
# (JSON).  Objects are named as built: "several" is tests/foreign/several.bpf.c.
pack() {
	local object=$3

	keys
	[ -e "$object" ] || object=$foreign/$3.bpf.o
	bundle=$T/$1@$2.hotfix
	printf '%s' "${4:-{\}}" >"$T/fields"
	"$bin/hotfixctl" pack --object "$object" --name "$1" --serial "$2" --manifest "$T/fields" \
		--key "$T/release.sec" --out "$bundle" >"$T/pack.log" 2>&1 ||
		fail "pack $1@$2: $(cat "$T/pack.log")"
}

# forged NAME SERIAL OBJECT HOOKS [KEY]: what pack would refuse to sign, signed all the same
forged() {
	keys
	bundle=$T/$1@$2.hotfix
	jq -n --arg name "$1" --argjson serial "$2" --argjson hooks "$4" \
		'{format: 1, name: $name, serial: $serial, hooks: $hooks}' >"$T/manifest"
	"$forge" "$T/manifest" "$3" "${5:-$T/release.sec}" "$bundle" >"$T/pack.log" 2>&1 ||
		fail "forge $1@$2: $(cat "$T/pack.log")"
}

# stored NAME SERIAL OBJECT [FIELDS]: packed and imported
stored() {
	pack "$@"
	expect 0 hotfixctl import "$bundle"
}

# flip FILE OFFSET: one bit of one byte
flip() {
	local byte

	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059	# the byte is the format
	printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# --- assertions ----------------------------------------------------------------------------

out=$T/out err=$T/err

# expect STATUS COMMAND...: its stdout to $out, its stderr to $err
expect() {
	local want=$1 rc=0
	shift

	"$@" >"$out" 2>"$err" || rc=$?
	[ "$rc" = "$want" ] ||
		fail "exit status $rc instead of $want: $* -- $(head -c 600 "$err" "$out" | tr '\n' ' ')"
}

# says REGEX...: stderr or stdout of the last command has each of them
says() {
	local re

	for re in "$@"; do
		grep -qiE -- "$re" "$err" "$out" || fail "nothing like /$re/ in: $(cat "$err" "$out")"
	done
}

says_not() {
	! grep -qiE -- "$1" "$err" "$out" || fail "unwanted /$1/ in: $(cat "$err" "$out")"
}

# json FILTER VALUE: stdout of the last command, through jq -c -r
json() {
	local got

	got=$(jq -c -r "$1" "$out" 2>&1) || fail "jq $1: $got -- $(head -c 600 "$out")"
	[ "$got" = "$2" ] || fail "$1 is $got instead of $2"
}

# same WANT GOT [WHAT]
same() {
	[ "$1" = "$2" ] || fail "${3:-got} $2 instead of $1"
}

# hotfix_is NAME FILTER VALUE: one hot-fix of status -j
hotfix_is() {
	expect 0 hotfixctl status -j
	json ".hotfixes[] | select(.name == \"$1\") | $2" "$3"
}

# eventually COMMAND...: until it succeeds; for what no event announces
eventually() {
	local end=$((SECONDS + LIMIT))

	until "$@" >"$T/eventually" 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "not within $LIMIT s: $* -- $(tail -n 3 "$T/eventually")"
		sleep 0.05
	done
}

# calls NAME [TYPE]: of all its hooks (of one type), summed
calls() {
	hotfixctl status -j | jq "[.hotfixes[] | select(.name == \"$1\") | .hooks[] |
		select(\"${2:-}\" == \"\" or .type == \"${2:-}\") | .calls // 0] | add // 0"
}

# serves: the daemon still answers
serves() {
	hotfixctl status -j >"$T/serves" 2>&1 || fail "hotfixd serves no more: $(cat "$T/serves")"
	kill -0 "$(daemon_pid)" 2>/dev/null || fail "hotfixd has ended"
}

# Can this kernel attach to functions at all?
trampolines() {
	[ -e "$T/trampolines" ] || { "$act" testrun >"$T/trampolines" 2>&1 || :; }
	grep -q '^ok' "$T/trampolines"
}

kernel_at_least() { # kernel_at_least 6 4
	local a b

	IFS=.- read -r a b _ < <(uname -r)
	[ "$a" -gt "$1" ] || { [ "$a" = "$1" ] && [ "$b" -ge "$2" ]; }
}

# census: what the kernel holds, one line per program, map and link, without kernel-made ids
census() {
	"$act" census | jq -r 'to_entries[] | .key as $kind | .value[] | "\($kind) \(.id) \(.name)"' | sort
}

# --- whole lives ---------------------------------------------------------------------------

needs_trampolines() {
	trampolines || skip "this kernel refuses trampolines ($(head -n 1 "$T/trampolines"))"
}

sums() { # sums MAP: of each map of that name, oldest first
	"$act" map "$1" | jq -c 'map(add // 0)'
}

# ran MAP WHICH SERIAL DEED: the deed moved the counters of version WHICH (0 or 1) alone
ran() {
	local before after

	before=$(sums "$1")
	"$4" "$3"
	after=$(sums "$1")
	jq -n -e --argjson b "$before" --argjson a "$after" --argjson w "$2" \
		'($b | length) == ($a | length) and $a[$w] > $b[$w] and
		 all(range($a | length); . == $w or $a[.] == $b[.])' >/dev/null ||
		fail "serial $3 should have run alone: $1 of each version went from $before to $after"
}

# nothing_left NAME MAP [CENSUS-BEFORE]: of a removed hot-fix, neither pins nor its maps; in a
# guest, where nobody else loads programs, the kernel holds what it held before
nothing_left() {
	[ ! -e "$bpffs/$1" ] || fail "pins are left: $(find "$bpffs/$1")"
	eventually no_map "$2"
	if [ -n "${3:-}" ] && trampolines; then
		eventually same_census "$3"
	fi
}

no_map() {
	[ "$(sums "$1")" = "[]" ]
}

same_census() {
	diff "$1" <(census)
}

# cycle OBJECT MAP PROOF DEED [FIELDS]: the whole life.  DEED SERIAL does something that the
# object sees and asserts its effect; PROOF holds for the values of the newest MAP after it.
cycle() {
	local object=$1 map=$2 proof=$3 deed=$4 fields=${5:-} name v2

	name=fgn-${object//_/-}
	v2=$foreign/${object}_v2.bpf.o
	[ -e "$v2" ] || v2=$foreign/$object.bpf.o
	census >"$T/before"
	stored "$name" 1 "$object" "$fields"
	stored "$name" 2 "$v2" "$fields"

	expect 0 hotfixctl apply "$name@1" --commit
	hotfix_is "$name" '[.state, .live_serial, .committed_serial, .trial_serial] | @csv' '"live",1,1,'
	ran "$map" 0 1 "$deed"
	"$act" map "$map" | jq -e ".[-1] | $proof" >/dev/null ||
		fail "not $proof: $("$act" map "$map")"
	[ "$(calls "$name")" -gt 0 ] || hotfix_is "$name" '[.hooks[].kind] | unique | .[]' overlap

	expect 0 hotfixctl apply "$name" --trial 60s
	hotfix_is "$name" '[.state, .live_serial, .committed_serial, .trial_serial] | @csv' '"trial",2,1,2'
	ran "$map" 1 2 "$deed"
	"$act" map "$map" | jq -e ".[-1] | $proof" >/dev/null ||
		fail "not $proof: $("$act" map "$map")"
	expect 0 hotfixctl commit "$name"
	ran "$map" 1 2 "$deed"

	expect 0 hotfixctl rollback "$name"
	hotfix_is "$name" '[.state, .live_serial, .committed_serial] | @csv' '"live",1,1'
	ran "$map" 0 1 "$deed"

	expect 0 hotfixctl disable "$name"
	"$deed" off
	expect 0 hotfixctl remove "$name"
	nothing_left "$name" "$map" "$T/before"
	expect 3 hotfixctl show "$name"
}

# --- running -------------------------------------------------------------------------------

in_test=
on_error() {
	[ -s "$T/why" ] || printf 'line %s: %s' "$1" "$2" >"$T/why"
}

run_tests() {
	local pattern=${1:-} t name rc failed=0 d

	if declare -F setup >/dev/null; then
		: >"$T/why"
		set -eE
		trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
		trap 'rc=$?; [ $rc = 0 ] || echo "not ok - set up ${0##*/}: $(cat "$T/why")"; end_all; exit $rc' EXIT
		setup
		set +eE
		trap - ERR
		trap end_all EXIT
	fi
	for t in $(sed -n 's/^\(test_[A-Za-z0-9_]*\)().*/\1/p' "$0"); do
		name=${t#test_}
		name=${name//_/ }
		[[ $name =~ $pattern ]] || continue
		: >"$T/why"
		for d in "$T"/*/log; do
			[ -e "$d" ] && wc -l <"$d" >"${d%log}log-lines"
		done
		(
			trap - EXIT
			trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
			set -eE
			in_test=1
			"$t"
		) </dev/null >"$T/output" 2>&1
		rc=$?
		case $rc in
		0) echo "ok - $name" ;;
		77) echo "skip - $name: $(cat "$T/why")" ;;
		*)
			echo "not ok - $name: $(tr '\n' ' ' <"$T/why")"
			failed=1
			sed 's/^/#   /' "$T/output" | tail -n 30
			for d in "$T"/*/log; do
				[ -s "$d" ] && tail -n "+$(($(cat "${d%log}log-lines" 2>/dev/null || echo 0) + 1))" "$d" |
					tail -n 20 | sed "s|^|#   $(basename "$(dirname "$d")"): |"
			done
			;;
		esac
		for d in "$T"/*/of-test; do
			[ -e "$d" ] || continue
			d=$(basename "$(dirname "$d")")
			scrub "$d"
			rm -rf "${T:?}/$d"
		done
	done
	exit $failed
}
