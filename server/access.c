// SPDX-License-Identifier: BSD-2-Clause
#include "server/access.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/cleanup.h"

int access_peer_of(int fd, struct access_peer *ret_peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred), room = sizeof(ret_peer->groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	ret_peer->uid = cred.uid;
	ret_peer->gid = cred.gid;
	ret_peer->n_groups = 0;
	/* Of somebody in more groups than that, the first one alone counts. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret_peer->groups, &room) == 0)
		ret_peer->n_groups = room / sizeof(gid_t);
	return 0;
}

static bool is_member(const struct access_peer *peer, const char *group)
{
	const struct group *g = group[0] ? getgrnam(group) : NULL;

	if (!g)
		return false;
	if (peer->gid == g->gr_gid)
		return true;
	for (size_t i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] == g->gr_gid)
			return true;
	return false;
}

static bool is_user(const struct access_peer *peer, const char *user)
{
	const struct passwd *pw = getpwnam(user);

	return pw && pw->pw_uid == peer->uid;
}

/* "alice @wheel", or "all" */
static bool is_named(const struct access_peer *peer, const char *names)
{
	char copy[CONFIG_ROLE_BYTES], *save = NULL, *word;

	snprintf(copy, sizeof(copy), "%s", names);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strcmp(word, "all") == 0 ||
		    (word[0] == '@' ? is_member(peer, word + 1) : is_user(peer, word)))
			return true;
	return false;
}

bool access_allowed(const struct config *c, const struct access_peer *peer,
		    enum config_role role)
{
	if (peer->uid == 0 || is_member(peer, c->admin_group) || is_named(peer, c->roles[role]))
		return true;
	if (role != CONFIG_READ)
		return false;
	if (strcmp(c->readers, "all") == 0 || is_member(peer, c->readers))
		return true;
	for (size_t i = 0; i < CONFIG_ROLES; i++)
		if (is_named(peer, c->roles[i]))
			return true;
	return false;
}

int access_refuse(const struct config *c, const struct access_peer *peer, enum config_role role,
		  struct fail *reterr_fail)
{
	const char *name = config_role_name(role), *others = c->roles[role];

	fail_set(reterr_fail, FAIL_PERMISSION, "uid %u lacks the role \"%s\"", peer->uid, name);
	return fail_hint(reterr_fail, "[roles] %s in %s gives it; now root%s%s%s%s have it",
			 name, c->command.file, c->admin_group[0] ? ", the group " : "",
			 c->admin_group, others[0] ? " and " : "", others);
}
