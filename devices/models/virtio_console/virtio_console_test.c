/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/base/error.h>
#include <vmm/char/char.h>

#include "virtio_console_private.h"
#include "virtio_harness.h"

extern const struct vdev_class virtio_console_class;

enum { RX = 0, TX = 1 };
#define MS 1000000ULL

static struct vh h;
static int keyboard, screen;

static void put_at(int fd, int place)
{
    cr_assert_eq(dup2(fd, place), place);
    close(fd);
}

static void open_way(const struct vh_config *config, const char *options)
{
    cr_assert_eq(vh_open(&h, config), 0);
    cr_assert_eq(vh_create(&h, &virtio_console_class, options), 0, "%s", vm_error_text());
}

static void setup(void)
{
    static const struct vh_config way = { .transport = VH_PCI };
    int a[2], b[2];

    signal(SIGPIPE, SIG_IGN);
    cr_assert_eq(pipe2(a, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(b, O_CLOEXEC | O_NONBLOCK), 0);
    put_at(a[0], STDIN_FILENO);
    put_at(b[1], STDOUT_FILENO);
    keyboard = a[1];
    screen = b[0];
    open_way(&way, "mode=tty,cols=80,rows=25");
}

static void teardown(void)
{
    vh_close(&h);
    close(keyboard);
    close(screen);
}

TestSuite(virtio_console, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static void start(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
}

static uint64_t metric(const char *name)
{
    const struct vdev_metric *m = virtio_console_class.metrics;

    while (strcmp(m->name, name))
        m++;
    return *(const uint64_t *)(const void *)((const char *)h.dev + m->offset);
}

static uint8_t pattern(uint64_t i)
{
    return (uint8_t)('A' + (i * 7 + i / 251) % 26);
}

static uint64_t sent; /* of the pattern */

/* Offers the next bytes of the pattern as one chain of two buffers. */
static void offer(uint32_t len)
{
    static uint8_t data[100000];
    gpa_t at = fake_driver_alloc(&h.drv[TX], len);
    struct fake_buf bufs[2] = { { at, len / 2, false }, { at + len / 2, len - len / 2, false } };

    cr_assert_neq(at, 0);
    for (uint32_t i = 0; i < len; i++)
        data[i] = pattern(sent + i);
    sent += len;
    cr_assert_eq(fake_driver_write(&h.drv[TX], at, data, len), 0);
    cr_assert_geq(fake_driver_offer(&h.drv[TX], bufs, 2), 0);
    cr_assert_eq(vh_serve(&h, TX), 0);
}

static unsigned collect(uint16_t n)
{
    unsigned count = 0;
    uint32_t len;
    uint16_t id;
    int rc;

    while ((rc = fake_driver_collect(&h.drv[n], &id, &len)) > 0)
        count++;
    cr_assert_eq(rc, 0, "%s", h.drv[n].complaint);
    return count;
}

static uint64_t seen; /* of the pattern, on the screen */

static void look(void)
{
    static uint8_t data[1 << 16];
    ssize_t n;

    while ((n = read(screen, data, sizeof(data))) > 0)
        for (ssize_t i = 0; i < n; i++)
            cr_assert_eq(data[i], pattern(seen++), "byte %lu", (unsigned long)seen);
}

static void type(const char *keys)
{
    cr_assert_eq(write(keyboard, keys, strlen(keys)), (ssize_t)strlen(keys));
    cr_assert_eq(vh_idle(&h), 0);
}

/* ---- config space ---- */

Test(virtio_console, size_is_shown)
{
    uint16_t size[2];

    cr_assert_eq(vh_offered(&h) & 7, 5);
    vh_config_read(&h, 0, size, sizeof(size));

    cr_assert_eq(size[0], 80);
    cr_assert_eq(size[1], 25);
}

Test(virtio_console, size_can_change_and_the_guest_is_told)
{
    const struct console_config c = { .cols = 132, .rows = 43 };
    const struct vm_prop *cols = vm_prop_find(virtio_console_class.props, "cols", 4);
    const struct vm_prop *rows = vm_prop_find(virtio_console_class.props, "rows", 4);
    unsigned before;
    uint16_t size[2];
    start();
    before = h.config_interrupts;

    vm_lock_acquire(&h.dev->lock);
    cr_assert_eq(h.dev->ops->set(h.dev, cols, &c), 0);
    cr_assert_eq(h.dev->ops->set(h.dev, rows, &c), 0);
    vm_lock_release(&h.dev->lock);
    vh_idle(&h);

    vh_config_read(&h, 0, size, sizeof(size));
    cr_assert_eq(size[0], 132);
    cr_assert_eq(size[1], 43);
    cr_assert_gt(h.config_interrupts, before);
}

Test(virtio_console, other_properties_stay)
{
    const struct console_config c = { 0 };
    const struct vm_prop *mode = vm_prop_find(virtio_console_class.props, "mode", 4);
    int rc;

    vm_lock_acquire(&h.dev->lock);
    rc = h.dev->ops->set(h.dev, mode, &c);
    vm_lock_release(&h.dev->lock);

    cr_assert_eq(rc, -ENOTSUP);
}

Test(virtio_console, emergency_write_needs_no_driver)
{
    uint32_t value = '!';
    char text[4];

    vh_config_write(&h, 8, &value, 4);
    vh_config_write(&h, 0, &value, 4);
    vh_pass(&h, 5 * MS);

    cr_assert_eq(read(screen, text, sizeof(text)), 1);
    cr_assert_eq(text[0], '!');
}

/* ---- output ---- */

Test(virtio_console, output_comes_out_in_every_way)
{
    static const struct vh_config ways[] = {
        { .transport = VH_PCI, .packed = true },
        { .transport = VH_PCI_INTX },
        { .transport = VH_MMIO_BUS },
        { .transport = VH_MMIO_BUS, .packed = true, .no_indirect = true, .no_event_idx = true },
    };

    for (size_t i = 0; i < VM_ARRAY_SIZE(ways); i++) {
        vh_close(&h);
        open_way(&ways[i], "mode=tty");
        start();
        for (int k = 0; k < 20; k++)
            offer(100);
        vh_pass(&h, 5 * MS);
        cr_assert_eq(collect(TX), 20, "way %zu", i);
        look();
        cr_assert_eq(seen, sent, "way %zu", i);
    }
}

Test(virtio_console, full_output_keeps_chains_in_the_queue)
{
    unsigned back = 0;
    start();
    for (int i = 0; i < 20; i++)
        offer(10000);
    vh_pass(&h, 10 * MS);
    back = collect(TX);
    cr_assert_lt(back, 20);

    while (seen < sent) {
        look();
        vh_pass(&h, 10 * MS);
    }

    cr_assert_eq(back + collect(TX), 20);
    cr_assert_eq(metric("tx_dropped"), 0);
    cr_assert_eq(metric("tx_bytes"), sent);
}

Test(virtio_console, chain_longer_than_the_ring_goes_out_in_pieces)
{
    unsigned back;
    start();
    offer(100000);
    offer(100000);
    back = collect(TX);
    cr_assert_lt(back, 2);

    while (seen < sent) {
        look();
        vh_pass(&h, 10 * MS);
    }

    cr_assert_eq(back + collect(TX), 2);
    cr_assert_eq(metric("tx_dropped"), 0);
}

Test(virtio_console, reader_that_does_not_read_is_given_up)
{
    unsigned back;
    start();
    for (int i = 0; i < 20; i++)
        offer(10000);
    vh_pass(&h, 150 * MS);
    back = collect(TX);
    cr_assert_lt(back, 20);
    cr_assert_eq(metric("tx_dropped"), 0);

    vh_pass(&h, 100 * MS);

    cr_assert_eq(back + collect(TX), 20);
    cr_assert_gt(metric("tx_dropped"), 0);
    cr_assert_eq(metric("tx_dropped") + metric("tx_bytes"), sent);
}

Test(virtio_console, guest_of_a_given_up_reader_does_not_wait_again)
{
    start();
    for (int i = 0; i < 20; i++)
        offer(10000);
    vh_pass(&h, 300 * MS);
    collect(TX);

    offer(5000);

    cr_assert_eq(collect(TX), 1);
}

Test(virtio_console, reader_that_comes_back_gets_everything_again)
{
    uint64_t dropped;
    start();
    for (int i = 0; i < 20; i++)
        offer(10000);
    vh_pass(&h, 300 * MS);
    while (seen < metric("tx_bytes")) {
        look();
        vh_pass(&h, 10 * MS);
    }
    dropped = metric("tx_dropped");
    collect(TX);
    seen = sent;

    for (int i = 0; i < 20; i++)
        offer(10000);
    while (seen < sent) {
        look();
        vh_pass(&h, 10 * MS);
    }

    cr_assert_gt(dropped, 0);
    cr_assert_eq(metric("tx_dropped"), dropped);
}

Test(virtio_console, reset_forgets_the_chain_that_waits)
{
    start();
    offer(100000);
    offer(100000);
    cr_assert_eq(vh_reset(&h, 0), 0);
    while (seen < metric("tx_bytes")) {
        look();
        vh_pass(&h, 10 * MS);
    }

    start();
    seen = sent;
    offer(100);
    vh_pass(&h, 10 * MS);
    look();

    cr_assert_eq(collect(TX), 1);
    cr_assert_eq(seen, sent);
}

Test(virtio_console, slow_reader_is_not_given_up)
{
    uint8_t byte[8192];
    start();
    for (int i = 0; i < 20; i++)
        offer(10000);

    for (int i = 0; i < 10; i++) {
        ssize_t n = read(screen, byte, sizeof(byte));

        cr_assert_gt(n, 0);
        seen += (uint64_t)n;
        vh_pass(&h, 150 * MS);
    }

    cr_assert_eq(metric("tx_dropped"), 0);
}

Test(virtio_console, endless_chain_is_cut)
{
    static struct fake_buf bufs[1000];
    gpa_t at;
    start();
    at = fake_driver_alloc(&h.drv[TX], 65536);
    for (size_t i = 0; i < VM_ARRAY_SIZE(bufs); i++)
        bufs[i] = (struct fake_buf){ at, 65536, false };
    cr_assert_geq(fake_driver_offer_indirect(&h.drv[TX], bufs, VM_ARRAY_SIZE(bufs)), 0);

    cr_assert_eq(vh_serve(&h, TX), 0);
    vh_pass(&h, 1000 * MS);

    cr_assert_eq(collect(TX), 1);
    cr_assert_eq(metric("tx_dropped") + metric("tx_bytes"), 65536000);
}

Test(virtio_console, more_chains_than_one_kick_serves)
{
    static const struct vh_config way = { .transport = VH_PCI };
    uint8_t byte = 'x';
    struct fake_buf b;
    vh_close(&h);
    open_way(&way, "mode=null");
    start();
    for (int i = 0; i < 100; i++) {
        b = (struct fake_buf){ fake_driver_alloc(&h.drv[TX], 16384), 16384, false };
        cr_assert_eq(fake_driver_write(&h.drv[TX], b.addr, &byte, 1), 0);
        cr_assert_geq(fake_driver_offer(&h.drv[TX], &b, 1), 0);
    }

    cr_assert_eq(vh_serve(&h, TX), 0);

    cr_assert_eq(collect(TX), 100);
    cr_assert_gt(h.virtio->count.kicks, 5);
}

/* ---- input ---- */

static gpa_t offer_room(uint32_t len)
{
    struct fake_buf b = { fake_driver_alloc(&h.drv[RX], len), len, true };

    cr_assert_geq(fake_driver_offer(&h.drv[RX], &b, 1), 0);
    return b.addr;
}

/* Takes the next filled buffer's bytes. */
static size_t take(gpa_t at, char *text)
{
    uint32_t len;
    uint16_t id;

    vh_idle(&h);
    if (fake_driver_collect(&h.drv[RX], &id, &len) <= 0)
        return 0;
    cr_assert_eq(fake_driver_read(&h.drv[RX], at, text, len), 0);
    return len;
}

Test(virtio_console, keys_reach_the_guest)
{
    char text[64];
    gpa_t at;
    start();
    at = offer_room(64);
    vh_serve(&h, RX);

    type("hello");

    cr_assert_eq(take(at, text), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
    cr_assert_gt(h.drv[RX].notified, 0);
    cr_assert_eq(metric("rx_bytes"), 5);
}

Test(virtio_console, keys_before_the_driver_wait)
{
    char text[64];
    gpa_t at;
    type("early");

    start();
    at = offer_room(64);
    vh_serve(&h, RX);

    cr_assert_eq(take(at, text), 5);
}

Test(virtio_console, more_keys_than_room_come_in_order)
{
    static char keys[3001];
    char text[100];
    size_t got = 0;
    for (size_t i = 0; i < sizeof(keys) - 1; i++)
        keys[i] = (char)pattern(i);
    start();
    type(keys);

    while (got < sizeof(keys) - 1) {
        gpa_t at = offer_room(100);
        size_t n;

        vh_serve(&h, RX);
        n = take(at, text);
        cr_assert_gt(n, 0, "after %zu", got);
        cr_assert_eq(memcmp(text, keys + got, n), 0);
        got += n;
    }
}

Test(virtio_console, buffer_that_cannot_be_written_comes_back_empty)
{
    struct fake_buf readable = { 0x8000, 16, false };
    char text[16];
    uint16_t id;
    uint32_t len;
    gpa_t at;
    start();
    cr_assert_geq(fake_driver_offer(&h.drv[RX], &readable, 1), 0);
    at = offer_room(16);
    vh_serve(&h, RX);

    type("key");

    cr_assert_eq(fake_driver_collect(&h.drv[RX], &id, &len), 1);
    cr_assert_eq(len, 0);
    cr_assert_eq(take(at, text), 3);
}

Test(virtio_console, escape_key_is_an_event_of_the_machine)
{
    type("\001x");

    cr_assert_eq(h.events, 1);
    cr_assert_eq(h.event, VDEV_EVENT_ESCAPE);
    cr_assert_eq(h.event_value, 'x');
}

/* ---- life ---- */

Test(virtio_console, broken_ring_needs_a_reset)
{
    start();
    cr_assert_eq(fake_driver_corrupt_avail_idx(&h.drv[TX], 5000), 0);

    vh_kick(&h, TX);
    vh_idle(&h);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_console, saved_half_of_a_chain_goes_on_where_it_was)
{
    struct vm_buffer state = { 0 };
    unsigned back;
    start();
    offer(100000);
    offer(100000);
    back = collect(TX);
    cr_assert_lt(back, 2);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &state), 0);

    cr_assert_eq(vh_load(&h, state.data, state.len), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_resume(h.dev), 0);
    while (seen < sent) {
        look();
        vh_pass(&h, 10 * MS);
    }

    cr_assert_eq(back + collect(TX), 2);
    cr_assert_eq(metric("tx_bytes"), sent);
    vm_buffer_free(&state);
}

Test(virtio_console, saved_keys_and_size_are_there_after_load)
{
    struct vm_buffer state = { 0 };
    uint16_t size[2];
    char text[64];
    gpa_t at;
    start();
    type("typed");
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &state), 0);

    cr_assert_eq(vh_load(&h, state.data, state.len), 0);
    cr_assert_eq(vdev_resume(h.dev), 0);
    at = offer_room(64);
    vh_serve(&h, RX);

    cr_assert_eq(take(at, text), 5);
    vh_config_read(&h, 0, size, sizeof(size));
    cr_assert_eq(size[0], 80);
    vm_buffer_free(&state);
}

