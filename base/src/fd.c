/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* File descriptors: EINTR and short transfers, and nowhere else. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>

enum { FIRST_READ = 4096 };

/* ---- one transfer ---- */

ssize_t vm_read(int fd, void *buf, size_t len)
{
    ssize_t n;

    do {
        n = read(fd, buf, len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t vm_write(int fd, const void *buf, size_t len)
{
    ssize_t n;

    do {
        n = write(fd, buf, len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t read_at(int fd, void *buf, size_t len, uint64_t offset)
{
    ssize_t n;

    if (offset > INT64_MAX)
        return -EINVAL;
    do {
        n = pread(fd, buf, len, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t write_at(int fd, const void *buf, size_t len, uint64_t offset)
{
    ssize_t n;

    if (offset > INT64_MAX)
        return -EINVAL;
    do {
        n = pwrite(fd, buf, len, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* ---- all of it ---- */

/* Words the end of a transfer that stopped after `done` bytes with result n (0: the end of the
 * file). */
static int short_transfer(const char *what, size_t done, size_t len, ssize_t n)
{
    if (!n)
        return vm_fail(-EPIPE, "%s: the file ends after %zu of %zu bytes", what, done, len);
    errno = (int)-n;
    return vm_fail_errno("%s: failed after %zu of %zu bytes", what, done, len);
}

int vm_read_full(int fd, void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = vm_read(fd, (char *)buf + done, len - done);

        if (n <= 0)
            return short_transfer("read", done, len, n);
        done += (size_t)n;
    }
    return 0;
}

int vm_write_full(int fd, const void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = vm_write(fd, (const char *)buf + done, len - done);

        if (n <= 0)
            return short_transfer("write", done, len, n);
        done += (size_t)n;
    }
    return 0;
}

int vm_pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = read_at(fd, (char *)buf + done, len - done, offset + done);

        if (n <= 0)
            return short_transfer("read", done, len, n);
        done += (size_t)n;
    }
    return 0;
}

int vm_pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write_at(fd, (const char *)buf + done, len - done, offset + done);

        if (n <= 0)
            return short_transfer("write", done, len, n);
        done += (size_t)n;
    }
    return 0;
}

/* ---- vectors ---- */

/* Takes done bytes off the front; what is used up entirely is skipped. */
static void advance(struct iovec **iov, int *count, size_t done)
{
    while (*count && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (*count) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

typedef ssize_t vector_fn(int fd, const struct iovec *iov, int count, off_t offset, int flags);

/* The kernel takes at most IOV_MAX elements and 2 GiB less a page at once (preadv(2), read(2)). preadv2(2) does what preadv(2) does, and
 * who reads what is cached only (RWF_NOWAIT) needs it anyway: one row of a filter less. */
static ssize_t vector_full(vector_fn *transfer, int fd, struct iovec *iov, int count,
                           uint64_t offset)
{
    ssize_t done = 0, n;

    if (offset > INT64_MAX)
        return -EINVAL;
    advance(&iov, &count, 0);
    while (count) {
        n = transfer(fd, iov, count < IOV_MAX ? count : IOV_MAX, (off_t)offset + done, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (!n)
            break;
        done += n;
        advance(&iov, &count, (size_t)n);
    }
    return done;
}

ssize_t vm_preadv_full(int fd, struct iovec *iov, int count, uint64_t offset)
{
    return vector_full(preadv2, fd, iov, count, offset);
}

ssize_t vm_pwritev_full(int fd, struct iovec *iov, int count, uint64_t offset)
{
    return vector_full(pwritev2, fd, iov, count, offset);
}

/* The C library's struct is the kernel's on 64-bit machines. */
int vm_fstat(int fd, struct stat *ret_stat)
{
    return syscall(SYS_fstat, fd, ret_stat) ? -errno : 0;
}

/* ---- eventfd ---- */

int vm_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? vm_fail_errno("eventfd") : fd;
}

/* The only failure of a sound fd is a full counter (2^64 - 2), and then it is signalled already. */
void vm_eventfd_signal(int fd)
{
    uint64_t one = 1;

    (void)vm_write(fd, &one, sizeof(one));
}

uint64_t vm_eventfd_take(int fd)
{
    uint64_t count;

    return vm_read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count) ? count : 0;
}

uint64_t vm_eventfd_take_shared(int fd)
{
    uint64_t count;
    struct iovec v = { .iov_base = &count, .iov_len = sizeof(count) };

    return preadv2(fd, &v, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(count) ? count : 0;
}

/* ---- the rest ---- */

/* Never again after EINTR: on Linux the fd is gone by then, and the number may be another's
 * (close(2)). */
void vm_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

struct content {
    char *data;
    size_t len, room; /* room without the zero byte behind */
    bool stream; /* cannot be read at an offset: a pipe, a socket, a terminal */
};

static ssize_t read_more(int fd, struct content *c)
{
    if (!c->stream) {
        ssize_t n = read_at(fd, c->data + c->len, c->room - c->len, c->len);

        if (n != -ESPIPE)
            return n;
        c->stream = true;
    }
    return vm_read(fd, c->data + c->len, c->room - c->len);
}

static int resize(struct content *c, const char *what, size_t room)
{
    char *data = realloc(c->data, room + 1);

    if (!data)
        return vm_fail(-ENOMEM, "%s: no memory for %zu bytes", what, room);
    c->data = data;
    c->room = room;
    return 0;
}

/* One byte more than the file has, so that the read that fills it is not followed by a second one
 * to a larger buffer; never more than one byte above max. */
static size_t first_room(int fd, size_t max)
{
    struct stat st;
    size_t room = FIRST_READ;

    if (!vm_fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size >= FIRST_READ)
        room = (uint64_t)st.st_size < max ? (size_t)st.st_size + 1 : max + 1;
    return room <= max ? room : max + 1;
}

static int read_all(int fd, const char *what, size_t max, struct content *c)
{
    int rc = resize(c, what, first_room(fd, max));
    ssize_t n;

    if (rc)
        return rc;
    while ((n = read_more(fd, c)) > 0) {
        c->len += (size_t)n;
        if (c->len > max)
            return vm_fail(-EFBIG, "%s: larger than %zu bytes, the most that is allowed", what,
                           max);
        if (c->len == c->room) {
            rc = resize(c, what, c->room <= max / 2 ? 2 * c->room : max + 1);
            if (rc)
                return rc;
        }
    }
    if (!n)
        return 0;
    errno = (int)-n;
    return vm_fail_errno("%s: read", what);
}

int vm_read_file(int fd, const char *what, size_t max, void **ret_data, size_t *ret_len)
{
    struct content c = { 0 };
    int rc = read_all(fd, what, max < SSIZE_MAX ? max : SSIZE_MAX - 1, &c);

    if (rc) {
        free(c.data);
        return rc;
    }
    c.data[c.len] = '\0';
    *ret_data = c.data;
    *ret_len = c.len;
    return 0;
}

/* The three stay open over an exec, as everybody expects of them: the one exception to CLOEXEC. */
int vm_fd_sanitize(void)
{
    struct pollfd std[3] = { { .fd = 0 }, { .fd = 1 }, { .fd = 2 } };
    int open_before;

    do {
        open_before = poll(std, 3, 0);
    } while (open_before < 0 && errno == EINTR);
    if (open_before < 0)
        /* poll(2): EINVAL where there are more of them than RLIMIT_NOFILE allows */
        return errno == EINVAL ? vm_fail(-EMFILE, "fds 0 to 2: too many open files")
                               : vm_fail_errno("checking fds 0 to 2: poll");
    for (int i = 0; i < 3; i++) {
        /* The lowest free number is i: those below are open. */
        if ((std[i].revents & POLLNVAL) && open("/dev/null", O_RDWR) < 0)
            return vm_fail_errno("fd %d is closed and /dev/null cannot take its place", i);
    }
    return 0;
}
