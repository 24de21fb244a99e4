# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tests/scenario/lib.sh -- sourced by every scenario: a real hotfixd with a state directory,
# socket and bpffs folder of its own, hotfixctl beside it, assertions, and one line per test.
#
#	tests/scenario/FILE.sh [PATTERN]	runs the test_* functions whose sentence matches
#
# A scenario defines, maybe, setup (once, before the tests) and functions test_<sentence>, or
# adds tests with add_test; its last line is run_tests "$@".  Each test runs in a subshell: variables it sets are gone
# after it, daemons it started are ended.  What setup started lives until the end.
#
#	ok - sentence | not ok - sentence: why | skip - sentence: why
#
# test_attack_N_<sentence> is "attack N: sentence": a row of the table in DESIGN.md.

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
bundles=$PWD/$B/bundles

# As whom the daemon's loop runs: nobody's number, so that no machine needs a user for it.
user=${HOTFIXD_TEST_USER:-64242}

# How long anything may take before it counts as hanging; guests are emulated.
LIMIT=${LIMIT:-90}

T=$(mktemp -d "${TMPDIR:-/tmp}/hotfixd-test-XXXXXX") || exit 1
chmod 755 "$T"			# tests look in as other users

# A bpffs of its own, so that none of it stays; not every machine has one mounted, either.
pins=$T-bpffs
echo $$ >"$T-owner"
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
	processes_gone "$1"
}

# processes_gone NAME: loop and workers end with the parent, which does not wait for them
processes_gone() {
	[ ! -e "$T/$1/state/lock" ] || flock -w 20 "$T/$1/state/lock" true
}

# unregister_all FOLDER: struct_ops without a link would outlive its pins
unregister_all() {
	local name

	for name in "$1"/*/slots/struct_ops:*/{ops,ops_new}; do
		[ ! -e "$name" ] || "$act" unregister "$name"
	done
}

# unmount_below PREFIX: every mount whose path begins with it
unmount_below() {
	local name

	awk -v t="$1" 'index($2, t) == 1 { print $2 }' /proc/mounts | tac |
		while read -r name; do umount -l "$name"; done
}

