/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library vm-memory alone: two pieces of guest RAM with a hole between them, a view that copies in and out, and a bitmap
 * that knows which pages were written.
 */
#include <errno.h>
#include <stdio.h>

#include <vmm/base/error.h>
#include <vmm/vm-memory/view.h>

enum { RAM_BYTES = 1 << 20, HIGH = 16 << 20, TEXT_AT = RAM_BYTES - 6 };

static int add_ram(struct gm_space *space, gpa_t base)
{
    struct gm_backing backing = { .kind = GM_ANONYMOUS };
    struct gm_region *region;
    int rc = gm_region_new(base, RAM_BYTES, &backing, &region);

    if (rc)
        return rc;
    rc = gm_space_change(space, &(struct gm_change){ .add = &region, .add_count = 1 });
    gm_region_unref(region); /* the space's map has its own reference */
    return rc;
}

static void use(struct gm_view *view, struct gm_dirty *dirty)
{
    static const char text[] = "hello, guest";
    char back[sizeof(text)] = "";
    uint64_t pages[RAM_BYTES / GM_PAGE_BYTES / 64] = { 0 };
    uint64_t count;

    printf("write over the end of RAM: %s\n",
           gm_write(view, TEXT_AT, text, sizeof(text)) == -EFAULT ? "refused whole" : "?");
    gm_view_set_dirty(view, dirty);
    printf("write at %#x: %d\n", HIGH, gm_write(view, HIGH, text, sizeof(text)));
    printf("write at %#x: %d\n", 0x4ffc, gm_write(view, 0x4ffc, text, sizeof(text)));
    printf("read back: %d, \"%s\"\n", gm_read(view, 0x4ffc, back, sizeof(back)), back);
    count = gm_dirty_take(dirty, 0, pages, VM_ARRAY_SIZE(pages));
    printf("dirty pages in the first MiB: %u, bits %#x\n", (unsigned)count, (unsigned)pages[0]);
}

static int run(struct gm_space *space)
{
    struct gm_view view;
    struct gm_dirty *dirty;
    int rc = add_ram(space, 0);

    if (!rc)
        rc = add_ram(space, HIGH);
    if (!rc)
        rc = gm_dirty_new(HIGH + RAM_BYTES, false, &dirty);
    if (rc)
        return rc;
    gm_view_init(&view, space, NULL);
    use(&view, dirty);
    gm_view_exit(&view);
    gm_dirty_free(dirty);
    return 0;
}

/* Takes all regions out again: nothing else holds them. */
static void clear(struct gm_space *space)
{
    struct gm_map *map = gm_space_map(space);
    struct gm_region *regions[2];
    size_t count = gm_map_count(map);

    for (size_t i = 0; i < count; i++)
        regions[i] = gm_region_ref(gm_map_region(map, i));
    gm_map_unref(map);
    gm_space_change(space, &(struct gm_change){ .remove = regions, .remove_count = count });
    for (size_t i = 0; i < count; i++)
        gm_region_unref(regions[i]);
}

int main(void)
{
    struct gm_space *space;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    rc = gm_space_new(&env, &space);
    if (!rc) {
        rc = run(space);
        clear(space);
        gm_space_free(space);
    }
    if (rc)
        fprintf(stderr, "vm-memory: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
