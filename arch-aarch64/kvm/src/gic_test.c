/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Tests of the interrupt controller: which one, how KVM is told of it, and how messages reach it. Numbers of types, groups and
 * attributes are those of Linux's include/uapi: VGICv2 5, VGICv3 7, ITS 8; group 0 addresses, 3 interrupts, 4 control. */
#include "arm_test.h"

Test(gic, version_3_gets_addresses_then_interrupts_then_its_start_and_then_its_its)
{
    kt_open();
    k.config.segments = 2;

    WORKS(kt_build());

    cr_assert_str_eq(kt_attrs(),
                     "7 0.2 8000000\n" /* distributor */
                     "7 0.5 2000000c000000\n" /* redistributors: two, and where */
                     "7 3.0 140\n" /* 32 + 288 */
                     "7 4.0 0\n"
                     "8 0.4 8080000\n"
                     "8 4.0 0\n"
                     "8 0.4 80a0000\n"
                     "8 4.0 0\n",
                     "%s", kt_attrs());
    kt_close();
}

Test(gic, a_kernel_without_regions_gets_the_first_redistributors_address)
{
    kt_open();
    k.config.segments = 0;
    kt_arch();
    hv_fake_fail(k.hv, HV_FAKE_DEVICE_ATTR, 1, -ENXIO); /* the question after the distributor */

    WORKS(varch_irqchip_new(k.arch));

    cr_assert_str_eq(kt_attrs(), "7 0.2 8000000\n"
                                 "7 0.3 c000000\n"
                                 "7 3.0 140\n"
                                 "7 4.0 0\n");
    kt_close();
}

Test(gic, version_2_has_a_cpu_interface_and_room_for_messages)
{
    kt_open();
    k.config.irqchip = VARCH_IRQCHIP_GICV2;

    WORKS(kt_build());

    cr_assert_str_eq(kt_attrs(), "5 0.0 8000000\n"
                                 "5 0.1 8010000\n"
                                 "5 3.0 340\n" /* 32 + 288 + 512 */
                                 "5 4.0 0\n");
    kt_close();
}

Test(gic, a_host_without_version_3_gives_version_2)
{
    kt_open();
    kt_lacks(0);

    kt_arch();

    cr_assert_eq(k.arch->gic, VBOOT_ARM_GIC_V2);
    cr_assert(k.arch->msi);
    kt_close();
}

Test(gic, without_an_its_there_are_no_messages_and_pins_are_wired)
{
    struct varch_pci_segment segment;

    kt_open();
    kt_lacks(1);
    kt_arch();

    varch_pci(k.arch, 0, &segment);

    cr_assert(!k.arch->msi);
    cr_assert_eq(segment.intx[0], VBOOT_ARM_SPI_PCI);
    cr_assert_eq(segment.intx[3], VBOOT_ARM_SPI_PCI + 3);
    cr_assert_eq(varch_msi_send(k.arch, &(struct vdev_msi){ .addr = 0x8090040 }), -ENODEV);
    kt_close();
}

Test(gic, what_the_host_does_not_have_is_refused_by_its_name)
{
    static const struct {
        enum varch_irqchip want;
        int code;
        const char *text;
    } rows[] = {
        { VARCH_IRQCHIP_GICV3, -ENOTSUP, "gives guests no GICv3: leave --irqchip out" },
        { VARCH_IRQCHIP_GICV2, -ENOTSUP, "gives guests no GICv2: leave --irqchip out" },
        { VARCH_IRQCHIP_SPLIT, -EINVAL, "--irqchip can be gicv3 or gicv2" },
        { VARCH_IRQCHIP_KERNEL, -EINVAL, "--irqchip can be gicv3 or gicv2" },
    };

    kt_open();
    for (size_t i = 0; i < VM_ARRAY_SIZE(rows); i++) {
        k.config.irqchip = rows[i].want;
        kt_lacks(0);
        cr_expect_eq(varch_new(&k.env, k.vm, &k.config, &k.arch), rows[i].code);
        cr_expect(strstr(vm_error_text(), rows[i].text), "%s", vm_error_text());
    }
    kt_close();
}

Test(gic, more_cpus_than_it_takes_are_refused_with_the_limit)
{
    kt_open();
    k.config.cpus = 9;
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    cr_expect_eq(varch_new(&k.env, k.vm, &k.config, &k.arch), -EINVAL);
    cr_expect_str_eq(vm_error_text(),
                     "9 vCPUs: a GICv2 takes at most 8: give fewer, or --irqchip gicv3");
    k.config.cpus = 513;
    k.config.irqchip = VARCH_IRQCHIP_DEFAULT;
    cr_expect_eq(varch_new(&k.env, k.vm, &k.config, &k.arch), -EINVAL);
    cr_expect_str_eq(vm_error_text(), "513 vCPUs: a GICv3 takes at most 512: give fewer");
    kt_close();
}

