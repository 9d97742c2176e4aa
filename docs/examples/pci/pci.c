/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * Library pci alone: a root bus with ECAM and one function with a BAR; the program finds the function as a guest would,
 * by reading configuration space, and talks to its register.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/base/error.h>
#include <vmm/base/le.h>
#include <vmm/pci/pci.h>

#define ECAM  0xe0000000ULL
#define MEM32 0xc0000000ULL
enum { MIB = 1 << 20, BAR_BYTES = 4096, REG_ANSWER = 0, CONFIG_BAR0 = 0x10 };

static int answer_read(void *self, uint64_t offset, uint8_t *data, unsigned len)
{
    (void)self;
    memset(data, 0, len);
    if (offset == REG_ANSWER)
        data[0] = 42;
    return 0;
}

static int answer_write(void *self, uint64_t offset, const uint8_t *data, unsigned len)
{
    (void)self, (void)offset, (void)data, (void)len;
    return 0;
}

static int no_message(struct vdev_msi_sink *sink, const struct vdev_msi *msi)
{
    (void)sink, (void)msi;
    return -ENODEV;
}

static uint32_t read32(struct vdev_bus_reader *reader, uint64_t address)
{
    struct vdev *waits;
    uint8_t data[4];

    vdev_bus_read(reader, address, data, sizeof(data), &waits);
    return (uint32_t)vm_load_le(data, sizeof(data));
}

/* What a guest does: looks at each device of bus 0. */
static void scan(struct vdev_bus *mmio)
{
    struct vdev_bus_reader reader;

    vdev_bus_reader_init(mmio, &reader);
    for (unsigned device = 0; device < VPCI_SLOTS; device++) {
        uint64_t config = ECAM + (device << 15);
        uint32_t id = read32(&reader, config), bar;

        if (id == UINT32_MAX)
            continue;
        printf("00:%02x.0 %04x:%04x", device, id & 0xffff, id >> 16);
        bar = read32(&reader, config + CONFIG_BAR0) & ~0xfU;
        if (bar)
            printf(", BAR 0 at %#x, its register says %u", bar, read32(&reader, bar + REG_ANSWER));
        printf("\n");
    }
    vdev_bus_reader_exit(&reader);
}

static int run(struct vpci_root *root, struct vdev_bus *mmio)
{
    static const struct vpci_ids ids = { .vendor = 0x1234,
                                         .device = 0x0042,
                                         .class_code = 0xff0000 };
    static const struct vpci_ops no_ops = { 0 };
    static const struct vdev_region_ops answer = { .read = answer_read, .write = answer_write };
    struct vpci_function fn;
    struct vm_lock lock;
    int rc;

    vm_lock_init(&lock, VM_RANK_DEVICE, "answer");
    vpci_function_init(&fn, "answer", &ids, &no_ops, NULL, NULL);
    fn.lock = &lock;
    fn.no_intx = true;
    rc = vpci_bar_add(&fn, 0, VPCI_BAR_MEM32, BAR_BYTES, &answer, NULL);
    if (!rc)
        rc = vpci_plug(root, &fn, "05");
    if (!rc) {
        rc = vpci_root_assign(root);
        if (!rc)
            scan(mmio);
        vpci_unplug(&fn, NULL, NULL);
    }
    vpci_function_exit(&fn);
    vm_lock_destroy(&lock);
    return rc;
}

int main(void)
{
    struct vdev_msi_sink sink = { .send = no_message };
    struct vpci_root_config config = {
        .last_bus = 0, .ecam_base = ECAM, .mem32 = { MEM32, 16 * MIB }, .assign = true, .msi = &sink
    };
    struct vpci_root *root;
    struct vm_env env;
    int rc;

    vm_env_host(VM_LOG_INFO, &env);
    rc = vdev_bus_new(&env, "memory", UINT32_MAX, &config.mmio);
    if (!rc)
        rc = vdev_bus_new(&env, "ports", UINT16_MAX, &config.pio);
    if (!rc)
        rc = vpci_root_new(&env, &config, &root);
    if (!rc) {
        rc = run(root, config.mmio);
        vpci_root_free(root);
    }
    vdev_bus_free(config.pio);
    vdev_bus_free(config.mmio);
    if (rc)
        fprintf(stderr, "pci: %s\n", vm_error_text());
    return rc ? 1 : 0;
}
