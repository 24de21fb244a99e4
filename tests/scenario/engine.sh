# SPDX-License-Identifier: BSD-2-Clause
# where: native guest
# timeout: 600
#
# The engine alone against the kernel: no call is missed while versions are switched, killed
# workers leave nothing behind. Natively only what needs no trampoline.

if [ "$WHERE" = guest ]; then
	exec "$B/tests/vm/engine"
fi
exec "$B/tests/vm/engine" cc cc_own cc_kill
