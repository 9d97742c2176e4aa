/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of what the machine does with each exit, one step at a time. */
#include "machine_test.h"

static bool at_end(enum vmm_end end)
{
    mt_idle();
    return t.ended == 1 && t.end == end && vmm_machine_step(t.machine, 0) == 0;
}

/* The tube's virtio-mmio window, the first one (VIRTIO 1.2, 4.2.2), in a machine that can be stepped. */
static uint64_t open_with_window(void)
{
    static struct lab_config config = { .common = { .bus = VDEV_BUS_MMIO } };
    struct varch_range slot;
    uint32_t irq;

    mt_open(true);
    mt_add(&tube_class, &config);
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0);
    varch_mmio_slot(t.machine->arch, 0, &slot, &irq);
    return slot.base;
}
enum { MAGIC = 0, FEATURES = 0x10, FEATURES_SEL = 0x14 };

Test(vcpu, a_register_write_reaches_the_device)
{
    MT_PLAY({ MT_OUT, LAB_DATA, 1, .value = 0x77 });

    cr_assert_eq(t.lab[0]->written[0], 0x77);
    mt_close();
}

Test(vcpu, a_register_read_gives_the_devices_answer)
{
    MT_PLAY({ MT_IN, LAB_DATA, .len = 1 });

    cr_assert_eq(t.cpu[0].script[0].value, 0x10);
    mt_close();
}

Test(vcpu, a_string_goes_to_the_device_value_by_value)
{
    if (!varch_facts.acpi)
        cr_skip_test("this architecture has no ports");
    MT_PLAY({ MT_OUTS, LAB_DATA, 5, 0, "hello" });

    cr_assert_eq(t.lab[0]->writes, 5);
    cr_assert_arr_eq(t.lab[0]->written, "hello", 5);
    mt_close();
}

Test(vcpu, a_memory_access_goes_through_the_memory_bus)
{
    uint64_t window = open_with_window();

    t.cpu[0].script[0] = (struct mt_exit){ MT_READ, window + MAGIC, .len = 4 };
    vmm_machine_step(t.machine, 0);
    vmm_machine_step(t.machine, 0);

    cr_assert_eq(t.cpu[0].script[0].value, 0x74726976);
    mt_close();
}

/* As KVM leaves a write that did not exit: behind the others. */
static void keep_back(struct kvm_coalesced_mmio_ring *ring, uint64_t addr, uint8_t value, bool pio)
{
    struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[ring->last++];

    *e = (struct kvm_coalesced_mmio){ .phys_addr = addr, .len = pio ? 1 : 4, .pio = pio };
    e->data[0] = value;
}

Test(vcpu, late_writes_come_to_their_device_before_the_access_behind_them)
{
    enum { ENTRIES = 4 };
    struct kvm_coalesced_mmio_ring *ring =
        calloc(1, sizeof(*ring) + ENTRIES * sizeof(struct kvm_coalesced_mmio));
    uint64_t window = open_with_window();

    t.cpu[0].script[0] = (struct mt_exit){ MT_READ, window + FEATURES, .len = 4 };
    t.cpu[0].script[1] = (struct mt_exit){ MT_OUT, LAB_DATA, 1, .value = 0x77 };
    t.machine->vcpu[0].hv->coalesced = ring;
    t.machine->vcpu[0].hv->coalesced_max = ENTRIES;

    keep_back(ring, window + FEATURES_SEL, 1, false); /* the upper half */
    vmm_machine_step(t.machine, 0);
    keep_back(ring, t.lab[0]->region.base, 0x66, t.lab[0]->pio);
    vmm_machine_step(t.machine, 0);

    cr_assert_eq(t.cpu[0].script[0].value & 1, 1, "VIRTIO_F_VERSION_1");
    cr_assert_eq(t.lab[0]->written[0], 0x66);
    cr_assert_eq(t.lab[0]->written[1], 0x77);
    cr_assert_eq(ring->first, ring->last);
    mt_close();
    free(ring);
}

Test(vcpu, the_io_apics_index_need_not_exit)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);
    if (!t.machine->irqchip)
        cr_skip_test("this architecture has no I/O APIC");

    cr_assert_eq(hv_vm_coalesced_del(t.machine->vm, 0xfec00000, 4, false), 0);

    mt_close();
}

