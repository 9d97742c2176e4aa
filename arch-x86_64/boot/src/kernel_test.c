/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include "boot_test.h"

static struct boot b;
static struct elf_image elf;

static void setup(void)
{
    boot_open(&b, 64 * MIB, 0);
    elf_init(&elf);
}

static void teardown(void)
{
    boot_close(&b);
}

TestSuite(x86_kernel, .init = setup, .fini = teardown);

/* ---- which format ---- */

Test(x86_kernel, file_of_another_kind_is_refused)
{
    uint8_t bytes[4096] = "#!/bin/sh\n";

    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC,
          "kernel is no x86_64 kernel: neither a bzImage (vmlinuz) nor an ELF file (vmlinux)");
}

Test(x86_kernel, kernel_for_aarch64_is_refused)
{
    uint8_t bytes[4096] = "MZ";

    memcpy(bytes + 56, "ARM\x64", 4);

    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC,
          "kernel is a kernel for AArch64 (Image): an x86_64 kernel is wanted");
}

Test(x86_kernel, three_bytes_are_no_kernel)
{
    FAILS(boot_load(&b, "\177EL", 3), -EINVAL,
          "kernel: 3 bytes are no kernel: give a bzImage (vmlinuz) or ELF file (vmlinux)");
}

static int broken_read(const struct vm_file *file, void *buf, size_t len, uint64_t offset)
{
    (void)buf;
    (void)len;
    (void)offset;
    return vm_fail(-EIO, "%s: the disk is broken", file->name);
}

Test(x86_kernel, read_error_is_handed_on)
{
    b.file = (struct vm_file){ .name = "kernel", .size = 1 << 20, .read = broken_read };

    FAILS(vboot_x86_kernel_load(&b.map, &b.view, &b.file, &b.kernel), -EIO,
          "kernel: the disk is broken");
}

/* Breaks at the n-th read. */
struct flaky {
    struct vm_file file;
    unsigned left;
};

static int flaky_read(const struct vm_file *file, void *buf, size_t len, uint64_t offset)
{
    struct flaky *f = container_of(file, struct flaky, file);

    if (!f->left)
        return vm_fail(-EIO, "%s: the disk is broken", file->name);
    f->left--;
    memcpy(buf, (const uint8_t *)file->data + offset, len);
    return 0;
}

static unsigned reads_until_it_works(const void *image, size_t size)
{
    unsigned n = 0;

    for (;; n++) {
        struct flaky f = { .file = { .name = "k", .size = size, .read = flaky_read, .data = image },
                           .left = n };
        struct vboot_x86_kernel kernel = { .entry = 5 };
        int rc = vboot_x86_kernel_load(&b.map, &b.view, &f.file, &kernel);

        if (!rc)
            return n;
        cr_assert_eq(rc, -EIO);
        cr_assert_str_eq(vm_error_text(), "k: the disk is broken");
        cr_assert_eq(kernel.entry, 5, "set on success only");
    }
}

Test(x86_kernel, read_error_at_any_place_is_handed_on)
{
    static struct bz_image bz;

    bz_init(&bz);
    elf_note(&elf, 0, "Xen", 18, ELF_BASE);

    cr_assert_eq(reads_until_it_works(&elf, sizeof(elf)), 6);
    cr_assert_eq(reads_until_it_works(&bz, sizeof(bz)), 3);
}

/* ---- initrd ---- */

static uint8_t initrd[3 * 4096 + 5];

static int load_initrd(size_t len)
{
    struct vm_file file;

    for (size_t i = 0; i < sizeof(initrd); i++)
        initrd[i] = (uint8_t)(i * 3);
    vm_file_data("initrd.img", initrd, len, &file);
    return vboot_x86_initrd_load(&b.map, &b.view, &file, &b.kernel);
}

static int load_huge_initrd(uint64_t len)
{
    struct vm_file file = { .name = "initrd.img", .size = len, .read = broken_read };

    return vboot_x86_initrd_load(&b.map, &b.view, &file, &b.kernel);
}

