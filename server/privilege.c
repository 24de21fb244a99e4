// SPDX-License-Identifier: BSD-2-Clause
#include "server/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static inline void cap_freep(cap_t *c)
{
	if (*c)
		cap_free(*c);
}

/* What is kept, as far as we have it: a container may have less. */
static int have_of(uint64_t keep, uint64_t *ret_have)
{
	__attribute__((cleanup(cap_freep))) cap_t now = cap_get_proc();
	cap_flag_value_t has;
	uint64_t have = 0;

	if (!now)
		return -ENOMEM;
	for (cap_value_t c = 0; c < cap_max_bits(); c++)
		if (keep & PRIVILEGE(c) && cap_get_flag(now, c, CAP_PERMITTED, &has) == 0 &&
		    has == CAP_SET)
			have |= PRIVILEGE(c);
	*ret_have = have;
	return 0;
}

static int set_caps(uint64_t have, bool inherit)
{
	__attribute__((cleanup(cap_freep))) cap_t caps = cap_init();

	if (!caps)
		return -ENOMEM;
	for (cap_value_t c = 0; c < cap_max_bits(); c++) {
		if (!(have & PRIVILEGE(c)))
			continue;
		cap_set_flag(caps, CAP_PERMITTED, 1, &c, CAP_SET);
		cap_set_flag(caps, CAP_EFFECTIVE, 1, &c, CAP_SET);
		if (inherit)
			cap_set_flag(caps, CAP_INHERITABLE, 1, &c, CAP_SET);
	}
	if (cap_set_proc(caps) < 0)
		return -errno;
	for (cap_value_t c = 0; inherit && c < cap_max_bits(); c++)
		if (have & PRIVILEGE(c) && cap_set_ambient(c, CAP_SET) < 0)
			return -errno;
	return 0;
}

/* No core, no ptrace by others of its user. */
static int hide(void)
{
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
#ifdef __SANITIZE_ADDRESS__
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* else the leak checker cannot look */
#else
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
#endif
	return 0;
}

int privilege_refuse(uid_t uid)
{
	uid_t real, effective, saved;
	int r;

	if (getresuid(&real, &effective, &saved) < 0 || real != uid || effective != uid ||
	    saved != uid)
		return -EPERM;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = set_caps(0, false);
	return r < 0 ? r : hide();
}

int privilege_become(uid_t uid, gid_t gid, uint64_t keep, bool inherit, pid_t parent)
{
	uint64_t have;
	int r = have_of(keep, &have);

	if (r < 0)
		return r;
	for (cap_value_t c = 0; c < cap_max_bits(); c++)
		if (!(have & PRIVILEGE(c)) && cap_get_bound(c) == 1 && cap_drop_bound(c) < 0)
			return -errno;
	if (setgroups(0, NULL) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = set_caps(have, inherit);
	if (r == 0)
		r = hide();
	if (r < 0)
		return r;
	/* Each change of credentials clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}
