/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The PCI host bridge as AML: resources (ACPI 6.5, 6.2.2), routing (6.2.13), and the control that
 * the OS may take over (6.2.11; PCI Firmware Specification 3.3, 4.5.1).
 */
#include <errno.h>

#include <vmm/base/check.h>

#include "device_private.h"

#define OSC_UUID "33db4d5b-1ff7-401c-9657-7441c03dd766" /* PCI host bridge device */

enum { /* status bits in the first word of _OSC (6.2.11) */
       OSC_FAILURE = 1 << 1,
       OSC_UNKNOWN_UUID = 1 << 2,
       OSC_UNKNOWN_REVISION = 1 << 3,
       OSC_MASKED = 1 << 4,
};

static void put_window(struct vacpi_aml *aml, const struct vacpi_pci_window *window)
{
    struct vacpi_address address = {
        .type = window->type,
        .caching = window->prefetchable ? VACPI_PREFETCHABLE : VACPI_UNCACHED,
        .translates_type = window->type == VACPI_IO && window->translation,
        .min = window->base,
        .translation = window->translation,
    };

    if (!window->size || !vm_add(window->base, window->size - 1, &address.max)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: PCI window of %#llx bytes at %#llx is empty or wraps",
                       (unsigned long long)window->size, (unsigned long long)window->base);
        return;
    }
    vacpi_res_address(aml, &address);
}

static void put_crs(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge)
{
    vacpi_aml_name(aml, "_CRS");
    vacpi_aml_template(aml);
    vacpi_res_address(aml, &(struct vacpi_address){
                               .type = VACPI_BUS_NUMBER,
                               .min = bridge->first_bus,
                               .max = bridge->last_bus,
                           });
    for (unsigned i = 0; i < bridge->port_count; i++)
        vacpi_res_put(aml, &bridge->ports[i]);
    for (unsigned i = 0; i < bridge->window_count; i++)
        put_window(aml, &bridge->windows[i]);
    vacpi_aml_end(aml);
}

/* Package { address (all functions), pin, source: 0, GSI } for each. */
static void put_prt(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge)
{
    vacpi_aml_name(aml, "_PRT");
    vacpi_aml_package(aml);
    for (unsigned i = 0; i < bridge->irq_count; i++) {
        const struct vacpi_pci_irq *irq = &bridge->irqs[i];

        if (irq->device > 31 || irq->pin > 3)
            vacpi_aml_fail(aml, -EINVAL, "AML: _PRT: device %u pin %u: 0 to 31 and 0 to 3",
                           irq->device, irq->pin);
        vacpi_aml_package(aml);
        vacpi_aml_integer(aml, (uint64_t)irq->device << 16 | 0xffff);
        vacpi_aml_integer(aml, irq->pin);
        vacpi_aml_integer(aml, 0);
        vacpi_aml_integer(aml, irq->gsi);
        vacpi_aml_end(aml);
    }
    vacpi_aml_end(aml);
}

/* CreateDWordField (Arg3, index, name) */
static void put_word(struct vacpi_aml *aml, unsigned index, const char *name)
{
    vacpi_aml_op(aml, VACPI_CREATE_DWORD_FIELD);
    vacpi_aml_arg(aml, 3);
    vacpi_aml_integer(aml, index);
    vacpi_aml_path(aml, name);
}

/* Or (STAT, bits, STAT) */
static void put_status(struct vacpi_aml *aml, unsigned bits)
{
    vacpi_aml_op(aml, VACPI_OR);
    vacpi_aml_path(aml, "STAT");
    vacpi_aml_integer(aml, bits);
    vacpi_aml_path(aml, "STAT");
}

/* Return (Arg3), with bits in its first word. */
static void put_refusal(struct vacpi_aml *aml, unsigned bits)
{
    put_status(aml, bits);
    vacpi_aml_op(aml, VACPI_RETURN);
    vacpi_aml_arg(aml, 3);
}

/* Every refusal is "LNotEqual (what came, what we know)" or the like: predicate, answer. */
static void put_osc_checks(struct vacpi_aml *aml)
{
    vacpi_aml_if(aml);
    vacpi_aml_op(aml, VACPI_LNOT_EQUAL);
    vacpi_aml_arg(aml, 0);
    vacpi_aml_uuid(aml, OSC_UUID);
    put_refusal(aml, OSC_UNKNOWN_UUID);
    vacpi_aml_end(aml);

    vacpi_aml_if(aml);
    vacpi_aml_op(aml, VACPI_LNOT_EQUAL);
    vacpi_aml_arg(aml, 1);
    vacpi_aml_integer(aml, 1);
    put_refusal(aml, OSC_UNKNOWN_REVISION);
    vacpi_aml_end(aml);

    vacpi_aml_if(aml);
    vacpi_aml_op(aml, VACPI_LLESS);
    vacpi_aml_arg(aml, 2);
    vacpi_aml_integer(aml, 3);
    put_refusal(aml, OSC_FAILURE);
    vacpi_aml_end(aml);
}

/* Grants of the third word, the control field, what the mask allows, and says so where that is
 * less. A query (first word, bit 0) gets the same answer, and there is no state to change. */
static void put_osc(struct vacpi_aml *aml, uint32_t mask)
{
    vacpi_aml_method(aml, "_OSC", 4, true);
    put_word(aml, 0, "STAT");
    put_osc_checks(aml);
    put_word(aml, 8, "CTRL");
    vacpi_aml_op(aml, VACPI_AND);
    vacpi_aml_path(aml, "CTRL");
    vacpi_aml_integer(aml, mask);
    vacpi_aml_local(aml, 0);
    vacpi_aml_if(aml);
    vacpi_aml_op(aml, VACPI_LNOT_EQUAL);
    vacpi_aml_path(aml, "CTRL");
    vacpi_aml_local(aml, 0);
    put_status(aml, OSC_MASKED);
    vacpi_aml_op(aml, VACPI_STORE);
    vacpi_aml_local(aml, 0);
    vacpi_aml_path(aml, "CTRL");
    vacpi_aml_end(aml);
    vacpi_aml_op(aml, VACPI_RETURN);
    vacpi_aml_arg(aml, 3);
    vacpi_aml_end(aml);
}

void vacpi_aml_pci_bridge_open(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge)
{
    vacpi_aml_simple_device_open(aml, &(struct vacpi_device){
                                          .name = bridge->name,
                                          .hid = "PNP0A08",
                                          .cid = "PNP0A03",
                                          .uid = bridge->uid,
                                          .coherent = bridge->coherent,
                                      });
    vacpi_aml_name_integer(aml, "_SEG", bridge->segment);
    vacpi_aml_name_integer(aml, "_BBN", bridge->first_bus);
    if (bridge->has_domain)
        vacpi_aml_name_integer(aml, "_PXM", bridge->domain);
    put_crs(aml, bridge);
    if (bridge->irq_count)
        put_prt(aml, bridge);
    put_osc(aml, bridge->osc_control);
}

void vacpi_aml_pci_bridge(struct vacpi_aml *aml, const struct vacpi_pci_bridge *bridge)
{
    vacpi_aml_pci_bridge_open(aml, bridge);
    vacpi_aml_end(aml);
}
