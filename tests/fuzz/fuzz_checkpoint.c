// SPDX-License-Identifier: BSD-2-Clause
/*
 * A checkpoint of an audit log. The bytes are its payload, signed here by the key of the host; a
 * byte other than '{' before them has them taken as the envelope.
 */
#include "tests/fuzz/fuzz.h"

#include "lib/plain.h"
#include "store/checkpoint.h"

FUZZ_TARGET(checkpoint)
{
	struct key *host = fuzz_key(0);
	AUTO_FREE char *text = NULL, *again = NULL;
	struct checkpoint c, same;
	struct fail f = {0};

	if (size && data[0] == '{')
		fuzz_must(dsse_sign(DSSE_TYPE_CHECKPOINT, data, size, &host, 1, &text, NULL) ==
			  0);
	else if (size)
		text = fuzz_text(data + 1, size - 1);
	if (!text || checkpoint_open(text, strlen(text), key_public(host), &c, &f) < 0) {
		fuzz_must(!text || (f.code != FAIL_NONE && plain_is(f.message, false)));
		return 0;
	}
	fuzz_must(checkpoint_open(text, strlen(text), key_public(fuzz_key(1)), &same, &f) < 0);
	fuzz_must(checkpoint_sign(&c, host, &again, &f) == 0);
	fuzz_must(checkpoint_open(again, strlen(again), key_public(host), &same, &f) == 0);
	fuzz_must(same.seq == c.seq && same.at_ms == c.at_ms &&
		  memcmp(same.head, c.head, sizeof(c.head)) == 0);
	return 0;
}
