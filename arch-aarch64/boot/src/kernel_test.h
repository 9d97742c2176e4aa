/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Shared by the loader's tests: guest memory, and kernel images that are right until a test breaks them. */
#ifndef VBOOT_ARM_KERNEL_TEST_H
#define VBOOT_ARM_KERNEL_TEST_H

#include "arm_test.h"

#include <vmm/base/env.h>
#include <vmm/base/le.h>

#include "load.h"

enum { IMAGE_BYTES = 3 << 20 };

struct boot {
    struct vm_env env;
    struct vboot_arm_map map;
    struct gm_region *ram;
    struct gm_space *space;
    struct gm_view view;
    struct vm_file file;
    struct vboot_arm_kernel kernel;
};

static inline uint64_t boot_now(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

/* A machine with so much memory, of which host_bytes can really be touched (0: all). */
static inline void boot_open(struct boot *b, uint64_t ram_bytes, uint64_t host_bytes)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    struct gm_change change = { .add = &b->ram, .add_count = 1 };

    *b = (struct boot){ .env = { .now_ns = boot_now } };
    WORKS(vboot_arm_map_make(1, ram_bytes, 40, 1, &b->map));
    WORKS(gm_region_new(VBOOT_ARM_RAM_BASE, host_bytes ? host_bytes : ram_bytes, &anonymous,
                        &b->ram));
    WORKS(gm_space_new(&b->env, &b->space));
    WORKS(gm_space_change(b->space, &change));
    gm_view_init(&b->view, b->space, NULL);
}

static inline void boot_close(struct boot *b)
{
    gm_view_exit(&b->view);
    gm_space_free(b->space);
    gm_region_unref(b->ram);
}

static inline int boot_load(struct boot *b, const void *data, size_t len)
{
    vm_file_data("kernel", data, len, &b->file);
    return vboot_arm_kernel_load(&b->map, &b->view, &b->file, &b->kernel);
}

/* An Image as Linux 6 makes them: EFI stub, position independent; a little more memory than file. */
struct image {
    uint8_t b[IMAGE_BYTES];
};

static inline void put(struct image *image, size_t at, unsigned len, uint64_t value)
{
    vm_store_le(image->b + at, len, value);
}

static inline void image_init(struct image *image)
{
    uint32_t x = 1;

    for (size_t i = 0; i < IMAGE_BYTES; i++) {
        x = (uint32_t)(x * 1103515245ULL + 12345);
        image->b[i] = (uint8_t)(x >> 28); /* so that packers have something to do */
    }
    memset(image->b, 0, 0x200);
    memcpy(image->b, "MZ", 2);
    put(image, 16, 8, IMAGE_BYTES + MIB); /* image_size */
    put(image, 24, 8, 0xa); /* flags: little endian, 4 KiB, anywhere */
    memcpy(image->b + 56, "ARM\x64", 4);
    put(image, 60, 4, 0x40);
    memcpy(image->b + 0x40, "PE\0", 4);
    put(image, 0x44, 2, 0xaa64);
    put(image, 0x46, 2, 2); /* sections */
    put(image, 0x54, 2, 0xa0); /* of optional header */
    put(image, 0xf8 + 16, 4, 1 * MIB);
    put(image, 0xf8 + 20, 4, 0x1000);
    put(image, 0xf8 + 40 + 16, 4, IMAGE_BYTES - MIB - 0x1000);
    put(image, 0xf8 + 40 + 20, 4, MIB + 0x1000);
}

/* Packs len bytes; the caller frees. */
static inline uint8_t *pack_gzip(const void *data, size_t len, size_t *ret_len)
{
    size_t room = len + len / 100 + 1000;
    uint8_t *out = malloc(room);
    z_stream z = { .next_in = (Bytef *)(uintptr_t)data,
                   .avail_in = (uInt)len,
                   .next_out = out,
                   .avail_out = (uInt)room };

    cr_assert_eq(deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *ret_len = room - z.avail_out;
    deflateEnd(&z);
    return out;
}

static inline uint8_t *pack_zstd(const void *data, size_t len, size_t *ret_len)
{
    size_t room = ZSTD_compressBound(len);
    uint8_t *out = malloc(room);

    *ret_len = ZSTD_compress(out, room, data, len, 1);
    cr_assert_not(ZSTD_isError(*ret_len));
    return out;
}

/* An EFI zboot program around packed data, followed by the size that Linux's build appends. */
static inline uint8_t *zboot_make(const char *type, const uint8_t *packed, size_t packed_len,
                                  size_t *ret_len)
{
    enum { HEAD = 0x200 };
    uint8_t *out = calloc(1, HEAD + packed_len + 4);

    memcpy(out, "MZ\0\0zimg", 8);
    vm_store_le(out + 8, 4, HEAD);
    vm_store_le(out + 12, 4, packed_len);
    strcpy((char *)out + 24, type);
    vm_store_le(out + 0x38, 4, 0x818223cd);
    vm_store_le(out + 0x3c, 4, 0x40);
    memcpy(out + 0x40, "PE\0", 4);
    vm_store_le(out + 0x44, 2, 0xaa64);
    memcpy(out + HEAD, packed, packed_len);
    vm_store_le(out + HEAD + packed_len, 4, IMAGE_BYTES);
    *ret_len = HEAD + packed_len + 4;
    return out;
}

#endif
