/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Several ports: the driver's side of VIRTIO 1.2, section 5.3.6, as Linux's drivers/char/virtio_console.c plays it, and worse. */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmm/base/error.h>

#include "virtio_console_private.h"
#include "virtio_harness.h"

extern const struct vdev_class virtio_console_class;

enum { C_RX = 2, C_TX = 3, AGENT_RX = 4, AGENT_TX = 5, HVC_RX = 6, HVC_TX = 7 };
enum { READY = 0, ADD = 1, PORT_READY = 3, CONSOLE = 4, RESIZE = 5, OPEN = 6, NAME = 7 };
#define MS      1000000ULL
#define OPTIONS "mode=null,cols=80,rows=25,"

static struct vh h;
static char dir[] = "/tmp/vmm-ports-XXXXXX", path[64], file[64];

static struct vm_env host;

static int open_host(void *ctx, const char *name, unsigned how)
{
    (void)ctx;
    return host.open(host.ctx, name, how);
}

static void begin(const char *with)
{
    static const struct vh_config way = { .transport = VH_PCI };

    cr_assert_eq(vh_open(&h, &way), 0);
    vm_env_host(VM_LOG_ERROR, &host);
    h.open = open_host;
    cr_assert_eq(vh_create(&h, &virtio_console_class, with), 0, "%s", vm_error_text());
}

static char options[300];

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/agent", dir);
    snprintf(file, sizeof(file), "%s/file", dir);
    snprintf(options, sizeof(options),
             OPTIONS "ports=[[name=org.vmm.agent,socket=%s],[console=on,file=%s]]", path, file);
    begin(options);
}

static void teardown(void)
{
    vh_close(&h);
    unlink(path);
    unlink(file);
    rmdir(dir);
}

TestSuite(virtio_console_ports, .init = setup, .fini = teardown, .timeout = TEST_TIMEOUT);

static uint64_t metric(const char *name)
{
    const struct vdev_metric *m = virtio_console_class.metrics;

    while (strcmp(m->name, name))
        m++;
    return *(const uint64_t *)(const void *)((const char *)h.dev + m->offset);
}

/* ---- messages ---- */

struct wire {
    uint32_t id;
    uint16_t event, value;
    uint8_t more[64];
};

static gpa_t offer(uint16_t n, const void *data, uint32_t len, bool writable)
{
    struct fake_buf b = { fake_driver_alloc(&h.drv[n], len), len, writable };

    cr_assert_neq(b.addr, 0);
    if (data)
        cr_assert_eq(fake_driver_write(&h.drv[n], b.addr, data, len), 0);
    cr_assert_geq(fake_driver_offer(&h.drv[n], &b, 1), 0);
    return b.addr;
}

static unsigned collect(uint16_t n, uint32_t *ret_len)
{
    unsigned count = 0;
    uint16_t id;

    while (fake_driver_collect(&h.drv[n], &id, ret_len) > 0)
        count++;
    return count;
}

static void tell(uint32_t id, uint16_t event, uint16_t value)
{
    const struct wire m = { .id = id, .event = event, .value = value };
    uint32_t len;

    offer(C_TX, &m, 8, false);
    cr_assert_eq(vh_serve(&h, C_TX), 0);
    cr_assert_eq(collect(C_TX, &len), 1);
    vh_idle(&h);
}

/* The next message, its length in *ret_len; false: none comes. */
static bool hear(struct wire *m, uint32_t *ret_len)
{
    static gpa_t at; /* one buffer is there all the time */

    memset(m, 0, sizeof(*m));
    if (!at)
        at = offer(C_RX, NULL, sizeof(*m), true);
    cr_assert_eq(vh_serve(&h, C_RX), 0);
    if (!collect(C_RX, ret_len))
        return false;
    cr_assert_eq(fake_driver_read(&h.drv[C_RX], at, m, *ret_len), 0);
    at = 0;
    return true;
}

static void expect_bytes(uint32_t id, uint16_t event, uint16_t value, const char *more,
                         size_t more_len)
{
    struct wire m;
    uint32_t len;

    cr_assert(hear(&m, &len), "message %u of port %u does not come", event, id);
    cr_expect(m.id == id && m.event == event && m.value == value,
              "%u of port %u with %u, not %u of port %u with %u", m.event, m.id, m.value, event, id,
              value);
    cr_expect_eq(len, 8 + more_len);
    cr_expect_eq(memcmp(m.more, more, more_len), 0);
}

