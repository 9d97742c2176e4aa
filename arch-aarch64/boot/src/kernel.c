/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Loading kernel, initrd and device tree (Documentation/arch/arm64/booting.rst). */
#include "load.h"

#include <errno.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

enum {
    /* Guest memory is asked for within aligned pieces of this size, so that regions of RAM may begin and end at its multiples. */
    PIECE_BYTES = 2 << 20,
    INITRD_ALIGN = 64 << 10, /* the largest granule: no page is shared with anything else */
    PSTATE_EL1H = 5, /* Arm ARM, C5.2.19 SPSR_EL1: M[3:0] */
    PSTATE_DAIF = 0xf << 6, /* D, A, I and F masked */
};
#define INITRD_WINDOW (32ULL << 30)

static int no_room(const struct vboot_arm_map *map, const char *name, uint64_t start, uint64_t end)
{
    return vm_fail(-ENOSPC,
                   "%s: the kernel needs 0x%llx to 0x%llx, but memory ends at 0x%llx: give the "
                   "guest more memory",
                   name, (unsigned long long)start, (unsigned long long)end,
                   (unsigned long long)(map->ram.base + map->ram.size));
}

/* Reads a stream to its end into [*at, limit), from *at on. -ENOSPC without text where it is longer. */
static int pour(struct vboot_arm_stream *s, struct gm_view *memory, uint64_t *at, uint64_t limit)
{
    size_t want, n;
    uint8_t more;
    void *host;
    int rc;

    while (*at < limit) {
        want = PIECE_BYTES - (size_t)(*at % PIECE_BYTES);
        if (want > limit - *at)
            want = (size_t)(limit - *at);
        rc = gm_host(memory, *at, want, GM_WRITE, &host);
        if (rc)
            return vm_fail(rc, "%s: no memory at 0x%llx", s->file->name, (unsigned long long)*at);
        n = 0;
        rc = vboot_arm_stream_read(s, host, want, &n);
        gm_written(memory, *at, want);
        if (rc)
            return rc;
        *at += n;
        if (n < want)
            return 0;
    }
    rc = vboot_arm_stream_read(s, &more, 1, &n); /* the last bytes of packed data are checksums */
    return rc ? rc : n ? -ENOSPC : 0;
}

/* Where the Image goes, as its header wants it. */
static int place(const struct vboot_arm_map *map, const char *name,
                 const struct vboot_arm_image *image, size_t head_bytes, struct vboot_arm_kernel *k)
{
    uint64_t ram_end = map->ram.base + map->ram.size;
    uint64_t need = image->image_size > head_bytes ? image->image_size : head_bytes;

    k->page_bytes = image->page_bytes;
    if (!vm_add(VBOOT_ARM_KERNEL_MIN, image->text_offset, &k->start) ||
        !vm_add(k->start, need, &k->end))
        return vm_fail(-EINVAL, "%s: its header is broken: size 0x%llx at offset 0x%llx wraps",
                       name, (unsigned long long)image->image_size,
                       (unsigned long long)image->text_offset);
    k->entry = k->start;
    return k->end > ram_end ? no_room(map, name, k->start, k->end) : 0;
}

static int load(const struct vboot_arm_map *map, struct gm_view *memory, struct vboot_arm_stream *s,
                struct vboot_arm_kernel *k)
{
    uint64_t ram_end = map->ram.base + map->ram.size, at;
    const char *name = s->file->name;
    uint8_t head[VBOOT_ARM_HEAD_BYTES];
    struct vboot_arm_image image;
    size_t n = 0;
    int rc = vboot_arm_stream_read(s, head, sizeof(head), &n);

