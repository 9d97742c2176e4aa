/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Other programs and other places for the devices of a running machine. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;
static pid_t machine;

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_LOOP);
    machine = CLI_START("run", "-s", "sock", "--console", "null", "--device",
                        "virtio-rng,id=here,placement=thread", "k");
    cr_assert(!cli_wait_for("sock"));
}

static void end(void)
{
    if (machine > 0)
        cli_stop(machine, "sock");
    cli_end();
}
TestSuite(upgrade, .init = begin, .fini = end, .timeout = TEST_TIMEOUT);

static bool says(const char *text)
{
    CLI(&r, "info", "sock");
    return strstr(r.out, text);
}

Test(upgrade, each_process_is_replaced_by_this_program)
{
    CLI(&r, "upgrade", "sock", "all");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(says("\"connects\": 2"), "%s", r.out);
    cr_expect(says("\"losses\": 0"), "%s", r.out);
    cr_expect(says("\"what\": \"upgrade\""), "%s", r.out);
}

static bool read_until(FILE *from, const char *what)
{
    char line[1024];

    while (fgets(line, sizeof(line), from))
        if (strstr(line, what))
            return true;
    return false;
}

Test(upgrade, the_end_of_a_process_and_the_next_one_are_events)
{
    FILE *events = popen("exec \"$VMM_PROGRAM\" events sock", "r");

    cr_assert(events && read_until(events, "\"jobs\""), "it says first what runs");
    CLI(&r, "upgrade", "sock", "virtio-rng0");

    cr_expect(read_until(events, "{\"event\":\"process-ended\",\"source\":\"virtio-rng0\","
                                 "\"text\":\"its process ended: "));
    cr_expect(read_until(events, "{\"event\":\"process-serves\",\"source\":\"virtio-rng0\"}"));
    cr_expect(read_until(events, "\"what\":\"upgrade\",\"code\":0,"));
    CLI(&r, "stop", "sock");
    cr_expect(read_until(events, "\"ended\""), "else it may print where nobody reads");
    cr_expect_eq(pclose(events), 0);
    cr_expect_eq(cli_wait(machine), 13);
    machine = 0;
}

Test(upgrade, a_program_that_does_not_last_gives_way_to_the_old_one)
{
    CLI(&r, "upgrade", "sock", "virtio-rng0", "--binary", "/bin/true");

    cr_expect_eq(r.code, 1);
    cr_expect(strstr(r.err, "virtio-rng0: the new program did not last:"), "%s", r.err);
    cr_expect(strstr(r.err, "the old one serves it again"), "%s", r.err);
    for (unsigned i = 0; i < 100 && !says("\"connects\": 3"); i++)
        usleep(20000);
    cr_expect(says("\"connects\": 3") || says("\"connects\": 2"), "%s", r.out);
    cr_expect(!says("\"broken\": true"), "%s", r.out);
}

Test(upgrade, what_is_no_program_is_told_before_anything_happens)
{
    static const struct {
        const char *id, *binary, *why;
    } row[] = {
        { "virtio-rng0", "k.txt", "is not executable" },
        { "virtio-rng0", "text", "is not a program of vmm's (an ELF file)" },
        { "virtio-rng0", "dir", "is not a file" },
        { "virtio-rng0", "nothing", "upgrade: nothing: No such file" },
        { "disk7", "/bin/true", "there is no device 'disk7'" },
        { "here", "/bin/true", "here is not in a process of ours" },
    };

    cli_file("k.txt", "x", 1);
    cli_file("text", "#!/bin/sh\n", 10);
    cr_assert(!chmod("text", 0755));
    cr_assert(!mkdir("dir", 0755));
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        CLI(&r, "upgrade", "sock", row[i].id, "--binary", row[i].binary);
        cr_expect_neq(r.code, 0);
        cr_expect(strstr(r.err, row[i].why), "%s: %s", row[i].why, r.err);
    }
    cr_expect(says("\"connects\": 1"), "%s", r.out);
}
