/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Devices of a machine as AML (ACPI 6.5): ids (6.1), resources (6.2.2, 6.4), processors (8.4),
 * sleep states (7.4.2), the generic event device (5.6.9).
 */
#include <errno.h>
#include <stdio.h>

#include <vmm/base/check.h>

#include <vmm/acpi/device.h>

#include "device_private.h"

#define STA_HIDDEN 0x0b /* present, enabled, working, but not shown (6.3.7) */

/* -- Resources -- */

static void put_mmio(struct vacpi_aml *aml, const struct vacpi_resource *r, uint64_t last)
{
    struct vacpi_address address = {
        .type = VACPI_MEMORY,
        .bytes = 8,
        .consumer = true,
        .min = r->base,
        .max = last,
    };

    if (last <= UINT32_MAX)
        vacpi_res_memory32_fixed(aml, true, (uint32_t)r->base, (uint32_t)r->size);
    else
        vacpi_res_address(aml, &address);
}

static void put_pio(struct vacpi_aml *aml, const struct vacpi_resource *r, uint64_t last)
{
    struct vacpi_address address = {
        .type = VACPI_IO,
        .consumer = true,
        .min = r->base,
        .max = last,
    };
    uint16_t port = (uint16_t)(r->base & 0xffff);

    if (last > UINT16_MAX)
        vacpi_aml_fail(aml, -EINVAL, "AML: ports up to %#llx: 0xffff is the last one",
                       (unsigned long long)last);
    else if (r->size <= 255)
        vacpi_res_io(aml, port, port, 1, (uint8_t)r->size);
    else
        vacpi_res_address(aml, &address);
}

void vacpi_res_put(struct vacpi_aml *aml, const struct vacpi_resource *r)
{
    uint32_t gsi = (uint32_t)(r->base & UINT32_MAX);
    uint64_t last;

    if (r->kind == VACPI_RES_GSI) {
        if (r->base > UINT32_MAX)
            vacpi_aml_fail(aml, -EINVAL, "AML: GSI %#llx has more than 32 bits",
                           (unsigned long long)r->base);
        vacpi_res_interrupt(aml, r->flags, &gsi, 1);
        return;
    }
    if (!r->size || !vm_add(r->base, r->size - 1, &last)) {
        vacpi_aml_fail(aml, -EINVAL, "AML: resource of %#llx bytes at %#llx is empty or wraps",
                       (unsigned long long)r->size, (unsigned long long)r->base);
        return;
    }
    if (r->kind == VACPI_RES_MMIO)
        put_mmio(aml, r, last);
    else
        put_pio(aml, r, last);
}

static void put_resources(struct vacpi_aml *aml, const struct vacpi_resource *resources,
                          unsigned count)
{
    if (!count)
        return;
    vacpi_aml_name(aml, "_CRS");
    vacpi_aml_template(aml);
    for (unsigned i = 0; i < count; i++)
        vacpi_res_put(aml, &resources[i]);
    vacpi_aml_end(aml);
}

/* -- Devices that ids and resources describe -- */

void vacpi_aml_simple_device_open(struct vacpi_aml *aml, const struct vacpi_device *device)
{
    vacpi_aml_device(aml, device->name);
    vacpi_aml_name_id(aml, "_HID", device->hid);
    if (device->cid)
        vacpi_aml_name_id(aml, "_CID", device->cid);
    vacpi_aml_name_integer(aml, "_UID", device->uid);
    if (device->hidden)
        vacpi_aml_name_integer(aml, "_STA", STA_HIDDEN);
    if (device->coherent)
        vacpi_aml_name_integer(aml, "_CCA", 1);
    put_resources(aml, device->resources, device->resource_count);
}

void vacpi_aml_simple_device(struct vacpi_aml *aml, const struct vacpi_device *device)
{
    vacpi_aml_simple_device_open(aml, device);
    vacpi_aml_end(aml);
}

void vacpi_aml_serial(struct vacpi_aml *aml, const char *name, uint32_t uid, uint16_t port,
                      uint32_t gsi, unsigned flags)
{
    const struct vacpi_resource resources[] = {
        { .kind = VACPI_RES_PIO, .base = port, .size = 8 },
        { .kind = VACPI_RES_GSI, .base = gsi, .flags = flags },
    };

    vacpi_aml_simple_device(aml, &(struct vacpi_device){
                                     .name = name,
                                     .hid = "PNP0501",
                                     .uid = uid,
                                     .resources = resources,
                                     .resource_count = 2,
                                 });
}

/* The clock's interrupt is that of the PC: edge, high, its own. */
void vacpi_aml_rtc(struct vacpi_aml *aml, const char *name, uint16_t port, uint32_t gsi)
{
    const struct vacpi_resource resources[] = {
        { .kind = VACPI_RES_PIO, .base = port, .size = 2 },
        { .kind = VACPI_RES_GSI, .base = gsi, .flags = VACPI_IRQ_EDGE },
    };

    vacpi_aml_simple_device(aml, &(struct vacpi_device){
                                     .name = name,
                                     .hid = "PNP0B00",
                                     .resources = resources,
                                     .resource_count = gsi == UINT32_MAX ? 1 : 2,
                                 });
}

void vacpi_aml_virtio_mmio(struct vacpi_aml *aml, const char *name, uint32_t uid, uint64_t base,
                           uint64_t size, uint32_t gsi, unsigned flags)
{
    const struct vacpi_resource resources[] = {
        { .kind = VACPI_RES_MMIO, .base = base, .size = size },
        { .kind = VACPI_RES_GSI, .base = gsi, .flags = flags },
    };

    vacpi_aml_simple_device(aml, &(struct vacpi_device){
                                     .name = name,
                                     .hid = "LNRO0005",
                                     .uid = uid,
                                     .coherent = true,
                                     .resources = resources,
                                     .resource_count = 2,
                                 });
}

