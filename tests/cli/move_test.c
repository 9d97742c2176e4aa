/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Devices of a running machine move between the VMM and processes of their own. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { DISK_BYTES = 64 << 10, ROUNDS = 10 };

static struct cli_result r;
static pid_t machine;

static void make_disk(void)
{
    static char zeros[DISK_BYTES];

    cli_file("disk.img", zeros, sizeof(zeros));
}

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    make_disk();
    machine = CLI_START("run", "-s", "sock", "--serial", "null", "--console", "null", "--disk",
                        "path=disk.img", "--device", "virtio-rng,id=here,placement=thread",
                        "--device", "virtio-console,id=log,mode=file,file=log.txt", "k");
    cr_assert(!cli_wait_for("sock"));
}

static void end(void)
{
    if (machine > 0)
        cli_stop(machine, "sock");
    cli_end();
}
TestSuite(move, .init = begin, .fini = end, .timeout = TEST_TIMEOUT);

/* Where it is, as vmm info has it. */
static bool is_in(const char *id, const char *placement)
{
    char want[128];
    const char *at;

    snprintf(want, sizeof(want), "\"id\": \"%s\"", id);
    CLI(&r, "info", "sock");
    at = strstr(r.out, want);
    snprintf(want, sizeof(want), "\"placement\": \"%s\"", placement);
    return at && strstr(at, "\"placement\"") == strstr(at, want);
}

static unsigned count(const char *text)
{
    unsigned n = 0;

    for (const char *at = r.out; (at = strstr(at, text)); at++)
        n++;
    return n;
}

static bool move(const char *id, const char *placement)
{
    CLI(&r, "move", "sock", id, "--placement", placement);
    return r.code == 0;
}

Test(move, every_device_moves_to_and_fro)
{
    static const char *const ids[] = { "virtio-blk0", "log", "here", "virtio-rng0" };

    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        bool process = is_in(ids[i], "process");

        for (unsigned round = 0; round < ROUNDS; round++) {
            cr_expect(move(ids[i], process ? "thread" : "process"), "%s: %s", ids[i], r.err);
            cr_expect(is_in(ids[i], process ? "thread" : "process"), "%s: %s", ids[i], r.out);
            cr_expect(move(ids[i], process ? "process" : "thread"), "%s: %s", ids[i], r.err);
            cr_expect(is_in(ids[i], process ? "process" : "thread"), "%s: %s", ids[i], r.out);
        }
    }
    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"running\""), "%s", r.out);
    cr_expect(!strstr(r.out, "\"broken\": true"), "%s", r.out);
}

/* Which stages is the host's affair. */
Test(move, the_jail_of_each_device_in_a_process_is_told)
{
    for (unsigned i = 0; i < 2; i++) {
        unsigned processes;

        CLI(&r, "info", "sock");
        processes = count("\"placement\": \"process\"");
        cr_expect_geq(processes, 1, "%s", r.out);
        cr_expect_eq(count("\"jail_lacks\": ["), processes, "%s", r.out);
        cr_expect(move("virtio-blk0", "thread") || i, "%s", r.err);
    }
}

Test(move, names_are_not_looked_up_again)
{
    cr_assert_eq(unlink("disk.img"), 0);
    cr_assert_eq(unlink("log.txt"), 0);

    cr_expect(move("virtio-blk0", "thread"), "%s", r.err);
    cr_expect(move("virtio-blk0", "process"), "%s", r.err);
    cr_expect(move("log", "thread"), "%s", r.err);
    cr_expect(access("log.txt", F_OK) != 0);
}

Test(move, a_disk_stays_locked_in_every_place)
{
    for (unsigned i = 0; i < 2; i++) {
        cr_expect(move("virtio-blk0", i ? "process" : "thread"), "%s", r.err);

        CLI(&r, "run", "--disk", "path=disk.img", "k");
        cr_expect_neq(r.code, 0);
        cr_expect(strstr(r.err, "disk.img: locked by another virtual machine"), "%s", r.err);
    }
}

Test(move, a_paused_machine_stays_paused)
{
    CLI(&r, "pause", "sock");
    cr_assert_eq(r.code, 0, "%s", r.err);

    cr_expect(move("virtio-blk0", "thread"), "%s", r.err);
    cr_expect(move("here", "process"), "%s", r.err);

    CLI(&r, "info", "sock");
    cr_expect(strstr(r.out, "\"state\": \"paused\""), "%s", r.out);
    CLI(&r, "resume", "sock");
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(move("virtio-blk0", "process"), "%s", r.err);
}

Test(move, what_was_set_moves_with_the_device)
{
    CLI(&r, "set", "sock", "here", "max_bytes=77");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_expect(move("here", "process"), "%s", r.err);
    CLI(&r, "set", "sock", "here", "max_bytes=78");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_expect(move("here", "thread"), "%s", r.err);
    cr_expect(move("here", "process"), "%s", r.err);
}

Test(move, what_cannot_move_says_why)
{
    static const struct {
        const char *id, *placement, *why;
    } row[] = {
        { "here", "thread", "here is in a thread of the VMM already" },
        { "virtio-blk0", "process", "virtio-blk0 is in a process of its own already" },
        { "disk7", "thread", "there is no device 'disk7': vmm info lists them" },
        { "serial0", "process", "serial0 cannot move: it is a part of the machine" },
        { "virtio-blk0", "moon", "placement as \"thread\" or \"process\"" },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        cr_expect(!move(row[i].id, row[i].placement));
        cr_expect(strstr(r.err, row[i].why), "%s: %s", row[i].why, r.err);
    }
    CLI(&r, "move", "sock", "here");
    cr_expect_eq(r.code, 2);
    cr_expect(strstr(r.err, "say where to"), "%s", r.err);
}

/* Those that others serve, or that somebody's terminal needs, and those of machines without spawners. */
Test(move, what_a_machine_has_not_is_named)
{
    end();
    cli_begin();
    cli_kernel("k", TINY_LOOP);
    machine = CLI_START("run", "-s", "sock", "--sandbox", "thread", "--console", "null", "k");
    cr_assert(!cli_wait_for("sock"));

    cr_expect(!move("virtio-rng0", "process"));
    cr_expect(strstr(r.err, "virtio-rng0 cannot move: this machine has no spawner"), "%s", r.err);
    cr_expect(strstr(r.err, "--sandbox process"), "%s", r.err);
}
