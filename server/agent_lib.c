// SPDX-License-Identifier: BSD-2-Clause
#define AGENT_LIB_TABLE
#include "server/agent_lib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/cleanup.h"

#define CURL_SO	  "libcurl.so.4"
#define CRYPTO_SO "libcrypto.so.3"

struct agent_lib agent_lib;

static const struct symbol {
	const char *name;
	size_t offset;
} curl_symbols[] =
	{
#define X(fn) {#fn, offsetof(struct agent_lib, fn##_)},
		AGENT_LIB_CURL(X)},
  crypto_symbols[] = {AGENT_LIB_CRYPTO(X)
#undef X
};

static int load(const char *so, const struct symbol *symbols, size_t n,
		struct agent_lib *ret_lib, struct fail *reterr_fail)
{
	void *handle = dlopen(so, RTLD_NOW | RTLD_LOCAL), *fn;

	for (size_t i = 0; handle && i < n; i++) {
		fn = dlsym(handle, symbols[i].name);
		if (!fn)
			return fail_set(reterr_fail, FAIL_INCOMPATIBLE, "%s has no %s", so,
					symbols[i].name);
		memcpy((char *)ret_lib + symbols[i].offset, &fn, sizeof(fn));
	}
	return handle ? 0
		      : fail_set(reterr_fail, FAIL_INCOMPATIBLE,
				 "a member of a fleet needs %s: %s", so, dlerror());
}

int agent_lib_open(struct fail *reterr_fail)
{
	struct agent_lib lib;
	int r;

	if (agent_lib.curl_global_init_)
		return 0;
	r = load(CURL_SO, curl_symbols, ARRAY_SIZE(curl_symbols), &lib, reterr_fail);
	if (r == 0)
		r = load(CRYPTO_SO, crypto_symbols, ARRAY_SIZE(crypto_symbols), &lib,
			 reterr_fail);
	if (r == 0)
		agent_lib = lib;
	return r;
}
