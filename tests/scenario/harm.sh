#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# timeout: 1200
#
# Hot-fixes that do harm, each kernel in a guest of its own: the kernel complains there, as it
# should.  The tests are in tests/scenario/boot/harm.sh.  On the oldest and the newest kernel, a
# panic on the newest; `make check-long`: all on every kernel.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
failed=0
disk=$(mktemp -u "$PWD/$B/vm/harm.XXXXXX")
log=$(mktemp)
trap 'rm -f "$disk" "$log"' EXIT

# boot STATUS KERNEL OPTION... -- SCRIPT [ARGUMENT]: its results, the kernel before each
boot() {
	local want=$1 kernel=$2 rc=0
	shift 2

	tests/vm/again --kernel "$kernel" --timeout 300 "$@" >"$log" 2>&1 || rc=$?
	sed -n "s/^\(ok\|not ok\|skip\) - /&$kernel: /p; t; s/^/# /p" "$log"
	if [ "$rc" != "$want" ]; then
		failed=1
		grep -q '^not ok' "$log" || echo "not ok - $kernel: ${*: -1}: the guest ended with status $rc"
	fi
}

for kernel in ${KERNELS:-6.1 ${LONG:+6.12} newest}; do
	boot 0 "$kernel" -- bash tests/scenario/boot/harm.sh harms
	[ -n "${LONG:-}" ] || [ "$kernel" = newest ] || continue
	rm -f "$disk"
	boot 125 "$kernel" --disk "$disk" -- bash tests/scenario/boot/harm.sh panics
	boot 0 "$kernel" --disk "$disk" -- bash tests/scenario/boot/harm.sh after_it
done
exit $failed
