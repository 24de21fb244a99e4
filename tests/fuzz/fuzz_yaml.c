// SPDX-License-Identifier: BSD-2-Clause
/*
 * Specs as people write them: what is taken is JSON that can be written down and read again as the same.
 */
#include "tests/fuzz/fuzz.h"

#include "cli/yaml.h"
#include "lib/json.h"

FUZZ_TARGET(yaml)
{
	AUTO_JSON json_t *doc = NULL;
	AUTO_JSON json_t *again = NULL;
	AUTO_FREE char *text = NULL;
	struct fail fail = {0};
	int r = yaml_parse("input", data, size, &doc, &fail);

	if (r < 0) {
		fuzz_must(fail.code == FAIL_BAD_FORMAT && fail.message[0]);
		return 0;
	}
	text = json_dumps(doc, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
	fuzz_must(text);
	again = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	fuzz_must(again && json_equal(doc, again));
	return 0;
}
