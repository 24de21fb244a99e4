#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# kernels: 6.1 6.12-long newest
# timeout: 400
#
# Long-lived connections, and defaults that new network namespaces inherited: they follow a
# registration that is replaced, and leave one that goes; and what no gate controls is taken
# back by the guard when the daemon dies in a trial.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

default=/proc/sys/net/ipv4/tcp_congestion_control
becomes_default='{"struct_ops":{"default":true}}'
own='{"struct_ops":{"state":"own"}}'
lease_ms=4000

setup() {
	one_cc_run_at_a_time
	printf '[trial]\nlease = %dms\n' $lease_ms >"$T/conf"
	# Only the guest's default is ours to change.
	usual=$(cat $default)
	use shared
	trusting --config "$T/conf"
	stored members 1 "$foreign/cc_reno_link.bpf.o"
	stored members 2 "$PWD/$B/tests/scenario/cc_members.bpf.o"
	stored owns 1 cc_control "$own"
	stored owns 2 cc_control_v2 "$own"
	stored names 2 cc_control
	mounted=$T/shared/namespace
	namespace "$mounted"
	# Its end is seen to like that of a daemon.
	# shellcheck disable=SC2016
	unshare -n sh -c 'ip link set lo up && touch "$1" && exec sleep 1000' sh "$T/up" &
	held=$!
	mkdir "$T/held" && echo $held >"$T/held/pid"
	eventually test -e "$T/up"
}

# namespace FILE: a new network namespace that no process is in
namespace() {
	touch "$1"
	unshare --net="$1" ip link set lo up
}

# --- connections in three namespaces -------------------------------------------------------------

where_of=("" "nsenter --net=$T/shared/namespace" "nsenter -t @ -n")
pids=() to=() from=()

