/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared memory regions: what drivers find, what is mapped where, and what is refused. */
#include "virtio_test.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/virtio/shm.h>

enum { SMALL = 0x10000, LARGE = 4 << 20, FILE_BYTES = 0x8000 };

static struct vh h;
static struct lab *lab;
static int file; /* sealed; FILE_BYTES of 'f' */

static int make_file(unsigned seals)
{
    int fd = memfd_create("shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char bytes[FILE_BYTES];

    memset(bytes, 'f', sizeof(bytes));
    cr_assert_eq(write(fd, bytes, sizeof(bytes)), FILE_BYTES);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static void open_at(enum vh_transport transport)
{
    static const uint64_t size[] = { SMALL, 0, LARGE };
    const struct vh_config config = { .transport = transport };

    cr_assert_eq(vh_open(&h, &config), 0);
    lab = lab_make(&h, &lab_ops, LAB_QUEUES);
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 3), 0);
    cr_assert_eq(vh_plug(&h, &lab->dev), 0);
    file = make_file(F_SEAL_SHRINK);
}

static void open_pci(void)
{
    open_at(VH_PCI);
}

static void close_all(void)
{
    vm_close(&file);
    vh_close(&h);
}

TestSuite(shm, .init = open_pci, .fini = close_all);

static int map_file(uint8_t id, uint64_t at, uint64_t bytes, bool writable, int fd,
                    uint64_t fd_offset)
{
    const struct virtio_shm_piece p = { id, writable, at, bytes, fd_offset };
    int rc;

    virtio_enter(&lab->dev);
    rc = virtio_shm_map(&lab->dev, &p, fd);
    virtio_leave(&lab->dev);
    return rc;
}

static int map(uint8_t id, uint64_t at, uint64_t bytes)
{
    return map_file(id, at, bytes, true, file, 0);
}

static int unmap(uint8_t id, uint64_t at, uint64_t bytes)
{
    const struct virtio_shm_piece p = { .id = id, .at = at, .bytes = bytes };
    int rc;

    virtio_enter(&lab->dev);
    rc = virtio_shm_unmap(&lab->dev, &p);
    virtio_leave(&lab->dev);
    return rc;
}

/* As a driver walks the capabilities: the n-th of shared memory. */
static unsigned find_cap(unsigned n)
{
    unsigned found = 0;

    for (unsigned at = vh_pci_read(&h, 0x34, 1); at; at = vh_pci_read(&h, at + 1, 1))
        if (vh_pci_read(&h, at, 1) == 9 && vh_pci_read(&h, at + 3, 1) == 8 && found++ == n)
            return at;
    return 0;
}

static uint64_t cap_number(unsigned cap, unsigned low, unsigned high)
{
    return vh_pci_read(&h, cap + low, 4) | (uint64_t)vh_pci_read(&h, cap + high, 4) << 32;
}

Test(shm, a_driver_finds_each_region_by_its_capability)
{
    unsigned first = find_cap(0), second = find_cap(1);

    cr_assert(first && second);
    cr_assert_eq(find_cap(2), 0);
    cr_assert_eq(vh_pci_read(&h, first + 2, 1), 24);
    cr_assert_eq(vh_pci_read(&h, first + 4, 1), 2);
    cr_assert_eq(vh_pci_read(&h, first + 5, 1), 0);
    cr_assert_eq(cap_number(first, 8, 16), 0);
    cr_assert_eq(cap_number(first, 12, 20), SMALL);
    cr_assert_eq(vh_pci_read(&h, second + 5, 1), 2);
    cr_assert_eq(cap_number(second, 8, 16), 2 << 20);
    cr_assert_eq(cap_number(second, 12, 20), LARGE);
}

Test(shm, a_device_without_regions_has_no_bar_for_them)
{
    const struct vh_config config = { .transport = VH_PCI };
    struct vh plain;

    cr_assert_eq(vh_open(&plain, &config), 0);
    cr_assert_eq(vh_plug(&plain, &lab_make(&plain, &lab_ops, 1)->dev), 0);

    cr_assert_eq(vh_pci_read(&plain, 0x18, 4), 0);
    vh_close(&plain);
}

Test(shm, what_is_mapped_is_where_the_guest_looks)
{
    struct vh_memory *m;
    char byte = 0;

    cr_assert_eq(map_file(2, 0x3000, 0x2000, true, file, 0x1000), 0);

    m = vh_find_memory(&h, h.bar[2] + (2 << 20) + 0x3000);
    cr_assert(m);
    cr_assert_eq(m->gpa, h.bar[2] + (2 << 20) + 0x3000);
    cr_assert_eq(m->size, 0x2000);
    cr_assert_not(m->read_only);
    cr_assert_eq(m->host[0], 'f');
    m->host[0x10] = 'g';
    cr_assert_eq(pread(file, &byte, 1, 0x1010), 1);
    cr_assert_eq(byte, 'g');
}

Test(shm, a_piece_that_is_not_writable_is_read_only_memory)
{
    cr_assert_eq(map_file(0, 0, 0x1000, false, file, 0), 0);

    cr_assert(vh_find_memory(&h, h.bar[2])->read_only);
}

