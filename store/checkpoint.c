// SPDX-License-Identifier: BSD-2-Clause
#include "store/checkpoint.h"

#include <string.h>

#include "lib/clock.h"
#include "lib/json.h"
#include "store/bytes.h"

#define WHAT "checkpoint"

int checkpoint_sign(const struct checkpoint *c, struct key *host, char **ret_text,
		    struct fail *reterr_fail)
{
	char id[KEY_ID_BYTES], head[BYTES_SHA256_HEX], at[CLOCK_TIMESTAMP_BYTES];
	AUTO_JSON json_t *doc = json_pack(
		"{s:s, s:I, s:s, s:s}", "host", key_id(key_public(host), id), "seq",
		(json_int_t)c->seq, "head", bytes_to_hex(c->head, sizeof(c->head), head), "at",
		clock_format_timestamp(c->at_ms, at));
	AUTO_FREE char *payload = dsse_payload(doc);

	return payload ? dsse_sign(DSSE_TYPE_CHECKPOINT, payload, strlen(payload), &host, 1,
				   ret_text, reterr_fail)
		       : fail_set(reterr_fail, FAIL_INTERNAL, "out of memory");
}

static int parse(const void *payload, size_t len, const struct key_public *host,
		 struct checkpoint *ret_checkpoint, struct fail *reterr_fail)
{
	struct checkpoint c = {0};
	const char *id, *head;
	char own[KEY_ID_BYTES];
	AUTO_JSON json_t *doc = NULL;
	struct json_fields f;
	int r = json_parse(WHAT, payload, len, &doc, reterr_fail);

	if (r < 0)
		return r;
	f = json_fields(WHAT, doc, reterr_fail);
	json_u64(&f, "format", 1, 1);
	id = json_str(&f, "host", KEY_ID_BYTES - 1);
	c.seq = json_u64(&f, "seq", 0, INT64_MAX);
	head = json_str(&f, "head", 64);
	c.at_ms = json_time(&f, "at");
	if (f.r == 0 && strcmp(id, key_id(host, own)) != 0)
		json_bad(&f, "host", "is not the id of the key that signed");
	if (f.r == 0 && bytes_from_hex(head, c.head, sizeof(c.head)) < 0)
		json_bad(&f, "head", "must be 64 hex digits");
	if (json_fields_end(&f) < 0)
		return f.r;
	*ret_checkpoint = c;
	return 0;
}

int checkpoint_open(const void *envelope, size_t len, const struct key_public *host,
		    struct checkpoint *ret_checkpoint, struct fail *reterr_fail)
{
	AUTO(dsse_freep) struct dsse *d = NULL;
	const uint8_t *payload;
	size_t payload_len;
	int r = dsse_parse(WHAT, envelope, len, &d, reterr_fail);

	if (r == 0)
		r = dsse_verify(d, DSSE_TYPE_CHECKPOINT, host, 1, 1, &payload, &payload_len,
				reterr_fail);
	return r < 0 ? r : parse(payload, payload_len, host, ret_checkpoint, reterr_fail);
}
