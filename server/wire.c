// SPDX-License-Identifier: BSD-2-Clause
#include "server/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int wire_send(int fd, const void *record, size_t len, const int *fds, size_t n_fds)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)record, .iov_len = len};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};
	union control control = {0};
	struct cmsghdr *c;
	ssize_t n;

	if (n_fds > WIRE_FDS_MAX)
		return -E2BIG;
	if (n_fds) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == (ssize_t)len ? 0 : -EBADMSG;
}

static void take_fds(struct msghdr *msg, int *ret_fds, size_t *ret_n)
{
	*ret_n = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n && *ret_n < WIRE_FDS_MAX; i++)
			memcpy(&ret_fds[(*ret_n)++], CMSG_DATA(c) + i * sizeof(int),
			       sizeof(int));
	}
}

int wire_recv(int fd, void *ret_record, size_t len, int *ret_fds, size_t *ret_n_fds)
{
	struct iovec part = {.iov_base = ret_record, .iov_len = len};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &part,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_fds(&msg, ret_fds, ret_n_fds);
	if (n == (ssize_t)len && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 0;
	for (size_t i = 0; i < *ret_n_fds; i++)
		close(ret_fds[i]);
	*ret_n_fds = 0;
	return n == 0 ? -EPIPE : -EBADMSG;
}

ssize_t wire_read(int fd, void *ret_buf, size_t len, int *ret_fds, size_t *n_fds)
{
	struct iovec part = {.iov_base = ret_buf, .iov_len = len};
	union control control = {0};
	struct msghdr msg = {.msg_iov = &part,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	int fds[WIRE_FDS_MAX];
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	size_t got;

	if (n < 0)
		return -errno;
	take_fds(&msg, fds, &got);
	for (size_t i = 0; i < got; i++)
		if (*n_fds < WIRE_FDS_MAX)
			ret_fds[(*n_fds)++] = fds[i];
		else
			close(fds[i]);
	return n;
}