Test(x86_kernel, initrd_lies_at_the_end_of_memory_on_a_page)
{
    uint8_t *seen = malloc(sizeof(initrd));

    WORKS(boot_load(&b, &elf, sizeof(elf)));
    WORKS(load_initrd(sizeof(initrd)));

    cr_assert_eq(b.kernel.initrd.base, 64 * MIB - 4 * 4096);
    cr_assert_eq(b.kernel.initrd.size, sizeof(initrd));
    cr_assert_eq(gm_read(&b.view, b.kernel.initrd.base, seen, sizeof(initrd)), 0);
    cr_assert_arr_eq(seen, initrd, sizeof(initrd));
    free(seen);
}

Test(x86_kernel, initrd_keeps_below_the_kernels_limit)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    b.kernel.initrd_max = 0x2ffffff;

    WORKS(load_initrd(4096));

    cr_assert_eq(b.kernel.initrd.base, 0x2fff000);
}

Test(x86_kernel, initrd_keeps_below_the_hole)
{
    struct boot big;
    struct vm_file file;

    boot_open(&big, 6 * GIB, 4 * MIB);
    big.kernel.initrd_max = UINT64_MAX;
    big.kernel.end = 2 * MIB;
    vm_file_data("initrd.img", initrd, 4096, &file);

    FAILS(vboot_x86_initrd_load(&big.map, &big.view, &file, &big.kernel), -EFAULT,
          "initrd.img: initrd: no memory at 0xbffff000");
    boot_close(&big);
}

Test(x86_kernel, initrd_may_fill_all_that_is_left)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    b.kernel.end = 64 * MIB - 4 * 4096;

    WORKS(load_initrd(sizeof(initrd)));

    cr_assert_eq(b.kernel.initrd.base, b.kernel.end);
}

Test(x86_kernel, initrd_that_would_touch_the_kernel_is_refused)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    b.kernel.end = 64 * MIB - 3 * 4096;

    FAILS(load_initrd(sizeof(initrd)), -ENOSPC,
          "initrd.img: 12293 bytes of initrd do not fit between the kernel's end 0x3ffd000 and the "
          "end of memory 0x4000000: give the guest more memory or a smaller initrd");
    cr_assert_eq(b.kernel.initrd.size, 0);
}

Test(x86_kernel, initrd_larger_than_memory_is_refused)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));

    FAILS(load_huge_initrd(65 * MIB), -ENOSPC,
          "initrd.img: 68157440 bytes of initrd do not fit between the kernel's end 0x1011000 and "
          "the end of memory 0x4000000: give the guest more memory or a smaller initrd");
    FAILS(load_huge_initrd(UINT64_MAX), -ENOSPC,
          "initrd.img: 18446744073709551615 bytes of initrd do not fit between the kernel's end "
          "0x1011000 and the end of memory 0x4000000: give the guest more memory or a smaller "
          "initrd");
}

Test(x86_kernel, initrd_above_the_kernels_limit_is_refused)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    b.kernel.initrd_max = 0x1ffffff;

    FAILS(load_huge_initrd(20 * MIB), -ENOSPC,
          "initrd.img: 20971520 bytes of initrd do not fit between the kernel's end 0x1011000 and "
          "0x1ffffff, the last address this kernel takes: give a smaller initrd");
    b.kernel.initrd_max = 0;
    FAILS(
        load_initrd(1), -ENOSPC,
        "initrd.img: 1 bytes of initrd do not fit between the kernel's end 0x1011000 and 0x0, the "
        "last address this kernel takes: give a smaller initrd");
}

Test(x86_kernel, initrd_that_cannot_be_read_is_an_error)
{
    WORKS(boot_load(&b, &elf, sizeof(elf)));

    FAILS(load_huge_initrd(10 * MIB), -EIO, "initrd.img: the disk is broken");
    cr_assert_eq(b.kernel.initrd.size, 0);
}

Test(x86_kernel, what_was_loaded_is_marked_dirty)
{
    struct gm_dirty *dirty;
    uint64_t words[64 * MIB / 4096 / 64];

    cr_assert_eq(gm_dirty_new(64 * MIB, false, &dirty), 0);
    gm_view_set_dirty(&b.view, dirty);
    WORKS(boot_load(&b, &elf, sizeof(elf)));
    WORKS(load_initrd(sizeof(initrd)));

    cr_assert_eq(gm_dirty_take(dirty, 0, words, sizeof(words) / 8), 2 + 4);
    gm_view_set_dirty(&b.view, NULL);
    gm_dirty_free(dirty);
}
