/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The environment of a library: everything that comes from outside the process's own memory. No
 * library reads a clock, a random source or a file by itself, so that a whole machine can run from
 * a seed in virtual time, and in a jail.
 *
 * Whoever composes the program fills one struct vm_env and keeps it alive longer than everything
 * that was created with it. vm_env_host() is the one for a real program.
 *
 * Threads: the call-backs may be called from any thread and must be thread safe.
 */
#ifndef VMM_BASE_ENV_H
#define VMM_BASE_ENV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmm/base/util.h>

struct vm_loop;

/* As in syslog(3): lower is worse. */
enum vm_level { VM_LOG_ERROR, VM_LOG_WARN, VM_LOG_INFO, VM_LOG_DEBUG };

/* "error", "warn", "info", "debug": as on the command line. */
const char *vm_level_name(enum vm_level level);

#define VM_PTY_NO_LINK "/dev/ptmx"

enum vm_clock {
    VM_CLOCK_MONOTONIC, /* never jumps; starts anywhere */
    VM_CLOCK_WALL, /* since 1970-01-01 UTC; may jump */
};

enum vm_open {
    VM_OPEN_READ = 1,
    VM_OPEN_WRITE = 2,
    VM_OPEN_CREATE = 4,
    VM_OPEN_TRUNCATE = 32, /* with WRITE: a regular file begins empty */
    VM_OPEN_CONNECT = 8, /* alone: a stream socket connected to who listens at name, non-blocking */
    VM_OPEN_LISTEN = 16, /* alone: a stream socket that listens at name, non-blocking */
    VM_OPEN_SEQPACKET = 256, /* with LISTEN, CONNECT and DIAL: sockets of messages instead */
    VM_OPEN_DIAL =
        128, /* a socket at whose other end somebody connects to who listens at name_PORT (with CONNECT: at name), as long as the device lives: vmm/base/dial.h */
    VM_OPEN_PTY =
        64, /* alone: the master of a new raw pseudo-terminal, non-blocking; name: of a link to make to its other side, or VM_PTY_NO_LINK */
    VM_OPEN_TAP = 512, /* alone: a queue of a tap interface; name: what vm_tap_text() wrote */
    VM_OPEN_USER =
        1024, /* alone: a socket that gives connections to a program of the host, started for it, as vmm/base/dial.h does, and as long
               * as the device lives; name: the program's words */
    VM_OPEN_KERNEL = 2048, /* alone: a device of the kernel's, as /dev/vhost-net */
};

struct vm_env {
    void *ctx; /* first argument of the call-backs */

    /* One line without newline. NULL: nothing is logged. */
    void (*log)(void *ctx, enum vm_level level, const char *text);

    uint64_t (*now_ns)(void *ctx, enum vm_clock clock);

    /* Fills buf. 0, or -errno with text. */
    int (*random)(void *ctx, void *buf, size_t len);

    /* Opens a name the user gave (enum vm_open flags in how). A new fd (CLOEXEC) that belongs to
     * the caller, or -EACCES where the policy refuses, or another -errno with text. NULL: always
     * -EACCES. -ENOTCONN for sockets, taps and programs: there is nobody, for the machine will not be started. */
    int (*open)(void *ctx, const char *name, unsigned how);

    /* What open() has made by LISTEN and PTY is removed by who is behind it: the library must not, and could not. */
    bool keeps_names;

    /* Where timers and fds of what is created with this environment are served; borrowed. */
    struct vm_loop *loop;

    /* Where the keys of the user's own terminal are read: a loop that goes on when the host keeps the
     * other one waiting, so that the escape key works; borrowed. NULL: the same. */
    struct vm_loop *keys_loop;
};

/* The host's clocks and getrandom(2), standard error as log (messages above max_level are dropped),
 * open(2) as opener. The loops are left NULL. For the top of a program only. */
void vm_env_host(enum vm_level max_level, struct vm_env *ret_env);

/* Formats and hands on to env->log. env may be NULL (nothing happens). */
void vm_log(const struct vm_env *env, enum vm_level level, const char *format, ...) VM_PRINTF(3, 4);

static inline uint64_t vm_now_ns(const struct vm_env *env, enum vm_clock clock)
{
    return env->now_ns(env->ctx, clock);
}

/* A rate limit for messages that a guest or a peer can trigger: burst lines at once, then burst per
 * interval. Zeroed it means 10 lines per 10 s. One per object, under the object's lock. */
struct vm_ratelimit {
    uint32_t burst;
    uint64_t interval_ns;
    uint64_t window_start_ns;
    uint32_t used;
    uint64_t dropped; /* all time, for metrics */
    uint32_t dropped_now;
};

/* True when one more line may go out now. The first line of a new window that follows dropped ones
 * finds their number in *ret_missed (0 otherwise). */
bool vm_ratelimit_ok(struct vm_ratelimit *limit, uint64_t now_ns, uint32_t *ret_missed);

/* vm_log() under a limit; says how many lines were dropped before it. */
void vm_log_limited(const struct vm_env *env, struct vm_ratelimit *limit, enum vm_level level,
                    const char *format, ...) VM_PRINTF(4, 5);

#endif
