/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end's side of postcopy: advice, tables with the back end's addresses, and the end. */
#include "front_test.h"

static struct {
    unsigned ended;
    int code, fd;
} seen;

static void ended(void *ctx, const struct vm_error *result)
{
    (void)ctx;
    seen.ended++;
    seen.code = result->code;
}

static void begun(void *ctx, const struct vm_error *result, int given_fd)
{
    ended(ctx, result);
    vm_close(&seen.fd);
    seen.fd = given_fd;
}

static void open_able(void)
{
    seen.ended = 0;
    seen.fd = -1;
    ft_open_all(VH_PCI);
    ft.back.protocol |= VHOST_PROTOCOL(PAGEFAULT) | VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS);
    ft.setup.postcopy = true;
}

static void quit(void)
{
    vm_close(&seen.fd);
    ft_close();
}

TestSuite(front_postcopy, .init = open_able, .fini = quit);

static int advise(void)
{
    int rc;

    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_postcopy_advise(ft.front, begun, NULL);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

static int listen_now(void)
{
    int rc;

    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_postcopy_listen(ft.front);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

static int end(void)
{
    int rc;

    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_postcopy_end(ft.front, ended, NULL);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

static void start(void)
{
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

Test(front_postcopy, is_asked_for_instead_of_single_regions)
{
    cr_assert_eq(ft_make(), 0);

    cr_assert(ft.back.set_protocol & VHOST_PROTOCOL(PAGEFAULT));
    cr_assert_not(ft.back.set_protocol & VHOST_PROTOCOL(CONFIGURE_MEM_SLOTS));
}

Test(front_postcopy, is_not_asked_for_where_nobody_wants_it)
{
    ft.setup.postcopy = false;

    cr_assert_eq(ft_make(), 0);

    cr_assert_not(ft.back.set_protocol & VHOST_PROTOCOL(PAGEFAULT));
    cr_assert_eq(advise(), -ENOTSUP);
}

Test(front_postcopy, a_page_of_the_back_ends_is_found)
{
    gpa_t gpa;

    cr_assert_eq(ft_make(), 0);
    cr_assert_eq(advise(), -EINPROGRESS);
    cr_assert_eq(seen.code, 0);
    cr_assert_geq(seen.fd, 0);
    cr_assert_eq(listen_now(), 0);
    cr_assert_not(vhost_front_postcopy_find(ft.front, FBE_BASE, &gpa));

    start();

    cr_assert_eq(ft.back.table_acks, 1);
    cr_assert(vhost_front_postcopy_find(ft.front, FBE_BASE + 0x3456, &gpa));
    cr_assert_eq(gpa, 0x3456);
    cr_assert_not(vhost_front_postcopy_find(ft.front, FBE_BASE - 1, &gpa));
    cr_assert(ft.back.ring[0].kick >= 0);
    seen.code = -1;
    cr_assert_eq(end(), -EINPROGRESS);
    cr_assert_eq(seen.code, 0);
    cr_assert_eq(end(), -EINVAL);
}

Test(front_postcopy, out_of_order_is_refused)
{
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(listen_now(), -EINVAL);
    cr_assert_eq(end(), -EINVAL);
    start();
    cr_assert_eq(advise(), -EBUSY);
}

Test(front_postcopy, a_back_end_without_a_userfaultfd_says_so)
{
    ft.back.no_userfault = true;
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(advise(), -EINPROGRESS);

    cr_assert_eq(seen.code, -EIO);
    cr_assert_eq(seen.fd, -1);
    cr_assert_eq(listen_now(), -EINVAL);
}

Test(front_postcopy, a_back_end_that_answers_with_another_table_is_sent_away)
{
    ft.back.table_lie = 1;
    cr_assert_eq(ft_make(), 0);
    cr_assert_eq(advise(), -EINPROGRESS);
    cr_assert_eq(listen_now(), 0);

    start();

    cr_assert_geq(ft.back.closed, 1);
    cr_assert_eq(ft.back.table_acks, 0);
}

Test(front_postcopy, the_back_ends_death_ends_it)
{
    gpa_t gpa;

    ft.back.silent = VHOST_USER_POSTCOPY_ADVISE;
    cr_assert_eq(ft_make(), 0);
    cr_assert_eq(advise(), -EINPROGRESS);
    cr_assert_eq(seen.ended, 0);

    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);

    cr_assert_eq(seen.code, -ECONNRESET);
    cr_assert_not(vhost_front_postcopy_find(ft.front, FBE_BASE, &gpa));
    cr_assert_eq(listen_now(), -EINVAL);
}
