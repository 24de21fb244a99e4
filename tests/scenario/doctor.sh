#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
#
# The doctor: what it says of this host, of a stored hot-fix and of a file is what the kernel
# then does.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

setup() {
	use shared
	trusting
}

# diagnosed ARGUMENT...: exit 0 or, when this host or hot-fix cannot, 5
diagnosed() {
	local rc=0

	hotfixctl doctor -j "$@" >"$out" 2>"$err" || rc=$?
	[ $rc = 0 ] || [ $rc = 5 ] || fail "doctor $*: exit status $rc: $(cat "$err")"
	doctor_said=$rc
}

# check NAME FIELD: of the host
check() { "$act" field "$out" ".host.checks[name=$1].$2"; }

test_every_check_says_what_it_found_and_how_it_knows() {
	local name

	diagnosed
	for name in btf bpffs lsm trampolines struct_ops jit lockdown preemption capabilities; do
		case $(check $name status) in
		ok | warn | unknown) ;;
		fail) [ "$(check $name why)" != - ] || fail "$name fails and does not say why" ;;
		*) fail "$name is $(check $name status)" ;;
		esac
		[ "$(check $name how)" != - ] || fail "$name does not say how it knows"
	done
	field "$(uname -r)" .host.kernel.release
	expect "$doctor_said" hotfixctl doctor
	says trampolines struct_ops preemption
}

test_it_knows_whether_this_kernel_takes_trampolines() {
	local really=false

	trampolines && really=true
	diagnosed
	field "$really $really $really" .host.can.fentry .host.can.fexit .host.can.fmod_ret
	[ "$([ "$(check trampolines status)" = ok ] && echo true || echo false)" = $really ] ||
		fail "trampolines are $(check trampolines status)"
}

test_it_knows_the_lsm_list() {
	local really=false

	case ,$(cat /sys/kernel/security/lsm 2>/dev/null), in *,bpf,*) trampolines && really=true ;; esac
	diagnosed
	field $really .host.can.lsm
}

test_where_it_says_a_hook_goes_it_is_attached() {
	local object name

	trampolines || return 0
	prepared
	for object in fmod-ret-mmap fmod-ret-getsid lsm-setnice lsm-sleepable-rmdir several cc-reno; do
		name=fgn-$object
		expect 0 hotfixctl import "$bundles/foreign/$name@1.hotfix"
		diagnosed "$name"
		same 0 "$doctor_said" "exit status of doctor $name"
		said=$("$act" field "$out" '.hooks[].attach_as' '.hooks[].kind')
		expect 0 hotfixctl apply "$name" --dry-run -j
		field "$said" '.hooks[].attach_as' '.hooks[].kind'
		expect 0 hotfixctl remove "$name"
	done
}

test_congestion_controls_work_where_it_says_so() {
	stored cc-doctor 1 cc_reno_link
	diagnosed
	field true .host.can.struct_ops
	diagnosed cc-doctor
	same 0 "$doctor_said" "exit status of doctor cc-doctor"
	field true '.hooks[].ok'
	expect 0 hotfixctl apply cc-doctor --dry-run
	expect 0 hotfixctl remove cc-doctor
}

test_a_kernel_that_refuses_trampolines_gets_no_hot_fix_that_needs_them() {
	stored tramp 1 several
	diagnosed tramp
	if trampolines; then
		same 0 "$doctor_said" "exit status of doctor tramp"
		field 'true true true true' '.hooks[].ok'
		expect 0 hotfixctl apply tramp --commit
		expect 0 hotfixctl disable tramp
	else
		same 5 "$doctor_said" "exit status of doctor tramp"
		field 'false false false false' '.hooks[].ok'
		[[ $("$act" field "$out" '.hooks[0].why') =~ refuse|not\ permitted ]] || fail "no reason: $(cat "$out")"
		expect 5 hotfixctl apply tramp --dry-run
		says 'trampoline|fentry' 'refuse|not permitted'
		awk '/hotfixctl:/ { said = NR } /  log:/ { log_at = NR } END { exit !(said && log_at > said) }' \
			"$err" || fail "the log comes before what it explains: $(cat "$err")"
		expect 5 hotfixctl apply tramp --commit
		says 'trampoline|fentry' 'refuse|not permitted'
		says_not ulimit
		hotfix_is tramp failed - -
		[ ! -e "$bpffs/tramp" ] || fail "pins are left: $(find "$bpffs/tramp")"
		serves
	fi
	expect 0 hotfixctl remove tramp
}

test_of_a_bundle_it_names_the_hook_that_is_not_here_and_why() {
	pack absent 1 "$bad/unknown_function.bpf.o"
	diagnosed "$bundle"
	same 5 "$doctor_said" "exit status of doctor FILE"
	field 'fentry hotfix_no_such_function false' '.hooks[0].type' '.hooks[0].target' '.hooks[0].ok'
	[ "$("$act" field "$out" '.hooks[0].why')" != - ] || fail "it does not say why"
	expect 5 hotfixctl doctor "$bundle"
	says hotfix_no_such_function
	expect 3 hotfixctl show absent
}

test_of_a_bundle_for_other_kernels_it_says_so() {
	pack elsewhere 1 several '{"kernels":{"ranges":[{"from":"99.1"}]}}'
	diagnosed "$bundle"
	same 5 "$doctor_said" "exit status of doctor FILE"
	field false .bundle.fits
	says 'not for kernel'
	stored elsewhere 1 several '{"kernels":{"ranges":[{"from":"99.1"}]}}'
	expect 5 hotfixctl apply elsewhere --commit
	says 'not for kernel'
	expect 0 hotfixctl remove elsewhere
}

test_a_kernel_that_has_the_fix_itself_is_not_fixed_again() {
	local release

	release=$(uname -r | grep -oE '^[0-9]+\.[0-9]+\.[0-9]+')
	stored retired 1 several "{\"kernels\":{\"fixed_in\":[\"$release\"]}}"
	diagnosed retired
	field false .bundle.fits
	expect 5 hotfixctl apply retired --commit
	says "$release"
	expect 0 hotfixctl remove retired
}

test_it_counts_the_free_places_of_a_function() {
	local before

	trampolines || return 0 # it was said above that there are none
	pack crowd 1 fmod_ret_mmap '{"accept":{"preemption_leak":true}}'
	diagnosed "$bundle"
	before=$("$act" field "$out" '.hooks[0].free_slots')
	[ "$before" -gt 30 ] || fail "free places of a function nobody uses: $before"
	expect 0 hotfixctl import "$bundle"
	expect 0 hotfixctl apply crowd --commit
	diagnosed "$bundle"
	field $((before - 1)) '.hooks[0].free_slots'
	expect 0 hotfixctl disable crowd
	diagnosed "$bundle"
	field "$before" '.hooks[0].free_slots'
	expect 0 hotfixctl remove crowd
}

test_files_that_hotfixd_was_started_with_do_not_reach_its_workers() {
	use inherited
	hotfixd 3</dev/null 4</dev/null 5</dev/null
	diagnosed
}

test_doctor_of_what_is_not_there() {
	expect 3 hotfixctl doctor nosuch-hotfix
	echo 'no bundle' >"$T/nobundle"
	expect 4 hotfixctl doctor "$T/nobundle"
}

run_tests "$@"