static void expect(uint32_t id, uint16_t event, uint16_t value, const char *more)
{
    expect_bytes(id, event, value, more ? more : "", more ? strlen(more) : 0);
}

static void expect_no_more(void)
{
    struct wire m;
    uint32_t len;

    cr_expect_not(hear(&m, &len), "%u of port %u with %u", m.event, m.id, m.value);
}

static void start(void)
{
    cr_assert_eq(vh_start(&h, 0), 0);
    tell(0, READY, 1);
    for (uint32_t i = 0; i < 3; i++)
        expect(i, ADD, 1, NULL);
}

/* As far as Linux goes by itself; then somebody opens the agent's port. */
static void start_all(void)
{
    struct wire m;
    uint32_t len;

    start();
    for (uint32_t i = 0; i < 3; i++)
        tell(i, PORT_READY, 1);
    while (hear(&m, &len))
        ;
    tell(1, OPEN, 1);
}

static int client(void)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(addr.sun_path, path, strlen(path));
    cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    vh_pass(&h, 5 * MS);
    return fd;
}

/* ---- what is offered ---- */

Test(virtio_console_ports, are_offered_with_their_number)
{
    uint32_t ports;

    cr_assert(vh_offered(&h) & CONSOLE_F_MULTIPORT);
    vh_config_read(&h, 4, &ports, sizeof(ports));

    cr_assert_eq(ports, 3);
    cr_assert_eq(vh_queues(&h), 8);
}

Test(virtio_console_ports, without_them_there_is_one_port_and_no_feature)
{
    uint32_t ports;
    vh_destroy(&h);
    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=null"), 0);

    cr_assert_not(vh_offered(&h) & CONSOLE_F_MULTIPORT);
    vh_config_read(&h, 4, &ports, sizeof(ports));

    cr_assert_eq(ports, 0);
    cr_assert_eq(vh_queues(&h), 2);
}

Test(virtio_console_ports, thirty_one_more_are_possible)
{
    char options[2048] = "mode=null,ports=[";
    for (int i = 0; i < CONSOLE_MORE_PORTS; i++)
        strcat(options, i ? ",[mode=null]" : "[mode=null]");
    strcat(options, "]");
    vh_destroy(&h);

    cr_assert_eq(vh_create(&h, &virtio_console_class, options), 0, "%s", vm_error_text());

    cr_assert_eq(vh_queues(&h), 66);
    strcpy(options + strlen(options) - 1, ",[mode=null]]");
    vh_destroy(&h);
    cr_assert_lt(vh_create(&h, &virtio_console_class, options), 0);
}

/* ---- the driver comes up ---- */

Test(virtio_console_ports, are_made_known_as_linux_wants_it)
{
    start();

    tell(0, PORT_READY, 1);
    expect(0, CONSOLE, 1, NULL);
    expect_bytes(0, RESIZE, 0, "\x50\0\x19\0", 4);
    expect(0, OPEN, 1, NULL); /* mode=null is always there */
    expect_no_more();
}

Test(virtio_console_ports, name_has_no_byte_behind_it)
{
    start();

    tell(1, PORT_READY, 1);

    expect(1, NAME, 1, "org.vmm.agent");
    expect_no_more();
}

Test(virtio_console_ports, file_is_at_the_other_side_from_the_start)
{
    start();

    tell(2, PORT_READY, 1);

    expect(2, CONSOLE, 1, NULL);
    expect(2, OPEN, 1, NULL);
    expect_no_more();
}

Test(virtio_console_ports, messages_wait_for_buffers)
{
    struct wire m;
    uint32_t len;
    cr_assert_eq(vh_start(&h, 0), 0);
    tell(0, READY, 1);
    for (uint32_t i = 0; i < 3; i++)
        tell(i, PORT_READY, 1);

    for (unsigned n = 0; n < 3 + 3 + 1 + 2; n++)
        cr_assert(hear(&m, &len) || n >= 8, "%u", n);

    expect_no_more();
}

Test(virtio_console_ports, buffer_without_room_comes_back_empty_and_the_message_in_the_next_one)
{
    uint32_t len = 1;
    start();
    offer(C_RX, NULL, 10, true);
    tell(1, PORT_READY, 1);
    cr_assert_eq(vh_serve(&h, C_RX), 0);
    cr_assert_eq(collect(C_RX, &len), 1);
    cr_assert_eq(len, 0);

    expect(1, NAME, 1, "org.vmm.agent");
}

