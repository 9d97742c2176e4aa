/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* A device moves between the I/O thread and a real process while a driver uses it. */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "cart_test.h"
#include "names.h"

#define WAIT_NS (20ULL * 1000000000ULL)

/* ---- the machine ---- */

static struct vmm_spawner *spawner;
static char file[] = "/tmp/vmm-cart-XXXXXX";
static struct cart_config config;
static struct vdev_bus_reader bus;
static struct gm_view ram;
static gpa_t ring;
static uint16_t offered;
static struct {
    unsigned count;
    int code;
    char text[VM_ERROR_TEXT];
} told;

static void start_spawner(void)
{
    struct vmm_spawner_config c = { .env = &t.env, .entry = play };

    cr_assert_eq(vmm_spawner_start(&c, &spawner), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_ready(spawner, WAIT_NS), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_spawner_attach(spawner, t.env.loop), 0);
    t.config.sandbox.spawner = spawner;
}

static void set_up(void)
{
    struct vm_env real;
    int fd;

    if (getenv("VMM_USER_EMULATOR"))
        cr_skip_test("the user-mode emulator makes no jails");
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    cr_skip_test("the sanitizer's own thread forbids user namespaces");
#endif
#endif
    mt_open(false);
    start_spawner();
    vm_env_host(VM_LOG_ERROR, &real);
    t.env.open = real.open;
    cr_assert_eq(sem_init(&host.answer, 0, 0), 0);
    fd = mkstemp(file);
    cr_assert_eq(write(fd, "abcdefghijklmnopqrstuvwxyz", 26), 26);
    close(fd);
    config = (struct cart_config){ .path = file, .value = 5, .fd = -1 };
}

static void tear_down(void)
{
    if (ram.space)
        gm_view_exit(&ram);
    if (bus.bus)
        vdev_bus_reader_exit(&bus);
    cr_assert_eq(vmm_machine_free(t.machine), 0);
    vmm_spawner_free(spawner);
    unlink(file);
    hv_free(t.hv);
    close(t.config.kernel.fd);
    vm_loop_free(t.env.loop);
}

TestSuite(move, .init = set_up, .fini = tear_down, .timeout = TEST_TIMEOUT);

static void make(bool process)
{
    static struct vmm_machine_device device = { .cls = &cart_class, .config = &config };
    struct varch_range row[4];

    device.process = process;
    t.config.devices = &device;
    t.config.device_count = 1;
    t.config.ram.kind = GM_MEMFD;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0, "%s", vm_error_text());
    cr_assert_geq(vmm_machine_ram(t.machine, row, 4), 1);
    ring = row[0].base + (8 << 20);
    vdev_bus_reader_init(t.machine->mmio, &bus);
    gm_view_init(&ram, t.machine->memory, NULL);
}

static void moved(void *ctx, int code)
{
    (void)ctx;
    told.count++;
    told.code = code;
    snprintf(told.text, sizeof(told.text), "%s", code ? vm_error_text() : "");
}

/* What came of it; -EINPROGRESS never. */
static int move(bool to_thread)
{
    unsigned before = told.count;
    int rc = vmm_machine_move(t.machine, "cart0", to_thread, moved, &t);

    if (rc)
        return rc;
    MT_UNTIL(told.count > before);
    return told.code;
}

static const char *placement(void)
{
    return vmm_machine_placement(t.machine, vmm_machine_find(t.machine, "cart0"));
}

/* ---- the driver, on virtio-mmio (VIRTIO 1.2, 4.2) or PCI (4.1); between its accesses nobody waits ---- */

static void put(uint64_t addr, unsigned len, uint64_t value)
{
    struct vdev *waits;
    uint8_t data[8];

    vm_store_le(data, len, value);
    cr_assert_eq(vdev_bus_write(&bus, addr, data, len, &waits), 0);
}

