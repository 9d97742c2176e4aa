/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The contract of every device class, virtio and platform alike. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/devices-core/ledger.h>

#include "contract.h"

static struct vh h;

#define FOR_CLASSES(cls)                                                                \
    for (const struct vdev_class *const *row = vdev_classes, *cls; (cls = *row); row++) \
        if (contract_is_own(cls))

static const struct vh_config plain = { .transport = VH_PCI };

static void open_class(const struct vdev_class *cls, const struct vh_config *config)
{
    cr_assert_eq(contract_open(&h, cls, *config), 0, "%s: %s", cls->name, vm_error_text());
}

static void save(struct vm_buffer *buffer)
{
    vm_buffer_free(buffer);
    *buffer = (struct vm_buffer){ 0 };
    cr_assert_eq(vh_save(&h, buffer), 0, "%s", vm_error_text());
}

static void same(const struct vm_buffer *a, const struct vm_buffer *b, const char *who)
{
    cr_assert_eq(a->len, b->len, "%s", who);
    for (size_t i = 0; i < a->len; i++)
        cr_assert_eq(a->data[i], b->data[i], "%s: byte %zu of %zu", who, i, a->len);
}

/* Registers of a platform device, in every width, with numbers from the generator. */
static void hammer(unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        uint64_t r = vh_random(&h), at = h.resource[r % 2].base + (r >> 8) % 0x48;
        unsigned len = 1U << (r >> 16) % 4;
        struct vdev_bus_reader *bus = r >> 20 & 1 ? &h.reader : &h.pio_reader;
        uint8_t data[8] = { 0 };

        memcpy(data, &r, sizeof(data));
        if (r >> 21 & 1)
            (void)vdev_bus_write(bus, at, data, len, NULL);
        else
            (void)vdev_bus_read(bus, at, data, len, NULL);
        if (!(i % 16))
            cr_assert_eq(vh_idle(&h), 0);
    }
}

static void use(void)
{
    if (h.virtio)
        contract_use(&h);
    else
        hammer(2000);
    cr_assert_eq(vh_pass(&h, 100000000), 0);
}