    if (!rc)
        rc = vboot_arm_image_parse(name, head, n, &image);
    if (!rc)
        rc = place(map, name, &image, n, k);
    if (rc)
        return rc;
    rc = gm_write(memory, k->start, head, n);
    if (rc)
        return vm_fail(rc, "%s: no memory at 0x%llx", name, (unsigned long long)k->start);
    at = k->start + n;
    rc = n < sizeof(head) ? 0 : pour(s, memory, &at, ram_end);
    if (rc == -ENOSPC)
        return no_room(map, name, k->start, at + 1);
    if (!rc && at - k->start < image.file_bytes)
        return vm_fail(
            -EINVAL,
            "%s is cut off (copy it again): its header promises %llu bytes, %llu are there", name,
            (unsigned long long)image.file_bytes, (unsigned long long)(at - k->start));
    if (at > k->end)
        k->end = at;
    return rc;
}

int vboot_arm_kernel_load(const struct vboot_arm_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_arm_kernel *ret_kernel)
{
    struct vboot_arm_kernel k = { 0 };
    struct vboot_arm_place where;
    struct vboot_arm_stream s;
    int rc = vboot_arm_image_find(file, &where);

    if (rc)
        return rc;
    rc = vboot_arm_stream_open(&s, file, where.offset, where.len, where.packing);
    if (!rc)
        rc = load(map, memory, &s, &k);
    vboot_arm_stream_close(&s);
    if (!rc)
        *ret_kernel = k;
    return rc;
}

/* Who is in the way decides what helps. */
static int initrd_too_large(const struct vboot_arm_map *map, const struct vm_file *file,
                            const struct vboot_arm_kernel *kernel)
{
    unsigned long long size = file->size, start = kernel->end, end = map->ram.base + map->ram.size;

    if (map->ram.size > INITRD_WINDOW)
        return vm_fail(-ENOSPC,
                       "%s: %llu bytes of initrd do not fit between the kernel's end 0x%llx and "
                       "0x%llx, 32 GiB from the start of memory: give a smaller initrd",
                       file->name, size, start,
                       (unsigned long long)(map->ram.base + INITRD_WINDOW));
    return vm_fail(-ENOSPC,
                   "%s: %llu bytes of initrd do not fit between the kernel's end 0x%llx and the "
                   "end of memory 0x%llx: give the guest more memory or a smaller initrd",
                   file->name, size, start, end);
}

int vboot_arm_initrd_load(const struct vboot_arm_map *map, struct gm_view *memory,
                          const struct vm_file *file, struct vboot_arm_kernel *kernel)
{
    uint64_t room = map->ram.size < INITRD_WINDOW ? map->ram.size : INITRD_WINDOW, start, at;
    struct vboot_arm_stream s;
    int rc;

    start = file->size <= room ? (map->ram.base + room - file->size) & ~(INITRD_ALIGN - 1ULL) : 0;
    if (start < kernel->end)
        return initrd_too_large(map, file, kernel);
    rc = vboot_arm_stream_open(&s, file, 0, file->size, VBOOT_ARM_PLAIN);
    at = start;
    if (!rc)
        rc = pour(&s, memory, &at, start + file->size);
    vboot_arm_stream_close(&s);
    if (!rc)
        kernel->initrd = (struct vboot_arm_range){ start, file->size };
    return rc;
}

int vboot_arm_dtb_load(const struct vboot_arm_map *map, struct gm_view *memory, const void *dtb,
                       size_t len, const struct vboot_arm_kernel *kernel,
                       struct vboot_arm_start *ret_start)
{
    int rc;

    if (len > VBOOT_ARM_DTB_BYTES)
        return vm_fail(-E2BIG, "device tree of %zu bytes: at most %llu are possible", len,
                       VBOOT_ARM_DTB_BYTES);
    rc = gm_write(memory, map->ram.base, dtb, len);
    if (rc)
        return vm_fail(rc, "device tree: no memory at 0x%llx", (unsigned long long)map->ram.base);
    *ret_start = (struct vboot_arm_start){ .pc = kernel ? kernel->entry : VBOOT_ARM_FLASH_BASE,
                                           .x0 = kernel ? map->ram.base : 0,
                                           .pstate = PSTATE_DAIF | PSTATE_EL1H };
    return 0;
}
