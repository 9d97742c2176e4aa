/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A driver behind an IOMMU: what the back end asks for, what it is told, and what it forgets. */
#include "backend_test.h"

enum { PAGE = GM_PAGE_BYTES, UPDATE = 2, INVALIDATE = 3, RW = 3, IOVA_AT = 1 << 30 };

TestSuite(backend_iotlb, .init = lab_behind, .fini = close_lab);

/* Page n of the driver's addresses is page n of memory, until a test says something else. */
static uint64_t moved_page, moved_to;

static void map(struct ffe *f, const struct vhost_iotlb *miss)
{
    uint64_t to = miss->iova == moved_page ? moved_to : miss->iova;

    cr_expect_eq(miss->type, 1);
    cr_expect_eq(miss->iova % PAGE, 0);
    cr_expect_eq(ffe_iotlb(f, UPDATE, miss->iova, PAGE, FFE_USER + to, miss->permissions), 0);
}

static void behind_an_iommu(uint64_t without)
{
    moved_page = UINT64_MAX;
    hello((USUAL | VHOST_PROTOCOL(BACKEND_REQ)) & ~without);
    front()->missed = map;
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VIRTIO_FEATURE_ACCESS_PLATFORM), 0);
    make_ring(1);
}

static void settle(void)
{
    unsigned seen;

    do {
        seen = front()->misses;
        cr_assert_eq(vh_idle(&h), 0);
        ffe_take_requests(front());
        cr_assert_eq(vh_idle(&h), 0);
    } while (front()->misses != seen);
}

static void start(void)
{
    cr_assert_eq(set_ring(1, 0), 0);
    cr_assert_eq(ffe_ring_on(front(), 1), 0);
    settle();
}

static void offer(uint64_t out, uint64_t in)
{
    struct fake_buf b[2] = { { out, 4, false }, { in, 16, true } };

    cr_assert_eq(fake_driver_write(&h.drv[1], out == moved_page ? moved_to : out, "ping", 4), 0);
    cr_assert_geq(fake_driver_offer(&h.drv[1], b, 2), 0);
    ffe_kick(front(), 1);
    settle();
}

static bool answered(uint64_t at)
{
    char back[4] = "";
    uint16_t id;
    uint32_t len;

    return fake_driver_collect(&h.drv[1], &id, &len) == 1 && len == 4 &&
           !fake_driver_read(&h.drv[1], at, back, 4) && !memcmp(back, "ping", 4);
}

Test(backend_iotlb, rings_and_buffers_are_asked_for_and_then_served)
{
    behind_an_iommu(0);
    start();
    cr_assert_gt(front()->misses, 0);

    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(errors(), 0);
}

Test(backend_iotlb, what_was_told_once_is_not_asked_again)
{
    unsigned before;

    behind_an_iommu(0);
    start();
    offer(0x2000, 0x3000);
    cr_assert(answered(0x3000));
    before = front()->misses;

    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(front()->misses, before);
}

Test(backend_iotlb, the_drivers_addresses_lead_where_the_front_end_says)
{
    behind_an_iommu(0);
    moved_page = IOVA_AT;
    moved_to = 0x5000;
    start();

    offer(IOVA_AT, 0x3000);

    cr_assert(answered(0x3000));
}

Test(backend_iotlb, what_is_invalidated_is_asked_for_again)
{
    unsigned before;

    behind_an_iommu(0);
    start();
    offer(0x2000, 0x3000);
    cr_assert(answered(0x3000));
    before = front()->misses;

    cr_assert_eq(ffe_iotlb(front(), INVALIDATE, 0x3000, PAGE, 0, 0), 0);
    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(front()->misses, before + 1);
    cr_assert_eq(front()->miss.iova, 0x3000);
}

Test(backend_iotlb, a_ring_that_is_invalidated_goes_on_where_it_was)
{
    behind_an_iommu(0);
    start();
    offer(0x2000, 0x3000);
    cr_assert(answered(0x3000));

    cr_assert_eq(ffe_iotlb(front(), INVALIDATE, 0, UINT64_MAX, 0, 0), 0);
    settle();
    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(errors(), 0);
}

Test(backend_iotlb, an_address_that_there_is_not_breaks_the_queue)
{
    behind_an_iommu(0);
    start();
    front()->missed = NULL;
    front()->miss_answer = 1;

    offer(0x2000, 0x3000);

    cr_assert_eq(errors(), 1);
    cr_assert(vh_logged(&h, "buffer is not RAM"));
}

Test(backend_iotlb, a_ring_at_no_address_is_told)
{
    behind_an_iommu(0);
    front()->missed = NULL;
    front()->miss_answer = 1;

    start();

    cr_assert_eq(errors(), 1);
}

