// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/cc_default.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define SYSCTL_AVAILABLE "/proc/sys/net/ipv4/tcp_available_congestion_control"
#define SYSCTL_ALLOWED	 "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
#define LIST_BYTES	 4096

int cc_default_get(char ret_name[GATE_CC_BYTES])
{
	memset(ret_name, 0, GATE_CC_BYTES);
	return io_read_line(CC_DEFAULT_SYSCTL, ret_name, GATE_CC_BYTES);
}

static int set(const char *name)
{
	AUTO_CLOSE int fd = open(CC_DEFAULT_SYSCTL, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, name, strlen(name)) < 0 ? -errno : 0;
}

bool cc_default_is(const char *cc_name)
{
	char now[GATE_CC_BYTES];

	return cc_default_get(now) == 0 && strcmp(now, cc_name) == 0;
}

static bool has(const char *sysctl, const char *cc_name)
{
	char list[LIST_BYTES];

	if (io_read_line(sysctl, list, sizeof(list)) < 0)
		return false;
	for (char *save, *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (strcmp(w, cc_name) == 0)
			return true;
	return false;
}

bool cc_default_available(const char *cc_name)
{
	return has(SYSCTL_AVAILABLE, cc_name);
}

static bool is_ours(const struct gate *g, const char *ours, const char *name)
{
	if (strcmp(name, ours) == 0)
		return true;
	for (uint32_t i = 1; i < GATE_VERSIONS; i++)
		if (strcmp(gate_version(g, i).cc_name, name) == 0)
			return true;
	return false;
}

/*
 * What to write back when it was not recorded: our name may stand in the sysctl after its
 * registration is gone, because the kernel holds the ops there and not the name.
 */
static void other(const struct gate *g, const char *ours, char ret_name[GATE_CC_BYTES])
{
	const char *usual = "cubic";

	if (is_ours(g, ours, usual) || !has(SYSCTL_ALLOWED, usual))
		usual = "reno";
	strcpy(ret_name, usual);
}

/* Recorded before it is written: a worker killed in between has changed nothing. */
int cc_default_take(struct gate *g, const char *cc_name)
{
	char now[GATE_CC_BYTES], previous[GATE_CC_BYTES];
	int r;

	gate_cc_previous(g, previous);
	if (!previous[0]) {
		r = cc_default_get(now);
		if (r < 0)
			return r;
		if (is_ours(g, cc_name, now))
			other(g, cc_name, now);
		gate_set_cc_previous(g, now);
	}
	return set(cc_name);
}

/*
 * Elsewhere only what everybody may use: writing a restricted algorithm fails, and the
 * kernel (seen up to 7.2) loses the reference that it took to look.
 */
static int give_back(const struct gate *g, const char *ours, bool own)
{
	char previous[GATE_CC_BYTES];
	int r;

	gate_cc_previous(g, previous);
	if (previous[0] && (own || has(SYSCTL_ALLOWED, previous))) {
		r = set(previous);
		if (r != -ENOENT) /* its module was unloaded meanwhile */
			return r;
	}
	other(g, ours, previous);
	return set(previous);
}

int cc_default_leave(const struct gate *g, const char *ours, const char *to, bool own)
{
	char now[GATE_CC_BYTES];
	int r;

	r = cc_default_get(now);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!is_ours(g, ours, now))
		return 0;
	r = to[0] ? set(to) : give_back(g, ours, own);
	return r < 0 ? r : 1;
}
