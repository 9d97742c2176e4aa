/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Memory that is still on its way: a front end that brings it by the back end's userfaultfd. */
#include "backend_test.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFD_USER_MODE_ONLY /* Linux 5.11 */
#define UFFD_USER_MODE_ONLY 1
#endif

static struct vhost_backend_ops ops;
static int refusal; /* of a userfaultfd */

static int userfault(void *ctx)
{
    int fd;

    (void)ctx;
    if (refusal)
        return vm_fail(refusal, "as the test wants");
    fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    return fd < 0 ? vm_fail_errno("userfaultfd") : fd;
}

static void open_able(void)
{
    int fd;

    refusal = 0;
    lab_behind();
    ops = *backend()->ops;
    ops.userfault = userfault;
    backend()->ops = &ops;
    fd = userfault(NULL);
    if (fd < 0)
        cr_skip_test("this host gives no userfaultfd");
    vm_close(&fd);
    connect_front();
    cr_assert_eq(ffe_hello(front(), USUAL | VHOST_PROTOCOL(PAGEFAULT)), 0);
}

TestSuite(backend_postcopy, .init = open_able, .fini = close_lab);

/* POSTCOPY_ADVISE: the descriptor; -1: none. */
static int advise(void)
{
    struct vhost_message m = ffe_message(VHOST_USER_POSTCOPY_ADVISE, NULL, 0), reply;

    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);
    return vhost_message_take_fd(&reply, 0);
}

static int listen_now(void)
{
    struct vhost_message m = ffe_message(VHOST_USER_POSTCOPY_LISTEN, NULL, 0);

    return ffe_do(front(), &m);
}

static uint64_t end(void)
{
    uint64_t v = UINT64_MAX;

    cr_assert_eq(ffe_get_u64(front(), VHOST_USER_POSTCOPY_END, &v), 0);
    return v;
}

/* A page of the table's file that nobody has written: the last. */
static uint64_t tell_table(void)
{
    struct vhost_table table = { .count = 1, .region = { ffe_region(front()) } };
    struct vhost_message m =
        ffe_message(VHOST_USER_SET_MEM_TABLE, &table, 8 + sizeof(struct vhost_region));
    struct vhost_message reply, ack = ffe_message(VHOST_USER_SET_MEM_TABLE, &(uint64_t){ 0 }, 8);

    m.fd[m.fds++] = front()->ram_fd;
    cr_assert_eq(ffe_ask(front(), &m, &reply), 0);
    cr_assert_eq(reply.size, m.size);
    cr_assert_eq(reply.payload.table.count, 1);
    cr_assert_eq(reply.payload.table.region[0].guest_addr, table.region[0].guest_addr);
    cr_assert_eq(reply.payload.table.region[0].size, table.region[0].size);
    cr_assert_eq(ffe_send(front(), &ack), 0);
    cr_assert_eq(vh_idle(&h), 0);
    return reply.payload.table.region[0].user_addr;
}

static void *touch(void *page)
{
    static char seen;

    seen = *(volatile char *)page;
    return &seen;
}

/* As the front end does it: waits for the fault and brings a page of these bytes. The address that was touched. */
static uint64_t bring(int fd, char with)
{
    static char bytes[0x1000];
    struct pollfd p = { .fd = fd, .events = POLLIN };
    struct uffdio_copy copy = { .src = (uintptr_t)bytes, .len = sizeof(bytes) };
    struct uffd_msg msg;

    memset(bytes, with, sizeof(bytes));
    cr_assert_eq(poll(&p, 1, 20000), 1);
    cr_assert_eq(read(fd, &msg, sizeof(msg)), sizeof(msg));
    cr_assert_eq(msg.event, UFFD_EVENT_PAGEFAULT);
    copy.dst = msg.arg.pagefault.address & ~0xfffULL;
    cr_assert_eq(ioctl(fd, UFFDIO_COPY, &copy), 0);
    return copy.dst;
}

Test(backend_postcopy, a_page_that_is_touched_is_brought_by_the_front_end)
{
    int fd = advise();
    uint64_t base, last;
    pthread_t thread;
    void *seen;

    cr_assert_geq(fd, 0);
    cr_assert_eq(listen_now(), 0);
    base = tell_table();
    last = base + front()->ram_bytes - 0x1000;
    cr_assert_eq(fallocate(front()->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)front()->ram_bytes - 0x1000, 0x1000),
                 0);

    cr_assert_eq(pthread_create(&thread, NULL, touch, (void *)(uintptr_t)last), 0);
    cr_assert_eq(bring(fd, 'p'), last);
    cr_assert_eq(pthread_join(thread, &seen), 0);

    cr_assert_eq(*(char *)seen, 'p');
    cr_assert_eq(front()->ram[front()->ram_bytes - 1], 'p');
    cr_assert_eq(end(), 0);
    close(fd);
}

Test(backend_postcopy, rings_work_on_memory_that_has_come)
{
    int fd = advise();

    cr_assert_eq(listen_now(), 0);
    memset(front()->ram, 0, front()->ram_bytes); /* all of it is there */
    (void)tell_table();

    start_ring(0);

    cr_assert_eq(ask(0), 4);
    cr_assert_eq(end(), 0);
    cr_assert_eq(ask(0), 4);
    close(fd);
}

Test(backend_postcopy, nothing_waits_any_more_after_the_end)
{
    int fd = advise();
    uint64_t base;

    cr_assert_eq(listen_now(), 0);
    base = tell_table();
    cr_assert_eq(end(), 0);

    cr_assert_eq(fallocate(front()->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)front()->ram_bytes - 0x1000, 0x1000),
                 0);

    cr_assert_eq(*(volatile char *)(uintptr_t)(base + front()->ram_bytes - 0x1000), 0);
    cr_assert_eq(end(), 1, "a second time");
    close(fd);
}

Test(backend_postcopy, out_of_order_is_refused)
{
    cr_assert_eq(listen_now(), FFE_REFUSED);
    cr_assert_eq(end(), 1);

    refusal = -EPERM;
    cr_assert_eq(advise(), -1);
    cr_assert_eq(listen_now(), FFE_REFUSED);
}

Test(backend_postcopy, the_end_of_a_session_ends_it)
{
    int fd = advise();

    cr_assert_eq(listen_now(), 0);
    (void)tell_table();

    cr_assert_eq(vhost_harness_disconnect(&h), 0);

    cr_assert_eq(backend()->postcopy.fd, -1);
    cr_assert_not(backend()->postcopy.listening);
    close(fd);
}

Test(backend_no_postcopy, is_not_offered_without_a_userfaultfd, .init = lab_behind,
     .fini = close_lab)
{
    hello(USUAL | VHOST_PROTOCOL(PAGEFAULT));

    cr_assert_not(front()->protocol_offered & VHOST_PROTOCOL(PAGEFAULT));
}
