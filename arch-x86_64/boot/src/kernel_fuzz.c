/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * A kernel image from a stranger: whatever it is, loading it reads inside the file, writes inside memory and above 1 MiB,
 * and says what the boot data then need. Input: the image; its last byte chooses the machine.
 */
#include <stdlib.h>
#include <string.h>

#include <vmm/base/check.h>
#include <vmm/base/error.h>

#include "load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MIB (1ULL << 20)

struct machine {
    struct vm_env env;
    struct vboot_x86_map map;
    struct gm_region *low;
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
    struct gm_change change = { .add = &m->low, .add_count = 1 };

    *m = (struct machine){ .env = { .now_ns = no_time } };
    must(vboot_x86_map_make(1, ram_bytes, 40, 1, &m->map));
    must(gm_region_new(0, m->map.ram_low.size, &anonymous, &m->low));
    must(gm_space_new(&m->env, &m->space));
    must(gm_space_change(m->space, &change));
    gm_view_init(&m->view, m->space, NULL);
    must(gm_dirty_new(m->map.ram_low.size, false, &m->dirty));
    gm_view_set_dirty(&m->view, m->dirty);
}

static void machine_close(struct machine *m)
{
    gm_view_set_dirty(&m->view, NULL);
    gm_view_exit(&m->view);
    gm_dirty_free(m->dirty);
    gm_space_free(m->space);
    gm_region_unref(m->low);
}

/* The image alone must not have touched what lies below 1 MiB. */
static void check_low_memory(struct machine *m)
{
    uint64_t words[4]; /* 256 pages */

    if (gm_dirty_take(m->dirty, 0, words, VM_ARRAY_SIZE(words)))
        abort();
}

static void check_kernel(const struct machine *m, const struct vboot_x86_kernel *k)
{
    if (k->start < MIB || k->start >= k->end || k->end > m->map.ram_low.size ||
        k->entry < k->start || k->header_bytes > sizeof(k->header))
        abort();
    if (k->protocol != VBOOT_X86_ENTRY_PVH && k->end > VBOOT_X86_MAPPED)
        abort();
}

/* An initrd does not touch the kernel; command line and boot data are written, or there is a reason why not. */
static void check_boot(struct machine *m, struct vboot_x86_kernel *k)
{
    static const uint8_t bytes[5000];
    struct vboot_x86_start start;
    struct vm_file initrd;

    vm_file_data("initrd", bytes, sizeof(bytes), &initrd);
    if (!vboot_x86_initrd_load(&m->map, &m->view, &initrd, k) &&
        (k->initrd.base < k->end || k->initrd.base + k->initrd.size > m->map.ram_low.size ||
         k->initrd.base + k->initrd.size - 1 > k->initrd_max))
        abort();
    if (vboot_x86_boot_params(&m->map, &m->view, k, "quiet", 0xe0000, &start)) {
        if (k->cmdline_max >= strlen("quiet"))
            abort();
    } else if (start.rip != k->entry) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vboot_x86_kernel k;
    struct vm_file file;
    struct machine m;

    if (!size)
        return 0;
    machine_open(&m, data[size - 1] & 1 ? 2 * MIB : 32 * MIB);
    vm_file_data("kernel", data, size, &file);
    vm_error_clear();
    if (vboot_x86_kernel_load(&m.map, &m.view, &file, &k)) {
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
