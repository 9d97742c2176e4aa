/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* The GICv3 and its ITS: which CPU an interrupt goes to, messages by device, and state that is saved. */
#include <criterion/criterion.h>
#include <errno.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

#include "payload.h"

/* Registers of the distributor (Arm IHI 0069, 12.8) and bits of ICC_SGI1R_EL1 (12.2.19). */
enum { GICD_ISENABLER = 0x100, GICD_ISPENDR = 0x200, GICD_IROUTER = 0x6000 };
enum { SGI = 3 };

static struct payload p;

TestSuite(gic, .timeout = TEST_TIMEOUT);

/* Two CPUs that wait for interrupts. */
static void two_cpus(void)
{
    payload_new(&p, &(struct payload_config){ .cpus = 2, .arch.gic = true });
    payload_gic_start(&p, 0);
    payload_gic_start(&p, 1);
}

Test(gic, a_private_interrupt_reaches_its_cpu)
{
    enum { PPI = 21 };

    two_cpus();

    cr_assert_eq(hv_vm_irq_line(p.vm, payload_irq_code(KVM_ARM_IRQ_TYPE_PPI, 1, PPI), true), 0,
                 "%s", vm_error_text());

    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), PPI);
    payload_free(&p);
}

Test(gic, a_shared_interrupt_reaches_the_cpu_it_is_routed_to)
{
    two_cpus();
    payload_settle(p.cpu[0]);
    payload_set_attr(&p, GIC, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_IROUTER + 8 * EDGE_TOLD,
                     payload_reg(p.cpu[1], REG_MPIDR) & 0xffffff);

    cr_assert_eq(hv_vm_irq_line(p.vm, payload_edge_line(), true), 0, "%s", vm_error_text());

    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), EDGE_TOLD);
    payload_free(&p);
}

Test(gic, one_cpu_interrupts_another)
{
    two_cpus();
    payload_load_at(&p, ENTRY_AT, sgi);
    payload_jump(p.cpu[0], ENTRY_AT);
    payload_set_argument(p.cpu[0], SGI << 24 | 1 << 1); /* target list: affinity 0 is 1 */

    payload_run_cpu_to(p.cpu[0], DONE);

    cr_assert_eq(payload_run_cpu_to(p.cpu[1], TOLD), SGI);
    payload_free(&p);
}

Test(gic, an_interrupt_beyond_the_last_is_refused)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });

    cr_assert_eq(hv_vm_irq_line(p.vm, payload_irq_code(KVM_ARM_IRQ_TYPE_SPI, 0, INTIDS), true),
                 -EINVAL);
    cr_assert_eq(hv_vm_irq_line(p.vm, payload_irq_code(KVM_ARM_IRQ_TYPE_PPI, 5, 20), true),
                 -EINVAL);

    payload_free(&p);
}

Test(gic, a_cpu_that_comes_after_it_is_refused)
{
    struct hv_vcpu *late;

    payload_new(&p, &(struct payload_config){ .arch.gic = true });

    cr_assert_eq(hv_vcpu_new(p.vm, 1, &late), -EBUSY);

    payload_free(&p);
}

Test(gic, there_is_one_of_it_and_no_irqchip_of_the_other_kind)
{
    struct hv_device *again;

    payload_new(&p, &(struct payload_config){ .arch.gic = true });

    cr_assert_eq(hv_vm_device_new(p.vm, KVM_DEV_TYPE_ARM_VGIC_V3, &again), -EEXIST);
    cr_assert_eq(hv_vm_irqchip_new(p.vm, HV_IRQCHIP_KERNEL, 0), -ENOTSUP);

    payload_free(&p);
}

Test(gic, its_registers_are_what_the_guest_wrote)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    payload_gic_start(&p, 0);
    payload_settle(p.vcpu);

    cr_assert_eq(
        (uint32_t)payload_attr(&p, GIC, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_ISENABLER + 4),
        1 << EDGE_PIN | 1 << LEVEL_PIN);

    payload_free(&p);
}

