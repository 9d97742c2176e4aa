/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of region.c and backing.c: geometry, each kind of backing, advice. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "emulated.h"
#include "memory_test.h"

static const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };

static int try_region(gpa_t base, uint64_t size, const struct gm_backing *backing)
{
    struct gm_region *region = NULL;
    int rc = gm_region_new(base, size, backing, &region);

    if (!rc)
        gm_region_unref(region);
    else
        cr_assert_null(region);
    return rc;
}

static struct gm_region *made(gpa_t base, uint64_t size, const struct gm_backing *backing)
{
    struct gm_region *region = NULL;

    cr_assert_eq(gm_region_new(base, size, backing, &region), 0, "%s", vm_error_text());
    return region;
}

/* A file of pages pages, each filled with its number + 1. */
static int numbered_file(int pages)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    uint8_t page[PAGE];

    for (int i = 0; i < pages; i++) {
        memset(page, i + 1, sizeof(page));
        cr_assert_eq(write(fd, page, sizeof(page)), PAGE);
    }
    return fd;
}

Test(region, size_zero_is_refused)
{
    cr_assert_eq(try_region(0, 0, &anonymous), -EINVAL);

    cr_assert_str_eq(vm_error_text(), "memory region at 0x0: size 0; give at least one page");
}

Test(region, odd_base_or_size_is_refused)
{
    cr_assert_eq(try_region(1, PAGE, &anonymous), -EINVAL);
    cr_assert_eq(try_region(PAGE, PAGE + 512, &anonymous), -EINVAL);
}

Test(region, end_beyond_the_address_space_or_wrapping_is_refused)
{
    cr_assert_eq(try_region((1ULL << 52) - PAGE, 2 * PAGE, &anonymous), -EINVAL);
    cr_assert_eq(try_region(UINT64_MAX - PAGE + 1, 2 * PAGE, &anonymous), -EINVAL);
    cr_assert_eq(try_region(PAGE, UINT64_MAX - PAGE + 1, &anonymous), -EINVAL);
}

Test(region, last_page_of_the_address_space_is_allowed)
{
    cr_assert_eq(try_region((1ULL << 52) - PAGE, PAGE, &anonymous), 0);
}

Test(region, unknown_kind_is_refused)
{
    struct gm_backing backing = { .kind = (enum gm_kind)77 };

    cr_assert_eq(try_region(0, PAGE, &backing), -EINVAL);
    cr_assert_str_eq(vm_error_text(), "memory region at 0x0, size 0x1000: memory kind 77: unknown");
}

Test(region, anonymous_memory_is_zero_writable_and_has_no_file)
{
    struct gm_region *region = made(0x5000, 2 * PAGE, &anonymous);
    uint8_t *host = gm_region_host(region);
    uint64_t offset = 99;

    host[2 * PAGE - 1] = 1;

    cr_assert_eq(host[0], 0);
    cr_assert_eq(gm_region_base(region), 0x5000);
    cr_assert_eq(gm_region_size(region), 2 * PAGE);
    cr_assert(!gm_region_read_only(region));
    cr_assert_eq(gm_region_fd(region, &offset), -1);
    cr_assert_eq(offset, 99);
    gm_region_unref(region);
}

Test(region, large_mappings_agree_with_the_guest_address_modulo_2_mib)
{
    gpa_t base = 0x10000000 + 37 * PAGE;
    struct gm_backing memfd = { .kind = GM_MEMFD };
    struct gm_region *a = made(base, 4 << 20, &anonymous);
    struct gm_region *b = made(base, 4 << 20, &memfd);
    uint64_t offset = 0;

    cr_assert_eq((uintptr_t)gm_region_host(a) % GM_HUGE_BYTES, base % GM_HUGE_BYTES);
    cr_assert_eq((uintptr_t)gm_region_host(b) % GM_HUGE_BYTES, base % GM_HUGE_BYTES);
    cr_assert_geq(gm_region_fd(b, &offset), 0);
    cr_assert_eq(offset % GM_HUGE_BYTES, base % GM_HUGE_BYTES);
    memset(gm_region_host(a), 1, 4 << 20);
    memset(gm_region_host(b), 1, 4 << 20);
    gm_region_unref(a);
    gm_region_unref(b);
}

Test(region, unref_returns_address_space_and_fd)
{
    struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *region = made(0, 2 * PAGE, &backing);
    uint64_t offset;
    int fd = gm_region_fd(region, &offset);
    uint8_t *host = gm_region_host(region);
    unsigned char present[2];

    gm_region_ref(region);
    gm_region_unref(region);
    cr_assert_neq(fcntl(fd, F_GETFD), -1);
    gm_region_unref(region);

    cr_assert_eq(fcntl(fd, F_GETFD), -1);
    cr_assert_eq(mincore(host, 2 * PAGE, present), -1);
    gm_region_unref(NULL);
}

