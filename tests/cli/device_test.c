/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm device: what it understands, its mistakes, its life. What it serves is tested by the contract tests and by QEMU. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(device, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2 };

static void refused(const char *why)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, USAGE, "exit %d: %s", r.code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, why), "no '%s' in: %s", why, r.err);
}

Test(device, mistakes_are_told_in_one_line)
{
    cli_file("file", "x", 1);

    CLI(&r, "device");
    refused("NAME is missing");
    CLI(&r, "device", "nosuch", "--socket", "s");
    refused("there is no device 'nosuch'");
    CLI(&r, "device", "rng");
    refused("give one of --socket PATH and --fd N");
    CLI(&r, "device", "rng", "--socket", "s", "--fd", "0");
    refused("give one of --socket PATH and --fd N");
    CLI(&r, "device", "rng", "max_bytes=0", "--socket", "s");
    refused("max_bytes");
    CLI(&r, "device", "rng", "word", "--socket", "s");
    refused("is not KEY=VALUE");
    CLI(&r, "device", "rng", "addr=1", "--socket", "s");
    refused("the front end's to choose");
    CLI(&r, "device", "rng", "--fd", "0");
    refused("is not a stream socket");
    CLI(&r, "device", "rng", "--fd", "x");
    refused("a number is needed");
    CLI(&r, "device", "rng", "--socket", "file");
    refused("a file that is not a socket");
    CLI(&r, "device", "blk", "--socket", "s");
    refused("path");
    CLI(&r, "device", "blk", "path=none", "--socket", "s");
    refused("no such file");
    CLI(&r, "device", "rng", "--socket", "s", "--sandbox", "off", "--seccomp-policy-dir", "d");
    refused("there are no filters");
    cr_expect_neq(access("s", F_OK), 0);
}

Test(device, capabilities_are_json)
{
    CLI(&r, "device", "virtio-blk", "--print-capabilities", "--socket", "s");

    cr_expect_eq(r.code, 0);
    cr_expect(strstr(r.out, "\"type\": \"block\""), "%s", r.out);
    cr_expect(strstr(r.out, "\"features\": ["), "%s", r.out);
}

Test(device, several_are_served_until_a_signal_ends_them)
{
    struct stat st;
    pid_t pid;

    cli_sparse("disk", 1 << 20);
    pid = CLI_START("device", "rng", "--socket", "a", "--", "blk", "--blk-file", "disk",
                    "--read-only", "--socket-path", "b");
    cr_assert_eq(cli_wait_for("a"), 0);
    cr_assert_eq(cli_wait_for("b"), 0);
    cr_assert_eq(stat("b", &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    CLI(&r, "device", "rng", "--socket", "a");
    refused("another program listens on it");

    kill(pid, SIGTERM);

    cr_expect_eq(cli_wait(pid), 0);
    cr_expect_neq(access("a", F_OK), 0);
    cr_expect_neq(access("b", F_OK), 0);
}

Test(device, all_end_when_one_cannot_begin)
{
    CLI(&r, "device", "rng", "--socket", "a", "--", "blk", "path=none", "--socket", "b");

    cr_expect_eq(r.code, USAGE);
    cr_expect(strstr(r.err, "no such file"), "%s", r.err);
    cr_expect_neq(access("a", F_OK), 0);
}

static void wait_for_nobody(const char *path)
{
    const struct timespec step = { .tv_nsec = 5000000 };

    for (int i = 0; i < 2000 * cli_patience() && cli_somebody_listens(path); i++)
        nanosleep(&step, NULL);
}

Test(device, the_kernels_vhost_is_not_for_another_front_end)
{
    CLI(&r, "device", "virtio-vsock,cid=3,vhost=on", "--socket", "s");

    cr_expect_neq(r.code, 0);
    cr_expect(strstr(r.err, "vmm device: virtio-vsock: vhost=on is for vmm run"), "%s", r.err);
}

Test(device, a_socket_that_was_left_over_is_replaced)
{
    pid_t pid = CLI_START("device", "rng", "--socket", "a");

    cr_assert_eq(cli_wait_for("a"), 0);
    kill(pid, SIGKILL);
    cli_wait(pid);
    cr_assert_eq(access("a", F_OK), 0);
    wait_for_nobody("a"); /* its process in the jail dies behind it */

    pid = CLI_START("device", "rng", "--socket", "a");
    cr_assert_eq(cli_wait_for("a"), 0);
    kill(pid, SIGTERM);

    cr_expect_eq(cli_wait(pid), 0);
}
