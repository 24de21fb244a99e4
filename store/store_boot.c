// SPDX-License-Identifier: BSD-2-Clause
#include <errno.h>
#include <string.h>

#include "store/sql.h"
#include "store/store.h"
#include "store/store_private.h"

int store_put_boot(struct store *s, const struct store_boot *b)
{
	if (!b->boot_id[0])
		return -EINVAL;
	return sql_run(s->q,
		       "INSERT INTO boot(boot_id, started_ms, stopped, crash_seen_ms, held)"
		       " VALUES(?, ?, ?, ?, ?) ON CONFLICT(boot_id) DO UPDATE SET"
		       " stopped = excluded.stopped, crash_seen_ms = excluded.crash_seen_ms,"
		       " held = excluded.held",
		       "suuuu", b->boot_id, b->started_ms, (uint64_t)b->stopped,
		       b->crash_seen_ms, (uint64_t)b->held);
}

int store_each_boot(struct store *s, int (*fn)(const struct store_boot *b, void *cookie),
		    void *cookie)
{
	AUTO(sql_rows_freep) struct sql_rows *rows = NULL;
	struct store_boot b;
	int r;

	r = sql_ask(s->q, &rows,
		    "SELECT boot_id, started_ms, stopped, crash_seen_ms, held FROM boot"
		    " ORDER BY id DESC",
		    "");
	while (r == 0 && (r = sql_next(rows)) > 0) {
		memset(&b, 0, sizeof(b));
		b.started_ms = sql_u64(rows, 1);
		b.stopped = sql_u64(rows, 2) != 0;
		b.crash_seen_ms = sql_u64(rows, 3);
		b.held = sql_u64(rows, 4) != 0;
		r = sql_text_fit(rows, 0, b.boot_id, sizeof(b.boot_id));
		if (r == 0 && fn(&b, cookie) != 0)
			return 0;
	}
	return r;
}