void vacpi_aml_power_button(struct vacpi_aml *aml, const char *name)
{
    vacpi_aml_simple_device(aml, &(struct vacpi_device){ .name = name, .hid = "PNP0C0C" });
}

void vacpi_aml_reserved(struct vacpi_aml *aml, const char *name, uint32_t uid,
                        const struct vacpi_resource *resources, unsigned count)
{
    vacpi_aml_simple_device(aml, &(struct vacpi_device){
                                     .name = name,
                                     .hid = "PNP0C02",
                                     .uid = uid,
                                     .resources = resources,
                                     .resource_count = count,
                                 });
}

/* -- Processors and sleep -- */

void vacpi_aml_processors(struct vacpi_aml *aml, uint32_t first_uid, unsigned count,
                          const uint32_t *domains)
{
    if (count > 4096 || first_uid > UINT32_MAX - count) {
        vacpi_aml_fail(aml, -EINVAL, "AML: %u processors from uid %u on: at most 4096", count,
                       first_uid);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        char name[8];

        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        vacpi_aml_simple_device_open(
            aml, &(struct vacpi_device){ .name = name, .hid = "ACPI0007", .uid = first_uid + i });
        if (domains)
            vacpi_aml_name_integer(aml, "_PXM", domains[i]);
        vacpi_aml_end(aml);
    }
}

/* Elements: SLP_TYP for PM1a (or the sleep control register), for PM1b, and two that are
 * reserved. */
void vacpi_aml_sleep_state(struct vacpi_aml *aml, unsigned state, uint8_t type)
{
    char name[] = "\\_S0_";

    if (state < 3 || state > 5 || type > 7) {
        vacpi_aml_fail(aml, -EINVAL, "AML: sleep state S%u of type %u: S3 to S5, types 0 to 7",
                       state, type);
        return;
    }
    name[3] = (char)('0' + state);
    vacpi_aml_name(aml, name);
    vacpi_aml_package(aml);
    vacpi_aml_integer(aml, type);
    vacpi_aml_integer(aml, type);
    vacpi_aml_integer(aml, 0);
    vacpi_aml_integer(aml, 0);
    vacpi_aml_end(aml);
}

/* -- Generic event device -- */

static bool is_first_of_gsi(const struct vacpi_ged *ged, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (ged->events[i].gsi == ged->events[n].gsi)
            return false;
    return true;
}

/* One interrupt resource per GSI, whatever the number of its events. */
static void put_event_resources(struct vacpi_aml *aml, const struct vacpi_ged *ged)
{
    vacpi_aml_name(aml, "_CRS");
    vacpi_aml_template(aml);
    for (unsigned i = 0; i < ged->event_count; i++)
        if (is_first_of_gsi(ged, i))
            vacpi_res_interrupt(aml, ged->irq_flags, &ged->events[i].gsi, 1);
    vacpi_aml_end(aml);
}

static void put_event_action(struct vacpi_aml *aml, const struct vacpi_event *event)
{
    if (event->call)
        vacpi_aml_path(aml, event->call);
    if (event->notify)
        vacpi_aml_notify(aml, event->notify, event->notify_value);
}

/* If (LEqual (Arg0, gsi)) { If (And (Local0, mask)) { ... } } */
static void put_event(struct vacpi_aml *aml, const struct vacpi_ged *ged,
                      const struct vacpi_event *event)
{
    vacpi_aml_if(aml);
    vacpi_aml_op(aml, VACPI_LEQUAL);
    vacpi_aml_arg(aml, 0);
    vacpi_aml_integer(aml, event->gsi);
    if (ged->has_register) {
        vacpi_aml_if(aml);
        vacpi_aml_op(aml, VACPI_AND);
        vacpi_aml_local(aml, 0);
        vacpi_aml_integer(aml, event->mask);
        vacpi_aml_nowhere(aml);
    }
    put_event_action(aml, event);
    if (ged->has_register)
        vacpi_aml_end(aml);
    vacpi_aml_end(aml);
}

static void put_event_register(struct vacpi_aml *aml, const struct vacpi_ged *ged)
{
    vacpi_aml_region(aml, "EREG", ged->space, ged->address, 4);
    vacpi_aml_field(aml, "EREG", VACPI_DWORD_ACC, false, VACPI_WRITE_ZEROS);
    vacpi_aml_unit(aml, "EVNT", 32);
    vacpi_aml_end(aml);
}

/* Serialized: a second interrupt must not read the register between the first one's read and its
 * notifications. */
static void put_evt(struct vacpi_aml *aml, const struct vacpi_ged *ged)
{
    vacpi_aml_method(aml, "_EVT", 1, true);
    if (ged->has_register) {
        vacpi_aml_op(aml, VACPI_STORE);
        vacpi_aml_path(aml, "EVNT");
        vacpi_aml_local(aml, 0);
    }
    for (unsigned i = 0; i < ged->event_count; i++)
        put_event(aml, ged, &ged->events[i]);
    vacpi_aml_end(aml);
}

void vacpi_aml_ged(struct vacpi_aml *aml, const struct vacpi_ged *ged)
{
    if (!ged->event_count)
        vacpi_aml_fail(aml, -EINVAL, "AML: the event device %s has no events", ged->name);
    vacpi_aml_simple_device_open(
        aml, &(struct vacpi_device){ .name = ged->name, .hid = "ACPI0013", .uid = ged->uid });
    put_event_resources(aml, ged);
    if (ged->has_register)
        put_event_register(aml, ged);
    put_evt(aml, ged);
    vacpi_aml_end(aml);
}
