#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: guest
#
# The trip wire of patches/cve-2021-4154-fsconfig-source: an attempt is refused by the kernel
# as ever, and is noticed; with who did it, and on which file system.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

id=cve-2021-4154-fsconfig-source

setup() {
	use shared
	cp "$PWD/$B/bundles/root" "$T/root"
	trusting
	expect 0 hotfixctl import "$PWD/$B/bundles/$id@1.hotfix" "$PWD/$B/bundles/$id@2.hotfix"
}

attempt() { "$PWD/$B/patches/$id/trigger" --bpffs "$bpffs" "$@"; }

# told FILTER VALUE: of the last event that the hot-fix itself told; to be waited for
told() {
	local got

	hotfixctl events -j >"$T/events" || return 1
	got=$(jq -s -r "[.[] | select(.kind == \"event\" and .hotfix == \"$id\")] | last | $1" "$T/events")
	[ "$got" = "$2" ] || { echo "$1 is $got instead of $2" && return 1; }
}

test_without_the_hot_fix_an_attempt_is_not_noticed() {
	expect 1 attempt
	says 'refused \(EINVAL\)' 'not noticed'
}

test_serial_1_notices_who_tried_it_on_cgroup_v1() {
	expect 0 hotfixctl apply "$id@1" --commit
	expect 0 attempt
	says 'cgroup source=fd: refused \(EINVAL\)'
	eventually told '[.text, .uid, .comm, .verdict, .event, .args[1]] | @csv' \
		'"cgroup",65534,"trigger","noted",1,-22'
}

test_serial_1_looks_at_no_other_file_system() {
	expect 1 attempt --file-system tmpfs
}

test_a_mount_with_a_string_as_its_source_is_no_attempt() {
	expect 0 attempt --legit
	expect 0 hotfixctl show "$id" -j
	json .counters.user0 1
}

test_serial_2_notices_it_on_any_file_system() {
	expect 0 hotfixctl apply "$id@2" --commit
	expect 0 attempt --file-system tmpfs
	eventually told '[.text, .serial] | @csv' '"tmpfs",2'
	expect 0 attempt
	eventually told .text cgroup
	expect 0 attempt --legit
}

test_rollback_to_serial_1_changes_the_function_that_is_watched() {
	expect 0 hotfixctl rollback "$id"
	expect 1 attempt --file-system tmpfs
	expect 0 attempt
}

test_after_disable_nothing_is_noticed() {
	expect 0 hotfixctl disable "$id"
	expect 1 attempt
	expect 0 hotfixctl remove "$id"
}

run_tests "$@"