static uint64_t get(uint64_t addr, unsigned len)
{
    struct vdev *waits;
    uint8_t data[8];

    cr_assert_eq(vdev_bus_read(&bus, addr, data, len, &waits), 0);
    return vm_load_le(data, len);
}

static uint64_t window(void)
{
    return vmm_machine_find(t.machine, "cart0")->firmware.resource[0].base;
}

static void drive(void)
{
    uint64_t at = window();

    put(at + 0x70, 4, 3);
    put(at + 0x24, 4, 1);
    put(at + 0x20, 4, 1); /* VERSION_1 */
    put(at + 0x70, 4, 11);
    cr_assert_eq(get(at + 0x70, 4), 11);
    put(at + 0x38, 4, 16);
    put(at + 0x80, 4, ring);
    put(at + 0x90, 4, ring + 0x1000);
    put(at + 0xa0, 4, ring + 0x2000);
    put(at + 0x44, 4, 1);
    put(at + 0x70, 4, 15);
    cr_assert_eq(get(at + 0x70, 4), 15);
}

static void offer(void)
{
    uint16_t i = offered++ % 16;
    gpa_t desc = ring + i * 16U;

    cr_assert_eq(gm_store64(&ram, desc, ring + 0x3000 + i * 16U), 0);
    cr_assert_eq(gm_store32(&ram, desc + 8, sizeof(struct answer)), 0);
    cr_assert_eq(gm_store16(&ram, desc + 12, 2), 0);
    cr_assert_eq(gm_store16(&ram, ring + 0x1004 + i * 2U, i), 0);
    cr_assert_eq(gm_store16(&ram, ring + 0x1002, offered), 0);
}

static bool answered(void)
{
    uint16_t used;

    cr_assert_eq(gm_load16(&ram, ring + 0x2002, &used), 0);
    return used == offered;
}

static void note_set(void *ctx, int code)
{
    *(int *)ctx = code ? code : 1;
}

static struct answer last_answer(void)
{
    struct answer a;

    MT_UNTIL(answered());
    cr_assert_eq(gm_read(&ram, ring + 0x3000 + (offered - 1U) % 16 * 16, &a, sizeof(a)), 0);
    return a;
}

static struct answer request(void)
{
    offer();
    put(window() + 0x50, 4, 0);
    return last_answer();
}

/* ---- tests ---- */

Test(move, a_driver_goes_on_where_it_was_in_every_place)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();

    for (unsigned i = 0; i < 8; i++) {
        bool thread = i % 2;
        struct answer a;

        a = request();
        cr_expect_eq(a.where, thread ? 't' : 'p', "%u", i);
        cr_expect_eq(a.answered, i + 1, "its state moves: %u, not %u", a.answered, i + 1);
        cr_expect_eq(a.byte, 'a' + i, "the file goes on where it was: %c", a.byte);
        cr_assert_eq(move(!thread), 0, "%s", told.text);
        cr_expect_str_eq(placement(), thread ? "process" : "thread");
    }
    cr_expect_eq(get(window() + 0x70, 4), 15);
}

static void note_metric(void *ctx, const char *name, uint64_t value)
{
    if (!strcmp(name, "answers") || !strcmp(name, "connects"))
        *(uint64_t *)ctx = value;
}

static uint64_t answers(void)
{
    uint64_t n = UINT64_MAX;

    vmm_machine_metrics(t.machine, vmm_machine_find(t.machine, "cart0"), note_metric, &n);
    return n;
}

static uint64_t connects(void)
{
    uint64_t n = UINT64_MAX;

    (void)vmm_machine_process_metrics(t.machine, vmm_machine_find(t.machine, "cart0"), note_metric,
                                      &n);
    return n;
}

Test(move, what_it_counts_goes_on_in_every_place)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    cr_expect_eq(answers(), 0);
    drive();

    for (unsigned i = 0; i < 8; i++) {
        bool thread = i % 2;

        (void)request();
        cr_expect_eq(answers(), i + 1, "%llu, not %u", (unsigned long long)answers(), i + 1);
        cr_assert_eq(move(!thread), 0, "%s", told.text);
        cr_expect_eq(answers(), i + 1, "%llu, not %u", (unsigned long long)answers(), i + 1);
    }
    cr_expect_neq(connects(), UINT64_MAX);
    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_expect_eq(connects(), UINT64_MAX, "it is in no process");
}

