/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Eventfds whose other holder does what it can. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <vmm/base/bell.h>
#include <vmm/base/fd.h>

static struct vm_bell *bell;

static void open_bell(void)
{
    cr_assert_eq(vm_bell_new(&bell), 0);
}

static void close_bell(void)
{
    vm_bell_free(bell);
}

TestSuite(bell, .init = open_bell, .fini = close_bell, .timeout = TEST_TIMEOUT);

Test(bell, each_ring_adds_one)
{
    int fd = vm_eventfd();

    for (int i = 0; i < 1000; i++)
        vm_bell_ring(bell, fd);

    cr_assert_eq(vm_eventfd_take(fd), 1000);
    close(fd);
}

Test(bell, a_ring_wakes_who_watches)
{
    int fd = vm_eventfd();
    struct pollfd p = { .fd = fd, .events = POLLIN };

    cr_assert_eq(poll(&p, 1, 0), 0);
    vm_bell_ring(bell, fd);

    cr_assert_eq(poll(&p, 1, 0), 1);
    close(fd);
}

/* What a look before a write cannot see: the counter was filled and made to wait after it. */
Test(bell, a_full_counter_that_waits_holds_nobody_up)
{
    uint64_t most = UINT64_MAX - 1;
    int fd = eventfd(0, 0);

    cr_assert_eq(write(fd, &most, sizeof(most)), (ssize_t)sizeof(most));
    for (int i = 0; i < 3; i++)
        vm_bell_ring(bell, fd);

    cr_assert_not(fcntl(fd, F_GETFL) & O_NONBLOCK);
    cr_assert_geq(vm_eventfd_take(fd), most);
    close(fd);
}

Test(bell, what_is_no_eventfd_is_left_alone_and_the_next_ring_works)
{
    int pipes[2], fd = vm_eventfd();
    struct pollfd p;

    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    p = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
    if (vm_bell_never_waits(bell))
        vm_bell_ring(bell, pipes[1]);
    vm_bell_ring(bell, -1);
    vm_bell_ring(bell, fd);

    cr_assert_eq(poll(&p, 1, 0), 0);
    cr_assert_eq(vm_eventfd_take(fd), 1);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}
