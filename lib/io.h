// SPDX-License-Identifier: BSD-2-Clause
/*
 * lib/io.h -- whole files and whole writes.
 *
 * Context    blocking; not for sockets of the loop.
 * Errors     -errno of the system call; -EFBIG larger than max_bytes;
 *            -EISDIR, -EINVAL not a regular file.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* *ret_buf is NUL-terminated one byte past *ret_len. fd must be readable from its start. */
int io_read_fd(int fd, size_t max_bytes, uint8_t **ret_buf, size_t *ret_len);
int io_read_file(const char *path, size_t max_bytes, uint8_t **ret_buf, size_t *ret_len);
/* First line or word of a /proc or /sys file, trimmed of the newline. */
int io_read_line(const char *path, char *ret_line, size_t len);
int io_write_all(int fd, const void *buf, size_t len);
/* So that path is found in its folder after a loss of power. */
int io_sync_folder_of(const char *path);
/* Temporary file in the same folder, fsync, rename, fsync of the folder. */
int io_write_file(const char *path, const void *buf, size_t len, mode_t mode);
/* A sealed memfd holding a copy of buf, positioned at 0, close-on-exec. */
int io_memfd(const char *name, const void *buf, size_t len, int *ret_fd);
int io_mkdir_p(const char *path, mode_t mode);
