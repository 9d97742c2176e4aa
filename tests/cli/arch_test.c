/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What one architecture has and the other has not: tables, interrupt controllers, the device tree. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

static struct cli_result r;

TestSuite(arch, .init = cli_begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

enum { USAGE = 2 };

/* One line on standard error with the words, and nothing else. */
static void refused(int code, const char *words)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, code, "exit %d, not %d: %s", r.code, code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, words), "no '%s' in: %s", words, r.err);
    cr_expect_str_eq(r.out, "");
}

#if defined(__x86_64__)

Test(arch, acpi_tables_can_be_looked_at_as_files)
{
    struct stat st;

    cr_assert(!mkdir("t", 0755));
    CLI(&r, "plan", "--dump-acpi", "t", "kernel");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(!stat("t/DSDT.dat", &st) && st.st_size > 36);
    cr_expect(!stat("t/APIC.dat", &st) && st.st_size > 36);
}

Test(arch, what_only_arm_has_is_refused)
{
    CLI(&r, "plan", "--dump-dtb", "t", "kernel");
    refused(USAGE, "--dump-dtb t: x86_64 machines have no device tree: leave it out");
    cr_expect(access("t", F_OK));
    CLI(&r, "plan", "--irqchip", "gicv3", "kernel");
    refused(USAGE, "x86_64 machines have no GIC: --irqchip can be split or kernel");
}

Test(arch, an_overlay_of_a_tree_that_is_not_there_is_refused)
{
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
    cli_kernel("k", TINY_POWEROFF);
    cli_file("o.dtbo", "x", 1);

    CLI(&r, "run", "--device-tree-overlay", "o.dtbo", "k");

    refused(USAGE, "o.dtbo: a machine of this architecture has no device tree");
}

#else

/* Runs a command of the host that must say nothing. */
static void quiet(const char *command)
{
    char line[512], said[4096] = "";
    FILE *f;

    snprintf(line, sizeof(line), "{ %s; } >said 2>&1", command);
    cr_expect_eq(system(line), 0, "%s", command);
    f = fopen("said", "r");
    cr_assert(f);
    said[fread(said, 1, sizeof(said) - 1, f)] = 0;
    fclose(f);
    cr_expect_str_eq(said, "", "%s: %s", command, said);
}

static void needs_dtc(void)
{
    if (system("command -v dtc >/dev/null"))
        CLI_SKIP("NOT TESTED: dtc is missing: install device-tree-compiler");
}

Test(arch, the_platform_is_arms)
{
    CLI(&r, "plan", "kernel");

    cr_expect_eq(r.code, 0, "%s", r.err);
    cr_expect(strstr(r.out, "serial0          pl011"), "%s", r.out);
    cr_expect(strstr(r.out, "rtc              pl031"), "%s", r.out);
    cr_expect(strstr(r.out, "gpio             pl061"), "%s", r.out);
    cr_expect(strstr(r.out, "console=ttyAMA0"), "%s", r.out);
    cr_expect(strstr(r.out, "0x000040000000-0x00004fffffff  RAM"), "%s", r.out);
}

Test(arch, dtc_has_nothing_to_say_of_a_tree)
{
    needs_dtc();
    CLI(&r, "plan", "--dump-dtb", "a.dtb", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.err);
    quiet("dtc -I dtb -O dts -o a.dts a.dtb");
    CLI(&r, "plan", "--dump-dtb", "b.dtb", "-c", "8", "--irqchip", "gicv2", "--pci", "off",
        "--disk", "path=d", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.err);
    quiet("dtc -I dtb -O dts -o b.dts b.dtb");
    CLI(&r, "plan", "--dump-dtb", "c.dtb", "-c", "512", "--irqchip", "gicv3", "--platform",
        "num_pci_segments=16", "--rtc", "off", "--serial", "off", "kernel");
    cr_expect_eq(r.code, 0, "%s", r.err);
    quiet("dtc -I dtb -O dts -o c.dts c.dtb");
}