Test(region, memfd_is_sealed_against_resizing_and_cloexec)
{
    struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *region = made(0, 4 * PAGE, &backing);
    uint64_t offset = 99;
    int fd = gm_region_fd(region, &offset);

    cr_assert_eq(offset, 0);
    cr_assert_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, PAGE), -1);
    cr_assert_eq(ftruncate(fd, 16 * PAGE), -1);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    gm_region_unref(region);
}

Test(region, memfd_shows_the_same_bytes_to_another_mapping)
{
    struct gm_backing backing = { .kind = GM_MEMFD };
    struct gm_region *region = made(0x3000, PAGE, &backing);
    uint64_t offset = 0;
    int fd = gm_region_fd(region, &offset);
    uint8_t *peer = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

    ((uint8_t *)gm_region_host(region))[7] = 42;

    cr_assert_neq(peer, MAP_FAILED);
    cr_assert_eq(peer[7], 42);
    munmap(peer, PAGE);
    gm_region_unref(region);
}

static bool free_huge_pages(void)
{
    FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
    int count = 0;

    if (!file)
        return false;
    if (fscanf(file, "%d", &count) != 1)
        count = 0;
    fclose(file);
    return count >= 1;
}

Test(region, hugetlb_memory_consists_of_huge_pages)
{
    struct gm_backing backing = { .kind = GM_HUGETLB, .huge_bytes = 2 << 20 };
    struct gm_region *region;

    if (!free_huge_pages())
        cr_skip_test("this host has no free huge pages of 2 MiB (vm.nr_hugepages)");

    region = made(0, 2 << 20, &backing);

    cr_assert_eq((uintptr_t)gm_region_host(region) % (2 << 20), 0);
    memset(gm_region_host(region), 1, 2 << 20);
    gm_region_unref(region);
}

Test(region, too_few_huge_pages_is_an_error_at_once)
{
    struct gm_backing backing = { .kind = GM_HUGETLB, .huge_bytes = 2 << 20 };
    int rc = try_region(0, 1ULL << 50, &backing);

    if (rc == -ENODEV || rc == -ENOSYS || rc == -EINVAL)
        cr_skip_test("this kernel has no huge pages of 2 MiB");
    cr_assert_eq(rc, -ENOMEM, "%s", vm_error_text());
    cr_assert(strstr(vm_error_text(), "not enough free huge pages (see vm.nr_hugepages)"));
}

Test(region, hugetlb_size_must_be_a_multiple_of_the_huge_page)
{
    struct gm_backing backing = { .kind = GM_HUGETLB };
    int rc = try_region(0, PAGE, &backing);

    if (rc == -ENODEV || rc == -ENOSYS)
        cr_skip_test("this kernel has no huge pages");
    cr_assert_eq(rc, -EINVAL);
    cr_assert(strstr(vm_error_text(), "multiples of the huge page size"), "%s", vm_error_text());
}

Test(region, huge_page_size_must_be_a_power_of_two)
{
    struct gm_backing backing = { .kind = GM_HUGETLB, .huge_bytes = 3 << 20 };

    cr_assert_eq(try_region(0, 3 << 20, &backing), -EINVAL);
    cr_assert(strstr(vm_error_text(), "0x300000: not a power of two"), "%s", vm_error_text());
}

Test(region, huge_page_size_that_the_host_lacks_is_an_error)
{
    struct gm_backing backing = { .kind = GM_HUGETLB, .huge_bytes = 1ULL << 46 };

    cr_assert_lt(try_region(0, 1ULL << 46, &backing), 0);
    cr_assert(strstr(vm_error_text(), "/sys/kernel/mm/hugepages"), "%s", vm_error_text());
}

Test(region, shared_file_is_written_through)
{
    int fd = numbered_file(3);
    struct gm_backing backing = { .kind = GM_FILE, .fd = fd, .shared = true, .fd_offset = PAGE };
    struct gm_region *region = made(0, PAGE, &backing);
    uint8_t *host = gm_region_host(region), byte = 0;

    cr_assert_eq(host[0], 2);
    host[0] = 77;

    cr_assert_eq(pread(fd, &byte, 1, PAGE), 1);
    cr_assert_eq(byte, 77);
    gm_region_unref(region);
    cr_assert_neq(fcntl(fd, F_GETFD), -1, "the caller keeps its own");
    close(fd);
}

Test(region, private_file_is_not_written_through)
{
    int fd = numbered_file(1);
    struct gm_backing backing = { .kind = GM_FILE, .fd = fd };
    struct gm_region *region = made(0, PAGE, &backing);
    uint8_t *host = gm_region_host(region), byte = 0;

    host[0] = 77;

    cr_assert_eq(pread(fd, &byte, 1, 0), 1);
    cr_assert_eq(byte, 1);
    gm_region_unref(region);
    close(fd);
}

