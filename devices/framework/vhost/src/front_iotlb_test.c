/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A back end's questions about a driver's addresses. */
#include "front_test.h"

enum { MISS = 1, UPDATE = 2, INVALIDATE = 3, FAIL = 4, PAGE = 4096, IOVA_AT = 1 << 30 };

/* One page at IOVA_AT, which leads to 0x5000 and may be read only; nothing else. */
static int one_page(void *ctx, uint64_t iova, unsigned access, gpa_t *ret_gpa, uint64_t *ret_len)
{
    (void)ctx;
    if (iova < IOVA_AT || iova >= IOVA_AT + PAGE || access & GM_WRITE)
        return -EFAULT;
    *ret_gpa = 0x5000 + (iova - IOVA_AT);
    *ret_len = PAGE - (iova - IOVA_AT);
    return 0;
}

static struct gm_iommu_watch watch;
static struct gm_iommu iommu;
static unsigned ended;

static void end(void *ctx)
{
    (void)ctx;
    ended++;
}

static void quit(void)
{
    if (ft.front)
        gm_view_set_iommu(&ft_dev()->view, NULL);
    ft_close();
}

static void open_platform(void)
{
    ended = 0;
    ft_open_all(VH_PCI);
    ft.back.features |= VIRTIO_FEATURE_ACCESS_PLATFORM;
    ft.setup.platform = true;
}

static void run_platform(void)
{
    open_platform();
    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&ft.h, VIRTIO_FEATURE_ACCESS_PLATFORM), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert(ft_dev()->features & VIRTIO_FEATURE_ACCESS_PLATFORM);
}

static void run_translated(void)
{
    open_platform();
    gm_iommu_watch_init(&watch);
    iommu = (struct gm_iommu){ .translate = one_page, .watch = &watch };
    cr_assert_eq(ft_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&ft.h, VIRTIO_FEATURE_ACCESS_PLATFORM), 0);
    vm_lock_acquire(&ft_dev()->dev.lock);
    gm_view_set_iommu(&ft_dev()->view, &iommu);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

static int change(void)
{
    int rc = gm_iommu_changed(&iommu, IOVA_AT, IOVA_AT + PAGE - 1, end, NULL);

    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

/* What the front end acknowledges; what it tells is in ft.back.iotlb. */
static uint64_t ask(uint8_t type, uint64_t iova, uint8_t access)
{
    struct vhost_message m = { .request = VHOST_USER_BACKEND_IOTLB_MSG,
                               .flags = 1 | VHOST_MESSAGE_NEED_REPLY,
                               .size = sizeof(struct vhost_iotlb) };
    unsigned before = ft.back.asks_answers;

    memset(&ft.back.iotlb, 0xee, sizeof(ft.back.iotlb));
    m.payload.iotlb = (struct vhost_iotlb){ .iova = iova, .permissions = access, .type = type };
    cr_assert_eq(vhost_channel_send(ft.back.asks, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(ft.back.asks_answers, before + 1);
    return ft.back.asks_answer;
}

Test(front_iotlb, the_feature_is_offered_where_it_is_wanted, .fini = quit)
{
    open_platform();
    ft.setup.platform = false;
    cr_assert_eq(ft_make(), 0);
    cr_assert_not(vh_offered(&ft.h) & VIRTIO_FEATURE_ACCESS_PLATFORM);
    ft_close();

    open_platform();
    cr_assert_eq(ft_make(), 0);

    cr_assert(vh_offered(&ft.h) & VIRTIO_FEATURE_ACCESS_PLATFORM);
}

Test(front_iotlb, a_back_end_that_cannot_ask_is_none, .fini = quit)
{
    open_platform();
    ft.back.protocol &= ~VHOST_PROTOCOL(BACKEND_REQ);

    cr_assert_eq(ft_make(), -ENOTSUP);
}

Test(front_iotlb, without_an_iommu_a_driver_is_told_of_whole_regions, .fini = quit)
{
    run_platform();

    cr_assert_eq(ask(MISS, 0x1234, GM_WRITE), 0);

    cr_assert_eq(ft.back.iotlb.type, UPDATE);
    cr_assert_eq(ft.back.iotlb.iova, ft.back.table.region[0].guest_addr);
    cr_assert_eq(ft.back.iotlb.user_addr, ft.back.table.region[0].user_addr);
    cr_assert_eq(ft.back.iotlb.size, ft.back.table.region[0].size);
    cr_assert_eq(ft.back.iotlb.permissions, GM_READ | GM_WRITE);
}

Test(front_iotlb, an_address_of_no_memory_is_refused, .fini = quit)
{
    run_platform();

    cr_assert_eq(ask(MISS, 1ULL << 50, GM_READ), 1);

    cr_assert_eq(ft.back.iotlb.type, 0xee, "nothing was told");
    cr_assert_eq(ft.back.closed, 0);
}

Test(front_iotlb, a_translation_is_told_with_what_it_allows, .fini = quit)
{
    run_translated();

    cr_assert_eq(ask(MISS, IOVA_AT + 0x10, GM_READ), 0);
    cr_assert_eq(ft.back.iotlb.iova, IOVA_AT);
    cr_assert_eq(ft.back.iotlb.user_addr, 0x5000);
    cr_assert_eq(ft.back.iotlb.size, PAGE);
    cr_assert_eq(ft.back.iotlb.permissions, GM_READ);

    cr_assert_eq(ask(MISS, IOVA_AT, GM_WRITE), 1);
    cr_assert_eq(ask(MISS, 0x5000, GM_READ), 1);
}

Test(front_iotlb, a_start_forgets_what_was_told_before, .fini = quit)
{
    run_platform();

    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_IOTLB_MSG), 1);
    cr_assert_eq(ft.back.iotlb.type, INVALIDATE);
    cr_assert_eq(ft.back.iotlb.size, UINT64_MAX);
}

Test(front_iotlb, a_change_ends_when_the_back_end_has_forgotten, .fini = quit)
{
    run_translated();
    cr_assert_eq(change(), 0, "it was told of nothing");
    cr_assert_eq(ask(MISS, IOVA_AT, GM_READ), 0);

    cr_assert_eq(change(), -EINPROGRESS);

    cr_assert_eq(ended, 1);
    cr_assert_eq(ft.back.iotlb.type, INVALIDATE);
    cr_assert_eq(ft.back.iotlb.iova, IOVA_AT);
    cr_assert_eq(ft.back.iotlb.size, PAGE);
}

Test(front_iotlb, a_change_is_not_over_before_that_or_the_back_ends_end, .fini = quit)
{
    run_translated();
    cr_assert_eq(ask(MISS, IOVA_AT, GM_READ), 0);
    ft.back.silent = VHOST_USER_IOTLB_MSG;

    cr_assert_eq(change(), -EINPROGRESS);
    cr_assert_eq(ended, 0);
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ended, 1);
}

Test(front_iotlb, a_refused_access_is_logged_and_more_is_not_known, .fini = quit)
{
    run_platform();

    cr_assert_eq(ask(FAIL, 0x7000, GM_WRITE), 0);
    cr_assert(vh_logged(&ft.h, "was refused access (2) to 0x7000"));

    cr_assert_eq(ask(9, 0x7000, GM_WRITE), 1);
}

Test(front_iotlb, a_successor_must_be_able_to_ask, .fini = quit)
{
    run_platform();
    ft.back.features &= ~VIRTIO_FEATURE_ACCESS_PLATFORM;

    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(ft.back.ring[0].size, 0);
}
