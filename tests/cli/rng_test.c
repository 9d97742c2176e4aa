/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The entropy device's source and limit, in a process of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;
static pid_t machine;

static void end(void)
{
    if (machine > 0)
        cli_stop(machine, "sock");
    cli_end();
}
TestSuite(rng, .init = cli_begin, .fini = end, .timeout = TEST_TIMEOUT);

Test(rng, a_descriptor_goes_into_its_process_and_its_limit_changes_there)
{
    int fd = open("/dev/urandom", O_RDONLY);
    char option[64];

    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cr_assert_geq(fd, 3);
    cli_kernel("k", TINY_LOOP);
    snprintf(option, sizeof(option), "fd=%d,rate_bytes=4K,rate_period=100", fd);
    machine = CLI_START("run", "-s", "sock", "--rng", option, "k");
    cr_assert(!cli_wait_for("sock"));

    CLI(&r, "set", "sock", "virtio-rng0", "rate_bytes=1K");
    cr_expect_eq(r.code, 0, "%s", r.err);
    CLI(&r, "set", "sock", "virtio-rng0", "rate_period=0");
    cr_expect(strstr(r.err, "rate_period=0"), "%s", r.err);
    CLI(&r, "info", "sock");

    cr_expect(strstr(r.out, "\"placement\": \"process\""), "%s", r.out);
    close(fd);
}

Test(rng, two_sources_are_one_too_many)
{
    CLI(&r, "plan", "--rng", "src=/dev/urandom,fd=0");

    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "give one source"), "%s", r.err);
}
