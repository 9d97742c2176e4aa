/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <stdio.h>

#include "kernel_test.h"

static struct boot b;
static struct image image;

static void setup(void)
{
    boot_open(&b, 64 * MIB, 0);
    image_init(&image);
}

static void teardown(void)
{
    boot_close(&b);
}

TestSuite(arm_kernel, .init = setup, .fini = teardown);

static void is_loaded_at(uint64_t start)
{
    void *host;

    cr_assert_eq(b.kernel.entry, start);
    cr_assert_eq(b.kernel.start, start);
    cr_assert_eq(b.kernel.end, start + IMAGE_BYTES + MIB);
    cr_assert_eq(b.kernel.page_bytes, 4096);
    cr_assert_eq(gm_host(&b.view, start, IMAGE_BYTES, GM_READ, &host), 0);
    cr_assert(!memcmp(host, image.b, IMAGE_BYTES));
}

/* ---- plain ---- */

Test(arm_kernel, image_lies_behind_the_device_tree)
{
    WORKS(boot_load(&b, &image, sizeof(image)));

    is_loaded_at(0x40200000);
}

Test(arm_kernel, image_lies_where_its_text_offset_says)
{
    put(&image, 8, 8, 0x80000);

    WORKS(boot_load(&b, &image, sizeof(image)));

    is_loaded_at(0x40280000);
}

Test(arm_kernel, image_before_linux_3_17_lies_at_512_kib)
{
    put(&image, 8, 8, 0x12345000);
    put(&image, 16, 8, 0);

    WORKS(boot_load(&b, &image, sizeof(image)));

    cr_assert_eq(b.kernel.entry, 0x40280000);
    cr_assert_eq(b.kernel.end, 0x40280000 + IMAGE_BYTES);
}

Test(arm_kernel, image_may_have_more_bytes_than_it_says)
{
    put(&image, 16, 8, 0x1000);

    WORKS(boot_load(&b, &image, sizeof(image)));

    cr_assert_eq(b.kernel.end, 0x40200000 + IMAGE_BYTES);
}

Test(arm_kernel, image_may_be_nothing_but_a_header)
{
    struct image small = { 0 };

    memcpy(small.b + 56, "ARM\x64", 4);
    put(&small, 16, 8, 0x3000);
    WORKS(boot_load(&b, &small, 64));

    cr_assert_eq(b.kernel.entry, 0x40200000);
    cr_assert_eq(b.kernel.end, 0x40203000);
    cr_assert_eq(b.kernel.page_bytes, 0);
}

Test(arm_kernel, page_size_is_told)
{
    static const uint32_t want[] = { 0, 4096, 16384, 65536 };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(want); i++) {
        put(&image, 24, 8, i << 1);
        WORKS(boot_load(&b, &image, sizeof(image)));
        cr_assert_eq(b.kernel.page_bytes, want[i]);
    }
}

Test(arm_kernel, image_may_fill_memory_to_the_last_byte)
{
    put(&image, 16, 8, 62 * MIB);

    WORKS(boot_load(&b, &image, sizeof(image)));

    cr_assert_eq(b.kernel.end, 0x44000000);
}

Test(arm_kernel, image_that_needs_more_than_memory_is_refused)
{
    put(&image, 16, 8, 62 * MIB + 1);

    FAILS(boot_load(&b, &image, sizeof(image)), -ENOSPC,
          "kernel: the kernel needs 0x40200000 to 0x44000001, but memory ends at 0x44000000: give "
          "the guest more memory");
}

Test(arm_kernel, image_of_more_bytes_than_memory_is_refused)
{
    struct boot small;

    boot_open(&small, 4 * MIB, 0);
    put(&image, 16, 8, 0x1000);
    FAILS(boot_load(&small, &image, sizeof(image)), -ENOSPC,
          "kernel: the kernel needs 0x40200000 to 0x40400001, but memory ends at 0x40400000: give "
          "the guest more memory");

    WORKS(boot_load(&small, &image, 2 * MIB) == -EINVAL ? 0 : -1); /* cut off, but it fits */
    boot_close(&small);
}

