/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the library's tests share: a directory of their own, images in it, and an environment
 * that opens them. */
#ifndef BLOCK_TEST_H
#define BLOCK_TEST_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>

#include "block_private.h"

struct block_test {
    struct vm_env env;
    char dir[64], path[128];
    char log[256]; /* the last line */
    struct vblock_config config; /* of path; locked and sparse */
    struct vblock *disk;
};

static inline void block_test_log(void *ctx, enum vm_level level, const char *text)
{
    struct block_test *t = ctx;

    (void)level;
    snprintf(t->log, sizeof(t->log), "%s", text);
}

static inline int block_test_open_name(void *ctx, const char *name, unsigned how)
{
    int fd = open(name, (how & VM_OPEN_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);

    (void)ctx;
    return fd < 0 ? -errno : fd;
}

static inline void block_test_begin_in(struct block_test *t, const char *where)
{
    *t = (struct block_test){ .env = {
                                  .ctx = t, .log = block_test_log, .open = block_test_open_name } };
    snprintf(t->dir, sizeof(t->dir), "%s/vblock-XXXXXX", where);
    cr_assert_not_null(mkdtemp(t->dir));
    snprintf(t->path, sizeof(t->path), "%s/disk", t->dir);
    t->config = (struct vblock_config){ .path = t->path, .lock = true, .sparse = true };
}

static inline void block_test_begin(struct block_test *t)
{
    block_test_begin_in(t, "/tmp");
}

static inline void block_test_end(struct block_test *t)
{
    vblock_close(t->disk);
    t->disk = NULL;
    unlink(t->path);
    rmdir(t->dir);
}

/* Criterion's skip does not call the suite's fini. */
#define BLOCK_TEST_SKIP(t, why) \
    do {                        \
        block_test_end(t);      \
        cr_skip_test(why);      \
    } while (0)

/* An image of so many bytes, byte n of sector s being s + n (or a hole with sparse). */
static inline void block_test_image(struct block_test *t, size_t bytes, bool sparse)
{
    int fd = open(t->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    cr_assert_geq(fd, 0);
    if (sparse) {
        cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    } else {
        uint8_t *all = malloc(bytes);

        for (size_t i = 0; i < bytes; i++)
            all[i] = (uint8_t)((i / VBLOCK_SECTOR + i) & 0xff);
        cr_assert_eq(write(fd, all, bytes), (ssize_t)bytes);
        free(all);
    }
    close(fd);
}

static inline int block_test_open(struct block_test *t)
{
    return vblock_open(&t->env, &t->config, &t->disk);
}

/* One buffer, one request. */
static inline int block_test_do(struct block_test *t, enum vblock_op op, uint64_t offset, void *buf,
                                uint64_t bytes)
{
    struct iovec v = { buf, bytes };
    struct vblock_req req = { .op = op, .offset = offset, .bytes = bytes, .iov = &v, .iovs = 1 };

    return vblock_submit(t->disk, &req);
}

/* What the file itself holds. */
static inline void block_test_peek(const struct block_test *t, uint64_t offset, void *buf,
                                   size_t bytes)
{
    int fd = open(t->path, O_RDONLY | O_CLOEXEC);

    cr_assert_eq(pread(fd, buf, bytes, (off_t)offset), (ssize_t)bytes);
    close(fd);
}

static inline uint64_t block_test_allocated(const struct block_test *t)
{
    struct stat st;

    cr_assert_eq(stat(t->path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

#endif
