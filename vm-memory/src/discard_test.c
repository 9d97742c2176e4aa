/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of discard.c: what the host gets back, measured, on each form of RAM. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vmm/base/fd.h>

#include "memory_test.h"

enum { MANY = 4096 }; /* pages: 16 MiB, far from what else a process takes meanwhile */
#define BASE  0x100000000ULL
#define BYTES ((uint64_t)MANY * PAGE)

/* Pages of the region that are in memory. mincore(2) knows of private anonymous pages, too. */
static unsigned present(const struct gm_region *region)
{
    static unsigned char in[MANY];
    unsigned n = 0;

    cr_assert_eq(mincore(gm_region_host(region), BYTES, in), 0);
    for (unsigned i = 0; i < MANY; i++)
        n += in[i] & 1;
    return n;
}

/* KiB of this process that are in memory, of all kinds: VmRSS of proc(5). */
static long rss_kib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    long kib = -1;

    cr_assert(f);
    while (kib < 0 && fgets(line, sizeof(line), f))
        if (!strncmp(line, "VmRSS:", 6))
            kib = strtol(line + 6, NULL, 10);
    fclose(f);
    return kib;
}

static int open_tmpfs(void)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        cr_skip_test("no tmpfs at /dev/shm");
    cr_assert_eq(ftruncate(fd, (off_t)BYTES), 0);
    return fd;
}

static struct gm_map *make_map(const struct gm_backing *backing, struct gm_region **ret_region)
{
    struct gm_map *map;

    cr_assert_eq(gm_region_new(BASE, BYTES, backing, ret_region), 0, "%s", vm_error_text());
    cr_assert_eq(gm_map_new(ret_region, 1, &map), 0);
    memset(gm_region_host(*ret_region), 0x5a, BYTES);
    return map;
}

static void drop(struct gm_map *map, struct gm_region *region)
{
    gm_map_unref(map);
    gm_region_unref(region);
}

/* All but the first and last page go back: this process is so much smaller, and reads zeros. */
static void check_form(const struct gm_backing *backing)
{
    struct gm_region *region;
    struct gm_map *map = make_map(backing, &region);
    const uint8_t *host = gm_region_host(region);
    long before = rss_kib(), after;

    cr_assert_eq(present(region), MANY);

    cr_assert_eq(gm_discard(map, BASE + PAGE, BYTES - 2ULL * PAGE), 0);

    after = rss_kib();
    cr_assert_eq(present(region), 2);
    cr_assert(before - after > (MANY - 2) * 4 * 9 / 10, "%ld KiB before, %ld after", before, after);
    cr_assert_eq(host[PAGE - 1], 0x5a);
    cr_assert_eq(host[PAGE], 0);
    cr_assert_eq(host[BYTES - PAGE - 1], 0);
    cr_assert_eq(host[BYTES - PAGE], 0x5a);
    drop(map, region);
}

Test(discard, anonymous_memory_goes_back_to_the_host)
{
    check_form(&(struct gm_backing){ .kind = GM_ANONYMOUS });
}

Test(discard, memory_of_a_memfd_goes_back_to_the_host)
{
    check_form(&(struct gm_backing){ .kind = GM_MEMFD });
}

Test(discard, memory_of_a_file_on_tmpfs_goes_back_to_the_host)
{
    struct gm_backing backing = { .kind = GM_FILE, .shared = true, .fd = open_tmpfs() };
    struct stat st;

    check_form(&backing);

    cr_assert_eq(fstat(backing.fd, &st), 0);
    cr_assert_leq((uint64_t)st.st_blocks, BYTES / 512 / 64, "%ld blocks: the file is as large",
                  (long)st.st_blocks);
    close(backing.fd);
}

Test(discard, another_mapping_of_the_file_sees_zeros_too)
{
    const struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *region;
    struct gm_map *map = make_map(&backing, &region);
    uint64_t offset;
    int fd = gm_region_fd(region, &offset);
    const uint8_t *other = mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, (off_t)offset);

    cr_assert_neq((void *)(uintptr_t)other, MAP_FAILED);
    cr_assert_eq(other[5 * PAGE], 0x5a);

    cr_assert_eq(gm_discard(map, BASE + 5 * PAGE, PAGE), 0);

    cr_assert_eq(other[5 * PAGE], 0);
    cr_assert_eq(other[6 * PAGE], 0x5a);
    munmap((void *)(uintptr_t)other, BYTES);
    drop(map, region);
}