Test(arm_kernel, numbers_that_wrap_are_refused)
{
    put(&image, 8, 8, UINT64_MAX);
    FAILS(boot_load(&b, &image, sizeof(image)), -EINVAL,
          "kernel: its header is broken: size 0x400000 at offset 0xffffffffffffffff wraps");
    put(&image, 8, 8, 0x1000);
    put(&image, 16, 8, UINT64_MAX);
    FAILS(boot_load(&b, &image, sizeof(image)), -EINVAL,
          "kernel: its header is broken: size 0xffffffffffffffff at offset 0x1000 wraps");
}

Test(arm_kernel, big_endian_image_is_refused)
{
    put(&image, 24, 8, 0xb);

    FAILS(boot_load(&b, &image, sizeof(image)), -EINVAL,
          "kernel is a big-endian kernel: give a little-endian one");
}

Test(arm_kernel, image_that_is_cut_off_is_refused)
{
    FAILS(
        boot_load(&b, &image, sizeof(image) - 1), -EINVAL,
        "kernel is cut off (copy it again): its header promises 3145728 bytes, 3145727 are there");
    FAILS(boot_load(&b, &image, 1000), -EINVAL,
          "kernel is cut off (copy it again): its header promises 3145728 bytes, 1000 are there");
}

Test(arm_kernel, section_table_that_leads_astray_is_ignored)
{
    put(&image, 0x46, 2, 0xffff);
    put(&image, 0x54, 2, 0xffff);
    WORKS(boot_load(&b, &image, sizeof(image)));

    put(&image, 60, 4, 0xfffffff0);
    WORKS(boot_load(&b, &image, sizeof(image)));

    put(&image, 60, 4, 4096 - 23);
    WORKS(boot_load(&b, &image, sizeof(image)));
}

Test(arm_kernel, memory_that_is_not_there_is_an_error)
{
    struct boot holey;

    boot_open(&holey, 64 * MIB, 4 * MIB);
    FAILS(boot_load(&holey, &image, sizeof(image)), -EFAULT, "kernel: no memory at 0x40400000");
    boot_close(&holey);
    boot_open(&holey, 64 * MIB, 2 * MIB);
    FAILS(boot_load(&holey, &image, sizeof(image)), -EFAULT, "kernel: no memory at 0x40200000");
    boot_close(&holey);
}

/* ---- packed ---- */

typedef uint8_t *packer(const void *data, size_t len, size_t *ret_len);

static void loads_packed(packer *pack)
{
    size_t len;
    uint8_t *packed = pack(&image, sizeof(image), &len);

    cr_assert_lt(len, sizeof(image) * 3 / 4);
    WORKS(boot_load(&b, packed, len));
    free(packed);
    is_loaded_at(0x40200000);
}

Test(arm_kernel, gzip_is_unpacked)
{
    loads_packed(pack_gzip);
}

Test(arm_kernel, zstd_is_unpacked)
{
    loads_packed(pack_zstd);
}

/* Two members, and something behind them. */
static void loads_members(packer *pack)
{
    size_t half = sizeof(image) / 2, len[2];
    uint8_t *first = pack(&image, half, &len[0]);
    uint8_t *second = pack(image.b + half, sizeof(image) - half, &len[1]);
    uint8_t *all = malloc(len[0] + len[1] + 100);

    memcpy(all, first, len[0]);
    memcpy(all + len[0], second, len[1]);
    memset(all + len[0] + len[1], 'x', 100);
    for (size_t rest = 0; rest <= 100; rest += 50)
        WORKS(boot_load(&b, all, len[0] + len[1] + rest));
    is_loaded_at(0x40200000);
    free(first);
    free(second);
    free(all);
}

Test(arm_kernel, gzip_members_are_one_kernel_and_what_follows_is_ignored)
{
    loads_members(pack_gzip);
}

Test(arm_kernel, zstd_frames_are_one_kernel_and_what_follows_is_ignored)
{
    loads_members(pack_zstd);
}

static void cut_off_at_each(packer *pack, const char *format)
{
    size_t len;
    uint8_t *packed = pack(&image, sizeof(image), &len);
    char text[128];

    for (size_t n = 1; n <= len; n = n < 100 ? n + 7 : n * 2) {
        snprintf(text, sizeof(text),
                 "kernel is cut off (copy it again): its %s data has no end within %zu bytes",
                 format, len - n);
        FAILS(boot_load(&b, packed, len - n), -EINVAL, text);
    }
    free(packed);
}

