// SPDX-License-Identifier: BSD-2-Clause
#include "server/revoke.h"

#include <inttypes.h>

#include "lib/log.h"
#include "server/authority.h"
#include "server/verb.h"

static void on_again(evutil_socket_t fd, short what, void *cookie)
{
	(void)fd;
	(void)what;
	revoke_run(cookie);
}

/* The change that is over is not left yet: from the loop, then. */
static void on_change_over(uint64_t change_id, const struct fail *fail, void *cookie)
{
	struct hotfixes *all = cookie;

	(void)change_id;
	(void)fail;
	event_base_once(all->base, -1, EV_TIMEOUT, on_again, all, &(struct timeval){0});
}

/* NULL: serial stays. */
static const struct revocation *forced(const struct authority *a, const char *name,
				       uint64_t serial)
{
	const struct revocation *v = serial ? authority_revoked(a, name, serial) : NULL;

	return v && v->rollback ? v : NULL;
}

static void take_back(struct hotfix *h, const struct revocation *v)
{
	char reason[sizeof(v->reason) + 16];
	struct fail f;
	uint64_t id;

	snprintf(reason, sizeof(reason), "revoked: %s", v->reason);
	log_event(LOG_NOTICE, "revoked hotfix=%s serial=%" PRIu64 " why=\"%s\"", h->name,
		  hotfix_live_serial(h), v->reason);
	if (verb_rollback(h->all, h->name, 0, reason, NULL, 0, &id, &f) < 0 &&
	    verb_disable(h->all, h->name, reason, 0, &id, &f) < 0)
		log_event(LOG_ERR, "not taken back hotfix=%s why=\"%s\"", h->name, f.message);
}

void revoke_run(struct hotfixes *all)
{
	AUTO(authority_freep) struct authority *a = NULL;
	struct store_hotfix row;
	struct hotfix *h;

	if (authority_open(all->store, &a, NULL) < 0)
		return; /* nothing is revoked where nobody is trusted; status says why */
	TAILQ_FOREACH(h, &all->list, link) {
		const struct revocation *v = forced(a, h->name, hotfix_live_serial(h));

		if (v && (h->phase == HOTFIX_IDLE || h->phase == HOTFIX_TRIAL))
			take_back(h, v);
		/* What it goes back to, or becomes, may be revoked as well. */
		if (h->phase != HOTFIX_IDLE &&
		    (v || forced(a, h->name, h->change.serial) ||
		     (store_get_hotfix(all->store, h->name, &row) == 0 &&
		      forced(a, h->name, row.committed_serial))))
			hotfix_wait(all, h->change.id, HOTFIX_WAIT_END, on_change_over, all);
	}
}