Test(region, file_region_hands_out_a_duplicate_and_its_offset)
{
    int fd = numbered_file(2);
    struct gm_backing backing = { .kind = GM_FILE, .fd = fd, .shared = true, .fd_offset = PAGE };
    struct gm_region *region = made(0, PAGE, &backing);
    uint64_t offset = 0;
    int copy = gm_region_fd(region, &offset);

    cr_assert_neq(copy, fd);
    cr_assert_eq(fcntl(copy, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(offset, PAGE);
    gm_region_unref(region);
    close(fd);
}

Test(region, file_that_is_too_short_is_refused)
{
    int fd = numbered_file(2);
    struct gm_backing backing = { .kind = GM_FILE, .fd = fd, .fd_offset = PAGE };

    cr_assert_eq(try_region(0, 2 * PAGE, &backing), -EINVAL);
    cr_assert(strstr(vm_error_text(), "has 0x2000 bytes, too few from offset 0x1000"), "%s",
              vm_error_text());
    close(fd);
}

Test(region, odd_file_offset_is_refused)
{
    int fd = numbered_file(2);
    struct gm_backing backing = { .kind = GM_FILE, .fd = fd, .fd_offset = 512 };

    cr_assert_eq(try_region(0, PAGE, &backing), -EINVAL);
    close(fd);
}

Test(region, bad_fd_is_an_error)
{
    struct gm_backing backing = { .kind = GM_FILE, .fd = -1 };

    cr_assert_eq(try_region(0, PAGE, &backing), -EBADF);
}

Test(region, file_that_cannot_be_mapped_is_an_error)
{
    int fds[2];
    struct gm_backing backing = { .kind = GM_FILE };

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    backing.fd = fds[0];

    cr_assert_eq(try_region(0, PAGE, &backing), -ENODEV);
    close(fds[0]);
    close(fds[1]);
}

Test(region, shared_rom_needs_only_a_readable_file)
{
    int fd = numbered_file(1);
    char name[64];
    struct gm_backing backing = {
        .kind = GM_FILE, .shared = true, .read_only = true, .prefault = true
    };
    struct gm_region *region;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    backing.fd = open(name, O_RDONLY | O_CLOEXEC);

    region = made(0, PAGE, &backing);

    cr_assert(gm_region_read_only(region));
    cr_assert_eq(*(uint8_t *)gm_region_host(region), 1);
    gm_region_unref(region);
    close(backing.fd);
    close(fd);
}

Test(region, rom_of_our_own_can_be_filled_through_its_host_address)
{
    struct gm_region *region = make_region(0, PAGE, true);

    *(uint8_t *)gm_region_host(region) = 0x55;

    cr_assert_eq(*(uint8_t *)gm_region_host(region), 0x55);
    gm_region_unref(region);
}

Test(region, borrowed_memory_is_used_in_place_and_left_alone)
{
    void *memory = aligned_alloc(PAGE, PAGE);
    struct gm_backing backing = { .kind = GM_BORROWED, .host = memory, .prefault = true };
    struct gm_region *region = made(0, PAGE, &backing);

    cr_assert_eq(gm_region_host(region), memory);
    gm_region_unref(region);
    memset(memory, 1, PAGE);
    free(memory);
}

Test(region, borrowed_memory_must_be_page_aligned)
{
    struct gm_backing backing = { .kind = GM_BORROWED, .host = (void *)0x1234 };

    cr_assert_eq(try_region(0, PAGE, &backing), -EINVAL);
}

Test(region, unreachable_memory_is_not_touched)
{
    struct gm_backing backing = { .kind = GM_BORROWED, .prefault = true };
    struct gm_region *region = made(0, 1 << 30, &backing);

    cr_assert_null(gm_region_host(region));
    gm_region_unref(region);
}

/* One line of the mapping that begins at host in /proc/self/smaps; false where it is missing. */
static bool smaps_line(const void *host, const char *key, char *ret_line, size_t size)
{
    FILE *file = fopen("/proc/self/smaps", "re");
    char start[32];
    bool here = false, found = false;

    snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)host);
    while (file && !found && fgets(ret_line, (int)size, file)) {
        if (!here)
            here = !strncmp(ret_line, start, strlen(start));
        else
            found = !strncmp(ret_line, key, strlen(key));
    }
    if (file)
        fclose(file);
    return found;
}

/* Pages of its own that the region has: the shared zero page does not count. -1: not told here. */
static long own_pages(const struct gm_region *region)
{
    char line[512];

    if (!smaps_line(gm_region_host(region), "Anonymous:", line, sizeof(line)))
        return -1;
    return strtol(line + strlen("Anonymous:"), NULL, 10) * 1024 / PAGE;
}

