#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 900
#
# What only a boot can show: guests without BPF LSM, and a host that restarts or dies in the
# middle of a change.  The tests are in tests/scenario/boot/, run in the guests.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
failed=0

# boot NAME KERNEL OPTION... -- SCRIPT [ARGUMENT]: its results, the name before each
boot() {
	local name=$1 kernel=$2 options=() log rc=0
	shift 2

	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	log=$(mktemp)
	tests/vm/again --kernel "$kernel" --timeout 240 ${options[@]+"${options[@]}"} -- bash "$@" >"$log" 2>&1 || rc=$?
	sed -n "s/^\(ok\|not ok\|skip\) - /&${name:+$name: }/p; t; s/^/# /p" "$log"
	if [ "$rc" != "${expect_status:-0}" ]; then
		failed=1
		grep -q '^not ok' "$log" || echo "not ok - ${name:+$name: }$*: the guest ended with status $rc"
	fi
	rm -f "$log"
}

boot '6.1 without BPF LSM' 6.1 --append lsm=lockdown,yama,apparmor -- tests/scenario/boot/no_bpf_lsm.sh
boot 'newest without BPF LSM' newest --append lsm=lockdown,yama,apparmor -- tests/scenario/boot/no_bpf_lsm.sh

disk=$(mktemp -u "$PWD/$B/vm/boot.XXXXXX")
trap 'rm -f "$disk"' EXIT
reboots=tests/scenario/boot/reboot.sh
boot '' 6.12 --disk "$disk" -- $reboots first
boot '' 6.12 --disk "$disk" -- $reboots again
boot '' 6.12 --disk "$disk" --append hotfix=no-apply -- $reboots kill_switch
boot '' newest --disk "$disk" -- $reboots other_kernel
expect_status=125 boot '' 6.12 --disk "$disk" -- $reboots dies
expect_status=125 boot '' 6.12 --disk "$disk" -- $reboots after_it_died
boot '' 6.12 --disk "$disk" -- $reboots held

exit $failed
