/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that only the start needed: proc_pid_smaps(5) of this program. */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/shed.h>

enum { PAGE = 4096 };

static void touch(uintptr_t from, uintptr_t to)
{
    for (; from < to; from += PAGE)
        (void)*(const volatile char *)from;
}

/* KiB of the program's code that are mapped; all of it is touched before they are read, if that is wanted. */
static unsigned long code_kib(bool all)
{
    char line[512], path[256] = "", exe[256] = "", mode[5];
    unsigned long kib, sum = 0, from, to;
    bool code = false;
    FILE *f = fopen("/proc/self/smaps", "re");

    cr_assert(f && readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
    while (fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %255s", &from, &to, mode, path) >= 3) {
            code = !strcmp(path, exe) && !strcmp(mode, "r-xp");
            if (code && all)
                touch(from, to);
        } else if (code && sscanf(line, "Rss: %lu", &kib) == 1) {
            sum += kib;
        }
        path[0] = 0;
    }
    fclose(f);
    return sum;
}

Test(shed, code_is_let_go_and_comes_back)
{
    unsigned long before, after;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator's program is the emulator");
    (void)code_kib(true);
    before = code_kib(false);

    vm_shed();

    after = code_kib(false);
    cr_expect_gt(before, 0);
    cr_expect_lt(after, before, "%lu KiB, %lu before", after, before);
}

/* Bytes in mappings of blocks; two large ones were freed before. */
static size_t mapped_of(size_t bytes)
{
    size_t before, after;
    void *block;

    for (int i = 0; i < 2; i++) {
        block = malloc(bytes);
        cr_assert(block);
        *(volatile char *)block = 1;
        free(block);
    }
    before = mallinfo2().hblkhd;
    block = malloc(bytes);
    cr_assert(block);
    after = mallinfo2().hblkhd;
    free(block);
    return after - before;
}

Test(shed, large_blocks_stay_mappings_of_their_own)
{
    const size_t large = 8 << 20;

    if (!mallinfo2().arena)
        cr_skip_test("the sanitizer's own heap");

    vm_shed_when_freed();

    cr_expect_geq(mapped_of(large), large);
}