Test(arm_kernel, gzip_that_is_cut_off_is_refused)
{
    cut_off_at_each(pack_gzip, "gzip");
}

Test(arm_kernel, zstd_that_is_cut_off_is_refused)
{
    cut_off_at_each(pack_zstd, "zstd");
}

Test(arm_kernel, gzip_that_is_broken_is_refused)
{
    size_t len;
    uint8_t *packed = pack_gzip(&image, sizeof(image), &len);

    packed[len - 8] ^= 1;
    FAILS(boot_load(&b, packed, len), -EINVAL,
          "kernel: its gzip data is broken (copy it again): incorrect data check");
    packed[2] = 7;
    FAILS(boot_load(&b, packed, len), -EINVAL,
          "kernel: its gzip data is broken (copy it again): unknown compression method");
    free(packed);
}

Test(arm_kernel, zstd_that_is_broken_is_refused)
{
    size_t len;
    uint8_t *packed = pack_zstd(&image, sizeof(image), &len);

    packed[4] |= 8; /* a reserved bit of the frame header */
    FAILS(boot_load(&b, packed, len), -EINVAL,
          "kernel: its zstd data is broken (copy it again): Unsupported frame parameter");
    free(packed);
}

Test(arm_kernel, zstd_with_a_window_of_256_mib_is_refused)
{
    /* magic, descriptor without size, window descriptor: exponent 18 above 1 KiB */
    static const uint8_t frame[64] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 18 << 3 };
    static const uint8_t fits[64] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 1, 0, 0 };

    FAILS(boot_load(&b, frame, sizeof(frame)), -ENOTSUP,
          "kernel: its zstd data needs a window of more than 128 MiB: compress it without --long");
    cr_assert_eq(boot_load(&b, fits, sizeof(fits)), -ENOEXEC, "%s", vm_error_text());
}

Test(arm_kernel, what_unpacks_to_more_than_memory_is_refused)
{
    static packer *const packers[] = { pack_gzip, pack_zstd };
    struct boot small;
    size_t len, bytes = 70 * MIB;
    uint8_t *bomb = calloc(1, bytes);

    memcpy(bomb, &image, 4096);
    boot_open(&small, 8 * MIB, 0);
    for (unsigned i = 0; i < VM_ARRAY_SIZE(packers); i++) {
        uint8_t *packed = packers[i](bomb, bytes, &len);

        cr_assert_lt(len, 1 * MIB);
        FAILS(boot_load(&small, packed, len), -ENOSPC,
              "kernel: the kernel needs 0x40200000 to 0x40800001, but memory ends at 0x40800000: "
              "give the guest more memory");
        free(packed);
    }
    boot_close(&small);
    free(bomb);
}

Test(arm_kernel, packed_file_of_another_kind_is_refused)
{
    static const char text[5000] = "hello";
    size_t len;
    uint8_t *packed = pack_gzip(text, sizeof(text), &len);

    FAILS(boot_load(&b, packed, len), -ENOEXEC,
          "kernel is no AArch64 kernel: neither an Image (vmlinuz), plain or compressed with gzip "
          "or zstd, nor EFI zboot");
    free(packed);
}

Test(arm_kernel, other_packings_are_named)
{
    static const struct {
        const char *magic, *name;
    } rows[] = {
        { "\xfd\x37zXZ", "xz" },
        { "\x02\x21\x4c\x18", "lz4" },
        { "\x04\x22\x4d\x18", "lz4" },
        { "BZh9", "bzip2" },
        { "\x5d", "lzma" },
        { "\x89LZO", "lzo" },
    };
    char text[128], bytes[100] = "";

    for (unsigned i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        memset(bytes, 0, sizeof(bytes));
        strcpy(bytes, rows[i].magic);
        snprintf(text, sizeof(text), "kernel is compressed with %s: gzip and zstd are understood",
                 rows[i].name);
        FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOTSUP, text);
    }
}

/* ---- EFI zboot ---- */

static uint8_t *zboot;
static size_t zboot_len;

static void make_zboot(const char *type, packer *pack)
{
    size_t len;
    uint8_t *packed = pack(&image, sizeof(image), &len);

    zboot = zboot_make(type, packed, len, &zboot_len);
    free(packed);
}

