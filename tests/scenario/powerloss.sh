#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native
# when: long
# timeout: 5400
#
# A host whose power is lost while it applies, commits and rolls back: RESETS hard resets
# (sysrq-b) at random moments on each of KERNELS, its state directory on ext4.  After each boot
# (tests/scenario/boot/powerloss.sh): the database is whole, every change explained, and what a
# client was last told is committed is live, by what it does.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
failed=0

losses() { # losses KERNEL RESETS
	local kernel=$1 disk log id=0 boot=0 rc open=0 acks=0 bad
	disk=$(mktemp -u "$PWD/$B/vm/powerloss.XXXXXX")
	log=$(mktemp)

	while [ "$boot" -lt "$2" ]; do
		boot=$((boot + 1)) rc=0
		tests/vm/again --kernel "$kernel" --timeout 120 --disk "$disk" -- \
			bash tests/scenario/boot/powerloss.sh "$boot" "$id" >"$log" 2>&1 || rc=$?
		bad=$(grep -a '^not ok' "$log")
		if [ "$rc" != 125 ] || [ -n "$bad" ] || grep -q 'panicked' "$log"; then
			echo "${bad:-not ok - boot $boot on $kernel: the guest ended with status $rc}"
			sed 's/^/# /' "$log" | tail -n 40
			failed=1
			break
		fi
		acks=$((acks + $(grep -a -c '^acked ' "$log")))
		open=$((open + $(sed -n 's/^found [0-9]* \([0-9]*\) .*/\1/p' "$log" | grep . || echo 0)))
		id=$({ echo "acked $id" && grep -a '^acked ' "$log"; } | tail -n 1 | cut -d ' ' -f 2)
		[ -z "${VERBOSE:-}" ] || sed 's/^/# /' "$log"
	done
	[ "$failed" = 1 ] || echo "ok - after each of $boot resets on $kernel what was acknowledged is live" \
		"($acks acknowledged changes; $open resets in the middle of one)"
	rm -f "$disk" "$log"
}

for kernel in ${KERNELS:-6.1 6.12 newest}; do
	losses "$kernel" "${RESETS:-50}"
done
exit $failed
