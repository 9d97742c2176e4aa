/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the files of this library share: register offsets (PCI Local Bus 3.0, 6.1 and 6.2) and
 * inner calls. */
#ifndef VMM_PCI_PCI_PRIVATE_H
#define VMM_PCI_PCI_PRIVATE_H

#include <vmm/base/check.h>
#include <vmm/base/le.h>
#include <vmm/pci/pci.h>

enum {
    REG_VENDOR = 0x00,
    REG_DEVICE = 0x02,
    REG_COMMAND = 0x04,
    REG_STATUS = 0x06,
    REG_REVISION = 0x08,
    REG_CLASS = 0x09,
    REG_CACHE_LINE = 0x0c,
    REG_HEADER_TYPE = 0x0e,
    REG_BAR = 0x10,
    REG_BAR_END = 0x28,
    REG_SUBSYSTEM_VENDOR = 0x2c,
    REG_SUBSYSTEM = 0x2e,
    REG_CAP = 0x34,
    REG_INTERRUPT_LINE = 0x3c,
    REG_INTERRUPT_PIN = 0x3d,
    REG_FIRST_CAP = 0x40,
    REG_EXTENDED = 0x100,
};

enum { COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4, COMMAND_SERR = 0x100 };
enum { COMMAND_INTX_DISABLE = 0x400 };
enum { STATUS_INTERRUPT = 8, STATUS_CAP_LIST = 0x10 };
/* 6.2.3: parity error, aborts, system error: cleared by writing 1. */
enum { STATUS_RW1C = 0xf900 };
enum { HEADER_MULTI_FUNCTION = 0x80 };

enum { CAP_EXPRESS = 0x10, CAP_MSIX = 0x11 };
enum { MSIX_BYTES = 12, MSIX_CONTROL = 2, MSIX_TABLE = 4, MSIX_PBA = 8, MSIX_ENTRY_BYTES = 16 };
enum { MSIX_ENABLE = 0x8000, MSIX_FUNCTION_MASK = 0x4000, MSIX_VECTOR_MASK = 1 };

static inline uint16_t config_get16(const struct vpci_function *fn, unsigned offset)
{
    return (uint16_t)vm_load_le(fn->config + offset, 2);
}
static inline uint32_t config_get32(const struct vpci_function *fn, unsigned offset)
{
    return (uint32_t)vm_load_le(fn->config + offset, 4);
}
static inline uint16_t config_command(const struct vpci_function *fn)
{
    return config_get16(fn, REG_COMMAND);
}
static inline bool bar_is_64(enum vpci_bar_kind kind)
{
    return kind == VPCI_BAR_MEM64 || kind == VPCI_BAR_MEM64_PREFETCH;
}

/* The address in the BAR's registers, without the type bits. */
uint64_t vpci_bar_address(const struct vpci_function *fn, unsigned n);
void vpci_bar_set_address(struct vpci_function *fn, unsigned n, uint64_t address);
/* The window that a BAR of this kind and address may lie in, or NULL: it does not decode there. */
const struct vpci_window *vpci_bar_window(const struct vpci_root_config *config,
                                          enum vpci_bar_kind kind, uint64_t address, uint64_t size);
/* Maps, moves and unmaps each BAR as command and address registers say. */
void vpci_bars_update(struct vpci_function *fn);

/* The line as level, command register and MSI-X say. */
void vpci_intx_update(struct vpci_function *fn);

/* The control register was written: tells of each vector that this enables or disables. */
void vpci_msix_update(struct vpci_function *fn);
/* Sends what is pending and may go now. */
void vpci_msix_flush(struct vpci_function *fn);
void vpci_msix_reset(struct vpci_function *fn);
bool vpci_vector_on(const struct vpci_function *fn, unsigned vector);

/* untrusted differs from the config space only in bits that a guest may change: 0 or -EINVAL
 * with text. */
int vpci_config_check(const struct vpci_function *fn, const uint8_t *untrusted, size_t bytes);
/* Takes those bits over. */
void vpci_config_take(struct vpci_function *fn, const uint8_t *checked, size_t bytes);
/* Everything that depends on config space follows it. */
void vpci_config_settle(struct vpci_function *fn);

/* A device has more than function 0. */
bool vpci_root_is_multi(const struct vpci_root *root, unsigned device);
struct vdev_msi_sink *vpci_root_msi(const struct vpci_root *root);
const struct vm_env *vpci_root_env(const struct vpci_root *root);

/* plug.c: reads "DD" or "DD.F"; false: neither. */
bool vpci_addr_parse(const char *untrusted, unsigned *ret_device, unsigned *ret_function);

extern const struct vdev_region_ops vpci_config_ops;

enum { LINES = 4 };

/* One pin's line, shared by functions: high while raised is not 0. */
struct vpci_line {
    struct vdev_irq irq; /* what functions see */
    struct vdev_irq *target; /* NULL: not wired */
    unsigned raised; /* atomic */
};

struct vpci_root {
    const struct vm_env *env;
    struct vpci_root_config config;
    struct vm_lock lock; /* leaf: changes of slot */
    struct vpci_function *slot[VPCI_SLOTS][VPCI_FUNCTIONS]; /* atomic */
    uint32_t multi; /* atomic: one bit per device */
    uint32_t cam_address; /* atomic: port 0xcf8 */
    struct vdev_region ecam, cam_address_port, cam_data_port;
    struct vpci_line line[LINES];
    struct vm_lock bridge_lock; /* rank: device */
    struct vpci_function bridge;
};

/* bridge.c */
int vpci_bridge_plug(struct vpci_root *root);
void vpci_bridge_unplug(struct vpci_root *root);
/* cam.c */
int vpci_cam_add(struct vpci_root *root);
void vpci_cam_del(struct vpci_root *root);

#endif
