/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
#include <criterion/criterion.h>

#include <vmm/base/error.h>

#include "platform_harness.h"

extern const struct vdev_class gicv2m_class;

enum {
    BASE = 0x8020000,
    TYPER = BASE + 8,
    SETSPI = BASE + 0x40,
    IIDR = BASE + 0xfcc,
    FIRST = 320,
    COUNT = 512
};

static struct plat p;

static void setup(void)
{
    cr_assert_eq(plat_open(&p), 0);
    p.resource[0] = (struct vdev_resource){ VDEV_RES_MMIO, BASE, 0x1000 };
    p.resource[1] = (struct vdev_resource){ VDEV_RES_IRQ, FIRST, COUNT };
}

static void teardown(void)
{
    plat_close(&p);
}

static void begin(void)
{
    cr_assert_eq(plat_create(&p, &gicv2m_class), 0, "%s", vm_error_text());
}

TestSuite(gicv2m, .init = setup, .fini = teardown);

Test(gicv2m, the_type_register_says_which_interrupts_it_has)
{
    begin();

    cr_assert_eq(plat_read(&p, TYPER, 4), FIRST << 16 | COUNT);
    cr_assert_eq(plat_read(&p, TYPER + 2, 2), FIRST);
    cr_assert_eq(plat_read(&p, IIDR, 4), 0);
}

Test(gicv2m, a_number_of_its_own_is_sent)
{
    begin();

    plat_write(&p, SETSPI, 4, FIRST);
    plat_write(&p, SETSPI, 2, FIRST + COUNT - 1);

    cr_assert_eq(p.messages, 2);
    cr_assert_eq(p.message[0].addr, SETSPI);
    cr_assert_eq(p.message[0].data, FIRST);
    cr_assert_eq(p.message[1].data, FIRST + COUNT - 1);
}

Test(gicv2m, other_numbers_and_registers_do_nothing)
{
    begin();

    plat_write(&p, SETSPI, 4, FIRST - 1);
    plat_write(&p, SETSPI, 4, FIRST + COUNT);
    plat_write(&p, SETSPI, 1, 0x40);
    plat_write(&p, TYPER, 4, FIRST);

    cr_assert_eq(p.messages, 0);
    cr_assert_eq(plat_read(&p, TYPER, 4), FIRST << 16 | COUNT);
}

Test(gicv2m, without_a_range_it_has_every_spi)
{
    p.resource[1] = (struct vdev_resource){ VDEV_RES_END, 0, 0 };
    begin();

    cr_assert_eq(plat_read(&p, TYPER, 4), 32 << 16 | 988);
}

Test(gicv2m, interrupts_that_a_gicv2_has_not_are_refused)
{
    p.resource[1].base = 31;
    cr_assert_eq(plat_create(&p, &gicv2m_class), -EINVAL);
    p.resource[1] = (struct vdev_resource){ VDEV_RES_IRQ, 1000, 21 };
    cr_assert_eq(plat_create(&p, &gicv2m_class), -EINVAL);
    cr_assert(strstr(vm_error_text(), "1000"), "%s", vm_error_text());
    p.resource[1].size = 20;
    begin();
}