Test(gic, a_kernel_that_refuses_is_named_with_the_part)
{
    kt_open();
    kt_arch();
    hv_fake_fail(k.hv, HV_FAKE_DEVICE_ATTR, 2, -EBUSY);
    cr_expect_eq(varch_irqchip_new(k.arch), -EBUSY);
    cr_expect(!strncmp(vm_error_text(), "GICv3: ", 7), "%s", vm_error_text());
    kt_close();
}

Test(gic, an_its_that_cannot_be_made_is_named)
{
    kt_open();
    kt_arch();
    hv_fake_fail(k.hv, HV_FAKE_DEVICE_ATTR, 5, -E2BIG); /* after those of the VGIC */
    cr_expect_eq(varch_irqchip_new(k.arch), -E2BIG);
    cr_expect(!strncmp(vm_error_text(), "ITS: ", 5), "%s", vm_error_text());
    kt_close();
}

Test(msi, a_message_names_its_device_within_the_segment)
{
    const struct vdev_msi msi = { .addr = 0x080b0040, .data = 3, .devid = 0x10018 };
    struct hv_fake_irq irq;

    kt_open();
    k.config.segments = 2;
    WORKS(kt_build());

    WORKS(varch_msi_send(k.arch, &msi));

    cr_assert(hv_fake_irq_take(k.vm, &irq));
    cr_assert_eq(irq.type, HV_FAKE_BY_MSI);
    cr_assert(irq.msi.has_devid);
    cr_assert_eq(irq.msi.devid, 0x18);
    cr_assert_eq(irq.msi.addr, 0x080b0040);
    cr_assert_eq(irq.msi.data, 3);
    kt_close();
}

Test(msi, what_the_kernel_says_of_a_message_is_the_senders_to_count)
{
    const struct vdev_msi msi = { .addr = 0x08090040 };

    kt_open();
    WORKS(kt_build());
    hv_fake_fail(k.hv, HV_FAKE_SIGNAL_MSI, 0, -EINVAL);

    cr_assert_eq(varch_msi_send(k.arch, &msi), -EINVAL);
    kt_close();
}

Test(msi, with_version_2_a_message_is_an_edge_of_the_interrupt_it_names)
{
    const struct vdev_msi msi = { .addr = 0x08020040, .data = 32 + 288 + 7 };
    struct hv_fake_irq irq;

    kt_open();
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    WORKS(kt_build());

    WORKS(varch_msi_send(k.arch, &msi));

    for (unsigned level = 2; level-- > 0;) {
        cr_assert(hv_fake_irq_take(k.vm, &irq));
        cr_assert_eq(irq.type, HV_FAKE_BY_LINE);
        cr_assert_eq(irq.irq, 1U << 24 | (32 + 288 + 7)); /* an SPI: api.rst, 4.25 */
        cr_assert_eq(irq.level, level == 1);
    }
    cr_assert(!hv_fake_irq_take(k.vm, &irq));
    kt_close();
}

Test(msi, with_version_2_a_message_raises_only_interrupts_of_its_frame)
{
    static const struct vdev_msi bad[] = {
        { .addr = 0x08020040, .data = 32 }, /* a UART's */
        { .addr = 0x08020040, .data = 32 + 288 + 512 },
        { .addr = 0x08020040, .data = 0 },
        { .addr = 0x08020044, .data = 32 + 288 },
    };

    kt_open();
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    WORKS(kt_build());

    for (size_t i = 0; i < VM_ARRAY_SIZE(bad); i++)
        cr_expect_eq(varch_msi_send(k.arch, &bad[i]), -EINVAL, "%zu", i);
    cr_assert_eq(hv_fake_calls(k.hv, HV_FAKE_IRQ_LINE), 0);
    kt_close();
}

Test(msi, with_version_2_a_line_that_the_kernel_refuses_is_told)
{
    const struct vdev_msi msi = { .addr = 0x08020040, .data = 32 + 288 };

    kt_open();
    k.config.irqchip = VARCH_IRQCHIP_GICV2;
    WORKS(kt_build());
    hv_fake_fail(k.hv, HV_FAKE_IRQ_LINE, 0, -EIO);

    cr_assert_eq(varch_msi_send(k.arch, &msi), -EINVAL);
    kt_close();
}
