/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* vmm abi: what it tells, and how two reports differ. The reports themselves are compared with tests/abi by ctest. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(abi, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

/* A report in a file; r.out has it, too. */
static void make(const char *path)
{
    CLI(&r, "abi", "-c", "2", "-p", "quiet", "kernel");
    cr_assert_eq(r.code, 0, "%s", r.err);
    cli_file(path, r.out, r.out_len);
}

/* The same, with another last character in that row. */
static void change(const char *path, const char *row)
{
    char *at = strstr(r.out, row);

    cr_assert(at, "no row '%s'", row);
    at = strchr(at + 1, '\n') - 1;
    *at = *at == '1' ? '2' : '1';
    cli_file(path, r.out, r.out_len);
}

static unsigned lines(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += *text == '\n';
    return n;
}

Test(abi, it_is_the_same_twice)
{
    make("golden");

    CLI(&r, "abi", "-c", "2", "-p", "quiet", "--diff", "golden", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.out);
    cr_expect_str_eq(r.out, "no difference\n");
    CLI(&r, "abi", "diff", "golden", "golden");
    cr_expect_eq(r.code, 0, "%s", r.out);
    cr_expect_str_eq(r.out, "no difference\n");
}

Test(abi, it_tells_memory_devices_command_line_and_processors)
{
    make("golden");

    cr_expect(strstr(r.out, "vmm abi, format 2\n") == r.out, "%.80s", r.out);
    cr_expect(strstr(r.out, "\nmemory\n"), "%s", r.out);
    cr_expect(strstr(r.out, "\n  virtio-rng0: virtio-rng\n"), "%s", r.out);
    cr_expect(strstr(r.out, " quiet\"\n"), "%s", r.out);
    cr_expect(strstr(r.out, "\nvcpu 0, policy on reference host '"), "%s", r.out);
    cr_expect(strstr(r.out, "\nvcpu 1, policy on reference host '"), "%s", r.out);
    cr_expect(!strstr(r.out, "  00000000000000"), "an address without 0x");
}

/* Rows that both architectures have; the unit tests of library arch have the others. */
Test(abi, a_change_is_one_line_with_its_place_and_both_values)
{
    static const char *const rows[] = { "\nvcpu 0, ", "\n  virtio-rng0: ", "\n    0000: " };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        make("golden");
        if (!i)
            change("changed", strchr(strstr(r.out, rows[i]) + 1, '\n'));
        else
            change("changed", rows[i]);
        CLI(&r, "abi", "diff", "golden", "changed");
        cr_expect_eq(r.code, 1);
        cr_expect_eq(lines(r.out), 3, "%s", r.out);
        cr_expect(strstr(r.out, "--- golden\n+++ changed\n~ ") == r.out, "%s", r.out);
        cr_expect(strstr(r.out, " -> ") && strstr(r.out, " / "), "%s", r.out);
    }
}

Test(abi, another_configuration_differs_where_it_does)
{
    make("golden");

    CLI(&r, "abi", "-c", "2", "-p", "loud", "--diff", "golden", "kernel");
    cr_expect_eq(r.code, 1);
    cr_expect(strstr(r.out, "\n+++ this configuration\n"), "%s", r.out);
    cr_expect(strstr(r.out, " quiet\" -> ") && strstr(r.out, " loud\"\n"), "%s", r.out);
    CLI(&r, "abi", "-c", "2", "-m", "512", "-p", "quiet", "--diff", "golden", "kernel");
    cr_expect_eq(r.code, 1);
    cr_expect(strstr(r.out, "\n- memory / ") && strstr(r.out, "\n+ memory / "), "%s", r.out);
}

Test(abi, diff_and_machine_are_spellings_of_options)
{
    CLI(&r, "abi", "--platform", "machine=1", "kernel");
    cli_file("golden", r.out, r.out_len);

    CLI(&r, "abi", "diff", "golden", "--machine", "1", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.out);
    CLI(&r, "abi", "diff", "golden", "-c", "3", "kernel");
    cr_expect_eq(r.code, 1);
    CLI(&r, "abi", "diff", "--help");
    cr_expect(r.code == 0 && strstr(r.out, "Usage: vmm abi"), "%s%s", r.out, r.err);
}

/* One line, exit code 2. */
static void refused(const char *what)
{
    cr_expect_eq(r.code, 2, "%d %s", r.code, r.err);
    cr_expect_eq(lines(r.err), 1, "%s", r.err);
    cr_expect(strstr(r.err, what), "%s", r.err);
    cr_expect_eq(r.out_len, 0, "%s", r.out);
}

Test(abi, what_is_no_report_is_refused_in_one_line)
{
    make("golden");
    cli_file("cut", r.out, r.out_len / 2);
    cli_file("text", "memory\n", 7);
    cli_file("empty", "", 0);
    r.out[100] = 0;
    cli_file("binary", r.out, r.out_len);
    mkdir("directory", 0777);
    cr_assert_eq(mkfifo("fifo", 0666), 0);

    CLI(&r, "abi", "diff", "golden", "text");
    refused("text is not a report");
    CLI(&r, "abi", "diff", "empty", "golden");
    refused("empty is not a report");
    CLI(&r, "abi", "diff", "cut", "golden");
    refused("cut is not a whole report");
    CLI(&r, "abi", "diff", "binary", "golden");
    refused("binary is not a report");
    CLI(&r, "abi", "diff", "golden", "directory");
    refused("directory: ");
    CLI(&r, "abi", "diff", "fifo", "golden");
    refused("fifo is not a report");
    CLI(&r, "abi", "diff", "nowhere", "golden");
    refused("report nowhere: No such file or directory: check the path");
    CLI(&r, "abi", "diff", "golden", "/dev/zero");
    refused("/dev/zero: ");
    CLI(&r, "abi", "--diff", "text", "kernel");
    refused("text is not a report");
    CLI(&r, "abi", "diff");
    refused("FILE is missing");
}

Test(abi, this_hosts_processors_are_told_through_kvm)
{
    if (getenv("VMM_USER_EMULATOR"))
        CLI_SKIP("the user-mode emulator does not pass KVM on to the kernel");
    CLI(&r, "abi", "--host", "-c", "2", "kernel");

    if (access("/dev/kvm", R_OK | W_OK)) {
        cr_expect_eq(r.code, 3, "%d %s", r.code, r.err);
        cr_expect(strstr(r.err, "/dev/kvm"), "%s", r.err);
        return;
    }
    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "\n  processors: of the host it was made on\n"), "%s", r.out);
    cr_expect(strstr(r.out, "\nvcpu 0, this host\n  "), "%s", r.out);
    cr_expect(strstr(r.out, "\nvcpu 1, this host, where not as vcpu 0\n  "), "%s", r.out);
    cr_expect(!strstr(r.out, "reference"), "%s", r.out);
}