Test(virtio_console_ports, change_of_size_is_a_message)
{
    const struct console_config c = { .cols = 132 };
    const struct vm_prop *cols = vm_prop_find(virtio_console_class.props, "cols", 4);
    start_all();

    vm_lock_acquire(&h.dev->lock);
    cr_assert_eq(h.dev->ops->set(h.dev, cols, &c), 0);
    vm_lock_release(&h.dev->lock);

    expect_bytes(0, RESIZE, 0, "\x84\0\x19\0", 4);
}

/* ---- somebody at the other side ---- */

Test(virtio_console_ports, client_that_comes_and_goes_is_told)
{
    int fd;
    start_all();

    fd = client();
    expect(1, OPEN, 1, NULL);
    expect_no_more();
    close(fd);
    vh_pass(&h, 5 * MS);

    expect(1, OPEN, 0, NULL);
    expect_no_more();
}

Test(virtio_console_ports, client_after_another_is_told_as_another)
{
    int fd;
    start_all();
    fd = client();
    expect(1, OPEN, 1, NULL);

    close(fd);
    vh_pass(&h, 5 * MS);
    fd = client();

    expect(1, OPEN, 0, NULL);
    expect(1, OPEN, 1, NULL);
    expect_no_more();
    close(fd);
}

Test(virtio_console_ports, client_that_comes_in_the_moment_another_goes_is_another)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd, next = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    start_all();
    fd = client();
    expect(1, OPEN, 1, NULL);
    memcpy(addr.sun_path, path, strlen(path));

    close(fd);
    cr_assert_eq(connect(next, (struct sockaddr *)&addr, sizeof(addr)), 0);
    vh_pass(&h, 5 * MS);

    expect(1, OPEN, 0, NULL);
    expect(1, OPEN, 1, NULL);
    expect_no_more();
    close(next);
}

Test(virtio_console_ports, client_that_came_after_another_while_the_device_rested_is_another)
{
    int fd;

    start_all();
    fd = client();
    expect(1, OPEN, 1, NULL);

    cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
    close(fd);
    vh_pass(&h, 5 * MS);
    fd = client();
    cr_assert_eq(vdev_resume(h.dev), 0);
    vh_pass(&h, 5 * MS);

    expect(1, OPEN, 0, NULL);
    expect(1, OPEN, 1, NULL);
    expect_no_more();
    close(fd);
}

Test(virtio_console_ports, client_that_has_gone_before_the_guest_heard_of_it_is_not_there)
{
    start();
    tell(1, PORT_READY, 1); /* no buffer is there for what follows */

    close(client());
    vh_pass(&h, 5 * MS);

    expect(1, NAME, 1, "org.vmm.agent");
    expect(1, OPEN, 0, NULL);
    expect_no_more();
}

Test(virtio_console_ports, client_before_the_driver_is_told_when_the_port_is_ready)
{
    int fd = client();
    start();

    tell(1, PORT_READY, 1);

    expect(1, NAME, 1, "org.vmm.agent");
    expect(1, OPEN, 1, NULL);
    expect_no_more();
    close(fd);
}

Test(virtio_console_ports, client_that_went_while_the_device_was_at_rest_is_told)
{
    int fd;
    start_all();
    fd = client();
    expect(1, OPEN, 1, NULL);
    cr_assert_eq(vh_quiesce(&h), 0);

    close(fd);
    vh_pass(&h, 5 * MS);
    cr_assert_eq(vdev_resume(h.dev), 0);

    expect(1, OPEN, 0, NULL);
}

/* ---- bytes ---- */

Test(virtio_console_ports, output_goes_to_the_ports_own_place)
{
    char text[16] = "";
    uint32_t len;
    int fd;
    start_all();
    fd = client();

    offer(AGENT_TX, "agent", 5, false);
    offer(HVC_TX, "console", 7, false);
    cr_assert_eq(vh_serve(&h, AGENT_TX), 0);
    cr_assert_eq(vh_serve(&h, HVC_TX), 0);
    vh_pass(&h, 5 * MS);

    cr_assert_eq(collect(AGENT_TX, &len) + collect(HVC_TX, &len), 2);
    cr_assert_eq(recv(fd, text, sizeof(text), 0), 5);
    cr_assert_str_eq(text, "agent");
    close(fd);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, text, sizeof(text)), 7);
    cr_assert_str_eq(text, "console");
    close(fd);
}

/* Takes what has come to the agent's port. */
static uint32_t heard(gpa_t at, char *text)
{
    uint32_t len;

    vh_pass(&h, 5 * MS);
    if (!collect(AGENT_RX, &len))
        return 0;
    cr_assert_eq(fake_driver_read(&h.drv[AGENT_RX], at, text, len), 0);
    return len;
}

