/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A loop, a spawner and children of it that are tests/jail/child.c. */
#ifndef VMM_JAIL_SPAWNER_TEST_H
#define VMM_JAIL_SPAWNER_TEST_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/loop.h>
#include <vmm/jail/profile.h>
#include <vmm/jail/rows.h>
#include <vmm/jail/spawner.h>

#include "counters_test.h"

#define SECOND_NS   1000000000ull
#define DEADLINE_NS (30 * SECOND_NS)

enum { ORDINARY_USER = 65534 };

static struct vm_env env;
static struct vm_loop *loop;
static struct vmm_spawner *spawner;
static int child_binary = -1;

struct kid {
    struct vmm_child *child;
    int control; /* our end of fd 3 */
    pid_t pid;
    int started, ended, code, status;
    char text[VM_ERROR_TEXT];
};

static inline void kid_started(void *ctx, pid_t pid, int pidfd)
{
    struct kid *kid = ctx;

    cr_assert_geq(pidfd, 0);
    kid->pid = pid;
    kid->started++;
}

static inline void kid_ended(void *ctx, int code, int status)
{
    struct kid *kid = ctx;

    kid->ended++;
    kid->code = code;
    kid->status = status;
    snprintf(kid->text, sizeof(kid->text), "%s", vm_error_text());
}

static inline void step_until(const int *flag, int value)
{
    uint64_t end = vm_loop_now_ns(loop) + DEADLINE_NS;

    while (*flag < value && vm_loop_now_ns(loop) < end)
        cr_assert_geq(vm_loop_step(loop, SECOND_NS), 0);
    cr_assert_geq(*flag, value, "it did not happen in time");
}

/* Before the test drops what it may: the build tree may be closed to others. */
static inline void open_child(void)
{
    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator makes no jails");
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    cr_skip_test("the sanitizer's own thread forbids user namespaces");
#endif
#endif
    share_counters();
    vm_env_host(VM_LOG_ERROR, &env);
    child_binary = open(JAIL_CHILD, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(child_binary, 0, "%s", JAIL_CHILD);
}

static inline void become(uid_t user)
{
    if (geteuid())
        return;
    cr_assert_eq(setgroups(0, NULL), 0);
    cr_assert_eq(setresgid(user, user, user), 0);
    cr_assert_eq(setresuid(user, user, user), 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static inline void become_ordinary(void)
{
    become(ORDINARY_USER);
}

static inline void start_spawner(bool foreign)
{
    struct vmm_spawner_config config = { .env = &env, .foreign = foreign };

    cr_assert_eq(vm_loop_new(&env, 0, &loop), 0);
    cr_assert_eq(vmm_spawner_start(&config, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, DEADLINE_NS), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, loop), 0);
}

static inline void end_spawner(void)
{
    vmm_spawner_free(spawner);
    vm_loop_free(loop);
    vm_close(&child_binary);
}

/* profile: an fd, or -1. */
static inline void kid_start_argument(struct kid *kid, const char *mode, const char *argument,
                                      int profile)
{
    const char *argv[] = { "device", mode, argument, NULL };
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    struct vmm_child_fd fd[] = { { pair[1], 3 }, { STDERR_FILENO, 2 }, { profile, 4 } };
    struct vmm_child_config config = {
        .argv = argv,
        .fd = fd,
        .fds = profile >= 0 ? 3 : 2,
        .binary_fd = child_binary,
        .started = kid_started,
        .ended = kid_ended,
        .ctx = kid,
    };

    kid->control = pair[0];
    cr_assert_eq(vmm_child_start(spawner, &config, &kid->child), 0, "%s", vm_error_text());
    close(pair[1]);
}

static inline void kid_start(struct kid *kid, const char *mode, int profile)
{
    kid_start_argument(kid, mode, NULL, profile);
}

static inline void kid_free(struct kid *kid)
{
    vmm_child_free(kid->child);
    vm_close(&kid->control);
}

/* What the child writes to fd 3 until it closes it or ends. */
static inline void kid_text(struct kid *kid, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len < size - 1 && (n = vm_read(kid->control, text + len, size - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

static inline struct vmm_jail_program *program_of(const struct vm_jail_rule *a,
                                                  const struct vm_jail_rule *b,
                                                  enum vmm_jail_action action)
{
    struct vmm_jail_program *program;
    struct vmm_jail_filter *filter;

    cr_assert_eq(vmm_jail_filter_new("test", &filter), 0);
    cr_assert_eq(vmm_jail_filter_add(filter, "a", a), 0);
    cr_assert_eq(vmm_jail_filter_add(filter, "b", b), 0);
    cr_assert_eq(vmm_jail_filter_compile(filter, vmm_jail_arch_native(), action, &program), 0);
    vmm_jail_filter_free(filter);
    return program;
}

/* A profile as a device of the built-in rows has it; without filters where asked for. */
static inline int make_profile(bool filters, enum vmm_jail_action action)
{
    struct vmm_jail_profile profile = { .who = "virtio-test dev0", .spawned = true };
    int fd;

    if (filters) {
        profile.enter = program_of(vmm_jail_rows_child_loop, vmm_jail_rows_child_start, action);
        profile.narrow = program_of(vmm_jail_rows_child_loop, NULL, action);
    }
    fd = vmm_jail_profile_write(&profile);
    cr_assert_geq(fd, 0, "%s", vm_error_text());
    vmm_jail_profile_free(&profile);
    return fd;
}

/* A line of /proc/PID/status, without its name. */
static inline void status_line(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64], line[256];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    f = fopen(path, "re");
    *text = '\0';
    while (f && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            snprintf(text, size, "%.*s", (int)strcspn(line + strlen(name) + 2, "\n"),
                     line + strlen(name) + 2);
    }
    if (f)
        fclose(f);
}

#endif
