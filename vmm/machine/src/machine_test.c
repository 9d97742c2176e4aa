/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of creation: in order, refused with a clear text, undone without a trace. */
#include "machine_test.h"

static struct lab_config lab_config;

static void refused(int code, const char *text)
{
    cr_assert_eq(mt_make(), code, "%s", vm_error_text());
    cr_assert(strstr(vm_error_text(), text), "%s", vm_error_text());
    mt_close();
}

Test(machine_new, each_call_of_the_hypervisor_may_fail_and_nothing_is_left_behind)
{
    unsigned failures = 0, fds;

    mt_open(false);
    t.config.arch.cpus = 2;
    mt_add(&tube_class, NULL);
    cr_assert_eq(mt_make(), 0);
    vmm_machine_free(t.machine);
    t.machine = NULL;
    fds = mt_fds();

    for (unsigned call = 0; call < HV_FAKE_CALLS; call++) {
        for (unsigned skip = 0;; skip++) {
            uint64_t before = hv_fake_calls(t.hv, call);
            int rc;

            hv_fake_fail(t.hv, call, skip, -EIO);
            vm_error_clear();
            rc = mt_make();
            hv_fake_fail(t.hv, call, 0, 0);
            if (rc)
                cr_assert(rc == -EIO && strstr(vm_error_text(), "told to fail"), "call %u: %s",
                          call, vm_error_text());
            else
                vmm_machine_free(t.machine);
            t.machine = NULL;
            failures += rc != 0;
            cr_assert_eq(mt_fds(), fds, "call %u, skip %u", call, skip);
            if (hv_fake_calls(t.hv, call) - before <= skip)
                break;
        }
    }

    cr_assert_gt(failures, 10);
    mt_close();
}

/* KVM on x86 takes no controller after the first vCPU, on Arm no vCPU after the controller. */
Test(machine_new, slots_come_first_then_controller_and_vcpus_as_the_architecture_wants_them)
{
    mt_open(false);
    hv_fake_fail(t.hv, (enum hv_fake_call)TEST_IRQCHIP_CALL, 0, -EIO);

    cr_assert_eq(mt_make(), -EIO);

    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_SET_SLOT), 1);
    cr_assert_eq(hv_fake_calls(t.hv, HV_FAKE_VCPU_NEW), TEST_IRQCHIP_LAST ? 1 : 0);
    mt_close();
}

Test(machine_new, memory_is_a_slot_for_each_piece_the_architecture_wants)
{
    struct varch_range range[8];
    struct hv_slot slot;
    uint64_t sum = 0;
    unsigned n;

    mt_open(false);
    t.config.arch.ram_bytes = 4ULL << 30;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    n = vmm_machine_ram(t.machine, range, 8);
    cr_assert_eq(hv_fake_slots(vmm_machine_vm(t.machine)), n);
    for (unsigned i = 0; i < n; i++) {
        cr_assert(hv_fake_slot_at(vmm_machine_vm(t.machine), i, &slot));
        cr_assert(slot.gpa == range[i].base && slot.size == range[i].size, "%u", i);
        sum += slot.size;
    }
    cr_assert_eq(sum, 4ULL << 30);
    mt_close();
}

Test(machine_new, what_devices_map_are_slots_behind_those_of_ram)
{
    static uint8_t page[2][0x1000] __attribute__((aligned(0x1000)));
    const uint64_t gpa = 0x8000000000;
    struct vdev_machine *base;
    struct hv_slot slot;
    size_t ram;
    int first, second;

    mt_open(false);
    cr_assert_eq(mt_make(), 0);
    base = &t.machine->base;
    ram = hv_fake_slots(vmm_machine_vm(t.machine));

    first = base->ops->memory_add(base, gpa, 0x1000, page[0], true);
    second = base->ops->memory_add(base, gpa + 0x1000, 0x1000, page[1], false);

    cr_assert_geq(first, 0);
    cr_assert_geq(second, 0);
    cr_assert_eq(base->ops->memory_add(base, gpa, 0x1000, page[1], false), -EEXIST);
    cr_assert_eq(hv_fake_slots(vmm_machine_vm(t.machine)), ram + 2);
    cr_assert(hv_fake_slot_at(vmm_machine_vm(t.machine), ram, &slot));
    cr_assert_eq(slot.gpa, gpa);
    cr_assert_eq(slot.host, page[0]);
    cr_assert_eq(slot.flags, HV_SLOT_READ_ONLY);
    cr_assert_eq(base->ops->memory_del(base, first), 0);
    cr_assert_eq(base->ops->memory_add(base, gpa, 0x1000, page[0], false), first);
    cr_assert_eq(base->ops->memory_del(base, first), 0);
    cr_assert_eq(base->ops->memory_del(base, second), 0);
    cr_assert_eq(hv_fake_slots(vmm_machine_vm(t.machine)), ram);
    mt_close();
}

