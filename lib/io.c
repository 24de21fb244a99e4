// SPDX-License-Identifier: BSD-2-Clause
#include "lib/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/cleanup.h"

int io_read_fd(int fd, size_t max_bytes, uint8_t **ret_buf, size_t *ret_len)
{
	AUTO_FREE uint8_t *buf = NULL;
	size_t len = 0, room = 0;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max_bytes)
		return -EFBIG;
	for (;;) {
		ssize_t n;

		if (len == room) {
			uint8_t *grown;

			if (room > max_bytes)
				return -EFBIG;
			room = room ? room * 2
				    : (S_ISREG(st.st_mode) ? (size_t)st.st_size + 1 : 65536);
			if (room > max_bytes)
				room = max_bytes + 1;
			grown = realloc(buf, room + 1);
			if (!grown)
				return -ENOMEM;
			buf = grown;
		}
		n = read(fd, buf + len, room - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max_bytes)
			return -EFBIG;
	}
	buf[len] = 0;
	*ret_buf = take_ptr(buf);
	*ret_len = len;
	return 0;
}

int io_read_file(const char *path, size_t max_bytes, uint8_t **ret_buf, size_t *ret_len)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return io_read_fd(fd, max_bytes, ret_buf, ret_len);
}

int io_read_line(const char *path, char *ret_line, size_t len)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, ret_line, len - 1);
	if (n < 0)
		return -errno;
	ret_line[n] = 0;
	ret_line[strcspn(ret_line, "\n")] = 0;
	return 0;
}

int io_write_all(int fd, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_sync_folder_of(const char *path)
{
	char copy[PATH_MAX];
	AUTO_CLOSE int fd = -1;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

int io_write_file(const char *path, const void *buf, size_t len, mode_t mode)
{
	char temporary[PATH_MAX];
	int r;

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	{
		AUTO_CLOSE int fd = mkostemp(temporary, O_CLOEXEC);

		if (fd < 0)
			return -errno;
		r = fchmod(fd, mode) < 0 ? -errno : io_write_all(fd, buf, len);
		if (r == 0 && fsync(fd) < 0)
			r = -errno;
	}
	if (r == 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return io_sync_folder_of(path);
}

int io_memfd(const char *name, const void *buf, size_t len, int *ret_fd)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, buf, len);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) <
		    0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}

int io_mkdir_p(const char *path, mode_t mode)
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}