Test(shm, what_is_not_mapped_reads_as_zeros)
{
    cr_assert_eq(map(0, 0x1000, 0x1000), 0);

    cr_assert_eq(vh_write(&h, h.bar[2], 4, 0x12345678), 0);

    cr_assert_eq(vh_read(&h, h.bar[2], 4), 0);
    cr_assert_null(vh_find_memory(&h, h.bar[2]));
}

Test(shm, mappings_follow_the_bar)
{
    uint64_t old = h.bar[2], new = old + (64 << 20);

    cr_assert_eq(map(0, 0, 0x1000), 0);

    vh_pci_write(&h, 0x1c, 4, (uint32_t)(new >> 32));
    vh_pci_write(&h, 0x18, 4, (uint32_t)(new &UINT32_MAX));

    cr_assert_null(vh_find_memory(&h, old));
    cr_assert(vh_find_memory(&h, new));
    vh_pci_write(&h, 4, 2, vh_pci_read(&h, 4, 2) & ~2U); /* no memory is decoded */
    cr_assert_eq(vh_memories(&h), 0);
    cr_assert_eq(map(0, 0x1000, 0x1000), 0);
    cr_assert_eq(vh_memories(&h), 0);
    vh_pci_write(&h, 4, 2, vh_pci_read(&h, 4, 2) | 2U);
    cr_assert_eq(vh_memories(&h), 2);
}

Test(shm, pieces_that_cannot_be_are_refused)
{
    cr_assert_eq(map(0, 0x2000, 0x2000), 0);

    cr_assert_eq(map(0, 0x3000, 0x1000), -EEXIST);
    cr_assert_eq(map(0, 0x1000, 0x2000), -EEXIST);
    cr_assert_eq(map(0, 0x2000, 0x2000), -EEXIST);
    cr_assert_eq(map(1, 0, 0x1000), -EINVAL);
    cr_assert_eq(map(3, 0, 0x1000), -EINVAL);
    cr_assert_eq(map(255, 0, 0x1000), -EINVAL);
    cr_assert_eq(map(0, 0, 0), -EINVAL);
    cr_assert_eq(map(0, 0, 0x800), -EINVAL);
    cr_assert_eq(map(0, 0x800, 0x1000), -EINVAL);
    cr_assert_eq(map(0, SMALL, 0x1000), -EINVAL);
    cr_assert_eq(map(0, SMALL - 0x1000, 0x2000), -EINVAL);
    cr_assert_eq(map(0, UINT64_MAX - 0xfff, 0x2000), -EINVAL);
    cr_assert_eq(map(0, 0x1000, UINT64_MAX - 0xfff), -EINVAL);

    cr_assert_eq(vh_memories(&h), 1);
    cr_assert_eq(map(2, 0x2000, 0x2000), 0, "another region's same offset");
}

Test(shm, files_that_cannot_be_are_refused)
{
    int unsealed = make_file(0), sealed = make_file(F_SEAL_SHRINK | F_SEAL_WRITE), pipes[2];

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);

    cr_assert_eq(map_file(0, 0, 0x1000, true, unsealed, 0), -EPERM);
    cr_assert_eq(map_file(0, 0, 0x1000, true, pipes[0], 0), -EPERM);
    cr_assert_eq(map_file(0, 0, 0x1000, true, -1, 0), -EPERM);
    cr_assert_eq(map_file(0, 0, 0x1000, true, sealed, 0), -EPERM);
    cr_assert_eq(map_file(0, 0, FILE_BYTES + 0x1000, true, file, 0), -EINVAL);
    cr_assert_eq(map_file(0, 0, 0x2000, true, file, FILE_BYTES - 0x1000), -EINVAL);
    cr_assert_eq(map_file(0, 0, 0x1000, true, file, UINT64_MAX - 0xfff), -EINVAL);
    cr_assert_eq(map_file(0, 0, 0x1000, true, file, 0x10), -EINVAL);

    cr_assert_eq(vh_memories(&h), 0);
    vm_close(&unsealed);
    vm_close(&sealed);
    vm_close(&pipes[0]);
    vm_close(&pipes[1]);
}

Test(shm, a_file_of_huge_pages_is_refused)
{
    int huge = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

    if (huge < 0)
        cr_skip_test("this kernel has no huge pages");
    cr_assert_eq(ftruncate(huge, 1 << 30), 0);
    cr_assert_eq(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);

    cr_assert_eq(map_file(0, 0, 0x1000, true, huge, 0), -ENOTSUP);

    cr_assert(strstr(vm_error_text(), "huge pages"), "%s", vm_error_text());
    cr_assert_eq(vh_memories(&h), 0);
    vm_close(&huge);
}

Test(shm, no_more_pieces_than_there_may_be)
{
    for (unsigned i = 0; i < VIRTIO_SHM_MAPS; i++)
        cr_assert_eq(map(2, i * 0x2000ULL, 0x1000), 0, "%u", i);

    cr_assert_eq(map(2, VIRTIO_SHM_MAPS * 0x2000ULL, 0x1000), -ENOSPC);

    cr_assert_eq(unmap(2, 0x2000, 0x1000), 0);
    cr_assert_eq(map(2, 0x2000, 0x1000), 0);
}