Test(contract, rows_are_complete_and_names_are_unique)
{
    FOR_CLASSES(cls)
    {
        cr_assert(cls->name && cls->name[0]);
        cr_assert(cls->summary && cls->summary[0], "%s", cls->name);
        cr_assert_eq(strspn(cls->name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(cls->name),
                     "%s", cls->name);
        cr_assert(cls->create && cls->placements, "%s", cls->name);
        cr_assert_eq(vdev_class_find(cls->name, strlen(cls->name)), cls, "%s", cls->name);
        cr_assert(!cls->state == !cls->state_size, "%s", cls->name);
        cr_assert(!cls->props == !cls->config_size, "%s", cls->name);
        for (const struct vm_prop *p = cls->props; p && p->name; p++) {
            cr_assert(p->help && p->help[0], "%s: %s", cls->name, p->name);
            cr_assert_eq(vm_prop_find(cls->props, p->name, strlen(p->name)), p, "%s: %s", cls->name,
                         p->name);
        }
        for (const struct vdev_metric *m = cls->metrics; m && m->name; m++)
            cr_assert(m->help && !(m->offset % 8) && strlen(m->name) < VDEV_COUNTERS_NAME, "%s: %s",
                      cls->name, m->name);
        cr_assert_leq(vdev_metrics_count(cls), VDEV_COUNTERS_ROWS, "%s", cls->name);
    }
}

Test(contract, every_class_is_created_with_its_defaults_and_goes_again)
{
    FOR_CLASSES(cls)
    {
        open_class(cls, &plain);
        cr_assert_str_eq(h.dev->id, "dut");
        contract_close(&h);
    }
}

static void let_count(const struct vdev_class *cls)
{
    uint64_t told[VDEV_COUNTERS_ROWS] = { 0 }, read[VDEV_COUNTERS_ROWS] = { 0 };
    struct vdev_counters *vmm, *process;

    cr_assert_eq(vdev_counters_new("dut", &vmm), 0, "%s", vm_error_text());
    vdev_counters_put(vmm, cls, told);
    cr_assert_eq(vdev_counters_attach(vdev_counters_fd(vmm), &process), 0, "%s", vm_error_text());
    open_class(cls, &plain);
    h.context.counters = process;
    cr_assert_eq(contract_replace(&h, cls), 0, "%s: %s", cls->name, vm_error_text());
    vdev_counters_begin(process, h.dev);
    for (unsigned n = 0; n < VDEV_COUNTERS_ROWS; n++)
        told[n] = n + 1;
    vdev_metrics_write(h.dev, told);
    vdev_counters_get(vmm, cls, read);
    cr_assert(cls->metrics, "%s counts nothing", cls->name);
    cr_assert_arr_eq(read, told, vdev_metrics_count(cls) * sizeof(read[0]),
                     "%s: its VMM does not see what it counts", cls->name);
    contract_close(&h);
    vdev_counters_free(process);
    vdev_counters_free(vmm);
}

Test(contract, what_a_class_counts_in_a_process_is_seen_by_its_vmm)
{
    for (const struct vdev_class *const *row = vdev_classes; *row; row++)
        if (contract_is_mobile(*row))
            let_count(*row);
}

Test(contract, an_unknown_key_is_refused)
{
    FOR_CLASSES(cls)
    {
        char options[CONTRACT_OPTIONS + 32];
        size_t len;

        contract_options(cls, options);
        len = strlen(options);
        snprintf(options + len, sizeof(options) - len, "%sno_such_key=1", len ? "," : "");
        cr_assert_eq(vh_open(&h, &plain), 0);
        cr_assert_eq(vh_create(&h, cls, options), -EINVAL, "%s", cls->name);
        cr_assert(strstr(vm_error_text(), "no_such_key"), "%s: %s", cls->name, vm_error_text());
        vh_close(&h);
    }
}

static void refused(const struct vdev_class *cls, const struct vm_prop *prop, const char *value)
{
    void *config = calloc(1, cls->config_size);

    cr_assert_eq(vm_prop_defaults(cls->props, config), 0);
    cr_assert_lt(vm_prop_set(prop, config, cls->name, value, strlen(value)), 0, "%s: %s=%s",
                 cls->name, prop->name, value);
    vm_prop_free(cls->props, config);
    free(config);
}

Test(contract, a_value_out_of_range_is_refused)
{
    FOR_CLASSES(cls)
    {
        for (const struct vm_prop *p = cls->props; p && p->name; p++) {
            bool number =
                p->type == VM_PROP_U32 || p->type == VM_PROP_U64 || p->type == VM_PROP_SIZE;
            char text[32];

            if (number || p->type == VM_PROP_ENUM || p->type == VM_PROP_BOOL)
                refused(cls, p, "certainly not");
            if (number && p->max && p->max < UINT64_MAX) {
                snprintf(text, sizeof(text), "%llu", (unsigned long long)p->max + 1);
                refused(cls, p, text);
            }
            if (number && p->min) {
                snprintf(text, sizeof(text), "%llu", (unsigned long long)p->min - 1);
                refused(cls, p, text);
            }
        }
    }
}

static const struct vh_config ways[] = { { .transport = VH_PCI },
                                         { .transport = VH_PCI, .packed = true },
                                         { .transport = VH_MMIO_BUS },
                                         { .transport = VH_MMIO_BUS, .packed = true } };

/* Classes whose hardware has a battery: a reset leaves what it keeps (MC146818A: time, alarm and memory). */
static bool has_battery(const struct vdev_class *cls)
{
    return !strcmp(cls->name, "cmos-rtc");
}

Test(contract, reset_equals_power_on)
{
    struct vm_buffer before = { 0 }, after = { 0 };

    FOR_CLASSES(cls)
    {
        for (size_t w = 0; w < (cls->kind == VDEV_VIRTIO ? VM_ARRAY_SIZE(ways) : 1); w++) {
            struct vm_buffer own = { 0 }, own_after = { 0 };

            if (has_battery(cls))
                continue;
            open_class(cls, &ways[w]);
            cr_assert_eq(vdev_save(h.dev, &own), 0);
            if (h.virtio) /* addresses are firmware's: power-on is without them */
                cr_assert_eq(vdev_reset(h.dev, NULL), 0);
            save(&before);
            if (h.virtio)
                cr_assert_eq(vh_machine_reset(&h), 0);

            use();
            cr_assert_eq(vh_machine_reset(&h), 0, "%s", cls->name);
            cr_assert_eq(vdev_reset(h.dev, NULL), 0);

            save(&after);
            same(&before, &after, cls->name);
            cr_assert_eq(vdev_save(h.dev, &own_after), 0);
            same(&own, &own_after, cls->name);
            vm_buffer_free(&own);
            vm_buffer_free(&own_after);
            contract_close(&h);
        }
    }
    vm_buffer_free(&before);
    vm_buffer_free(&after);
}

Test(contract, a_second_reset_changes_nothing)
{
    struct vm_buffer before = { 0 }, after = { 0 };

    FOR_CLASSES(cls)
    {
        open_class(cls, &plain);
        use();
        cr_assert_eq(vdev_reset(h.dev, NULL), 0, "%s", cls->name);
        save(&before);

        cr_assert_eq(vdev_reset(h.dev, NULL), 0);

        save(&after);
        same(&before, &after, cls->name);
        contract_close(&h);
    }
    vm_buffer_free(&before);
    vm_buffer_free(&after);
}

Test(contract, save_load_save_gives_equal_bytes)
{
    struct vm_buffer first = { 0 }, second = { 0 };

    FOR_CLASSES(cls)
    {
        for (size_t w = 0; w < (cls->kind == VDEV_VIRTIO ? VM_ARRAY_SIZE(ways) : 1); w++) {
            open_class(cls, &ways[w]);
            use();
            cr_assert_eq(vh_quiesce(&h), 0, "%s", cls->name);
            save(&first);

            cr_assert_eq(contract_replace(&h, cls), 0);
            cr_assert_eq(vh_quiesce(&h), 0);
            cr_assert_eq(vh_load(&h, first.data, first.len), 0, "%s: %s", cls->name,
                         vm_error_text());
            save(&second);

            same(&first, &second, cls->name);
            cr_assert_eq(vdev_resume(h.dev), 0);
            cr_assert_eq(vh_pass(&h, 100000000), 0);
            contract_close(&h);
        }
    }
    vm_buffer_free(&first);
    vm_buffer_free(&second);
}

/* Every number is 1, which is none that a device has after power-on: what it refuses would show. Lists are as long as the device has them. */
static void *other_state(const struct vdev_class *cls)
{
    uint8_t *state = calloc(1, cls->state_size + 1);
    struct vm_buffer now = { 0 };

    cr_assert_eq(vdev_save(h.dev, &now), 0);
    cr_assert_eq(
        vm_state_load(cls->state, cls->state_version, now.data, now.len, state, cls->state_size), 0,
        "%s", vm_error_text());
    vm_buffer_free(&now);
    for (const struct vm_state_field *f = cls->state; f && f->tag; f++)
        if (f->type <= VM_STATE_BOOL)
            state[f->offset] = 1;
    return state;
}

static bool is_row_of(const struct vm_state_field *fields, const struct vm_state_field *row)
{
    for (; fields && fields->tag; fields++)
        if (!memcmp(fields, row, sizeof(*row)))
            return true;
    return false;
}

/* The device has it all, and leaves it all when it has come to rest. */
static void takes_over(const struct vdev_class *cls, int fd)
{
    void *wanted, *left = calloc(1, cls->state_size);
    struct vm_buffer want = { 0 }, have = { 0 };

    open_class(cls, &plain);
    wanted = other_state(cls);
    cr_assert_eq(vdev_ledger_put(cls, fd, wanted), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_ledger_attach(h.dev, fd), 0, "%s", vm_error_text());
    cr_assert_eq(vm_state_save(cls->state, cls->state_version, wanted, &want), 0);
    cr_assert_eq(vdev_save(h.dev, &have), 0);
    same(&want, &have, cls->name);

    cr_assert_eq(vdev_reset(h.dev, NULL), 0);
    cr_assert_eq(vdev_load(h.dev, want.data, want.len), 0, "%s", vm_error_text());
    cr_assert_eq(vdev_quiesce(h.dev, NULL), 0);
    contract_close(&h);
    cr_assert_eq(vdev_ledger_get(cls, fd, left), 0, "%s", vm_error_text());
    cr_assert_arr_eq(left, wanted, cls->state_size, "%s", cls->name);
    vm_buffer_free(&want);
    vm_buffer_free(&have);
    free(wanted);
    free(left);
}

Test(contract, the_next_process_of_a_device_takes_over_what_its_ledger_holds)
{
    FOR_CLASSES(cls)
    {
        int fd = vdev_ledger_new(cls->name);

        for (const struct vm_state_field *row = cls->ledger; row && row->tag; row++)
            cr_assert(is_row_of(cls->state, row), "%s: tag %u", cls->name, row->tag);
        if (cls->placements & VDEV_PROCESS && cls->state)
            takes_over(cls, fd);
        vm_close(&fd);
    }
}

Test(contract, load_of_nonsense_never_crashes)
{
    struct vm_buffer state = { 0 };
    uint8_t noise[256];

    FOR_CLASSES(cls)
    {
        open_class(cls, &plain);
        use();
        cr_assert_eq(vh_quiesce(&h), 0);
        save(&state);
        cr_assert_eq(contract_replace(&h, cls), 0);
        for (unsigned i = 0; i < 300; i++) {
            size_t at = vh_random(&h) % state.len;
            uint8_t was = state.data[at];

            for (unsigned b = 0; b < sizeof(noise); b++)
                noise[b] = (uint8_t)(vh_random(&h) & 0xff);
            cr_assert_lt(vh_load(&h, noise, sizeof(noise)), 0, "%s", cls->name);
            state.data[at] = (uint8_t)(vh_random(&h) & 0xff);
            (void)vh_load(&h, state.data, state.len);
            cr_assert_eq(vh_idle(&h), 0);
            state.data[at] = was;
            cr_assert_lt(vh_load(&h, state.data, at), 0, "%s: cut at %zu", cls->name, at);
        }
        contract_close(&h);
    }
    vm_buffer_free(&state);
}

Test(contract, a_quiesced_device_touches_neither_memory_nor_lines)
{
    uint8_t *before = malloc(CONTRACT_RAM);

    FOR_CLASSES(cls)
    {
        unsigned rises = 0, messages;

        open_class(cls, &plain);
        use();
        if (h.virtio) { /* the driver has offered more, and rung */
            cr_assert_eq(vh_machine_reset(&h), 0);
            cr_assert_eq(vh_start(&h, 0), 0);
        }
        cr_assert_eq(vh_quiesce(&h), 0, "%s", cls->name);
        for (uint16_t n = 0; h.virtio && n < vh_queues(&h); n++) {
            struct fake_buf b[2] = { { 0x1000, 16, false }, { 0x2000, 512, true } };

            (void)fake_driver_offer(&h.drv[n], b, 2);
            vh_kick(&h, n);
        }
        for (unsigned i = 0; i < VH_PINS; i++)
            rises += h.pin[i].rises;
        messages = h.messages;
        memcpy(before, h.guest.host, CONTRACT_RAM);

        cr_assert_eq(vh_pass(&h, 2000000000), 0);

        cr_assert(!memcmp(before, h.guest.host, CONTRACT_RAM), "%s", cls->name);
        cr_assert_eq(h.messages, messages, "%s", cls->name);
        for (unsigned i = 0; i < VH_PINS; i++)
            rises -= h.pin[i].rises;
        cr_assert_eq(rises, 0, "%s", cls->name);
        contract_close(&h);
    }
    free(before);
}

Test(contract, registers_take_any_access_in_any_state)
{
    FOR_CLASSES(cls)
    {
        if (cls->kind != VDEV_PLATFORM)
            continue;
        open_class(cls, &plain);
        for (unsigned i = 0; i < 20; i++) {
            hammer(500);
            cr_assert_eq(vh_pass(&h, 10000000), 0);
            if (i % 4 == 3)
                cr_assert_eq(vh_machine_reset(&h), 0);
        }
        contract_close(&h);
    }
}
