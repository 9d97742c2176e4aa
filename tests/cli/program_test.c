/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* program= of a vhost-user device: programs that the machine starts, starts again, and ends. Ours plays the foreign one. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(program, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2, STOPPED = 13 };

static void refused(const char *why)
{
    cr_expect_eq(r.code, USAGE, "exit %d: %s", r.code, r.err);
    cr_expect(strstr(r.err, why), "no '%s' in: %s", why, r.err);
}

Test(program, mistakes_are_told_before_anything_starts)
{
    CLI(&r, "plan", "--vhost-user", "rng,program=\"p --fd 3\"");
    refused("{fd} for a connected one, {listen} for one that listens");
    CLI(&r, "plan", "--vhost-user", "rng,program=\"p {fd}\",socket=s");
    refused("program= with socket=");
    CLI(&r, "plan", "--vhost-user", "rng,program=\"p {fd}\",fd=0");
    refused("program= with fd=");
    CLI(&r, "plan", "--vhost-user", "rng,program=\"p {fd}\",vhost_mode=server");
    refused("program= with vhost_mode=server");
    CLI(&r, "plan", "--disk", "program=\"p {fd}\"");
    refused("--disk: program=p {fd} without vhost_user=on");
}

Test(program, a_plan_starts_nothing_and_says_who_serves)
{
    CLI(&r, "plan", "--disk", "vhost_user=on,program=\"/nonexistent {fd}\"", "--fs",
        "tag=t,program=\"/nonexistent {listen}\"");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out,
                     "vhost-user1      vhost-user       0000:00:02.0       sandbox not ours: "
                     "another program, which we start"),
              "%s", r.out);
}

/* ---- machines ---- */

static pid_t machine;

static void start(const char *placeholder)
{
    char option[256];

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    snprintf(option, sizeof(option), "rng,id=foreign,program=\"%s device rng --fd %s\"",
             getenv("VMM_PROGRAM"), placeholder);
    machine =
        CLI_START("run", "-s", "sock", "--no-rng", "--serial", "null", "--vhost-user", option, "k");
    cr_assert_eq(cli_wait_for("sock"), 0);
}

static void stop(void)
{
    CLI(&r, "stop", "sock");
    cr_expect_eq(cli_wait(machine), STOPPED);
}

/* Whether the process works in this test's directory and is a back end with the socket that it was told of. */
static bool is_program(const char *pid)
{
    char path[64], text[4096] = "";
    size_t len;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%.16s/cwd", pid);
    len = (size_t)readlink(path, text, sizeof(text) - 1);
    if (len >= sizeof(text) || strcmp(text, cli_directory()) != 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%.16s/cmdline", pid);
    f = fopen(path, "r");
    len = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        fclose(f);
    return len > 8 && !memcmp(text + len - 7, "--fd\0003", 7);
}

/* Its process id; 0: none. */
static pid_t program(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    pid_t pid = 0;

    cr_assert(proc);
    while (!pid && (entry = readdir(proc)))
        if (is_program(entry->d_name))
            pid = atoi(entry->d_name);
    closedir(proc);
    return pid;
}

static bool within_time(bool (*is_so)(void))
{
    const struct timespec step = { .tv_nsec = 20000000 };

    for (int i = 0; i < 500; i++) {
        if (is_so())
            return true;
        nanosleep(&step, NULL);
    }
    return false;
}

static pid_t first;

static bool another_runs(void)
{
    pid_t now = program();

    return now && now != first;
}

static bool connected_twice(void)
{
    CLI(&r, "info", "sock");
    return strstr(r.out, "\"connects\": 2");
}

static bool none_runs(void)
{
    return !program();
}

Test(program, it_serves_the_device_and_ends_with_the_machine)
{
    start("{listen}");
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"connects\": 1"), "%s", r.out);
    cr_expect(program());

    stop();

    cr_expect(within_time(none_runs));
}

Test(program, one_that_dies_is_followed_by_another)
{
    static const char *const placeholders[] = { "{fd}", "{listen}" };

    for (unsigned i = 0; i < 2; i++) {
        start(placeholders[i]);
        first = program();
        cr_assert(first);

        kill(first, SIGKILL);

        cr_expect(within_time(another_runs));
        cr_expect(within_time(connected_twice), "%s", r.out);
        stop();
        unlink("sock");
    }
}

Test(program, it_does_not_outlive_a_machine_that_was_killed)
{
    start("{fd}");
    cr_assert(program());

    kill(machine, SIGKILL);
    cli_wait(machine);

    cr_expect(within_time(none_runs));
}

Test(program, one_that_cannot_serve_ends_the_run_with_its_own_words)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);

    CLI(&r, "run", "--vhost-user", "rng,program=\"/bin/sh -c 'echo its own words >&2' {fd}\"", "k");

    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "vhost-user0: its own words"), "%s", r.err);
    cr_expect(strstr(r.err, "/bin/sh: exit code 0 before it served the device"), "%s", r.err);
}