Test(virtio_console_ports, input_comes_to_the_port_that_is_open)
{
    char text[64];
    gpa_t at;
    int fd;
    start_all();
    at = offer(AGENT_RX, NULL, 64, true);
    cr_assert_eq(vh_serve(&h, AGENT_RX), 0);
    fd = client();

    cr_assert_eq(send(fd, "hello", 5, 0), 5);

    cr_assert_eq(heard(at, text), 5);
    cr_assert_eq(memcmp(text, "hello", 5), 0);
    close(fd);
}

Test(virtio_console_ports, input_waits_outside_until_the_guest_opens)
{
    char text[64];
    gpa_t at;
    int fd;
    start_all();
    tell(1, OPEN, 0);
    at = offer(AGENT_RX, NULL, 64, true);
    cr_assert_eq(vh_serve(&h, AGENT_RX), 0);
    fd = client();
    cr_assert_eq(send(fd, "hello", 5, 0), 5);
    cr_assert_eq(heard(at, text), 0);

    tell(1, OPEN, 1);

    cr_assert_eq(heard(at, text), 5);
    close(fd);
}

/* Linux throws away what comes to a port that it has not opened, and it opens a console by itself. */
Test(virtio_console_ports, input_of_the_first_port_waits_for_its_console)
{
    char options[200];
    uint32_t len;
    int fd;
    vh_destroy(&h);
    snprintf(options, sizeof(options), "socket=%s,ports=[mode=null]", path);
    cr_assert_eq(vh_create(&h, &virtio_console_class, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_start(&h, 0), 0);
    offer(0, NULL, 64, true);
    cr_assert_eq(vh_serve(&h, 0), 0);
    fd = client();
    cr_assert_eq(send(fd, "root", 4, 0), 4);
    vh_pass(&h, 5 * MS);
    cr_assert_eq(collect(0, &len), 0);

    tell(0, OPEN, 1);
    vh_pass(&h, 5 * MS);

    cr_assert_eq(collect(0, &len), 1);
    cr_assert_eq(len, 4);
    close(fd);
}

Test(virtio_console_ports, port_that_is_no_console_waits_for_its_reader_for_ever)
{
    static uint8_t data[60000];
    struct fake_buf b = { .len = sizeof(data) };
    unsigned back = 0;
    uint32_t len;
    int fd;
    start_all();
    fd = client();
    b.addr = fake_driver_alloc(&h.drv[AGENT_TX], b.len);
    for (int i = 0; i < 20; i++) {
        cr_assert_geq(fake_driver_offer(&h.drv[AGENT_TX], &b, 1), 0);
        cr_assert_eq(vh_serve(&h, AGENT_TX), 0);
    }
    vh_pass(&h, 2000 * MS);
    back = collect(AGENT_TX, &len);
    cr_assert_lt(back, 20);
    cr_assert_eq(metric("tx_dropped"), 0);

    for (int i = 0; i < 1000 && back < 20; i++) {
        while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
            ;
        vh_pass(&h, 10 * MS);
        back += collect(AGENT_TX, &len);
    }

    cr_assert_eq(back, 20);
    cr_assert_eq(metric("tx_dropped"), 0);
    cr_assert_eq(metric("tx_bytes"), 20 * sizeof(data));
    close(fd);
}

Test(virtio_console_ports, place_that_is_stuck_does_not_stop_the_others)
{
    static uint8_t data[60000];
    struct fake_buf b = { .len = sizeof(data) };
    unsigned back = 0;
    struct stat st;
    uint32_t len;
    int fd;

    vh_destroy(&h);
    snprintf(options, sizeof(options),
             OPTIONS "ports=[[name=org.vmm.agent,socket=%s,also=[file=%s]],[console=on,mode=null]]",
             path, file);
    cr_assert_eq(vh_create(&h, &virtio_console_class, options), 0, "%s", vm_error_text());
    start_all();
    fd = client();
    b.addr = fake_driver_alloc(&h.drv[AGENT_TX], b.len);
    for (int i = 0; i < 20; i++) {
        cr_assert_geq(fake_driver_offer(&h.drv[AGENT_TX], &b, 1), 0);
        cr_assert_eq(vh_serve(&h, AGENT_TX), 0);
    }

    vh_pass(&h, 150 * MS);
    back = collect(AGENT_TX, &len);
    cr_assert_lt(back, 20, "it has its time");
    cr_assert_eq(metric("tx_dropped"), 0);
    vh_pass(&h, 1000 * MS);

    cr_assert_eq(back + collect(AGENT_TX, &len), 20);
    cr_assert_eq(stat(file, &st), 0);
    cr_assert_eq(st.st_size, 20 * sizeof(data));
    cr_assert_gt(metric("tx_dropped"), 0);
    cr_assert_eq(metric("tx_bytes") + metric("tx_dropped"), 20 * sizeof(data));
    close(fd);
}

Test(virtio_console_ports, driver_without_the_feature_has_the_first_port_only)
{
    uint32_t len;
    cr_assert_eq(vh_negotiate(&h, CONSOLE_F_SIZE), 0);
    for (uint16_t n = 0; n < 8; n++)
        cr_assert_eq(vh_queue(&h, n, 16), 0);
    vh_set_status(&h, 15);
    offer(C_TX, "\0\0\0\0\0\0\1\0", 8, false);
    offer(1, "x", 1, false);

    cr_assert_eq(vh_serve(&h, C_TX), 0);
    cr_assert_eq(vh_serve(&h, 1), 0);

    cr_assert_eq(collect(C_TX, &len), 0);
    cr_assert_eq(collect(1, &len), 1);
    cr_assert_eq(metric("control"), 0);
}

/* ---- a driver that errs ---- */

Test(virtio_console_ports, message_that_makes_no_sense_is_counted_and_has_no_effect)
{
    static const struct wire bad[] = {
        { 3, PORT_READY, 1, "" }, { UINT32_MAX, OPEN, 1, "" }, { 1, OPEN, 2, "" },
        { 1, PORT_READY, 0, "" }, { 1, ADD, 1, "" },           { 1, NAME, 1, "" },
        { 1, 65535, 1, "" },      { 0, READY, 0, "" },
    };
    uint32_t len;
    start_all();

    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++)
        tell(bad[i].id, bad[i].event, bad[i].value);
    offer(C_TX, "\1\0\0\0\6\0\0", 7, false);
    cr_assert_eq(vh_serve(&h, C_TX), 0);

    cr_assert_eq(collect(C_TX, &len), 1);
    cr_assert_eq(metric("control_bad"), VM_ARRAY_SIZE(bad) + 1);
    expect_no_more();
    cr_assert_not(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

Test(virtio_console_ports, broken_ring_of_messages_needs_a_reset)
{
    start();
    cr_assert_eq(fake_driver_corrupt_avail_idx(&h.drv[C_TX], 5000), 0);

    vh_kick(&h, C_TX);
    vh_idle(&h);

    cr_assert(vh_status(&h) & VIRTIO_NEEDS_RESET);
}

/* ---- life ---- */

Test(virtio_console_ports, reset_forgets_what_the_driver_said)
{
    uint32_t len;
    int fd;
    start_all();
    fd = client();

    cr_assert_eq(vh_reset(&h, 0), 0);
    cr_assert_eq(vh_start(&h, 0), 0);
    close(fd);
    vh_pass(&h, 5 * MS);

    offer(C_RX, NULL, 64, true);
    cr_assert_eq(vh_serve(&h, C_RX), 0);
    cr_assert_eq(collect(C_RX, &len), 0, "no port is ready");
}

Test(virtio_console_ports, saved_state_has_what_each_port_owes_and_was_told)
{
    struct vm_buffer state = { 0 }, again = { 0 };
    start();
    tell(1, PORT_READY, 1);
    tell(1, OPEN, 1);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &state), 0);

    cr_assert_eq(vh_load(&h, state.data, state.len), 0, "%s", vm_error_text());
    cr_assert_eq(vh_save(&h, &again), 0);
    cr_assert_eq(state.len, again.len);
    cr_assert_eq(memcmp(state.data, again.data, state.len), 0);
    cr_assert_eq(vdev_resume(h.dev), 0);

    expect(1, NAME, 1, "org.vmm.agent");
    vm_buffer_free(&state);
    vm_buffer_free(&again);
}

