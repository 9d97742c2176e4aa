/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library virtio-queue alone: serves a split ring (VIRTIO 1.2, 2.7) that lies in a buffer of this program. The program
 * plays the driver, too: it puts one chain into the ring by hand, a text to read and room for the answer, which is the
 * text in capitals.
 */
#include <ctype.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/virtio-queue/queue.h>

enum {
    RAM_BYTES = 1 << 16,
    SIZE = 8,
    DESC_AT = 0x1000,
    AVAIL_AT = 0x2000,
    USED_AT = 0x3000,
    TEXT_AT = 0x4000,
    ANSWER_AT = 0x5000,
    ANSWER_BYTES = 64,
    DESC_F_NEXT = 1,
    DESC_F_WRITE = 2,
};

static alignas(GM_PAGE_BYTES) uint8_t ram[RAM_BYTES];

static void put_desc(unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *d = ram + DESC_AT + i * 16;

    vm_store_le(d, 8, addr);
    vm_store_le(d + 8, 4, len);
    vm_store_le(d + 12, 2, flags);
    vm_store_le(d + 14, 2, next);
}

/* What a driver does: buffers, descriptors, ring entry, index. */
static void drive(const char *text)
{
    memcpy(ram + TEXT_AT, text, strlen(text));
    put_desc(0, TEXT_AT, (uint32_t)strlen(text), DESC_F_NEXT, 1);
    put_desc(1, ANSWER_AT, ANSWER_BYTES, DESC_F_WRITE, 0);
    vm_store_le(ram + AVAIL_AT + 4, 2, 0); /* ring[0]: the chain begins at descriptor 0 */
    vm_store_le(ram + AVAIL_AT + 2, 2, 1); /* idx */
}

static int serve(struct vq *q)
{
    struct vq_chain chain;
    char text[ANSWER_BYTES];
    int rc;

    while ((rc = vq_next(q, &chain)) > 0) {
        size_t len = chain.readable_bytes < sizeof(text) ? chain.readable_bytes : sizeof(text);

        if ((rc = vq_pull(q, &chain, text, len)))
            break;
        for (size_t i = 0; i < len; i++)
            text[i] = (char)toupper((unsigned char)text[i]);
        if ((rc = vq_push(q, &chain, text, len)) || (rc = vq_done(q, &chain)))
            break;
    }
    return rc;
}

static int run(struct gm_space *space)
{
    struct gm_view view;
    struct vq q;
    int rc;

    gm_view_init(&view, space, NULL);
    rc = vq_init(&q, &view, SIZE);
    if (!rc) {
        q.desc = DESC_AT;
        q.driver = AVAIL_AT;
        q.device = USED_AT;
        rc = vq_start(&q, VQ_F_VERSION_1);
        drive("a request of the driver");
        if (!rc)
            rc = serve(&q);
        printf("used: %u chain, %u bytes: %s\n", (unsigned)vm_load_le(ram + USED_AT + 2, 2),
               (unsigned)vm_load_le(ram + USED_AT + 8, 4), (char *)ram + ANSWER_AT);
        printf("the driver wants an interrupt: %s\n", vq_wants_notify(&q) ? "yes" : "no");
        vq_exit(&q);
    }
    gm_view_exit(&view);
    return rc;
}

int main(void)
{
    struct gm_backing backing = { .kind = GM_BORROWED, .host = ram };
    struct gm_region *region = NULL;
    struct gm_space *space;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    rc = gm_space_new(&env, &space);
    if (rc)
        return 1;
    rc = gm_region_new(0, RAM_BYTES, &backing, &region);
    if (!rc)
        rc = gm_space_change(space, &(struct gm_change){ .add = &region, .add_count = 1 });
    if (!rc) {
        rc = run(space);
        gm_space_change(space, &(struct gm_change){ .remove = &region, .remove_count = 1 });
    }
    gm_region_unref(region);
    gm_space_free(space);
    if (rc)
        fprintf(stderr, "virtio-queue: %d: %s\n", rc, vm_error_text());
    return rc ? 1 : 0;
}