Test(move, what_a_process_had_counted_outlives_it)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();

    for (unsigned i = 0; i < 3; i++) {
        (void)request();
        cr_assert_eq(connects(), i + 1);
        put(window() + 0x100, 1, CART_DIES);
        MT_UNTIL(connects() == i + 2);
        cr_expect_eq(answers(), i + 1, "%llu, not %u", (unsigned long long)answers(), i + 1);
    }
    cr_expect_eq(request().where, 'p');
    cr_expect_eq(answers(), 4);
}

Test(move, what_came_while_it_moved_is_answered_without_a_doorbell)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    drive();
    (void)request();

    for (unsigned i = 0; i < 4; i++) {
        unsigned before = told.count;

        cr_assert_eq(vmm_machine_move(t.machine, "cart0", i % 2, moved, &t), 0);
        MT_UNTIL(vmm_machine_move_holds(t.machine) || told.count > before);
        offer();
        cr_expect_eq(last_answer().answered, i + 2);
        MT_UNTIL(told.count > before);
        cr_assert_eq(told.code, 0, "%s", told.text);
    }
}

Test(move, config_space_that_a_driver_wrote_and_properties_that_were_set_move_too)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    drive();
    put(window() + 0x100, 1, 0x5c);
    cr_assert_eq(vmm_machine_set(t.machine, "cart0", "value=9", NULL, NULL), 0, "%s",
                 vm_error_text());

    cr_assert_eq(move(false), 0, "%s", told.text);
    cr_expect_eq(get(window() + 0x100, 1), 0x5c);
    cr_expect_eq(request().value, 9);
    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_expect_eq(get(window() + 0x100, 1), 0x5c);
    cr_expect_eq(request().value, 9);
}

static void set_names(const char *key_value)
{
    int done = 0, rc = vmm_machine_set(t.machine, "cart0", key_value, note_set, &done);

    if (rc == -EINPROGRESS) {
        MT_UNTIL(done);
        rc = done == 1 ? 0 : done;
    }
    cr_assert_eq(rc, 0, "%s: %s", key_value, vm_error_text());
}

static void expect_names(uint8_t count, uint8_t first)
{
    struct answer a = request();

    cr_expect_eq(a.names, count, "%u", a.names);
    cr_expect_eq(a.first, first, "%c", a.first);
}

/* Each list belongs to whoever serves the device, until the next one takes its place. */
Test(move, a_list_that_was_set_moves_too)
{
    char *given[] = { strdup("given") };

    config.common.bus = VDEV_BUS_MMIO;
    config.names = (struct vm_prop_list){ .items = given, .count = 1 };
    make(false);
    drive();
    expect_names(1, 'g');
    set_names("names=[here,there]");
    set_names("names=[both,here,there]");
    expect_names(3, 'b');
    cr_expect_eq(vmm_machine_set(t.machine, "cart0", "names=[a,b,c,d]", NULL, NULL), -ERANGE);

    cr_assert_eq(move(false), 0, "%s", told.text);
    expect_names(3, 'b');
    set_names("names=[elsewhere]");
    set_names("names=[far,away]");
    cr_assert_eq(move(true), 0, "%s", told.text);
    expect_names(2, 'f');
    set_names("names=[]");
    expect_names(0, 0);
    cr_assert_eq(move(false), 0, "%s", told.text);
    expect_names(0, 0);
    free(given[0]);
}

/* Bits of the device's features are read as a driver would. */
static uint64_t features(void)
{
    uint64_t low;

    put(window() + 0x14, 4, 0);
    low = get(window() + 0x10, 4);
    put(window() + 0x14, 4, 1);
    return low | get(window() + 0x10, 4) << 32;
}

