/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Any bytes as a kernel image, plain or packed, then an initrd and the device tree as a boot would go on. The last byte chooses
 * the size of memory. It must end with an error or with a kernel inside RAM above the device tree; memory below that kernel is
 * not touched (what is marked dirty tells).
 */
#include <stdlib.h>
#include <string.h>

#include <vmm/base/env.h>
#include <vmm/base/error.h>

#include "load.h"

#define MIB (1ULL << 20)

struct machine {
    struct vm_env env;
    struct vboot_arm_map map;
    struct gm_region *ram;
    struct gm_space *space;
    struct gm_view view;
    struct gm_dirty *dirty;
};

static uint64_t no_time(void *ctx, enum vm_clock clock)
{
    (void)ctx;
    (void)clock;
    return 0;
}

static void must(int rc)
{
    if (rc)
        abort();
}

static void machine_open(struct machine *m, uint64_t ram_bytes)
{
    const struct gm_backing anonymous = { .kind = GM_ANONYMOUS };
    struct gm_change change = { .add = &m->ram, .add_count = 1 };

    *m = (struct machine){ .env = { .now_ns = no_time } };
    must(vboot_arm_map_make(1, ram_bytes, 40, 1, &m->map));
    must(gm_region_new(m->map.ram.base, ram_bytes, &anonymous, &m->ram));
    must(gm_space_new(&m->env, &m->space));
    must(gm_space_change(m->space, &change));
    gm_view_init(&m->view, m->space, NULL);
    must(gm_dirty_new(m->map.ram.base + ram_bytes, false, &m->dirty));
    gm_view_set_dirty(&m->view, m->dirty);
}

static void machine_close(struct machine *m)
{
    gm_view_set_dirty(&m->view, NULL);
    gm_view_exit(&m->view);
    gm_dirty_free(m->dirty);
    gm_space_free(m->space);
    gm_region_unref(m->ram);
}

/* The image must not have touched the device tree's place. */
static void check_low_memory(struct machine *m)
{
    uint64_t words[VBOOT_ARM_DTB_BYTES / GM_PAGE_BYTES / 64];

    if (gm_dirty_take(m->dirty, VBOOT_ARM_DTB_BASE / GM_PAGE_BYTES, words, VM_ARRAY_SIZE(words)))
        abort();
}

static void check_kernel(const struct machine *m, const struct vboot_arm_kernel *k)
{
    if (k->start < VBOOT_ARM_KERNEL_MIN || k->start >= k->end ||
        k->end > m->map.ram.base + m->map.ram.size || k->entry != k->start)
        abort();
}

static void check_boot(struct machine *m, struct vboot_arm_kernel *k)
{
    static const uint8_t bytes[70000];
    struct vboot_arm_start start;
    struct vm_file initrd;

    vm_file_data("initrd", bytes, sizeof(bytes), &initrd);
    if (!vboot_arm_initrd_load(&m->map, &m->view, &initrd, k) &&
        (k->initrd.base < k->end ||
         k->initrd.base + k->initrd.size > m->map.ram.base + m->map.ram.size))
        abort();
    must(vboot_arm_dtb_load(&m->map, &m->view, bytes, sizeof(bytes), k, &start));
    if (start.pc != k->entry)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vboot_arm_kernel k;
    struct vm_file file;
    struct machine m;

    if (!size)
        return 0;
    machine_open(&m, data[size - 1] & 1 ? 4 * MIB : 16 * MIB);
    vm_file_data("kernel", data, size, &file);
    vm_error_clear();
    if (vboot_arm_kernel_load(&m.map, &m.view, &file, &k)) {
        check_low_memory(&m);
        if (!vm_error_text()[0])
            abort();
    } else {
        check_low_memory(&m);
        check_kernel(&m, &k);
        check_boot(&m, &k);
    }
    machine_close(&m);
    return 0;
}
