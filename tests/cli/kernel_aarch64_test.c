/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files that are no kernel for AArch64. */
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "cli.h"

static struct cli_result r;

static void begin(void)
{
    cli_begin();
    if (!cli_has_kvm())
        CLI_SKIP("%s", cli_why_not());
}
TestSuite(kernel, .init = begin, .fini = cli_end, .timeout = TEST_TIMEOUT);

/* One line on standard error with the words, and exit status 2. */
static void refused(const char *a, const char *b)
{
    const char *end = strchr(r.err, '\n');

    cr_expect_eq(r.code, 2, "exit %d: %s", r.code, r.err);
    cr_expect(end && !end[1], "not one line: '%s'", r.err);
    cr_expect(strstr(r.err, a) && strstr(r.err, b), "no '%s' or no '%s' in: %s", a, b, r.err);
}

Test(kernel, a_file_that_is_none)
{
    char text[2048];

    memset(text, 'x', sizeof(text));
    cli_file("k", text, sizeof(text));

    CLI(&r, "run", "k");

    refused("k is no AArch64 kernel", "Image");
}

Test(kernel, one_for_another_machine)
{
    static uint8_t image[2048];

    memcpy(image + 0x202, "HdrS", 4); /* Linux, Documentation/arch/x86/boot.rst */
    image[0x1fe] = 0x55;
    image[0x1ff] = 0xaa;
    cli_file("k", image, sizeof(image));

    CLI(&r, "run", "k");

    refused("k is a kernel for x86", "AArch64");
}

/* The header of an Image: flags at 24, room in memory at 16 (Linux, Documentation/arch/arm64/booting.rst). */
static void run_with(size_t at, uint64_t value)
{
    static uint8_t image[4096];

    memset(image, 0, sizeof(image));
    memcpy(image + 56, "ARM\x64", 4);
    memcpy(image + 16, &(uint64_t){ sizeof(image) }, 8);
    memcpy(image + at, &value, 8);
    cli_file("k", image, sizeof(image));
    CLI(&r, "run", "k");
}

Test(kernel, a_big_endian_one)
{
    run_with(24, 1);

    refused("k is a big-endian kernel", "little-endian");
}

Test(kernel, one_that_needs_more_memory_than_there_is)
{
    run_with(16, 1ULL << 40);

    refused("k", "memory");
}

Test(kernel, one_whose_size_wraps)
{
    run_with(16, UINT64_MAX);

    refused("k: its header is broken", "wraps");
}