Test(backend_iotlb, questions_need_no_acknowledgement)
{
    behind_an_iommu(VHOST_PROTOCOL(REPLY_ACK));

    start();
    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
}

Test(backend_iotlb, more_than_was_asked_may_be_told)
{
    behind_an_iommu(0);
    front()->missed = NULL;
    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0, front()->ram_bytes, FFE_USER, RW), 0);

    start();
    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(front()->misses, 0);
}

Test(backend_iotlb, one_page_within_a_range_is_forgotten_alone)
{
    behind_an_iommu(0);
    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0, front()->ram_bytes, FFE_USER, RW), 0);
    start();

    cr_assert_eq(ffe_iotlb(front(), INVALIDATE, 0x3000, PAGE, 0, 0), 0);
    offer(0x2000, 0x4000);
    cr_assert(answered(0x4000));
    cr_assert_eq(front()->misses, 0);
    offer(0x2000, 0x3000);

    cr_assert(answered(0x3000));
    cr_assert_eq(front()->misses, 1);
}

Test(backend_iotlb, what_may_only_be_read_is_not_written)
{
    behind_an_iommu(0);
    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0, front()->ram_bytes, FFE_USER, RW), 0);
    start();
    front()->missed = NULL;
    front()->miss_answer = 1;
    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0x3000, PAGE, FFE_USER + 0x3000, GM_READ), 0);

    offer(0x2000, 0x3000);

    cr_assert_eq(front()->miss.permissions, GM_WRITE);
    cr_assert_eq(errors(), 1);
}

Test(backend_iotlb, messages_that_cannot_be_are_refused)
{
    behind_an_iommu(0);

    cr_expect_eq(ffe_iotlb(front(), UPDATE, 0, 0, FFE_USER, RW), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), UPDATE, UINT64_MAX, PAGE, FFE_USER, RW), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), UPDATE, 0, PAGE, 0, RW), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), UPDATE, 0, front()->ram_bytes + 1, FFE_USER, RW), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), UPDATE, 0, PAGE, FFE_USER, 0), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), UPDATE, 0, PAGE, FFE_USER, 4), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), 1, 0, PAGE, FFE_USER, RW), FFE_REFUSED);
    cr_expect_eq(ffe_iotlb(front(), INVALIDATE, 0, PAGE, 0, 0), 0, "of what is not known, too");
}

Test(backend_iotlb, without_the_feature_there_are_no_translations)
{
    hello(USUAL);
    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1), 0);

    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0, PAGE, FFE_USER, RW), FFE_REFUSED);
}

Test(backend_iotlb, the_feature_needs_a_socket_for_questions)
{
    hello(USUAL & ~VHOST_PROTOCOL(BACKEND_REQ));

    cr_assert_eq(ffe_set_features(front(), VQ_F_VERSION_1 | VIRTIO_FEATURE_ACCESS_PLATFORM),
                 FFE_REFUSED);
}

Test(backend_iotlb, the_next_front_end_begins_without_translations)
{
    behind_an_iommu(0);
    start();
    offer(0x2000, 0x3000);

    hello(USUAL);
    front()->features = 0;
    start_ring(1);

    cr_assert_eq(ask(1), 4);
}

Test(backend_iotlb, nothing_is_forgotten_while_a_request_may_use_it)
{
    const struct vhost_iotlb iotlb = { .iova = 0x3000, .size = PAGE, .type = INVALIDATE };
    struct vhost_message m = ffe_message(VHOST_USER_IOTLB_MSG, &iotlb, sizeof(iotlb)), reply;

    behind_an_iommu(0);
    cr_assert_eq(ffe_iotlb(front(), UPDATE, 0, front()->ram_bytes, FFE_USER, RW), 0);
    make_ring(0);
    cr_assert_eq(set_ring(0, 0), 0);
    cr_assert_eq(ffe_ring_on(front(), 0), 0);
    lab->hold = lab->quiesce_late = true;
    cr_assert_eq(ask(0), -EAGAIN);

    cr_assert_eq(ffe_send(front(), &m), 0);
    cr_assert_eq(ffe_receive(front(), &reply), -EAGAIN);
    virtio_enter(&lab->dev);
    lab->quiesce_late = false;
    lab_finish(lab);
    virtio_stopped(&lab->dev);
    virtio_leave(&lab->dev);
    cr_assert_eq(vh_pass(&h, 1000000000), 0);

    cr_assert_eq(ffe_receive(front(), &reply), 0);
    cr_assert_eq(reply.payload.u64, 0);
    cr_assert(fake_driver_pending(&h.drv[0]));
}