Test(arm_kernel, zboot_with_gzip_is_unpacked)
{
    make_zboot("gzip", pack_gzip);

    WORKS(boot_load(&b, zboot, zboot_len));

    is_loaded_at(0x40200000);
    free(zboot);
}

Test(arm_kernel, zboot_with_zstd_is_unpacked)
{
    make_zboot("zstd22", pack_zstd);

    WORKS(boot_load(&b, zboot, zboot_len));
    is_loaded_at(0x40200000);

    memcpy(zboot + 24, "zstd\0", 6);
    WORKS(boot_load(&b, zboot, zboot_len));
    free(zboot);
}

Test(arm_kernel, zboot_with_another_packing_names_it)
{
    make_zboot("xzkern", pack_gzip);

    FAILS(boot_load(&b, zboot, zboot_len), -ENOTSUP,
          "kernel is compressed with xzkern: gzip and zstd are understood");
    memcpy(zboot + 24, "a\nb\0", 4);
    FAILS(boot_load(&b, zboot, zboot_len), -ENOTSUP,
          "kernel is compressed with a?b: gzip and zstd are understood");
    memset(zboot + 24, 'a', 0x38 - 24);
    FAILS(boot_load(&b, zboot, zboot_len), -ENOTSUP,
          "kernel is compressed with aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa: gzip and zstd are "
          "understood");
    free(zboot);
}

Test(arm_kernel, zboot_that_is_cut_off_is_refused)
{
    char text[128];

    make_zboot("gzip", pack_gzip);
    snprintf(
        text, sizeof(text),
        "kernel is cut off (copy it again): the compressed kernel should end at byte %zu of %zu",
        zboot_len - 4, zboot_len - 5);
    FAILS(boot_load(&b, zboot, zboot_len - 5), -EINVAL, text);
    FAILS(boot_load(&b, zboot, 69), -EINVAL,
          "kernel is cut off (copy it again) inside its PE header");

    vm_store_le(zboot + 12, 4, zboot_len - 0x200 - 5);
    snprintf(text, sizeof(text),
             "kernel is cut off (copy it again): its gzip data has no end within %zu bytes",
             zboot_len - 5);
    FAILS(boot_load(&b, zboot, zboot_len), -EINVAL, text);
    vm_store_le(zboot + 12, 4, UINT32_MAX);
    snprintf(text, sizeof(text),
             "kernel is cut off (copy it again): the compressed kernel should end at byte "
             "4294967807 of %zu",
             zboot_len);
    FAILS(boot_load(&b, zboot, zboot_len), -EINVAL, text);
    free(zboot);
}

Test(arm_kernel, zboot_of_another_architecture_is_refused)
{
    make_zboot("gzip", pack_gzip);
    vm_store_le(zboot + 0x44, 2, 0x5064);

    FAILS(boot_load(&b, zboot, zboot_len), -ENOEXEC,
          "kernel is an EFI kernel for another machine (0x5064): an AArch64 kernel is wanted");
    free(zboot);
}

/* ---- other files ---- */

#define NO_KERNEL                                                                                \
    "kernel is no AArch64 kernel: neither an Image (vmlinuz), plain or compressed with gzip or " \
    "zstd, nor EFI zboot"

Test(arm_kernel, file_of_another_kind_is_refused)
{
    static const uint8_t bytes[4096] = "#!/bin/sh\n";

    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC, NO_KERNEL);
    FAILS(boot_load(&b, "MZ\0\0zimg", 8), -ENOEXEC, NO_KERNEL);
    FAILS(boot_load(&b, "", 0), -ENOEXEC, NO_KERNEL);
    FAILS(boot_load(&b, &image, 63), -ENOEXEC, NO_KERNEL);
}

Test(arm_kernel, kernel_for_x86_is_refused)
{
    uint8_t bytes[4096] = "MZ";

    memcpy(bytes + 0x202, "HdrS", 4);

    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC,
          "kernel is a kernel for x86 (bzImage): an AArch64 kernel is wanted");
}

Test(arm_kernel, kernel_for_risc_v_is_refused)
{
    memcpy(image.b + 0x30, "RISCV\0\0\0RSC\x05", 12);

    FAILS(boot_load(&b, &image, sizeof(image)), -ENOEXEC,
          "kernel is a kernel for RISC-V: an AArch64 kernel is wanted");
}

