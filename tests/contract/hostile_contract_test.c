/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A device's process that turns on its VMM (tests/jail/hostile.c), for each class that can have one. The VMM survives, answers on its
 * control socket all the time, replaces the process, and has the fds and the memory that it had before.
 */
#include <ctype.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vmm/base/error.h>

#include "../cli/cli.h"
#include "contract.h"
#include "processes.h"

enum { ROUNDS = 3, LOG_MOST = 256 << 10, GROWTH_MOST_KIB = 4096 };

static struct cli_result r;
static pid_t machine, spawner, process;
static const char *who; /* the class, for messages */
static char id[32];

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        cr_skip_test("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    cli_sparse("image", 1 << 20);
}
TestSuite(hostile, .init = begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

/* ---- the machine ---- */

static void start(const struct vdev_class *cls, const char *mode)
{
    int saved = dup(STDERR_FILENO),
        log = open("log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char options[CONTRACT_OPTIONS], device[CONTRACT_OPTIONS + 64];

    who = cls->name;
    snprintf(id, sizeof(id), "%s", mode);
    contract_options(cls, options);
    snprintf(device, sizeof(device), "%s,id=%s%s%s", cls->name, id, *options ? "," : "", options);
    dup2(log, STDERR_FILENO);
    machine = CLI_START("run", "--no-rng", "--rtc", "off", "--serial", "null", "-s", "sock",
                        "--device", device, "k");
    dup2(saved, STDERR_FILENO);
    close(saved), close(log);
    cr_assert_eq(cli_wait_for("sock"), 0, "%s: no machine", who);
    spawner = proc_wait_for_child(machine);
    process = proc_wait_for_child(spawner);
    proc_wait_for_filters(process, 2);
}

static void answers(void)
{
    CLI(&r, "info", "sock");
    cr_assert_eq(r.code, 0, "%s: %s: %s", who, id, r.err);
    cr_assert(strstr(r.out, "\"state\": \"running\""), "%s: %s: %s", who, id, r.out);
}

static void stop(void)
{
    CLI(&r, "stop", "sock");
    cr_expect_eq(cli_wait(machine), 13, "%s: %s", who, id);
}

/* Until the one that was hostile is followed by another. */
static void wait_for_next(void)
{
    const struct timespec step = { .tv_nsec = 5000000 };
    pid_t next = 0;

    for (int i = 0; i < 4000 && (!next || next == process); i++) {
        answers();
        nanosleep(&step, NULL);
        next = proc_child_of(spawner);
    }
    cr_assert(next && next != process, "%s: %s: it was not replaced", who, id);
    process = next;
    proc_wait_for_filters(process, 2);
}

/* ---- before and after ---- */

static unsigned fds_of(pid_t pid)
{
    unsigned count = 0;
    char path[64];
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    dir = opendir(path);
    cr_assert_not_null(dir);
    for (struct dirent *e; (e = readdir(dir));)
        count += isdigit((unsigned char)*e->d_name) ? 1 : 0;
    closedir(dir);
    return count;
}

static long memory_of(pid_t pid)
{
    char value[128];

    proc_line(pid, "status", "RssAnon", value);
    return atol(value);
}

/* A process that is just being started has its ends here for a moment: the number that stays. */
static unsigned settled_fds(void)
{
    const struct timespec step = { .tv_nsec = 5000000 };
    unsigned fds = fds_of(machine);

    for (int same = 0, i = 0; same < 20 && i < 2000 * cli_patience(); i++) {
        unsigned now;

        nanosleep(&step, NULL);
        now = fds_of(machine);
        same = now == fds ? same + 1 : 0;
        fds = now;
    }
    return fds;
}

static void expect_small_log(void)
{
    struct stat log;

    cr_assert_eq(stat("log", &log), 0);
    cr_expect_leq((long)log.st_size, LOG_MOST, "%s: %s: log of %ld bytes", who, id,
                  (long)log.st_size);
}

static void attack(const struct vdev_class *cls, const char *mode)
{
    unsigned fds, left;
    long before, after;

    start(cls, mode);
    fds = settled_fds();
    before = memory_of(machine);
    for (int round = 0; round < ROUNDS; round++) {
        cr_assert_eq(kill(process, SIGUSR1), 0);
        wait_for_next();
    }
    left = settled_fds();
    after = memory_of(machine);
    cr_expect_eq(left, fds, "%s: %s: %u fds, %u before", who, id, left, fds);
    cr_expect_leq(after - before, GROWTH_MOST_KIB, "%s: %s: memory %ld KiB, %ld before", who, id,
                  after, before);
    expect_small_log();
    stop();
}

#define FOR_PROCESSES(cls)                                                              \
    for (const struct vdev_class *const *row = vdev_classes, *cls; (cls = *row); row++) \
        if (!cls->internal && cls->kind == VDEV_VIRTIO && cls->placements & VDEV_PROCESS)

/* ---- ways out ---- */

static char log_text[65536];

static void read_log(void)
{
    int fd = open("log", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, log_text, sizeof(log_text) - 1);

    log_text[n < 0 ? 0 : n] = '\0';
    close(fd);
}

/* Files in memory are allowed: the log of requests in flight is one. */
static bool is_refused(const char *line, const char *what)
{
    return !strstr(what, "orked") || strstr(line, "memfd_create|worked, as expected");
}

static unsigned count_results(void)
{
    unsigned lines = 0;

    for (char *rest = log_text, *line; (line = strsep(&rest, "\n"));) {
        const char *what = strchr(line, '|');

        if (!what)
            continue;
        lines++;
        cr_expect(is_refused(line, what) && !strstr(what, "WORKED"), "%s: %s", who, line);
        if (getenv("VMM_JAIL_SHOW"))
            fprintf(stderr, "%s\n", line);
    }
    return lines;
}

Test(hostile, no_way_out_of_a_devices_process_works_and_each_is_named)
{
    char mode[32];

    snprintf(mode, sizeof(mode), "escapes-%d", getpid());
    FOR_PROCESSES(cls)
    {
        start(cls, mode);
        cr_assert_eq(kill(process, SIGUSR1), 0);
        wait_for_next();
        read_log();

        cr_expect(strstr(log_text, "end|of the ways out"), "%s: %s", who, log_text);
        cr_expect_geq(count_results(), 45, "%s", who);
        stop();
    }
}

Test(hostile, a_process_gets_no_name_that_is_not_its_own)
{
    FOR_PROCESSES(cls)
    {
        start(cls, "names");
        cr_assert_eq(kill(process, SIGUSR1), 0);
        wait_for_next();
        read_log();

        cr_expect(
            strstr(log_text, "its process asks for a name when its device is made: it is replaced"),
            "%s: %s", who, log_text);
        stop();
    }
}

/* ---- the VMM's patience ---- */

Test(hostile, a_control_channel_that_makes_no_sense_costs_the_vmm_nothing)
{
    FOR_PROCESSES(cls)
    attack(cls, "channel");
}

Test(hostile, a_back_end_that_makes_no_sense_costs_the_vmm_nothing)
{
    FOR_PROCESSES(cls)
    attack(cls, "backend");
}

Test(hostile, a_flood_of_words_leaves_a_small_log)
{
    FOR_PROCESSES(cls)
    attack(cls, "flood");
}

Test(hostile, fds_that_nobody_asked_for_are_closed)
{
    FOR_PROCESSES(cls)
    attack(cls, "fds");
}

/* It hears no end of its connection either. */
Test(hostile, a_process_that_does_not_listen_does_not_keep_its_device)
{
    FOR_PROCESSES(cls)
    {
        start(cls, "deaf");
        cr_assert_eq(kill(process, SIGUSR1), 0);
        answers();

        CLI(&r, "remove", "sock", id);

        cr_expect_eq(r.code, 0, "%s: %s", who, r.err);
        answers();
        stop();
    }
}