Test(move, everybody_is_told_when_it_is_there)
{
    make(true);

    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_assert_eq(t.told[VMM_EVENT_MOVED], 1);
    cr_assert_neq(move(true), 0, "it is there");

    cr_assert_eq(t.told[VMM_EVENT_MOVED], 1);
    cr_assert_str_eq(vmm_event_name(VMM_EVENT_MOVED), "moved");
}

Test(move, it_offers_the_same_features_in_every_place)
{
    uint64_t before;

    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    before = features();

    cr_assert_eq(move(false), 0, "%s", told.text);
    cr_expect_eq(features(), before, "%#llx, not %#llx", (unsigned long long)features(),
                 (unsigned long long)before);
    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_expect_eq(features(), before);
}

Test(move, its_function_keeps_every_byte_of_its_configuration)
{
    struct vpci_function *fn;
    uint8_t before[256];

    config.common.bus = VDEV_BUS_PCI;
    make(true);
    fn =
        virtio_pci_function(container_of(t.machine->devices_end, struct machine_device, next)->pci);
    memcpy(before, fn->config, sizeof(before));

    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_assert_eq(memcmp(before, fn->config, sizeof(before)), 0);
    cr_assert_eq(fn->dev, vmm_machine_find(t.machine, "cart0"));
    cr_assert_eq(fn->bar[4].region.lock, &fn->dev->lock);
    cr_assert_eq(move(false), 0, "%s", told.text);
    cr_assert_eq(memcmp(before, fn->config, sizeof(before)), 0);
}

/* Counted on the thread: a process opens some of its fds after it is the one that answers, so that a count with one may come too early and
 * then is never reached again. One that ends a little later only makes the first count too high, by less than twenty leaks. */
Test(move, nothing_is_left_open_of_many_moves)
{
    unsigned before;

    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();
    (void)request();
    cr_assert_eq(move(true), 0, "%s", told.text);
    cr_assert_eq(move(false), 0, "%s", told.text);
    (void)request();
    cr_assert_eq(move(true), 0, "%s", told.text);
    before = mt_fds();
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(move(i % 2 == 1), 0, "%s", told.text);
    (void)request();

    MT_UNTIL(mt_fds() <= before);
}

Test(move, one_that_cannot_be_made_here_stays_in_its_process)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();
    (void)request();
    create_rc = -ENOMEM;

    cr_expect_eq(move(true), -ENOMEM);

    cr_expect_str_eq(told.text, "cart0: no more carts");
    cr_expect_str_eq(placement(), "process");
    cr_expect_eq(request().where, 'p');
    cr_expect_eq(request().answered, 3);
    create_rc = 0;
    cr_expect_eq(move(true), 0, "%s", told.text);
    cr_expect_eq(request().answered, 4);
}

Test(move, one_that_does_not_take_its_state_stays_in_its_process)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();
    (void)request();
    load_rc = -EINVAL;

    cr_expect_eq(move(true), -EINVAL);

    cr_expect_str_eq(told.text, "cart0: the cart is full");
    cr_expect_str_eq(placement(), "process");
    cr_expect_eq(get(window() + 0x70, 4), 15);
    cr_expect_eq(request().answered, 2);
}

Test(move, one_whose_process_does_not_come_moves_back)
{
    config.common.bus = VDEV_BUS_MMIO;
    config.play = (char *)(uintptr_t) "die";
    make(false);
    drive();
    (void)request();

    cr_expect_eq(move(false), -ECHILD);

    cr_expect_str_eq(told.text, "cart0: its process ended: exit code 7");
    cr_expect(mt_logged("cart0: moves back to a thread of the VMM"));
    cr_expect_str_eq(placement(), "thread");
    cr_expect_eq(request().where, 't');
    cr_expect_eq(request().answered, 3);
}

