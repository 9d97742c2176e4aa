/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A bench for character back ends: a loop in virtual time, an owner that takes as much input as the test allows. */
#ifndef VMM_CHAR_TEST_H
#define VMM_CHAR_TEST_H

#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/loop.h>
#include <vmm/char/char.h>

#include "char_private.h"

struct bench {
    struct vm_env env;
    struct vm_loop *loop;
    struct vchar *chr;
    char dir[64];
    uint8_t got[1 << 16]; /* what the owner took */
    size_t got_len, room;
    int escapes, drained, log_lines;
    uint8_t key;
    char log[256];
};

static struct bench b;

static inline size_t bench_input(void *ctx, const uint8_t *data, size_t len)
{
    struct bench *bench = ctx;
    size_t n = len < bench->room ? len : bench->room;

    memcpy(bench->got + bench->got_len, data, n);
    bench->got_len += n;
    bench->room -= n;
    return n;
}

static inline void bench_escape(void *ctx, uint8_t key)
{
    ((struct bench *)ctx)->escapes++;
    ((struct bench *)ctx)->key = key;
}

static inline void bench_drained(void *ctx)
{
    ((struct bench *)ctx)->drained++;
}

static const struct vchar_ops bench_ops = { .input = bench_input,
                                            .escape = bench_escape,
                                            .drained = bench_drained };

static inline void bench_log(void *ctx, enum vm_level level, const char *text)
{
    (void)ctx;
    if (level > VM_LOG_WARN)
        return;
    b.log_lines++;
    snprintf(b.log, sizeof(b.log), "%s", text);
}

static inline void bench_setup(unsigned flags)
{
    memset(&b, 0, sizeof(b));
    signal(SIGPIPE, SIG_IGN);
    vm_env_host(VM_LOG_ERROR, &b.env);
    b.env.log = bench_log;
    b.room = sizeof(b.got);
    cr_assert_eq(vm_loop_new(&b.env, flags, &b.loop), 0);
    b.env.loop = b.loop;
    strcpy(b.dir, "/tmp/vchar-XXXXXX");
    cr_assert_not_null(mkdtemp(b.dir));
}

static inline const char *in_dir(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", b.dir, name);
    return path;
}

static inline int open_chr(enum vchar_mode mode, const char *file, const char *socket, bool keep)
{
    struct vchar_config config = { .mode = mode,
                                   .file = (char *)(uintptr_t)file,
                                   .socket = (char *)(uintptr_t)socket,
                                   .keep = keep };

    return vchar_new(&b.env, "serial0", &config, &bench_ops, &b, &b.chr);
}

static inline void close_chr(void)
{
    vchar_free(b.chr);
    b.chr = NULL;
}

static inline void bench_teardown(void)
{
    static const char *const names[] = { "file", "link", "socket", "fifo" };

    close_chr();
    vm_loop_free(b.loop);
    for (size_t i = 0; i < VM_ARRAY_SIZE(names); i++)
        unlink(in_dir(names[i]));
    rmdir(b.dir);
}

/* Lets that much virtual time go by. */
static inline void run_ms(unsigned ms)
{
    uint64_t end = vm_loop_now_ns(b.loop) + ms * UINT64_C(1000000);

    while (vm_loop_now_ns(b.loop) < end)
        cr_assert_geq(vm_loop_step(b.loop, end - vm_loop_now_ns(b.loop)), 0);
    while (vm_loop_step(b.loop, 0) > 0)
        ;
}

/* One round without time. */
static inline int round_now(void)
{
    return vm_loop_step(b.loop, 0);
}

static inline size_t say(const char *text, bool take_all)
{
    return vchar_write(b.chr, (const uint8_t *)text, strlen(text), take_all);
}

/* Byte i of a long output that shows where it comes from. */
static inline uint8_t pattern(uint64_t i)
{
    return (uint8_t)('A' + (i * 7 + i / 251) % 26);
}

/* Writes bytes [from, from + count) of the pattern in pieces; returns how many were taken (all with take_all). */
static inline size_t say_pattern(uint64_t from, size_t count, bool take_all)
{
    uint8_t piece[1000];
    size_t taken = 0;

    while (taken < count) {
        size_t len = count - taken < sizeof(piece) ? count - taken : sizeof(piece), n;

        for (size_t i = 0; i < len; i++)
            piece[i] = pattern(from + taken + i);
        n = vchar_write(b.chr, piece, len, take_all);
        taken += take_all ? len : n;
        if (n < len && !take_all)
            break;
    }
    return taken;
}

/* Reads what comes until len bytes are there, running the loop; fails the test after 10 s without a byte. */
static inline size_t read_all(int fd, uint8_t *data, size_t len)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    size_t at = 0;

    for (int idle = 0; at < len && idle < 1000;) {
        ssize_t n;

        run_ms(5);
        if (poll(&p, 1, 10) <= 0) {
            idle++;
            continue;
        }
        n = read(fd, data + at, len - at);
        if (n <= 0)
            break;
        at += (size_t)n;
        idle = 0;
    }
    return at;
}

static inline bool holds_pattern(const uint8_t *data, size_t len, uint64_t from)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] != pattern(from + i))
            return false;
    return true;
}

static inline size_t file_bytes(const char *path)
{
    struct stat st;

    return stat(path, &st) ? 0 : (size_t)st.st_size;
}

static inline void put_at(int fd, int place)
{
    cr_assert_eq(dup2(fd, place), place);
    close(fd);
}

/* Standard input from /dev/null; standard output is the writing end of a pipe: returns the reading end. */
static inline int stdio_pipe(void)
{
    int p[2];

    put_at(open("/dev/null", O_RDONLY), STDIN_FILENO);
    cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
    put_at(p[1], STDOUT_FILENO);
    return p[0];
}

#endif