Test(machine_new, more_vcpus_than_the_host_allows_are_refused_with_the_limit)
{
    mt_open(false);
    cr_assert_eq(hv_fake_set_cap(t.hv, KVM_CAP_MAX_VCPUS, 3), 0);
    t.config.arch.cpus = 4;

    refused(-EINVAL, "at most 3");
}

Test(machine_new, no_vcpu_is_refused)
{
    mt_open(false);
    t.config.arch.cpus = 0;

    refused(-EINVAL, "at least one");
}

Test(machine_new, a_class_that_the_platform_needs_and_the_build_lacks_is_named)
{
    static const struct vdev_class *few[] = { &lab_class, NULL };
    struct varch_device rows[VARCH_DEVICES_MAX];
    char quoted[32] = "";
    unsigned n;

    mt_open(false);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    n = varch_devices(t.machine->arch, rows);
    for (unsigned i = 0; i < n && !*quoted; i++)
        if (strcmp(rows[i].cls, varch_facts.serial_class) != 0)
            snprintf(quoted, sizeof(quoted), "'%s'", rows[i].cls);
    vmm_machine_free(t.machine);
    t.machine = NULL;
    t.config.classes = few;

    refused(-ENOTSUP, quoted);
}

Test(machine_new, a_platform_device_that_cannot_be_created_is_named)
{
    mt_open(false);
    t.create_rc = -EMFILE;

    refused(-EMFILE, "serial0: the lab is closed");
}

Test(machine_new, an_id_given_twice_is_refused)
{
    static struct lab_config same = { .common = { .id = (char *)"x" } };

    mt_open(false);
    mt_add(&tube_class, &same);
    mt_add(&tube_class, &same);

    refused(-EEXIST, "id=x is given twice");
}

Test(machine_new, an_id_of_the_platform_cannot_be_taken)
{
    static struct lab_config taken = { .common = { .id = (char *)"serial0" } };

    mt_open(false);
    mt_add(&tube_class, &taken);

    refused(-EEXIST, "serial0");
}

Test(machine_new, an_id_that_is_none_is_refused)
{
    static struct lab_config bad = { .common = { .id = (char *)"a/b" } };

    mt_open(false);
    mt_add(&tube_class, &bad);

    refused(-EINVAL, "a/b");
}

Test(machine_new, a_platform_class_cannot_be_added_as_a_device)
{
    mt_open(false);
    mt_add(&lab_class, NULL);

    refused(-EINVAL, "part of the machine");
}

Test(machine_new, devices_without_an_id_are_numbered)
{
    mt_open(false);
    mt_add(&tube_class, NULL);
    mt_add(&tube_class, &lab_config);

    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_assert(vmm_machine_find(t.machine, "tube0"));
    cr_assert(vmm_machine_find(t.machine, "tube1"));
    mt_close();
}

Test(machine_new, virtio_goes_to_pci_where_there_is_one_and_else_to_mmio)
{
    char pci[32], mmio[32], expected[32];
    struct varch_range slot;
    uint32_t irq;

    mt_open(false);
    mt_add(&tube_class, NULL);
    cr_assert_eq(mt_make(), 0);
    vmm_machine_place(t.machine, vmm_machine_find(t.machine, "tube0"), pci, sizeof(pci));
    vmm_machine_free(t.machine);
    t.config.arch.segments = 0;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    vmm_machine_place(t.machine, vmm_machine_find(t.machine, "tube0"), mmio, sizeof(mmio));

    varch_mmio_slot(t.machine->arch, 0, &slot, &irq);
    snprintf(expected, sizeof(expected), "mmio %#llx", (unsigned long long)slot.base);

    cr_assert_str_eq(pci, "0000:00:01.0");
    cr_assert_str_eq(mmio, expected);
    mt_close();
}

