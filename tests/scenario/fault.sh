#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# timeout: 600
#
# hotfixd and its workers die after each step of each verb; what runs is then the old version
# or the new one, and status, pins, kernel and database agree about it (tests/fault/matrix.c).
#
# Run by `make check`: each step of apply, switch, rollback, commit, disable, remove and three
# kinds of start, of a hot-fix with a slot on the newest kernel and of a congestion control here;
# on the others, whose kernels differ in how a worker attaches and not in what hotfixd decides,
# switch and disable, of a sleepable hot-fix (6.12) and a congestion control (6.1) too. In a
# worker, every other death takes hotfixd with it; the worker that applies again after a boot is
# the one of apply, and is not killed a second time.
# `make check-long`: all three hot-fixes on every kernel, all verbs, and each step of a worker
# twice, alone and with hotfixd.

# shellcheck source=tests/scenario/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$B" = build ] || { echo "what is preloaded has the allocator, and so has a sanitizer" && exit 77; }

verbs=(apply switch rollback commit disable remove start 'start after a boot'
	'start after a death while staging')
hotfixes=(fgn-fmod-ret-getsid fgn-lsm-sleepable-rmdir fgn-cc-reno)

played() { # played NAME OPTION|VERB...
	local name=$1
	shift

	mkdir -p "$T/$name"
	"$B/tests/fault/matrix" "$bin/hotfixd" "$PWD/$B/tests/fault/fault.so" "$T/$name" \
		"$pins/$name" "$bundles" "$name" "$@" | sed -u "s/^\(ok\|not ok\) - /&$name, /" || failed=1
	tail -n 40 "$T/$name/log" | sed 's/^/# /'
}

prepared
set -o pipefail
failed=0
case ${LONG:+long}${KERNEL:-native} in
native) one_cc_run_at_a_time && played fgn-cc-reno "${verbs[@]}" ;;
longnative) one_cc_run_at_a_time && played fgn-cc-reno --all ;;
long*) for name in "${hotfixes[@]}"; do played "$name" --alone --all; done ;;
newest) played fgn-fmod-ret-getsid --alone "${verbs[@]}" ;;
*)
	played fgn-fmod-ret-getsid --alone switch disable
	[ "$KERNEL" != 6.12 ] || played fgn-lsm-sleepable-rmdir --alone switch rollback disable
	[ "$KERNEL" != 6.1 ] || played fgn-cc-reno --alone switch rollback disable
	;;
esac
exit $failed
