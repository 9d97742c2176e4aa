/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * The interrupt controllers of the payload VMs: GICv3 and its ITS (Arm IHI 0069; Linux Documentation/virt/kvm/devices/arm-vgic-v3.rst,
 * arm-vgic-its.rst). What the guest has to write is a list that program gic goes through; tables and commands lie in memory
 * before.
 */
#include "payload.h"

#include <criterion/criterion.h>

#include <vmm/base/error.h>
#include <vmm/base/fd.h>
#include <vmm/base/le.h>

enum {
    GICD_CTLR = 0x0000,
    GICD_IGROUPR = 0x0080,
    GICD_ISENABLER = 0x0100,
    GICD_ICFGR = 0x0c00,
    GICD_CTLR_ON = 1 << 4 | 1 << 1, /* affinity routing, group 1 */
    GICR_BYTES = 0x20000,
    GICR_CTLR = 0x0000,
    GICR_WAKER = 0x0014,
    GICR_PROPBASER = 0x0070,
    GICR_PENDBASER = 0x0078,
    GICR_SGI = 0x10000, /* the frame of private interrupts: offsets as in the distributor */
    GITS_CTLR = 0x0000,
    GITS_CBASER = 0x0080,
    GITS_CWRITER = 0x0088,
    GITS_BASER = 0x0100,
    GITS_TRANSLATER = 0x10040,
    BASERS = 8,
    TYPE_DEVICES = 1,
    TYPE_COLLECTIONS = 4,
    /* Commands, 5.3 */
    ITS_SYNC = 0x05,
    ITS_MAPD = 0x08,
    ITS_MAPC = 0x09,
    ITS_MAPTI = 0x0a,
    LPI_ENABLED = 0xa3, /* a priority, and enabled */
    ID_BITS = 14,
};
#define VALID (1ull << 63)
/* Inner shareable, cached. GICR_PROPBASER and GICR_PENDBASER have theirs in bits 11:7. */
#define CACHED     (7ull << 59 | 1ull << 10)
#define LPI_CACHED (7ull << 7 | 1ull << 10)

uint64_t payload_attr(struct payload *p, unsigned device, uint32_t group, uint64_t attr)
{
    uint64_t value = 0;
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

    payload_must(hv_device_attr(p->device[device], HV_ATTR_GET, &a), "attribute");
    return value;
}

void payload_set_attr(struct payload *p, unsigned device, uint32_t group, uint64_t attr,
                      uint64_t value)
{
    struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&value };

    payload_must(hv_device_attr(p->device[device], HV_ATTR_SET, &a), "attribute");
}

uint32_t payload_irq_code(uint32_t type, unsigned cpu, uint32_t intid)
{
    return type << KVM_ARM_IRQ_TYPE_SHIFT | cpu << KVM_ARM_IRQ_VCPU_SHIFT | intid;
}