Test(machine_new, more_devices_than_mmio_slots_are_refused)
{
    mt_open(false);
    t.config.arch.segments = 0;
    for (unsigned i = 0; i < 3; i++)
        mt_add(&tube_class, NULL);

    refused(-ENOSPC, "2 virtio-mmio slots");
}

Test(machine_new, a_pci_device_without_pci_is_refused)
{
    lab_config.common.bus = VDEV_BUS_PCI;
    mt_open(false);
    t.config.arch.segments = 0;
    mt_add(&tube_class, &lab_config);

    refused(-EINVAL, "PCI is off");
}

Test(machine_new, a_segment_that_is_not_there_is_refused)
{
    lab_config.common.pci_segment = 3;
    mt_open(false);
    mt_add(&tube_class, &lab_config);

    refused(-EINVAL, "pci_segment=3");
}

Test(machine_new, an_address_on_mmio_is_refused)
{
    lab_config.common = (struct vdev_common){ .bus = VDEV_BUS_MMIO, .addr = (char *)"3" };
    mt_open(false);
    mt_add(&tube_class, &lab_config);

    refused(-EINVAL, "bus=pci");
}

Test(machine_new, an_address_given_twice_is_refused)
{
    lab_config.common.addr = (char *)"3";
    mt_open(false);
    mt_add(&tube_class, &lab_config);
    mt_add(&tube_class, &lab_config);

    refused(-EEXIST, "tube0");
}

Test(machine_new, no_kernel_is_refused_but_for_a_blank_machine)
{
    int fd;

    mt_open(false);
    fd = t.config.kernel.fd;
    t.config.kernel.fd = -1;
    cr_assert_lt(mt_make(), 0);
    t.config.blank = true;

    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    t.config.kernel.fd = fd;
    mt_close();
}

Test(machine_new, the_kernel_is_in_memory_and_the_first_vcpu_at_its_entry)
{
    mt_open(false);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_assert_eq(test_pc(vmm_machine_vcpu(t.machine, 0)), TEST_ENTRY);
    mt_close();
}

static void note_bus(void *ctx, uint64_t base, uint64_t size, const char *name)
{
    unsigned *hits = ctx;

    (void)size;
    *hits += base == t.lab[0]->region.base && !strcmp(name, "serial0");
}

static void note_device(void *ctx, struct vdev *dev)
{
    (void)dev;
    ++*(unsigned *)ctx;
}

Test(machine_new, a_plan_needs_no_hypervisor_and_cannot_be_started)
{
    struct varch_device rows[VARCH_DEVICES_MAX];
    struct varch_range ram[4];
    unsigned hits = 0, devices = 0;

    mt_open(false);
    t.config.hv = NULL;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_assert_eq(vmm_machine_start(t.machine), -ENOTSUP);
    vmm_machine_walk_bus(t.machine, t.lab[0]->pio, note_bus, &hits);
    vmm_machine_walk_devices(t.machine, note_device, &devices);
    cr_assert_eq(hits, 1);
    cr_assert_eq(devices, varch_devices(t.machine->arch, rows));
    cr_assert_eq(vmm_machine_ram(t.machine, ram, 4), 1);
    cr_assert_eq(ram[0].size, 16 << 20);
    mt_close();
}

Test(machine_new, a_plan_has_the_tables_of_its_architecture_and_no_others)
{
    struct vm_buffer blob = { 0 };
    struct vacpi_image image;

    mt_open(false);
    t.config.hv = NULL;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());

    cr_assert_eq(vmm_machine_acpi(t.machine, &image), varch_facts.acpi ? 0 : -ENOTSUP);
    cr_assert_eq(vmm_machine_dtb(t.machine, &blob), varch_facts.acpi ? -ENOTSUP : 0);
    cr_assert_gt(varch_facts.acpi ? image.bytes.len : blob.len, 100);
    if (varch_facts.acpi)
        vacpi_image_free(&image);
    vm_buffer_free(&blob);
    mt_close();
}

