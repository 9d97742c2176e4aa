/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * PCI Express (PCI Local Bus 3.0, PCI Express Base 5.0, PCI Firmware 3.3): functions with a
 * configuration space, BARs and MSI-X; root buses with ECAM and, where asked, the ports
 * 0xcf8/0xcfc; several segments.
 *
 * Order: vpci_root_new() per segment; a device fills a vpci_function (vpci_function_init,
 * vpci_bar_add, vpci_cap_add, vpci_msix_add) and plugs it in with vpci_plug(), which gives it
 * device and function numbers; when all are there vpci_root_assign() gives addresses to BARs, as
 * firmware would, unless the guest is to do it.
 *
 * Everything the guest may change it may change at any time: a BAR may be moved under traffic, onto
 * another BAR, or out of the window; what lies outside the window answers nothing.
 *
 * Threads: a function belongs to its device and is used under that device's lock (function->lock),
 * or while nobody else can reach it (before vpci_plug(), after the gone() of vpci_unplug()). The
 * root has a leaf lock for its slots. Call-backs come under the function's lock, and buses change
 * (rank: lane) below it.
 */
#ifndef VMM_PCI_PCI_H
#define VMM_PCI_PCI_H

#include <vmm/base/state.h>
#include <vmm/devices-core/bus.h>
#include <vmm/devices-core/device.h>
#include <vmm/devices-core/interrupt.h>

enum {
    VPCI_CONFIG_BYTES = 4096,
    VPCI_BARS = 6,
    VPCI_MSIX_MAX = 2048,
    VPCI_SLOTS = 32,
    VPCI_FUNCTIONS = 8
};

struct vpci_root;
struct vpci_function;

/* Segment, bus, device, function as one number: what a requester id is made of. */
static inline uint32_t vpci_sbdf(unsigned segment, unsigned bus, unsigned device, unsigned function)
{
    return segment << 16 | bus << 8 | device << 3 | function;
}

enum vpci_bar_kind {
    VPCI_BAR_NONE,
    VPCI_BAR_IO,
    VPCI_BAR_MEM32,
    VPCI_BAR_MEM64,
    VPCI_BAR_MEM64_PREFETCH
};

struct vpci_bar {
    enum vpci_bar_kind kind;
    uint64_t size;
    struct vdev_region region; /* base is where it is now, when mapped */
    bool mapped;
    char name[32]; /* "0000:00:01.0 bar 4" */
};

/* Call-backs of a function, under its lock. All optional. */
struct vpci_ops {
    /* After the standard part has taken a write of config space: device-specific capabilities
     * look at what changed. offset and len as written. 0, or -EINPROGRESS as for a region. */
    int (*config_written)(struct vpci_function *fn, unsigned offset, unsigned len);
    /* Before a read of config space is answered, to refresh live registers. */
    void (*config_read)(struct vpci_function *fn, unsigned offset, unsigned len);
    /* A BAR was mapped, moved or unmapped (doorbells follow it). base is 0 when unmapped. */
    void (*bar_moved)(struct vpci_function *fn, unsigned bar, uint64_t base);
    /* An MSI-X vector was unmasked or its message changed while unmasked (enabled false:
     * masked). A pending message is sent after this. */
    void (*vector_changed)(struct vpci_function *fn, unsigned vector, bool enabled);
};

struct vpci_msix_entry {
    uint64_t addr;
    uint32_t data, control; /* control bit 0: masked */
    bool pending;
};

struct vpci_function {
    const char *name; /* borrowed: the device's id */
    const struct vpci_ops *ops;
    void *self;
    struct vm_lock *lock; /* the device's */
    struct vdev *dev;

    uint8_t config[VPCI_CONFIG_BYTES];
    uint8_t writable[VPCI_CONFIG_BYTES]; /* bits a guest may change */
    uint8_t clear_on_1[VPCI_CONFIG_BYTES]; /* RW1C bits */
    uint16_t next_cap; /* where the next capability goes */
    uint16_t last_cap, last_ext_cap, next_ext_cap;
    struct vpci_bar bar[VPCI_BARS];

    struct {
        uint16_t cap; /* offset in config space; 0: no MSI-X */
        uint16_t vectors;
        uint8_t bar;
        uint32_t table, pba; /* offsets in the BAR */
        struct vpci_msix_entry *entry;
        bool enabled, masked; /* as last written */
    } msix;

    struct vdev_irq *intx; /* NULL: none (no pin); given by vpci_plug() */
    bool no_intx; /* set before vpci_plug(): the function has no interrupt pin */
    bool intx_level, intx_raised; /* the device's; the wire's */

    struct vpci_root *root; /* NULL: not plugged in */
    uint8_t device, function;
    const struct vdev_context *context; /* borrowed during creation only */