Test(discard, what_was_discarded_can_be_used_again)
{
    const struct gm_backing backing = { .kind = GM_ANONYMOUS };
    struct gm_region *region;
    struct gm_map *map = make_map(&backing, &region);
    uint8_t *host = gm_region_host(region);

    cr_assert_eq(gm_discard(map, BASE, BYTES), 0);
    memset(host, 0x77, PAGE);

    cr_assert_eq(host[PAGE - 1], 0x77);
    cr_assert_eq(present(region), 1);
    drop(map, region);
}

Test(discard, a_range_over_two_regions_is_given_back_in_both)
{
    struct gm_region *region[2] = { make_ram(0, 4 * PAGE), make_ram(4 * PAGE, 4 * PAGE) };
    uint8_t *host[2] = { gm_region_host(region[0]), gm_region_host(region[1]) };
    struct gm_map *map;

    cr_assert_eq(gm_map_new(region, 2, &map), 0);
    memset(host[0], 1, 4 * PAGE);
    memset(host[1], 1, 4 * PAGE);

    cr_assert_eq(gm_discard(map, 3 * PAGE, 2 * PAGE), 0);

    cr_assert_eq(host[0][2 * PAGE], 1);
    cr_assert_eq(host[0][3 * PAGE], 0);
    cr_assert_eq(host[1][0], 0);
    cr_assert_eq(host[1][PAGE], 1);
    gm_map_unref(map);
    gm_region_unref(region[0]);
    gm_region_unref(region[1]);
}

Test(discard, a_range_with_a_hole_is_refused_whole)
{
    struct gm_region *region[2] = { make_ram(0, PAGE), make_ram(2 * PAGE, PAGE) };
    uint8_t *host = gm_region_host(region[0]);
    struct gm_map *map;

    cr_assert_eq(gm_map_new(region, 2, &map), 0);
    host[0] = 1;

    cr_assert_eq(gm_discard(map, 0, 3 * PAGE), -EFAULT);
    cr_assert_eq(gm_discard(map, PAGE, PAGE), -EFAULT);
    cr_assert_eq(gm_discard(map, UINT64_MAX - PAGE + 1, PAGE), -EFAULT);

    cr_assert_eq(host[0], 1);
    gm_map_unref(map);
    gm_region_unref(region[0]);
    gm_region_unref(region[1]);
}

Test(discard, memory_that_would_come_back_as_it_was_is_refused)
{
    static _Alignas(4096) uint8_t borrowed[PAGE];
    const struct gm_backing ours = { .kind = GM_BORROWED, .host = borrowed };
    struct gm_backing private = { .kind = GM_FILE, .fd = open_tmpfs() };
    struct gm_region *region[4];
    struct gm_map *map;

    cr_assert_eq(gm_region_new(0, PAGE, &ours, &region[0]), 0);
    cr_assert_eq(gm_region_new(PAGE, PAGE, &private, &region[1]), 0);
    region[2] = make_far(2 * PAGE, PAGE);
    region[3] = make_region(3 * PAGE, PAGE, true);
    cr_assert_eq(gm_map_new(region, 4, &map), 0);

    cr_assert_eq(gm_discard(map, 0, PAGE), -ENOTSUP);
    cr_assert_eq(gm_discard(map, PAGE, PAGE), -ENOTSUP);
    cr_assert_eq(gm_discard(map, 2 * PAGE, PAGE), -EIO);
    cr_assert_eq(gm_discard(map, 3 * PAGE, PAGE), -EFAULT);

    gm_map_unref(map);
    for (unsigned i = 0; i < 4; i++)
        gm_region_unref(region[i]);
    close(private.fd);
}

Test(discard, the_unit_is_a_page_of_the_host_or_a_huge_one)
{
    const struct gm_backing huge = { .kind = GM_HUGETLB };
    struct gm_region *region = make_ram(0, 2 << 20);

    cr_assert_eq(gm_region_discard_unit(region), (uint64_t)sysconf(_SC_PAGESIZE));
    gm_region_unref(region);

    if (gm_region_new(0, 2 << 20, &huge, &region))
        cr_skip_test("no huge pages here");
    cr_assert_eq(gm_region_discard_unit(region), 2 << 20);
    gm_region_unref(region);
}