Test(move, one_for_whose_process_no_file_can_be_opened_stays)
{
    struct rlimit before, few;

    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    drive();
    (void)request();
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){ 3, before.rlim_max };

    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    cr_expect_eq(move(false), -EMFILE, "%s", told.text);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);

    cr_expect_str_eq(placement(), "thread");
    cr_expect_eq(request().answered, 2);
    cr_expect_eq(move(false), 0, "%s", told.text);
    cr_expect_eq(request().answered, 3);
}

static void stopped(void *ctx, int code)
{
    *(int *)ctx = code ? code : 1;
}

/* Begins a move in which the I/O thread hangs. */
static void move_and_hang(bool to_thread)
{
    cr_assert_eq(vmm_machine_move(t.machine, "cart0", to_thread, moved, &t), 0);
    MT_UNTIL(__atomic_load_n(&host.asked, __ATOMIC_SEQ_CST));
    cr_assert(vmm_machine_move_holds(t.machine));
    cr_assert_eq(told.count, 0);
}

static void wait_11_s(void)
{
    __atomic_add_fetch(&t.ahead_ns, 11000000000ULL, __ATOMIC_SEQ_CST);
}

Test(move, one_that_the_host_does_not_let_be_made_stays_and_the_guest_goes_on)
{
    int answer;

    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    drive();
    (void)request();
    host.in_create = true;
    move_and_hang(true);

    wait_11_s();
    MT_UNTIL(told.count);

    cr_expect_eq(told.code, -ETIMEDOUT);
    cr_expect(strstr(told.text, "cart0: the host did not let it be made in a thread of the VMM"),
              "%s", told.text);
    cr_expect_not(vmm_machine_move_holds(t.machine));
    cr_expect_eq(vmm_machine_resume(t.machine), -EALREADY, "the guest goes on");
    cr_expect_str_eq(placement(), "process");
    cr_expect_eq(move(true), -EBUSY);
    cr_expect(strstr(vm_error_text(), "the host still holds up"), "%s", vm_error_text());
    host.in_create = false;
    sem_post(&host.answer);
    cr_expect_eq(request().where, 'p');
    while ((answer = move(true)) == -EBUSY) /* what came late is there no more */
        cr_assert_geq(vm_loop_step(t.env.loop, 1000000), 0);
    cr_expect_eq(answer, 0, "%s", told.text);
    cr_expect_eq(__atomic_load_n(&made, __ATOMIC_SEQ_CST), 2);
    cr_expect_eq(__atomic_load_n(&destroyed, __ATOMIC_SEQ_CST), 1);
    cr_expect_eq(request().answered, 3);
}

Test(move, a_device_is_removed_after_what_a_move_makes_late)
{
    int rc, removed = 0;

    config.common.bus = VDEV_BUS_MMIO;
    make(true);
    host.in_create = true;
    move_and_hang(true);
    wait_11_s();
    MT_UNTIL(told.count);

    cr_expect_eq(vmm_machine_remove(t.machine, "cart0", stopped, &removed), -EBUSY);
    sem_post(&host.answer);
    while ((rc = vmm_machine_remove(t.machine, "cart0", stopped, &removed)) == -EBUSY)
        cr_assert_geq(vm_loop_step(t.env.loop, 1000000), 0);
    cr_expect_eq(rc, 0, "%s", vm_error_text());
    MT_UNTIL(removed);

    cr_expect_eq(removed, 1);
    cr_expect_eq(__atomic_load_n(&destroyed, __ATOMIC_SEQ_CST), 1);
}

Test(move, the_guest_goes_on_while_the_host_holds_up_the_end_of_a_move)
{
    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    drive();
    (void)request();
    host.in_destroy = true;
    move_and_hang(false);

    wait_11_s();
    MT_UNTIL(!vmm_machine_move_holds(t.machine));

    cr_expect_eq(vmm_machine_resume(t.machine), -EALREADY, "the guest goes on");
    cr_expect_eq(told.count, 0, "it is under way");
    sem_post(&host.answer);
    MT_UNTIL(told.count);
    cr_expect_eq(told.code, 0, "%s", told.text);
    cr_expect_eq(request().where, 'p');
    host.in_destroy = false;
}

