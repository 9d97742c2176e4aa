/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* Platform and virtio-mmio devices in the device tree: what each says about itself, and what the board adds to it. */
#include "fdt_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LIST_MAX = 128, KEY_POWER = 116 /* Linux: input-event-codes.h */ };

uint64_t vboot_arm_fdt_base(const struct vdev_firmware *fw)
{
    for (unsigned i = 0; fw->compatible && i < VDEV_RESOURCES_MAX; i++) {
        if (fw->resource[i].type == VDEV_RES_MMIO)
            return fw->resource[i].base;
        if (fw->resource[i].type == VDEV_RES_END)
            break;
    }
    return 0;
}

const struct vdev_firmware *vboot_arm_fdt_at(const struct vboot_arm_fdt *config, uint64_t base)
{
    for (size_t i = 0; i < config->device_count; i++)
        if (vboot_arm_fdt_base(config->devices[i]) == base)
            return config->devices[i];
    return NULL;
}

static const char *name_of(const struct vdev_firmware *fw)
{
    return fw->node ? fw->node : "device";
}

void vboot_arm_fdt_path(const struct vdev_firmware *fw, char ret_path[VBOOT_ARM_PATH_MAX])
{
    snprintf(ret_path, VBOOT_ARM_PATH_MAX, "/%s@%" PRIx64, name_of(fw), vboot_arm_fdt_base(fw));
}

/* ---- lists of names, separated by spaces ---- */

static bool list_has(const char *list, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = list; (at = strstr(at, name)); at += len)
        if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ' '))
            return true;
    return false;
}

/* Gives the number of names. */
static size_t add_list(struct vacpi_fdt *fdt, const char *property, const char *list)
{
    size_t len = strlen(list) + 1, count = 1;
    char names[LIST_MAX];

    if (len > sizeof(names)) {
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: %s '%s' is too long", property, list);
        return 0;
    }
    memcpy(names, list, len);
    for (char *c = names; *c || c < names + len - 1; c++)
        if (*c == ' ') {
            *c = 0;
            count++;
        }
    vacpi_fdt_bytes(fdt, property, names, len);
    return count;
}

/* ---- one device ---- */

static void add_resources(struct vacpi_fdt *fdt, const struct vdev_firmware *fw)
{
    struct vacpi_fdt_range ranges[VDEV_RESOURCES_MAX];
    uint32_t irqs[3 * VDEV_RESOURCES_MAX];
    size_t range_count = 0, n = 0;

    for (unsigned i = 0; i < VDEV_RESOURCES_MAX && fw->resource[i].type != VDEV_RES_END; i++) {
        const struct vdev_resource *r = &fw->resource[i];

        if (r->type == VDEV_RES_PIO) {
            vacpi_fdt_fail(fdt, -EINVAL, "FDT: %s has ports, which AArch64 does not", name_of(fw));
        } else if (r->type == VDEV_RES_MMIO) {
            ranges[range_count++] = (struct vacpi_fdt_range){ r->base, r->size };
        } else {
            irqs[n++] = VBOOT_ARM_IRQ_SPI;
            irqs[n++] = (uint32_t)r->base;
            irqs[n++] = r->size ? VBOOT_ARM_IRQ_LEVEL : VBOOT_ARM_IRQ_EDGE;
        }
    }
    if (!range_count)
        vacpi_fdt_fail(fdt, -EINVAL, "FDT: device %s has no address", name_of(fw));
    vacpi_fdt_regs(fdt, ranges, range_count);
    if (n)
        vacpi_fdt_cells(fdt, "interrupts", irqs, n);
}

/* The AMBA bus of Linux asks each PrimeCell's clock apb_pclk (bindings/arm/primecell.yaml). */
static void add_clocks(struct vboot_arm_tree *t, const struct vdev_firmware *fw)
{
    const char *names = fw->clocks;
    uint32_t cells[LIST_MAX / 2];
    size_t count;

    if (!names && list_has(fw->compatible, "arm,primecell"))
        names = "apb_pclk";
    if (!names)
        return;
    count = add_list(&t->fdt, "clock-names", names);
    for (size_t i = 0; i < count; i++)
        cells[i] = t->clock;
    vacpi_fdt_cells(&t->fdt, "clocks", cells, count);
}

/* What the board knows by the place: its labels, and the pins of the GPIO (Linux: bindings/gpio/pl061-gpio.yaml). */
static void add_board(struct vboot_arm_tree *t, const struct vdev_firmware *fw)
{
    uint64_t base = vboot_arm_fdt_base(fw);
    char path[VBOOT_ARM_PATH_MAX], uart[] = "uart0";

    vboot_arm_fdt_path(fw, path);
    for (unsigned i = 0; i < VBOOT_ARM_UARTS; i++, uart[4]++)
        if (base == VBOOT_ARM_UART_BASE + i * VBOOT_ARM_UART_STRIDE)
            vboot_arm_fdt_label(t, uart, path, 0);
    if (base == VBOOT_ARM_RTC_BASE)
        vboot_arm_fdt_label(t, "rtc", path, 0);
    if (base != VBOOT_ARM_GPIO_BASE)
        return;
    vacpi_fdt_empty(&t->fdt, "gpio-controller");
    vacpi_fdt_u32(&t->fdt, "#gpio-cells", 2);
    vacpi_fdt_empty(&t->fdt, "interrupt-controller");
    vacpi_fdt_u32(&t->fdt, "#interrupt-cells", 2);
    vacpi_fdt_u32(&t->fdt, "#address-cells", 0);
    vboot_arm_fdt_label(t, "gpio0", path, t->gpio);
}

static void add_device(struct vboot_arm_tree *t, const struct vdev_firmware *fw)
{
    vacpi_fdt_begin_at(&t->fdt, name_of(fw), vboot_arm_fdt_base(fw));
    add_list(&t->fdt, "compatible", fw->compatible);
    add_resources(&t->fdt, fw);
    add_clocks(t, fw);
    if (list_has(fw->compatible, "virtio,mmio"))
        vacpi_fdt_empty(&t->fdt, "dma-coherent");
    add_board(t, fw);
    vacpi_fdt_end(&t->fdt);
}

/* Linux: bindings/input/gpio-keys.yaml. */
static void add_power_key(struct vboot_arm_tree *t)
{
    const uint32_t pin[] = { t->gpio, VBOOT_ARM_POWER_PIN, 0 /* active high */ };

    vacpi_fdt_begin(&t->fdt, "gpio-keys");
    vacpi_fdt_string(&t->fdt, "compatible", "gpio-keys");
    vacpi_fdt_begin(&t->fdt, "key-power");
    vacpi_fdt_string(&t->fdt, "label", "power");
    vacpi_fdt_u32(&t->fdt, "linux,code", KEY_POWER);
    vacpi_fdt_cells(&t->fdt, "gpios", pin, sizeof(pin) / sizeof(pin[0]));
    vacpi_fdt_end(&t->fdt);
    vacpi_fdt_end(&t->fdt);
}

void vboot_arm_fdt_devices(struct vboot_arm_tree *t)
{
    const struct vboot_arm_fdt *c = t->config;

    for (size_t i = 0; i < c->device_count; i++)
        if (c->devices[i]->compatible)
            add_device(t, c->devices[i]);
    if (vboot_arm_fdt_at(c, VBOOT_ARM_GPIO_BASE))
        add_power_key(t);
}