Test(virtio_console_ports, file_is_the_same_one_for_who_goes_on)
{
    struct vm_buffer state = { 0 };
    struct console *con;
    start();
    tell(2, PORT_READY, 1);
    expect(2, CONSOLE, 1, NULL);
    expect(2, OPEN, 1, NULL);
    cr_assert_eq(vh_quiesce(&h), 0);
    cr_assert_eq(vh_save(&h, &state), 0);
    vh_destroy(&h);
    cr_assert_eq(vh_create(&h, &virtio_console_class, options), 0, "%s", vm_error_text());
    cr_assert_eq(vh_quiesce(&h), 0);

    cr_assert_eq(vh_load(&h, state.data, state.len), 0, "%s", vm_error_text());
    con = container_of(h.virtio, struct console, dev);
    virtio_console_settle_open(&con->port[2]);

    cr_assert(con->port[2].s->told_open);
    cr_assert_eq(con->port[2].s->owed, 0);
    vm_buffer_free(&state);
}

Test(virtio_console_ports, state_of_another_number_of_ports_is_refused)
{
    struct vm_buffer state = { 0 };
    cr_assert_eq(vdev_save(h.dev, &state), 0);
    vh_destroy(&h);
    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=null,ports=[mode=null]"), 0);

    cr_assert_eq(vdev_load(h.dev, state.data, state.len), -EINVAL);

    cr_assert_not_null(strstr(vm_error_text(), "a state of 2 more ports, but it has 1"), "%s",
                       vm_error_text());
    vm_buffer_free(&state);
}

