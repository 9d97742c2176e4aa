/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Where a region's bytes come from: mmap(2), memfd_create(2), mbind(2), madvise(2).
 *
 * Large mappings lie so that host and guest addresses are equal modulo 2 MiB: only then can one
 * huge host page stand behind one huge guest page (KVM checks it in kvm_mmu_max_mapping_level, x86
 * and Arm alike). The file offset must agree too, so a memfd for an odd guest address begins with a
 * hole.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/base/check.h>
#include <vmm/base/fd.h>

#include "memory_private.h"

/* Newer than Debian 12's libc headers; linux/memfd.h and asm-generic/mman-common.h */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

enum { NODES_MAX = 1024, WORD_BITS = 8 * sizeof(unsigned long) };

static bool congruent(const void *host, uint64_t wanted, uint64_t align)
{
    return !(((uintptr_t)host ^ wanted) & (align - 1));
}

/* Address space of size bytes that is equal to wanted modulo align; nothing in it yet. */
static void *reserve(uint64_t size, uint64_t wanted, uint64_t align)
{
    uint64_t whole = size + align;
    uint8_t *start =
        mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint64_t head;

    if (start == MAP_FAILED)
        return MAP_FAILED;
    head = ((wanted | align) - ((uintptr_t)start & (align - 1))) & (align - 1);
    if (head)
        munmap(start, head);
    munmap(start + head + size, align - head);
    return start + head;
}

/* mmap(2) of the whole region. First where the kernel likes (recent ones align by themselves: one
 * call). */
static int map_region(struct gm_region *region, int prot, int flags)
{
    off_t offset = (off_t)region->fd_offset;
    void *at, *host = mmap(NULL, region->size, prot, flags, region->fd, offset);

    if (host == MAP_FAILED)
        return vm_fail_errno("mmap");
    if (region->size >= GM_HUGE_BYTES && !congruent(host, region->base, GM_HUGE_BYTES)) {
        at = reserve(region->size, region->base, GM_HUGE_BYTES);
        if (at != MAP_FAILED) {
            munmap(host, region->size);
            host = mmap(at, region->size, prot, flags | MAP_FIXED, region->fd, offset);
            if (host == MAP_FAILED) {
                int rc = vm_fail_errno("mmap");

                munmap(at, region->size);
                return rc;
            }
        }
    }
    region->host = host;
    region->mapped = true;
    region->shared = flags & MAP_SHARED;
    return 0;
}

/* Without exec permission where the kernel knows the flag (6.3): vm.memfd_noexec may demand it. */
static int create_memfd(unsigned flags)
{
    int fd = memfd_create("guest-ram", flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("guest-ram", flags);
    return fd;
}

/* Sized and sealed: no process that gets the fd can cut it short under another one's feet. */
static int size_and_seal(int fd, uint64_t bytes)
{
    if (ftruncate(fd, (off_t)bytes))
        return vm_fail_errno("memfd: size 0x%" PRIx64, bytes);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
        return vm_fail_errno("memfd: F_ADD_SEALS");
    return 0;
}

static int open_memfd(struct gm_region *region)
{
    int rc;

    region->fd = create_memfd(MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->fd < 0)
        return vm_fail_errno("memfd_create");
    if (region->size >= GM_HUGE_BYTES)
        region->fd_offset = region->base & (GM_HUGE_BYTES - 1);
    rc = size_and_seal(region->fd, region->fd_offset + region->size);
    return rc ? rc : map_region(region, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE);
}

static int check_huge(const struct gm_region *region)
{
    struct stat st;

    if (vm_fstat(region->fd, &st))
        return vm_fail_errno("memfd: fstat");
    /* hugetlbfs reports the page size as block size */
    if ((region->base | region->size) & ((uint64_t)st.st_blksize - 1))
        return vm_fail(-EINVAL,
                       "address and size must be multiples of the huge page size 0x%" PRIx64,
                       (uint64_t)st.st_blksize);
    return 0;
}

static int open_hugetlb(struct gm_region *region, uint64_t huge_bytes)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
    int rc;

    if (huge_bytes) {
        if (!vm_is_pow2(huge_bytes) || huge_bytes < GM_PAGE_BYTES)
            return vm_fail(-EINVAL, "huge page size 0x%" PRIx64 ": not a power of two from %d on",
                           huge_bytes, GM_PAGE_BYTES);
        flags |= (unsigned)__builtin_ctzll(huge_bytes)
                 << MAP_HUGE_SHIFT; /* MFD_ flags have the same encoding */
    }
    region->fd = create_memfd(flags);
    if (region->fd < 0)
        return vm_fail_errno("memfd_create: huge pages of 0x%" PRIx64
                             " bytes (sizes of this host: /sys/kernel/mm/hugepages)",
                             huge_bytes);
    rc = check_huge(region);
    if (!rc)
        rc = size_and_seal(region->fd, region->size);
    /* Without MAP_NORESERVE: too few pages are told now, and not by SIGBUS later. */
    if (!rc)
        rc = map_region(region, PROT_READ | PROT_WRITE, MAP_SHARED);
    return rc == -ENOMEM ? vm_wrap(rc, "not enough free huge pages (see vm.nr_hugepages)") : rc;
}