Test(move, the_user_can_neither_let_a_machine_go_on_that_stands_still_for_it_nor_pause_it)
{
    int pause = 0;

    make(true);
    cr_assert_eq(vmm_machine_move(t.machine, "cart0", true, moved, &t), 0);
    MT_UNTIL(vmm_machine_move_holds(t.machine));

    cr_expect_eq(vmm_machine_resume(t.machine), -EBUSY);
    cr_expect_eq(vmm_machine_pause(t.machine, stopped, &pause), -EBUSY);
    cr_expect_str_eq(vm_error_text(), "cart0 is being moved: pause when that is over");
    cr_expect_null(vmm_machine_pause_ctx(t.machine));
    cr_expect_eq(vmm_machine_remove(t.machine, "cart0", stopped, &pause), -EBUSY);
    cr_expect_eq(vmm_machine_upgrade(t.machine, "cart0", 0, stopped, &pause), -EBUSY);
    cr_expect_eq(vmm_machine_set(t.machine, "cart0", "value=1", NULL, NULL), -EBUSY);
    cr_expect_eq(vmm_machine_move(t.machine, "cart0", false, stopped, &pause), -EBUSY);
    MT_UNTIL(told.count);
    cr_expect_eq(told.code, 0, "%s", told.text);
}

Test(move, a_paused_machine_stays_paused_and_its_memory_as_it_is)
{
    int pause = 0;

    config.common.bus = VDEV_BUS_MMIO;
    make(false);
    drive();
    (void)request();
    cr_assert_eq(vmm_machine_pause(t.machine, stopped, &pause), 0);
    MT_UNTIL(pause);
    offer();

    cr_assert_eq(move(false), 0, "%s", told.text);

    cr_expect(vmm_machine_paused(t.machine));
    cr_expect_not(answered(), "nothing is served in a paused machine");
    cr_assert_eq(vmm_machine_resume(t.machine), 0, "%s", vm_error_text());
    cr_expect_eq(last_answer().where, 'p');
}

Test(move, the_end_of_the_machine_ends_it_at_every_step)
{
    for (unsigned steps = 0; steps < 12; steps++) {
        make(steps % 2);
        told.count = 0;
        cr_assert_eq(vmm_machine_move(t.machine, "cart0", steps % 2, moved, &t), 0);
        for (unsigned i = 0; i < steps; i++)
            (void)vm_loop_step(t.env.loop, 1000000);
        gm_view_exit(&ram);
        vdev_bus_reader_exit(&bus);
        cr_assert_eq(vmm_machine_free(t.machine), 0, "%s", vm_error_text());
        t.machine = NULL;
        ram.space = NULL;
        bus.bus = NULL;
        cr_expect_eq(told.count, 1);
        close(t.config.kernel.fd);
        t.config.kernel.fd = mt_kernel();
    }
}

Test(move, what_stays_says_why)
{
    make(false);
    cr_expect_eq(move(true), -EALREADY);
    cr_expect_eq(vmm_machine_move(t.machine, "cart7", true, moved, &t), -ENOENT);
    stays = "it has a reason";
    cr_expect_eq(move(false), -ENOTSUP);
    cr_expect_str_eq(vm_error_text(), "cart0 cannot move: it has a reason");
    stays = NULL;
    config.fd = 5;
    cr_expect_eq(move(false), -ENOTSUP);
    cr_expect(strstr(vm_error_text(), "open file"));
    config.fd = -1;
    t.machine->config.sandbox.spawner = NULL;
    cr_expect_eq(move(false), -ENOTSUP);
    cr_expect(strstr(vm_error_text(), "this machine has no spawner"));
    t.machine->config.sandbox.spawner = spawner;
    cr_expect_eq(told.count, 0);
}
