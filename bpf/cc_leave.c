// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/cc_leave.h"

#include <string.h>

#include "bpf/cc_default.h"
#include "bpf/move.h"
#include "bpf/netns.h"

struct visit {
	const struct cc_leave *l;
	struct move *move;
	struct move_job job;
	struct cc_left *left;
	uint32_t refused; /* namespaces */
	int err;	  /* in our own namespace */
};

/* bpf_setsockopt() takes any algorithm: a namespace's default is one it may have. */
static int aim(struct visit *v)
{
	if (v->l && v->l->sockets_to[0]) {
		strncpy(v->job.to, v->l->sockets_to, sizeof(v->job.to) - 1);
		return 0;
	}
	return cc_default_get(v->job.to);
}

static int on_default(struct visit *v, bool own)
{
	int r = cc_default_leave(v->l->gate, v->l->from, v->l->default_to, own);

	if (r > 0)
		v->left->defaults++;
	return r < 0 ? r : 0;
}

static void on_namespace(bool own, void *cookie)
{
	struct visit *v = cookie;
	int r = 0;

	if (v->l)
		r = on_default(v, own);
	v->job.left = 0;
	if (r == 0 && v->move)
		r = aim(v);
	if (r == 0 && v->move)
		r = move_sockets(v->move, &v->job);
	v->left->left += v->job.left;
	if (r < 0 && own)
		v->err = r;
	else if (r < 0)
		v->refused++;
}

static int visit_all(struct visit *v, const char *from)
{
	struct netns_count count;
	int r;

	strncpy(v->job.from, from, sizeof(v->job.from) - 1);
	r = netns_each(on_namespace, v, &count);
	if (r < 0)
		return r;
	v->left->moved += v->job.moved;
	v->left->namespaces = count.visited;
	v->left->unreachable = count.unreachable + v->refused;
	return v->err;
}

int cc_leave(const struct cc_leave *l, struct cc_left *left)
{
	AUTO(move_freep) struct move *m = NULL;
	struct visit v = {.l = l, .left = left};

	if (l->owners >= 0)
		left->move_error = move_open(l->owners, false, &m);
	v.move = m;
	return visit_all(&v, l->from);
}

int cc_reenter(const char *cc_name, int owners, uint64_t serial, struct cc_left *left)
{
	AUTO(move_freep) struct move *m = NULL;
	struct visit v = {.job.serial = serial, .left = left};

	left->move_error = move_open(owners, true, &m);
	v.move = m;
	return m ? visit_all(&v, cc_name) : 0;
}

json_t *cc_left_report(const struct cc_left *left)
{
	if (!left->namespaces && !left->move_error)
		return NULL;
	return json_pack("{s:I, s:I, s:i, s:i, s:i, s:s*}", "moved", (json_int_t)left->moved,
			 "left", (json_int_t)left->left, "defaults", (int)left->defaults,
			 "namespaces", (int)left->namespaces, "unreachable",
			 (int)left->unreachable, "move_error",
			 left->move_error < 0 ? strerror(-left->move_error) : NULL);
}