void payload_gic_new(struct payload *p, bool its)
{
    if (hv_vm_device_new(p->vm, KVM_DEV_TYPE_ARM_VGIC_V3, NULL))
        cr_skip_test("this KVM gives guests no GICv3: %s", vm_error_text());
    payload_must(hv_vm_device_new(p->vm, KVM_DEV_TYPE_ARM_VGIC_V3, &p->device[GIC]), "GIC");
    payload_set_attr(p, GIC, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, GICD_AT);
    payload_set_attr(p, GIC, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, GICR_AT);
    payload_set_attr(p, GIC, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, INTIDS);
    payload_set_attr(p, GIC, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
    if (!its)
        return;
    payload_must(hv_vm_device_new(p->vm, KVM_DEV_TYPE_ARM_VGIC_ITS, &p->device[ITS]), "ITS");
    payload_set_attr(p, ITS, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, ITS_AT);
    payload_set_attr(p, ITS, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0);
}

static void put(uint8_t **at, uint64_t value)
{
    vm_store_le(*at, 8, value);
    *at += 8;
}

static void put_store(uint8_t **at, uint64_t address, uint64_t value, uint64_t width)
{
    put(at, address);
    put(at, value);
    put(at, width);
}

static void put_distributor(uint8_t **at)
{
    const uint32_t pins = 1 << EDGE_PIN | 1 << LEVEL_PIN;

    put_store(at, GICD_AT + GICD_CTLR, GICD_CTLR_ON, 4);
    put_store(at, GICD_AT + GICD_IGROUPR + 4, UINT32_MAX, 4);
    put_store(at, GICD_AT + GICD_ICFGR + 8, 2 << 2 * EDGE_PIN, 4);
    put_store(at, GICD_AT + GICD_ISENABLER + 4, pins, 4);
}

static void put_private(uint8_t **at, unsigned cpu)
{
    uint64_t frame = GICR_AT + (uint64_t)cpu * GICR_BYTES;

    put_store(at, frame + GICR_WAKER, 0, 4);
    put_store(at, frame + GICR_SGI + GICD_IGROUPR, UINT32_MAX, 4);
    put_store(at, frame + GICR_SGI + GICD_ISENABLER, UINT32_MAX, 4);
}

static void put_command(uint8_t **at, uint64_t w0, uint64_t w1, uint64_t w2)
{
    put(at, w0);
    put(at, w1);
    put(at, w2);
    put(at, 0);
}

static void put_device(uint8_t **at, uint64_t device, unsigned events, uint64_t lpi)
{
    put_command(at, ITS_MAPD | device << 32, 0, VALID | (EVENTS_AT + device * 0x1000));
    for (uint64_t event = 0; event < events; event++)
        put_command(at, ITS_MAPTI | device << 32, event | (lpi + event) << 32, 0);
}

/* Collection 0 is vCPU 0; two events of one device, one of another. How many bytes of commands. */
static uint64_t put_commands(struct payload *p)
{
    uint8_t *start = p->low + COMMANDS_AT, *at = start;

    put_command(&at, ITS_MAPC, 0, VALID);
    put_device(&at, DEVICE, 2, FIRST_LPI);
    put_device(&at, OTHER_DEVICE, 1, FIRST_LPI + 2);
    put_command(&at, ITS_SYNC, 0, 0);
    return (uint64_t)(at - start);
}

static void put_its(struct payload *p, uint8_t **at)
{
    for (unsigned n = 0; n < 3; n++)
        p->low[PROPERTY_AT + n] = LPI_ENABLED;
    put_store(at, GICR_AT + GICR_PROPBASER, LPI_CACHED | PROPERTY_AT | (ID_BITS - 1), 8);
    put_store(at, GICR_AT + GICR_PENDBASER, 1ull << 62 | LPI_CACHED | PENDING_AT, 8);
    put_store(at, GICR_AT + GICR_CTLR, 1, 4);
    for (unsigned n = 0; n < BASERS; n++) {
        uint64_t base = payload_attr(p, ITS, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, GITS_BASER + 8 * n);
        unsigned type = base >> 56 & 7;

        if (type == TYPE_DEVICES || type == TYPE_COLLECTIONS)
            put_store(at, ITS_AT + GITS_BASER + 8 * n,
                      VALID | CACHED | (type == TYPE_DEVICES ? DEVICES_AT : CPUS_AT), 8);
    }
    put_store(at, ITS_AT + GITS_CBASER, VALID | CACHED | COMMANDS_AT, 8);
    put_store(at, ITS_AT + GITS_CTLR, 1, 4);
    put_store(at, ITS_AT + GITS_CWRITER, put_commands(p), 8);
}

void payload_gic_start(struct payload *p, unsigned cpu)
{
    uint8_t *at = p->low + SCRIPT_AT;

    payload_load(p, gic);
    payload_load_at(p, VECTORS_AT, vectors);
    if (!cpu)
        put_distributor(&at);
    put_private(&at, cpu);
    if (!cpu && p->device[ITS])
        put_its(p, &at);
    put_store(&at, 0, 0, 0);
    payload_set_argument(p->cpu[cpu], SCRIPT_AT);
    payload_run_cpu_to(p->cpu[cpu], DONE);
}

void payload_pin_guest(struct payload *p)
{
    const struct hv_route routes[] = {
        { .gsi = EDGE_GSI, .type = HV_ROUTE_PIN, .pin = { 0, EDGE_PIN } },
        { .gsi = LEVEL_GSI, .type = HV_ROUTE_PIN, .pin = { 0, LEVEL_PIN } },
    };

    payload_new(p, &(struct payload_config){ .arch.gic = true });
    payload_must(hv_vm_set_routes(p->vm, routes, 2), "routes");
    payload_gic_start(p, 0);
}

uint32_t payload_edge_line(void)
{
    return payload_irq_code(KVM_ARM_IRQ_TYPE_SPI, 0, EDGE_TOLD);
}

void payload_message_guest(struct payload *p)
{
    payload_new(p, &(struct payload_config){ .arch.its = true });
    payload_gic_start(p, 0);
}

struct hv_msi payload_message(unsigned which)
{
    return (struct hv_msi){
        .addr = ITS_AT + GITS_TRANSLATER, .data = which, .devid = DEVICE, .has_devid = true
    };
}

struct hv_msi payload_message_astray(void)
{
    struct hv_msi msi = payload_message(0);

    msi.devid = NO_DEVICE;
    return msi;
}
