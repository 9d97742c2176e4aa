/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The environment of a library: logging under a limit, and the host's own environment. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/base/file.h>
#include <vmm/base/pty.h>
#include <vmm/base/socket.h>
#include <vmm/base/tap.h>

#include "text.h"

enum {
    LOG_TEXT = 512,
    RATELIMIT_BURST = 10,
    BACKLOG = 128, /* of a socket that listens */
};
#define SECOND_NS             UINT64_C(1000000000)
#define RATELIMIT_INTERVAL_NS (10 * SECOND_NS)

const char *vm_level_name(enum vm_level level)
{
    static const char *const words[] = { "error", "warn", "info", "debug" };

    return words[level];
}

static const char *const level_names[] = { "error", "warning", "info", "debug" };

/* The host's log writes one line with one write(2), so that lines of several threads do not mix,
 * and none where the reader of a pipe has stopped: logging must never stop a vCPU. */
static void host_log(void *ctx, enum vm_level level, const char *text)
{
    struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
    enum vm_level max_level = (enum vm_level)(uintptr_t)ctx;
    char line[LOG_TEXT + 32];
    size_t len;

    if (level > max_level || poll(&out, 1, 0) <= 0 || !(out.revents & POLLOUT))
        return;
    vm_text_print(line, sizeof(line) - 1, "%s: %s", level_names[level], text);
    len = strlen(line);
    line[len++] = '\n';
    while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
        ;
}

static uint64_t host_now_ns(void *ctx, enum vm_clock clock)
{
    struct timespec now = { 0 };

    (void)ctx;
    clock_gettime(clock == VM_CLOCK_WALL ? CLOCK_REALTIME : CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static int host_random(void *ctx, void *buf, size_t len)
{
    unsigned char *p = buf;

    (void)ctx;
    while (len) {
        ssize_t n = getrandom(p, len, 0);

        if (n < 0 && errno != EINTR)
            return vm_fail_errno("random bytes: getrandom");
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

static int open_flags(unsigned how)
{
    int flags;

    switch (how & (VM_OPEN_READ | VM_OPEN_WRITE)) {
    case VM_OPEN_READ: flags = O_RDONLY; break;
    case VM_OPEN_WRITE: flags = O_WRONLY; break;
    case VM_OPEN_READ | VM_OPEN_WRITE: flags = O_RDWR; break;
    default: return -1;
    }
    if (how & VM_OPEN_TRUNCATE && flags != O_RDONLY)
        flags |= O_TRUNC; /* means nothing to FIFOs and devices: open(2) */
    return flags | (how & VM_OPEN_CREATE ? O_CREAT : 0) | O_CLOEXEC | O_NOCTTY;
}

/* Non-blocking while it opens: a FIFO without a peer must not hold the program up. */
static int host_open(void *ctx, const char *name, unsigned how)
{
    unsigned type = how & VM_OPEN_SEQPACKET;
    int flags = open_flags(how == VM_OPEN_KERNEL ? VM_OPEN_READ | VM_OPEN_WRITE : how);
    int fd;

    (void)ctx;
    if ((how & ~type) == VM_OPEN_CONNECT)
        return vm_socket_connect_as(name, type ? SOCK_SEQPACKET : SOCK_STREAM);
    if ((how & ~type) == VM_OPEN_LISTEN)
        return vm_socket_listen_as(name, BACKLOG, type ? SOCK_SEQPACKET : SOCK_STREAM);
    if (how & VM_OPEN_DIAL)
        return vm_fail(-EACCES, "%s: nobody is here who could connect to such names", name);
    if (how == VM_OPEN_PTY)
        return vm_pty_open(strcmp(name, VM_PTY_NO_LINK) != 0 ? name : NULL);
    if (how == VM_OPEN_TAP)
        return vm_tap_open(name);
    if (how == VM_OPEN_USER)
        return vm_fail(-EACCES, "%s: nobody is here who could start it", name);
    if (flags < 0)
        return vm_fail(-EINVAL, "%s: opened neither for reading nor for writing", name);
    do {
        fd = open(name, flags | O_NONBLOCK, 0666);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return vm_file_fail("", name, how & VM_OPEN_CREATE);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

void vm_env_host(enum vm_level max_level, struct vm_env *ret_env)
{
    *ret_env = (struct vm_env){
        .ctx = (void *)(uintptr_t)max_level,
        .log = host_log,
        .now_ns = host_now_ns,
        .random = host_random,
        .open = host_open,
    };
}

static void log_args(const struct vm_env *env, enum vm_level level, const char *format,
                     va_list args) __attribute__((format(printf, 3, 0)));

static void log_args(const struct vm_env *env, enum vm_level level, const char *format,
                     va_list args)
{
    char text[LOG_TEXT];

    vm_text_format(text, sizeof(text), format, args);
    env->log(env->ctx, level, text);
}

void vm_log(const struct vm_env *env, enum vm_level level, const char *format, ...)
{
    va_list args;

    if (!env || !env->log)
        return;
    va_start(args, format);
    log_args(env, level, format, args);
    va_end(args);
}

bool vm_ratelimit_ok(struct vm_ratelimit *limit, uint64_t now_ns, uint32_t *ret_missed)
{
    uint64_t interval_ns = limit->interval_ns ? limit->interval_ns : RATELIMIT_INTERVAL_NS;
    uint32_t burst = limit->burst ? limit->burst : RATELIMIT_BURST;
    uint64_t start_ns = limit->window_start_ns;

    *ret_missed = 0;
    /* A clock that went back (a restored machine) begins a window too, or silence would last. */
    if (now_ns < start_ns || now_ns - start_ns >= interval_ns) {
        limit->window_start_ns = now_ns;
        limit->used = 0;
    }
    if (limit->used >= burst) {
        limit->dropped++;
        limit->dropped_now += limit->dropped_now < UINT32_MAX;
        return false;
    }
    limit->used++;
    *ret_missed = limit->dropped_now;
    limit->dropped_now = 0;
    return true;
}

void vm_log_limited(const struct vm_env *env, struct vm_ratelimit *limit, enum vm_level level,
                    const char *format, ...)
{
    uint32_t missed;
    va_list args;

    if (!env || !env->log || !vm_ratelimit_ok(limit, vm_now_ns(env, VM_CLOCK_MONOTONIC), &missed))
        return;
    if (missed)
        vm_log(env, level, "%u lines like the next one were dropped", missed);
    va_start(args, format);
    log_args(env, level, format, args);
    va_end(args);
}