static int check_file(const struct gm_region *region, const struct gm_backing *backing)
{
    struct stat st;

    if (backing->fd_offset % GM_PAGE_BYTES)
        return vm_fail(-EINVAL, "file offset 0x%" PRIx64 ": not a multiple of %d",
                       backing->fd_offset, GM_PAGE_BYTES);
    if (vm_fstat(backing->fd, &st))
        return vm_fail_errno("fd %d", backing->fd);
    /* An access behind the end would be SIGBUS. Devices have no size. */
    if (S_ISREG(st.st_mode) && !vm_range_in(backing->fd_offset, region->size, (uint64_t)st.st_size))
        return vm_fail(-EINVAL,
                       "the file has 0x%" PRIx64 " bytes, too few from offset 0x%" PRIx64 " on",
                       (uint64_t)st.st_size, backing->fd_offset);
    return 0;
}

static bool host_writable(const struct gm_backing *backing)
{
    bool others = (backing->kind == GM_FILE && backing->shared) || backing->kind == GM_BORROWED;

    /* A ROM of our own can be filled through gm_region_host(). */
    return !backing->read_only || !others;
}

static int open_file(struct gm_region *region, const struct gm_backing *backing)
{
    int prot = PROT_READ | (host_writable(backing) ? PROT_WRITE : 0);
    int rc = check_file(region, backing);

    if (rc)
        return rc;
    region->fd = fcntl(backing->fd, F_DUPFD_CLOEXEC, 0);
    if (region->fd < 0)
        return vm_fail_errno("fd %d: dup", backing->fd);
    region->fd_offset = backing->fd_offset;
    return map_region(region, prot, backing->shared ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE);
}

static int open_borrowed(struct gm_region *region, const struct gm_backing *backing)
{
    if ((uintptr_t)backing->host % GM_PAGE_BYTES)
        return vm_fail(-EINVAL, "borrowed memory at %p: not page aligned", backing->host);
    region->host = backing->host;
    return 0;
}

static int open_kind(struct gm_region *region, const struct gm_backing *backing)
{
    switch (backing->kind) {
    case GM_ANONYMOUS:
        return map_region(region, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
    case GM_MEMFD: return open_memfd(region);
    case GM_HUGETLB: return open_hugetlb(region, backing->huge_bytes);
    case GM_FILE: return open_file(region, backing);
    case GM_BORROWED: return open_borrowed(region, backing);
    }
    return vm_fail(-EINVAL, "memory kind %d: unknown", (int)backing->kind);
}

/* By raw system call: libnuma is not worth its weight for this one. */
static int bind_node(const struct gm_region *region, unsigned node)
{
    unsigned long mask[NODES_MAX / WORD_BITS] = { 0 };

    if (node >= NODES_MAX)
        return vm_fail(-EINVAL, "host NUMA node %u: the highest possible one is %d", node,
                       NODES_MAX - 1);
    mask[node / WORD_BITS] = 1UL << (node % WORD_BITS);
    /* + 1: the kernel takes one bit less than it is told (mm/mempolicy.c, get_nodes) */
    if (syscall(SYS_mbind, region->host, region->size, MPOL_BIND, mask, NODES_MAX + 1UL, 0UL))
        return vm_fail_errno("host NUMA node %u (those of this host: "
                             "/sys/devices/system/node/online): mbind",
                             node);
    return 0;
}

/* Writes a byte's own value. Not as "or 0": compilers make a mere load of that. */
static void touch(uint8_t *at)
{
    uint8_t v = __atomic_load_n(at, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(at, &v, v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ; /* somebody else wrote it: v is the new value */
}

/* One access per page that leaves its value; used before Linux 5.14. */
static void touch_pages(uint8_t *host, uint64_t size, bool writable)
{
    for (uint64_t at = 0; at < size; at += GM_PAGE_BYTES) {
        if (writable)
            touch(host + at);
        else
            (void)__atomic_load_n(host + at, __ATOMIC_RELAXED);
    }
}

int gm_backing_prefault(uint8_t *host, uint64_t size, bool writable, bool use_madvise)
{
    if (use_madvise) {
        if (!madvise(host, size, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ))
            return 0;
        if (errno != EINVAL)
            return vm_fail_errno("prefault");
    }
    touch_pages(host, size, writable);
    return 0;
}

static int apply_advice(struct gm_region *region, const struct gm_backing *backing)
{
    int rc = 0;

    if (region->mapped) {
        /* Advice: what the kernel does not know, it leaves. A guest's secrets are not for core
         * dumps. */
        (void)madvise(region->host, region->size, MADV_DONTDUMP);
        if (backing->thp)
            (void)madvise(region->host, region->size, MADV_HUGEPAGE);
        if (backing->bind_node)
            rc = bind_node(region, backing->node);
    }
    if (!rc && backing->prefault && region->host)
        rc = gm_backing_prefault(region->host, region->size, host_writable(backing), true);
    return rc;
}

int gm_backing_open(struct gm_region *region, const struct gm_backing *backing)
{
    int rc = open_kind(region, backing);

    if (!rc)
        rc = apply_advice(region, backing);
    if (rc)
        gm_backing_close(region);
    return rc;
}

void gm_backing_close(struct gm_region *region)
{
    if (region->mapped)
        munmap(region->host, region->size);
    vm_close(&region->fd);
}