Test(arm_kernel, elf_files_are_told_apart)
{
    uint8_t bytes[64] = "\177ELF\2\1\1";

    bytes[18] = 62;
    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC,
          "kernel is an ELF file for another machine (62): an AArch64 kernel is wanted");
    bytes[18] = 183;
    FAILS(boot_load(&b, bytes, sizeof(bytes)), -ENOEXEC,
          "kernel is an ELF file (vmlinux): give the Image (vmlinuz) made of it");
}

/* ---- files that cannot be read ---- */

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

/* Breaks at the n-th read, until none is broken. */
static unsigned reads_until_it_works(const void *data, size_t size)
{
    for (unsigned n = 0;; n++) {
        struct flaky f = { .file = { .name = "k", .size = size, .read = flaky_read, .data = data },
                           .left = n };
        struct vboot_arm_kernel kernel = { .entry = 5 };
        int rc = vboot_arm_kernel_load(&b.map, &b.view, &f.file, &kernel);

        if (!rc)
            return n;
        cr_assert_eq(rc, -EIO);
        cr_assert_str_eq(vm_error_text(), "k: the disk is broken");
        cr_assert_eq(kernel.entry, 5, "set on success only");
    }
}

Test(arm_kernel, read_error_at_any_place_is_handed_on)
{
    size_t len;
    uint8_t *zstd = pack_zstd(&image, sizeof(image), &len);

    cr_assert_geq(reads_until_it_works(&image, sizeof(image)), 4);
    cr_assert_geq(reads_until_it_works(zstd, len), 3);
    make_zboot("gzip", pack_gzip);
    cr_assert_geq(reads_until_it_works(zboot, zboot_len), 4);
    free(zboot);
    free(zstd);
}

/* ---- initrd ---- */

static uint8_t initrd[3 * MIB + 5];

static int load_initrd(size_t len)
{
    struct vm_file file;

    for (size_t i = 0; i < sizeof(initrd); i++)
        initrd[i] = (uint8_t)(i * 3 + i / 1000);
    vm_file_data("initrd.img", initrd, len, &file);
    return vboot_arm_initrd_load(&b.map, &b.view, &file, &b.kernel);
}

static int load_huge_initrd(uint64_t len)
{
    struct flaky f = { .file = { .name = "initrd.img", .size = len, .read = flaky_read } };

    return vboot_arm_initrd_load(&b.map, &b.view, &f.file, &b.kernel);
}

Test(arm_kernel, initrd_lies_at_the_end_of_memory)
{
    void *host;

    WORKS(boot_load(&b, &image, sizeof(image)));
    WORKS(load_initrd(sizeof(initrd)));

    cr_assert_eq(b.kernel.initrd.base, 0x44000000 - 3 * MIB - 0x10000);
    cr_assert_eq(b.kernel.initrd.size, sizeof(initrd));
    cr_assert_eq(gm_host(&b.view, b.kernel.initrd.base, sizeof(initrd), GM_READ, &host), 0);
    cr_assert(!memcmp(host, initrd, sizeof(initrd)));
}

Test(arm_kernel, initrd_keeps_within_32_gib_from_the_start_of_memory)
{
    struct vm_file file;
    struct boot big;

    boot_open(&big, 40 * GIB, 4 * MIB);
    vm_file_data("initrd.img", initrd, 4096, &file);
    FAILS(vboot_arm_initrd_load(&big.map, &big.view, &file, &big.kernel), -EFAULT,
          "initrd.img: no memory at 0x83fff0000");

    file.size = 32 * GIB;
    big.kernel.end = 0x40300000;
    FAILS(vboot_arm_initrd_load(&big.map, &big.view, &file, &big.kernel), -ENOSPC,
          "initrd.img: 34359738368 bytes of initrd do not fit between the kernel's end 0x40300000 "
          "and 0x840000000, 32 GiB from the start of memory: give a smaller initrd");
    boot_close(&big);
}

Test(arm_kernel, initrd_may_fill_all_that_is_left)
{
    WORKS(boot_load(&b, &image, sizeof(image)));
    b.kernel.end = 0x44000000 - 3 * MIB - 0x10000;

    WORKS(load_initrd(sizeof(initrd)));

    cr_assert_eq(b.kernel.initrd.base, b.kernel.end);
}