Test(gic, an_interrupt_that_is_set_pending_in_a_register_arrives)
{
    payload_new(&p, &(struct payload_config){ .arch.gic = true });
    payload_gic_start(&p, 0);
    payload_settle(p.vcpu);

    payload_set_attr(&p, GIC, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_ISPENDR + 4, 1 << EDGE_PIN);

    cr_assert_eq(payload_run_to(&p, TOLD), EDGE_TOLD);
    payload_free(&p);
}

Test(gic, a_signalled_message_arrives)
{
    struct hv_msi msi = payload_message(1);

    payload_message_guest(&p);

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), MESSAGE_TOLD + 1);
    payload_free(&p);
}

Test(gic, a_message_means_what_its_device_made_of_it)
{
    struct hv_msi msi = payload_message(0);

    payload_message_guest(&p);
    msi.devid = OTHER_DEVICE;

    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);

    cr_assert_eq(payload_run_to(&p, TOLD), FIRST_LPI + 2);
    payload_free(&p);
}

Test(gic, a_message_of_nobody_or_to_nowhere_is_refused)
{
    struct hv_msi anonymous = payload_message(0), nowhere = payload_message(0);

    payload_message_guest(&p);
    cr_assert_gt(hv_vm_cap(p.vm, KVM_CAP_MSI_DEVID), 0);
    anonymous.has_devid = false;
    nowhere.addr += 0x10000000;

    cr_assert_eq(hv_vm_signal_msi(p.vm, &anonymous), -EINVAL);
    cr_assert_lt(hv_vm_signal_msi(p.vm, &nowhere), 0);

    payload_free(&p);
}

Test(gic, a_route_without_device_id_sends_nothing)
{
    struct hv_route routes[2] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_MSI, .msi = payload_message(0) },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_MSI, .msi = payload_message(1) },
    };
    int lost = vm_eventfd(), fd = vm_eventfd();

    payload_message_guest(&p);
    routes[0].msi.has_devid = false;
    cr_assert_eq(hv_vm_set_routes(p.vm, routes, 2), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_irqfd_add(p.vm, lost, EDGE_GSI, -1), 0, "%s", vm_error_text());
    cr_assert_eq(hv_vm_irqfd_add(p.vm, fd, LEVEL_GSI, -1), 0, "%s", vm_error_text());

    vm_eventfd_signal(lost);
    vm_eventfd_signal(fd);

    cr_assert_eq(payload_run_to(&p, TOLD), MESSAGE_TOLD + 1);
    payload_free(&p);
    vm_close(&fd);
    vm_close(&lost);
}

/* Documentation/virt/kvm/devices/arm-vgic-its.rst, "ITS Table ABI REV0": what the guest mapped is in its memory then. */
Test(gic, the_tables_of_the_its_are_written_to_memory)
{
    payload_message_guest(&p);
    payload_settle(p.vcpu);
    cr_assert_eq(vm_load_le(p.low + DEVICES_AT + 8 * DEVICE, 8), 0);

    payload_set_attr(&p, ITS, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES, 0);

    cr_assert_eq(vm_load_le(p.low + DEVICES_AT + 8 * DEVICE, 8) >> 63, 1);
    cr_assert_eq(vm_load_le(p.low + DEVICES_AT + 8 * NO_DEVICE, 8), 0);
    cr_assert_eq(vm_load_le(p.low + EVENTS_AT + 0x1000 * DEVICE, 8) >> 16 & UINT32_MAX, FIRST_LPI);
    payload_free(&p);
}

/* Arm IHI 0069, 5.1.2: a bit for each LPI. */
Test(gic, messages_that_wait_are_written_to_memory)
{
    struct hv_msi msi = payload_message(1);
    const unsigned byte = (FIRST_LPI + 1) / 8;

    payload_message_guest(&p);
    payload_settle(p.vcpu);
    cr_assert_eq(hv_vm_signal_msi(p.vm, &msi), 1);
    cr_assert_eq(p.low[PENDING_AT + byte], 0);

    payload_set_attr(&p, GIC, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, 0);

    cr_assert_eq(p.low[PENDING_AT + byte], 1 << (FIRST_LPI + 1) % 8);
    payload_free(&p);
}