    /* The library's own. */
    uint8_t *power_on; /* config as it was when plugged in: what a reset gives back */
    uint16_t config_bytes; /* 256, or all with extended capabilities */
    struct vdev_region ecam, cam; /* config space as a region; found through the root's windows */
    char address[24]; /* "0000:00:01.0 config" */
    unsigned gone_left;
    void (*gone)(void *ctx);
    void *gone_ctx;
};

/* Ids of a type 0 function. */
struct vpci_ids {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits: class, subclass, interface */
    uint8_t revision;
};

/* name, ops, self and dev are borrowed for the function's life; the function's lock is dev's. A
 * function without dev sets fn->lock (rank: device) itself before vpci_plug(). */
void vpci_function_init(struct vpci_function *fn, const char *name, const struct vpci_ids *ids,
                        const struct vpci_ops *ops, void *self, struct vdev *dev);
/* Unplugged before. */
void vpci_function_exit(struct vpci_function *fn);

/* Adds BAR n (64-bit ones take n + 1 too), before vpci_plug(). size: a power of two, at least
 * 16, at most 2 GiB (I/O: 64 KiB; 64-bit: 2^48). The region's ops get accesses under the
 * function's lock. 0 or -EINVAL with text. */
int vpci_bar_add(struct vpci_function *fn, unsigned n, enum vpci_bar_kind kind, uint64_t size,
                 const struct vdev_region_ops *ops, void *self);

/* Whether an access at this offset of BAR n reaches it now: it decodes, and nothing else was there
 * before it. A BAR moved onto another one must not take over the other's doorbells. */
bool vpci_bar_reached(const struct vpci_function *fn, unsigned n, uint64_t offset);

/* Adds a capability of len bytes (header included; id and next are filled in, the body is copied
 * from body + 2) and gives its offset. -ENOSPC. Bits set in writable (same layout, may be NULL)
 * may be changed by the guest. */
int vpci_cap_add(struct vpci_function *fn, uint8_t id, const void *body, const void *writable,
                 unsigned len, unsigned *ret_offset);
/* Extended capability, from offset 0x100 on; len includes the 4-byte header. */
int vpci_ext_cap_add(struct vpci_function *fn, uint16_t id, uint8_t version, const void *body,
                     unsigned len, unsigned *ret_offset);
/* PCI Express capability of an integrated endpoint or (port true) a root port. */
int vpci_express_cap_add(struct vpci_function *fn, bool port);

/* MSI-X with its table at offset table and its PBA at offset pba of BAR n, which the owner has
 * added: its region ops must hand accesses in these ranges to vpci_msix_read() and
 * vpci_msix_write(). 0, -EINVAL or -ENOMEM. */
int vpci_msix_add(struct vpci_function *fn, uint16_t vectors, unsigned bar, uint32_t table,
                  uint32_t pba);
static inline uint32_t vpci_msix_table_bytes(const struct vpci_function *fn)
{
    return fn->msix.vectors * 16u;
}
/* True when a byte of [offset, offset + len) of the BAR belongs to the table or the PBA; then
 * the access was done. Reads of any width are answered; writes only as aligned dwords and qwords
 * (6.8.2: others are undefined), the rest is ignored. */
bool vpci_msix_read(struct vpci_function *fn, uint64_t offset, uint8_t *data, unsigned len);
bool vpci_msix_write(struct vpci_function *fn, uint64_t offset, const uint8_t *data, unsigned len);

/* Raises a vector: sends it, or sets its pending bit while it is masked or bus mastering is off
 * (then it is sent as soon as that ends). Nothing happens while MSI-X is off, or for a vector
 * that is not there. */
void vpci_msix_notify(struct vpci_function *fn, unsigned vector);
bool vpci_msix_enabled(const struct vpci_function *fn);
/* The message of a vector that is on and may be sent now; false: it is not, or there is none. */
bool vpci_msix_message(const struct vpci_function *fn, unsigned vector, struct vdev_msi *ret_msi);

/* vpci_plug() gives function f the root's line of pin INTA + f mod 4 (and no pin where the root
 * has no line there). The INTx pin's level; gated by the command register's interrupt disable,
 * shown in the status register; nothing while MSI-X is on. Functions may share a line: it is
 * high while one of them holds it. */
void vpci_intx_set(struct vpci_function *fn, bool level);

/* The guest has bus mastering on: without it a device must not touch memory. */
bool vpci_bus_master(const struct vpci_function *fn);

/* Power-on state of everything a guest can change: config space as it was at vpci_plug(), BARs
 * at addresses 0 and unmapped, MSI-X off, INTx low. */
void vpci_function_reset(struct vpci_function *fn);

/* Accesses of 1, 2 or 4 bytes inside one dword; under the function's lock. -EINPROGRESS as for a
 * region. */
