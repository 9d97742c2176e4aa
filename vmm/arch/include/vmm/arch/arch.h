/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What a machine needs from its architecture. arch-x86_64/kvm and arch-aarch64/kvm each fulfil this header; a build has the one
 * of its host.
 *
 * Order:
 *
 *   varch_vm_config()    before hv_vm_new(): what kind of VM it shall be
 *   varch_new()          after hv_vm_new(): checks the configuration, makes the address map
 *   varch_ram()          where RAM goes; the caller makes the slots
 *   varch_devices()      which platform devices there are and where: data; the caller creates them
 *   varch_irqchip_new()  after the slots, before (x86) or after (Arm) the vCPUs: varch_irqchip_last()
 *   varch_vcpu_init()    for each vCPU after hv_vcpu_new()
 *   varch_load()         kernel, initrd, tables; when all devices are there
 *   varch_boot()         registers of the first vCPU
 *
 * Threads: the thread that builds the machine; varch_exit() comes from vCPU threads.
 */
#ifndef VMM_ARCH_ARCH_H
#define VMM_ARCH_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include <vmm/acpi/tables.h>
#include <vmm/base/env.h>
#include <vmm/devices-core/device.h>
#include <vmm/hypervisor/hypervisor.h>
#include <vmm/vm-memory/view.h>

struct varch;

enum varch_irqchip {
    VARCH_IRQCHIP_DEFAULT,
    VARCH_IRQCHIP_SPLIT, /* x86: local APICs in the kernel, the IOAPIC ours */
    VARCH_IRQCHIP_KERNEL, /* x86: all in the kernel */
    VARCH_IRQCHIP_GICV3, /* Arm */
    VARCH_IRQCHIP_GICV2,
};

struct varch_config {
    unsigned machine; /* version of the map; 0: the newest */
    unsigned cpus;
    uint64_t ram_bytes;
    unsigned segments; /* PCI; 0: no PCI */
    bool acpi, cam, rtc, i8042, debug_ports, pit;
    unsigned serials; /* how many UARTs, 0 to 4 */
    unsigned mmio_slots; /* virtio-mmio devices */
    bool pci_intx; /* wire the INTx pins: some function needs them */
    enum varch_irqchip irqchip;
};

struct varch_range {
    uint64_t base, size;
};

/* What a root bus is made from. */
struct varch_pci_segment {
    struct varch_range ecam, mem32, mem64, io;
    bool cam;
    uint32_t intx[4]; /* interrupt numbers of the pins; UINT32_MAX: not wired */
};

/* A platform device: its class by name, and where. */
enum { VARCH_DEVICE_IRQS = 2 };
struct varch_device {
    const char *cls;
    const char *id;
    struct vdev_resource
        resource[VDEV_RESOURCES_MAX]; /* MMIO and PIO, in the order the class wants */
    uint32_t irq[VARCH_DEVICE_IRQS]; /* numbers for its interrupt lines */
    bool irq_level[VARCH_DEVICE_IRQS];
    unsigned irqs;
    bool irqchip; /* it is the interrupt controller: made first */
};
enum { VARCH_DEVICES_MAX = 16 };

/* The VM that a machine of this configuration needs. */
void varch_vm_config(struct hv *hv, const struct varch_config *config,
                     struct hv_vm_config *ret_config);
/* vm may be NULL: then only the pure parts work (map, devices, load), for vmm plan. host_phys_bits is then 0 for "the most
 * the architecture has". env and vm are borrowed. -EINVAL or -ENOTSUP with text. */
int varch_new(const struct vm_env *env, struct hv_vm *vm, const struct varch_config *config,
              struct varch **ret_arch);
void varch_free(struct varch *arch);