Test(region, pages_come_only_when_touched)
{
    struct gm_region *region = made(0, 16 * PAGE, &anonymous);

    cr_assert_leq(own_pages(region), 0);
    gm_region_unref(region);
}

Test(region, prefault_makes_every_page_present)
{
    skip_in_emulator("madvise() but MADV_DONTNEED");
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .prefault = true };
    struct gm_region *region = made(0, 16 * PAGE, &backing);

    if (own_pages(region) < 0)
        cr_skip_test("no /proc/self/smaps here");
    cr_assert_eq(own_pages(region), 16);
    gm_region_unref(region);
}

Test(region, prefault_without_madvise_keeps_the_bytes)
{
    struct gm_region *region = made(0, 16 * PAGE, &anonymous);
    uint8_t *host = gm_region_host(region);

    if (own_pages(region) < 0)
        cr_skip_test("no /proc/self/smaps here");
    host[PAGE] = 9;
    cr_assert_eq(gm_backing_prefault(host, 16 * PAGE, false, false), 0);
    cr_assert_eq(own_pages(region), 1, "reading makes no pages");
    cr_assert_eq(gm_backing_prefault(host, 16 * PAGE, true, false), 0);

    cr_assert_eq(own_pages(region), 16);
    cr_assert_eq(host[PAGE], 9);
    gm_region_unref(region);
}

Test(region, prefault_of_what_is_not_mapped_is_an_error)
{
    skip_in_emulator("madvise() but MADV_DONTNEED");
    struct gm_region *region = made(0, PAGE, &anonymous);

    cr_assert_eq(munmap(gm_region_host(region), PAGE), 0);

    cr_assert_eq(gm_backing_prefault(gm_region_host(region), PAGE, true, true), -ENOMEM);
    gm_region_unref(region);
}

Test(region, thp_and_core_dump_advice_reach_the_mapping)
{
    skip_in_emulator("madvise() but MADV_DONTNEED");
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .thp = true };
    struct gm_region *region = made(0, 4 << 20, &backing);
    char line[512];

    if (!smaps_line(gm_region_host(region), "VmFlags:", line, sizeof(line)))
        cr_skip_test("no VmFlags in /proc/self/smaps");
    cr_assert(strstr(line, " dd"), "not for core dumps: %s", line);
    if (access("/sys/kernel/mm/transparent_hugepage", F_OK))
        cr_skip_test("no transparent huge pages in this kernel");
    cr_assert(strstr(line, " hg"), "%s", line);
    gm_region_unref(region);
}

Test(region, binding_to_node_0_reaches_the_mapping)
{
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .bind_node = true, .prefault = true };
    struct gm_region *region = NULL;
    int rc = gm_region_new(0, PAGE, &backing, &region);
    char start[32], line[512];
    bool bound = false;
    FILE *file = fopen("/proc/self/numa_maps", "re");

    if (rc == -ENOSYS || rc == -EPERM || !file)
        cr_skip_test("no mbind(2) or no /proc/self/numa_maps here");
    cr_assert_eq(rc, 0, "%s", vm_error_text());
    snprintf(start, sizeof(start), "%lx bind", (unsigned long)(uintptr_t)gm_region_host(region));
    while (fgets(line, sizeof(line), file))
        bound = bound || strstr(line, start);
    cr_assert(bound);
    fclose(file);
    gm_region_unref(region);
}

Test(region, a_node_that_is_not_there_is_an_error)
{
    struct gm_backing backing = { .kind = GM_ANONYMOUS, .bind_node = true, .node = 1023 };

    cr_assert_lt(try_region(0, PAGE, &backing), 0);
    cr_assert(strstr(vm_error_text(), "host NUMA node 1023 (those of this host"), "%s",
              vm_error_text());
    backing.node = 1024;
    cr_assert_eq(try_region(0, PAGE, &backing), -EINVAL);
}

Test(region, exhausted_resources_are_errors_with_text)
{
    struct gm_backing memfd = { .kind = GM_MEMFD }, file = { .kind = GM_FILE };
    struct rlimit few = { .rlim_cur = 3 }, old;
    int fd = numbered_file(1), memfd_rc, file_rc;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    file.fd = fd;
    few.rlim_max = old.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    memfd_rc = try_region(0, PAGE, &memfd); /* Criterion itself needs descriptors to complain */
    file_rc = try_region(0, PAGE, &file);
    setrlimit(RLIMIT_NOFILE, &old);

    cr_assert_eq(memfd_rc, -EMFILE);
    cr_assert_eq(file_rc, -EMFILE);
    cr_assert_eq(try_region(0, 1ULL << 51, &anonymous), -ENOMEM);
    cr_assert(strstr(vm_error_text(), "mmap"), "%s", vm_error_text());
    close(fd);
}
