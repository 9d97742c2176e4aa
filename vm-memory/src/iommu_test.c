/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of iommu.c: who keeps copies of translations is told, and waited for. */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/vm-memory/view.h>

static struct gm_iommu_watch watch;
static struct gm_iommu iommu;

static struct heard {
    struct gm_iommu_listener listener;
    int code;
    unsigned times;
    uint64_t iova, last;
} one, two;

static int hear(struct gm_iommu_listener *l, uint64_t iova, uint64_t last)
{
    struct heard *h = container_of(l, struct heard, listener);

    h->times++;
    h->iova = iova;
    h->last = last;
    return h->code;
}

static unsigned ended;

static void end(void *ctx)
{
    (void)ctx;
    ended++;
}

static void setup(void)
{
    gm_iommu_watch_init(&watch);
    iommu = (struct gm_iommu){ .watch = &watch };
    one.listener.changed = two.listener.changed = hear;
    gm_iommu_listener_add(&watch, &one.listener);
    gm_iommu_listener_add(&watch, &two.listener);
}

static void teardown(void)
{
    gm_iommu_listener_del(&one.listener);
    gm_iommu_listener_del(&two.listener);
    gm_iommu_watch_exit(&watch);
}

TestSuite(iommu, .init = setup, .fini = teardown);

Test(iommu, every_listener_hears_the_range_and_views_look_anew)
{
    cr_assert_eq(gm_iommu_changed(&iommu, 0x1000, 0x2fff, end, NULL), 0);

    cr_assert_eq(one.times + two.times, 2);
    cr_assert_eq(two.iova, 0x1000);
    cr_assert_eq(two.last, 0x2fff);
    cr_assert_eq(iommu.generation, 1);
    cr_assert_eq(ended, 0);
}

Test(iommu, a_change_has_ended_when_the_last_copy_is_gone)
{
    one.code = two.code = -EINPROGRESS;

    cr_assert_eq(gm_iommu_changed(&iommu, 0, 0xfff, end, NULL), -EINPROGRESS);
    gm_iommu_listener_done(&two.listener);
    gm_iommu_listener_done(&two.listener);
    cr_assert_eq(ended, 0);
    gm_iommu_listener_done(&one.listener);

    cr_assert_eq(ended, 1);
}

Test(iommu, a_change_during_a_change_is_refused_and_told_to_nobody)
{
    one.code = -EINPROGRESS;

    cr_assert_eq(gm_iommu_changed(&iommu, 0, 0xfff, end, NULL), -EINPROGRESS);

    cr_assert_eq(gm_iommu_changed(&iommu, 0, 0xfff, end, NULL), -EBUSY);
    cr_assert_eq(one.times, 1);
}

Test(iommu, a_listener_that_leaves_is_not_waited_for)
{
    one.code = -EINPROGRESS;
    cr_assert_eq(gm_iommu_changed(&iommu, 0, 0xfff, end, NULL), -EINPROGRESS);

    gm_iommu_listener_del(&one.listener);
    cr_assert_eq(ended, 1);

    cr_assert_eq(gm_iommu_changed(&iommu, 0, 0xfff, end, NULL), 0);
    cr_assert_eq(one.times, 1);
}
