/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The front end's log of writes, the back end's state, and what network devices say. */
#include "front_test.h"

#include <fcntl.h>
#include <sys/mman.h>

#define LOGGING (VHOST_FEATURE_LOG_ALL)
#define END     (1ULL << 32)

static struct {
    unsigned ended;
    struct vm_error result;
    int fd;
} seen;

static void ended(void *ctx, const struct vm_error *result)
{
    (void)ctx;
    seen.ended++;
    seen.result = *result;
}

static void begun(void *ctx, const struct vm_error *result, int given_fd)
{
    ended(ctx, result);
    seen.fd = given_fd;
}

static void quit(void)
{
    vm_close(&seen.fd);
    ft_close();
}

static void open_able(uint64_t protocol)
{
    memset(&seen, 0, sizeof(seen));
    seen.fd = -1;
    ft_open_all(VH_PCI);
    ft.back.features |= LOGGING;
    ft.back.protocol |= VHOST_PROTOCOL(LOG_SHMFD) | protocol;
}

static int start_log(gpa_t end)
{
    int rc;

    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_log_start(ft.front, end, ended, NULL);
    vm_lock_release(&ft_dev()->dev.lock);
    return rc;
}

static void stop_log(void)
{
    vm_lock_acquire(&ft_dev()->dev.lock);
    vhost_front_log_stop(ft.front);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

static void lose_and_find(void)
{
    fbe_die(&ft.back);
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
}

/* As a back end marks a page. */
static void mark(uint64_t page)
{
    uint8_t byte = (uint8_t)(1U << page % 8);

    cr_assert_eq(pwrite(ft.back.log_fd, &byte, 1, (off_t)(page / 8)), 1);
}

static uint64_t taken(uint64_t first_page)
{
    uint64_t word = 0;

    vhost_front_log_take(ft.front, first_page, &word, 1);
    return word;
}

/* ---- the log ---- */

Test(front_extra, what_the_back_end_marks_is_taken_once, .fini = quit)
{
    open_able(0);
    ft_run();
    cr_assert_eq(start_log(END), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(seen.ended, 1);
    cr_assert_eq(seen.result.code, 0);

    mark(64 + 3);

    cr_assert_eq(taken(0), 0);
    cr_assert_eq(taken(64), 1U << 3);
    cr_assert_eq(taken(64), 0);
}

Test(front_extra, running_rings_are_told_that_they_are_logged, .fini = quit)
{
    open_able(0);
    ft_run();
    cr_assert_eq(start_log(END), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(ft.back.set_features & LOGGING);
    cr_assert_eq(ft.back.ring[1].addr.flags, VHOST_RING_LOG);
    cr_assert_eq(ft.back.ring[1].addr.log, ft.back.ring[1].addr.used);
    cr_assert_eq(ft.back.log_area.size, END / 4096 / 8);
    cr_assert_eq(ft.back.log_area.offset, 0);
    stop_log();
    cr_assert_not(ft.back.set_features & LOGGING);
    cr_assert_eq(ft.back.ring[1].addr.flags, 0);
    cr_assert_eq(vhost_front_log_fd(ft.front), -1);
}

Test(front_extra, the_log_cannot_be_cut_short_by_who_has_it, .fini = quit)
{
    open_able(0);
    ft_run();
    cr_assert_eq(start_log(END), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ftruncate(ft.back.log_fd, 0), -1);
}

Test(front_extra, a_device_that_is_not_started_is_logged_from_its_start, .fini = quit)
{
    open_able(0);
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(start_log(END), 0);
    cr_assert_eq(vh_start(&ft.h, 0), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert(ft.back.set_features & LOGGING);
    cr_assert_eq(fbe_count(&ft.back, VHOST_USER_SET_LOG_BASE), 1);
    cr_assert_lt(fbe_when(&ft.back, VHOST_USER_SET_LOG_BASE),
                 fbe_when(&ft.back, VHOST_USER_SET_FEATURES));
    cr_assert_eq(ft.back.ring[0].addr.flags, VHOST_RING_LOG);
    cr_assert_eq(seen.ended, 0);
}

Test(front_extra, the_next_back_end_keeps_the_same_log, .fini = quit)
{
    open_able(0);
    ft_run();
    cr_assert_eq(start_log(END), -EINPROGRESS);
    cr_assert_eq(vh_idle(&ft.h), 0);
    mark(1);

    lose_and_find();
    mark(9);

    cr_assert_eq(taken(0), 1U << 1 | 1U << 9);
}

Test(front_extra, one_that_keeps_no_log_is_sent_away_during_a_migration, .fini = quit)
{
    open_able(0);
    ft_run();
    cr_assert_eq(start_log(END), -EINPROGRESS);
    ft.back.features &= ~LOGGING;

    lose_and_find();

    cr_assert(vh_logged(&ft.h, "cannot log what it writes"));
    cr_assert_eq(seen.ended, 1); /* the one that waited */
    stop_log();
    cr_assert_eq(vh_pass(&ft.h, 2 * SECOND), 0);
    cr_assert(ft.back.ring[0].enabled);
}

Test(front_extra, a_back_end_that_cannot_log_says_so_at_once, .fini = quit)
{
    open_able(0);
    ft.back.features &= ~LOGGING;
    ft_run();

    cr_assert_eq(start_log(END), -ENOTSUP);
    cr_assert_eq(vhost_front_log_fd(ft.front), -1);
}

Test(front_extra, there_is_one_log_and_it_has_an_end, .fini = quit)
{
    open_able(0);
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(start_log(0), -EINVAL);
    cr_assert_eq(start_log((1ULL << 52) + 1), -EINVAL);
    cr_assert_eq(start_log(1), 0);
    cr_assert_eq(start_log(1), -EALREADY);
}

Test(front_extra, a_log_that_the_back_end_does_not_answer_for_ends_with_the_connection,
     .fini = quit)
{
    open_able(0);
    ft_run();
    ft.back.silent = VHOST_USER_GET_FEATURES; /* the last of what it is asked */
    cr_assert_eq(start_log(END), -EINPROGRESS);

    cr_assert_eq(vh_pass(&ft.h, 6 * SECOND), 0);

    cr_assert(vh_logged(&ft.h, "did not answer GET_FEATURES"));
    cr_assert_eq(seen.ended, 1);
}

/* ---- state ---- */

static int begin_state(void)
{
    int pipes[2], rc;

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_state_begin(ft.front, VHOST_TRANSFER_SAVE, pipes[1], begun, NULL);
    vm_lock_release(&ft_dev()->dev.lock);
    close(pipes[0]);
    close(pipes[1]);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

static int check_state(void)
{
    int rc;

    vm_lock_acquire(&ft_dev()->dev.lock);
    rc = vhost_front_state_check(ft.front, ended, NULL);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
    return rc;
}

static void open_stateful(void)
{
    open_able(VHOST_PROTOCOL(DEVICE_STATE));
    ft_run();
    cr_assert_eq(vh_quiesce(&ft.h), 0);
}

Test(front_extra, a_quiesced_device_transfers_its_state, .fini = quit)
{
    open_stateful();

    cr_assert_eq(begin_state(), -EINPROGRESS);
    cr_assert_eq(seen.ended, 1);
    cr_assert_eq(seen.result.code, 0);
    cr_assert_eq(seen.fd, -1);
    cr_assert_eq(ft.back.transfer.direction, VHOST_TRANSFER_SAVE);
    cr_assert_eq(check_state(), -EINPROGRESS);

    cr_assert_eq(seen.ended, 2);
    cr_assert_eq(seen.result.code, 0);
}

Test(front_extra, a_descriptor_of_the_back_ends_own_is_handed_on, .fini = quit)
{
    open_stateful();
    ft.back.state_answer = 0;
    ft.back.state_fd = true;

    cr_assert_eq(begin_state(), -EINPROGRESS);

    cr_assert_geq(seen.fd, 0);
}

Test(front_extra, a_descriptor_that_is_announced_and_missing_ends_the_connection, .fini = quit)
{
    open_stateful();
    ft.back.state_answer = 0;

    cr_assert_eq(begin_state(), -EINPROGRESS);

    cr_assert_eq(seen.result.code, -ECONNRESET);
    cr_assert(vh_logged(&ft.h, "SET_DEVICE_STATE_FD: answered 0 with 0 fds"));
}

Test(front_extra, a_state_that_is_refused_or_not_whole_is_told, .fini = quit)
{
    open_stateful();
    ft.back.state_answer = 0x101;
    ft.back.check_answer = 7;

    cr_assert_eq(begin_state(), -EINPROGRESS);
    cr_assert_eq(seen.result.code, -EIO);
    cr_assert_eq(check_state(), -EINPROGRESS);

    cr_assert_eq(seen.result.code, -EIO);
    cr_assert_eq(ft.back.closed, 0);
}

Test(front_extra, rings_that_are_served_have_no_state_to_transfer, .fini = quit)
{
    open_able(VHOST_PROTOCOL(DEVICE_STATE));
    ft_run();

    cr_assert_eq(begin_state(), -EBUSY);
    cr_assert_eq(seen.ended, 0);
}

Test(front_extra, a_back_end_without_state_says_so_at_once, .fini = quit)
{
    open_able(0);
    cr_assert_eq(ft_make(), 0);

    cr_assert_eq(begin_state(), -ENOTSUP);
}

Test(front_extra, who_waits_for_state_hears_of_the_end_of_the_connection, .fini = quit)
{
    open_stateful();
    ft.back.silent = VHOST_USER_SET_DEVICE_STATE_FD;
    cr_assert_eq(begin_state(), -EINPROGRESS);
    cr_assert_eq(check_state(), -EBUSY);
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(seen.ended, 1);
    cr_assert_eq(seen.result.code, -ECONNRESET);
}

/* ---- network devices ---- */

Test(front_extra, the_guests_address_is_announced, .fini = quit)
{
    const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

    open_able(VHOST_PROTOCOL(RARP));
    ft_run();
    vm_lock_acquire(&ft_dev()->dev.lock);
    cr_assert_eq(ft_dev()->ops->announce(ft_dev(), mac), 0);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);

    cr_assert_eq(ft.back.rarp, 0x030201005452ULL);
}

Test(front_extra, a_back_end_without_rarp_is_not_asked, .fini = quit)
{
    const uint8_t mac[6] = { 0 };

    open_able(0);
    ft_run();

    cr_assert_eq(ft_dev()->ops->announce(ft_dev(), mac), -ENOTSUP);
    cr_assert(strstr(vm_error_text(), "the back end has no SEND_RARP to announce the guest by"));
    fbe_die(&ft.back);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(ft_dev()->ops->announce(ft_dev(), mac), -ENOTCONN);
}

Test(front_extra, each_back_end_is_told_the_largest_packet, .fini = quit)
{
    open_able(VHOST_PROTOCOL(MTU));
    ft_run();
    vm_lock_acquire(&ft_dev()->dev.lock);
    cr_assert_eq(vhost_front_mtu(ft.front, 9000), 0);
    vm_lock_release(&ft_dev()->dev.lock);
    cr_assert_eq(vh_idle(&ft.h), 0);
    cr_assert_eq(ft.back.mtu, 9000);

    lose_and_find();

    cr_assert_eq(ft.back.mtu, 9000);
}

/* ---- what is not offered ---- */

static const uint32_t foreign[] = {
    VHOST_USER_BACKEND_IOTLB_MSG,         VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG,
    VHOST_USER_BACKEND_VRING_CALL,        VHOST_USER_BACKEND_VRING_ERR,
    VHOST_USER_BACKEND_SHARED_OBJECT_ADD, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE,
    VHOST_USER_BACKEND_SHMEM_MAP,         VHOST_USER_BACKEND_SHMEM_UNMAP,
};

static void ask(uint32_t request, uint32_t flags)
{
    const struct vhost_rule *rule = vhost_message_rule(VHOST_BACK, request);
    struct vhost_message m = { .request = request,
                               .flags = VHOST_MESSAGE_VERSION | flags,
                               .size = rule->bytes_max };

    m.fds = rule->fds_min;
    m.fd[0] = ft.h.guest.space ? 0 : -1;
    cr_assert_eq(vhost_channel_send(ft.back.asks, &m), 0);
    cr_assert_eq(vh_idle(&ft.h), 0);
}

Test(front_extra, what_is_not_offered_is_refused_where_an_answer_is_wanted, .fini = quit)
{
    open_able(0);
    ft_run();
    for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
        ft.back.asks_answer = 0;
        ask(foreign[i], VHOST_MESSAGE_NEED_REPLY);
        cr_assert_eq(ft.back.asks_answer, 1, "request %u", foreign[i]);
    }

    cr_assert_eq(ft.back.closed, 0);
    cr_assert_eq(ft.back.asks_answers, sizeof(foreign) / sizeof(*foreign));
}

Test(front_extra, and_ends_the_connection_where_none_is, .fini = quit)
{
    open_able(0);
    ft_run();
    for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
        ask(foreign[i], 0);
        cr_assert_eq(ft.back.closed, i + 1, "request %u", foreign[i]);
        cr_assert_eq(vh_pass(&ft.h, 4 * SECOND), 0);
        cr_assert(ft.back.asks);
    }
}
