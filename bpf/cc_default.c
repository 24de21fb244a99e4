// SPDX-License-Identifier: BSD-2-Clause
#include "bpf/cc_default.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/io.h"

#define SYSCTL_AVAILABLE "/proc/sys/net/ipv4/tcp_available_congestion_control"
#define AVAILABLE_BYTES	 4096

static int current(char ret_name[GATE_CC_BYTES])
{
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

	return current(now) == 0 && strcmp(now, cc_name) == 0;
}

bool cc_default_available(const char *cc_name)
{
	char list[AVAILABLE_BYTES];

	if (io_read_line(SYSCTL_AVAILABLE, list, sizeof(list)) < 0)
		return false;
	for (char *save, *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save))
		if (strcmp(w, cc_name) == 0)
			return true;
	return false;
}

static bool is_version_of(const struct gate *g, const char *name)
{
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
	static const char *const usual[] = {"cubic", "reno"};

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strcmp(usual[i], ours) != 0 && !is_version_of(g, usual[i]) &&
		    cc_default_available(usual[i])) {
			strcpy(ret_name, usual[i]);
			return;
		}
	strcpy(ret_name, "reno");
}

/* Recorded before it is written: a worker killed in between has changed nothing. */
static int take(struct gate *g, const char *cc_name)
{
	char now[GATE_CC_BYTES], previous[GATE_CC_BYTES];
	int r;

	gate_cc_previous(g, previous);
	if (!previous[0]) {
		r = current(now);
		if (r < 0)
			return r;
		if (strcmp(now, cc_name) == 0 || is_version_of(g, now))
			other(g, cc_name, now);
		gate_set_cc_previous(g, now);
	}
	return set(cc_name);
}

/* Somebody who chose a third algorithm meanwhile keeps it. */
int cc_default_give_back(struct gate *g, const char *registered)
{
	char now[GATE_CC_BYTES], previous[GATE_CC_BYTES];
	int r;

	r = current(now);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	gate_cc_previous(g, previous);
	if (strcmp(now, registered) == 0 || is_version_of(g, now)) {
		if (!previous[0])
			other(g, now, previous);
		r = set(previous);
		if (r == -ENOENT) { /* its module was unloaded meanwhile */
			other(g, now, previous);
			r = set(previous);
		}
		if (r < 0)
			return r;
	}
	gate_set_cc_previous(g, "");
	return 0;
}

int cc_default_settle(struct gate *g, const char *cc_name, bool wanted, bool anew)
{
	char previous[GATE_CC_BYTES];
	bool is = cc_default_is(cc_name);

	gate_cc_previous(g, previous);
	if (wanted)
		return is && !anew && previous[0] ? 0 : take(g, cc_name);
	if (previous[0])
		return cc_default_give_back(g, cc_name);
	/* Somebody else made it the default: new sockets are to get the new ops as well. */
	return is && anew ? set(cc_name) : 0;
}
