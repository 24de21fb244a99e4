#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# timeout: 600
#
# Programs that nobody wrote for hotfixd (tests/foreign), all of them live at the same time:
# applied, switched to a second serial, rolled back, disabled, removed.  After each step the
# same deeds are done, and the objects' own maps tell which version ran.
#
# Where the kernel refuses trampolines only the congestion controls are here.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

names=() expected_refusals=()
declare -A map_of

# row OBJECT MAP SENTENCE: MAP counts what the object did, from 1 on in every entry
row() {
	local name=fgn-${1//_/-}

	names+=("$name")
	map_of[$name]=$2
	add_test "$3" lived "$name"
}

preemptible() {
	grep -qE '\((full|lazy)\)' /sys/kernel/debug/sched/preempt
}

row cc_reno reno_acks 'a congestion control without a link switches'
row cc_reno_link reno_link_acks 'a congestion control with a link switches'
row cc_control control_calls 'a congestion control with cong_control switches'
row cc_min_tso min_tso_calls 'a congestion control with min_tso_segs and events switches'
if trampolines; then
	row fentry_tcp_state tcp_states 'fentry counts the states of TCP sockets'
	row fexit_statfs statfs_calls 'fexit sees arguments and result'
	row trampoline trampoline_checks 'a program may ask its trampoline for arguments, result and address'
	row dpath paths_found 'a helper that few targets allow works behind a dispatcher'
	row twice twice_calls 'two programs on one target both run'
	row several several_calls 'several programs of several types switch as one'
	row subprogs subprog_calls 'global functions are called'
	row loops complete_rounds 'callbacks are called'
	row maps all_maps_used 'maps of many kinds and global data are there'
	row storage stored 'local storage of tasks and sockets works'
	row core core_checks 'CO-RE relocations are resolved on this kernel'
	row externs externs_found 'symbols of the kernel are found'
	row fmod_ret_getsid getsid_seen 'fmod_ret on a security function counts'
	row fmod_ret_mmap mmaps_seen 'fmod_ret keeps its own arguments where the lsm hook of that name has others'
	row lsm_setnice setnice_seen 'lsm counts'
	row lsm_sleepable_exec execs_read 'sleepable lsm without a verdict runs'
	row lsm_sleepable_rmdir rmdir_seen 'sleepable lsm with a verdict runs'
	# Below 6.4 the kernel has neither functions that fmod_ret may change, but the security
	# functions, nor any that may sleep.
	if kernel_at_least 6 4; then
		row fmod_ret_other modify_calls 'fmod_ret on another function runs'
		row fentry_sleepable sleepable_calls 'sleepable fentry and fexit run'
		add_test 'fmod_ret on another function changes its result for as long as it is live' \
			deed_gave modify 'ok ENOMSG' 'ENOMSG ok' 'ok ENOMSG' 'ENOMSG ENOMSG'
	else
		expected_refusals=(fmod-ret-other fentry-sleepable)
		add_test 'what this kernel cannot hook is refused with the function named' refused_here
	fi
	add_test 'fmod_ret on a security function denies what the live version denies' \
		deed_gave getsid 'EACCES ok EACCES' 'ok ok EACCES' 'EACCES ok EACCES' 'ok ok ok'
	add_test 'lsm denies what the live version denies' \
		deed_gave nice 'ok EPERM EPERM' 'ok ok EPERM' 'ok EPERM EPERM' 'ok ok ok'
	add_test 'sleepable lsm denies what the live version denies' \
		deed_gave rmdir 'EPERM ok' 'ok EPERM' 'EPERM ok' 'ok ok'
	add_test 'fmod_ret that tasks could slip by needs the consent of its signer' leak_needs_consent
fi
add_test 'each congestion control is there as long as it is live' \
	deed_gave tcp 'ok ok ok ok' 'ok ok ok ok' 'ok ok ok ok' 'ENOENT ENOENT ENOENT ENOENT'
add_test 'nothing of all that is left in the kernel' all_gone

# --- the deeds -----------------------------------------------------------------------------------

# deeds STEP: all of them; a line each of what those with a visible effect gave
deeds() {
	local step=$1

	"$act" maps "${map_of[@]}" >"$T/before.$step"
	{
		echo "tcp" "$("$act" tcp=fgn_reno tcp=fgn_reno_link tcp=fgn_control tcp=fgn_min_tso || :)"
		if trampolines; then
			mkdir -p "$T/sealed-1" "$T/sealed-2"
			"$act" --times 3 getpgid statfs getscheduler fallocate mmap exec testrun nice=0 tcp= >&2 || :
			echo getsid "$("$act" --uid 1000 getsid getpgid || :)" "$("$act" --uid 65534 getsid || :)"
			echo nice "$("$act" --uid 1000 nice=5 nice=10 nice=15 || :)"
			echo rmdir "$("$act" "rmdir=$T/sealed-1" "rmdir=$T/sealed-2" || :)"
			echo modify "$("$act" modify=130100 modify=130099 2>/dev/null || :)"
		fi
	} 2>"$T/others.$step" | tr '\n' ' ' | sed 's/ \(getsid\|nice\|rmdir\|modify\) /\n\1 /g; s/ $/\n/' >"$T/deeds.$step"
	"$act" maps "${map_of[@]}" >"$T/after.$step"
	hotfixctl status -j >"$T/status.$step"
}

# each STEP VERB [SUFFIX [OPTION...]]: for every hot-fix, two at a time
each() {
	local step=$1 verb=$2 suffix=${3:-} name
	shift 2
	[ $# = 0 ] || shift

	for name in "${names[@]}"; do
		while [ "$(jobs -rp | wc -l)" -ge 3 ]; do wait -n || :; done
		one "$step" "$name" "$verb" "$name$suffix" "$@" &
	done
	wait "${!}" || :
	while [ -n "$(jobs -rp | grep -vx "$daemon")" ]; do wait -n || :; done
}

one() {
	local step=$1 name=$2 rc=0
	shift 2

	hotfixctl "$@" >"$T/$step.$name" 2>&1 || rc=$?
	echo "$step.$name $rc" >>"$T/codes"
}

setup() {
	local name files=()

	one_cc_run_at_a_time
	prepared
	use shared
	# What a busy machine makes large in an emulated guest says nothing about these objects.
	printf '[trial]\nhealth_off = ns_per_call cpu_percent loop_stall_ms psi_cpu\n' >"$T/conf"
	trusting --config "$T/conf"
	daemon=$(daemon_pid)
	census >"$T/census"
	for name in "${names[@]}" "${expected_refusals[@]/#/fgn-}"; do
		files+=("$bundles/foreign/$name"@[12].hotfix)
	done
	expect 0 hotfixctl import "${files[@]}"
	each apply1 apply @1 --commit
	deeds 1
	each apply2 apply @2 --trial 600s
	hotfixctl status -j >"$T/status.trial"
	each commit commit
	deeds 2
	each rollback rollback
	deeds 3
	each disable disable
	deeds 4
	each remove remove
	hotfixctl status -j >"$T/status.5"
	remember
}

# What the tests ask for, read once: every process counts in an emulated guest.
declare -A code_of was counted_before counted_after gave
remember() {
	local key value step name paths fields i

	while read -r key value; do code_of[$key]=$value; done <"$T/codes"
	for step in 1 2 3 4; do
		while read -r key value; do counted_before[$step.$key]=$value; done <"$T/before.$step"
		while read -r key value; do counted_after[$step.$key]=$value; done <"$T/after.$step"
		while read -r key value; do gave[$step.$key]=$value; done <"$T/deeds.$step"
	done
	for step in 1 2 3 4 5 trial; do
		paths=()
		for name in "${names[@]}"; do
			for key in state live_serial committed_serial trial_serial; do
				paths+=(".hotfixes[name=$name].$key")
			done
		done
		read -r -a fields <<<"$("$act" field "$T/status.$step" "${paths[@]}")"
		i=0
		for name in "${names[@]}"; do
			was[$step.$name]=${fields[*]:i:4}
			i=$((i + 4))
		done
	done
	for name in "${names[@]}"; do
		was[kinds.$name]=$("$act" field "$T/status.1" ".hotfixes[name=$name].hooks[].kind" \
			".hotfixes[name=$name].hooks[].calls")
	done
}

# --- what is said of them ------------------------------------------------------------------------

went() { # went STEP NAME
	[ "${code_of[$1.$2]:-}" = 0 ] || fail "$1 $2: exit status ${code_of[$1.$2]:-}: $(tr '\n' ' ' <"$T/$1.$2")"
}

stood() { # stood STEP NAME 'STATE LIVE COMMITTED TRIAL'
	same "$3" "${was[$1.$2]}" "$2 in step $1"
}

counted() { # counted STEP MAP WHICH: that version alone, and in every entry of its map
	local before=${counted_before[$1.$2]} after=${counted_after[$1.$2]} versions

	alone "$before" "$after" "$3" ||
		fail "in step $1 version $3 should have run alone: $2 of each version: $before, then $after"
	IFS='|' read -r -a versions <<<"$after"
	[[ ,${versions[$3]}, != *,0,* ]] || fail "in step $1 not all entries of $2 count: $after"
}

lived() { # lived NAME
	local name=$1 map=${map_of[$1]} kinds=${was[kinds.$1]}

	went apply1 "$name"
	stood 1 "$name" 'live 1 1 -'
	counted 1 "$map" 0
	case $kinds in
	*overlap*) ;; # counted by nobody but the object
	*[1-9]*) ! [[ " $kinds " = *" 0 "* ]] || fail "a hook was never called: $kinds" ;;
	*) fail "no hook was called: $kinds" ;;
	esac
	went apply2 "$name"
	stood trial "$name" 'trial 2 1 2'
	went commit "$name"
	stood 2 "$name" 'live 2 2 -'
	counted 2 "$map" 1
	went rollback "$name"
	stood 3 "$name" 'live 1 1 -'
	counted 3 "$map" 0
	went disable "$name"
	stood 4 "$name" 'disabled - 1 -'
	went remove "$name"
	stood 5 "$name" '- - - -'
}