# hold_all CC [N]: a connection in each of the (first N) namespaces
hold_all() {
	local i fd

	for ((i = 0; i < ${2:-3}; i++)); do
		rm -f "$T/hold.in" "$T/hold.out"
		mkfifo "$T/hold.in" "$T/hold.out"
		# shellcheck disable=SC2086	# words
		${where_of[i]//@/$held} "$act" hold "$1" <"$T/hold.in" >"$T/hold.out" &
		pids[i]=$!
		exec {fd}>"$T/hold.in" && to[i]=$fd
		exec {fd}<"$T/hold.out" && from[i]=$fd
		read -r -t "$LIMIT" -u "${from[i]}" answer
		same ready "$answer" "a connection over $1 in namespace $i"
	done
}

# send_all CC [KIB]: over each, and each says that it uses CC
send_all() {
	local i

	for i in "${!to[@]}"; do
		echo "${2:-64}" >&"${to[i]}"
		read -r -t "$LIMIT" -u "${from[i]}" answer || fail "connection $i broke"
		[[ $answer = *"\"cc\":\"$1\""* ]] || fail "connection $i says $answer, not $1"
	done
}

let_all_go() {
	local i

	for i in "${!to[@]}"; do
		eval "exec ${to[i]}>&- ${from[i]}<&-"
		# Those begun after it hold its input open.
		kill "${pids[i]}" 2>/dev/null || :
		wait "${pids[i]}" || :
	done
	to=() from=()
}

# outcome STEP WANT FIELD...: of what the last change of this verb says about sockets
outcome() {
	local verb=$1 step=$2 want=$3
	shift 3

	expect 0 hotfixctl history -j
	field "$want" "${@/#/.changes[verb=$verb].evidence.$step.sockets.}"
}

test_connections_follow_a_version_with_other_members_in_every_namespace() {
	expect 0 hotfixctl apply members@1 --commit
	hold_all fgn_reno_link
	send_all fgn_reno_link
	expect 0 hotfixctl apply members@2 --commit
	ran control_calls 0 send_all fgn_reno_link
	ran reno_link_acks -1 send_all fgn_reno_link
	outcome apply settle '3 0' moved left
	# A version that cannot serve what is registered sends busy sockets to Reno, for a moment.
	expect 0 hotfixctl rollback members
	ran reno_link_acks 0 send_all fgn_reno_link
	ran control_calls -1 send_all fgn_reno_link
	outcome rollback settle '3 0' moved left
	expect 0 hotfixctl disable members
	send_all "$usual"
	outcome disable remove '3 0' moved left
	let_all_go
}

test_nothing_is_left_after_a_removal_with_connections_open() {
	census >"$T/census"
	expect 0 hotfixctl apply names@2 --commit
	hold_all fgn_control
	expect 0 hotfixctl disable names
	send_all "$usual"
	nothing_left names control_calls "$T/census"
	send_all "$usual"
	let_all_go
}

test_a_listening_socket_is_moved_and_what_it_accepts_too() {
	stored listens 1 cc_reno
	expect 0 hotfixctl apply listens --commit
	coproc HOLD { exec "$act" listen fgn_reno; }
	read -r -t "$LIMIT" -u "${HOLD[0]}" answer
	send 1
	same 'fgn_reno fgn_reno' "$answer"
	expect 0 hotfixctl disable listens
	send 1
	same "$usual $usual" "$answer"
	let_go
	expect 0 hotfixctl remove listens
}

# The kernel frees what was taken out when it comes to it.
one_version_left() {
	[[ $("$act" maps "$1") != *'|'* ]]
}

test_sockets_of_a_version_with_its_own_state_are_taken_over_when_it_goes() {
	expect 0 hotfixctl apply owns@1 --commit
	hold_all fgn_control
	expect 0 hotfixctl apply owns@2 --commit
	ran control_calls 0 send_all fgn_control
	expect 0 hotfixctl remove owns@1
	outcome remove unstage '3 0' moved left
	eventually one_version_left control_calls
	ran control_calls 0 send_all fgn_control
	expect 0 hotfixctl disable owns
	send_all "$usual"
	let_all_go
	nothing_left owns control_calls
}

test_a_socket_that_its_route_ties_to_the_algorithm_is_counted_and_goes_on() {
	stored tied 1 cc_reno
	expect 0 hotfixctl apply tied --commit
	namespace "$T/shared/routed"
	where_of=("nsenter --net=$T/shared/routed")
	${where_of[0]} ip route replace local 127.0.0.1 dev lo table local congctl lock fgn_reno
	hold_all '' 1
	send_all fgn_reno
	expect 0 hotfixctl disable tied
	outcome disable remove '0 2' moved left	# both ends of it
	send_all fgn_reno
	let_all_go
	expect 0 hotfixctl remove tied
	nothing_left tied reno_acks
}

test_a_namespace_that_inherited_the_default_gets_it_back() {
	census >"$T/census"
	stored inherits 1 cc_reno "$becomes_default"
	expect 0 hotfixctl apply inherits --commit
	where_of=("nsenter --net=$T/shared/heir")
	namespace "$T/shared/heir"
	same fgn_reno "$(${where_of[0]} cat $default)" "the inherited default"
	hold_all '' 1
	send_all fgn_reno
	expect 0 hotfixctl disable inherits
	outcome disable remove '2 0' defaults unreachable
	same "$usual" "$(cat $default)" "the default"
	same "$usual" "$(${where_of[0]} cat $default)" "the inherited default"
	send_all "$usual"
	nothing_left inherits reno_acks "$T/census"
	let_all_go
}

# --- the guard ---------------------------------------------------------------------------------

guards() {
	pgrep -f "^hotfixd guard $bpffs $1\$" >/dev/null
}

no_guard() {
	! guards "$1"
}

# taken_back RESULT DEED: within the lease and a second, by nobody but the guard
taken_back() {
	expect 0 "$act" until $((lease_ms + 1000 + ${slack:-0})) "$@"
}
[ "${WHERE:-native}" = native ] || slack=2000 # guests are emulated

test_a_registration_of_a_trial_goes_when_the_daemon_died() {
	use dies
	trusting --config "$T/conf"
	stored names 1 cc_reno
	stored names 2 cc_control
	expect 0 hotfixctl apply names@1 --commit
	eventually no_guard names
	expect 0 hotfixctl apply names@2 --trial 600s
	hold fgn_control
	guards names || fail "no guard"
	stop KILL
	same ENOENT "$("$act" tcp=fgn_reno || :)" "tcp=fgn_reno"
	taken_back ENOENT tcp=fgn_control
	same ok "$("$act" tcp=fgn_reno)" "tcp=fgn_reno"
	eventually no_guard names
	send 64
	[[ $answer = *'"cc":"fgn_reno"'* ]] || fail "the socket uses another: $answer"
	let_go
	hotfixd --config "$T/conf"
	eventually idle names
	hotfix_is names live 1 1
	expect 0 hotfixctl history names -j
	field 'rolled_back LEASE_EXPIRED' '.changes[serial=2].outcome' '.changes[serial=2].code'
	same ok "$("$act" tcp=fgn_reno)" "tcp=fgn_reno"
	expect 0 hotfixctl disable names
	nothing_left names reno_acks
}

test_a_first_trial_leaves_nothing_registered_when_the_daemon_died() {
	use dies
	trusting --config "$T/conf"
	stored names 2 cc_control
	expect 0 hotfixctl apply names@2 --trial 600s
	stop KILL
	taken_back ENOENT tcp=fgn_control
	hotfixd --config "$T/conf"
	eventually idle names
	hotfix_is names quarantined - -
	nothing_left names control_calls
}

test_a_daemon_that_hangs_is_no_daemon() {
	local loop
	use hangs
	trusting --config "$T/conf"
	stored names 2 cc_control
	expect 0 hotfixctl apply names@2 --trial 600s
	loop=$(loop_pid)
	kill -STOP "$loop"
	taken_back ENOENT tcp=fgn_control
	kill -CONT "$loop"
	eventually idle names
	hotfix_is names quarantined - -
	expect 0 hotfixctl history names -j
	field LEASE_EXPIRED '.changes[verb=apply].code'
}

test_a_daemon_that_is_back_in_time_goes_on_with_the_trial_and_the_guard_with_it() {
	use back
	trusting --config "$T/conf"
	stored names 2 cc_control
	expect 0 hotfixctl apply names@2 --trial 600s
	stop KILL
	hotfixd --config "$T/conf"
	if [ "$(state_of names)" = trial ]; then # an emulated start may take longer than the lease
		# longer than the old lease: only who renews it keeps the registration
		expect 3 "$act" until $((lease_ms + 1000)) ENOENT tcp=fgn_control
		guards names || fail "no guard"
		eventually hotfixctl rollback names
	fi
	eventually idle names
	expect 0 hotfixctl status -j
	field - '.hotfixes[name=names].live_serial'
	eventually no_guard names
	same ENOENT "$("$act" tcp=fgn_control || :)" "tcp=fgn_control"
}

test_a_guard_whose_hot_fix_somebody_took_away_ends() {
	use taken
	trusting --config "$T/conf"
	stored names 2 cc_control
	expect 0 hotfixctl apply names@2 --trial 600s
	guards names || fail "no guard"
	stop KILL
	find "$bpffs/names" -depth -delete
	eventually no_guard names
}

state_of() {
	hotfixctl status -j >"$T/status"
	"$act" field "$T/status" ".hotfixes[name=$1].state"
}

test_the_default_of_a_trial_is_given_back_when_the_daemon_died() {
	use default
	trusting --config "$T/conf"
	stored takes 1 cc_reno "$becomes_default"
	expect 0 hotfixctl apply takes --trial 600s
	same fgn_reno "$(cat $default)" "the default"
	stop KILL
	taken_back ENOENT tcp=fgn_reno
	eventually no_guard takes
	same "$usual" "$(cat $default)" "the default"
}

test_a_sleepable_hook_of_a_trial_is_detached_when_the_daemon_died() {
	use sleeps
	trusting --config "$T/conf"
	stored sleeps 1 lsm_sleepable_rmdir
	stored sleeps 2 lsm_sleepable_rmdir_v2
	expect 0 hotfixctl apply sleeps@1 --commit
	mkdir "$T/sealed-1" "$T/sealed-2"
	expect 0 hotfixctl apply sleeps@2 --trial 600s
	same EPERM "$("$act" "rmdir=$T/sealed-2" || :)" "rmdir of sealed-2"
	stop KILL
	taken_back ok "rmdir=$T/sealed-2"
	same EPERM "$("$act" "rmdir=$T/sealed-1" || :)" "rmdir of sealed-1"
	hotfixd --config "$T/conf"
	eventually idle sleeps
	hotfix_is sleeps live 1 1
	expect 0 hotfixctl disable sleeps
	same ok "$("$act" "rmdir=$T/sealed-1")" "rmdir of sealed-1"
}

# What this machine itself may not take, or not allow.
[ "${WHERE:-native}" = guest ] || unset -f test_a_namespace_that_inherited_the_default_gets_it_back \
	test_the_default_of_a_trial_is_given_back_when_the_daemon_died \
	test_a_sleepable_hook_of_a_trial_is_detached_when_the_daemon_died
# Before Linux 6.4 a registration outlives its pins.
kernel_at_least 6 4 || unset -f test_a_guard_whose_hot_fix_somebody_took_away_ends

run_tests "$@"