Test(virtio_console, nothing_is_taken_while_quiesced)
{
    gpa_t at;
    char text[64];
    start();
    at = offer_room(64);
    vh_serve(&h, RX);
    cr_assert_eq(vh_quiesce(&h), 0);
    type("later");
    cr_assert_eq(metric("rx_bytes"), 0);

    cr_assert_eq(vdev_resume(h.dev), 0);

    cr_assert_eq(take(at, text), 5);
}

Test(virtio_console, back_end_that_cannot_be_opened_is_no_device)
{
    vh_destroy(&h);

    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=file"), -EINVAL);
    cr_assert_not_null(strstr(vm_error_text(), "needs file="));
    cr_assert_lt(vh_create(&h, &virtio_console_class, "cols=65536"), 0);
}

Test(virtio_console, the_users_terminal_cannot_be_removed_anything_else_can)
{
    static const struct vh_config way = { .transport = VH_PCI };
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), terminal, pipe_end;
    struct vm_loop *keys;

    cr_assert_eq(vh_remove(&h), 0, "a pipe");
    vh_close(&h);
    cr_assert_eq(unlockpt(master), 0);
    terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    pipe_end = dup(STDIN_FILENO);
    cr_assert_eq(dup2(terminal, STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(vh_open(&h, &way), 0);
    cr_assert_eq(vm_loop_new(&h.env, VM_LOOP_VIRTUAL, &keys), 0);
    h.env.keys_loop = keys;
    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=tty"), 0, "%s", vm_error_text());

    cr_assert_eq(vh_remove(&h), -EBUSY);

    cr_assert_str_eq(vm_error_text(), "dut: cannot be removed: it reads the terminal, whose escape "
                                      "key stops the machine");
    vh_close(&h);
    vm_loop_free(keys);
    dup2(pipe_end, STDIN_FILENO);
    close(pipe_end);
    close(terminal);
    close(master);
    cr_assert_eq(vh_open(&h, &way), 0); /* for the end */
    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=null"), 0);
}