Test(shm, what_the_hypervisor_refuses_is_not_mapped)
{
    h.refuse_memory = true;

    cr_assert_eq(map(0, 0, 0x1000), -ENOSPC);

    h.refuse_memory = false;
    cr_assert_eq(map(0, 0, 0x1000), 0);
}

Test(shm, only_a_whole_piece_is_unmapped)
{
    cr_assert_eq(map(0, 0x2000, 0x2000), 0);

    cr_assert_eq(unmap(0, 0x2000, 0x1000), -ENOENT);
    cr_assert_eq(unmap(0, 0x1000, 0x2000), -ENOENT);
    cr_assert_eq(unmap(2, 0x2000, 0x2000), -ENOENT);
    cr_assert_eq(unmap(7, 0x2000, 0x2000), -EINVAL);
    cr_assert_eq(vh_memories(&h), 1);

    cr_assert_eq(unmap(0, 0x2000, 0x2000), 0);
    cr_assert_eq(vh_memories(&h), 0);
    cr_assert_eq(unmap(0, 0x2000, 0x2000), -ENOENT);
}

Test(shm, a_drivers_reset_ends_all_mappings)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    cr_assert_eq(map(0, 0, 0x1000), 0);
    cr_assert_eq(map(2, 0, 0x1000), 0);

    cr_assert_eq(vh_reset(&h, 1000000000), 0);

    cr_assert_eq(vh_memories(&h), 0);
}

Test(shm, the_end_of_a_device_is_the_end_of_its_mappings)
{
    cr_assert_eq(map(0, 0, 0x1000), 0);

    vh_destroy(&h);

    cr_assert_eq(vh_memories(&h), 0);
}

Test(shm_offer, regions_that_cannot_be_are_refused)
{
    const struct vh_config config = { .transport = VH_PCI };
    uint64_t size[VIRTIO_SHM_REGIONS + 1] = { 0 };

    cr_assert_eq(vh_open(&h, &config), 0);
    lab = lab_make(&h, &lab_ops, LAB_QUEUES);
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 8), 0, "none");
    cr_assert_eq(virtio_shm_count(&lab->dev), 0);

    size[0] = 0x1800;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 1), -EINVAL);
    size[0] = size[1] = VIRTIO_SHM_BYTES / 2 + 0x1000;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 2), -EINVAL);
    size[1] = UINT64_MAX - 0xfff;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 2), -EINVAL);
    size[VIRTIO_SHM_REGIONS] = 0x1000;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, VIRTIO_SHM_REGIONS + 1), -EINVAL);

    size[0] = size[1] = size[2] = size[3] = 0x1000;
    cr_assert_eq(virtio_shm_offer(&lab->dev, size, 4), 0);
    cr_assert_eq(vh_plug(&h, &lab->dev), -ENOSPC, "capabilities for three fit");
    lab_destroy(&lab->dev);
    vh_close(&h);
}

/* ---- MMIO ---- */

static void open_mmio(void)
{
    open_at(VH_MMIO_BUS);
}

static uint64_t number(unsigned low)
{
    return vh_read(&h, VH_MMIO + low, 4) | vh_read(&h, VH_MMIO + low + 4, 4) << 32;
}

Test(shm_mmio, registers_tell_of_regions_that_have_a_place, .init = open_mmio, .fini = close_all)
{
    virtio_enter(&lab->dev);
    virtio_shm_place(&lab->dev, 2, true, 0x1234500000);
    virtio_leave(&lab->dev);

    vh_write(&h, VH_MMIO + 0xac, 4, 2);

    cr_assert_eq(number(0xb0), LARGE);
    cr_assert_eq(number(0xb8), 0x1234500000);
    for (unsigned id = 0; id < 4; id++) {
        vh_write(&h, VH_MMIO + 0xac, 4, id);
        cr_assert_eq(number(0xb0) == UINT64_MAX, id != 2, "%u", id);
        cr_assert_eq(number(0xb8) == UINT64_MAX, id != 2, "%u", id);
    }
    vh_write(&h, VH_MMIO + 0xac, 4, UINT32_MAX);
    cr_assert_eq(number(0xb0), UINT64_MAX);
}

Test(shm_mmio, a_region_with_a_place_is_shown_there, .init = open_mmio, .fini = close_all)
{
    cr_assert_eq(map(2, 0x1000, 0x1000), 0);
    cr_assert_eq(vh_memories(&h), 0);

    virtio_enter(&lab->dev);
    virtio_shm_place(&lab->dev, 2, true, 0x1234500000);
    virtio_leave(&lab->dev);

    cr_assert(vh_find_memory(&h, 0x1234501000));
}

Test(shm_mmio, overlaps_are_refused_where_the_guest_sees_nothing_too, .init = open_mmio,
     .fini = close_all)
{
    cr_assert_eq(map(2, 0x1000, 0x2000), 0);

    cr_assert_eq(map(2, 0x2000, 0x1000), -EEXIST);
}