deed_gave() { # deed_gave KIND LIVE-1 LIVE-2 ROLLED-BACK DISABLED: words of a result by spaces
	local kind=$1 step n=$((($# - 1) / 4))

	# add_test keeps words, not arguments: a quarter of them belongs to each step.
	for step in 1 2 3 4; do
		same "${*:2+(step-1)*n:n}" "${gave[$step.$kind]:-}" "$kind in step $step (1 live, 2 live, 1 again, off)"
	done
}

refused_here() {
	expect 5 hotfixctl apply fgn-fmod-ret-other@1
	says bpf_modify_return_test modifiable
	expect 5 hotfixctl apply fgn-fentry-sleepable@1
	says bpf_fentry_test1 sleepable
	expect 0 hotfixctl remove fgn-fmod-ret-other
	expect 0 hotfixctl remove fgn-fentry-sleepable
}

leak_needs_consent() {
	expect 0 hotfixctl import "$bundles/foreign/careful-fmod-ret-mmap@1.hotfix"
	if preemptible; then
		expect 5 hotfixctl apply careful-fmod-ret-mmap
		says preempt
		hotfix_is careful-fmod-ret-mmap failed - -
	else
		expect 0 hotfixctl apply careful-fmod-ret-mmap --commit
		expect 0 hotfixctl disable careful-fmod-ret-mmap
	fi
	expect 0 hotfixctl remove careful-fmod-ret-mmap
}

all_gone() {
	local map

	same '' "$(find "$bpffs" -mindepth 1 2>/dev/null)" "what is left in bpffs"
	for map in "${map_of[@]}"; do
		eventually no_map "$map"
	done
	[ "${WHERE:-}" != guest ] || eventually same_census "$T/census"
	expect 0 hotfixctl audit --verify
}

run_tests "$@"
