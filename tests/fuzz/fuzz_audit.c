// SPDX-License-Identifier: BSD-2-Clause
/* A BPF object, read with libbpf's help, and compared with itself. */
#include "tests/fuzz/fuzz.h"

#include "bpf/audit.h"
#include "lib/plain.h"

FUZZ_TARGET(audit)
{
	AUTO_FREE struct audit *a = calloc(1, sizeof(*a));
	struct fail f = {0};

	fuzz_must(a);
	if (audit_object(data, size, a, &f) < 0) {
		fuzz_must(f.code == FAIL_BAD_OBJECT && plain_is(f.message, false));
		return 0;
	}
	fuzz_must(a->n_hooks >= 1 && a->n_hooks <= HOOK_MAX);
	fuzz_must(audit_compare(a, a->hooks, a->n_hooks, &f) == 0);
	fuzz_must(audit_compare(a, a->hooks, a->n_hooks - 1, &f) < 0);
	return 0;
}