Test(vcpu, what_nobody_answers_reads_as_ones_and_is_counted)
{
    struct vmm_machine_info info;

    MT_PLAY({ MT_PORT, 0x999, .len = 2 }, { MT_READ, 0xd0000000, .len = 4 });
    vmm_machine_get_info(t.machine, &info);

    cr_assert_eq(t.cpu[0].script[0].value, 0xffff);
    cr_assert_eq(t.cpu[0].script[1].value, 0xffffffff);
    cr_assert_eq(info.unclaimed, 2);
    cr_assert_eq(info.exits_pio, 1);
    cr_assert_eq(info.exits_mmio, 1);
    cr_assert_geq(info.exits, 2);
    mt_close();
}

Test(vcpu, a_triple_fault_ends_the_machine_with_the_registers_in_the_log)
{
    MT_PLAY({ MT_PLAIN, .value = HV_EXIT_SHUTDOWN });

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("triple fault"));
    cr_assert(mt_logged(TEST_ENTRY_TEXT));
    mt_close();
}

/* One page above RAM that nobody may write. */
#define ROM_AT (TEST_RAM_BASE + (64ULL << 20))

static void play_with_rom(struct mt_exit script)
{
    static const struct gm_backing backing = { .kind = GM_ANONYMOUS, .read_only = true };
    struct gm_region *rom;
    struct gm_change change = { .add = &rom, .add_count = 1 };

    mt_open(true);
    t.cpu[0].script[0] = script;
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(gm_region_new(ROM_AT, 0x1000, &backing, &rom), 0, "%s", vm_error_text());
    cr_assert_eq(gm_space_change(vmm_machine_memory(t.machine), &change), 0, "%s", vm_error_text());
    gm_region_unref(rom);
    cr_assert_eq(vmm_machine_start(t.machine), 0);
}

Test(vcpu, a_write_to_read_only_memory_ends_the_machine_with_the_registers_in_the_log)
{
    play_with_rom((struct mt_exit){ MT_WRITE, ROM_AT + 0x10, 4, .value = 1 });

    vmm_machine_step(t.machine, 0);

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("the guest crashed: a write of 4 bytes to read-only memory at"));
    cr_assert(mt_logged(TEST_ENTRY_TEXT));
    mt_close();
}

Test(vcpu, a_write_behind_read_only_memory_is_nobodys)
{
    play_with_rom((struct mt_exit){ MT_WRITE, ROM_AT + 0x1000, 4, .value = 1 });

    vmm_machine_step(t.machine, 0);
    vmm_machine_step(t.machine, 0);
    mt_idle();

    cr_assert_eq(t.ended, 0);
    mt_close();
}

Test(vcpu, a_write_to_read_only_memory_is_the_devices_that_lies_there)
{
    struct vdev_region flash = {
        .name = "flash", .base = ROM_AT, .size = 0x1000, .ops = &lab_region_ops
    };

    play_with_rom((struct mt_exit){ MT_WRITE, ROM_AT + LAB_DATA, 4, .value = 0x90 });
    flash.self = t.lab[0];
    cr_assert_eq(vdev_bus_add(t.machine->mmio, &flash), 0);

    vmm_machine_step(t.machine, 0);
    mt_idle();

    cr_assert_eq(t.ended, 0);
    cr_assert_eq(t.lab[0]->writes, 1);
    vdev_bus_del(t.machine->mmio, &flash, NULL, NULL);
    mt_close();
}

Test(vcpu, an_internal_error_is_told_with_its_numbers)
{
    MT_PLAY({ MT_INTERNAL, .value = 3 });

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("KVM internal error 3, first data 0x1234"));
    mt_close();
}

Test(vcpu, a_refused_entry_is_told)
{
    MT_PLAY({ MT_PLAIN, .value = HV_EXIT_FAIL_ENTRY });

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("refuses this vCPU's state"));
    mt_close();
}

Test(vcpu, an_exit_that_nobody_knows_is_told)
{
    MT_PLAY({ MT_PLAIN, .value = HV_EXIT_HLT });

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("unexpected exit 'hlt'"));
    mt_close();
}

Test(vcpu, a_run_that_fails_is_told_with_the_reason)
{
    MT_PLAY({ MT_FAIL, .value = (uint64_t)-EFAULT });

    cr_assert(at_end(VMM_END_CRASH));
    cr_assert(mt_logged("KVM_RUN: Bad address"));
    mt_close();
}

