#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# timeout: 600
#
# patches/tcp-cubic-idle: the version of a congestion control is told by what it does to a
# window, through upgrade and rollback; and data arrives whole under each.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

id=tcp-cubic-idle
trigger=$PWD/$B/patches/$id/trigger

setup() {
	# The names of congestion controls are the kernel's: one run at a time.
	exec {cc_lock}>/tmp/hotfixd-test-cc.lock
	flock -w 600 "$cc_lock"
	use shared
	# A guest has no compiler, and what was built for it is signed by another key.
	if [ "${WHERE:-native}" = guest ]; then
		cp "$PWD/$B/bundles/"{root,"$id"@*.hotfix} "$T/"
	else
		keys
		for serial in 1 2; do
			expect 0 hotfixctl build "patches/$id" --serial "$serial" \
				--key "$T/release.sec" --out "$T/$id@$serial.hotfix"
		done
	fi
	trusting
	expect 0 hotfixctl import "$T/$id@1.hotfix" "$T/$id@2.hotfix"
}

kept() {
	expect 0 "$trigger"
	says 'window after the pause: kept'
}

jumped() {
	expect 1 "$trigger"
	says 'window after the pause: jumped'
}

whole() {
	expect 0 "$trigger" --legit
	says 'transfer: whole'
}

test_before_there_is_no_such_algorithm() {
	expect 2 "$trigger"
}

test_serial_1_takes_idle_time_for_time_spent_probing() {
	expect 0 hotfixctl apply "$id@1" --commit
	jumped
	whole
}

test_serial_2_leaves_idle_time_out() {
	expect 0 hotfixctl apply "$id@2" --commit
	kept
	whole
}

test_rollback_brings_back_what_serial_1_did() {
	expect 0 hotfixctl rollback "$id"
	jumped
}

test_remove_takes_the_algorithm_away() {
	expect 0 hotfixctl disable "$id"
	expect 0 hotfixctl remove "$id"
	expect 2 "$trigger"
}

run_tests "$@"