static const void *platform(void *ctx, const struct vdev_class *cls, const char *id)
{
    static const struct lab_config eleven = { .value = 11 };

    (void)ctx;
    return cls == &lab_class && !strcmp(id, "serial0") ? &eleven : NULL;
}

Test(machine_new, platform_devices_get_the_callers_configuration_or_defaults)
{
    mt_open(false);
    t.config.arch.serials = 2;
    t.config.platform = platform;

    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(t.lab[0]->s.value, 11);
    cr_assert_eq(t.lab[1]->s.value, 7);
    mt_close();
}

Test(machine_set, a_property_of_a_running_device_changes)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(vmm_machine_set(t.machine, "serial0", "value=42", NULL, NULL), 0);

    cr_assert_eq(t.lab[0]->s.value, 42);
    mt_close();
}

static void note_plain(void *ctx, struct vdev *dev)
{
    if (!dev->cls->props)
        *(const char **)ctx = dev->id;
}

Test(machine_set, what_is_wrong_is_named)
{
    const char *plain = NULL;

    mt_open(true);
    cr_assert_eq(mt_make(), 0);
    vmm_machine_walk_devices(t.machine, note_plain, &plain);
    cr_assert(plain);

    cr_assert_eq(vmm_machine_set(t.machine, "nobody", "value=1", NULL, NULL), -ENOENT);
    cr_assert(strstr(vm_error_text(), "nobody"));
    cr_assert_eq(vmm_machine_set(t.machine, "serial0", "value", NULL, NULL), -EINVAL);
    cr_assert(strstr(vm_error_text(), "KEY=VALUE"));
    cr_assert_eq(vmm_machine_set(t.machine, "serial0", "valu=1", NULL, NULL), -EINVAL);
    cr_assert(strstr(vm_error_text(), "value"));
    cr_assert_lt(vmm_machine_set(t.machine, "serial0", "value=100", NULL, NULL), 0);
    cr_assert_eq(vmm_machine_set(t.machine, plain, "value=1", NULL, NULL), -EINVAL);
    cr_assert(strstr(vm_error_text(), "no properties"));
    cr_assert_eq(t.lab[0]->s.value, 7);
    mt_close();
}

Test(machine_set, a_device_that_cannot_change_says_so)
{
    mt_open(true);
    mt_add(&tube_class, NULL);
    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(vmm_machine_set(t.machine, "tube0", "value=1", NULL, NULL), -ENOTSUP);
    mt_close();
}

struct ids {
    char id[8][VDEV_ID_MAX + 1];
    unsigned count;
};

static void note_id(void *ctx, struct vdev *dev)
{
    struct ids *ids = ctx;

    cr_assert_lt(ids->count, 8);
    snprintf(ids->id[ids->count++], sizeof(ids->id[0]), "%s", dev->id);
}

Test(machine_state, sections_of_devices_on_every_bus_survive_a_new_machine)
{
    static struct lab_config mmio = { .common = { .bus = VDEV_BUS_MMIO } };
    struct vm_buffer first[8] = { 0 }, second = { 0 };
    struct ids ids = { .count = 0 };

    mt_open(true);
    mt_add(&tube_class, NULL);
    mt_add(&tube_class, &mmio);
    cr_assert_eq(mt_make(), 0);
    t.lab[0]->s.value = 77;
    vmm_machine_walk_devices(t.machine, note_id, &ids);
    for (unsigned i = 0; i < ids.count; i++)
        cr_assert_eq(
            vmm_machine_save_device(t.machine, vmm_machine_find(t.machine, ids.id[i]), &first[i]),
            0);
    vmm_machine_free(t.machine);
    cr_assert_eq(mt_make(), 0);

    for (unsigned i = 0; i < ids.count; i++) {
        struct vdev *dev = vmm_machine_find(t.machine, ids.id[i]);

        cr_assert_eq(vmm_machine_load_device(t.machine, dev, first[i].data, first[i].len), 0, "%s",
                     vm_error_text());
        cr_assert_eq(vmm_machine_save_device(t.machine, dev, &second), 0);
        cr_assert_eq(first[i].len, second.len);
        cr_assert_arr_eq(first[i].data, second.data, second.len);
        vm_buffer_free(&first[i]);
        vm_buffer_free(&second);
    }
    cr_assert_eq(t.lab[1]->s.value, 77);
    mt_close();
}