uint32_t vpci_config_read(struct vpci_function *fn, unsigned offset, unsigned len);
int vpci_config_write(struct vpci_function *fn, unsigned offset, unsigned len, uint32_t value);

/* What a snapshot keeps of a function: embed it in the device's state (fields table:
 * vpci_state_fields). It is large: keep it off the stack. */
struct vpci_state {
    bool intx_level;
    uint32_t config_bytes, vectors;
    uint8_t config[VPCI_CONFIG_BYTES];
    struct vpci_msix_state {
        uint64_t addr;
        uint32_t data, control;
        bool pending;
    } entry[VPCI_MSIX_MAX];
};
extern const struct vm_state_field vpci_state_fields[];
void vpci_save(const struct vpci_function *fn, struct vpci_state *ret_state);
/* Of a plugged function. Ids, sizes and read-only bits must be as they are now: -EINVAL with
 * text, and nothing changed. BARs are mapped, the line is set and vector_changed() called as the
 * state says; no message is sent. */
int vpci_load(struct vpci_function *fn, const struct vpci_state *untrusted);

/* A root bus: one segment. */
struct vpci_window {
    uint64_t base, size; /* size 0: none */
};
struct vpci_root_config {
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint64_t ecam_base; /* of first_bus; 1 MiB per bus from here */
    struct vpci_window mem32, mem64, io;
    bool cam; /* answer at ports 0xcf8 and 0xcfc (segment 0) */
    bool assign; /* vpci_root_assign() gives addresses; false: firmware will */
    struct vdev_bus *mmio, *pio;
    struct vdev_msi_sink *msi;
    /* Lines of the four pins after swizzling, (device + pin) mod 4; entries may be NULL. */
    struct vdev_irq *intx[4];
};
/* config is copied; what it points at is borrowed for the root's life. 0, -EINVAL (ranges that
 * make no sense) or -ENOMEM, with text. */
int vpci_root_new(const struct vm_env *env, const struct vpci_root_config *config,
                  struct vpci_root **ret_root);
/* Every function was unplugged, no access runs. */
void vpci_root_free(struct vpci_root *root);
const struct vpci_root_config *vpci_root_config_of(const struct vpci_root *root);

/* Plugs fn in at addr ("DD" or "DD.F", hexadecimal), or with NULL at the next free device.
 * -EINVAL (malformed), -EEXIST (taken; the text names by whom), -ENOSPC. */
int vpci_plug(struct vpci_root *root, struct vpci_function *fn, const char *addr);
/* Takes the function's lock: the caller holds none but its machine's. The function is reset.
 * gone: as for vdev_bus_del(), it may come before this returns; no access reaches the function
 * any more after it. */
void vpci_unplug(struct vpci_function *fn, void (*gone)(void *ctx), void *ctx);
/* The function, as it is, is another device's from now on (name and dev as in vpci_function_init(), and not NULL). No access runs, no
 * lock is held. */
void vpci_function_give(struct vpci_function *fn, const char *name, struct vdev *dev);

/* Another function of the same device, or NULL: guests look for those only behind function 0. As
 * vpci_root_walk(), nothing is plugged or unplugged meanwhile. */
const struct vpci_function *vpci_neighbour(const struct vpci_function *fn);

/* Gives every BAR without an address one in its window, largest first, then by device, function
 * and BAR (so the result depends on nothing else; memory BARs begin on a page), and sets I/O and
 * memory decode. Without config.assign it only checks. Takes each function's lock. -ENOSPC (a
 * window is full), -EINVAL (a device without function 0); with text. */
int vpci_root_assign(struct vpci_root *root);

/* The host bridge 8086:29c0 at device 0 is made with the root. Its PCIEXBAR (0x60; Intel 316966,
 * 5.1) shows ecam_base where that fits the register; with cam and without assign, firmware may
 * write it and so move ECAM or switch it off. */
/* Where ECAM is now; false: off. */
bool vpci_root_ecam(struct vpci_root *root, uint64_t *ret_base, uint64_t *ret_bytes);
/* Power-on state of the host bridge and of port 0xcf8. */
void vpci_root_reset(struct vpci_root *root);

/* What a snapshot keeps of the root itself; as vpci_save() and vpci_load(). */
struct vpci_root_state {
    uint32_t cam_address;
    uint8_t bridge[256]; /* its config space */
};
extern const struct vm_state_field vpci_root_state_fields[];
void vpci_root_save(struct vpci_root *root, struct vpci_root_state *ret_state);
int vpci_root_load(struct vpci_root *root, const struct vpci_root_state *untrusted);

/* Calls visit for each function, the host bridge first, without a lock: nothing is plugged or
 * unplugged meanwhile. */
void vpci_root_walk(struct vpci_root *root, void (*visit)(void *ctx, struct vpci_function *fn),
                    void *ctx);

#endif