Test(vcpu, system_events_end_the_machine_as_they_say)
{
    static const struct {
        uint32_t type;
        enum vmm_end end;
    } ends[] = { { KVM_SYSTEM_EVENT_SHUTDOWN, VMM_END_POWEROFF },
                 { KVM_SYSTEM_EVENT_RESET, VMM_END_RESET },
                 { KVM_SYSTEM_EVENT_CRASH, VMM_END_CRASH } };

    for (unsigned i = 0; i < VM_ARRAY_SIZE(ends); i++) {
        memset(&t, 0, sizeof(t));
        MT_PLAY({ MT_SYSTEM, .value = ends[i].type });
        cr_assert(at_end(ends[i].end), "%u", i);
        mt_close();
    }
}

Test(vcpu, an_end_of_interrupt_reaches_our_controller)
{
    struct hv_fake_irq irq;
    unsigned messages = 0;

    mt_open(true);
    cr_assert_eq(mt_make(), 0);
    if (!t.machine->irqchip)
        cr_skip_test("this architecture has no controller of ours");
    mt_close();
    memset(&t, 0, sizeof(t));
    /* Pin 4: level, vector 0x30; the line stays up, so each end of interrupt sends it again
     * (82093AA, 3.2.4). */
    MT_PLAY({ MT_WRITE, 0xfec00000, 4, .value = 0x18 },
            { MT_WRITE, 0xfec00010, 4, .value = 0x8030 }, { MT_OUT, LAB_LINE, 1, .value = 1 },
            { MT_EOI, .value = 0x30 });

    while (hv_fake_irq_take(vmm_machine_vm(t.machine), &irq))
        messages += irq.type == HV_FAKE_BY_MSI && (irq.msi.data & 0xff) == 0x30;
    cr_assert_eq(messages, 2);
    mt_close();
}

Test(vcpu, an_end_of_interrupt_without_our_controller_is_nothing)
{
    mt_open(true);
    t.config.arch.irqchip = (enum varch_irqchip)TEST_IRQCHIP_KERNEL;
    t.cpu[0].script[0] = (struct mt_exit){ MT_EOI, .value = 0x30 };
    cr_assert_eq(mt_make(), 0, "%s", vm_error_text());
    cr_assert_eq(vmm_machine_start(t.machine), 0);

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);

    cr_assert_eq(t.ended, 0);
    mt_close();
}

Test(vcpu, a_parked_vcpu_stands_still_until_the_device_is_done)
{
    MT_PLAY({ MT_OUT, LAB_PARK, 1, .value = 1 }, { MT_OUT, LAB_DATA, 1, .value = 2 });
    cr_assert_eq(t.lab[0]->writes, 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 0);

    vdev_unpark(&t.lab[0]->dev);

    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 1);
    cr_assert_eq(t.lab[0]->writes, 2);
    mt_close();
}

Test(vcpu, the_rest_of_a_string_waits_while_the_vcpu_is_parked)
{
    if (!varch_facts.acpi)
        cr_skip_test("this architecture has no ports");
    MT_PLAY({ MT_OUTS, LAB_PARK, 3, 0, "abc" });
    cr_assert_eq(t.lab[0]->writes, 1);

    for (unsigned i = 0; i < 3; i++) {
        vdev_unpark(&t.lab[0]->dev);
        vmm_machine_step(t.machine, 0);
    }

    cr_assert_eq(t.lab[0]->writes, 3);
    cr_assert_arr_eq(t.lab[0]->written, "abc", 3);
    mt_close();
}

Test(vcpu, only_vcpus_of_stepwise_machines_can_be_stepped)
{
    mt_open(false);
    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(vmm_machine_step(t.machine, 0), -EINVAL);
    mt_close();
}

Test(vcpu, a_vcpu_that_is_not_there_cannot_be_stepped)
{
    mt_open(true);
    cr_assert_eq(mt_make(), 0);

    cr_assert_eq(vmm_machine_step(t.machine, 1), -EINVAL);
    cr_assert_eq(vmm_machine_step(t.machine, 0), 0); /* not started */
    cr_assert_null(vmm_machine_vcpu(t.machine, 1));
    mt_close();
}
