/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Files that are no kernel for x86_64. */
#include <criterion/criterion.h>
#include <elf.h>
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
    refused("k is no x86_64 kernel", "vmlinuz");
}

Test(kernel, one_for_another_machine)
{
    Elf64_Ehdr e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
                     .e_type = ET_EXEC,
                     .e_machine = EM_AARCH64 };

    cli_file("k", &e, sizeof(e));
    CLI(&r, "run", "k");
    refused("another machine", "x86_64");
}

/* Two segments; what is wrong with them. */
Test(kernel, one_whose_segments_cannot_be)
{
    static const struct {
        uint64_t at[2], bytes[2];
        const char *say;
    } rows[] = {
        { { 0x100000, 0x100040 }, { 128, 128 }, "overlap at 0x100040: the file is damaged" },
        { { 0x100000, UINT64_MAX - 63 }, { 128, 128 }, "wraps around" },
        { { 0x100000, 0xfec00000 }, { 128, 128 }, "beyond the first GiB" },
        { { 0x100000, 0x200000 }, { 128, 4096 }, "cut off" },
        { { 0x100000, 0x1000 }, { 128, 128 }, "below 1 MiB" },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cli_kernel_of("k", rows[i].at, rows[i].bytes);
        CLI(&r, "run", "k");
        refused("k", rows[i].say);
    }
}

Test(kernel, a_bzimage_that_is_cut_off)
{
    static const char header[] = "\xeb\x66HdrS\x0f\x02";
    uint8_t image[2048] = { 0 };

    memcpy(image + 0x200, header, sizeof(header) - 1);
    image[0x1fe] = 0x55;
    image[0x1ff] = 0xaa;
    image[0x211] = 1; /* loads at 1 MiB */
    image[0x1f1] = 27; /* sectors of the set-up code: more than there are */
    cli_file("k", image, sizeof(image));
    CLI(&r, "run", "k");
    refused("k is cut off", "");
}