/* RAM, lowest first: at most max rows; returns the number. */
unsigned varch_ram(const struct varch *arch, struct varch_range *ret_rows, unsigned max);
/* Memory beside RAM that the hypervisor fills for the guest (time stolen from vCPUs), likewise. */
unsigned varch_extra(const struct varch *arch, struct varch_range *ret_rows, unsigned max);
/* Segment s below config.segments. */
void varch_pci(const struct varch *arch, unsigned s, struct varch_pci_segment *ret_segment);
unsigned varch_devices(const struct varch *arch, struct varch_device ret_rows[VARCH_DEVICES_MAX]);
/* Window and interrupt number of the n-th virtio-mmio device. */
void varch_mmio_slot(const struct varch *arch, unsigned n, struct varch_range *ret_range,
                     uint32_t *ret_irq);
/* Highest addresses of the memory bus, and of the port bus (0: the architecture has none). */
uint64_t varch_mmio_limit(const struct varch *arch);
uint64_t varch_pio_limit(const struct varch *arch);
/* Wired interrupts are 0 to varch_irqs() - 1; what hv_vm_irq_line() wants to hear for one of them. */
uint32_t varch_irqs(const struct varch *arch);
uint32_t varch_irq_code(const struct varch *arch, uint32_t number);
/* A device's message: to the controller in the kernel. 0, or -EINVAL, -ENODEV (nobody takes messages there); no text. Any
 * thread. */
int varch_msi_send(struct varch *arch, const struct vdev_msi *msi);
/* The same as a route for an eventfd. 0, -ENODEV or -ENOTSUP (this machine's controller cannot have such routes); no text. Any thread. */
int varch_msi_route(const struct varch *arch, const struct vdev_msi *msi, struct hv_msi *ret_msi);

/* Call-backs of the machine. */
int varch_vm_setup(struct varch *arch); /* capabilities of the VM, before the slots */
int varch_irqchip_new(struct varch *arch); /* in the kernel */
bool varch_irqchip_last(const struct varch *arch);
/* The controller in the kernel takes wired interrupts itself (else a device with irqchip set does). */
bool varch_irqchip_in_kernel(const struct varch *arch);
int varch_vcpu_init(struct varch *arch, struct hv_vcpu *vcpu);

/* An opened image; fd < 0 or no name: none. name is for messages. */
struct varch_image {
    const char *name;
    int fd;
};
struct varch_payload {
    struct varch_image kernel, initrd;
    struct varch_image overlay; /* of the device tree */
    const char *cmdline;
    const struct vdev_firmware *const *devices; /* what each device says, in order */
    size_t device_count;
};
/* Reads kernel and initrd into memory and makes the tables. -ENOEXEC, -EINVAL, -ENOSPC, -errno of read, with text. */
int varch_load(struct varch *arch, struct gm_view *memory, const struct varch_payload *payload);
/* The tables alone (vmm plan --dump-acpi); the image belongs to the caller. -ENOTSUP without ACPI. */
int varch_acpi(const struct varch *arch, const struct varch_payload *payload,
               struct vacpi_image *ret_image);
/* The device tree alone (vmm plan --dump-dtb), without what only a start decides (seeds, initrd); the buffer belongs to the
 * caller. -ENOTSUP where the architecture has none. */
int varch_dtb(struct varch *arch, const struct varch_payload *payload, struct vm_buffer *ret_blob);
/* The first vCPU's registers, after varch_load(). */
int varch_boot(struct varch *arch, struct hv_vcpu *vcpu);

/* Exits the machine does not know itself. 0: handled; -ENOSYS: not the architecture's. */
int varch_exit(struct varch *arch, struct hv_vcpu *vcpu, struct hv_exit *exit);

/* A vCPU's state in words, for the log after a crash; NUL-terminated, several lines. */
void varch_dump(struct varch *arch, struct hv_vcpu *vcpu, char *ret_text, size_t room);

/* What is constant of the architecture. */
struct varch_facts {
    const char *console; /* the kernel's name of the first serial port: "ttyS0" */
    const char *serial_class, *clock_class; /* classes of its serial ports and clock */
    bool acpi; /* tables without firmware; i8042, ports, PIT: what comes with a PC */
};
extern const struct varch_facts varch_facts;

#endif
