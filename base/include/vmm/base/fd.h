/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * File descriptors: EINTR and short transfers are handled here and nowhere else. Every fd made here
 * is CLOEXEC (but for fds 0 to 2). The program ignores SIGPIPE; who writes to sockets uses
 * MSG_NOSIGNAL besides. Thread safe.
 */
#ifndef VMM_BASE_FD_H
#define VMM_BASE_FD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Reads or writes all of len. 0, -errno (-EAGAIN: the fd is non-blocking and not ready), or -EPIPE
 * where the file ended before. With text. */
int vm_read_full(int fd, void *buf, size_t len);
int vm_write_full(int fd, const void *buf, size_t len);
int vm_pread_full(int fd, void *buf, size_t len, uint64_t offset);
int vm_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

/* One transfer, again after EINTR: bytes moved, 0 at the end, or -errno without text. */
ssize_t vm_read(int fd, void *buf, size_t len);
ssize_t vm_write(int fd, const void *buf, size_t len);

/* Whole vectors at an offset: bytes moved (less than asked only at the end of the file), or -errno
 * without text. iov is used up: its elements change. */
ssize_t vm_preadv_full(int fd, struct iovec *iov, int count, uint64_t offset);
ssize_t vm_pwritev_full(int fd, struct iovec *iov, int count, uint64_t offset);

/* fstat(2), and by that system call: the C library's may be newfstatat, which can look at names, so that a filter would have to
 * allow both. 0, or -errno without text (and errno). */
int vm_fstat(int fd, struct stat *ret_stat);

/* eventfd(2), non-blocking. The new fd, or -errno with text. */
int vm_eventfd(void);
/* Adds 1; never blocks. */
void vm_eventfd_signal(int fd);
/* Takes and clears the count; 0 when there was none. */
uint64_t vm_eventfd_take(int fd);
/* The same, and never waits, also where somebody else who has it (a back end's process) made it one that does: eventfd(2), O_NONBLOCK is the
 * file's. 0 where the kernel cannot (before Linux 5.8): the count stays. */
uint64_t vm_eventfd_take_shared(int fd);

/* Closes and sets *fd to -1; harmless when already negative. Keeps errno. */
void vm_close(int *fd);

/* Reads a whole file (from its start; a pipe from where it is) of at most max bytes into memory
 * that the caller frees; one zero byte stands behind it. 0, -EFBIG or -errno with text naming what
 * (for example "kernel"). */
int vm_read_file(int fd, const char *what, size_t max, void **ret_data, size_t *ret_len);

/* Makes sure that fds 0 to 2 are open (on /dev/null where not), so that no file of ours gets one of
 * these numbers. First call of a program. -errno. */
int vm_fd_sanitize(void);

#endif