Test(arm_kernel, initrd_that_would_touch_the_kernel_is_refused)
{
    WORKS(boot_load(&b, &image, sizeof(image)));
    b.kernel.end = 0x44000000 - 3 * MIB - 0x10000 + 1;

    FAILS(load_initrd(sizeof(initrd)), -ENOSPC,
          "initrd.img: 3145733 bytes of initrd do not fit between the kernel's end 0x43cf0001 and "
          "the end of memory 0x44000000: give the guest more memory or a smaller initrd");
    cr_assert_eq(b.kernel.initrd.size, 0);
}

Test(arm_kernel, initrd_larger_than_memory_is_refused)
{
    WORKS(boot_load(&b, &image, sizeof(image)));

    FAILS(load_huge_initrd(65 * MIB), -ENOSPC,
          "initrd.img: 68157440 bytes of initrd do not fit between the kernel's end 0x40600000 and "
          "the end of memory 0x44000000: give the guest more memory or a smaller initrd");
    FAILS(load_huge_initrd(UINT64_MAX), -ENOSPC,
          "initrd.img: 18446744073709551615 bytes of initrd do not fit between the kernel's end "
          "0x40600000 and the end of memory 0x44000000: give the guest more memory or a smaller "
          "initrd");
}

Test(arm_kernel, initrd_that_cannot_be_read_is_an_error)
{
    WORKS(boot_load(&b, &image, sizeof(image)));

    FAILS(load_huge_initrd(10 * MIB), -EIO, "initrd.img: the disk is broken");
    cr_assert_eq(b.kernel.initrd.size, 0);
}

/* ---- device tree and start ---- */

Test(arm_kernel, device_tree_lies_at_the_start_of_memory_and_x0_tells)
{
    static uint8_t dtb[VBOOT_ARM_DTB_BYTES + 1] = "tree";
    struct vboot_arm_start start;
    char seen[5] = "";

    WORKS(boot_load(&b, &image, sizeof(image)));
    WORKS(vboot_arm_dtb_load(&b.map, &b.view, dtb, sizeof(dtb) - 1, &b.kernel, &start));

    cr_assert_eq(start.pc, 0x40200000);
    cr_assert_eq(start.x0, 0x40000000);
    cr_assert_eq(start.pstate, 0x3c5);
    cr_assert_eq(gm_read(&b.view, 0x40000000, seen, 4), 0);
    cr_assert_str_eq(seen, "tree");
    is_loaded_at(0x40200000);
    FAILS(vboot_arm_dtb_load(&b.map, &b.view, dtb, sizeof(dtb), &b.kernel, &start), -E2BIG,
          "device tree of 2097153 bytes: at most 2097152 are possible");
}

Test(arm_kernel, firmware_starts_in_flash)
{
    struct vboot_arm_start start;

    WORKS(vboot_arm_dtb_load(&b.map, &b.view, "tree", 4, NULL, &start));

    cr_assert_eq(start.pc, 0);
    cr_assert_eq(start.x0, 0);
}

Test(arm_kernel, device_tree_without_memory_is_an_error)
{
    static uint8_t dtb[VBOOT_ARM_DTB_BYTES];
    struct vboot_arm_start start;
    struct boot holey;

    boot_open(&holey, 64 * MIB, 1 * MIB);
    FAILS(vboot_arm_dtb_load(&holey.map, &holey.view, dtb, sizeof(dtb), NULL, &start), -EFAULT,
          "device tree: no memory at 0x40000000");
    boot_close(&holey);
}

Test(arm_kernel, what_was_loaded_is_marked_dirty)
{
    static uint64_t words[(GIB + 64 * MIB) / 4096 / 64];
    struct gm_dirty *dirty;

    cr_assert_eq(gm_dirty_new(GIB + 64 * MIB, false, &dirty), 0);
    gm_view_set_dirty(&b.view, dirty);
    WORKS(boot_load(&b, &image, sizeof(image)));
    WORKS(load_initrd(sizeof(initrd)));

    /* Kernels: in pieces that end at 2 MiB. */
    cr_assert_eq(gm_dirty_take(dirty, 0, words, VM_ARRAY_SIZE(words)),
                 4 * MIB / 4096 + 3 * MIB / 4096 + 1);
    gm_view_set_dirty(&b.view, NULL);
    gm_dirty_free(dirty);
}