# What an ended test left in the kernel.
scrub() {
	local name

	end_daemon "$1"
	unmount_below "$T/$1/"
	[ -d "$pins/$1" ] || return 0
	unregister_all "$pins/$1"
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
	rm -rf "$T" "$T-owner"
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
	"$bin/hotfixd" --state-dir "$state" --socket "$sock" --bpffs "$bpffs" --user "$user" "$@" \
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

# Who serves, renews leases and judges; the daemon's own pid is its parent's.
loop_pid() {
	hotfixctl status -j >"$T/loop" && "$act" field "$T/loop" .daemon.loop_pid
}

# stop [SIGNAL]: and wait until it is gone
stop() {
	local pid

	pid=$(daemon_pid)
	kill "-${1:-TERM}" "$pid"
	"$act" wait "$((LIMIT * 1000))" "$pid" ||
		fail "hotfixd (pid $pid) did not end after SIG${1:-TERM}: $(cat /proc/"$pid"/task/*/stack)"
	rm -f "$T/$instance/pid"
	processes_gone "$instance"
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

# prepared: the bundles of tests/scenario/prepare are there
prepared() {
	[ -d "$bundles/bad" ] || tests/scenario/prepare >"$T/prepare.log" 2>&1 ||
		fail "tests/scenario/prepare: $(cat "$T/prepare.log")"
}

# keys: a release key and a root that trusts it: those of tests/scenario/prepare, if it ran
keys() {
	[ -e "$T/root" ] && return 0
	if [ -e "$bundles/root" ]; then
		cp -p "$bundles"/release.* "$bundles/root" "$T/"
		return
	fi
	{
		"$bin/hotfixctl" key new --out "$T/release" --no-passphrase &&
			"$bin/hotfixctl" trust init --key "$T/release.pub" --out "$T/root"
	} >"$T/keys.log" 2>&1 || fail "no keys: $(cat "$T/keys.log")"
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

# lifted NAME SERIAL: not quarantined any more, if it was
lifted() {
	hotfixctl retry "$1@$2" >"$T/lifted" 2>&1 || grep -q 'not quarantined' "$T/lifted" || fail "$(cat "$T/lifted")"
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

# field VALUES PATH...: of the JSON document on the last command's stdout (see act field)
field() {
	local want=$1 got
	shift

	got=$("$act" field "$out" "$@" 2>&1) || fail "no JSON: $got -- $(head -c 600 "$out")"
	[ "$got" = "$want" ] || fail "$* is '$got' instead of '$want'"
}

# json FILTER VALUE: the same through jq, whose start takes a second in an emulated guest
json() {
	local got

	got=$(jq -c -r "$1" "$out" 2>&1) || fail "jq $1: $got -- $(head -c 600 "$out")"
	[ "$got" = "$2" ] || fail "$1 is $got instead of $2"
}

# same WANT GOT [WHAT]
same() {
	[ "$1" = "$2" ] || fail "${3:-got} $2 instead of $1"
}

# hotfix_is NAME STATE LIVE COMMITTED [TRIAL]: as status -j has it; serials, "-" for none
hotfix_is() {
	local h=".hotfixes[name=$1]"

	expect 0 hotfixctl status -j
	field "$2 $3 $4 ${5:--}" "$h.state" "$h.live_serial" "$h.committed_serial" "$h.trial_serial"
}

# idle [NAME]: no change of it, or of any, is under way
idle() {
	hotfixctl status -j >"$T/status" &&
		! "$act" field "$T/status" ".hotfixes[${1:+name=$1}].change" | grep -q '[0-9]'
}

# eventually COMMAND...: until it succeeds; for what no event announces
eventually() {
	local end=$((SECONDS + LIMIT))

	until "$@" >"$T/eventually" 2>&1; do
		[ "$SECONDS" -lt "$end" ] || fail "not within $LIMIT s: $* -- $(tail -n 3 "$T/eventually")"
		sleep 0.05
	done
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

# The names of congestion controls are the kernel's, not ours.
one_cc_run_at_a_time() {
	local owner dir

	exec {cc_lock}>/tmp/hotfixd-test-cc.lock
	flock -w 900 "$cc_lock"
	# Names that a killed run left registered.
	for owner in "${TMPDIR:-/tmp}"/hotfixd-test-*-owner; do
		if [ ! -e "$owner" ] || kill -0 "$(cat "$owner")" 2>/dev/null; then continue; fi
		for dir in "${owner%-owner}-bpffs"/*/; do unregister_all "$dir"; done
		unmount_below "${owner%-owner}"
		rm -rf "${owner%-owner}"{,-bpffs} "$owner"
	done
}

# census: what the kernel holds, a line for each program, map and link
census() {
	"$act" census
}

# same_census BEFORE: nothing is there that was not; what was going away then may be gone
same_census() {
	local more

	more=$(diff "$1" <(census) | sed -n 's/^> //p')
	[ -z "$more" ] || { echo "left: $more" && return 1; }
}

# nothing_left NAME MAP [CENSUS-BEFORE]: of a removed hot-fix, neither pins nor its maps; in a
# guest, where nobody else loads programs, the kernel holds what it held before
nothing_left() {
	[ ! -e "$bpffs/$1" ] || fail "pins are left: $(find "$bpffs/$1")"
	eventually no_map "$2"
	if [ -n "${3:-}" ] && [ "${WHERE:-}" = guest ]; then
		eventually same_census "$3"
	fi
}

no_map() {
	[ "$("$act" maps "$1")" = "$1 -" ]
}

# sums VALUES: "1,2|0" of act maps -> summed=(3 0)
sums() {
	local map value sum maps

	summed=()
	IFS='|' read -r -a maps <<<"$1"
	for map in "${maps[@]}"; do
		sum=0
		for value in ${map//,/ }; do sum=$((sum + value)); done
		summed+=("$sum")
	done
}

# alone BEFORE AFTER WHICH: of several versions' maps only that one's (0, 1) counted on
alone() {
	local before after i summed

	sums "$1"
	before=("${summed[@]}")
	sums "$2"
	after=("${summed[@]}")
	[ ${#before[@]} = ${#after[@]} ] || return 1
	for i in "${!after[@]}"; do
		if [ "$i" = "$3" ]; then
			[ "${after[$i]}" -gt "${before[$i]}" ] || return 1
		else
			[ "${after[$i]}" = "${before[$i]}" ] || return 1
		fi
	done
}

# ran MAP WHICH DEED...: by that deed the version WHICH alone is called
ran() {
	local map=$1 which=$2 before after
	shift 2

	before=$("$act" maps "$map")
	"$@"
	after=$("$act" maps "$map")
	alone "${before#* }" "${after#* }" "$which" ||
		fail "by $*, version $which should have run alone: $before became $after"
}

# hold CC: a connection that stays open; send KIB moves data over it
hold() {
	coproc HOLD { exec "$act" hold "$1"; }
	read -r -t "$LIMIT" -u "${HOLD[0]}" answer || fail "no connection over $1"
	same ready "$answer" "a connection over $1"
}

send() {
	echo "$1" >&"${HOLD[1]}"
	read -r -t "$LIMIT" -u "${HOLD[0]}" answer || fail "the connection broke"
}

let_go() {
	local pid=$HOLD_PID

	eval "exec ${HOLD[1]}>&-"
	wait "$pid"
}

# --- running -------------------------------------------------------------------------------

in_test=
on_error() {
	[ -s "$T/why" ] || printf 'line %s: %s' "$1" "$2" >"$T/why"
}

sentences=() commands=()
# add_test SENTENCE COMMAND...: words are kept apart by spaces alone
add_test() {
	sentences+=("$1")
	shift
	commands+=("$*")
}

run_setup() {
	: >"$T/why"
	set -eE
	trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
	trap 'rc=$?; [ $rc = 0 ] || echo "not ok - set up ${0##*/}: $(tr "\n" " " <"$T/why")"; end_all; exit $rc' EXIT
	setup
	set +eE
	trap - ERR
	trap end_all EXIT
}

run_test() { # run_test SENTENCE COMMAND
	local rc d

	: >"$T/why"
	for d in "$T"/*/log; do
		[ -e "$d" ] && wc -l <"$d" >"${d%log}log-lines"
	done
	(
		trap - EXIT
		trap 'on_error "$LINENO" "$BASH_COMMAND"' ERR
		set -eE
		in_test=1
		# shellcheck disable=SC2086	# words
		$2
	) </dev/null >"$T/output" 2>&1
	rc=$?
	case $rc in
	0) echo "ok - $1" ;;
	77) echo "skip - $1: $(cat "$T/why")" ;;
	*)
		echo "not ok - $1: $(tr '\n' ' ' <"$T/why")"
		failed=1
		sed 's/^/#   /' "$T/output" | tail -n "${lines_shown:-30}"
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
}

run_tests() {
	local pattern=${1:-} t sentence i failed=0

	if declare -F setup >/dev/null; then
		run_setup
	fi
	while read -r t; do
		declare -F "$t" >/dev/null || continue # taken out where it cannot run
		sentence=${t#test_}
		sentence=${sentence//_/ }
		[[ $sentence =~ ^(attack\ [0-9]+)\ (.*) ]] && sentence="${BASH_REMATCH[1]}: ${BASH_REMATCH[2]}"
		[[ $sentence =~ $pattern ]] && run_test "$sentence" "$t"
	done < <(sed -n 's/^\(test_[A-Za-z0-9_]*\)().*/\1/p' "$0")
	for i in "${!sentences[@]}"; do
		[[ ${sentences[$i]} =~ $pattern ]] && run_test "${sentences[$i]}" "${commands[$i]}"
	done
	exit "$failed"
}