/* As it was written before there were ports: tags 1 to 5 of version 1. */
Test(virtio_console_ports, state_of_the_first_version_is_taken)
{
    static const uint8_t old[] = { 1, 0, 0, 0, 55, 0, 0, 0, /* version 1, 55 bytes */
                                   1, 0, 2, 0, 2,  0, 0, 0, 132, 0, /* cols */
                                   2, 0, 2, 0, 2,  0, 0, 0, 43,  0, /* rows */
                                   3, 0, 2, 0, 2,  0, 0, 0, 7,   0, /* tx_at */
                                   4, 0, 4, 0, 8,  0, 0, 0, 9,   0, 0, 0, 0, 0, 0, 0, /* tx_done */
                                   5, 0, 6, 0, 1,  0, 0, 0, 'k' }; /* rx */
    const struct console *con;
    vh_destroy(&h);
    cr_assert_eq(vh_create(&h, &virtio_console_class, "mode=null"), 0);

    cr_assert_eq(vdev_load(h.dev, old, sizeof(old)), 0, "%s", vm_error_text());

    con = container_of(h.virtio, struct console, dev);
    cr_assert_eq(con->s.cols, 132);
    cr_assert_eq(con->s.port[0].tx_at, 7);
    cr_assert_eq(con->s.port[0].tx_done, 9);
    cr_assert_eq(con->s.port[0].rx_len, 1);
    cr_assert_eq(con->s.port[0].rx[0], 'k');
}

Test(virtio_console_ports, mistakes_are_one_line_each)
{
    static const struct {
        const char *ports, *error;
    } rows[] = {
        { "[name=a]", "dut: ports[0]: it goes nowhere: give mode=tty" },
        { "[[name=a,mode=null],[name=a,mode=null]]",
          "dut: ports[1]: name=a: ports[0] has that name" },
        { "[name=a/b,mode=null]", "dut: ports[0]: name=: letters, digits and signs are possible" },
        { "[name=..,mode=null]", "dut: ports[0]: name=.. is no name of a port" },
        { "[[mode=tty],[mode=tty]]", "dut: ports[1]: mode=tty: ports[0] is the terminal" },
        { "[mode=file]", "dut: ports[0]: mode=file needs file=PATH" },
        { "[file=/nonexistent/x]", "dut: ports[0]: file" },
    };
    char options[200];
    vh_destroy(&h);

    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        snprintf(options, sizeof(options), "mode=null,ports=%s", rows[i].ports);
        cr_assert_lt(vh_create(&h, &virtio_console_class, options), 0, "%s", options);
        cr_expect_eq(strncmp(vm_error_text(), rows[i].error, strlen(rows[i].error)), 0, "%s: %s",
                     options, vm_error_text());
    }
    cr_assert_lt(vh_create(&h, &virtio_console_class, "mode=tty,ports=[mode=tty]"), 0);
    cr_expect_not_null(strstr(vm_error_text(), "the first port is the terminal"));
}

Test(virtio_console_ports, terminal_of_any_port_keeps_it_on_a_thread)
{
    struct console_config c;
    cr_assert_eq(vm_prop_defaults(virtio_console_class.props, &c), 0);
    cr_assert_eq(vm_prop_parse(virtio_console_class.props, &c, "x", NULL,
                               "mode=null,ports=[[mode=null],[file=/x,also=[mode=pty]]]"),
                 0);

    cr_assert_not_null(virtio_console_class.thread_reason(&c));

    vm_prop_free(virtio_console_class.props, &c);
}