Test(arch, the_controller_in_the_tree_is_the_one_that_was_asked_for)
{
    needs_dtc();
    CLI(&r, "plan", "--irqchip", "gicv3", "--dump-dtb", "3.dtb", "kernel");
    CLI(&r, "plan", "--irqchip", "gicv2", "--dump-dtb", "2.dtb", "kernel");

    quiet("dtc -I dtb -O dts -o 3.dts 3.dtb && grep -q arm,gic-v3-its 3.dts");
    quiet("dtc -I dtb -O dts -o 2.dts 2.dtb && grep -q arm,gic-v2m-frame 2.dts");
}

Test(arch, what_only_a_pc_has_is_refused)
{
    static const char *const options[] = { "--acpi", "--pci-cam", "--debug-ports", "--pit" };
    char words[64];

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        CLI(&r, "plan", options[i], "on", "kernel");
        snprintf(words, sizeof(words), "%s on is for x86_64 machines: leave it out", options[i]);
        refused(USAGE, words);
    }
    CLI(&r, "plan", "--irqchip", "split", "kernel");
    refused(USAGE, "AArch64 machines have a GIC: --irqchip can be gicv3 or gicv2");
    CLI(&r, "plan", "--irqchip", "kernel", "kernel");
    refused(USAGE, "AArch64 machines have a GIC: --irqchip can be gicv3 or gicv2");
    CLI(&r, "plan", "--dump-acpi", ".", "kernel");
    refused(USAGE, "they have a device tree");
}

Test(arch, more_cpus_than_the_gic_allows_are_refused_with_the_limit)
{
    CLI(&r, "plan", "-c", "513", "kernel");
    refused(USAGE, "513 vCPUs: a GICv3 takes at most 512");
    CLI(&r, "plan", "-c", "9", "--irqchip", "gicv2", "kernel");
    refused(USAGE, "9 vCPUs: a GICv2 takes at most 8");
}

static void overlay(const char *name, const char *target)
{
    char text[512];

    snprintf(text, sizeof(text),
             "/dts-v1/; /plugin/; / { fragment@0 { target-path = \"%s\"; __overlay__ { "
             "vendor,added = \"seen\"; }; }; };\n",
             target);
    cli_file("o.dts", text, strlen(text));
    snprintf(text, sizeof(text), "dtc -@ -I dts -O dtb -o %s o.dts", name);
    quiet(text);
}

Test(arch, an_overlay_lies_on_top_of_the_tree)
{
    needs_dtc();
    overlay("o.dtbo", "/chosen");

    CLI(&r, "plan", "--device-tree-overlay", "o.dtbo", "--dump-dtb", "a.dtb", "kernel");

    cr_expect_eq(r.code, 0, "%s", r.err);
    quiet("dtc -I dtb -O dts -o a.dts a.dtb && grep -q 'vendor,added = \"seen\"' a.dts");
}

Test(arch, an_overlay_that_does_not_fit_is_refused_by_its_name)
{
    needs_dtc();
    overlay("o.dtbo", "/nowhere");
    CLI(&r, "plan", "--device-tree-overlay", "o.dtbo", "--dump-dtb", "a.dtb", "kernel");
    refused(USAGE, "o.dtbo");
    cr_expect(access("a.dtb", F_OK));
    CLI(&r, "plan", "--device-tree-overlay", "o.dtbo", "kernel");
    refused(USAGE, "o.dtbo does not apply");
    cr_assert(!truncate("o.dtbo", 100));
    CLI(&r, "plan", "--device-tree-overlay", "o.dtbo", "--dump-dtb", "a.dtb", "kernel");
    refused(USAGE, "o.dtbo");
    cli_file("o.dtbo", "", 0);
    CLI(&r, "plan", "--device-tree-overlay", "o.dtbo", "--dump-dtb", "a.dtb", "kernel");
    refused(USAGE, "o.dtbo");
    CLI(&r, "plan", "--device-tree-overlay", "none.dtbo", "--dump-dtb", "a.dtb", "kernel");
    refused(USAGE, "none.dtbo: No such file");
}

#endif
